"""What the models of a preset are worth, each alone and together: those that it trains anew, and the bundled one.

    python benchmarks/preset_models.py [--set nyc_weather_hourly]

The windows are cut from the end of the training parts; of sets that the bundled model learnt from there are only as
many as it did not see. The rows choose `members` and `tuned_steps` of `tsdiff/experiment/presets.py`. A set that is in
the CSV is not measured again.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ablations import SAMPLES
from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, DEFAULT_SETS, DataFolder, load
from recipes.default_forecaster.default import TRAINING_SETS
from shared.files.io import write_text
from tsdiff import TSDiffPredictor
from tsdiff.data import split_windows
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.evaluation.metrics import evaluate
from tsdiff.experiment.presets import PRESETS
from tsdiff.pretraining.finetuning import FineTuning, fine_tune

RESULTS = Path("benchmarks/results/preset_models.csv")
KEYS = ("set", "models")
ALONE, BUNDLED, TUNED, TOGETHER = "trained anew", "bundled, as it comes", "bundled, fine-tuned", "half each"
STEPS = 300


def unseen(name: str) -> int:
    """Windows at the end of each training series of a set that no model has learnt from."""
    if name in TRAINING_SETS:
        return TRAINING_SETS[name].held_back // TRAINING_SETS[name].prediction_length
    return max(1, min(7, BENCHMARK_SETS[name].windows))


def measure(name: str, data: Path, rows: Rows) -> None:
    """Train a set's models on what comes before the windows, and add a row for each way of forecasting them."""
    loaded, preset = load(name, data), PRESETS[name]
    horizon, windows = loaded.prediction_length, unseen(name)
    split = split_windows(loaded.train, horizon, windows)
    pairs, train = list(split.test), list(split.train)

    def add(models: str, predictor: TSDiffPredictor | EnsemblePredictor, minutes: float) -> None:
        scores = evaluate(predictor.predict([past for past, _ in pairs], SAMPLES), pairs)
        values = {"crps": scores.crps, "coverage_90": scores.coverage_90, "windows": len(pairs)}
        rows.add({"set": name, "models": models, **values, "train_cpu_minutes": minutes})
        print(name, models, f"{scores.crps:.4f}", flush=True)

    minimum = preset.sampling().minimum
    bundled = TSDiffPredictor.from_pretrained("default").adapted(loaded.freq, horizon).with_sampling(minimum=minimum)
    add(BUNDLED, bundled, 0.0)
    started = time.process_time()
    tuned = fine_tune(bundled, train, FineTuning(steps=STEPS, seed=preset.training.seed)).predictor
    tuning = (time.process_time() - started) / 60
    add(TUNED, tuned, tuning)
    started = time.process_time()
    own = [
        preset.member(place).estimator(loaded.freq, horizon).train(train, progress=False)
        for place in range(max(preset.members, 1))
    ]
    training = (time.process_time() - started) / 60
    models = [TSDiffPredictor(one.model, preset.sampling()) for one in own]
    add(ALONE, EnsemblePredictor(models), training)
    add(TOGETHER, EnsemblePredictor([*models, tuned]), training + tuning)


def report(rows: Rows) -> str:
    """CRPS of each way, a row a set, and what the intervals cover."""
    ways = (ALONE, BUNDLED, TUNED, TOGETHER)
    lines = []
    for name in BENCHMARK_SETS:
        found = {row["models"]: row for row in rows.read() if row["set"] == name}
        if found:
            least = min(float(row["crps"]) for row in found.values())
            cells = [
                f"{row['crps']:.4f} ({row['coverage_90']:.2f})" if (row := found.get(way)) else "–" for way in ways
            ]
            cells = [
                f"**{cell}**" if way in found and float(found[way]["crps"]) == least else cell
                for way, cell in zip(ways, cells, strict=True)
            ]
            count = str(next(iter(found.values()))["windows"])
            lines.append([name, count, "yes" if name in TRAINING_SETS else "no", *cells])
    return (
        header("What the models of a preset are worth")
        + "\nCRPS (coverage of 90 % intervals) on windows from the end of the training parts, which no model has "
        f"learnt from; one seed, {SAMPLES} samples. Trained anew: with the preset's settings. Fine-tuned: by {STEPS} "
        "steps, or none where windows that are held back say so. Half each: of the samples.\n\n"
        + table(["set", "windows", "the bundled model knows the set's past", *ways], lines)
    )


def main(
    sets: Annotated[list[str] | None, typer.Option("--set", help="Sets; default: the nine.")] = None,
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = RESULTS,
    report_only: Annotated[bool, typer.Option(help="Measure nothing; write the .md of what is there.")] = False,
) -> None:
    """Measure what is missing, and write the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = Rows(output, KEYS)
    for name in () if report_only else sets or DEFAULT_SETS:
        if not rows.has({"set": name, "models": TOGETHER}):
            measure(name, data, rows)
    write_text(output.with_suffix(".md"), report(rows))


if __name__ == "__main__":
    typer.run(main)
