"""Forecasts and filled gaps that suit a series: what its covariates tell is added, and its values are such as it has
had."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast

from shared.random import derive_seed
from tsdiff.data import candidate_seasons
from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry, target_of
from tsdiff.data.frequency import freq_of, normalise_freq
from tsdiff.sampling.jumps import Jumps, filled, stays_throughout
from tsdiff.sampling.limits import limits_of
from tsdiff.sampling.settings import Sampling
from tsdiff.sampling.states import States, as_states, by_zeros, raised, states_of
from tsdiff.sampling.zeros import Support, by_chance, within, within_gaps
from tsdiff.tasks.calendar_days import DAILY, Days, FindDays, around_calendar_days, calendar_days
from tsdiff.tasks.calendar_hours import calendar_hours, steps_of_day
from tsdiff.tasks.calendar_months import MONTHLY, month_effect
from tsdiff.tasks.covariates import PAST, Effect, effect_on, predicted_around, remembered
from tsdiff.tasks.imputation.filling import Imputation
from tsdiff.tasks.noted import Make
from tsdiff.tasks.totals import around_gaps_of_totals, around_totals, growth_of
from tsdiff.windows.changed import UNCHANGED, Changed

PLAIN: Mapping[str, Any] = {
    "counts": False,
    "covariates": False,
    "calendar_days": False,
    "nonnegative": False,
    "minimum": None,
    "maximum": None,
}
"""Settings of the sampling with which a forecaster draws what is suited here."""
SUITED = "suited"
"""Field of a forecast's `info` that holds a `Suited`."""
CHANGED = tuple(field.name for field in fields(Changed))
"""Fields of `Suited` that tell how many values of a history were taken for others."""


@dataclass(frozen=True)
class Suited:
    """What was decided from a series, and done to its history.

    Attributes:
        nonnegative: its samples are not below 0.
        counts: its samples are whole numbers with its share of zeros.
        zeros: its samples keep its share of zeros, whole numbers or not.
        gain: share by which covariates lower the error of parts that were not learnt from; 0 where not used.
        calendar_days: how many days of the month and the year differ in it; 1 where none does but its months have a
            shape, and of months where their weekdays do.
        limited: its samples do not pass a value that it often reaches and never passes, or are one of its two values.
        jumps: of its history, if it stays where it is but for them; its samples do so, too.
        total: it is a running total, and all of this is of what it grows by.
        outliers, excluded, rescaled: values of its history that were taken for others, see
            `tsdiff.windows.changed.Changed`.
    """

    nonnegative: bool = False
    counts: bool = False
    zeros: bool = False
    gain: float = 0.0
    calendar_days: int = 0
    limited: bool = False
    jumps: int = 0
    total: bool = False
    outliers: int = 0
    excluded: int = 0
    rescaled: int = 0

    @classmethod
    def of(cls, history: np.ndarray, sampling: Sampling, seasons: Sequence[int] = ()) -> Suited:
        """What settings decide from a history, (length,) or (channels, length), NaN where missing; and, if its seasons,
        in steps, are given, its jumps, and whether it is a running total."""
        supports = [Support.of(row) for row in np.atleast_2d(history)]
        nonnegative = all(_bounded(sampling, one) for one in supports)
        counts = sampling.counts and all(one.counts for one in supports)
        zeros = sampling.counts and any(one.zeros > 0 for one in supports)
        shown = [limits_of(row) for row in np.atleast_2d(history)] if sampling.counts else []
        states = sampling.counts and any(states_of(row) is not None for row in np.atleast_2d(history))
        limited = states or any(high is not None or low not in (None, 0.0) for low, high in shown)
        jumps = jumps_of(history, sampling, seasons) if seasons else None
        total = (
            bool(seasons) and _adds_up(sampling) and history.ndim == 1 and growth_of(history, seasons[0]) is not None
        )
        stays = 0 if jumps is None else len(jumps.sizes)
        return cls(nonnegative, counts, zeros, limited=limited, jumps=stays, total=total)


