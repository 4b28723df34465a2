"""What the inputs of a model were called in the table that it learnt from: another table's are taken by these names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from gluonts.dataset.split import InputDataset, TrainingDataset

from shared.errors import ConfigError
from tsdiff.data.covariates import DYNAMIC, REALS
from tsdiff.data.entries import Entry, entries_of
from tsdiff.data.known import in_order
from tsdiff.data.origin import Origin
from tsdiff.data.statics import refuse_other_codes


class Named(Protocol):
    """A model, or a forecaster, that may know what its inputs were called; see `tsdiff.model.model.TSDiff`."""

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """Columns of its dynamic features, in their order."""
        ...

    @property
    def static_names(self) -> tuple[str, ...]:
        """Columns of its static numbers, in their order."""
        ...

    @property
    def vocabulary(self) -> Mapping[str, Sequence[str]]:
        """Values of its static categories, by column."""
        ...


def agreed(names: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The names of those members of a forecaster that know some.

    Raises:
        ConfigError: they differ.
    """
    found = sorted({one for one in names if one})
    if len(found) > 1:
        listed = " and ".join(f"({', '.join(one)})" for one in found)
        raise ConfigError(f"the members were trained with covariates {listed}; train them with one order of columns")
    return found[0] if found else ()


def table_of(dataset: Any) -> Any:
    """The set of a table that a dataset is, or that its windows were cut from; anything else as it is."""
    while isinstance(dataset, (InputDataset, TrainingDataset)):  # a part may have been split once more
        dataset = dataset.test_data.dataset if isinstance(dataset, InputDataset) else dataset.dataset
    return dataset


def by_names(
    dataset: Iterable[Mapping[str, Any]], models: Collection[Named], *, learning: bool = False
) -> Iterator[Entry]:
    """The entries of a dataset. Where it is of a table, their dynamic features and static numbers are in the order that
    models were trained with, by name; others than theirs are as they are, which is noted.

    Args:
        dataset: GluonTS entries; those of a list, which knows no names, are as they are.
        models: that are to take them.
        learning: whether they are to be learnt from; see `refuse_other_codes`.

    Raises:
        ConfigError: models that were trained with other orders; see `refuse_other_codes`, too.
        DataError: what is no dataset.
    """
    entries, table = entries_of(dataset), table_of(dataset)
    for one in models:
        refuse_other_codes(table, one.vocabulary, learning=learning)
        in_order([*(getattr(table, "vocabulary", None) or ())], tuple(one.vocabulary))  # other names are noted
    origin = getattr(table, "origin", None)
    if not isinstance(origin, Origin):
        return entries
    places: dict[str, list[int]] = {}
    for field, given, trained in (
        (DYNAMIC, origin.dynamic, [one.covariate_names for one in models]),
        (REALS, origin.reals, [one.static_names for one in models]),
    ):
        wanted = in_order([*given], agreed(trained)) if given else []
        if wanted != [*given]:
            places[field] = [given.index(name) for name in wanted]
    return (_ordered(entry, places) for entry in entries) if places else entries


def _ordered(entry: Entry, places: Mapping[str, Sequence[int]]) -> Entry:
    """An entry with rows of some fields in another order; not those that others were added to."""
    found = {field: entry.get(field) for field in places}
    rows = {field: np.asarray(value) for field, value in found.items() if value is not None}
    return entry | {field: value[places[field]] for field, value in rows.items() if len(value) == len(places[field])}
