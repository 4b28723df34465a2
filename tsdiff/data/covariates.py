"""What accompanies a target: features known in the future, static categories and static reals (GluonTS's fields)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.errors import DataError

DYNAMIC, CATEGORIES, REALS = COVARIATES = "feat_dynamic_real", "feat_static_cat", "feat_static_real"


@dataclass(frozen=True)
class Layout:
    """What every entry of a data set holds.

    Attributes:
        channels: Dimensions of the target; 0 where targets are (length,), as GluonTS writes univariate series.
        dynamic: Rows of feat_dynamic_real.
        categories: Values of feat_static_cat.
        reals: Values of feat_static_real.
    """

    channels: int = 0
    dynamic: int = 0
    categories: int = 0
    reals: int = 0

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Layout:
        """The layout of a checked entry."""
        target = entry["target"]
        sizes = [0 if entry.get(name) is None else len(entry[name]) for name in (DYNAMIC, CATEGORIES, REALS)]
        return cls(target.shape[0] if target.ndim == 2 else 0, *sizes)

    def check(self, other: Layout, item: str) -> None:
        """Raise DataError, naming `item`, if its layout `other` differs."""
        for name, what in (
            ("channels", "target dimensions"),
            ("dynamic", f"rows of {DYNAMIC}"),
            ("categories", f"values in {CATEGORIES}"),
            ("reals", f"values in {REALS}"),
        ):
            own, found = getattr(self, name), getattr(other, name)
            if own != found:
                raise DataError(f"series {item!r} has {found} {what}, the series before it {own}; give all the same")


def clean_covariates(
    entry: Mapping[str, Any], item: str, length: int, wanted: Collection[str] = COVARIATES
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Check an entry's covariates; those that are absent or None are left out.

    Args:
        entry: A GluonTS entry; not changed.
        item: The series' name, for messages.
        length: Steps of its target.
        wanted: Which are read.

    Returns:
        feat_dynamic_real float32 (rows, steps), steps ≥ length, whole (`completed`); feat_static_cat int64 (n,);
        feat_static_real float32 (n,). And notes on repairs.

    Raises:
        DataError: Values that are not numbers, of another shape, too few steps, or missing where nothing can stand in.
    """
    fields: dict[str, np.ndarray] = {}
    notes: list[str] = []
    if DYNAMIC in wanted and entry.get(DYNAMIC) is not None:
        fields[DYNAMIC], notes = _dynamic(_numbers(entry, DYNAMIC, item), item, length)
    if CATEGORIES in wanted and entry.get(CATEGORIES) is not None:
        values = np.atleast_1d(_numbers(entry, CATEGORIES, item))
        for code in values.ravel():
            if values.ndim != 1 or not 0 <= code < np.inf or code != np.floor(code):
                raise DataError(
                    f"series {item!r}: category {code:g} is not one of 0, 1, …; give whole numbers from 0, (n,), as "
                    f"{CATEGORIES}"
                )
        fields[CATEGORIES] = values.astype(np.int64)
    if REALS in wanted and entry.get(REALS) is not None:
        values = np.atleast_1d(_numbers(entry, REALS, item))
        if values.ndim != 1 or not np.isfinite(values).all():
            raise DataError(
                f"series {item!r}: {REALS} holds values that are missing, infinite or too large; give finite numbers, "
                "one a feature"
            )
        fields[REALS] = _single(values, REALS, item)
    return fields, notes


def _numbers(entry: Mapping[str, Any], name: str, item: str) -> np.ndarray:
    try:
        values = np.asarray(entry[name])
        return values if values.dtype == np.float32 else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"series {item!r}: its {name} is not numeric ({error})") from error


def _single(values: np.ndarray, name: str, item: str) -> np.ndarray:
    largest = np.nanmax(np.abs(values), initial=0.0)
    if largest > np.finfo(np.float32).max:
        raise DataError(f"series {item!r}: {name} holds {largest:g}, too large for single precision; rescale it")
    return values.astype(np.float32, copy=False)


def _dynamic(values: np.ndarray, item: str, length: int) -> tuple[np.ndarray, list[str]]:
    if values.ndim != 2:
        raise DataError(f"series {item!r}: {DYNAMIC} has shape {values.shape}; it must be (features, steps)")
    if values.shape[1] < length:
        turned = "; it looks transposed" if values.shape[0] >= length else ""
        raise DataError(
            f"series {item!r}: {DYNAMIC} has shape {values.shape}, which is not (features, steps) with the target's"
            f" {length} steps or more{turned}"
        )
    filled, notes = completed(values, item)
    return _single(filled, DYNAMIC, item), notes


def completed(
    values: np.ndarray, item: str, columns: Sequence[str] = (), *, begun: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Covariates on straight lines where they are missing, and as they begin and end before and after what is known.

    Args:
        values: (rows, steps), NaN or infinite where missing; not changed.
        item: the series' name, for messages.
        columns: of a table, which messages then name for the rows.
        begun: leave what is missing before a row begins.

    Raises:
        DataError: a row holds no value.
    """
    missing = ~np.isfinite(values)
    if not missing.any():
        return values, []
    filled, steps, notes = np.array(values), np.arange(values.shape[1]), []
    for place, (row, gone) in enumerate(zip(filled, missing, strict=True)):
        name = f"covariate {columns[place]!r}" if columns else f"row {place} of {DYNAMIC}"
        if gone.all():
            raise DataError(f"series {item!r}: {name} holds no value; fill it, or leave it or the series out")
        known = np.flatnonzero(~gone)
        row[gone] = np.interp(steps[gone], known, row[known])
        if begun:
            row[: known[0]] = np.nan
            gone = gone[known[0] :]
        if gone.any():
            count = f"{int(gone.sum())} of {len(row)}"
            notes.append(f"series {item!r}: {name} misses {count} values, which are put on straight lines")
    return filled, notes
