"""Far ahead, far back, and with gaps: the bundled forecaster's horizons beyond its reach, weeks of many steps, and
missing values.

    python benchmarks/far.py

Real series from the ends of the validation sets' training parts, forecast further than the model draws at once, beside
the seasonal naive; days that are otherwise on weekends, in steps of minutes; and a noisy weekly season of which values
are missing here and there, at the beginning, in one long gap, or since long ago: forecasts and imputations, whose least
error is known.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder, Samples
from benchmarks.trend_seasons import entry
from shared.files.io import write_text
from tsdiff import TSDiffPredictor
from tsdiff.data import candidate_seasons, load_folder, normalise_freq, split_windows
from tsdiff.evaluation.metrics import best_seasonal_naive, evaluate

RESULTS = Path("benchmarks/results")
FAR = (("epf_hourly", 168), ("epf_hourly", 336), ("beijing_air_hourly", 336), ("chicago_l_daily", 365))
"""Validation set and horizon."""
SERIES, WINDOWS = 12, 4
LEVEL, SWING, NOISE, PERIOD, HORIZON = 1000.0, 20.0, 2.0, 7, 14
DRAWS = 10
DAYS, WEEKEND = (("Saturday", 5), ("Sunday", 6), ("Monday", 0)), 0.4
FINE = (
    ("1min", 28, 60),
    ("5min", 15, 288),
    ("5min", 28, 288),
    ("10min", 28, 144),
    ("15min", 28, 96),
    ("30min", 28, 48),
)
"""Frequency, days that are known, and horizon."""


def far_rows(predictor: TSDiffPredictor, folder: Path, samples: int) -> Iterator[list[str]]:
    """A row for each set and horizon."""
    for name, horizon in FAR:
        entries = list(load_folder(folder / "series" / name).train)
        entries = entries[:: -(-len(entries) // SERIES)]
        freq = entries[0]["start"].freqstr
        test = split_windows(entries, horizon, max(1, min(WINDOWS, SERIES // len(entries)))).test
        started = time.process_time()
        scores = evaluate(list(predictor.adapted(freq, horizon).predict(test.input, samples)), test)
        spent = (time.process_time() - started) / len(list(test.input))
        lag, naive = best_seasonal_naive(
            test, tuple(season for season in candidate_seasons(normalise_freq(freq)) if season <= 400)
        )
        yield [
            name, str(horizon), str(len(list(test.input))), f"{scores.crps:.4f}", f"{naive.crps:.4f} (lag {lag})",
            f"{scores.crps / naive.crps:.2f}", f"{scores.coverage_90:.2f}", f"{1000 * spent:.0f}",
        ]  # fmt: skip


def working_days(freq: str, before: int, weekday: int, horizon: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """So many days up to midnight before a weekday, 0 for Monday, and what follows: a shape of which weekends have the
    smaller share, and noise."""
    day = round(pd.Timedelta("1D") / pd.Timedelta(freq))
    steps = np.arange(before * day + horizon)
    shape = 1 + 0.8 * np.sin(2 * np.pi * (steps % day) / day - 1.5)
    share = np.where((weekday - before + steps // day) % 7 >= 5, WEEKEND, 1.0)
    values = 100 * (shape * share + 0.05 * np.random.default_rng(seed).normal(size=len(steps)))
    return values[: before * day], values[before * day :]


def week_row(predictor: TSDiffPredictor, freq: str, before: int, horizon: int, draws: int = DRAWS) -> list[str]:
    """Errors of the medians of each of `DAYS`, and those of a week and of a day ago, and the coverage of 90 %."""
    day = round(pd.Timedelta("1D") / pd.Timedelta(freq))
    cells, covers = [], []
    for _, weekday in DAYS:
        pairs = [working_days(freq, before, weekday, horizon, seed) for seed in range(draws)]
        forecaster = predictor.adapted(freq, horizon)
        made = [f.samples for f in forecaster.predict([entry(known, freq, "a") for known, _ in pairs], 100)]
        errors = [told(samples, future) for samples, (_, future) in zip(made, pairs, strict=True)]
        ago = [np.mean([np.abs(known[-lag:][:horizon] - future) for known, future in pairs]) for lag in (7 * day, day)]
        cells.append(f"{np.mean([error for error, *_ in errors]):.1f} ({ago[0]:.1f}, {ago[1]:.1f})")
        covers.append(np.mean([share for _, share, _ in errors]))
    return [freq, str(before), str(horizon), *cells, f"{min(covers):.2f}"]


def season(count: int) -> np.ndarray:
    """The weekly season alone, (count,)."""
    return LEVEL + SWING * np.sin(2 * np.pi * np.arange(count) / PERIOD)


def holed(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Series with missing values, by name."""

    def noisy(count: int) -> np.ndarray:
        return season(count) + NOISE * rng.normal(size=count)

    yield "whole, 200 values", noisy(200)
    for share in (0.05, 0.3, 0.5):
        yield f"{100 * share:.0f} % missing at random", np.where(rng.random(200) < share, np.nan, noisy(200))
    yield "100 missing, then 60", np.r_[np.full(98, np.nan), noisy(158)[98:]]
    for after in (1, 7):
        values = noisy(200)
        values[-30 - after : -after] = np.nan
        yield f"30 missing before the last {after}", values
    for missing in (30, 600, 3000):
        yield f"the last {missing} missing", np.r_[noisy(200), np.full(missing, np.nan)]


