"""Forecasts and filled gaps that suit a series: what its covariates tell is added, and its values are such as it has
had."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gluonts.model.forecast import SampleForecast

from tsdiff.data import candidate_seasons
from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry, target_of
from tsdiff.sampling.settings import Sampling
from tsdiff.sampling.zeros import Support, within, within_gaps
from tsdiff.tasks.covariates import PAST, Predict, predicted_around
from tsdiff.tasks.imputation.filling import Imputation

PLAIN: Mapping[str, Any] = {
    "counts": False,
    "covariates": False,
    "nonnegative": False,
    "minimum": None,
    "maximum": None,
}
"""Settings of the sampling with which a forecaster draws what is suited here."""
SUITED = "suited"
"""Field of a forecast's `info` that holds a `Suited`."""


@dataclass(frozen=True)
class Suited:
    """What was decided from a series.

    Attributes:
        nonnegative: its samples are not below 0.
        counts: its samples are whole numbers with its share of zeros.
        zeros: its samples keep its share of zeros, whole numbers or not.
        gain: share by which covariates lower the error of parts that were not learnt from; 0 where not used.
    """

    nonnegative: bool = False
    counts: bool = False
    zeros: bool = False
    gain: float = 0.0

    @classmethod
    def of(cls, history: np.ndarray, sampling: Sampling, gain: float = 0.0) -> Suited:
        """What settings decide from a history, (length,) or (channels, length), NaN where missing."""
        supports = [Support.of(row) for row in np.atleast_2d(history)]
        nonnegative = _bounded(sampling) and all(one.nonnegative for one in supports)
        counts = sampling.counts and all(one.counts for one in supports)
        return cls(nonnegative, counts, sampling.counts and any(one.zeros > 0 for one in supports), gain)


def _bounded(sampling: Sampling) -> bool:
    return sampling.counts or sampling.nonnegative


def _clipped(samples: np.ndarray, sampling: Sampling) -> np.ndarray:
    return samples if sampling.bounds == (None, None) else np.clip(samples, *sampling.bounds)


def suited(
    predict: Predict,
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
        dataset: see `predicted_around`.
        num_samples: of each forecast.
        sampling: whose `counts`, `nonnegative`, `minimum` and `maximum` are met here.
        freq: of the series.
        horizon: steps to forecast.
        regress: whether covariates enter by a regression.
        told: whether that forecaster goes by covariates itself.

    Yields:
        One forecast an entry; its `info`, if the entry's is a dict or none, holds a `Suited` by the name "suited".
    """
    season = candidate_seasons(freq)[0]
    for entry, made, gain in predicted_around(predict, dataset, num_samples, season, horizon, regress):
        history = np.atleast_2d(target_of(entry, str(made.item_id)))
        samples = _clipped(made.samples if made.samples.ndim == 3 else made.samples[..., None], sampling)
        parts = [
            within(samples[..., place], row, season, sampling.counts, told or gain > 0)
            if _bounded(sampling) and Support.of(row).nonnegative
            else samples[..., place]
            for place, row in enumerate(history)
        ]
        about = Suited.of(history, sampling, gain)
        yield SampleForecast(
            _clipped(np.stack(parts, axis=-1), sampling).reshape(made.samples.shape),
            start_date=made.start_date,
            item_id=made.item_id,
            info=_with(made.info, about),
        )


def suited_gaps(made: Imputation, sampling: Sampling, freq: str, told: bool = False) -> Imputation:
    """A filled series of which no value that was observed is below 0, with draws as its values are, by the `counts`,
    `nonnegative`, `minimum` and `maximum` of `sampling`; its draws were made with `PLAIN`, and by covariates if `told`.
    """
    season, samples = candidate_seasons(freq)[0], _clipped(made.samples, sampling)
    rows = np.atleast_2d(made.target)
    ends = np.isnan(rows).sum(axis=1).cumsum()[:-1]
    parts = [
        within_gaps(part, row, season, sampling.counts, told)
        if _bounded(sampling) and Support.of(row).nonnegative
        else part
        for part, row in zip(np.split(samples, ends, axis=1), rows, strict=True)
    ]
    return replace(made, samples=_clipped(np.concatenate(parts, axis=1), sampling))


def decided(entries: Sequence[Entry], made: Sequence[SampleForecast], told: bool) -> dict[str, Any]:
    """What was decided from named series, for the `attrs` of a frame of their forecasts: how many were taken for
    nonnegative and for counts; of series with covariates, by id, how much those help, unless a model is `told` them,
    which does not decide by series."""
    known = {entry["item_id"]: (one.info or {}).get(SUITED, Suited()) for entry, one in zip(entries, made, strict=True)}
    attrs: dict[str, Any] = dict(taken_for(known.values()))
    if {DYNAMIC, PAST} & set(entries[0]) and not told:
        attrs["covariates"] = {name: round(about.gain, 4) for name, about in known.items()}
    return attrs


def gain_of(info: Any) -> float:
    """The `gain` that a forecast's `info` tells; 0 where it tells none."""
    return info[SUITED].gain if isinstance(info, dict) and SUITED in info else 0.0


def taken_for(decisions: Collection[Suited]) -> dict[str, int]:
    """How many series were taken for nonnegative and for counts."""
    return {name: sum(getattr(one, name) for one in decisions) for name in ("nonnegative", "counts")}


def _with(info: Any, about: Suited) -> Any:
    return {**(info or {}), SUITED: about} if info is None or isinstance(info, dict) else info