def jumps_of(history: np.ndarray, sampling: Sampling, seasons: Sequence[int]) -> Jumps | None:
    """Those of a history, (length,) or (1, length), that stays where it is but for them, if settings ask for them."""
    rows = np.atleast_2d(history)
    return Jumps.of(rows[0], seasons) if sampling.counts and len(rows) == 1 else None


def gaps_stay(history: np.ndarray, sampling: Sampling, seasons: Sequence[int]) -> bool:
    """Whether gaps of a history, as of `jumps_of`, are filled by what lies on both sides and jumps between."""
    rows = np.atleast_2d(history)
    return sampling.counts and len(rows) == 1 and stays_throughout(rows[0], seasons)


def _bounded(sampling: Sampling, support: Support) -> bool:
    """Whether samples are kept from below 0: where that is asked for, and whole numbers and zeros are with `counts`."""
    kept = sampling.nonnegative or (sampling.counts and (support.counts or support.zeros > 0))
    return support.nonnegative and kept


def _adds_up(sampling: Sampling) -> bool:
    """Whether running totals are drawn by what they grow by: a bound of the values, 0 excepted, is none of that."""
    return sampling.counts and sampling.minimum in (None, 0) and sampling.maximum is None


def _states(row: np.ndarray, sampling: Sampling) -> States | None:
    """The two values that a series (length,) takes alone, where samples are to be like it."""
    return states_of(row) if sampling.counts else None


def _like(
    samples: np.ndarray, row: np.ndarray, sampling: Sampling, states: States | None, adapted: Callable[..., np.ndarray]
) -> np.ndarray:
    """Samples (number, steps) within what is given, or else what a series (length,) shows; `adapted` to its zeros, or
    one of its two states."""
    low, high = limits_of(row) if sampling.counts else (None, None)
    minimum, maximum = sampling.bounds
    low, high = low if minimum is None else minimum, high if maximum is None else maximum
    samples = samples if states is None else as_states(samples, states)
    high = np.inf if high is None else high
    if states is None and _bounded(sampling, Support.of(row)):
        # How far below 0 samples are tells which of them stand for zeros.
        samples = adapted(np.clip(samples, low or -np.inf, high))
    return np.clip(samples, -np.inf if low is None else low, high)


def suited(
    predict: Make[SampleForecast],
    dataset: Iterable[Entry],
    num_samples: int,
    sampling: Sampling,
    freq: str,
    horizon: int,
    regress: bool,
    told: bool = False,
) -> Iterator[SampleForecast]:
    """Forecasts by `sampling`, from a forecaster that draws with it but for `PLAIN`.

    Args:
        predict: that forecaster's.
        dataset: entries, see `tsdiff.tasks.covariates.effect_on`.
        num_samples: of each forecast.
        sampling: whose `counts`, `nonnegative`, `minimum`, `maximum` and `calendar_days` are met here.
        freq: of the series.
        horizon: steps to forecast.
        regress: whether covariates enter by a regression.
        told: whether that forecaster goes by covariates itself.

    Yields:
        One forecast an entry; its `info`, if the entry's is a dict or none, holds a `Suited` by the name "suited".
    """
    seasons = candidate_seasons(freq)
    season, freq = seasons[0], normalise_freq(freq)
    by_month = sampling.calendar_days and freq == MONTHLY and not told

    @remembered
    def tells(entry: Entry, name: str) -> Effect | None:
        own = effect_on(entry, name, season, horizon) if regress else None
        by_calendar = own is None and by_month and _has(entry.get("start"), freq)
        return month_effect(entry, name, horizon) if by_calendar else own

    def made(entries: Iterable[Entry], count: int) -> Iterator[SampleForecast]:
        for entry, one, effect in predicted_around(predict, entries, count, tells):
            yield _suited(entry, one, effect, sampling, seasons, regress, told)

    find = _find(sampling, freq)

    def by_days(entries: Iterable[Entry], count: int) -> Iterator[SampleForecast]:
        if find is None:
            yield from made(entries, count)
            return
        for one, target, days in around_calendar_days(find, made, entries, count, horizon, tells):
            if days is None:
                yield one
                continue
            info, steps = one.info, len(target) + np.arange(horizon)
            if isinstance(info, dict):
                info = {**info, SUITED: replace(info[SUITED], calendar_days=max(len(days.off), 1))}
            samples = _with_days(one.samples, days, steps, target, sampling, str(one.item_id))
            yield SampleForecast(samples, start_date=one.start_date, item_id=one.item_id, info=info)

    if told or not _adds_up(sampling):
        yield from by_days(dataset, num_samples)
        return
    for one, total in around_totals(by_days, dataset, num_samples, season, horizon):
        if total and isinstance(one.info, dict):
            one.info = {**one.info, SUITED: replace(one.info[SUITED], total=True)}
        yield one


