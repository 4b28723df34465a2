"""Static columns of a table: one value for each series, numbers or categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from shared.errors import ConfigError, DataError
from tsdiff.data.columns import column_of
from tsdiff.data.covariates import CATEGORIES, REALS


def refuse_other_codes(data: Any, vocabulary: Mapping[str, Sequence[str]], *, learning: bool = False) -> None:
    """Refuse series of a table whose categories are coded in another way than those that a model was trained on.

    Args:
        data: what is to be forecast; what is no `SeriesSet` of a table tells nothing.
        vocabulary: the model's; empty where it is not known.
        learning: whether the series are to be learnt from: they may then have values after those that it knows.

    Raises:
        ConfigError: another one; not where columns of other names are coded alike.
    """
    given = getattr(data, "vocabulary", None)
    if not vocabulary or not given:
        return
    names, trained = list(map(str, given)), list(vocabulary)
    turned = names != trained and sorted(names) == sorted(trained)
    pairs = zip(given.values(), vocabulary.values(), strict=False)
    if turned or len(names) != len(trained) or not all(_coded_alike(*pair, learning) for pair in pairs):
        raise ConfigError(
            f"the categories of {', '.join(map(repr, given))} have other codes than those of {', '.join(vocabulary)} "
            "that the model was trained with; call the columns as they were called then, in that order, and read the "
            "table by load_dataset(…, static=[…], vocabulary=predictor.vocabulary), which the commands do"
        )


def _coded_alike(given: Sequence[str], known: Sequence[str], learning: bool) -> bool:
    """Whether values have the codes of those that are known, of which the last may be absent."""
    both = min(len(given), len(known)) if learning else len(given)
    return tuple(given[:both]) == tuple(known[:both])


@dataclass(frozen=True)
class StaticColumns:
    """The static columns of a table.

    Attributes:
        reals: Numeric columns by name.
        categories: Columns of categories by name, as codes (rows,) int64.
        vocabulary: For each of those, the values that the codes stand for.
    """

    reals: dict[str, np.ndarray] = field(default_factory=dict)
    categories: dict[str, np.ndarray] = field(default_factory=dict)
    vocabulary: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(
        cls, frame: pd.DataFrame, names: Sequence[str], vocabulary: Mapping[str, Sequence[str]] | None = None
    ) -> StaticColumns:
        """Take the columns `names` from a table; a column that `vocabulary` names holds categories, whatever its type.

        Raises:
            DataError: A column is missing, is there twice or holds missing values, or a value is not in the vocabulary
                given.
        """
        found = cls()
        known = {str(name): words for name, words in (vocabulary or {}).items()}  # a model's has its names as texts
        for name in names:
            column = column_of(frame, name)
            if column.isna().any():
                row = int(column.isna().to_numpy().argmax())
                raise DataError(f"static column {name!r} is missing in row {row}; fill it in")
            kinds, given = pd.api.types, known.get(str(name))
            if kinds.is_numeric_dtype(column.dtype) and not kinds.is_bool_dtype(column.dtype) and given is None:
                found.reals[name] = column.to_numpy(dtype=np.float64)
                if not np.isfinite(found.reals[name]).all():
                    raise DataError(f"static column {name!r} holds infinities; give finite numbers")
                continue
            values = column.astype(str).to_numpy(dtype=object)
            words = tuple(sorted(set(values))) if given is None else tuple(map(str, given))
            unknown = sorted(set(values) - set(words))
            if unknown:
                raise DataError(
                    f"static column {name!r} holds {unknown[0]!r}, which is not among the known"
                    f" {', '.join(words[:20])}; train a model that knows it, or leave those series out"
                )
            places = {word: code for code, word in reversed(list(enumerate(words)))}
            found.categories[name] = np.array([places[value] for value in values], dtype=np.int64)
            found.vocabulary[name] = words
        return found

    def of(self, rows: np.ndarray, item: str) -> dict[str, np.ndarray]:
        """The fields of the series `item`, which holds `rows` of the table.

        Raises:
            DataError: A column changes within the series.
        """
        fields: dict[str, np.ndarray] = {}
        if self.reals:
            fields[REALS] = np.array(self._only(self.reals, rows, item), dtype=np.float32)
        if self.categories:
            fields[CATEGORIES] = np.array(self._only(self.categories, rows, item), dtype=np.int64)
        return fields

    def _only(self, columns: Mapping[str, np.ndarray], rows: np.ndarray, item: str) -> list[Any]:
        """The one value of each column in a series' rows."""
        for name, column in columns.items():
            values = column[rows]
            if (values != values[0]).any():
                told = [values[0], values[(values != values[0]).argmax()]]
                first, other = [
                    self.vocabulary[name][code] if name in self.vocabulary else float(code) for code in told
                ]
                raise DataError(
                    f"static column {name!r} changes within series {item!r}, from {first!r} to {other!r};"
                    " give one value a series, or use it as a dynamic feature"
                )
        return [column[rows[0]] for column in columns.values()]
