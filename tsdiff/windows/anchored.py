"""Windows around their anchor: where each step is taken from, in which unit, and what the network is told of it.

The steps that are not to be known are hidden. A stretch of them after which nothing is known is forecast; one with
known values on both sides is forecast from both, each forecast meeting the values beyond as far as its errors hang
together, the nearer side counting more, which between two last values is a straight line, and less the side that tells
less, as a few first values do that were seen before a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from tsdiff.windows.anchors import Pool, pooled, remembered
from tsdiff.windows.changed import UNCHANGED, Changed, cleaned
from tsdiff.windows.filling import Expected, expected
from tsdiff.windows.gaps import stretches
from tsdiff.windows.medians import median
from tsdiff.windows.sides import Sides, joined, part_of, sides_of
from tsdiff.windows.simple import HEARD, Seasons
from tsdiff.windows.spikes import without_spikes_anywhere
from tsdiff.windows.weighing import Weighing, squashed, weighed

ArrayOrTensor = TypeVar("ArrayOrTensor", np.ndarray, torch.Tensor)

KNOWN_WIDTH = HEARD + 9
"""Numbers a step that the network is told; see `AnchoredWindow.known`."""

ABOUT_WIDTH = 3 * HEARD + 14
"""Numbers a window that the network is told; see `AnchoredWindow.about`."""

_LINEAR_UNITS = 2.0
_TINY = 1e-200
_MOST_GAPS = 8


@dataclass(frozen=True)
class AnchoredWindow:
    """A window of a series of one channel.

    Attributes:
        anchor: (length,) float64, in the series' units, of a forecast those of its last values: observed values where
            there are some, else what is expected.
        scale: typical size of what each step is off it, (length,), positive.
        known: (length, KNOWN_WIDTH) float32. Of known steps: the value by the window's level and spread, the change
            over a season and the distance from the anchor of the hidden steps, by the scale. Of hidden steps: each
            simple forecast that is heard (`HEARD`) and the level by the scale and the spread, the logarithm of the
            error that past forecasts made at this step, and how far the nearest known steps are before and after. Last,
            whether the step is wanted, and whether it is known.
        about: (ABOUT_WIDTH,) float32: what the simple forecasts are worth, the ratio of scale and spread, seasons,
            lengths, whether values are whole, positive or often zero.
        missed: errors of the simple forecasts' mean at past origins, (origins, steps), of a window that ends with what
            is forecast; (0, 0) of others.
        changed: of what is before the last stretch that is not known.
    """

    anchor: np.ndarray
    scale: np.ndarray
    known: np.ndarray
    about: np.ndarray
    missed: np.ndarray
    changed: Changed = UNCHANGED


def residual_units(residuals: np.ndarray) -> np.ndarray:
    """Residuals by their scale → the network's units, in which a tail is logarithmic."""
    return _LINEAR_UNITS * np.arcsinh(residuals / _LINEAR_UNITS)


def residuals(units: ArrayOrTensor) -> ArrayOrTensor:
    """The inverse of `residual_units`, of an array or a tensor."""
    sinh = np.sinh if isinstance(units, np.ndarray) else torch.sinh
    return _LINEAR_UNITS * sinh(units / _LINEAR_UNITS)


def residual_slope(units: torch.Tensor) -> torch.Tensor:
    """The derivative of `residuals`."""
    return torch.cosh(units / _LINEAR_UNITS)


def squash(values: np.ndarray) -> np.ndarray:
    """`squashed` of an array."""
    return squashed(torch.from_numpy(values)).numpy()


@dataclass(frozen=True)
class Wanted:
    """A window of a series that is to be put around its anchor.

    Attributes:
        values: the whole series (n,), NaN where missing.
        first: step of the series where the window begins. What lies after its end is not known where its last step is
            hidden, and else tells of its gaps as what lies before it does.
        hidden: (length,): steps of the window whose values are not to be used.
        seasons: of the series.
        ahead: whether the last stretch that is not known alone is drawn, and what fills the others is enough.
    """

    values: np.ndarray
    first: int
    hidden: np.ndarray
    seasons: Seasons
    ahead: bool = False


def anchored_windows(wanted: Iterable[Wanted], weighing: Weighing | None = None) -> list[AnchoredWindow]:
    """Each window around its anchor; the simple forecasts of all are weighed together, by the bundled network unless
    another is given."""
    read = [_read(one) for one in wanted]
    pools = iter(weighed([pool for one in read for pool in one.pools()], weighing))
    return [_assembled(one, [joined(gap, pools) for gap in one.sides]) for one in read]


