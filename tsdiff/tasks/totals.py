"""Running totals, as meters, odometers and counts of all so far: what they grow by is forecast, and added up, so that
no path falls, and what comes and goes is not taken for noise of a level."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from gluonts.model.forecast import SampleForecast

from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry, named_entries, target_of
from tsdiff.tasks.covariates import PAST

_RECENT, _FEWEST, _OFTEN = 2048, 30, 1 / 6
"""Steps that are looked at, how many are known at least, and the share of them that grow: what grows less often is a
matter of jumps (`tsdiff.sampling.jumps`)."""
_EVEN, _SEASONS = 0.02, 4
"""The least deviation of what a total grows by, by its mean, so that it is no line; and the seasons whose phases have
means of their own."""
_ALIKE = 0.25
"""The correlation of one step's growth with the next's, at most: a line with noise has less than minus this, for what
is too much comes off again; a curve that bends has more."""

Make = Callable[[Iterable[Entry], int], Iterator[SampleForecast]]


def growth_of(history: np.ndarray, season: int) -> np.ndarray | None:
    """What a history (length,), NaN where missing, grows by from one step to the next, (length − 1,), if it is a
    running total; None if not.

    Args:
        history: of the series.
        season: in steps; 1 where there is none.
    """
    recent = np.diff(history[-_RECENT:])
    known = recent[np.isfinite(recent)]
    if len(known) < _FEWEST or not np.isfinite(history[-1]) or (known < 0).any() or (known > 0).mean() <= _OFTEN:
        return None
    growth = np.diff(history)
    if (growth < 0).any() or known.std() < _EVEN * known.mean():
        return None
    return growth if abs(_correlation(_without_season(recent, season))) <= _ALIKE else None


def around_totals(
    make: Make, dataset: Iterable[Entry], num_samples: int, season: int
) -> Iterator[tuple[SampleForecast, bool]]:
    """Forecasts of series, of running totals by what they grow by.

    Args:
        make: forecasts, entry by entry, in order.
        dataset, num_samples: for `make`; entries with covariates are left as they are, which tell of the values.
        season: in steps; 1 where there is none.

    Yields:
        One forecast an entry, and whether it is of a running total.
    """
    waiting: deque[float | None] = deque()

    def grown() -> Iterator[Entry]:
        for name, entry in named_entries(dataset):
            target = target_of(entry, name)
            alone = target.ndim == 1 and all(entry.get(field) is None for field in (DYNAMIC, PAST))
            growth = growth_of(target, season) if alone else None
            waiting.append(None if growth is None else float(target[-1]))
            yield entry if growth is None else {**entry, "target": growth, "start": entry["start"] + 1}

    for made in make(grown(), num_samples):
        last = waiting.popleft()
        if last is None:
            yield made, False
            continue
        samples = last + np.cumsum(np.maximum(made.samples, 0.0), axis=1)
        yield SampleForecast(samples, start_date=made.start_date, item_id=made.item_id, info=made.info), True


def _without_season(growth: np.ndarray, season: int) -> np.ndarray:
    """What growth (n,), NaN where missing, is off the mean of its time of the season, or of all where few are known."""
    if season <= 1 or len(growth) < _SEASONS * season:
        return growth - np.nanmean(growth)
    phases = np.arange(len(growth)) % season
    known = np.isfinite(growth)
    totals = np.bincount(phases[known], growth[known], season)
    counts = np.bincount(phases[known], minlength=season)
    made: np.ndarray = growth - (totals / np.maximum(counts, 1))[phases]
    return made


def _correlation(off: np.ndarray) -> float:
    """Of values (n,), NaN where missing, with the next, around 0; infinite where nothing tells."""
    both = np.isfinite(off[1:]) & np.isfinite(off[:-1])
    before, after = off[:-1][both], off[1:][both]
    power = float(np.sqrt((before @ before) * (after @ after)))
    return float(before @ after) / power if power > 0 else float("inf")