def gapped(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Series whole, and with gaps inside, by name."""
    for share in (0.05, 0.3):
        whole = season(300) + NOISE * rng.normal(size=300)
        yield f"{100 * share:.0f} % missing at random", whole, np.where(rng.random(300) < share, np.nan, whole)
    for missing in (20, 300, 1000):
        whole = season(600 + missing) + NOISE * rng.normal(size=600 + missing)
        values = whole.copy()
        values[300 : 300 + missing] = np.nan
        yield f"a gap of {missing}", whole, values


def told(samples: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Mean absolute error of the median, coverage and width of the 90 % interval of samples (n, steps)."""
    low, middle, high = np.quantile(samples, [0.05, 0.5, 0.95], axis=0)
    return (
        float(np.abs(middle - truth).mean()),
        float(((low <= truth) & (truth <= high)).mean()),
        float((high - low).mean()),
    )


def gap_rows(predictor: TSDiffPredictor, samples: int) -> list[list[str]]:
    """A row for each kind of gap: forecasts, then imputations."""
    daily = predictor.adapted("D", HORIZON)
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        for name, values in holed(rng):
            (made,) = daily.predict([entry(values, "D", name)], samples)
            truth = season(len(values) + HORIZON)[-HORIZON:] + NOISE * rng.normal(size=HORIZON)
            found.setdefault(("forecast", name), []).append(told(made.samples, truth))
        for name, whole, values in gapped(rng):
            (filled,) = daily.impute([entry(values, "D", name)], samples)
            found.setdefault(("imputed", name), []).append(told(filled.samples, whole[np.isnan(values)]))
    rows = []
    for (task, name), scores in found.items():
        error, covered, width = np.mean(scores, axis=0)
        rows.append([task, name, f"{error:.2f}", f"{covered:.2f}", f"{width:.1f}"])
        print(*rows[-1], flush=True)
    return rows


def main(
    model: Annotated[str, typer.Option(help="Bundled name or folder of a model of all frequencies.")] = "default",
    samples: Samples = 100,
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Report.")] = RESULTS / "far.md",
) -> None:
    """Forecast far ahead and with gaps; write the tables."""
    torch.set_num_threads(1)
    predictor = TSDiffPredictor.from_pretrained(model)
    far = []
    for row in far_rows(predictor, data, samples):
        far.append(row)
        print(*row, flush=True)
    weeks = [week_row(predictor, *what) for what in FINE]
    write_text(output, report(far, weeks, gap_rows(predictor, samples)))


def report(far: list[list[str]], weeks: list[list[str]], gaps: list[list[str]]) -> str:
    """All tables."""
    head = ["set", "steps", "windows", "CRPS", "seasonal naive", "by naive", "90 % covers", "CPU-ms a series"]
    return (
        header("Far ahead, far back, and with gaps")
        + "\n## Beyond the model's reach\n\nThe model draws 128 steps at once, and goes on from its own draws. The "
        f"last windows of the training parts of validation sets, at most {SERIES} series; CRPS (mean weighted quantile "
        "loss), of the seasonal naive with the better lag too.\n\n"
        + table(head, far)
        + "\n## Weeks of many steps\n\nDays with a shape, of which those of weekends have "
        f"{WEEKEND:g} of it, and noise (its own error is 4), {DRAWS} draws: mean absolute error of the median of what "
        "begins at midnight (in brackets those of the values a week and a day ago), and the least coverage of the "
        "90 % interval.\n\n"
        + table(["steps of", "days known", "steps ahead", *(day for day, _ in DAYS), "90 % covers"], weeks)
        + f"\n## Gaps\n\nA weekly season of {2 * SWING:g} from low to high on a level of {LEVEL:g} with noise of "
        f"deviation {NOISE:g}, days, {DRAWS} draws: mean absolute error of the median (the noise's own is "
        f"{NOISE * np.sqrt(2 / np.pi):.2f}), coverage and width of the 90 % interval ({2 * 1.645 * NOISE:.1f} would "
        f"do, were the season known), of forecasts of {HORIZON} steps and of imputations.\n\n"
        + table(["task", "series", "error", "90 % covers", "width"], gaps)
    )


if __name__ == "__main__":
    typer.run(main)
