"""Series at the door of a forecaster: covariates by their names, and those that it does not take left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry
from tsdiff.data.named import Named, by_names
from tsdiff.data.unused import told_unused
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.covariates import PAST
from tsdiff.windows.config import WindowConfig


class Taker(Named, Protocol):
    """A forecaster of one model."""

    sampling: Sampling

    @property
    def config(self) -> WindowConfig:
        """What its model is."""
        ...


def told_left_out(dataset: Iterable[Entry], predictors: Sequence[Taker]) -> Iterator[Entry]:
    """The entries of a dataset by the names of their inputs (`by_names`); without covariates, which a warning tells
    once, where none of these takes them.

    Raises:
        ConfigError, DataError: see `by_names`.
    """
    entries = by_names(dataset, predictors)
    if not predictors or any(one.sampling.covariates or one.config.dynamic_features for one in predictors):
        return entries
    let_in = "predictor.with_sampling(covariates=True) lets it in where it helps"
    remedies = {DYNAMIC: f"{let_in}; it reaches to the horizon's end", PAST: let_in}
    if any(one.config.channels > 1 for one in predictors):
        remedies = {DYNAMIC: "TSDiffEstimator(…, dynamic_features=…) makes one that takes it"}
    return told_unused(entries, remedies)
