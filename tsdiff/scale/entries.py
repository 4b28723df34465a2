"""GluonTS entries in units of a few."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from shared.scale import Unit, digest_of
from tsdiff.data.entries import Entry, named_entries
from tsdiff.scale.units import Part


@dataclass(frozen=True)
class Listed:
    """GluonTS entries themselves.

    Attributes:
        entries: with their names in "item_id", which may repeat, as in a set of one series' windows.
        labels: of each, a different one: its name where no other has it.
    """

    entries: tuple[Entry, ...]
    labels: tuple[str, ...]

    def parts(self) -> dict[str, Part]:
        """The entries by their labels."""
        return dict(zip(self.labels, self.entries, strict=True))


def entry_units(entries: Iterable[Entry], size: int) -> Iterator[Unit]:
    """Units of `size` GluonTS entries, in order, taken as they are needed.

    Raises:
        DataError: no GluonTS dataset.
    """
    named = ({**entry, "item_id": name} for name, entry in named_entries(entries))
    number = 0
    while group := tuple(islice(named, size)):
        labels = _labels([entry["item_id"] for entry in group])
        yield Unit(f"part-{number:06d}", Listed(group, labels), digest_of(*map(_digest, group)), labels)
        number += 1


def _labels(names: Sequence[str]) -> tuple[str, ...]:
    """Names, those that were there before with a number that makes them different: "a", "a (2)"."""
    taken, last = set(names), dict[str, int]()
    labels = []
    for name in names:
        label, number = name, last.get(name, 0) + 1
        while number > 1 and (label := f"{name} ({number})") in taken:
            number += 1
        last[name] = number
        taken.add(label)
        labels.append(label)
    return tuple(labels)


def _digest(entry: Entry) -> str:
    """Of all that an entry holds."""
    parts: list[Any] = []
    for name in sorted(entry):
        value = entry[name]
        told = isinstance(value, (np.ndarray, list, tuple))
        parts += [name, np.asarray(value).tobytes() if told and np.asarray(value).dtype != object else repr(value)]
    return digest_of(*parts)
