"""What the default enhancer's settings rest on: how hard each loss term pulls, scores on mixtures outside training.

Terms: the norm of the gradient that each term of the loss has at the weights of the bundled model, for a weight of 1.
Terms of equal norm times weight pull equally hard, whatever their values are. Scores: models, each with one or more
network calls, on mixtures of speakers and noise types that are in no training, in thirds by signal-to-noise ratio.
Suppression: the bundled model with its gains raised to powers. End: what silence after a recording, and in it, does to
it. Gap: the bundled model on speech and noise that training knew, and did not. The public test pairs have no part in
this.

Example:
    python benchmarks/speech_choices.py
    python benchmarks/speech_choices.py --model default --model runs/speech_other/model --part scores
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.speech_models import SHARED_SPEECH
from shared.files.io import write_text
from shared.training.batches import Batch
from speech import metrics
from speech.data import validation_pairs
from speech.model.config import SamplingConfig
from speech.model.model import SpeechModel
from speech.training.fit import enhance_recording
from speech.training.recordings import Recording, training_source, validation_set
from speech.training.settings import Experiment, read_experiment
from speech.training.terms import ObjectiveConfig, SpeechObjective

RESULTS = Path("benchmarks/results")
CONFIG = Path("recipes/configs/speech/default.yaml")
TERMS = ("data prediction", "l1_weight", "spectral_weight", "si_sdr_weight", "pesq_weight")
PARTS = ("terms", "scores", "suppression", "end", "gap")
POWERS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def gradient(model: SpeechModel, objective: ObjectiveConfig, batches: list[Batch]) -> torch.Tensor:
    """The mean gradient of an objective over batches, all weights in one vector."""
    model.zero_grad()
    for place, batch in enumerate(batches):
        generator = torch.Generator().manual_seed(place)
        SpeechObjective(objective)(model, batch.x0, batch.y, generator=generator).mean().backward()
    found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(found) / len(batches)


def terms(experiment: Experiment, batches: int) -> str:
    """The table of gradient norms."""
    model = SpeechModel.from_pretrained("default").train()
    source = training_source(experiment, SHARED_SPEECH, model.frame_multiple)
    drawn = [source.batch(np.random.default_rng(n)) for n in range(batches)]
    base = ObjectiveConfig(loss="data_prediction", l1_weight=0.0, start_share=1.0)
    plain = gradient(model, base, drawn)
    rows = []
    for name in TERMS:
        weight, norm = 1.0, plain.norm()
        if name != "data prediction":
            norm = (gradient(model, replace(base, **{name: 1.0}), drawn) - plain).norm()
            weight = getattr(experiment.objective, name)
        rows.append([name, f"{norm:.3g}", f"{weight:g}", f"{norm * weight:.2g}"])
    return (
        "\n## How hard each term pulls\n\n"
        f"At the bundled weights, over {batches} batches of {experiment.data.batch_size} mixtures, at t = T.\n\n"
        + table(["term", "gradient norm at weight 1", "weight", "product"], rows)
    )


def scores(experiment: Experiment, models: list[str], calls: list[int]) -> str:
    """The table of validation scores."""
    recordings = validation_set(experiment, SHARED_SPEECH)
    before = np.array([[*score(clean, noisy)] for _, clean, noisy in recordings])
    thirds = np.array_split(np.argsort(before[:, 0]), 3)
    rows = [["noisy", "–", *cells(before, thirds)]]
    for name in models:
        model = SpeechModel.from_pretrained(name)
        for steps in calls:
            label = name if name == "default" else Path(name).parent.name
            own = model.config.sampling
            way = own if steps == 1 else replace(own, sampler="sde1", steps=steps, schedule="log_snr")
            rows.append([label, str(steps), *cells(enhanced(model, recordings, way), thirds)])
    lows = [f"{before[third, 0].min():.0f} to {before[third, 0].max():.0f} dB" for third in thirds]
    head = ["model", "calls", *lows, "all"]
    return (
        "\n## Scores on validation mixtures\n\n"
        f"{len(recordings)} mixtures without rooms, of whole bands; SI-SDR in dB, PESQ-WB, ESTOI, in thirds by the "
        "SI-SDR of the input. One call is the estimate itself; more are steps of the stochastic exponential integrator,"
        " `sde1`.\n\n" + table(head, rows)
    )


def gap(experiment: Experiment, count: int) -> str:
    """The table of what is gained on speech and noise that training knew, and did not."""
    model = SpeechModel.from_pretrained("default")
    mix = replace(experiment.mixing(1), babble=0.0, filtered=0.0, clipped=0.0, synthetic=0.0)
    rows = []
    for speech in ("train", "valid"):
        for noise in ("train", "valid"):
            folders = (SHARED_SPEECH / speech / "clean", SHARED_SPEECH / noise / "noise")
            recordings = validation_pairs(*folders, None, count, 6.0, 0, mix, experiment.data.cache)
            before = np.array([score(clean, noisy) for _, clean, noisy in recordings]).mean(axis=0)
            after = enhanced(model, recordings, model.config.sampling).mean(axis=0)
            gains = [f"{b:.2f} → {a:.2f} ({a - b:+.2f})" for b, a in zip(before, after, strict=True)]
            rows.append([f"speech of {speech}, noise of {noise}", *gains])
    return (
        "\n## What training knew, and did not\n\n"
        f"The bundled model on {count} mixtures of each kind, one call, no rooms, babble, filters or clipping. How far "
        "the last row is behind the first is for want of data; how far the first is from perfect, for want of training "
        "or size.\n\n" + table(["mixtures", "SI-SDR, dB", "PESQ-WB", "ESTOI"], rows)
    )


def score(clean: np.ndarray, estimate: np.ndarray) -> tuple[float, float, float]:
    """SI-SDR, PESQ-WB and ESTOI of a recording at 16 kHz."""
    return (
        metrics.si_sdr(clean, estimate, 16000),
        metrics.pesq_wb(clean, estimate, 16000),
        metrics.estoi(clean, estimate, 16000),
    )


def suppression(experiment: Experiment) -> str:
    """The table of scores by the power of the gains."""
    recordings = validation_set(experiment, SHARED_SPEECH)
    thirds = np.array_split(np.argsort([score(clean, noisy)[0] for _, clean, noisy in recordings]), 3)
    model, rows = SpeechModel.from_pretrained("default"), []
    for power in POWERS:
        way = replace(model.config.sampling, suppression=power)
        rows.append([f"{power:g}", *cells(enhanced(model, recordings, way), thirds)])
    return (
        "\n## Suppression\n\n"
        "The bundled model on the same mixtures, its gains below 1 raised to a power (`SamplingConfig.suppression`); "
        "SI-SDR in dB, PESQ-WB, ESTOI, in the same thirds.\n\n"
        + table(["power", "lowest third", "middle", "highest", "all"], rows)
    )


def end(experiment: Experiment) -> str:
    """The table of scores of recordings that end, that silence follows, and that silence cuts into pieces."""
    model, rows = SpeechModel.from_pretrained("default"), []
    recordings = validation_set(experiment, SHARED_SPEECH)
    for label, silence, muted in (
        ("as it is", 0.0, None),
        ("with half a second of digital silence after it", 0.5, None),
        ("muted for a third of every .6 s, afterwards", 0.0, "after"),
        ("muted for a third of every .6 s, before", 0.0, "before"),
    ):
        after = np.zeros(round(silence * 16000), np.float32)
        values = []
        for n, (_, clean, noisy) in enumerate(recordings):
            is_open = np.arange(len(clean)) % 9600 < (6400 if muted else 9600)
            given = noisy * is_open if muted == "before" else noisy
            estimate, _ = enhance_recording(model, np.concatenate([given, after]), None, n)
            values.append(score(clean * is_open, estimate[: len(clean)] * is_open))
        rows.append([label, *cells(np.array(values), [])])
    return (
        "\n## The end of a recording\n\n"
        "The bundled model on the same mixtures, the silence cut off before scoring, or laid on both; SI-SDR in dB, "
        "PESQ-WB, ESTOI.\n\n" + table(["recording", "all"], rows)
    )


def enhanced(model: SpeechModel, recordings: list[Recording], sampling: SamplingConfig) -> np.ndarray:
    """Scores (recordings, 3) of a model so sampled."""
    return np.array(
        [
            score(clean, enhance_recording(model, noisy, sampling, n)[0])
            for n, (_, clean, noisy) in enumerate(recordings)
        ]
    )


def cells(values: np.ndarray, thirds: list[np.ndarray]) -> list[str]:
    """Means over each third and over all."""
    return [" / ".join(f"{v:.2f}" for v in values[part].mean(axis=0)) for part in (*thirds, np.arange(len(values)))]


def main(
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Folder or name; default: the bundled one.")
    ] = None,
    parts: Annotated[list[str] | None, typer.Option("--part", help=f"{', '.join(PARTS)}; default: all.")] = None,
    calls: Annotated[list[int], typer.Option("--calls", help="Network calls; repeat the option.")] = [1, 3],  # noqa: B006
    files: Annotated[int, typer.Option(help="Validation mixtures.")] = 60,
    batches: Annotated[int, typer.Option(help="Batches for the gradients.")] = 8,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
) -> None:
    """Measure them, and write the tables."""
    wanted = parts or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        raise typer.BadParameter(f"unknown part {', '.join(unknown)}; take some of {', '.join(PARTS)}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        changes = [f"data.cache={cache}", f"validation.files={files}"]
        experiment = read_experiment(CONFIG, changes)
        text = header("What the default enhancer's settings rest on")
        if "terms" in wanted:
            text += terms(experiment, batches)
        dry = read_experiment(CONFIG, [*changes, "data.mix.reverb=0.0", "data.mix.limited=0.0"])
        if "scores" in wanted:
            text += scores(dry, models or ["default"], calls)
        if "suppression" in wanted:
            text += suppression(dry)
        if "end" in wanted:
            text += end(dry)
        if "gap" in wanted:
            text += gap(dry, files)
    write_text(output / "speech_choices.md", text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
