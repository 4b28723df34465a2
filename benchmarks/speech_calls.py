"""Enhancement in few calls: a light model trained for several calls, and a flow map of it; scores against calls.

The model has the bundled enhancer's weights to start from, which are for one call, and is trained on the bridge from
the noisy recording with all its times, on both cores and within a limit of CPU time; the map starts from it, and is
trained on one core while the other scores the model. Scores are of validation mixtures, of three kinds of bad inputs,
where what is lost can only be made up, and of the public test pairs, on which nothing is chosen. The bundled enhancer's
one call stands beside them. Models stay in a folder, and rows are added to the table as they are made.

Example:
    python benchmarks/speech_calls.py
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
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
from speech.training.fit import enhance_recording, train
from speech.training.recordings import Recording, training_source, validation_set
from speech.training.settings import Experiment, read_experiment
from tsdiff.baselines.training import TrainingLimit

KEYS = ("recordings", "seed", "model", "sampler", "calls")
SCORES = ("pesq_wb", "estoi", "si_sdr", "dnsmos_ovrl")
PLAIN = {"ode2": (30, 16, 8, 4, 2, 1), "sde2": (16, 8)}
"""Calls by sampler; with one or two `sde2` takes the steps of `ode2`."""
JUMPS = {"ode2": (16,), "map": (4, 2, 1)}
SETS = {"validation mixtures": 2, "-10 to 0 dB": 2, "clipped": 2, "band-limited": 2, "test pairs": 1}
"""Sets of recordings, and how many times `--files` each has."""
MIXED: dict[str, list[str]] = {
    "validation mixtures": [],
    "-10 to 0 dB": ["data.mix.snr_db=[-10.0, 0.0]"],
    "clipped": ["data.mix.snr_db=[5.0, 20.0]", "data.mix.clipped=1.0", "data.mix.clip_db=[9.0, 20.0]"],
    "band-limited": [
        "data.mix.snr_db=[5.0, 20.0]",
        "data.mix.limited=1.0",
        "data.mix.low_hz=[100.0, 300.0]",
        "data.mix.high_hz=[2500.0, 4000.0]",
        "data.mix.restore_band=true",
    ],
}
"""Those that are mixed of validation's recordings, and how."""
BUNDLED = "bundled"
FEW = 8
"""The most calls about bad inputs."""
SEEDS = 2
"""Recordings of which results of two seeds are compared."""
ENDLESS = 10**6
"""Steps of a training that its time ends."""


def settings(seed: int, objective: str | None, start: str, threads: int) -> Experiment:
    """The training of the model, or of a map of it: the default's data, without the terms that only one call wants."""
    changes = [
        f"start_from={start}",
        "model.sampling={sampler: ode2, steps: 16, schedule: log_snr}",
        "objective.start_share=0.1",
        "objective.pesq_weight=0",
        f"training.max_steps={ENDLESS}",
        f"training.seed={seed}",
        "training.warmup=0.0",
        "training.decay=constant",
        "training.learning_rate=0.0005",
        "training.ema_decay=0.99",
        f"hardware.threads={threads}",
    ]
    if objective is not None:
        changes += ["model.backbone.span=true", f"objective.flow_map={objective}"]
    return read_experiment("default", changes)


def trained(folder: Path, experiment: Experiment, minutes: float) -> None:
    """Leave a model in `folder`, if there is none."""
    if (folder / "last" / "config.json").is_file():
        return
    torch.set_num_threads(experiment.hardware.threads or 1)
    limit = TrainingLimit(-1, minutes)
    source = training_source(experiment, SHARED_SPEECH, 1)
    trained = train(experiment, source, [], folder, progress=False, tensorboard=False, callbacks=[limit])
    print(f"{folder.name}: {trained.steps} steps", flush=True)


@lru_cache
def recordings_of(title: str, count: int) -> list[Recording]:
    """One of `SETS`."""
    experiment = read_experiment("default", [f"validation.files={count}", *MIXED.get(title, [])])
    if title in MIXED:
        return validation_set(experiment, SHARED_SPEECH)
    return test_pairs(experiment.model.frontend.sample_rate, count)


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
        if place < SEEDS:
            other, _ = enhance_recording(model, noisy, sampling, seed=place + 1000)
            apart.append(10 * np.log10(np.mean(one**2) / max(float(np.mean((one - other) ** 2)), 1e-12)))
    return {
        **{name: float(np.nanmean(found)) for name, found in values.items()},
        "seeds_apart_db": float(np.mean(apart)),
    }


