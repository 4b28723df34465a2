"""What a forecaster makes of many series, each result with what was noted of its series on the way in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tsdiff.data.entries import Entry

Made = TypeVar("Made")
Note = TypeVar("Note")
Make = Callable[[Iterable[Entry], int], Iterator[Made]]
"""Makes so many samples of each entry, one result an entry, in order."""


def made_of(make: Make[Made], noted: Iterable[tuple[Entry, Note]], num_samples: int) -> Iterator[tuple[Made, Note]]:
    """What is made of entries, each result with its entry's note; entries are read as `make` asks for them."""
    notes: deque[Note] = deque()

    def entries() -> Iterator[Entry]:
        for entry, note in noted:
            notes.append(note)
            yield entry

    for made in make(entries(), num_samples):
        yield made, notes.popleft()
