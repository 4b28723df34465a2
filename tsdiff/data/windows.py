"""Rolling test and validation windows, and the training part that lies before them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from gluonts.dataset.split import AbstractBaseSplitter, OffsetSplitter, TestData

from shared.checks import Count, Natural, checked
from tsdiff.data.entries import Entry, EntrySequence
from tsdiff.data.frequency import quiet
from tsdiff.data.origin import Origin
from tsdiff.data.series import refuse_if_empty

_MOST_EACH = 6
"""Windows of one series that are held back."""


@dataclass(frozen=True)
class WindowSplit:
    """A split of series in time: training, then validation windows, then test windows.

    Attributes:
        train: Entries without the values of any window.
        test: Pairs (input entry, label entry), each label `prediction_length` long; all windows of the first
            series first. A GluonTS `TestData`: `.input`, `.label`, `len`, iteration. Inputs hold feat_dynamic_real
            up to the end of their horizon.
        skipped: Series too short for the split, with the reason.
        validation: Pairs like `test`, from before the test windows; None where none were asked for.
        before_test: Entries with everything before the test windows, for training once nothing is to be chosen any
            more; `train` itself where there is no validation.
    """

    train: Sequence[Entry]
    test: TestData
    skipped: dict[str, str]
    validation: TestData | None = None
    before_test: Sequence[Entry] = field(default_factory=list)


def split_windows(entries: Iterable[Entry], prediction_length: int, windows: int = 1) -> WindowSplit:
    """Cut `windows` adjacent test windows off the end of each series: `split` without validation."""
    return split(entries, prediction_length, windows)


def split(
    entries: Iterable[Entry],
    prediction_length: int,
    test_windows: int = 1,
    validation_windows: int = 0,
    stride: int | None = None,
) -> WindowSplit:
    """Cut windows off the end of each series: the last ones for testing, those before them for validation.

    No validation window reaches into a test window, and no training value is part of any window. Sequences are
    cut lazily, whatever their size: a `SeriesStore` is read as the parts are; other iterables are listed.

    Args:
        entries: Series, targets of shape (length,) or (channels, length).
        prediction_length: Steps to forecast in each window.
        test_windows: Test windows for each series.
        validation_windows: Validation windows for each series; may be 0.
        stride: Steps from one window to the next; None takes `prediction_length`, so that they are adjacent.

    Returns:
        The parts. Series that leave no observed value before the first window are in none of them.

    Raises:
        ConfigError: A length or count that is too small.
        DataError: No series is long enough.
    """
    step = prediction_length if stride is None else stride
    checked(Count, prediction_length=prediction_length, test_windows=test_windows, stride=step)
    checked(Natural, validation_windows=validation_windows)
    for_test = span(prediction_length, test_windows, step)
    for_all = for_test + (span(prediction_length, validation_windows, step) if validation_windows else 0)
    listed: Sequence[Entry] = entries if isinstance(entries, Sequence) else list(entries)
    skipped: dict[str, str] = {}
    kept = []
    for place, entry in enumerate(listed):
        reason = _too_short(entry["target"], for_all, prediction_length, test_windows, validation_windows)
        if reason is None:
            kept.append(place)
            continue
        item = str(entry.get("item_id", place))
        skipped[item if item not in skipped else f"{item} (entry {place})"] = reason
    refuse_if_empty(kept, skipped, "; fewer windows, or fewer steps, need less")
    chosen = Cut(listed, kept)
    before_test = Cut(listed, kept, for_test)
    validation = None
    if validation_windows:
        validation = pairs_of(before_test, for_all - for_test, prediction_length, validation_windows, step)
    train = Cut(listed, kept, for_all) if validation_windows else before_test
    return WindowSplit(
        train, pairs_of(chosen, for_test, prediction_length, test_windows, step), skipped, validation, before_test
    )


@dataclass(frozen=True)
class HeldBack:
    """Windows that are cut off the ends of some series, to choose by.

    Attributes:
        places: of these series.
        steps: that are cut off each.
        windows: pairs like `WindowSplit.test`.
    """

    places: tuple[int, ...]
    steps: int
    windows: TestData


def held_back(
    entries: Sequence[Entry], prediction_length: int, about: int, rng: np.random.Generator
) -> HeldBack | None:
    """About so many last windows of some series, up to six of each, which keeps three quarters of itself.

    Args:
        entries: series, targets of shape (length,) or (channels, length).
        prediction_length: steps to forecast in each window.
        about: how many windows.
        rng: chooses the series, where there are more than are needed.

    Returns:
        The windows; None where none are asked for, or all series are too short.
    """
    if not about or not len(entries):
        return None
    stored = getattr(entries, "lengths", None)  # a `SeriesStore` knows them without reading its series
    lengths = [np.shape(entry["target"])[-1] for entry in entries] if stored is None else stored.tolist()
    each = min(_MOST_EACH, -(-about // len(entries)), max(lengths) // (4 * prediction_length))
    if each < 1:
        return None
    cut = each * prediction_length
    long = [place for place, length in enumerate(lengths) if length >= 4 * cut]
    drawn = rng.choice(long, min(len(long), -(-about // each)), replace=False).tolist()
    places = [place for place in sorted(drawn) if _tells(entries[place]["target"], cut)]
    if not places:
        return None
    windows = split_windows([entries[place] for place in places], prediction_length, each).test
    return HeldBack(tuple(places), cut, windows)


def _tells(target: np.ndarray, cut: int) -> bool:
    """Whether there are observed values before the last `cut` steps, and among them."""
    seen = ~np.isnan(np.asarray(target, dtype=np.float64))
    return bool(seen[..., :-cut].any() and seen[..., -cut:].any())


def hold_back(
    entries: Sequence[Entry], prediction_length: int, about: int, rng: np.random.Generator
) -> tuple[list[Entry], TestData | None]:
    """All series, of which some are cut, and the windows that were cut off; see `held_back`."""
    kept, held = list(entries), held_back(entries, prediction_length, about, rng)
    if held is None:
        return kept, None
    for place in held.places:
        kept[place] = {**kept[place], "target": np.asarray(kept[place]["target"])[..., : -held.steps]}
    return kept, held.windows


def unsplit(entries: Sequence[Entry], prediction_length: int) -> WindowSplit:
    """All of the series for training, and no test windows."""
    return WindowSplit(entries, pairs_of([], prediction_length, prediction_length), {})


def span(prediction_length: int, windows: int, stride: int) -> int:
    """Steps that `windows` windows, `stride` apart, take together."""
    return prediction_length + (windows - 1) * stride


class Cut(EntrySequence):
    """Chosen entries of a sequence without their last steps; made when they are asked for, arrays being views.

    Args:
        entries: The sequence.
        places: Which of them.
        steps: How many steps at the end of each target are left out, and of feat_dynamic_real as many as remain past
            that.
    """

    def __init__(self, entries: Sequence[Entry], places: Sequence[int], steps: int = 0):
        self._entries, self._places, self._splitter = entries, places, OffsetSplitter(-steps) if steps else None
        self.origin = getattr(entries, "origin", Origin())
        self.vocabulary: dict[str, tuple[str, ...]] = getattr(entries, "vocabulary", {})

    def __len__(self) -> int:
        return len(self._places)

    def entry(self, place: int) -> Entry:
        """The entry at a place from 0."""
        whole = self._entries[self._places[place]]
        return whole if self._splitter is None else self._splitter.training_entry(whole)


def pairs_of(
    entries: Sequence[Entry], steps: int, prediction_length: int, windows: int = 1, stride: int | None = None
) -> TestData:
    """Pairs of so many windows, the first of which begins so many steps before each entry's end."""
    return TestData(entries, _Cutter(steps), prediction_length, windows, stride)


class _Cutter(AbstractBaseSplitter):
    """GluonTS's `OffsetSplitter`, without pandas' notices about business days, whoever iterates."""

    def __init__(self, steps: int):
        self._inner = OffsetSplitter(-steps)

    def training_entry(self, entry: Entry) -> Entry:
        return self._inner.training_entry(entry)

    def test_pair(self, entry: Entry, prediction_length: int, offset: int = 0) -> tuple[Entry, Entry]:
        with quiet():
            return self._inner.test_pair(entry, prediction_length, offset)


def _too_short(target: np.ndarray, cut: int, prediction_length: int, windows: int, validation: int) -> str | None:
    length = target.shape[-1]
    if length <= cut:
        what = f"{windows} × {prediction_length} for testing"
        what += f" and {validation} × {prediction_length} for validation" if validation else ""
        return f"{length} values, but {what} need at least {cut + 1}"
    if np.isnan(target[..., :-cut]).all():
        return "no observed value before the test windows" if not validation else "no observed value before the windows"
    return None
