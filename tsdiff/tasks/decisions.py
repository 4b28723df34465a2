"""What was decided from many series, counted: for frames' `attrs` and for what is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from gluonts.model.forecast import SampleForecast

from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry
from tsdiff.tasks.covariates import PAST
from tsdiff.tasks.suited import CHANGED, SUITED, Suited

_COUNTED = {name: name for name in ("nonnegative", "counts", "calendar_days", "jumps")} | {"totals": "total"}
_COUNTED |= {name: name for name in CHANGED}
"""Names of counts, with the fields of `Suited` that are above 0 in the series that they count."""


def decided(entries: Sequence[Entry], made: Sequence[SampleForecast], told: bool) -> dict[str, Any]:
    """What was decided from named series, for the `attrs` of a frame of their forecasts: how many were taken for
    nonnegative and for counts, go by the calendar, stay but for jumps, are running totals, and had values taken for
    others; of series with covariates, by id, how much those help, unless a model is `told` them, which does not decide
    by series."""
    known = {entry["item_id"]: (one.info or {}).get(SUITED, Suited()) for entry, one in zip(entries, made, strict=True)}
    attrs: dict[str, Any] = taken_for(known.values())
    if {DYNAMIC, PAST} & set(entries[0]) and not told:
        attrs["covariates"] = {name: round(about.gain, 4) for name, about in known.items()}
    return attrs


def taken_for(decisions: Collection[Suited]) -> dict[str, int]:
    """How many series were taken for what, by names as in `decided`."""
    return {name: sum(getattr(one, field) > 0 for one in decisions) for name, field in _COUNTED.items()}