def _suited(
    entry: Entry,
    made: SampleForecast,
    effect: Effect | None,
    sampling: Sampling,
    seasons: Sequence[int],
    regress: bool,
    told: bool,
) -> SampleForecast:
    """A forecast of an entry such as its values are; it has the effect, which covariates have where they `regress`."""
    history, samples = np.atleast_2d(target_of(entry, str(made.item_id))), np.atleast_3d(made.samples)
    by_more = told or effect is not None
    suit = partial(within, seasons=seasons, counts=sampling.counts, told=by_more)
    jumps = None if by_more else jumps_of(history, sampling, seasons)
    if jumps is None:
        parts = [_ahead(samples[..., at], row, sampling, suit) for at, row in enumerate(history)]
        about = replace(Suited.of(history, sampling), **{name: getattr(_about(made.info), name) for name in CHANGED})
    else:  # which are drawn from the history as it is
        paths = jumps.paths(len(samples), samples.shape[1], _rng(sampling, str(made.item_id)))
        parts = [_like(paths, history[0], sampling, _states(history[0], sampling), _positive)]
        about = Suited.of(history, sampling, seasons)
    if effect is not None:
        by_covariates = regress and any(entry.get(field) is not None for field in (DYNAMIC, PAST))
        about = replace(about, **({"gain": effect.gain} if by_covariates else {"calendar_days": 1}))
    return SampleForecast(
        np.stack(parts, axis=-1).reshape(made.samples.shape),
        start_date=made.start_date,
        item_id=made.item_id,
        info=_with(made.info, about),
    )


def _ahead(samples: np.ndarray, row: np.ndarray, sampling: Sampling, suit: Callable[..., np.ndarray]) -> np.ndarray:
    """Samples (number, steps) of what comes after a series (length,), such as its values are; the lower of two states
    comes as often as zeros do where a series has some."""
    states = _states(row, sampling)
    if states is not None:
        samples = by_zeros(samples, states, partial(suit, history=raised(row, states)))
    return _like(samples, row, sampling, states, partial(suit, history=row))


def _inside(
    samples: np.ndarray, row: np.ndarray, sampling: Sampling, suit: Callable[..., np.ndarray], season: int
) -> np.ndarray:
    """Samples (number, n) of what is missing in a series (length,), such as its values are; of two states by what is
    expected there, which both sides tell, unless they come by chance."""
    states = _states(row, sampling)
    if states is not None and by_chance(raised(row, states), season):
        samples = by_zeros(samples, states, partial(suit, values=raised(row, states)))
    return _like(samples, row, sampling, states, partial(suit, values=row))


def _rng(sampling: Sampling, name: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(sampling.seed, "jumps", name))


def _positive(drawn: np.ndarray) -> np.ndarray:
    return np.maximum(drawn, 0.0)


def _find(sampling: Sampling, freq: str) -> FindDays | None:
    """What finds the days on which series of a frequency differ; None where none does."""
    freq = normalise_freq(freq)
    find = calendar_days if freq in DAILY else calendar_hours if steps_of_day(freq) is not None else None
    if not sampling.calendar_days or find is None:
        return None
    return lambda target, start, horizon: find(target, start, horizon) if _has(start, freq) else None


