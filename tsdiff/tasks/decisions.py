"""What was decided from many series, counted: for frames' `attrs` and for what is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from gluonts.model.forecast import SampleForecast

from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry
from tsdiff.tasks.covariates import PAST
from tsdiff.tasks.suited import CHANGED, SUITED, Suited


def decided(entries: Sequence[Entry], made: Sequence[SampleForecast], told: bool) -> dict[str, Any]:
    """What was decided from named series, for the `attrs` of a frame of their forecasts: how many were taken for
    nonnegative and for counts, go by the calendar, stay but for jumps, are running totals, and had values taken for
    others; of series with covariates, by id, how much those help, unless a model is `told` them, which does not decide
    by series."""
    known = {entry["item_id"]: (one.info or {}).get(SUITED, Suited()) for entry, one in zip(entries, made, strict=True)}
    attrs: dict[str, Any] = {**taken_for(known.values()), "calendar_days": with_calendar_days(known.values())}
    attrs |= {"jumps": with_jumps(known.values()), "totals": totals(known.values())}
    attrs |= changed(known.values())
    if {DYNAMIC, PAST} & set(entries[0]) and not told:
        attrs["covariates"] = {name: round(about.gain, 4) for name, about in known.items()}
    return attrs


def taken_for(decisions: Collection[Suited]) -> dict[str, int]:
    """How many series were taken for nonnegative and for counts."""
    return {name: sum(getattr(one, name) for one in decisions) for name in ("nonnegative", "counts")}


def with_calendar_days(decisions: Iterable[Suited]) -> int:
    """How many series go by the calendar."""
    return sum(one.calendar_days > 0 for one in decisions)


def with_jumps(decisions: Iterable[Suited]) -> int:
    """How many series stay where they are but for jumps."""
    return sum(one.jumps > 0 for one in decisions)


def totals(decisions: Iterable[Suited]) -> int:
    """How many series are running totals."""
    return sum(one.total for one in decisions)


def changed(decisions: Collection[Suited]) -> dict[str, int]:
    """How many series had values of their history taken for others, by what was done."""
    return {name: sum(getattr(one, name) > 0 for one in decisions) for name in CHANGED}
