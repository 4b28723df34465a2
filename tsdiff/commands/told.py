"""What commands tell of the series that they were given: what these were taken for."""

from __future__ import annotations

from collections.abc import Collection

from tsdiff.tasks.decisions import taken_for
from tsdiff.tasks.suited import Suited

_CHANGED = {
    "outliers": "with outliers, put back to what lies around them",
    "excluded": "with a dent, a peak, an outage, an old habit or a last 0, with single zeros or a closed season, taken "
    "for missing",
    "rescaled": "whose unit changed, their earlier values converted",
}
"""What was done to the history of series, by the name of it in `Suited`."""


def told_kinds(decided: Collection[Suited]) -> list[str]:
    """What series were taken for, in parts of a line."""
    found = taken_for(decided)
    positive, whole = found["nonnegative"], found["counts"]
    parts = [f"{whole} taken for counts: whole samples, their share of zeros"] if whole else []
    if positive > whole:
        parts.append(f"{positive - whole} {'more ' if whole else ''}taken for never below 0")
    if limited := sum(one.limited for one in decided):
        parts.append(f"{limited} kept within limits that their values show")
    if days := found["calendar_days"]:
        parts.append(f"the calendar tells of {days}")
    if stay := found["jumps"]:
        parts.append(f"{stay} taken to stay but for jumps")
    if grown := found["totals"]:
        parts.append(f"{grown} taken for running totals, by what they grow by")
    return parts + [f"{found[name]} {words}" for name, words in _CHANGED.items() if found[name]]
