"""Columns of CSV that name things, as ids and categories do: as they are written, where pandas reads something else."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import pandas as pd

_NO_WORD = re.compile(r"[\W\d_]*")
"""Numbers, dates and marks."""


def naming_columns(frame: pd.DataFrame, ids: Collection[str]) -> list[int]:
    """Places of columns that may have been written otherwise than pandas read them.

    These are columns of words of which some were taken for missing, and ids that were taken for numbers or missing.
    """
    return [place for place in range(frame.shape[1]) if _may_differ(frame.iloc[:, place], ids)]


def _may_differ(column: pd.Series, ids: Collection[str]) -> bool:
    present, numeric = column.dropna(), pd.api.types.is_numeric_dtype(column.dtype)
    if column.name in ids:
        return numeric or len(present) < len(column)
    return not numeric and 0 < len(present) < len(column) and not _NO_WORD.fullmatch(str(present.iloc[0]))


def as_written(frame: pd.DataFrame, places: Sequence[int], texts: pd.DataFrame) -> pd.DataFrame:
    """A table with words that pandas takes for missing, for NA is Namibia, or North America, and None a kind, too; and
    with ids as texts where numbers are not all of them, for 007 is not 7. What is empty stays missing.

    Args:
        frame: as pandas read it.
        places: of `naming_columns`.
        texts: of these columns, in the same order, as pandas categories; "" where nothing is.
    """
    made = frame.copy()
    for place, read in zip(places, texts, strict=True):
        name, column, different = frame.columns[place], frame.iloc[:, place], texts[read].cat.categories
        stripped = pd.Series(different.str.strip(), different)
        written = texts[read].astype(object).map(stripped.where(stripped != ""))
        if not pd.api.types.is_numeric_dtype(column.dtype):
            made[name] = column.fillna(written)
        elif not stripped.isin(column.drop_duplicates().astype(str)).all():
            made[name] = written
    return made
