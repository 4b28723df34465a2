"""What each choice is worth: settings of a preset changed, mostly one at a time, scored on validation windows.

The validation windows are cut from the end of each training part; the test part is not touched. One seed and a short
training, the same for every row of a set. Each row is kept in the CSV as it is made, and one that is there is not made
again.

Example:
    python benchmarks/ablations.py
    python benchmarks/ablations.py --set m4_hourly --steps 4000
    python benchmarks/ablations.py --set tourism_quarterly --steps 0 --change "members=3; backbone.dropout=0.1"
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, DataFolder, load, thinned
from shared.errors import ConfigError
from shared.files.io import atomic_path, write_text
from shared.files.settings import change, dataclass_from, merged, plain
from shared.objectives import DiffusionLoss, TimeSampler
from tsdiff.data import Entry, WindowSplit, split_windows
from tsdiff.evaluation.metrics import evaluate
from tsdiff.experiment.presets import PRESETS, Preset
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.config import default_patch

RESULTS = Path("benchmarks/results")
SETS = ("m4_hourly", "exchange_rate_nips", "nyc_weather_hourly", "pjm_hourly")
SAMPLES = 100
COLUMNS = ("set", "change", "steps", "seed", "crps_quantile", "crps_mse", "coverage_90", "train_cpu_minutes")
Change = Callable[[Preset, str], Preset]


def backbone_of(preset: Preset, freq: str) -> S4DConfig:
    """The preset's backbone, or the default of the frequency."""
    return preset.backbone or S4DConfig(patch=default_patch(freq))


def changes(preset: Preset, freq: str) -> Iterator[tuple[str, Preset]]:
    """Every row of a set: its name and its preset. All start from velocity, which the preset may not predict."""
    preset = replace(preset, output="velocity")
    backbone = backbone_of(preset, freq)
    yield "none (the preset, predicting velocity)", preset
    yield "two models, half the samples each", replace(preset, members=2)
    yield "predict noise", replace(preset, output="noise")
    yield "predict noise, two models", replace(preset, output="noise", members=2)
    yield "times uniform", replace(preset, loss=DiffusionLoss(times=TimeSampler("uniform")))
    yield "no EMA", preset.with_training(ema_decay=0.0)
    yield "constant learning rate", preset.with_training(decay="constant")
    yield "learning rate 1e-3", preset.with_training(learning_rate=1e-3)
    for scaling in ("mean", "standard", "last"):
        if scaling != preset.scaling:
            yield f"scaling {scaling}", replace(preset, scaling=scaling)
    other = 0.0 if preset.scale_power else 0.5
    yield f"series drawn by power {other:g} of their size", replace(preset, scale_power=other)
    dropout = 0.0 if backbone.dropout else 0.1
    yield f"dropout {dropout:g}", replace(preset, backbone=replace(backbone, dropout=dropout))
    if freq == "h":
        yield "context of one week", replace(preset, context_length=168)
        yield "lags 24 and 168", replace(preset, lags=(24, 168))
    else:
        yield "context of 120 steps", replace(preset, context_length=120)
        yield "lags 1 and 5", replace(preset, lags=(1, 5))
    guided = {
        e: replace(preset.sampling(e), covariance="scalar", observation_std=None, steps=16) for e in ("mse", "quantile")
    }
    yield "scalar guidance, 16 calls", replace(preset, **guided)  # type: ignore[arg-type]


def changed(preset: Preset, freq: str, text: str) -> Preset:
    """The preset with what "name=value; section.name=value" says instead, each value as YAML."""
    values = plain(replace(preset, backbone=backbone_of(preset, freq)))
    for part in text.split(";"):
        values = merged(values, change(part.strip()))
    return dataclass_from(Preset, values, text, ConfigError)


def validation(name: str, data: Path, most: int) -> tuple[str, WindowSplit, list[tuple[Entry, Entry]]]:
    """Frequency, split of the training part, and at most `most` validation windows: of one window a series those with
    the largest values, which make up the score, else evenly chosen ones."""
    loaded = load(name, data)
    windows = max(2, min(7, BENCHMARK_SETS[name].windows))
    split = split_windows(loaded.train, loaded.prediction_length, windows)
    pairs = list(split.test)
    if BENCHMARK_SETS[name].windows == 1:
        sizes = np.array([np.nansum(np.abs(label["target"])) for _, label in pairs])
        return loaded.freq, split, [pairs[i] for i in np.sort(np.argsort(-sizes)[:most])]
    return loaded.freq, split, thinned(pairs, most)


