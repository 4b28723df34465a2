"""Simple forecasts of a series, made of many of its pasts at once: last values, means, seasons, trends, regressions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsdiff.windows.smoothing import smoothed_forecasts

Seasons = tuple[int, int]
"""Steps of the first and of a longer season; 0 where there is none."""

CANDIDATES = 25
"""Simple forecasts; see `simple_forecasts`."""

_FEWEST_SMOOTHED, _MOST_GROWN = 6, 10.0
"""Values that a level is smoothed of, and how far beyond the largest one growth may lead."""


class _History:
    """Values (n,) with the sums that make means and lines of any stretch cheap.

    Args:
        values: (n,).
        before: of which what is fitted is learnt.
    """

    def __init__(self, values: np.ndarray, before: int):
        self.values, self.before = values, before
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

    def lag(self, ends: np.ndarray, ahead: np.ndarray, season: int) -> np.ndarray:
        """The value one season, or the last known whole number of seasons, before each step, or the first value of all:
        (ends, h)."""
        return self.values[np.maximum(ends[:, None] + ahead - season * (1 + ahead // season), 0)]

    def cycles(self, ends: np.ndarray, ahead: np.ndarray, season: int) -> np.ndarray:
        """The mean of up to four last seasons at each step: (ends, h)."""
        latest = ends[:, None] + ahead - season * (1 + ahead // season)
        total, count = np.zeros(latest.shape), np.zeros(latest.shape)
        for more in range(4):
            place = latest - more * season
            if place.min() >= 0:
                total += self.values[place]
                count += 1
            else:
                known = place >= 0
                total += np.where(known, self.values[np.maximum(place, 0)], 0.0)
                count += known
        return total / np.maximum(count, 1)

    def dying(self, ends: np.ndarray, ahead: np.ndarray, season: int, cycles: np.ndarray) -> np.ndarray:
        """`cycles`, and what they missed of the last value, which dies away as the changes over a season do."""
        missed = self.values[ends - 1] - self.cycles(ends - 1, np.zeros(1, dtype=int), season)[:, 0]
        seen = self.values[: self.before]
        change = seen[season:] - seen[:-season] if len(seen) > season + 2 else np.zeros(2)
        power = float(change @ change)
        kept = min(max(float(change[1:] @ change[:-1]) / power, 0.0), 0.995) if power > 0 else 0.0
        return cycles + missed[:, None] * kept ** (ahead + 1.0)

    def smoothed(self, ends: np.ndarray) -> np.ndarray:
        """Exponentially smoothed values, .3 of each new one, at each end."""
        from scipy.signal import lfilter  # takes a while to load

        level, _ = lfilter([0.3], [1.0, -0.7], self.values - self.level, zi=[0.7 * (self.values[0] - self.level)])
        return self.level + level[ends - 1]


def simple_forecasts(
    values: np.ndarray, ends: np.ndarray, horizon: int, seasons: Seasons
) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts of the `horizon` steps after the first values of a history.

    The last value; the mean of a season, or of six; the value a season ago; the mean of up to four seasons; a season
    ago with the drift of the last two; a longer season ago; that with the level of now; a trend with seasons; up to
    four seasons with the level of now; a line through the last steps; the median of seven; the mean of up to four
    longer seasons; that, and that of the seasons, with what they missed last, dying away; the mean of all; the seasons'
    shape around a smoothed level; a season ago, the longer one where there is, by the ratio of now, for positive
    series; the last step's change again and again, dying away; a linear autoregression of the values, and one of their
    changes; a line through everything; the mean of up to four seasons with that line's slope; exponential smoothing of
    level and season, of the values, of positive ones' logarithms, and of the values with the longer season. The
    autoregressions, what dies away and the rates of smoothing are fitted to what the first of the forecasts knows.

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
    history, ahead = _History(values, int(ends.min())), np.arange(horizon)
    made = np.empty((len(ends), CANDIDATES, horizon))
    usable = np.zeros((len(ends), CANDIDATES), dtype=bool)
    last, around = values[ends - 1], first if first else 6
    made[:] = last[:, None, None]

    shortest = int(ends.min())

    def put(place: int, forecast: np.ndarray, least: int) -> None:
        if shortest >= least:
            made[:, place] = forecast
            usable[:, place] = True
        else:
            enough = ends >= least
            made[enough, place] = np.broadcast_to(forecast, (len(ends), horizon))[enough]
            usable[:, place] = enough

    put(0, last[:, None], 1)
    put(1, history.mean(ends, around)[:, None], 3)
    season = history.mean(ends, 3)[:, None] + np.zeros(horizon)
    if first:
        ago = history.lag(ends, ahead, first)
        season = history.cycles(ends, ahead, first)
        drift = (history.mean(ends, first) - history.mean(np.maximum(ends - first, 1), first)) / first
        put(2, ago, first)
        put(3, season, 2 * first)
        put(4, ago + drift[:, None] * (first * (1 + ahead // first)), 2 * first)
        put(8, season + (history.mean(ends, first) - history.mean(ends, 4 * first))[:, None], 3 * first)
    if second:
        ago = history.lag(ends, ahead, second)
        change = history.mean(ends, around) - history.mean(np.maximum(ends - second, 1), around)
        put(5, ago, second)
        put(6, ago + change[:, None], second + around)
    shape = season - history.mean(ends, 4 * first)[:, None] if first else np.zeros((len(ends), horizon))
    put(7, *_trend(history, ends, ahead, first, shape))
    put(9, history.line(ends, np.minimum(ends, int(np.clip(3 * horizon, 16, 120))), ahead), 8)
    put(10, np.median(values[np.maximum(ends[:, None] - np.arange(1, 8), 0)], axis=1)[:, None], 5)
    if second:
        longer = history.cycles(ends, ahead, second)
        put(11, longer, 2 * second)
        put(12, history.dying(ends, ahead, second, longer), second + 1)
    if first:
        put(13, history.dying(ends, ahead, first, season), first + 1)
    put(14, history.mean(ends, len(values))[:, None], 8)
    put(15, history.smoothed(ends)[:, None] + shape, max(4, 2 * first))
    if first and values[: history.before].min() > 0:
        now, before = history.mean(ends, first), history.mean(np.maximum(ends - first, 1), first)
        ratio = np.divide(now, before, out=np.ones_like(now), where=(now > 0) & (before > 0))
        put(16, ago * np.clip(ratio, 0.2, 5.0)[:, None] ** (1 + ahead // first), 2 * first)
    change = values[ends - 1] - values[np.maximum(ends - 2, 0)]
    put(17, last[:, None] + 4 * change[:, None] * (1 - 0.8 ** (ahead + 1.0)), 4)
    regressions = [_Autoregression(values, history.before, seasons, changes) for changes in (False, True)]
    some = [one for one in regressions if one.enough]
    for forecast, one in zip(_regressed(some, ends, horizon), some, strict=True):
        put(19 if one.changes else 18, forecast, history.before)
    whole = history.line(ends, ends, ahead)
    put(20, whole, 8)
    if first:
        slope = (history.line(ends, ends, np.ones(1)) - history.line(ends, ends, np.zeros(1)))[:, 0]
        nearest = first * (1 + ahead // first)
        seen = np.clip((ends[:, None] + ahead - nearest) // first + 1, 1, 4)
        put(21, season + slope[:, None] * (nearest + first * (seen - 1) / 2), 2 * first)
    if shortest >= _FEWEST_SMOOTHED:
        period = first if shortest >= 2 * first else 0
        level, rates = smoothed_forecasts(values, ends, horizon, period)
        put(22, level, shortest)
        if values.min() > 0:
            grown, _ = smoothed_forecasts(np.log(values), ends, horizon, period, rates)
            put(23, np.exp(np.minimum(grown, np.log(_MOST_GROWN * values[: history.before].max()))), shortest)
    period = round(second / first) * first if first else 0  # 52 weeks rather than 365 days
    if period and shortest >= 2 * period:
        put(24, smoothed_forecasts(values, ends, horizon, period)[0], shortest)
    return made, usable


class _Autoregression:
    """A linear regression on a few last values and those around a season ago, by ridge (Hoerl and Kennard 1970).

    Args:
        values: (n,).
        before: of which it learns.
        seasons: of the series.
        changes: regress changes on changes, else values on values around their mean.
    """

    def __init__(self, values: np.ndarray, before: int, seasons: Seasons, changes: bool):
        self.values, self.changes = values, changes
        lags = {1, 2, 3} | {season + more for season in seasons if season for more in (0, 1)}
        self.lags = np.array([lag for lag in sorted(lags) if 4 * lag < before], dtype=int)
        seen = values[:before]
        self.low, self.high = float(seen.min()), float(seen.max())
        self.level = 0.0 if changes else float(seen.mean())
        x = np.diff(seen) if changes else seen - self.level
        self.longest = int(self.lags.max(initial=0))
        rows = len(x) - self.longest
        self.enough = 0 < 6 * len(self.lags) <= rows
        if self.enough:
            table = np.stack([x[self.longest - lag : len(x) - lag] for lag in self.lags], axis=1)
            square = table.T @ table
            ridge = 0.5 * len(self.lags) / rows * square.diagonal() + 1e-6 * square.trace() / len(square) + 1e-300
            self.coefficients = np.linalg.solve(square + np.diag(ridge), table.T @ x[self.longest :])

    def before(self, ends: np.ndarray) -> np.ndarray:
        """What is regressed on, the `longest` values before each end: (ends, longest)."""
        places = np.maximum(ends[:, None] - self.longest - 1 + np.arange(self.longest + 1), 0)
        x = self.values[places]
        return np.diff(x) if self.changes else x[:, 1:] - self.level

    def leads_to(self, x: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The values that what is regressed on, (ends, h), means, within what has been seen and once more that."""
        wide = self.high - self.low
        made = self.values[ends - 1][:, None] + np.cumsum(x, axis=1) if self.changes else x + self.level
        return np.clip(made, self.low - wide, self.high + wide)


