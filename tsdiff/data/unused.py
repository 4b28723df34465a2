"""Covariates that entries have and a model does not take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from shared.console.notes import tell
from tsdiff.data.entries import Entry, entries_of


def told_unused(dataset: Iterable[Entry], remedies: Mapping[str, str]) -> Iterator[Entry]:
    """The entries without fields that the model does not take; a warning tells once of each that they have.

    Args:
        dataset: entries.
        remedies: what is to be done about each of these fields, by their names.

    Raises:
        DataError: what is no dataset.
    """
    return _telling(entries_of(dataset), dict(remedies))


def _telling(entries: Iterator[Entry], remedies: dict[str, str]) -> Iterator[Entry]:
    fields = set(remedies)
    for place, entry in enumerate(entries):
        for field in [one for one in remedies if _has(entry, one)]:
            tell(
                f"series {str(entry.get('item_id', place))!r} has {field}, which this model is made without: it is "
                f"left out, here and of the others; {remedies.pop(field)}"
            )
        yield {name: entry[name] for name in entry if name not in fields}


def _has(entry: Entry, field: str) -> bool:
    value = entry.get(field)
    return value is not None and getattr(value, "size", 1) > 0
