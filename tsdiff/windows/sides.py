"""Both sides of a gap: the simple forecasts of what lies before it and, backwards, after it, and one pool of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tsdiff.windows.anchors import Pool, pooled, remembered
from tsdiff.windows.hanging import likeliness, told_by_last
from tsdiff.windows.simple import Seasons

_TINY = 1e-200
_ENDS, _APIECE = 4, 4
"""Known values after a gap that tell of it, at most, and for how many steps of it there is one: errors of fewer tell
little of how they hang together."""
_FAR = 2.0
"""Expected errors from which on what is off after a gap tells less: its level may have changed in between."""
_AS_GOOD = 2.0
"""Up to this ratio of their expected errors both sides of a gap are taken for equally good: few values tell no more."""
_SEASONAL = 2
"""Which simple forecast is of a season ago."""
_LEAST_RATIO = 1e-6
"""Of the expected errors of both sides, for the numbers' sake."""
_DOUBT = 0.125
"""Share of how far both sides of a gap are apart that either may be off."""
_SURPRISE, _STEP = 4.0, 12**-0.5
"""How many times their error the sides of a gap are apart where its level has changed in between, and the deviation of
a step at an unknown place from the line that leads over it, by its height."""


@dataclass(frozen=True)
class Sides:
    """What lies before a gap and, turned round, what lies after it.

    Attributes:
        pools: the simple forecasts of the gap's steps, and of those beyond it that are to be met, by each side; None
            where nothing is known.
        beyond: the known values that each has to meet after them, (k,) each; none where one side alone is known.
    """

    pools: tuple[Pool | None, Pool | None]
    beyond: tuple[np.ndarray, np.ndarray]


def sides_of(told: np.ndarray, known: np.ndarray, begin: int, end: int, seasons: Seasons) -> Sides:
    """Both sides of a stretch that is not known."""
    far, steps = remembered(seasons), end - begin
    before, after = slice(max(0, begin - far), begin), slice(end, end + far)
    sides = (told[before], known[before]), (told[after][::-1], known[after][::-1])
    beyond = _nearest(*sides[1], steps), _nearest(*sides[0], steps)
    if not (len(beyond[0]) and len(beyond[1])):
        beyond = np.zeros(0), np.zeros(0)
    one, other = (pool_of(*side, steps + len(meet), seasons) for side, meet in zip(sides, beyond, strict=True))
    return Sides((one, other), beyond)