def row(name: str, change: str, preset: Preset, split: WindowSplit, pairs: list[tuple[Entry, Entry]]) -> dict[str, str]:
    """Train with the changed preset and score it."""
    started = time.process_time()
    freq, horizon = pairs[0][1]["start"].freqstr, len(pairs[0][1]["target"])
    members, tuned = preset.models(split.train, freq, horizon, progress=False)
    minutes = (time.process_time() - started) / 60
    scores = {}
    for energy in ("quantile", "mse"):
        predictor = preset.forecaster(members, tuned, energy)
        scores[energy] = evaluate(predictor.predict([past for past, _ in pairs], SAMPLES), pairs)
    values = [
        name, change, preset.training.max_steps, preset.training.seed, f"{scores['quantile'].crps:.5f}",
        f"{scores['mse'].crps:.5f}", f"{scores['quantile'].coverage_90:.3f}", f"{minutes:.2f}",
    ]  # fmt: skip
    return dict(zip(COLUMNS, map(str, values), strict=True))


def read(path: Path) -> list[dict[str, str]]:
    """The rows made so far."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """All rows so far."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def report(rows: list[dict[str, str]]) -> str:
    """The table, each row beside its preset."""
    reference = {(r["set"], r["steps"]): float(r["crps_quantile"]) for r in rows if r["change"].startswith("none")}
    lines = []
    for r in sorted(rows, key=lambda r: (list(BENCHMARK_SETS).index(r["set"]), int(r["steps"]))):
        base = reference.get((r["set"], r["steps"]))
        if "max_steps" in r["change"]:
            longest = max((int(n) for name, n in reference if name == r["set"]), default=0)
            base = reference.get((r["set"], str(longest)))
        relative = f"{float(r['crps_quantile']) / base - 1:+.1%}" if base else ""
        lines.append([r["set"], r["change"], r["steps"], r["crps_quantile"], relative, r["crps_mse"], r["coverage_90"]])
    head = ["set", "changed", "training steps", "CRPS, quantile", "against the preset", "CRPS, MSE", "covers 90 %"]
    return (
        header("What each choice is worth")
        + "\nValidation windows cut from the end of the training parts; one seed, so differences of a few percent "
        "are noise. Positive: the change makes it worse. Rows compare with the same set's row of as many training "
        "steps; that one predicts velocity whatever the preset does: where a preset predicts noise or trains two "
        "models, it is because of these rows. Where intervals cover nearly everything, the steps were too few, "
        "and rows tell what learns fast. Rows written as name=value start from the preset of their day: ETTh1's from "
        "standard scaling, patches of 24 and 2,000 steps, which is no longer its preset because of them; those that "
        "change max_steps are compared with the preset's own number of steps.\n\n" + table(head, lines)
    )


def main(
    sets: Annotated[list[str] | None, typer.Option("--set", help="Sets; default: four.")] = None,
    steps: Annotated[int, typer.Option(help="Training steps of every row; 0 takes the preset's.")] = 1500,
    only: Annotated[
        list[str] | None,
        typer.Option("--change", help="Rows to make: names, or settings; default: all names."),
    ] = None,
    windows: Annotated[int, typer.Option(help="Validation windows at most.")] = 70,
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
    report_only: Annotated[bool, typer.Option(help="Make no row; write the table of those there are.")] = False,
) -> None:
    """Make the rows that are missing, then write the table."""
    torch.set_num_threads(1)
    path = output / "ablations.csv"
    rows = read(path)
    for name in () if report_only else sets or SETS:
        freq, split, pairs = validation(name, data, windows)
        taken = steps or PRESETS[name].training.max_steps
        base = PRESETS[name].with_training(max_steps=taken)
        own = [(text, changed(base, freq, text)) for text in only or () if "=" in text]
        for label, preset in (*changes(base, freq), *own):
            if only and label not in only:
                continue
            key = (name, label, str(preset.training.max_steps))
            if not any((r["set"], r["change"], r["steps"]) == key for r in rows):
                rows.append(row(name, label, preset, split, pairs))
                write(path, rows)
                print(*rows[-1].values(), flush=True)
    write_text(output / "ablations.md", report(rows))


if __name__ == "__main__":
    typer.run(main)
