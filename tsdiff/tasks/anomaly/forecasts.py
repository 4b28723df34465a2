"""Anomaly scores by forecasts: how far out in the law of its own forecast each value lies, told those before it alone.

The forecasts are the anchors of a model that has them (`tsdiff.windows.anchors`): a mean and a deviation of each step,
without any diffusion. Where its errors last from one step to the next, as those of a series that wanders do, what is
new in each of them counts, too. Values that lie far out are kept from the forecasts of those after them, as if they
were missing, until most of the last ones do: then the series has changed, and they are told as they are.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from shared.checks import Checked, Count, NonNegative, Positive
from tsdiff.data.entries import ROUNDING
from tsdiff.sampling.anchor_share import anchor_surprise
from tsdiff.tasks.anomaly.calendars import with_calendar
from tsdiff.tasks.anomaly.lasting import Lasting, lasting_errors, news
from tsdiff.windows.anchors import remembered
from tsdiff.windows.filling import expected
from tsdiff.windows.sides import pool_of
from tsdiff.windows.simple import Seasons
from tsdiff.windows.weighing import Weighing, weighed

_FIRST_KNOWN = 8
"""Values of a series that are known before the first one that is scored; half of a shorter one."""
_RECENT, _FARTHEST = 8000, 1e300
_TELLING, _RARE, _COUNTED, _PASSES = 24, 4, 10.0, 10
"""Changes whose deviation tells what is usual; how often one as large must have been seen to be usual itself, which is
twice for a single value, there and back; the deviations that one which is rarer counts for at most; and how often those
are looked for, one having hidden another."""
_TINY = 1e-200
"""Less is rounding, whatever the values."""
_UNKNOWN = 4.0
"""Of the deviation of all values so far, by the share, that counts as error before any season is known."""
_BESIDE = 1.0
"""Nats by which what is new in an error is to be rarer than the error itself: the chance of either adds to the other's,
and what lasts is not to be hidden among what is new by chance."""
_SLOW = 7
"""Forecasts that a season lasts at most, unless it is the shortest, to be waited for: weeks of hours, not minutes."""
_PARTS = 12
"""Of a season that is longer than a forecast, one of which is forecast at a time until two seasons are known."""


@dataclass(frozen=True)
class ForecastScoring(Checked):
    """How steps are scored by forecasts of them.

    Args:
        steps: that are forecast at a time, fewer where fewer values are known before, and a twelfth of a season that is
            longer than they are until two of it are known: nobody knows before how half a year of weeks goes on. More
            see changes of level for longer and cost less; fewer are nearer to what they forecast.
        outlying: deviations from its forecast beyond which a value is not told to the forecasts after it, unless more
            than half of the last `steps` values are such; of what is new in an error that lasts, too, unless the next
            one is such.
        share: of the deviation of the last 8,000 changes over `steps` steps, by √2, that counts as error of each
            forecast beside its own, of what is new at most that of single steps; of the values themselves where no such
            changes are known yet. What is little beside the series' usual movements is no anomaly, however sure a
            forecast was. A change of more than ten deviations counts for ten at later steps, until four as large have
            been seen. Until two seasons are known, the deviation of all values so far counts, too: four times the share
            until one is known, then less and less. 0 leaves the forecast as sure as it is.
        last: steps at the end of a series that are scored, told all that lies before them; of a shorter series all, as
            None scores.
        calendar_days: forecasts know of days of the month and the year on which a daily series has differed, and of
            weekdays and Easter in a monthly one, as those of `Sampling.calendar_days` do.

    Raises:
        ConfigError: a value out of its range.
    """

    steps: Count = 24
    outlying: Positive = 3.0
    share: NonNegative = 0.5
    last: Count | None = None
    calendar_days: bool = True


def forecast_scores(
    values: np.ndarray,
    seasons: Seasons,
    settings: ForecastScoring,
    weighing: Weighing | None = None,
    start: pd.Period | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """−log of the chance that a forecast gives a value at least as far off on either side, in nats.

    0 is what was foreseen, .69 the middle of all, 4.6 one in a hundred, by the law that anchors have on real series
    (`tsdiff.sampling.anchor_share.anchor_surprise`); less with a `share`. Where errors last from one step to the next,
    that of what is new in them, less 1, if it is more. A step's score depends on no later value. NaN where the value is
    missing, before the `last` steps, and of the first eight values, or half of fewer than sixteen, which too little is
    known before.

    Args:
        values: (n,), NaN where missing.
        seasons: of the series.
        settings: how.
        weighing: of the simple forecasts; None takes the bundled one.
        start: of the first step, for what the calendar does to daily and monthly series; None leaves it out.

    Returns:
        The scores, (n,); and what those of steps before two seasons were known would be if they had been, (n,), NaN of
        the others: later scores compare with these, not with the smaller ones.
    """
    mean, deviation, new, size = rolling_forecasts(values, seasons, settings, weighing, start)
    series = pd.Series(values)
    whole = _usual(series, series.expanding().median().shift(1), max(len(series), 2))
    # Where no change over so many steps is known yet, the values tell.
    usual, step = (_changes(series, steps).fillna(whole).to_numpy() for steps in (settings.steps, 1))
    unknown = _unknown(values, seasons, settings.steps)
    season = _UNKNOWN * unknown * whole.to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        # What is constant is foreseen but for its last digits.
        off, new = (np.maximum(np.abs(one) - ROUNDING * np.abs(mean) - _TINY, 0.0) for one in (values - mean, new))

    def surprise(away: np.ndarray, deviation: np.ndarray, beside: np.ndarray) -> np.ndarray:
        error = settings.share * np.nan_to_num(beside, posinf=0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            return anchor_surprise(np.minimum(away / np.hypot(deviation, error), _FARTHEST))

    def surprises(beside: np.ndarray) -> np.ndarray:
        error, latest = (
            surprise(away, deviation, np.hypot(changes, beside))
            for away, deviation, changes in ((off, deviation, usual), (new, size, np.minimum(step, usual)))
        )
        return np.where(np.isnan(latest), error, np.fmax(error, latest - _BESIDE))

    return surprises(season), np.where(unknown > 0, surprises(np.zeros_like(season)), np.nan)


def _changes(series: pd.Series, steps: int) -> pd.Series:
    """The deviation of the last changes over so many steps, by √2."""
    return _usual(series.diff(steps), 0.0, _RECENT) / np.sqrt(2)


def _usual(values: pd.Series, middle: pd.Series | float, window: int) -> pd.Series:
    """The deviation of the last values at each step, its own among them.

    A slipped decimal point would hide for good what comes after it: what is rare and far beyond those before it, from
    `middle` on, counts for little at later steps.
    """
    away = values - middle
    limited, usual = values, _deviation(values, window)
    if not (away.abs() > _COUNTED * usual.shift(1)).any():
        return usual
    seen, telling = _largest(away.abs().to_numpy()), values.expanding().count() > _TELLING
    for _ in range(_PASSES):
        most = np.fmax(_COUNTED * usual.shift(1), seen)
        before, limited = limited, (middle + away.clip(-most, most)).where(telling, values)
        usual = _deviation(limited, window)
        if limited.equals(before):
            break
    with np.errstate(over="ignore", invalid="ignore"):
        own = (away**2 - (limited - middle) ** 2) / values.rolling(window, min_periods=1).count()
        return pd.Series(np.hypot(usual, np.sqrt(own)))


def _deviation(values: pd.Series, window: int) -> pd.Series:
    return values.rolling(window, min_periods=2).std(ddof=0)


def _largest(size: np.ndarray) -> np.ndarray:
    """Of the sizes before each one, NaN among them, the fourth largest; 0 until there are so many."""
    found, top = np.zeros(len(size)), [0.0] * _RARE
    for step, value in enumerate(size):
        found[step] = top[0]
        if value > top[0]:
            heapq.heapreplace(top, value)
    return found


def _unknown(values: np.ndarray, seasons: Seasons, steps: int) -> np.ndarray:
    """How little of the seasons is known at each step, (n,): 1 until a whole one is, from two on 0."""
    longest = max(season for season in seasons if season <= max(_SLOW * steps, seasons[0]))
    known = np.cumsum(~np.isnan(values))
    return np.clip(2 - known / max(longest, 1), 0, 1)


def rolling_forecasts(
    values: np.ndarray,
    seasons: Seasons,
    settings: ForecastScoring,
    weighing: Weighing | None = None,
    start: pd.Period | None = None,
) -> np.ndarray:
    """Mean and deviation of a forecast of each step from values before it, NaN where `forecast_scores` has NaN, or no
    value is to be scored; what is new in its error and the deviation of that, NaN where errors do not last, too:
    (4, n). Arguments as there."""
    made = np.full((4, len(values)), np.nan)
    places = np.flatnonzero(~np.isnan(values))
    before = 0 if settings.last is None else int(np.searchsorted(places, len(values) - settings.last))
    forecast = with_calendar(partial(_forecast, seasons=seasons, weighing=weighing), start, values)
    told, seen = values.copy(), max(before, min(_FIRST_KNOWN, len(places) // 2))
    while 0 < seen < len(places):
        first = int(places[seen])
        end = first + min(_reach(seasons[0], settings.steps, seen), seen)
        ahead = slice(first, min(end, len(values)))
        after_gap = bool(np.isnan(told[first - 1]))
        mean, deviation, lasting = forecast(told[:first], end - first)
        made[:2, ahead] = np.stack([mean, deviation])[:, : len(values) - first]
        with np.errstate(over="ignore", invalid="ignore"):
            off = values[ahead] - made[0, ahead]
            made[2, ahead], made[3, ahead], far = news(off, made[1, ahead], lasting, settings.outlying, after_gap)
            away = far | (np.abs(off) > settings.outlying * made[1, ahead])
        told[ahead][away] = np.nan
        _tell_recurring(told, values, first + np.flatnonzero(away), off[away], seasons)
        lately = slice(max(0, end - settings.steps), end)
        known, kept = ~np.isnan(values[lately]), ~np.isnan(told[lately])
        if 2 * kept.sum() < known.sum():
            told[lately] = values[lately]
        seen = int(np.searchsorted(places, end))
    return made


def _tell_recurring(
    told: np.ndarray, values: np.ndarray, places: np.ndarray, off: np.ndarray, seasons: Seasons
) -> None:
    """Put back values far off their forecasts that a season before foretells at least twice as well, and those with
    them: office hours, say, are less than half of a day, and would be kept from all forecasts for good."""
    for season in (one for one in seasons if one > 1):
        later = places >= season
        at, before = places[later], places[later] - season
        with np.errstate(over="ignore", invalid="ignore"):
            again = 2 * np.abs(values[at] - values[before]) <= np.abs(off[later])
        for back in (at[again], before[again]):
            told[back] = values[back]


def _reach(season: int, steps: int, seen: int) -> int:
    """Steps that are forecast at a time: a part of a season that is longer than those, until two are known."""
    return min(steps, max(1, season // _PARTS)) if steps < season and seen < 2 * season else steps


def _forecast(
    told: np.ndarray, count: int, seasons: Seasons, weighing: Weighing | None
) -> tuple[np.ndarray, np.ndarray, Lasting]:
    """Mean and deviation of so many steps, (count,), after a series (length,), from its last known values, and how its
    errors last."""
    known = ~np.isnan(told)
    last = int(np.flatnonzero(known)[-1]) + 1
    past, gap = slice(max(0, last - remembered(seasons)), last), len(told) - last
    pool = pool_of(expected(told[past], seasons).values, known[past], gap + count, seasons)
    assert pool is not None
    (pool,) = weighed([pool], weighing)
    lasting = lasting_errors(pool.missed, ROUNDING * float(np.abs(pool.mean).max()))
    return pool.mean[gap:], (pool.scale * pool.profile)[gap:], lasting
