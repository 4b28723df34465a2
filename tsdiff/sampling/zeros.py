"""What is known of a series' values from those it has: none below zero, whole numbers, and how many are zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsdiff.sampling.shut import shut_shares
from tsdiff.windows.dropouts import without_dropouts
from tsdiff.windows.habits import without_old_habits
from tsdiff.windows.outages import comes_each_longer_season, without_last_zero, without_outages

_RECENT_SEASONS, _RECENT = 28, 200
"""Steps of history that tell the share of zeros: so many seasons, and at least so many steps."""
_LEAST_CYCLES = 8
"""Seasons from which on each time of the season has a share of its own."""
_SMALL = 0.1
"""Quantile of the positive values below which a value may stand for zero."""
_SOME_ZEROS, _INTERMITTENT, _FEWEST_SIZES = 0.05, 0.3, 5
"""Shares of zeros from which a series may be intermittent, where nothing foretells its values either and whatever does,
and values that are not zero to draw from."""
_BY_SEASON, _BY_LAST, _BY_HALF = 0.25, 0.3, 2.5
"""What is taken for chance: how much the time of the season may tell of whether a value is zero, as a share of the
variance, and the value before, as a correlation; and how far the mean of the later half of the values may be from that
of the earlier one, in standard errors."""
_LEAST_KNOWN, _TOLD, _APART = 100, 1.8, 1.7
"""The same for values, of which so many have to be known: what the season explains of their variance, as a multiple of
what it would by chance; and how far a value goes with the one before, and the halves are apart, in standard errors."""
_GOLDEN = 0.5 * (5**0.5 - 1)
"""Multiples of which, less whole numbers, fill the unit interval evenly in whatever order."""
_CHANCE, _STAYS = 1e-3, 0.5
"""A run that was less likely than this is a change for good; and the least chance that a run goes on, so that one below
ten steps, such as holidays, never is."""

_WHOLE = 2.0**52
"""All floats from it on are whole, and tell nothing."""


@dataclass(frozen=True)
class Support:
    """What values a series takes.

    Attributes:
        nonnegative: none that was observed is below 0.
        counts: besides, all are whole numbers, below those that floats have no halves between.
        zeros: share of zeros among them.
    """

    nonnegative: bool
    counts: bool
    zeros: float

    @classmethod
    def of(cls, values: np.ndarray) -> Support:
        """That of a history (length,), NaN where missing."""
        seen = values[np.isfinite(values)]
        if not seen.size or (seen < 0).any():
            return cls(False, False, 0.0)
        whole = seen.max() < _WHOLE and (seen == np.rint(seen)).all()
        return cls(True, bool(whole), float((seen == 0).mean()))


@dataclass(frozen=True)
class _Seen:
    """What tells of the zeros of some steps.

    Attributes:
        values: whose sizes tell what may stand for zero, NaN where missing.
        present: those since the last change.
        recent: the part of them that tells the share of zeros.
        places: (steps,) of the steps, counted from the end of `recent` on.
        seasons: in steps, the primary one first; 1 where there is none.
        life: as much as longer seasons need, up to the end of `recent`.
    """

    values: np.ndarray
    present: np.ndarray
    recent: np.ndarray
    places: np.ndarray
    seasons: Sequence[int]
    life: np.ndarray

    @property
    def season(self) -> int:
        return self.seasons[0]


def within(
    samples: np.ndarray, history: np.ndarray, seasons: Sequence[int], counts: bool = True, told: bool = False
) -> np.ndarray:
    """Samples of a series that takes no value below 0, as its values are.

    Values below 0 become 0. With `counts`:

    - The share of zeros becomes that of the history at the same times of the season. Values as large as the upper nine
      tenths of the positive ones stay, except at times of the season that are nearly always zero while others are not.
    - Samples of a series of whole numbers are whole, and at least 1 where they are not 0. More of them are 0 than in
      the history only where rounding makes them so, up to the share by Poisson's law of their mean.
    - Five parts of a history tell nothing: zeros before the series begins, single ones that a sensor gives now and then
      (`without_dropouts`), a few outages that are over (a shop that was shut twice), what came before a new habit of
      its time of the season (`without_old_habits`), and all that came before a last run of zeros, or of other values,
      so long that by it the run would be a chance of one in a thousand.
    - After n last zeros the next value is not 0 with a chance of at most 1/(n + 1) (Laplace's rule of succession). A
      series that ended in a single 0, which it was never near, goes on as before, but for a few samples that stay 0 for
      some steps.
    - A series is intermittent if its zeros come by chance, neither in runs nor at certain times of the season, and its
      mean stays; with 5 to 30 % of zeros its other values have to come by chance, too. Then values that are not 0 have
      the sizes of the history, in the order of the samples (Willemain et al. 2004, "A new approach to forecasting
      intermittent demand for service parts inventories"), unless something else tells of them.

    Args:
        samples: (number, steps).
        history: (length,), NaN where missing, none below 0.
        seasons: in steps, the primary one first, 1 where there is none; longer ones tell of times that are nearly
            always zero, where they hold several of that one.
        counts: whether to look at zeros and whole numbers at all.
        told: whether the samples go by more than the history, such as covariates.

    Returns:
        Shaped like `samples`.
    """
    support = Support.of(history)
    if not counts or not (support.counts or support.zeros):
        return np.maximum(samples, 0.0)
    season, present = seasons[0], without_dropouts(history, seasons)
    present = without_outages(_present(present, seasons), seasons) if (history > 0).any() else present
    present = without_old_habits(present, seasons)
    before = without_last_zero(present, season)
    seen = _Seen(history, before, _recent(before, season), np.arange(samples.shape[1]), seasons, before)
    made = _as_seen(samples, seen, support.counts, told)
    return made if before is present else _going_on(made)


def within_gaps(
    samples: np.ndarray, values: np.ndarray, seasons: Sequence[int], counts: bool = True, told: bool = False
) -> np.ndarray:
    """Draws of the missing values of a series that takes no value below 0, as its values are: `within`, where the
    values on both sides tell, as many as tell of a forecast, but none from before a series began or after it ended, and
    no zeros of outages that a gap is not beside.

    Args:
        samples: (number, n), of the n missing values in their order.
        values: (length,), NaN where missing, none below 0, one at least known.
        seasons, counts, told: see `within`.

    Returns:
        Shaped like `samples`.
    """
    support = Support.of(values)
    made = np.maximum(samples, 0.0)
    if not counts or not (support.counts or support.zeros):
        return made
    missing = np.flatnonzero(np.isnan(values))
    for part in _lives(values, seasons[0]):
        inside = slice(*np.searchsorted(missing, [part.start, part.stop]))
        for some, seen in _around(values[part], seasons):
            here = slice(inside.start + some.start, inside.start + some.stop)
            made[:, here] = _as_seen(samples[:, here], seen, support.counts, told)
    return made


def by_chance(values: np.ndarray, season: int) -> bool:
    """Whether zeros of a series (length,), NaN where missing, come by chance, at no time of the season and not in runs;
    see `within`."""
    return _by_chance(_recent(values, season), season)


def _going_on(samples: np.ndarray) -> np.ndarray:
    """Samples (number, steps) of which some begin with zeros, as a series does that has just ended in one: for m steps
    with the chance 1 / (m + 1)²: a quarter, a ninth, … The median, and the 90 % interval from the fourth step on, are
    about those of the others."""
    drawn = (np.arange(1, len(samples) + 1) * _GOLDEN) % 1
    chance = 1 / (np.arange(samples.shape[1]) + 2) ** 2
    return np.where(drawn[:, None] < chance, 0, samples).astype(samples.dtype)


def _lives(values: np.ndarray, season: int) -> list[slice]:
    """Zeros before a series began, what it was, and zeros since it ended; where that is no change, it is all one."""
    positive, known = np.flatnonzero(values > 0), np.flatnonzero(~np.isnan(values))
    begin, end = 0, len(values)
    if positive.size:
        first, last = positive[0], positive[-1]
        alive = values[first : last + 1]
        if _unlikely(alive[::-1], values[:first][::-1], season):
            begin = int(known[known < first][-1]) + 1
        if _unlikely(alive, values[last + 1 :], season):
            end = int(known[known > last][0])
    return [slice(0, begin), slice(begin, end), slice(end, len(values))]


def _around(values: np.ndarray, seasons: Sequence[int]) -> Iterator[tuple[slice, _Seen]]:
    """Missing values that lie near each other, a slice of all, and what is seen on both sides of them."""
    missing, known = np.flatnonzero(np.isnan(values)), np.flatnonzero(~np.isnan(values))
    present = without_dropouts(values, seasons)
    without = without_outages(present, seasons)
    reach, first = _told_by(seasons[0]) // 2, 0
    while first < len(missing):
        stop = int(np.searchsorted(missing, missing[first] + reach))
        places = np.searchsorted(known, missing[first:stop])
        before, after = places[0], places[-1]
        end = int(known[min(after + reach, len(known)) - 1]) + 1
        sides = known[np.clip([places - 1, places], 0, len(known) - 1)]
        beside = np.isnan(without[sides]) & ~np.isnan(present[sides])
        told = present if beside.any() else without
        near = told[known[max(before - reach, 0)] : end]
        yield slice(first, stop), _Seen(near, near, near, missing[first:stop] - end, seasons, told[:end])
        first = stop


def _as_seen(samples: np.ndarray, seen: _Seen, whole: bool, told: bool) -> np.ndarray:
    """Samples (number, steps) with the share of zeros that was seen; whole numbers, or those that were seen."""
    zeros = Support.of(seen.values).zeros
    if not told and zeros >= _SOME_ZEROS and (seen.values > 0).any() and _by_chance(seen.recent, seen.season):
        return _of_sizes(samples, seen)
    above, limit = np.maximum(samples, 0.0), _limits(samples, seen, whole, told)
    if not whole:
        return np.where(above <= limit, 0.0, above)
    return np.where(samples <= limit, 0.0, np.maximum(np.rint(above), 1.0)).astype(samples.dtype)


def _limits(samples: np.ndarray, seen: _Seen, whole: bool, told: bool) -> np.ndarray:
    """The value up to which samples of each step are zero, (steps,); those of whole numbers may be below 0."""
    if told:
        return np.full(len(seen.places), _limit(samples, seen, whole))
    steps = (seen.places, np.arange(-len(seen.recent), 0))
    shut, past = (shut_shares(seen.life, places, seen.seasons) for places in steps)
    usual, limits = np.isnan(shut), np.zeros(len(shut))
    if usual.any():
        others = replace(seen, places=seen.places[usual], recent=np.where(np.isnan(past), seen.recent, np.nan))
        limits[usual] = _limit(samples[:, usual], others, whole)
    for step in np.flatnonzero(~usual):
        limits[step] = np.quantile(samples[:, step], shut[step], method="lower")
    return limits


def _limit(samples: np.ndarray, seen: _Seen, whole: bool) -> float:
    """The value up to which samples of steps alike are zero."""
    positive = seen.values[seen.values > 0]
    if not positive.size:
        return np.inf
    if not (seen.present > 0).any():
        zeros = int((seen.present == 0).sum())
        return float(np.quantile(samples, zeros / (zeros + 1), method="lower"))
    wanted = float(_shares(seen.recent, seen.places, seen.season).mean())
    below = np.nextafter(np.quantile(positive, _SMALL, method="lower"), 0.0)
    low = min(float(np.quantile(samples, wanted, method="lower")), float(below)) if wanted else -np.inf
    if not whole:
        return max(low, 0.0)
    most = max(wanted, float(np.exp(-np.maximum(samples, 0.0).mean(axis=0)).mean()))
    return max(low, min(0.5, float(np.quantile(samples, most, method="lower"))))


def _by_chance(recent: np.ndarray, season: int) -> bool:
    """Whether a history has zeros, which nothing foretells, and enough other values; all of about one mean."""
    seen = recent[np.isfinite(recent)]
    zero = seen == 0
    share = float(zero.mean()) if seen.size else 0.0
    if (~zero).sum() < _FEWEST_SIZES or share < _SOME_ZEROS:
        return False
    early, late = np.array_split(seen, 2)
    apart, error = abs(late.mean() - early.mean()), np.sqrt(early.var() / len(early) + late.var() / len(late))
    if share < _INTERMITTENT and (apart > _APART * error or _foretold(recent, season)):
        return False
    of_season = _shares(recent, np.arange(max(season, 1)), season)
    told = 1 - float((of_season * (1 - of_season)).mean()) / (share * (1 - share))
    after = float(np.corrcoef(zero[1:], zero[:-1])[0, 1])
    return told < _BY_SEASON and abs(after) < _BY_LAST and bool(apart < _BY_HALF * error)


def _foretold(recent: np.ndarray, season: int) -> bool:
    """Whether values are few, or the time of the season or the value before tells of them more than by chance."""
    phases = np.flatnonzero(np.isfinite(recent)) % max(season, 1)
    values = recent[np.isfinite(recent)]
    if len(values) < _LEAST_KNOWN:
        return True
    off = values - values.mean()
    count, sums = np.bincount(phases), np.bincount(phases, off)
    explained = float((sums**2 / np.maximum(count, 1)).sum() / (off**2).sum())
    by_chance = (max(season, 1) - 1) / (len(values) - 1)
    after = float(np.corrcoef(values[1:], values[:-1])[0, 1])
    return explained > _TOLD * by_chance or abs(after) > _APART / np.sqrt(len(values))


def _of_sizes(samples: np.ndarray, seen: _Seen) -> np.ndarray:
    """Zeros as often as in the history, and values that it has, in the order of the samples of each step."""
    sizes, zeros = seen.recent[seen.recent > 0], _shrunk_shares(seen.recent, seen.places, seen.season)
    ranks = (samples.argsort(0).argsort(0) + 0.5) / len(samples)
    place = (ranks - zeros) / (1 - zeros)
    made = np.quantile(sizes, np.clip(place, 0, 1), method="inverted_cdf")
    return np.where(place > 0, made, 0.0).astype(samples.dtype)


def _shrunk_shares(recent: np.ndarray, places: np.ndarray, season: int) -> np.ndarray:
    """`_shares`, drawn to that of all by as much of what they differ in as chance alone would bring (James and Stein
    1961, "Estimation with quadratic loss")."""
    known = np.isfinite(recent)
    share = float((recent[known] == 0).mean())
    apart = _shares(recent, np.arange(max(season, 1)), season).var()
    by_chance = share * (1 - share) * max(season, 1) / known.sum()
    kept = max(0.0, 1 - by_chance / apart) if apart > 0 else 0.0
    return share + kept * (_shares(recent, places, season) - share)


def _told_by(season: int) -> int:
    """Steps that tell the share of zeros."""
    return max(_RECENT, _RECENT_SEASONS * season)


def _recent(history: np.ndarray, season: int) -> np.ndarray:
    """The part that tells the share of zeros."""
    return history[-_told_by(season) :]


def _present(history: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """A history, some of it positive, from its beginning or its last change on; all of it where nothing says that it
    changed, or where its last zeros come each longer season."""
    begin, season = int(np.flatnonzero(history > 0)[0]), seasons[0]
    if _unlikely(history[begin:][::-1], history[:begin][::-1], season):  # time turned round, a beginning is an end
        history = history[begin:]
    seen = np.isfinite(history)
    zero = history == 0
    other = np.flatnonzero(seen & (zero != zero[seen][-1]))
    if not other.size:
        return history
    last = int(other[-1]) + 1
    if zero[seen][-1] and comes_each_longer_season(history, np.arange(last, len(history)), seasons):
        return history
    return history[last:] if _unlikely(history[:last], history[last:], season) else history


def _unlikely(before: np.ndarray, run: np.ndarray, season: int) -> bool:
    """Whether a run of zeros, or of others, hardly follows what was before it: neither by the share of zeros at each
    time of the season, nor by that of all, which few values leave open (Laplace's rule), nor by how long runs were."""
    seen = np.isfinite(run)
    if not seen.any():
        return False
    zero = bool(run[seen][0] == 0)
    zeros = _shares(_recent(before, season), np.arange(len(run)), season)[seen]
    alike = (before[np.isfinite(before)] == 0) == zero
    further = np.arange(len(zeros))
    stays = float(alike[1:][alike[:-1]].mean()) if alike[:-1].any() else 0.0
    chances = (
        np.prod(zeros if zero else 1 - zeros),
        np.prod((alike.sum() + 1 + further) / (len(alike) + 2 + further)),
        max(stays, _STAYS) ** len(zeros),
    )
    return bool(max(chances) < _CHANCE)


def _shares(recent: np.ndarray, places: np.ndarray, season: int) -> np.ndarray:
    """The share of zeros at each of some steps, (steps,), counted from the end on: that of the same time of the season
    where there are enough seasons, drawn to that of all."""
    known, zero = np.isfinite(recent), recent == 0
    share = zero.sum() / max(known.sum(), 1)
    if season <= 1 or len(recent) < _LEAST_CYCLES * season:
        return np.full(len(places), share)
    phases = (np.arange(len(recent)) - len(recent)) % season
    count, zeros = (np.bincount(phases[flag], minlength=season) for flag in (known, zero & known))
    made: np.ndarray = (zeros + share) / (count + 1)
    return made[places % season]
