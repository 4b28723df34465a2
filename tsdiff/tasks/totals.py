"""Running totals, as meters, odometers and counts of all so far: what they grow by is forecast, and added up, so that
no path falls, and what comes and goes is not taken for noise of a level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast

from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry, named_entries, target_of
from tsdiff.data.frequency import shifted
from tsdiff.tasks.covariates import PAST
from tsdiff.tasks.imputation.filling import Imputation
from tsdiff.tasks.noted import Make, made_of
from tsdiff.tasks.restarts import restarts_of
from tsdiff.windows.gaps import stretches

_RECENT, _FEWEST, _OFTEN = 2048, 30, 1 / 6
"""Steps that are looked at at least, how many are known, and the share of them that grow: what grows less often is a
matter of jumps (`tsdiff.sampling.jumps`)."""
_SEASONS = 4
"""Seasons from which on each time of them has a mean of its own."""
_ALIKE = 0.25
"""The correlation of one step's growth with the next's, at most: a line with noise has less than minus this, for what
is too much comes off again; a curve that bends has more, but none that starts again from 0."""

_RARE, _REGULAR = 100, 1.2
"""Steps for each time that a counter starts again from 0, at least; and how much longer than the shortest the longest
time between three of them is, up to which they are regular: those come again, as of what counts each month."""


def growth_of(history: np.ndarray, season: int) -> np.ndarray | None:
    """What a history (length,), NaN where missing, grows by from one step to the next, (length − 1,), if it is a
    running total; None if not. Where it started again from 0, as counters of a machine do with it, that is missing.

    Args:
        history: of the series.
        season: in steps; 1 where there is none.
    """
    if len(history) <= _FEWEST:
        return None
    growth = np.diff(history)
    growth[_restarts(history, growth, season)] = np.nan
    begun = int(np.argmax(growth > 0))  # before it nothing was counted
    recent = growth[begun:][-max(_RECENT, _SEASONS * season) :]
    known = recent[np.isfinite(recent)]
    if len(known) < _FEWEST or not np.isfinite(history[-1]) or (growth < 0).any() or (known > 0).mean() <= _OFTEN:
        return None
    alike = _correlation(_without_season(recent, season))
    return growth if abs(alike) <= _ALIKE or (0 < alike < np.inf and _starts_again(history, growth)) else None


def growth_by_calendar(history: np.ndarray, restarts: np.ndarray, season: int) -> np.ndarray | None:
    """`growth_of` a running total that starts again from 0 at some steps (k,), at which it is what it has grown by;
    None where it is none."""
    if len(history) <= _FEWEST or not np.isfinite(history[-1]):
        return None
    growth = np.diff(history)
    growth[restarts - 1] = history[restarts]
    known = growth[np.isfinite(growth)]
    if len(known) < _FEWEST or (known < 0).any() or (known > 0).mean() <= _OFTEN:
        return None
    return growth if _correlation(_without_season(growth, season)) >= -_ALIKE else None


def _restarts(history: np.ndarray, growth: np.ndarray, season: int) -> np.ndarray:
    """The steps (n,) by which a history falls, if it starts again from 0 at each, seldom and at no certain times: what
    it is then has come in one step."""
    falls = np.flatnonzero(growth < 0)
    none = falls[:0]
    if not falls.size or not (growth > 0).any() or len(falls) * _RARE > np.isfinite(growth).sum():
        return none
    after, between, most = history[falls + 1], np.diff(falls), np.nanmax(growth)
    if after.min() < 0 or after.max() > most or most > -growth[falls].max():  # or one value is wrong
        return none
    if len(falls) > 1 and 2 * len(np.unique(falls % season)) <= len(falls):
        return none
    return none if len(falls) > 2 and between.max() <= _REGULAR * between.min() else falls


def _starts_again(history: np.ndarray, growth: np.ndarray) -> bool:
    """Whether a history that never falls but by restarts, or within gaps, does so, seldom and to what may have come
    since."""
    places = np.flatnonzero(np.isfinite(history))
    falls = np.flatnonzero(np.diff(history[places]) < 0)
    after, most = history[places[falls + 1]], np.diff(places)[falls] * np.nanmax(growth)
    return bool(falls.size) and len(falls) * _RARE <= len(places) and bool(((after >= 0) & (after <= most)).all())


def around_totals(
    make: Make[SampleForecast], dataset: Iterable[Entry], num_samples: int, season: int, horizon: int
) -> Iterator[tuple[SampleForecast, bool]]:
    """Forecasts of series, of running totals by what they grow by.

    Args:
        make: forecasts, entry by entry, in order.
        dataset, num_samples: for `make`; entries with covariates are left as they are, which tell of the values.
        season: in steps; 1 where there is none.
        horizon: steps to forecast.

    Yields:
        One forecast an entry, and whether it is of a running total.
    """
    for made, target in made_of(make, _grown(dataset, season, horizon), num_samples):
        if target is None:
            yield made, False
            continue
        samples = target.values[-1] + np.cumsum(np.maximum(made.samples, 0.0), axis=1)
        for step in target.restarts:
            samples[:, step:] -= samples[:, step - 1, None] if step else target.values[-1]
        yield SampleForecast(samples, start_date=made.start_date, item_id=made.item_id, info=made.info), True


def around_gaps_of_totals(
    make: Make[Imputation], dataset: Iterable[Entry], num_samples: int, season: int
) -> Iterator[Imputation]:
    """Filled series, running totals by what they grow by, which is made to be what lies between both sides of a gap.

    Args:
        make, dataset, num_samples, season: as in `around_totals`.
    """
    for made, total in made_of(make, _grown(dataset, season), num_samples):
        if total is None:
            yield made
            continue
        target = total.values
        paths = np.tile(target, (len(made.samples), 1))
        growth, known = np.maximum(made.paths, 0.0), target[np.isfinite(target)]
        for start, stop in stretches(np.isnan(target)):
            if start == 0:
                paths[:, :stop] = target[stop] - np.cumsum(growth[:, stop - 1 :: -1], axis=1)[:, ::-1]
            else:
                paths[:, start:stop] = _between(target[start - 1], target[stop], growth[:, start - 1 : stop])
        samples = paths[:, np.isnan(target)]
        if (known >= 0).all():
            samples = np.maximum(samples, 0.0)
        if (known == np.rint(known)).all():
            samples = np.rint(samples)
        yield replace(made, start=made.start - 1, target=target, samples=samples)


def _between(left: float, right: float, growth: np.ndarray) -> np.ndarray:
    """What lies between two values of a total that grows so, (draws, steps + 1), as far as both say: (draws, steps).
    Where it has fallen, it started again from 0 when the later one says."""
    if right < left:
        grown = np.cumsum(growth, axis=1)
        since = right - (grown[:, -1:] - grown)[:, :-1]
        return np.where(since >= 0, since, left + grown[:, :-1])
    together = growth.sum(axis=1, keepdims=True)
    shares = np.where(together > 0, growth / np.where(together > 0, together, 1.0), 1 / growth.shape[1])
    return np.clip(left + (right - left) * np.cumsum(shares, axis=1)[:, :-1], left, right)


@dataclass(frozen=True)
class _Total:
    """A running total.

    Attributes:
        values: of its history, (length,).
        restarts: steps of the horizon at which it starts again from 0.
    """

    values: np.ndarray
    restarts: np.ndarray


def _grown(dataset: Iterable[Entry], season: int, horizon: int = 0) -> Iterator[tuple[Entry, _Total | None]]:
    """Series, and in place of running totals what they grow by, with the total; with a horizon, those too that start
    again by the calendar."""
    for name, entry in named_entries(dataset):
        target = target_of(entry, name)
        alone = target.ndim == 1 and all(entry.get(field) is None for field in (DYNAMIC, PAST))
        dated = isinstance(entry.get("start"), pd.Period)  # of another the forecaster tells what it needs
        growth, restarts = None, np.zeros(0, dtype=int)
        found = restarts_of(target, entry["start"], horizon) if horizon and alone and dated else None
        if found is not None:
            growth = growth_by_calendar(target, found[found < len(target)], season)
            restarts = found[found >= len(target)] - len(target)
        if growth is None and alone and dated:
            growth, restarts = growth_of(target, season), restarts[:0]
        if growth is None:
            yield entry, None
        else:
            yield {**entry, "target": growth, "start": shifted(entry["start"], 1)}, _Total(target, restarts)


def _without_season(growth: np.ndarray, season: int) -> np.ndarray:
    """What growth (n,), NaN where missing, is off the mean of its time of the season, or of all where few are known."""
    if season <= 1 or len(growth) < _SEASONS * season:
        return growth - np.nanmean(growth)
    phases = np.arange(len(growth)) % season
    known = np.isfinite(growth)
    totals = np.bincount(phases[known], growth[known], season)
    counts = np.bincount(phases[known], minlength=season)
    return growth - (totals / np.maximum(counts, 1))[phases]


def _correlation(off: np.ndarray) -> float:
    """Of values (n,), NaN where missing, with the next, around 0; infinite where nothing tells."""
    both = np.isfinite(off[1:]) & np.isfinite(off[:-1])
    before, after = off[:-1][both], off[1:][both]
    power = float(np.sqrt((before @ before) * (after @ after)))
    return float(before @ after) / power if power > 0 else float("inf")
