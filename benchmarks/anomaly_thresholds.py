"""How often steps of clean series by formula are above a threshold from the steps before, how many planted anomalies
are found, and what the calendar of daily sales does to both.

Example:
    OMP_NUM_THREADS=1 python benchmarks/anomaly_thresholds.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from scipy.signal import lfilter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from tsdiff import TSDiffPredictor
from tsdiff.tasks.anomaly.forecasts import ForecastScoring
from tsdiff.tasks.anomaly.injection import Injected, InjectionConfig, inject
from tsdiff.tasks.anomaly.scores import SeriesScores, anomaly_scores, fit_thresholds

REFERENCE = 2048
"""Steps before the last tenth that tell the threshold, as many as `tsdiff anomaly` takes."""
LENGTHS = (300, 400, 600, 1000, 3000)
START = pd.Timestamp("2018-01-01")
YEARS, KEPT = 6, 3
"""Of daily sales, and those at their end that are looked at."""

Made = Callable[[int, np.random.Generator], np.ndarray]


def lasting(steps: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of deviation 1 that each step remembers so much of."""
    return lfilter([1], [1, -memory], rng.normal(size=steps + 500))[500:] * np.sqrt(1 - memory**2)


def weather(day: int) -> Made:
    """Temperatures: a year, days of unequal size, and what lasts for some."""

    def made(steps: int, rng: np.random.Generator) -> np.ndarray:
        t, turn = np.arange(steps), 2 * np.pi * rng.random(2)
        each = np.clip(1 + 0.35 * rng.normal(size=steps // day + 2), 0.2, 2)
        clouds = np.interp(t / day, np.arange(len(each)), each)  # without a jump at midnight, which were an anomaly
        year, days = np.sin(2 * np.pi * t / (365.25 * day) + turn[0]), np.sin(2 * np.pi * t / day + turn[1])
        return 12 + 11 * year + 4 * clouds * days + 3 * lasting(steps, np.exp(-0.4 / day), rng)

    return made


def load(steps: int, rng: np.random.Generator) -> np.ndarray:
    """Hours of load: days, weekends, what the weather adds."""
    t = np.arange(steps)
    week = np.where((t // 24 + rng.integers(7)) % 7 < 5, 1, 0.75)
    day = 1 + 0.25 * np.sin(2 * np.pi * t / 24) + 0.1 * np.sin(4 * np.pi * t / 24 + 2)
    return 1000 * week * day * np.exp(0.05 * lasting(steps, 0.98, rng) + 0.01 * rng.normal(size=steps))


def counts(day: int) -> Made:
    """Counts that follow the day."""

    def made(steps: int, rng: np.random.Generator) -> np.ndarray:
        rate = 15 * np.exp(0.8 * np.sin(2 * np.pi * np.arange(steps) / day) + 0.15 * lasting(steps, 0.98, rng))
        return rng.poisson(rate).astype(float)

    return made


def uneven(steps: int, rng: np.random.Generator) -> np.ndarray:
    """Days with noise whose size changes."""
    days = np.sin(2 * np.pi * np.arange(steps) / 24)
    spread = np.exp(0.5 * lasting(steps, 0.98, rng)) * (1 + 0.6 * days)
    return 50 + 10 * days + 3 * spread * rng.normal(size=steps)


def walk(steps: int, rng: np.random.Generator) -> np.ndarray:
    """A random walk."""
    return 100 + np.cumsum(rng.normal(size=steps))


def sales(steps: int, rng: np.random.Generator, calendar: bool = False) -> np.ndarray:
    """Days of sales: weeks, a year; with a calendar .3 of it at Christmas, half as much again on the 28th."""
    t, dates = np.arange(steps), pd.date_range(START, periods=steps)
    week = np.clip(1 + 0.25 * rng.normal(size=7), 0.4, 2)[dates.dayofweek]
    made = 200 * week * (1 + 0.1 * np.sin(2 * np.pi * t / 365.25)) * np.exp(0.06 * rng.normal(size=steps))
    return made * np.where(christmas(dates), 0.3, 1) * np.where(dates.day == 28, 1.5, 1) if calendar else made


def christmas(dates: pd.DatetimeIndex) -> np.ndarray:
    """Where it is."""
    return np.asarray((dates.month == 12) & (dates.day >= 24) & (dates.day <= 26))


KINDS: dict[str, tuple[str, Made]] = {
    "temperatures, h": ("h", weather(24)),
    "temperatures, 5 min": ("5min", weather(288)),
    "load, h": ("h", load),
    "counts, h": ("h", counts(24)),
    "counts, 5 min": ("5min", counts(288)),
    "uneven noise, h": ("h", uneven),
    "random walk, 5 min": ("5min", walk),
    "sales, D": ("D", sales),
}


def scored(values: np.ndarray, freq: str, settings: ForecastScoring) -> SeriesScores:
    """By the bundled model."""
    model = TSDiffPredictor.from_pretrained("default").adapted(freq, 24)
    return anomaly_scores(model, {"item_id": "a", "start": pd.Period(START, freq), "target": values}, settings)[0]


def ended(values: np.ndarray, held_out: int, magnitude: float, seed: int) -> Injected:
    """The series with anomalies in its last steps."""
    longest = min(48, held_out // 4)
    config = InjectionConfig(magnitude=magnitude, longest=longest, shortest=min(6, longest), seed=seed)
    return inject([{"item_id": "a", "target": values}], config, held_out)[0]


def of_thresholds(kind: str, steps: int, seed: int, magnitude: float) -> np.ndarray:
    """Shares of clean steps above, and of anomalies found, by a quantile of scores as they are, and as later ones
    compare: (4,)."""
    freq, make = KINDS[kind]
    values, held_out = make(steps, np.random.default_rng([seed, steps])), steps // 10
    injected = ended(values, held_out, magnitude, seed)
    whole = scored(values, freq, ForecastScoring(last=min(steps, held_out + REFERENCE)))
    changed = scored(np.asarray(injected.entry["target"]), freq, ForecastScoring(last=held_out))
    made = []
    for later in (False, True):
        one, other = (score.comparable(held_out) if later else score for score in (whole, changed))
        limits = fit_thresholds([one.before(-held_out)], later=later)
        flagged = limits.exceeded(other)
        found = [flagged[each.first : each.first + each.length].any() for each in injected.anomalies]
        made += [limits.exceeded(one)[-held_out:].mean(), np.mean(found) if found else np.nan]
    return np.array(made)


def of_calendar(seed: int, known: bool) -> np.ndarray:
    """Shares above the threshold of Christmases, of 28ths, of other days, of spikes by 1.4, and of Christmases that do
    not come, in the last years: (5,)."""
    rng, steps = np.random.default_rng(seed), round(365.25 * YEARS)
    values, dates = sales(steps, rng, calendar=True), pd.date_range(START, periods=steps)
    late = np.arange(steps) >= steps - KEPT * 365
    feast, payday = christmas(dates), np.asarray(dates.day == 28)
    spikes, missed = rng.choice(np.flatnonzero(late & ~feast & ~payday), 20, replace=False), np.flatnonzero(feast)[-3:]
    odd = values.copy()
    odd[spikes] *= 1.4
    odd[missed] /= 0.3
    clean, changed = (
        scored(some, "D", ForecastScoring(calendar_days=known, last=KEPT * 365)) for some in (values, odd)
    )
    flagged, found = (fit_thresholds([clean]).exceeded(one) for one in (clean, changed))
    parts = [flagged[late & feast], flagged[late & payday], flagged[late & ~feast & ~payday]]
    return np.array([part.mean() for part in (*parts, found[spikes], found[missed])])


def main(
    series: Annotated[int, typer.Option(help="Of each kind and length.")] = 5,
    magnitude: Annotated[float, typer.Option(help="Of the anomalies, standard deviations.")] = 3.0,
    output: Annotated[Path, typer.Option(help="Markdown file.")] = Path("benchmarks/results/anomaly_thresholds.md"),
) -> None:
    """Score, count, write the tables."""
    torch.set_num_threads(1)
    shares = {
        kind: np.array([[of_thresholds(kind, steps, seed, magnitude) for seed in range(series)] for steps in LENGTHS])
        for kind in KINDS
    }
    rows = []
    for kind, share in [*shares.items(), ("mean", np.mean([*shares.values()], axis=0))]:
        middle = np.nanmean(share, axis=1)
        for name, (above, found) in {"quantile": (0, 1), "for later steps": (2, 3)}.items():
            cells = [f"{row[above]:.3f} / {row[found]:.2f}" for row in middle]
            rows.append([kind, name, *cells, f"{middle[:, above].mean():.4f} / {middle[:, found].mean():.2f}"])
            print(*rows[-1], flush=True)
    text = header("Thresholds from the steps before: false alarms, and what is found") + (
        f"\nOf {series} clean series of each kind and length by formula: share of the last tenth above the .995 "
        f"quantile of the scores before it ({REFERENCE} at most) / share of anomalies of magnitude {magnitude:g} that "
        "are found there. Quantile: of the scores as they are. For later steps: `fit_thresholds(…, later=True)` of "
        "comparable scores, as `tsdiff anomaly` takes it.\n\n"
    )
    text += table(["series", "threshold", *(f"{steps} steps" for steps in LENGTHS), "all"], rows)
    calendar = [
        [name, *(f"{cell:.3f}" for cell in np.mean([of_calendar(seed, known) for seed in range(series)], axis=0))]
        for name, known in (("without the calendar", False), ("with it", True))
    ]
    text += (
        f"\nDaily sales with a calendar, the last {KEPT} of {YEARS} years of {series} series: share above the .995 "
        "quantile of these scores.\n\n"
    ) + table(["scores", "Christmas", "28th", "other days", "spikes × 1.4", "no Christmas"], calendar)
    write_text(output, text)


if __name__ == "__main__":
    typer.run(main)