@dataclass(frozen=True)
class _Read:
    """What a window's values tell.

    Attributes:
        told: values from the first that is looked at on, what is hidden or missing filled in; none where nothing is
            known.
        place: of each step of the window in `told`, below 0 before the series.
        observed, wanted: of the window's steps; neither is what lies before the series.
        gaps: from … to of the longest stretches that are wanted, in the window.
        parts: of each gap the part of its pools that lies in the window.
        sides: of each gap the pools of what lies before it and, turned round, of what lies after it, if anything does.
        seasons: of the series.
        changed: before the pools were made.
    """

    told: Expected
    place: np.ndarray
    observed: np.ndarray
    wanted: np.ndarray
    gaps: list[tuple[int, int]]
    parts: list[slice]
    sides: list[Sides]
    seasons: Seasons
    changed: Changed

    def pools(self) -> Iterator[Pool]:
        """Of all gaps, before the one after."""
        return (pool for gap in self.sides for pool in gap.pools if pool is not None)


def _read(wanted: Wanted) -> _Read:
    values, first, length = wanted.values, wanted.first, len(wanted.hidden)
    begin, end = _reach(wanted)
    told = np.full(max(end - begin, 0), np.nan)
    there_to = min(end, len(values))
    told[: there_to - begin] = values[begin:there_to]
    place = np.arange(length) + first - begin
    there = place >= 0
    told[place[there & wanted.hidden]] = np.nan
    told, changed = cleaned(told, wanted.seasons) if wanted.ahead else (told, UNCHANGED)
    known = ~np.isnan(told)
    observed = there.copy()
    observed[there] = known[place[there]]
    missing = there & ~observed
    if not known.any():
        return _Read(Expected(told[:0], 0.0), place, observed, missing, [], [], [], wanted.seasons, changed)
    gaps = _gaps(missing, wanted.ahead)
    filled = _filled(told, known, wanted)
    parts, sides = [], []
    for start, stop in gaps:
        whole = _whole(known, start + place[0], stop + place[0])
        parts.append(slice(start + place[0] - whole[0], stop + place[0] - whole[0]))
        sides.append(sides_of(filled.values, known, *whole, wanted.seasons))
    as_seen = replace(filled, values=np.where(known, told, filled.values))  # the network may see what is put back
    return _Read(as_seen, place, observed, missing, gaps, parts, sides, wanted.seasons, changed)


def _filled(told: np.ndarray, known: np.ndarray, wanted: Wanted) -> Expected:
    """What a window tells, its gaps filled; where some are to be drawn that end in known values, without single ones
    that are far off those around, which would be repeated in them."""
    first, last = np.flatnonzero(known)[[0, -1]]
    between = not wanted.ahead and not known[first:last].all()
    return expected(without_spikes_anywhere(told, wanted.seasons) if between else told, wanted.seasons)


def _reach(wanted: Wanted) -> tuple[int, int]:
    """From and to which step a series is looked at: as far before the window, or the last value that is known before
    it, as is remembered; and as far after it, unless its end is hidden."""
    values, first, far = wanted.values, wanted.first, remembered(wanted.seasons)
    end = first + len(wanted.hidden)
    before = np.flatnonzero(~np.isnan(values[: max(first, 0)]))
    begin = first if not len(before) else min(first, int(before[-1]) + 1)
    if 0 < end < len(values) and not wanted.hidden[-1]:
        after = np.flatnonzero(~np.isnan(values[end:])) if np.isnan(values[end - 1]) else np.zeros(1, dtype=int)
        end = min(end + int(after[0]) + far, len(values)) if len(after) else end
    return max(0, begin - far), end


def _whole(known: np.ndarray, start: int, stop: int) -> tuple[int, int]:
    """The stretch of unknown values, from … to, that a gap of a window is part of; one before which nothing is known
    begins with the window's, and one after which nothing is ends so."""
    before, after = np.flatnonzero(known[:start]), np.flatnonzero(known[stop:])
    return int(before[-1]) + 1 if len(before) else start, stop + int(after[0]) if len(after) else stop


