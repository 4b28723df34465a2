"""Enhancement in few calls: a light model trained for several calls, and a flow map of it; scores against calls.

The model is trained on the bridge from the noisy recording with all its times, within a limit of CPU time, and the map
starts from it. Scores are of validation mixtures and of the public test pairs, on which nothing is chosen. Models stay
in a folder, and rows are added to the table as they are made.

Example:
    OMP_NUM_THREADS=1 python benchmarks/speech_calls.py --cpu-minutes 25 --map-minutes 25
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.curves import draw_curves
from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.speech_models import SHARED_SPEECH
from shared.files.io import write_text
from speech import metrics
from speech.data.clips import read_mono
from speech.model.config import SamplingConfig
from speech.model.model import SpeechModel
from speech.training.fit import Recording, enhance_recording, train, training_source, validation_set
from speech.training.settings import Experiment, read_experiment
from tsdiff.baselines.training import TrainingLimit

KEYS = ("recordings", "seed", "model", "sampler", "calls")
SCORES = ("pesq_wb", "estoi", "si_sdr", "dnsmos_ovrl")
PLAIN = {"ode2": (1, 2, 4, 8, 16, 30), "sde2": (1, 2, 4, 8, 16, 30)}
JUMPS = {"map": (1, 2, 4)}
ENDLESS = 10**6
"""Steps of a training that its time ends."""


def settings(seed: int, objective: str | None, start: Path | None, files: int) -> Experiment:
    """The training of the model, or of a map of it: the default's data, without the terms that only one call wants."""
    changes = [
        "model.sampling={sampler: ode2, steps: 16, schedule: log_snr}",
        "objective.start_share=0.1",
        "objective.pesq_weight=0",
        f"training.max_steps={ENDLESS}",
        f"training.seed={seed}",
        "training.warmup=0.0",
        "training.decay=constant",
        f"validation.files={files}",
        "hardware.threads=1",
    ]
    if objective is not None:
        changes += ["model.backbone.span=true", f"objective.flow_map={objective}", f"start_from={start}"]
        changes += ["training.learning_rate=0.0005"]
    return read_experiment("default", changes)


def trained(folder: Path, experiment: Experiment, minutes: float) -> SpeechModel:
    """The model in `folder`, or a new one."""
    if (folder / "last" / "config.json").is_file():
        return SpeechModel.from_pretrained(folder / "last")
    limit = TrainingLimit(-1, minutes)
    source = training_source(experiment, SHARED_SPEECH, 1)
    return train(experiment, source, [], folder, progress=False, tensorboard=False, callbacks=[limit]).model


def test_pairs(rate: int, most: int) -> list[Recording]:
    """The public test pairs."""
    clean = sorted((SHARED_SPEECH / "test_pairs" / "clean").glob("*.wav"))[:most]
    return [
        (path.stem, read_mono(path, rate), read_mono(SHARED_SPEECH / "test_pairs/noisy" / path.name, rate))
        for path in clean
    ]


def scores(model: SpeechModel, recordings: list[Recording], sampling: SamplingConfig) -> dict[str, float]:
    """Mean scores of enhanced recordings; and how far results of two seeds are apart, in dB below the result."""
    rate = model.config.frontend.sample_rate
    values: dict[str, list[float]] = {name: [] for name in SCORES}
    apart = []
    for place, (_, clean, noisy) in enumerate(recordings):
        one, _ = enhance_recording(model, noisy, sampling, seed=place)
        found = metrics.score(SCORES, clean, one, rate)
        for name in SCORES:
            values[name].append(found[name].value)
        if place < 5:
            other, _ = enhance_recording(model, noisy, sampling, seed=place + 1000)
            apart.append(10 * np.log10(np.mean(one**2) / max(float(np.mean((one - other) ** 2)), 1e-12)))
    return {
        **{name: float(np.nanmean(found)) for name, found in values.items()},
        "seeds_apart_db": float(np.mean(apart)),
    }


def measure(results: Rows, model: SpeechModel, name: str, seed: int, sets: dict[str, list[Recording]]) -> None:
    """Every row of a model that is not in the table."""
    for sampler, numbers in (PLAIN if name == "denoiser" else {**JUMPS, "ode2": (16,)}).items():
        for calls in numbers:
            for title, recordings in sets.items():
                row: dict[str, Any] = dict(zip(KEYS, (title, seed, name, sampler, calls), strict=True))
                if results.has(row):
                    continue
                started = time.process_time()
                sampling = replace(model.config.sampling, sampler=sampler, steps=calls)
                row |= {**scores(model, recordings, sampling), "files": len(recordings)}
                results.add({**row, "cpu_seconds": time.process_time() - started})
                print(*row.values(), flush=True)


def lines(rows: list[dict[str, Any]], score: str) -> dict[str, dict[int, float]]:
    """Of the test pairs: by method and number of calls."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["recordings"] == "test pairs":
            name = row["sampler"] if row["model"] == "denoiser" else f"{row['model']}, {row['sampler']}"
            found.setdefault(name, {})[int(row["calls"])] = float(row[score])
    return found


def report(rows: list[dict[str, Any]], minutes: float, map_minutes: float, picture: Path) -> str:
    """Every row, by recordings."""
    columns = ("model", "sampler", "calls", "seed", *SCORES, "seeds_apart_db")
    parts = []
    for title in dict.fromkeys(row["recordings"] for row in rows):
        shown = [
            [f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c]) for c in columns]
            for row in rows
            if row["recordings"] == title
        ]
        parts.append(f"\n## {title}\n\n" + table(list(columns), shown))
    return (
        header("Enhancement in few calls")
        + f"\nThe light network trained for {minutes:g} CPU-minutes on all times of the bridge, and maps of it for "
        f"{map_minutes:g} more. seeds_apart_db: the level of a result over that of its difference between two seeds.\n"
        f"\n![Scores of the test pairs against calls]({picture.name})\n" + "".join(parts)
    )


def main(
    cpu_minutes: Annotated[float, typer.Option(help="CPU time of training the model.")] = 25.0,
    map_minutes: Annotated[float, typer.Option(help="CPU time of training its map.")] = 25.0,
    seed: Annotated[int, typer.Option(help="Of the trainings.")] = 0,
    objective: Annotated[str, typer.Option(help="Of the map.")] = "lagrangian",
    files: Annotated[int, typer.Option(help="Validation mixtures, and test pairs.")] = 20,
    models: Annotated[Path, typer.Option(help="Where models are kept.")] = Path("runs/speech_calls"),
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/speech_calls.csv"
    ),
) -> None:
    """Measure what is missing, and write the table."""
    torch.set_num_threads(1)
    results = Rows(output, KEYS)
    place = models / f"denoiser-{seed}"
    plain = settings(seed, None, None, files)
    denoiser = trained(place, plain, cpu_minutes)
    sets = {
        "validation mixtures": validation_set(plain, SHARED_SPEECH),
        "test pairs": test_pairs(denoiser.config.frontend.sample_rate, files),
    }
    measure(results, denoiser, "denoiser", seed, sets)
    mapped = settings(seed, objective, place / "last", files)
    jumping = trained(models / f"{objective}-{seed}", mapped, map_minutes)
    measure(results, jumping, objective, seed, sets)
    rows, picture = results.read(), output.with_suffix(".png")
    draw_curves({score: lines(rows, score) for score in SCORES}, picture, "")
    write_text(output.with_suffix(".md"), report(rows, cpu_minutes, map_minutes, picture))


if __name__ == "__main__":
    typer.run(main)