def measure(results: Rows, row: dict[str, Any], folder: str | Path, count: int) -> None:
    """Add what is missing to a row of the table, and the row to it."""
    torch.set_num_threads(1)
    started = time.process_time()
    model, recordings = SpeechModel.from_pretrained(folder), recordings_of(row["recordings"], count)
    sampling = model.config.sampling
    if row["model"] != BUNDLED:
        sampling = replace(sampling, sampler=row["sampler"], steps=row["calls"])
    row |= {**scores(model, recordings, sampling), "files": len(recordings)}
    results.add({**row, "cpu_seconds": time.process_time() - started})
    print(*row.values(), flush=True)


def missing(results: Rows, name: str, seed: int) -> Iterator[dict[str, Any]]:
    """The rows of a model that are not in the table, the longest first."""
    kinds = PLAIN if name == "denoiser" else JUMPS
    for sampler, numbers in ({"ode1": (1,)} if name == BUNDLED else kinds).items():
        for calls in numbers:
            for title in SETS if calls <= FEW else ("validation mixtures", "test pairs"):
                row: dict[str, Any] = dict(zip(KEYS, (title, seed, name, sampler, calls), strict=True))
                if not results.has(row):
                    yield row


def lines(rows: list[dict[str, Any]], score: str) -> dict[str, dict[int, float]]:
    """Of the test pairs: by method and number of calls."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["recordings"] == "test pairs":
            name = row["sampler"] if row["model"] == "denoiser" else f"{row['model']}, {row['sampler']}"
            found.setdefault(name, {})[int(row["calls"])] = float(row[score])
    return found


def report(rows: list[dict[str, Any]], minutes: float, map_minutes: float, took: float, picture: Path) -> str:
    """Every row, by recordings."""
    columns = ("model", "sampler", "calls", "seed", "files", *SCORES, "seeds_apart_db")
    parts = []
    for title in SETS:
        of = sorted((row for row in rows if row["recordings"] == title), key=lambda row: [row[key] for key in KEYS])
        shown = [[f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c]) for c in columns] for row in of]
        parts.append(f"\n## {title}\n\n" + table(list(columns), shown))
    return (
        header("Enhancement in few calls")
        + f"\nThe bundled enhancer's weights trained for {minutes:g} CPU-minutes on all times of the bridge, and a map "
        f"of it for {map_minutes:g} more; and the bundled enhancer as it is. Bad inputs have at most {FEW} calls. "
        "seeds_apart_db: the level of a result over that of its difference between two seeds. The last run of the "
        f"command took {took / 60:.0f} minutes.\n"
        f"\n![Scores of the test pairs against calls]({picture.name})\n" + "".join(parts)
    )


def main(
    cpu_minutes: Annotated[float, typer.Option(help="CPU time of training the model.")] = 10.0,
    map_minutes: Annotated[float, typer.Option(help="CPU time of training its map.")] = 8.0,
    seed: Annotated[int, typer.Option(help="Of the trainings.")] = 0,
    objective: Annotated[str, typer.Option(help="Of the map.")] = "lagrangian",
    files: Annotated[int, typer.Option(help="Test pairs; twice as many validation mixtures.")] = 8,
    models: Annotated[Path, typer.Option(help="Where models are kept.")] = Path("runs/speech_calls"),
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/speech_calls.csv"
    ),
) -> None:
    """Measure what is missing, and write the table."""
    began = time.monotonic()
    results = Rows(output, KEYS)
    plain, mapped = models / f"denoiser-{seed}", models / f"{objective}-{seed}"
    trained(plain, settings(seed, None, "default", 2), cpu_minutes)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        training = pool.submit(trained, mapped, settings(seed, objective, str(plain / "last"), 1), map_minutes)
        waiting = []
        for name, folder in ((BUNDLED, "default"), ("denoiser", plain / "last"), (objective, mapped / "last")):
            for row in missing(results, name, seed):
                count = files * SETS[row["recordings"]]
                waiting.append(pool.submit(measure, results, row, folder, count))
            if name == "denoiser":
                training.result()
        for job in waiting:
            job.result()
    rows, picture = results.read(), output.with_suffix(".png")
    draw_curves({score: lines(rows, score) for score in SCORES}, picture, "")
    took = time.monotonic() - began
    write_text(output.with_suffix(".md"), report(rows, cpu_minutes, map_minutes, took, picture))


if __name__ == "__main__":
    typer.run(main)
