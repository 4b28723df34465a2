"""Series that the bundled forecaster is made from: real sets, also at coarser frequencies, and synthetic ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from shared.errors import DataError
from tsdiff.data import load_folder, stream_folder
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import quiet
from tsdiff.pretraining.corpus import CorpusGroup, Place
from tsdiff.windows.anchors import seasons_of

from .generators import SyntheticSeries, generate

FREQUENCIES: Mapping[str, float] = MappingProxyType(
    {
        "h": 0.28,
        "30min": 0.04,
        "15min": 0.05,
        "2h": 0.02,
        "D": 0.15,
        "B": 0.10,
        "W-SUN": 0.12,
        "M": 0.12,
        "Q-DEC": 0.09,
        "Y-DEC": 0.03,
    }
)
"""Shares of the synthetic windows."""

FURTHER_SHARE, FURTHER_YEARLY = 0.12, 0.05
"""Share of each further set, and of one of yearly series, beside those of `default.TRAINING_SETS`, of which there are
far fewer."""

_LONGEST = {"W-SUN": 500, "M": 360, "Q-DEC": 160, "Y-DEC": 80}
"""Steps of synthetic series of coarse frequencies, whose calendar ends otherwise."""


@dataclass(frozen=True)
class TrainingSet:
    """A set whose training part the model learns from.

    Attributes:
        share: of the real windows.
        held_back: last steps of each series that are not trained on, to choose settings by.
        prediction_length: horizon of the windows among them.
        coarser: frequencies it is resampled to besides, with their shares.
        total: resampled by adding up, as counts are.
    """

    share: float
    held_back: int
    prediction_length: int
    coarser: Mapping[str, float]
    total: bool = False


@dataclass(frozen=True)
class HeldBack:
    """Series of a training set whose last steps were not trained on.

    Attributes:
        name: of the set.
        entries: its training part.
        held_back, prediction_length: see `TrainingSet`.
    """

    name: str
    entries: Sequence[Entry]
    held_back: int
    prediction_length: int


def further_sets(folder: Path) -> dict[str, TrainingSet]:
    """All sets of a folder, as `recipes/series_sets.py` makes them, each of which holds one horizon back.

    Args:
        folder: of the sets.

    Raises:
        DataError: there is none.
    """
    sets = {}
    for place in sorted(path.parent for path in folder.glob("*/metadata.json")):
        about = stream_folder(place)
        if about.prediction_length is None:
            raise DataError(f"{place}: its metadata.json names no prediction_length; make the set anew")
        share = FURTHER_YEARLY if about.freq.startswith("Y") else FURTHER_SHARE
        sets[place.name] = TrainingSet(share, about.prediction_length, about.prediction_length, {})
    if not sets:
        raise DataError(f"{folder}: no folder in it is a set with a metadata.json; recipes/series_sets.py makes them")
    return sets


def without_end(entries: Iterable[Entry], steps: int) -> list[Entry]:
    """Series without their last steps; those that are no longer are left out."""
    listed = list(entries)
    return [
        {**entry, "target": np.asarray(entry["target"])[:-steps]} for entry in listed if len(entry["target"]) > steps
    ]


def real_groups(folder: Path, sets: Mapping[str, TrainingSet], length: int) -> tuple[list[CorpusGroup], list[HeldBack]]:
    """The training parts of sets without what is held back, and what is held back.

    Args:
        folder: of the sets, in GluonTS's layout.
        sets: by name.
        length: steps of a window.

    Raises:
        DataError: a set is missing or cannot be read.
    """
    groups: list[CorpusGroup] = []
    held: list[HeldBack] = []
    for name, about in sets.items():
        entries = list(load_folder(folder / name).train)
        held.append(HeldBack(name, entries, about.held_back, about.prediction_length))
        kept = without_end(entries, about.held_back)
        groups.append(CorpusGroup.of_entries(name, about.share, kept, length))
        for freq, share in about.coarser.items():
            coarse = resampled(kept, freq, total=about.total)
            groups.append(CorpusGroup.of_entries(f"{name} as {freq}", share, coarse, length))
    return groups, held


def synthetic_groups(shares: Mapping[str, float], count: int, length: int, seed: int) -> list[CorpusGroup]:
    """Synthetic series by frequency, as many as their share of `count`; the same seed gives the same ones."""
    whole = sum(shares.values())
    groups = []
    for place, (freq, share) in enumerate(shares.items()):
        rng = np.random.default_rng([seed, place])
        steps = min(length, _LONGEST.get(freq, length))
        groups.append(group_of(share / whole, generate(freq, max(1, round(count * share / whole)), steps, rng)))
    return groups


def group_of(share: float, series: SyntheticSeries) -> CorpusGroup:
    """Synthetic series as a group, all of their steps at once."""
    places = [Place(row, int(start), 0) for row, start in zip(series.values, series.starts, strict=True)]
    return CorpusGroup(f"synthetic {series.freq}", share, places, list(series.features), seasons_of(series.freq))


def resampled(entries: Iterable[Entry], freq: str, *, total: bool = False) -> list[Entry]:
    """Series at a coarser frequency: the mean of each period, or its sum; periods that are not whole are left out.

    Args:
        entries: GluonTS entries.
        freq: normalised, coarser than theirs.
        total: add values up instead of averaging them.
    """
    made: list[Entry] = []
    for entry in entries:
        with quiet():
            index = pd.period_range(entry["start"], periods=len(entry["target"]), freq=entry["start"].freq)
            series = pd.Series(np.asarray(entry["target"], dtype=np.float64), index=index.asfreq(freq))
        groups = series.groupby(level=0)
        values = groups.sum(min_count=1) if total else groups.mean()
        counts = groups.size().to_numpy()
        inner = np.flatnonzero(counts >= np.median(counts))
        values = values.iloc[inner[0] : inner[-1] + 1]
        made.append({**entry, "start": values.index[0], "target": values.to_numpy(dtype=np.float32)})
    return made
