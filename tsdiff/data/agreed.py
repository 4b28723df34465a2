"""The frequency that the series of a table share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from shared.errors import DataError
from tsdiff.data.frequency import EXAMPLES, infer_freq
from tsdiff.data.grids import off_grid
from tsdiff.data.timestamps import whole_weeks

_FEW_ROWS = 8
"""Rows below which a series may have gaps alike by chance, as every second day."""
_FEW_SHARE = 0.1
"""Share of the rows that such series may have together."""


def agreed_freq(stamps: Mapping[str, pd.DatetimeIndex]) -> str:
    """The normalised frequency of series, by their names, each with sorted, distinct timestamps.

    Where they seem to differ, those say nothing whose own times do not keep to what they seem to have, as rows with
    gaps may not, and short ones whose times are on the grid of the others.

    Raises:
        DataError: None can be inferred, or series differ in it.
    """
    found = {item: freq for item, own in stamps.items() if (freq := infer_freq(own)) is not None}
    if not found:
        for own in stamps.values():
            if (remedy := whole_weeks(own)) is not None:
                raise DataError(f"the frequency cannot be inferred: {remedy}")
        raise DataError(f"the frequency cannot be inferred from the timestamps; give freq, for example {EXAMPLES}")
    if len(set(found.values())) > 1:
        found = {item: freq for item, freq in found.items() if not off_grid(stamps[item], freq).any()} or found
        found = _without_short(found, stamps)
    votes = Counter(found.values())
    if len(votes) > 1:
        (first, _), (second, _) = votes.most_common(2)
        named = {freq: next(item for item, own in found.items() if own == freq) for freq in (first, second)}
        raise DataError(
            f"the series differ in frequency: {named[first]!r} looks like {first!r}, {named[second]!r} like"
            f" {second!r}; give freq if they share one, or handle them apart"
        )
    return votes.most_common(1)[0][0]


def _without_short(found: Mapping[str, str], stamps: Mapping[str, pd.DatetimeIndex]) -> dict[str, str]:
    """What was found, without short series on the grid of the frequency that nearly all rows have."""
    rows: Counter[str] = Counter()
    for item, freq in found.items():
        rows[freq] += len(stamps[item])
    usual, count = rows.most_common(1)[0]
    if count < (1 - _FEW_SHARE) * rows.total():
        return dict(found)
    return {
        item: freq
        for item, freq in found.items()
        if freq == usual or len(stamps[item]) >= _FEW_ROWS or off_grid(stamps[item], usual).any()
    }