def _assembled(read: _Read, pools: list[Pool]) -> AnchoredWindow:
    """The window of what was read, and the pool of each gap."""
    told, place, observed, wanted = read.told.values, read.place, read.observed, read.wanted
    if not len(told):
        return _unknown(len(place), wanted)
    gaps, seasons = read.gaps, read.seasons
    pools = [part_of(pool, part) for pool, part in zip(pools, read.parts, strict=True)]
    changed = replace(read.changed, outliers=pools[-1].outliers) if pools else read.changed
    pool = pools[int(np.argmax([end - start for start, end in gaps]))] if gaps else pooled(told, 1, seasons)
    steps = np.array([end - start for start, end in gaps] or [1], dtype=np.float64)
    scale = float(np.array([one.scale for one in pools or [pool]]) @ steps / steps.sum())
    line = np.where(place >= 0, told[np.maximum(place, 0)], 0.0)
    # Beyond those gaps what tries missed by tells more, but it is too much: they know less around what they fill.
    anchor, sizes = line.copy(), np.full(len(place), max(scale, float(np.sqrt(scale * read.told.error))))
    for (start, end), one in zip(gaps, pools, strict=True):
        anchor[start:end], sizes[start:end] = one.mean, one.scale * one.profile
    if not observed.any():  # too far away for what the network has learnt of gaps
        return replace(_unknown(len(place), wanted), anchor=anchor, scale=sizes, changed=changed)
    forecasts, profile = np.zeros((HEARD, len(place))), np.zeros(len(place))
    for (start, end), one in zip(gaps, pools, strict=True):
        profile[start:end] = np.log(sizes[start:end] / scale + 1e-2)
        heard = one.forecasts[:HEARD] - one.mean
        forecasts[:, start:end] = np.where(one.usable[:HEARD, None], heard, 0.0)
    seen = line[observed]
    level = float(median(seen))
    spread = 1.25 * float(np.abs(seen - seen.mean()).mean()) + 1e-3 * scale + 1e-13 * abs(level) + _TINY
    season = max(seasons[0], 1)
    change = np.where(place >= season, line - told[np.maximum(place - season, 0)], 0.0)
    goal = float(anchor[wanted].mean()) if wanted.any() else level
    columns = [
        squash((line - level) / spread) * observed,
        squash(change / scale) * observed,
        0.5 * squash((line - goal) / (3 * scale)) * observed,
        *squash(forecasts / scale),
        squash((anchor - level) / spread) * wanted,
        profile * wanted,
        *_distances(observed, wanted),
        wanted,
        observed,
    ]
    known = np.stack(columns, axis=1).astype(np.float32)
    about = _about(pool, scale, spread, level, seen, observed, wanted, seasons)
    forecast = bool(gaps) and gaps[-1][1] == len(place) and read.sides[-1].pools[1] is None
    missed = pools[-1].missed if forecast else np.zeros((0, 0))
    return AnchoredWindow(anchor, sizes, known, about, missed, changed)


def _distances(observed: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far before and after each wanted step the nearest known one is: log1p(steps)/5, and 1/steps, 0 for none."""
    places, count = np.arange(len(observed)), len(observed)
    before = places - np.maximum.accumulate(np.where(observed, places, -count))
    after = np.minimum.accumulate(np.where(observed, places, 2 * count)[::-1])[::-1] - places
    near = np.where(after <= count, 1 / np.maximum(after, 1), 0.0)
    return np.log1p(before) / 5 * wanted, near * wanted


def _about(
    pool: Pool,
    scale: float,
    spread: float,
    level: float,
    seen: np.ndarray,
    observed: np.ndarray,
    wanted: np.ndarray,
    seasons: Seasons,
) -> np.ndarray:
    """The numbers of the whole window; the pool is that of its longest gap."""
    errors, shares = pool.errors[:HEARD], pool.shares[:HEARD]
    finite, behind = np.isfinite(errors), np.full(HEARD, 3.0)
    if finite.any():
        least = errors[finite].min() + 1e-3 * scale
        behind[finite] = np.clip(np.log((errors[finite] + 1e-3 * scale) / least), 0, 3)
    last = int(np.flatnonzero(observed)[-1])
    between = bool(wanted[:last].any())
    numbers = [
        np.clip(np.log(scale / spread), -7, 3),
        np.log2(max(seasons[0], 1)) / 4,
        np.log2(max(seasons[1], 1)) / 4,
        np.log2(max(len(seen), 1)) / 8,
        np.log2(max(wanted.sum(), 1)) / 4,
        observed.sum() / max((observed | wanted).sum(), 1),
        (seen == np.round(seen)).mean(),
        bool((seen >= 0).all()),
        (seen == 0).mean(),
        np.clip(level / spread, -10, 10) / 5,
        between,
        np.log1p(pool.tries) / 2,
        pool.tail,
        0.0,
    ]
    return np.concatenate([pool.usable[:HEARD], shares / shares.sum(), behind, numbers]).astype(np.float32)


def _unknown(length: int, wanted: np.ndarray) -> AnchoredWindow:
    """A window of which nothing is known: relative to 0, in units of 1."""
    known = np.zeros((length, KNOWN_WIDTH), dtype=np.float32)
    known[:, -2] = wanted
    about = np.zeros(ABOUT_WIDTH, dtype=np.float32)
    about[-1] = 1.0
    return AnchoredWindow(np.zeros(length), np.ones(length), known, about, np.zeros((0, 0)))


def _gaps(wanted: np.ndarray, ahead: bool) -> list[tuple[int, int]]:
    """The longest stretches of wanted steps, from … to, in order, or the last alone; what fills the others is all that
    is said of them."""
    gaps = stretches(wanted)
    return gaps[-1:] if ahead else sorted(sorted(gaps, key=lambda gap: gap[0] - gap[1])[:_MOST_GAPS])
