"""A clean set of series."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.console.notes import tell
from shared.errors import DataError, counted
from tsdiff.data.covariates import Layout
from tsdiff.data.entries import Entry, EntrySequence, Series, entries_of, read_series
from tsdiff.data.frequency import freq_of, normalise_freq, shifted
from tsdiff.data.origin import Origin
from tsdiff.data.stuck import stuck_values
from tsdiff.data.timestamps import Stamp, to_timestamps


@dataclass(frozen=True)
class SeriesSet(EntrySequence):
    """Series that passed every check. It is a GluonTS dataset itself: sized, iterable as often as wanted.

    Attributes:
        entries: GluonTS entries: "item_id" str, "start" pd.Period of `freq`, "target" (length,) or (channels, length)
            with NaN where missing, float64, or float32 if it came so, covariates as `clean_covariates` leaves them, and
            whatever other fields the source had.
        freq: The frequency as `pd.Period` spells it.
        notes: What was repaired, each naming the series.
        skipped: Series that were left out, with the reason.
        stamp: Which day of their periods the source's timestamps named.
        vocabulary: For a table with static categories: by column, the values that the codes 0, 1, … of
            feat_static_cat stand for.
        origin: What the source, if it was a table, called things.
    """

    entries: list[Entry]
    freq: str
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    stamp: Stamp = "start"
    vocabulary: dict[str, tuple[str, ...]] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def __len__(self) -> int:
        return len(self.entries)

    def entry(self, place: int) -> Entry:
        """The entry at a place from 0."""
        return self.entries[place]

    @property
    def layout(self) -> Layout:
        """Channels and covariates, the same in every entry."""
        return Layout.of(self.entries[0]) if self.entries else Layout()

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many values each static category has: of the vocabulary, or one more than the largest code."""
        if self.vocabulary:
            return tuple(map(len, self.vocabulary.values()))
        if not self.layout.categories:
            return ()
        return tuple(int(n) + 1 for n in np.max([entry["feat_static_cat"] for entry in self.entries], axis=0))

    def refuse_beyond(self, steps: int) -> None:
        """Raise DataError if so many steps after the end of a series are beyond pandas' timestamps."""
        last = max(shifted(entry["start"], np.shape(entry["target"])[-1] + steps - 1) for entry in self)
        to_timestamps([last])

    def tell_missing_ends(self, steps: int) -> None:
        """Tell of series that end in so many missing values or more, as rows that are still to come have: what follows
        these is forecast."""
        lines = []
        for entry in self:
            seen = np.isfinite(np.atleast_2d(entry["target"])).any(axis=0)
            missing = int(seen[::-1].argmax())
            if missing >= steps:
                lines.append(
                    f"series {entry['item_id']!r}: its last {missing} values are missing, and what follows them is "
                    "forecast; leave out rows that are still to come"
                )
        for line in summarised(lines):
            tell(line)

    def tell_ended(self, steps: int) -> None:
        """Tell of series that end so many steps or more before most of the others, which share one end, as of an id
        whose feed stopped: what is forecast of them is over."""
        units = [shifted(entry["start"], np.shape(entry["target"])[-1]).ordinal for entry in self]
        [(usual, count)] = Counter(units).most_common(1)
        if 2 * count <= len(units):
            return
        behind = [(usual - end) // entry["start"].freq.n for entry, end in zip(self, units, strict=True)]
        lines = [
            f"series {entry['item_id']!r} ends {early} steps before most others, and is forecast from there: that is "
            "over when theirs begins; leave it out, or add its rows since"
            for entry, early in zip(self, behind, strict=True)
            if early >= steps
        ]
        for line in summarised(lines):
            tell(line)

    def tell_stuck(self) -> None:
        """Tell of series whose last values are equal as they never were before, as of a sensor that is stuck
        (`stuck_values`)."""
        lines = []
        for entry in self:
            for channel, row in enumerate(np.atleast_2d(entry["target"])):
                stuck = stuck_values(row)
                if stuck:
                    value = row[np.isfinite(row)][-1]
                    lines.append(
                        f"{_name(entry['item_id'], entry['target'], channel)}: its last {stuck} values are all "
                        f"{value:.6g}, as never so long before, and are forecast from as they are; if a sensor is "
                        "stuck, or they stand for missing ones, replace them by NaN"
                    )
        for line in summarised(lines):
            tell(line)

    def remarks(self, skipped: Mapping[str, str] | None = None, most: int = 20) -> list[str]:
        """What was left out and repaired, as commands and frames' forecasts tell it: a line for each series, or, where
        many are alike, a line for all of them.

        Args:
            skipped: Series that were left out later, with the reason.
            most: Lines; the rest are counted.
        """
        left_out = {**self.skipped, **(skipped or {})}
        lines = summarised([*(f"series {item!r} left out: {why}" for item, why in left_out.items()), *self.notes])
        more = [f"and {len(lines) - most} more of the kind"] if len(lines) > most else []
        return lines[:most] + more

    def warn(self) -> None:
        """Tell the `remarks` as warnings."""
        for line in self.remarks():
            tell(line)


_ALIKE = 3
"""Lines of one kind that are told one by one."""
_NINES = re.compile(r"-?99+\.(9+|0)")
_NAMED = 20
"""Series that a line names."""
_SERIES = re.compile(r"^(?:channel \d+ of )?series ('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")")
_NUMBER = re.compile(r"[-+]?\d[\d.,:]*(?:e[-+]?\d+)?|(?<=\d )(?:gaps?|infinity|infinities|values?)\b")


def summarised(lines: Sequence[str]) -> list[str]:
    """Lines about series, of which more than three that differ in names and numbers alone are one: the first of them,
    how many there are, and whose."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        found = _SERIES.match(line)
        kind = _NUMBER.sub("#", line[found.end() :]) if found else line
        kinds.setdefault(kind, []).append((line, found.group(1) if found else ""))
    made = []
    for group in kinds.values():
        if len(group) <= _ALIKE:
            made += [line for line, _ in group]
            continue
        names = list(dict.fromkeys(name for _, name in group[1:] if name))
        more = f", … {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        listed = f": {', '.join(names[:_NAMED])}{more}" if names else ""
        made.append(f"{group[0][0]}; and {len(group) - 1} more alike{listed}")
    return made


def _name(item: str, target: np.ndarray, channel: int) -> str:
    """What a series, or a channel of one that has several, is called."""
    return f"series {item!r}" if target.ndim == 1 else f"channel {channel} of series {item!r}"


def _remarks(series: Series) -> Iterator[str]:
    """What a user should know of a series that is in order."""
    for channel, row in enumerate(np.atleast_2d(series.target)):
        name = _name(series.name, series.target, channel)
        observed = row[~np.isnan(row)]
        if observed.size > 1 and (observed == observed[0]).all():
            yield f"{name} is constant ({observed[0]:g}); its forecasts will be too"
        elif not observed.size and series.target.ndim == 2:
            yield f"{name} holds no observed value"
        elif observed.size > 1 and (code := _code(observed)) is not None:
            count = counted(int((observed == code).sum()), "time", "times")
            yield (
                f"{name} holds {code:.15g} {count}, far off all else; if that says that a value is missing, replace it "
                f"by NaN, as by df.replace({code:.15g}, float('nan'))"
            )


def _code(observed: np.ndarray) -> float | None:
    """The least or largest of known values (n,) if it seems to say that one is missing: it is written by nines alone,
    as -999 or 9999, and far off the others; or below 0, which no other is."""
    for code in (float(extreme) for extreme in (observed.min(), observed.max()) if _NINES.fullmatch(str(extreme))):
        others = observed[observed != code]
        apart = float(np.abs(others - code).min())
        if apart > np.ptp(others) or code < 0 <= others.min():
            return code
    return None


def notes_of(series: Series) -> list[str]:
    """What was repaired of a series, and what a user should know of it."""
    return [*series.notes, *_remarks(series)]


def reason_to_skip(target: np.ndarray, min_length: int) -> str | None:
    """Say why a series of shape (length,) or (channels, length) is of no use, or None if it is."""
    length = target.shape[-1]
    if length < min_length:
        return f"{counted(length, 'value', 'values')}, fewer than the {min_length} needed"
    if np.isnan(target).all():
        return "no observed value"
    return None


def refuse_if_empty(entries: Sequence[object], skipped: dict[str, str], remedy: str = "") -> None:
    """Raise DataError if nothing is left to work with; `remedy` ends the message where series were skipped."""
    if not entries:
        listed = "; ".join(f"{item}: {reason}" for item, reason in list(skipped.items())[:5])
        more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        raise DataError(f"no usable series ({listed}{more}){remedy}" if skipped else "the data holds no series at all")


def series_from_gluonts(
    dataset: Iterable[Mapping[str, Any]], freq: str | None = None, *, min_length: int = 1
) -> SeriesSet:
    """Check any GluonTS dataset as `series_from_frame` checks a table.

    The dataset is iterated once and never indexed (GluonTS 0.17 reads wrong records when long JSON-lines
    files are indexed). Covariates are checked (`clean_covariates`); other fields are kept as they are. The caller's
    entries and arrays are not changed.

    Args:
        dataset: Entries with "start" and "target"; "item_id" defaults to the place in the dataset.
        freq: The frequency, in any pandas spelling; None takes that of the first entry's period.
        min_length: Series with fewer values are skipped.

    Returns:
        The checked set.

    Raises:
        DataError: A target that is missing, not numeric, or neither (length,) nor (channels, length); a start that
            is missing or of another frequency; covariates that cannot be used; series of different layouts; or no
            usable series.
    """
    notes: list[str] = []
    skipped: dict[str, str] = {}
    entries = list(checked_entries(dataset, freq, min_length=min_length, notes=notes, skipped=skipped))
    refuse_if_empty(entries, skipped)
    return SeriesSet(entries, freq_of(entries[0]["start"]), notes, skipped)


def checked_entries(
    dataset: Iterable[Mapping[str, Any]],
    freq: str | None = None,
    *,
    min_length: int = 1,
    notes: list[str] | None = None,
    skipped: dict[str, str] | None = None,
) -> Iterator[Entry]:
    """Yield the entries of a GluonTS dataset one by one, each checked as `series_from_gluonts` checks it.

    Args:
        dataset, freq, min_length: See `series_from_gluonts`.
        notes, skipped: What was repaired and left out is added to these.

    Raises:
        DataError: See `series_from_gluonts`; the message names the series.
    """
    wanted = None if freq is None else normalise_freq(freq)
    notes = [] if notes is None else notes
    skipped = {} if skipped is None else skipped
    layout: Layout | None = None
    for place, raw in enumerate(entries_of(dataset)):
        item = str(raw.get("item_id", place))
        series = read_series(raw, item, wanted)
        wanted = freq_of(series.start) if wanted is None else wanted
        reason = reason_to_skip(series.target, min_length)
        if reason is not None:
            skipped[item if item not in skipped else f"{item} (entry {place})"] = reason
            continue
        entry: Entry = {**raw, **series.as_entry()}
        layout = layout or Layout.of(entry)
        layout.check(Layout.of(entry), item)
        notes.extend(notes_of(series))
        yield entry
