"""Rolling test windows, and the training part that lies before them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from gluonts.dataset.split import OffsetSplitter, TestData

from shared.errors import ConfigError
from tsdiff.data.frequency import quiet
from tsdiff.data.series import Entry, refuse_if_empty


@dataclass(frozen=True)
class WindowSplit:
    """A split of series in time.

    Attributes:
        train: Entries without the values of any test window.
        test: Pairs (input entry, label entry), each label `prediction_length` long; all windows of the first
            series first. A GluonTS `TestData`: `.input`, `.label`, `len`, iteration.
        skipped: Series too short for the split, with the reason.
    """

    train: list[Entry]
    test: TestData
    skipped: dict[str, str]


def split_windows(entries: Iterable[Entry], prediction_length: int, windows: int = 1) -> WindowSplit:
    """Cut `windows` adjacent test windows off the end of each series.

    Args:
        entries: Series, targets of shape (length,).
        prediction_length: Steps to forecast in each window; also the distance from one window to the next.
        windows: Windows for each series.

    Returns:
        Training entries and test pairs. Series that leave no observed value before the first window are in neither.

    Raises:
        ConfigError: `prediction_length` or `windows` is below 1.
        DataError: No series is long enough.
    """
    for name, value in (("prediction_length", prediction_length), ("windows", windows)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    cut = prediction_length * windows
    kept: list[Entry] = []
    skipped: dict[str, str] = {}
    for place, entry in enumerate(entries):
        target = entry["target"]
        if len(target) <= cut:
            reason = f"{len(target)} values, but {windows} × {prediction_length} for testing need at least {cut + 1}"
        elif np.isnan(target[:-cut]).all():
            reason = "no observed value before the test windows"
        else:
            kept.append(entry)
            continue
        item = str(entry.get("item_id", place))
        skipped[item if item not in skipped else f"{item} (entry {place})"] = reason
    refuse_if_empty(kept, skipped)
    train, template = OffsetSplitter(offset=-cut).split(kept)
    test = template.generate_instances(prediction_length, windows=windows, distance=prediction_length)
    with quiet():
        return WindowSplit(list(train), test, skipped)
