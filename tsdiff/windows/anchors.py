"""Anchors: what the last values, the seasons and the trend of a series say of its steps that are not known.

A handful of simple forecasts (the last value, the value a season ago, a line, …) are weighted by how well each did on
the series' own past. Their mean is the anchor, around which the model of all frequencies diffuses the residual, and the
error that it made there is the residual's unit. So a series' level, unit, trend and seasons are settled before the
network sees it, in double precision, and the network has to tell only what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tsdiff.data.frequency import candidate_seasons

Seasons = tuple[int, int]
"""Steps of the first and of a longer season; 0 where there is none."""

CANDIDATES = 11
"""Simple forecasts; see `simple_forecasts`."""

REMEMBERED = 2048
"""Last values of a history that are looked at: two weeks of quarter-hours, five years of days."""

_ORIGINS, _RECENCY, _SHARPNESS = 12, 0.8, 4.0
"""Past forecasts that are compared, the weight of each beside the next, and how much the better one gets."""


def seasons_of(freq: str) -> Seasons:
    """The seasons of a normalised frequency."""
    first, second, *_ = (*(season for season in candidate_seasons(freq) if season > 1), 0, 0)
    return first, second


@dataclass(frozen=True)
class Pool:
    """Simple forecasts of the steps after a history, and what they are worth.

    Attributes:
        forecasts: (CANDIDATES, horizon), in the series' units.
        usable: of which the history is long enough, (CANDIDATES,).
        shares: of each in the mean, (CANDIDATES,), which add up to 1.
        errors: mean absolute error of each on the past, (CANDIDATES,); infinite where unknown.
        mean: the weighted mean, (horizon,).
        scale: typical size of its error, a positive number.
        profile: mean absolute error that the mean made on the past at each step, (horizon,), by the scale; 1 where
            unknown.
        tries: past forecasts that tell all this.
        tail: root mean square of their errors over the mean absolute error, at least 1; 0 without any.
    """

    forecasts: np.ndarray
    usable: np.ndarray
    shares: np.ndarray
    errors: np.ndarray
    mean: np.ndarray
    scale: float
    profile: np.ndarray
    tries: int = 0
    tail: float = 0.0


class _History:
    """Values (n,) with the sums that make means and lines of any stretch cheap."""

    def __init__(self, values: np.ndarray):
        self.values = values
        # Around the last value, so that sums keep their digits on a high level.
        self.level = float(values[-1])
        centred = values - self.level
        place = np.arange(len(values), dtype=np.float64) - len(values)
        self.sums = np.concatenate([[0.0], np.cumsum(centred)])
        self.moments = np.concatenate([[0.0], np.cumsum(place * centred)])

    def mean(self, ends: np.ndarray, steps: np.ndarray | int) -> np.ndarray:
        """Mean of the `steps` values before each end, or of as many as there are."""
        first = np.maximum(ends - steps, 0)
        return self.level + (self.sums[ends] - self.sums[first]) / np.maximum(ends - first, 1)

    def line(self, ends: np.ndarray, steps: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        """The least-squares line through the `steps` values before each end, `ahead` (h,) steps after it: (ends, h)."""
        first, count = ends - steps, len(self.values)
        middle = (first + ends - 1) / 2 - count
        total, moment = self.sums[ends] - self.sums[first], self.moments[ends] - self.moments[first]
        slope = (moment - middle * total) / np.maximum(steps * (steps**2 - 1.0) / 12, 1e-9)
        at = (ends - count)[:, None] + ahead - middle[:, None]
        return self.level + (total / steps)[:, None] + slope[:, None] * at

    def lag(self, ends: np.ndarray, ahead: np.ndarray, season: int, more: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The value one season, or the last known whole number of seasons, before each step, and `more` seasons before
        that: (ends, h), and whether there is one."""
        place = ends[:, None] + ahead - season * (1 + ahead // season) - more * season
        return self.values[np.maximum(place, 0)], place >= 0


def simple_forecasts(
    values: np.ndarray, ends: np.ndarray, horizon: int, seasons: Seasons
) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts of the `horizon` steps after the first values of a history.

    The last value; the mean of a season, or of six; the value a season ago; the mean of up to four seasons; a season
    ago with the drift of the last two; a longer season ago; that with the level of now; a trend with seasons; up to
    four seasons with the level of now; a line through the last steps; the median of seven.

    Args:
        values: (n,), finite.
        ends: how many values each forecast knows, (origins,), each at least 1.
        horizon: steps.
        seasons: of the series.

    Returns:
        (origins, CANDIDATES, horizon), and which of them the values known suffice for, (origins, CANDIDATES); the last
        value stands where they do not.
    """
    first, second = seasons
    history, ahead = _History(values), np.arange(horizon)
    made = np.empty((len(ends), CANDIDATES, horizon))
    usable = np.zeros((len(ends), CANDIDATES), dtype=bool)
    last, around = values[ends - 1], first if first else 6
    made[:] = last[:, None, None]

    def put(place: int, forecast: np.ndarray, least: int) -> None:
        enough = ends >= least
        made[enough, place] = np.broadcast_to(forecast, (len(ends), horizon))[enough]
        usable[:, place] = enough

    put(0, last[:, None], 1)
    put(1, history.mean(ends, around)[:, None], 3)
    season = history.mean(ends, 3)[:, None] + np.zeros(horizon)
    if first:
        ago, _ = history.lag(ends, ahead, first)
        parts = [history.lag(ends, ahead, first, more) for more in range(4)]
        known = np.stack([seen for _, seen in parts])
        season = np.where(known, np.stack([value for value, _ in parts]), 0.0).sum(0) / np.maximum(known.sum(0), 1)
        drift = (history.mean(ends, first) - history.mean(np.maximum(ends - first, 1), first)) / first
        put(2, ago, first)
        put(3, season, 2 * first)
        put(4, ago + drift[:, None] * (first * (1 + ahead // first)), 2 * first)
        put(8, season + (history.mean(ends, first) - history.mean(ends, 4 * first))[:, None], 3 * first)
    if second:
        ago, _ = history.lag(ends, ahead, second)
        change = history.mean(ends, around) - history.mean(np.maximum(ends - second, 1), around)
        put(5, ago, second)
        put(6, ago + change[:, None], second + around)
    put(7, *_trend(history, ends, ahead, first, season))
    put(9, history.line(ends, np.minimum(ends, int(np.clip(3 * horizon, 16, 120))), ahead), 8)
    put(10, np.median(values[np.maximum(ends[:, None] - np.arange(1, 8), 0)], axis=1)[:, None], 5)
    return made, usable


def _trend(
    history: _History, ends: np.ndarray, ahead: np.ndarray, season: int, wave: np.ndarray
) -> tuple[np.ndarray, int]:
    """A line through the halves of a stretch of whole seasons, with the season's shape; and the least history."""
    unit = 2 * max(season, 1)
    wanted = unit * max(1, round(max(12, min(2 * len(ahead), 48)) / unit))
    steps = np.maximum(np.minimum(wanted, ends // unit * unit), 2)
    half = steps // 2
    before = history.mean(np.maximum(ends - half, 1), half)
    now = history.mean(ends, half)
    line = now[:, None] + ((now - before) / half)[:, None] * (ahead + 0.5 + half[:, None] / 2)
    shape = wave - history.mean(ends, 4 * season)[:, None] if season else 0.0
    return line + shape, max(4, unit)


def without_spikes(values: np.ndarray) -> np.ndarray:
    """Values whose last 60 hold no single ones far off their neighbours, which are put back to the median around them.

    A series that is often zero, or has more than three of them, is left as it is: there they belong to it.
    """
    recent = values[-400:]
    if len(recent) < 12 or (recent == 0).mean() > 0.2:
        return values
    count = min(len(recent), 60)
    padded = np.pad(recent[-count - 3 :] if len(recent) > count + 3 else recent, (0, 3), mode="reflect")
    around = np.median(sliding_window_view(padded, 7), axis=1)[-count:]
    count = len(around)
    off = np.abs(recent[-count:] - around)
    usual = 15 * np.median(np.abs(np.diff(recent)))
    spread = 6 * np.median(np.abs(recent - np.median(recent)))
    far = (off > usual) & (off > spread)
    if not 1 <= far.sum() <= 3:
        return values
    cleaned = values.copy()
    cleaned[-count:][far] = around[far]
    return cleaned


def pooled(values: np.ndarray, horizon: int, seasons: Seasons) -> Pool:
    """The simple forecasts of what follows a history, weighted by how well they did on it.

    Args:
        values: (n,), finite, n at least 1.
        horizon: steps.
        seasons: of the series.
    """
    values = without_spikes(values)
    count, recent = len(values), values[-max(4 * seasons[0], 64) :]
    made, usable = (part[0] for part in simple_forecasts(values, np.array([count]), horizon, seasons))
    # A constant has no error; what double precision resolves of its level is the least.
    least = 1e-3 * float(recent.std()) + 1e-9 * float(np.abs(recent).max()) + 1e-12
    tried, ends = _backtests(count, horizon, seasons)
    if not len(ends):
        shares = usable / usable.sum()
        moves = float(np.abs(np.diff(values)).mean()) if count > 1 else 0.1 * abs(float(values[-1]))
        scale = max(float(recent.std()), moves, least)
        return Pool(made, usable, shares, np.where(usable, scale, np.inf), shares @ made, scale, np.ones(horizon))
    past, known = simple_forecasts(values, ends, tried, seasons)
    actual = values[ends[:, None] + np.arange(tried)]
    recency = _RECENCY ** np.arange(len(ends))
    weights = (known & usable) * (recency / recency.sum())[:, None]
    total = weights.sum(0)
    judged = total >= 0.5 * total.max()
    mean_error = (np.abs(past - actual[:, None]).mean(2) * weights).sum(0) / np.maximum(total, 1e-12)
    errors = np.where(judged, mean_error, np.inf)
    shares = ((errors + least) / (errors.min() + least)) ** -_SHARPNESS
    shares /= shares.sum()
    missed = np.abs(np.einsum("k,okh->oh", shares, past) - actual)
    off, recency = missed.mean(1), recency / recency.sum()
    # Of a mean absolute error the deviation; more where few forecasts tell it, by which the shares were chosen too.
    scale = max(1.25 * (1 + 1 / len(ends)) * float(off @ recency), least)
    profile = np.pad(recency @ missed / scale, (0, horizon - tried), mode="edge")
    tail = float(np.sqrt((missed**2).mean()) + least) / float(missed.mean() + least)
    return Pool(made, usable, shares, errors, shares @ made, scale, profile, len(ends), tail)


def _backtests(count: int, horizon: int, seasons: Seasons) -> tuple[int, np.ndarray]:
    """The horizon of past forecasts, and how many values each knew, the latest first."""
    step = max(1, horizon // 2 if horizon < 24 else horizon // 3)
    least = max(3, min(2 * seasons[0], count // 2))
    ends = count - horizon - step * np.arange(_ORIGINS)
    ends = ends[ends >= least]
    if len(ends) or count < 6:
        return horizon, ends
    shorter = max(1, min(horizon, count // 3))
    return shorter, np.array([count - shorter])
