"""Rows of `trends.py` of series with seasons: noise by the level, dents, and a peak once a year."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmarks.scores import inside
from tsdiff import TSDiffPredictor

STARTS = {"Y-DEC": "1980", "Q-DEC": "1990Q1", "M": "2005-01", "W-SUN": "2015-01-04"}
SEASONS = (("h", 24, 480, 24), ("D", 14, 200, 7), ("M", 12, 96, 12))
"""Frequency, horizon and steps of history, and the season."""
DENTS = (
    ("M", 12, 96, 6, 6, 0.5),
    ("M", 18, 96, 14, 4, 0.6),
    ("M", 12, 108, 8, 9, 0.4),
    ("W-SUN", 13, 209, 44, 8, 0.4),
    ("W-SUN", 13, 261, 36, 16, 0.6),
    ("D", 14, 400, 7, 7, 0.0),
    ("D", 14, 120, 6, 7, 0.4),
    ("D", 28, 1460, 338, 30, 0.4),
    ("h", 24, 1440, 24, 24, 0.0),
    ("h", 24, 720, 144, 24, 0.1),
)
"""Frequency, horizon and steps of history, how long ago a dent ended, its steps, and the share that it left."""
PEAKS = ((14, -7), (28, 0), (28, 14), (28, 180))
"""Horizon, and how many days the last December began before a forecast does."""


def entry(values: np.ndarray, freq: str, name: str) -> dict[str, Any]:
    """A GluonTS entry."""
    return {"start": pd.Period(STARTS.get(freq, "2024-01-01"), freq=freq), "target": values, "item_id": name}


def samples_of(predictor: TSDiffPredictor, freq: str, horizon: int, histories: np.ndarray) -> np.ndarray:
    """Samples (series, draws, horizon) of what follows histories (series, n)."""
    entries = [entry(row, freq, str(i)) for i, row in enumerate(histories)]
    return np.stack([made.samples for made in predictor.adapted(freq, horizon).predict(entries)])


def season_rows(
    predictor: TSDiffPredictor, freq: str, horizon: int, count: int, season: int, seeds: int
) -> list[list[str]]:
    """Rows of the table of seasons, with noise of one size and noise by the level: coverage and the interval's width by
    the noise's own, of the lowest third of the season, of the middle and of the highest."""
    rows = []
    for kind in ("one size", "by the level"):
        rng, steps = np.random.default_rng(0), np.arange(count + horizon)
        height = np.sin(2 * np.pi * (steps / season + rng.random((12 * seeds, 1))))
        level = 100 + (30 if kind == "one size" else 60) * height
        size = np.full_like(level, 5.0) if kind == "one size" else 0.05 * level
        values, future_size = level + size * rng.normal(size=level.shape), size[:, count:]
        samples, future, at = (
            samples_of(predictor, freq, horizon, values[:, :count]),
            values[:, count:],
            height[:, count:],
        )
        low, high = np.quantile(samples, [0.05, 0.95], axis=1)
        covered, width = inside(samples, future), (high - low) / (2 * 1.645 * future_size)
        parts = (at < -0.5, np.abs(at) <= 0.5, at > 0.5)
        cells = [f"{covered[part].mean():.2f} ({width[part].mean():.2f})" for part in parts]
        rows.append([freq, str(count), str(horizon), kind, *cells])
    return rows


def dent_row(
    predictor: TSDiffPredictor, freq: str, horizon: int, count: int, ago: int, length: int, left: float, seeds: int
) -> list[str]:
    """A row of the table of dents, twelve series a draw with a yearly season, weekdays and hours as they have: mean
    error of the median by that without the dent, and coverage of both."""
    rng, steps = np.random.default_rng(0), np.arange(count + horizon)
    shape = rng.random((12 * seeds, 1)) + steps / {"M": 12, "W-SUN": 365.25 / 7, "D": 365.25, "h": 24}[freq]
    week = {"D": np.where(steps % 7 >= 5, 0.3, 0.0), "h": np.where(steps // 24 % 7 >= 5, -0.3, 0.0)}
    level = 0.3 * np.sin(2 * np.pi * shape) + week.get(freq, 0.0)
    values = 100 * np.exp(level + 0.05 * rng.normal(size=level.shape))
    history, future = values[:, :count], values[:, count:]
    dented = history.copy()
    dented[:, count - ago - length : count - ago] *= left
    errors, covered = [], []
    for known in (dented, history):
        samples = samples_of(predictor, freq, horizon, known)
        errors.append(float(np.abs(np.median(samples, axis=1) - future).mean()))
        covered.append(f"{inside(samples, future).mean():.2f}")
    cells = [str(number) for number in (count, horizon, ago, length)]
    return [freq, *cells, f"{left:.0%}", f"{errors[0] / errors[1]:.2f}", *covered]


def score_peak(predictor: TSDiffPredictor, horizon: int, since: int, seeds: int = 1) -> tuple[str, float, float, float]:
    """Forecast twelve daily series a draw, whose values rise from December 1 to 24 to 2.5 times the others.

    Returns:
        The first day, mean errors of the median and of the value 364 days ago, and the coverage.
    """
    rng, days = np.random.default_rng(0), pd.date_range("2020-01-01", "2024-12-31")
    peak = np.where((days.month == 12) & (days.day <= 24), days.day / 24, 0.0)
    level = 100 * (1 + 0.3 * (days.dayofweek >= 5)) * (1 + 1.5 * peak)
    values = np.asarray(level) * (1 + 0.05 * rng.normal(size=(12 * seeds, len(days))))
    begin = int(days.get_loc(pd.Timestamp("2023-12-01"))) + since
    future, ago = values[:, begin : begin + horizon], values[:, begin - 364 : begin - 364 + horizon]
    entries = [
        {"start": days[0].to_period("D"), "target": row[:begin], "item_id": str(i)} for i, row in enumerate(values)
    ]
    samples = np.stack([made.samples for made in predictor.adapted("D", horizon).predict(entries)])
    error, naive = (float(np.abs(made - future).mean()) for made in (np.median(samples, axis=1), ago))
    return str(days[begin].date()), error, naive, float(inside(samples, future).mean())


def peak_row(predictor: TSDiffPredictor, horizon: int, since: int, seeds: int) -> list[str]:
    """A row of the table of peaks."""
    day, *scores, covered = score_peak(predictor, horizon, since, seeds)
    return [day, str(horizon), *(f"{score:.1f}" for score in scores), f"{covered:.2f}"]
