"""Exponential smoothing from many origins of a series at once, its rates fitted to the series.

Of each value there is what its season leads one to expect, a smoothed mean of the seasons before, and what it is off
that, which goes on smoothed, or dies away. With both smoothed that is Box and Jenkins' "airline" model, near to
Holt-Winters' (Hyndman and Athanasopoulos 2021, "Forecasting: Principles and Practice", chapters 8 and 9). Filters of
first order make the forecasts of all steps at once; of a few rates those are taken that missed least of what the first
origin knows, one, half a horizon and a horizon ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

_KEEPS = (0.0, 0.5, 0.8, 1.0)
_CARRIES, _SMOOTHS = (
    np.array([1.0, 1.0, 1.0, 1.0, 0.97, 0.85, 0.6, 0.0]),
    np.array([0.0, 0.5, 0.8, 0.95, 0.6, 0.0, 0.0, 0.0]),
)
_USUAL = 2
"""Of these, for the choice of the season's."""
_MOST_SEASONS, _MOST_STEPS = 9, 400
"""Last values that are looked at: the more of the two."""


@dataclass(frozen=True)
class Rates:
    """How fast things are forgotten.

    Attributes:
        keep: of what a season leads to expect, the share that stays beside the next one; 1 is the mean of all.
        carry: of what a value is off it, the share that goes on to the next step.
        smooth: of the level of that, the share that stays beside the next value.
    """

    keep: float
    carry: float
    smooth: float


def smoothed_forecasts(
    values: _Floats, ends: NDArray[np.int_], horizon: int, season: int, rates: Rates | None = None
) -> tuple[_Floats, Rates]:
    """Forecasts of the `horizon` steps after each end: (origins, horizon), and the rates.

    Args:
        values: (n,), finite.
        ends: how many values each knows, (origins,), each at least 2 seasons, and 4.
        horizon: steps.
        season: 0 for none.
        rates: None fits them; they do not depend on the level, nor on the unit.

    Nothing is raised: every history that is long enough has a forecast. Values older than nine seasons, and than 400
    steps, before the first end are not looked at.
    """
    dropped = max(0, int(ends.min()) - max(_MOST_SEASONS * season, _MOST_STEPS))
    values, ends = values[dropped:], ends - dropped
    known = int(ends.min())
    level = float(values[:known].mean())
    rows = _SeasonRows(values - level, season)
    if rates is None:
        rates, expected, coming = _fitted(rows, known, min(horizon, season) if season else horizon)
    else:
        expected, off = rows.apart(rates.keep)
        coming = rows.next(off, rates.carry, rates.smooth)
    made = coming[ends - 1, None] * rates.carry ** np.arange(horizon)
    if season:
        usual = expected[ends[:, None] + np.arange(horizon) % season]
        gain = rows.gain(rates.keep, ends)[:, None]
        for begin in range(season, horizon, season):  # each season expects what the one before it was forecast to be
            end = min(begin + season, horizon)
            before = slice(begin - season, end - season)
            usual[:, begin:end] = usual[:, before] + gain * made[:, before]
        made += usual
    return made + level, rates


class _SeasonRows:
    """Values (n,), which are also read as rows of a season each; what the first row lacks is taken from the second."""

    def __init__(self, values: _Floats, season: int):
        self.values, self.season = values, season
        if season:
            self.lead = -len(values) % season
            self.rows = np.concatenate([values[season - self.lead : season], values]).reshape(-1, season)

    def apart(self, keep: float) -> tuple[_Floats, _Floats]:
        """What is expected of each step and of the season after the last, (n + season,), and what the values are off
        it, (n,), 0 in the first row."""
        if not self.season:
            return np.zeros(0), self.values
        expected = _filtered(self.rows, 1.0, keep) / self._weight(keep)[:, None]
        expected = np.concatenate([self.rows[:1], expected]).reshape(-1)[self.lead :]
        return expected, self.values - expected[: len(self.values)]

    def next(self, off: _Floats, carry: float, smooth: float) -> _Floats:
        """How far off the next value is expected to be, after each: as `off`, (..., n)."""
        if not smooth:
            return carry * off
        stays, begin = carry * smooth, min(self.season, off.shape[-1] - 1)
        made = np.zeros_like(off)
        # The first value stands for all before it.
        made[..., begin:] = _filtered(off[..., begin:], carry - stays, stays, stays * off[..., begin : begin + 1])
        return made

    def gain(self, keep: float, ends: NDArray[np.int_]) -> _Floats:
        """The share of a new value in what its season leads to expect."""
        return 1 / self._weight(keep)[(ends + self.lead - 1) // self.season]

    def _weight(self, keep: float) -> _Floats:
        return np.cumsum(keep ** np.arange(len(self.rows)))


def _filtered(values: _Floats, share: float, stays: float, start: _Floats | None = None) -> _Floats:
    """y = share · x + stays · y before it: along the first axis, or along the last with a start."""
    from scipy.signal import lfilter  # takes a while to load

    if not stays:
        return share * values
    if start is None:
        return np.asarray(lfilter([share], [1.0, -stays], values, axis=0))
    return np.asarray(lfilter([share], [1.0, -stays], values, axis=-1, zi=start)[0])


def _fitted(rows: _SeasonRows, known: int, farthest: int) -> tuple[Rates, _Floats, _Floats]:
    """The rates that missed least of the first `known` values, of the season first, with a usual level; and what they
    lead to expect of each step, and how far off that of the next value, as `apart` and `next` give it."""
    keeps = _KEEPS if rows.season and known >= 3 * rows.season else _KEEPS[:1]
    judged = known - rows.season
    begin = rows.season + judged // 4  # the means settle before
    farthest = max(1, min(farthest, judged // 2))
    expected, offs = zip(*map(rows.apart, keeps), strict=True)
    chosen = 0
    if len(keeps) > 1:
        off = np.stack(offs)
        coming = rows.next(off, _CARRIES[_USUAL], _SMOOTHS[_USUAL])
        chosen = int(_missed(off, coming, _CARRIES[[_USUAL]], begin, known, farthest).argmin())
    off = offs[chosen]
    coming = np.stack([rows.next(off, *how) for how in zip(_CARRIES, _SMOOTHS, strict=True)])
    best = int(_missed(off, coming, _CARRIES, begin, known, farthest).argmin())
    return Rates(keeps[chosen], float(_CARRIES[best]), float(_SMOOTHS[best])), expected[chosen], coming[best]


def _missed(off: _Floats, coming: _Floats, carries: _Floats, begin: int, known: int, farthest: int) -> _Floats:
    """Mean absolute errors of forecasts made of what is known, (choices,).

    Args:
        off: what the values are off what is expected, (n,), or (choices, n).
        coming: how far off the next one was expected to be, (choices, n).
        carries: what of that goes on at each further step, (choices,), or (1,) for all.
        begin, known: forecasts are made from the one to the other.
        farthest: steps ahead, fewer than lie between them.
    """
    total = np.zeros(len(coming))
    for step in {1, max(1, farthest // 2), farthest}:
        missed = coming[:, begin : known - step] * carries[:, None] ** (step - 1)
        missed -= off[..., begin + step : known]
        np.abs(missed, out=missed)
        total += missed.mean(1)
    return total
