"""Bounds that are asked for, of samples of series that have been beyond them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from shared.console.notes import tell
from shared.errors import DataError, first_few
from tsdiff.data.entries import ROUNDING, Entry, named_entries, target_of
from tsdiff.sampling.settings import Sampling


def told_bounds(dataset: Iterable[Entry], sampling: Sampling) -> Iterable[Entry]:
    """The entries of a dataset, as they come; at its end a note tells once of series with values below `minimum` or
    above `maximum` of the sampling, which none of their samples will be."""
    return dataset if sampling.bounds == (None, None) else _watched(dataset, sampling)


def _watched(dataset: Iterable[Entry], sampling: Sampling) -> Iterator[Entry]:
    low, high = (np.nan if bound is None else bound for bound in sampling.bounds)
    below, above = dict[str, float](), dict[str, float]()
    for name, entry in named_entries(dataset):
        yield entry
        try:
            seen = target_of(entry, name)
        except DataError:  # which is told where it is to be drawn
            continue
        seen = seen[np.isfinite(seen)]
        if seen.size and seen.min() < low - ROUNDING * abs(low):
            below[name] = float(seen.min())
        if seen.size and seen.max() > high + ROUNDING * abs(high):
            above[name] = float(seen.max())
    if below:
        least = min(below.values())
        tell(f"minimum={low:g}: {_named(below)} had values below it (down to {least:g}); no sample will be")
    if above:
        most = max(above.values())
        tell(f"maximum={high:g}: {_named(above)} had values above it (up to {most:g}); no sample will be")


def _named(found: dict[str, float]) -> str:
    return f"series {first_few([repr(name) for name in found], 1)} {'has' if len(found) == 1 else 'have'}"
