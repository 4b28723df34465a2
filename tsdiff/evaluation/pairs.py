"""Forecasts, and the pairs of what came before and what came that they are scored on and drawn with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
from gluonts.model.forecast import Forecast

from shared.errors import DataError
from tsdiff.data.entries import Entry

Pair = tuple[Entry, Entry]
"""What a model may see, and what comes next; a GluonTS `TestData` yields these."""
_REMEDY = (
    "give pairs (input entry, label entry): split_windows(series, prediction_length).test, or with GluonTS's split "
    "template.generate_instances(prediction_length)"
)


def pairs_of(test_data: Any) -> Iterator[Pair]:
    """The pairs of test data, after a look whether it has some.

    Raises:
        DataError: what cannot be iterated, as the template of GluonTS's split, which is told at once; or, where it is
            reached, an item that is no pair.
    """
    if not isinstance(test_data, Iterable):
        raise DataError(f"a {type(test_data).__name__} is no test data; {_REMEDY}")
    return (_as_pair(place, item) for place, item in enumerate(test_data))


def _as_pair(place: int, item: Any) -> Pair:
    if isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(part, Mapping) for part in item):
        past, label = item
        return past, label
    raise DataError(f"item {place} of the test data is a {type(item).__name__} and no pair; {_REMEDY}")


def forecasts_of(forecasts: Any) -> Iterable[Forecast]:
    """Forecasts, which one by itself is not.

    Raises:
        DataError: it is a single one.
    """
    if isinstance(forecasts, Forecast):
        raise DataError("a single forecast; put it into a list: [forecast]")
    return forecasts


def matched(forecasts: Iterable[Forecast], test_data: Iterable[Pair]) -> Iterator[tuple[Forecast, Pair]]:
    """Pair forecasts with what they forecast; a mismatch would score one series against another.

    Raises:
        DataError: they do not match in number, item, start or length, or are something else.
    """
    for place, (forecast, pair) in enumerate(zip_longest(forecasts_of(forecasts), pairs_of(test_data))):
        if forecast is None or pair is None:
            fewer, more = ("forecasts", "test windows") if forecast is None else ("test windows", "forecasts")
            raise DataError(f"there are {place} {fewer} but more {more}; give one forecast for each test window")
        label = pair[1]
        shape = np.shape(label["target"])
        if np.shape(forecast.mean) != shape[::-1] or len(shape) not in (1, 2):
            wanted = "both must be (length,), or (length, channels) of actual values (channels, length)"
            raise DataError(
                f"forecast {place} of series {forecast.item_id!r} has shape {np.shape(forecast.mean)}, the actual"
                f" values {shape}; {wanted}"
            )
        item = label.get("item_id")
        other_item = None not in (item, forecast.item_id) and str(item) != str(forecast.item_id)
        if other_item or forecast.start_date != label["start"]:
            raise DataError(
                f"forecast {place} is of series {forecast.item_id!r} from {forecast.start_date}, the actual values of"
                f" {item!r} from {label['start']}; keep forecasts in the order of the test windows"
            )
        yield forecast, pair
