"""Known anomalies put into real series, to measure detectors with: what changed, where, and how much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

import numpy as np
from annotated_types import MinLen

from shared.checks import Checked, Count, Natural, Positive
from shared.errors import DataError
from shared.random import derive_seed
from tsdiff.data.entries import named_entries

Kind = Literal["spike", "level_shift", "flatline", "amplitude", "time_shift", "time_warp", "noise_burst", "trend"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_LONGEST_SPIKE = 2


@dataclass(frozen=True)
class InjectionConfig(Checked):
    """Which anomalies to put in.

    Args:
        kinds: taken in turn, so that each occurs equally often.
        per_series: anomalies in each series; fewer where they find no room.
        shortest, longest: steps of an anomaly (drawn log-uniformly); a spike takes one or two.
        magnitude: size in units of the series' standard deviation (spike, level shift, trend, noise burst), as
            1 + magnitude (amplitude's factor, or one over it), or, a quarter of it, as a share of the anomaly's length
            by which time is off, at most a half (time shift; of a time warp, in the middle, that over π). A flatline
            has none.
        margin: steps at the start of a series that are left alone.
        gap: untouched steps between two anomalies, at least.
        seed: what happens to a series depends on it, the series' name and its values, and nothing else.

    Raises:
        ConfigError: an unknown kind, or a number out of its range.
    """

    kinds: Annotated[tuple[Kind, ...], MinLen(1)] = KINDS
    per_series: Count = field(default=len(KINDS))
    shortest: Count = 6
    longest: Count = 48
    magnitude: Positive = 1.0
    margin: Natural = 0
    gap: Count = 1
    seed: int = 0

    def _related(self) -> None:
        self._require(self.shortest <= self.longest, "shortest longest", "need shortest ≤ longest")


@dataclass(frozen=True)
class Anomaly:
    """One stretch that was changed.

    Attributes:
        kind: what was done.
        first, length: steps first … first + length − 1.
        channel: of a multivariate series; 0 otherwise.
    """

    kind: Kind
    first: int
    length: int
    channel: int = 0


@dataclass(frozen=True)
class Injected:
    """A series with anomalies.

    Attributes:
        entry: as it was given, with another target.
        labels: (length,) of bool, true exactly where a value changed (in any channel).
        anomalies: in order of time. One that changed nothing, such as a flatline of a constant series, is left out.
    """

    entry: dict[str, Any]
    labels: np.ndarray
    anomalies: tuple[Anomaly, ...]

    def kinds(self) -> np.ndarray:
        """The kind at each step (length,), "" where nothing changed."""
        names = np.full(len(self.labels), "", dtype=object)
        for anomaly in self.anomalies:
            names[anomaly.first : anomaly.first + anomaly.length] = anomaly.kind
        names[~self.labels] = ""
        return names


def inject(
    entries: Iterable[Mapping[str, Any]], config: InjectionConfig | None = None, last: int | None = None
) -> list[Injected]:
    """Copies of series with anomalies in them. Missing values stay missing and are never labelled.

    Args:
        entries: GluonTS entries, targets (length,) or (channels, length); they are not changed.
        config: what to put in.
        last: steps at the end of each series that anomalies lie in; None means all of them.

    Returns:
        One result a series, in order.

    Raises:
        DataError: no series took an anomaly: all too short, too gappy or constant; or what is no dataset.
    """
    config = config or InjectionConfig()
    results = [_injected(entry, name, config, last) for name, entry in named_entries(entries)]
    if not any(result.anomalies for result in results):
        where = f"after step {config.margin}" if last is None else f"in its last {last}"
        more = "longer series" if last is None else "more of these"
        raise DataError(
            f"none of {len(results)} series has room for an anomaly of {config.shortest} to {config.longest} steps "
            f"{where}; give {more}, or shorter anomalies"
        )
    return results


def change(
    values: np.ndarray,
    kind: Kind,
    first: int,
    length: int,
    magnitude: float,
    rng: np.random.Generator,
    deviation: float | None = None,
) -> np.ndarray:
    """The series with one anomaly at steps first … first + length − 1.

    Args:
        values: (length,), NaN where missing; not changed.
        kind, magnitude: see `InjectionConfig`.
        first, length: where; first ≥ 1.
        rng: of signs and noise.
        deviation: the standard deviation that magnitude counts in; None means that of `values`.

    Returns:
        (length,) float64, equal to `values` outside the stretch and NaN where `values` is.
    """
    out = np.asarray(values, dtype=np.float64).copy()
    stretch = slice(first, first + length)
    size = magnitude * (_deviation(out) if deviation is None else deviation)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    places = np.arange(length)
    piece = out[stretch]
    if kind in ("spike", "level_shift"):
        changed = piece + sign * size
    elif kind == "trend":
        changed = piece + sign * size * (places + 1) / length
    elif kind == "noise_burst":
        changed = piece + size * rng.standard_normal(length)
    elif kind == "flatline":
        changed = np.full(length, _last_observed(out[:first]))
    elif kind == "amplitude":
        middle = np.nanmean(piece) if not np.isnan(piece).all() else 0.0
        changed = middle + (piece - middle) * (1 + magnitude) ** sign
    else:
        moved = max(1.0, min(0.5, 0.25 * magnitude) * length)
        shift = np.full(length, sign * round(moved))
        if kind == "time_warp":  # leaves both ends where they were, and is off the most in the middle
            shift = sign * moved * np.sin(np.pi * (places + 1) / (length + 1)) / np.pi
        changed = _interpolated(out, first + places + shift)
    out[stretch] = np.where(np.isnan(piece) | np.isnan(changed), piece, changed)
    return out


def _injected(entry: Mapping[str, Any], name: str, config: InjectionConfig, last: int | None) -> Injected:
    rng = np.random.default_rng(derive_seed(config.seed, "inject", name))
    original = np.asarray(entry["target"])
    if original.dtype.kind != "f":
        original = original.astype(np.float64)
    rows = np.atleast_2d(original).copy()
    deviations = [_deviation(row.astype(np.float64)) for row in rows]
    labels = np.zeros(rows.shape[1], dtype=bool)
    anomalies: list[Anomaly] = []
    # Series start at different kinds, so that kind and place in the series are independent.
    offset = int(rng.integers(len(config.kinds)))
    start = max(config.margin, 1, 0 if last is None else rows.shape[1] - last)
    for turn, (first, length) in enumerate(_places(start, rows.shape[1], config, rng)):
        kind = config.kinds[(offset + turn) % len(config.kinds)]
        length = min(length, int(rng.integers(1, _LONGEST_SPIKE + 1))) if kind == "spike" else length
        channel = int(rng.integers(len(rows)))
        row = change(rows[channel], kind, first, length, config.magnitude, rng, deviations[channel]).astype(rows.dtype)
        changed = (row != rows[channel]) & ~np.isnan(row)
        if changed.any() and np.isfinite(row[changed]).all():
            rows[channel] = row
            labels |= changed
            anomalies.append(Anomaly(kind, first, length, channel))
    return Injected({**entry, "target": rows.reshape(original.shape)}, labels, tuple(anomalies))


def _places(start: int, total: int, config: InjectionConfig, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(first, length) of each anomaly, at random in equal slots from `start` on, a gap apart."""
    count = min(config.per_series, (total - start) // (config.shortest + config.gap))
    if count < 1:
        return []
    edges = np.linspace(start, total, count + 1).astype(int)
    places = []
    for low, high in pairwise(edges):
        room = int(high - low) - config.gap
        longest = min(config.longest, room)
        length = round(math.exp(rng.uniform(math.log(config.shortest), math.log(longest))))
        length = min(max(length, config.shortest), longest)
        places.append((int(low + rng.integers(room - length + 1)), length))
    return places


def _deviation(values: np.ndarray) -> float:
    """Standard deviation of the observed values; a constant series' own size, or 1, where there is none."""
    seen = values[~np.isnan(values)]
    if not seen.size:
        return 1.0
    deviation, size = float(seen.std()), float(np.abs(seen).mean())
    if deviation > 1e-9 * size:
        return deviation
    return size if size > 0 else 1.0


def _last_observed(before: np.ndarray) -> float:
    seen = before[~np.isnan(before)]
    return float(seen[-1]) if seen.size else math.nan


def _interpolated(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The series at real places (n,), linear between observed values, inside its ends."""
    seen = np.flatnonzero(~np.isnan(values))
    if not seen.size:
        return np.full(len(places), math.nan)
    # Beyond an end the series is mirrored: its end value, held, would be a flatline.
    inside = np.where(places < 0, -places, places)
    inside = np.where(inside > len(values) - 1, 2 * (len(values) - 1) - inside, inside)
    return np.interp(inside, seen, values[seen])