def _nearest(values: np.ndarray, known: np.ndarray, steps: int) -> np.ndarray:
    """The last values (n,) that are known one after the other, the last one first: some, by the steps of a gap."""
    last = known[::-1][: min(_ENDS, steps // _APIECE)]
    count = len(last) if last.all() else int(last.argmin())
    return values[::-1][:count]


def pool_of(values: np.ndarray, known: np.ndarray, steps: int, seasons: Seasons) -> Pool | None:
    """The simple forecasts of what follows a history (n,) whose gaps are filled, from the first value on that is known,
    (n,); None where none is."""
    if not known.any():
        return None
    first = int(known.argmax())
    return pooled(values[first:], steps, seasons, known[first:])


def part_of(pool: Pool, steps: slice) -> Pool:
    """The pool of some of its steps."""
    if steps == slice(0, len(pool.mean)):
        return pool
    typical = float(pool.profile[steps].mean())
    return replace(
        pool,
        forecasts=pool.forecasts[:, steps],
        mean=pool.mean[steps],
        scale=pool.scale * typical,
        profile=pool.profile[steps] / typical,
        height=pool.height[steps],
    )


def joined(sides: Sides, pools: Iterator[Pool]) -> Pool:
    """The pool of a gap from those of its sides that are there, which are the next of `pools`."""
    ahead, back = (None if side is None else next(pools) for side in sides.pools)
    if ahead is None or back is None:
        one = ahead or back
        assert one is not None
        return one if one is ahead else _turned(one)
    steps, ahead, back = len(ahead.mean) - len(sides.beyond[0]), _tried(ahead, back), _tried(back, ahead)
    (moved, left), (moved_back, left_back) = _met((ahead, back), sides.beyond)
    ahead, back = part_of(ahead, slice(0, steps)), _turned(part_of(back, slice(0, steps)))
    trust = _trust(ahead, back)
    nearer = _nearer(trust, steps)
    moved = (1 - nearer) * moved[:steps] + nearer * moved_back[:steps][::-1]
    of_ahead, of_back = ahead.scale * ahead.profile * left[:steps], back.scale * back.profile * left_back[:steps][::-1]
    sizes = (1 - trust) * of_ahead + trust * of_back
    scale = float(sizes.mean())
    change = float(np.abs(ahead.mean - back.mean).mean()) - _SURPRISE * max(ahead.scale, back.scale)
    return replace(
        ahead,
        forecasts=(1 - nearer) * ahead.forecasts + nearer * back.forecasts + moved,
        usable=ahead.usable & back.usable,
        shares=(ahead.shares + back.shares) / 2,
        errors=np.maximum(ahead.errors, back.errors),
        mean=(1 - nearer) * ahead.mean + nearer * back.mean + moved,
        scale=float(np.hypot(scale, _STEP * max(change, 0.0))),
        profile=sizes / scale,
        tries=min(ahead.tries, back.tries),
        tail=max(ahead.tail, back.tail),
    )


Moved = tuple[np.ndarray, np.ndarray]
"""How far each step of a forecast is moved, and the share of its size that is left."""


def _met(pools: tuple[Pool, Pool], beyond: tuple[np.ndarray, np.ndarray]) -> tuple[Moved, Moved]:
    """How far the forecasts by both sides of a gap are off, as far as their errors hang together, by what they are off
    beyond it. Where no error of one side tells how they do, those of the other do."""
    if not len(beyond[0]):
        none = np.zeros(len(pools[0].mean)), np.ones(len(pools[0].mean))
        return none, none
    of_one, of_other = (likeliness(pool.missed) for pool in pools)
    missed, size = (max(numbers) for numbers in zip(*map(_missed, pools, beyond), strict=True))
    sure = min(_FAR * size / max(missed, _TINY), 1.0) ** 2
    one = _moved(pools[0], of_other if of_one is None else of_one, beyond[0], sure)
    return one, _moved(pools[1], of_one if of_other is None else of_other, beyond[1], sure)


def _missed(pool: Pool, beyond: np.ndarray) -> tuple[float, float]:
    """How far a forecast is off the values beyond its gap, and what is expected."""
    off = np.abs(beyond - pool.mean[-len(beyond) :])
    return float(np.median(off)), pool.scale * float(pool.profile[-len(beyond) :].mean())


def _moved(pool: Pool, weights: np.ndarray | None, beyond: np.ndarray, sure: float) -> Moved:
    """How far each step of one side's forecast is off by what it is off the last of them, as far as is `sure`.

    Of the size the root of what is left of it is taken: the network has learnt some of it.
    """
    steps, last = len(pool.mean), len(beyond)
    if weights is None:
        return np.zeros(steps), np.ones(steps)
    size = pool.scale * pool.profile
    slopes, told = told_by_last(weights, steps, last)
    moved = sure * size * (slopes @ ((beyond - pool.mean[-last:]) / size[-last:]))
    return moved, np.maximum(1 - sure * told, _LEAST_RATIO) ** 0.25


def _nearer(trust: float, steps: int) -> np.ndarray:
    """How much what lies after a gap tells of each step, (steps,): by its trust, and by its distance as far as both
    sides tell something, for a few values say nothing of what is next to them if they do not know its season."""
    apart = np.arange(1, steps + 1) / np.arange(steps, 0, -1)
    odds = trust / (1 - trust) * apart ** (4 * trust * (1 - trust))
    return odds / (1 + odds)


def _tried(pool: Pool, other: Pool) -> Pool:
    """The pool of one side of a gap; where nothing could be tried there, or it cannot know the season that the other
    side does, with the error that a last value has made on that, at least."""
    if not other.tries or (pool.tries and not _knows_less(pool, other)):
        return pool
    error = 1.25 * float(other.errors[0] / pool.profile.mean())
    return replace(pool, scale=max(error, pool.scale if pool.tries else _TINY))


def _knows_less(pool: Pool, other: Pool) -> bool:
    """Whether one side of a gap is shorter than a season, and the other is not."""
    return bool(other.usable[_SEASONAL] and not pool.usable[_SEASONAL])


def _trust(ahead: Pool, back: Pool) -> float:
    """How much what lies after a gap tells of it beside what lies before it, above 0 and below 1: by the inverse
    squares of the errors that are expected, as far as their ratio is beyond `_AS_GOOD`, if both know a season or
    neither does. Both err by some of what they differ by, as where a series is constant on one side."""
    doubt = float(np.abs(ahead.mean - back.mean).mean()) * _DOUBT
    ratio = float(np.hypot(ahead.scale, doubt) / np.hypot(back.scale, doubt))
    ratio = min(max(ratio, _LEAST_RATIO), 1 / _LEAST_RATIO)
    as_good = 1.0 if _knows_less(ahead, back) or _knows_less(back, ahead) else _AS_GOOD
    beyond = max(ratio / as_good, 1.0) / max(1 / (ratio * as_good), 1.0)
    return 1 / (1 + beyond**-2)


def _turned(pool: Pool) -> Pool:
    return replace(pool, forecasts=pool.forecasts[:, ::-1], mean=pool.mean[::-1], profile=pool.profile[::-1])