def _has(start: Any, freq: str) -> bool:
    """Whether a start is of a normalised frequency; of any other the forecaster tells what it needs."""
    return isinstance(start, pd.Period) and freq_of(start) == freq


def _with_days(
    samples: np.ndarray, days: Days, steps: np.ndarray, target: np.ndarray, sampling: Sampling, name: str
) -> np.ndarray:
    """Samples (number, n) of steps of a series (length,) with the days that differ, and such as its values are."""
    made = days.joined(samples, steps, derive_seed(sampling.seed, "calendar_days", name))
    whole = sampling.counts and Support.of(target).counts

    def adapted(drawn: np.ndarray) -> np.ndarray:
        return np.rint(_positive(drawn)) if whole else _positive(drawn)

    return _like(made, target, sampling, _states(target, sampling), adapted).astype(samples.dtype)


def suited_gaps(
    impute: Make[Imputation],
    dataset: Iterable[Entry],
    num_samples: int,
    sampling: Sampling,
    freq: str,
    told: bool = False,
) -> Iterator[Imputation]:
    """Filled series by `sampling`.

    Args:
        impute: fills gaps, entry by entry and in order; draws with that sampling but for `PLAIN`.
        dataset: the series.
        num_samples: draws of each missing value.
        sampling: whose `counts`, `nonnegative`, `minimum`, `maximum` and `calendar_days` are met here.
        freq: of the series.
        told: whether what fills them goes by covariates.
    """

    def made(entries: Iterable[Entry], count: int) -> Iterator[Imputation]:
        return (_suited_gaps(one, sampling, freq, told) for one in impute(entries, count))

    find = _find(sampling, freq) if normalise_freq(freq) in DAILY else None

    def by_days(entries: Iterable[Entry], count: int) -> Iterator[Imputation]:
        if find is None:
            yield from made(entries, count)
            return
        for one, target, days in around_calendar_days(find, made, entries, count):
            if days is None:
                yield one
                continue
            samples = _with_days(one.samples, days, np.flatnonzero(np.isnan(target)), target, sampling, one.item_id)
            yield replace(one, target=target, samples=samples)

    if told or not _adds_up(sampling):
        yield from by_days(dataset, num_samples)
    else:
        yield from around_gaps_of_totals(by_days, dataset, num_samples, candidate_seasons(freq)[0])


def _suited_gaps(made: Imputation, sampling: Sampling, freq: str, told: bool) -> Imputation:
    rows, seasons = np.atleast_2d(made.target), candidate_seasons(freq)
    if not told and gaps_stay(rows, sampling, seasons):
        stayed = filled(rows[0], seasons, len(made.samples), _rng(sampling, made.item_id))
        stayed = _like(stayed, rows[0], sampling, _states(rows[0], sampling), _positive)
        return replace(made, samples=stayed.astype(made.samples.dtype))
    ends = np.isnan(rows).sum(axis=1).cumsum()[:-1]
    suit = partial(within_gaps, seasons=seasons, counts=sampling.counts, told=told)
    parts = [
        _inside(part, row, sampling, suit, seasons[0])
        for part, row in zip(np.split(made.samples, ends, axis=1), rows, strict=True)
    ]
    return replace(made, samples=np.concatenate(parts, axis=1))


def worth_of(info: Any) -> tuple[float, bool]:
    """The `gain` that a forecast's `info` tells, 0 where it tells none, and whether values were taken for others."""
    about = _about(info)
    return about.gain, any(getattr(about, name) for name in CHANGED)


def telling(info: Any, about: Changed) -> Any:
    """A forecast's `info` that tells what was done to the history, if anything was."""
    return info if about == UNCHANGED else _with(info, Suited(**asdict(about)))


def _about(info: Any) -> Suited:
    return info[SUITED] if isinstance(info, dict) and SUITED in info else Suited()


def _with(info: Any, about: Suited) -> Any:
    return {**(info or {}), SUITED: about} if info is None or isinstance(info, dict) else info