def _regressed(some: Sequence[_Autoregression], ends: np.ndarray, horizon: int) -> list[np.ndarray]:
    """Forecasts of the `horizon` steps after each end by autoregressions with the same lags: (ends, h) each."""
    if not some:
        return []
    lags, known = some[0].lags, some[0].longest
    x = np.empty((len(some), len(ends), known + horizon))
    x[..., :known] = [one.before(ends) for one in some]
    coefficients = np.stack([one.coefficients for one in some])[..., None]
    most = np.array([2 * (one.high - one.low) for one in some])[:, None]
    for step in range(known, known + horizon):
        x[..., step] = np.minimum(np.maximum((x[..., step - lags] @ coefficients)[..., 0], -most), most)
    return [one.leads_to(x[place, :, known:], ends) for place, one in enumerate(some)]


def _trend(
    history: _History, ends: np.ndarray, ahead: np.ndarray, season: int, shape: np.ndarray
) -> tuple[np.ndarray, int]:
    """A line through the halves of a stretch of whole seasons, with the season's shape; and the least history."""
    unit = 2 * max(season, 1)
    wanted = unit * max(1, round(max(12, min(2 * len(ahead), 48)) / unit))
    steps = np.maximum(np.minimum(wanted, ends // unit * unit), 2)
    half = steps // 2
    before = history.mean(np.maximum(ends - half, 1), half)
    now = history.mean(ends, half)
    line = now[:, None] + ((now - before) / half)[:, None] * (ahead + 0.5 + half[:, None] / 2)
    return line + shape, max(4, unit)
