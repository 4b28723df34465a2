"""Both sides of a gap: the simple forecasts of what lies before it and, backwards, after it, and one pool of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tsdiff.windows.anchors import Pool, pooled, remembered
from tsdiff.windows.simple import Seasons

_TINY = 1e-200
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


def sides_of(
    told: np.ndarray, known: np.ndarray, begin: int, end: int, seasons: Seasons
) -> tuple[Pool | None, Pool | None]:
    """The simple forecasts of a stretch from the values before it and, backwards, from those after it."""
    far, steps = remembered(seasons), end - begin
    before, after = slice(max(0, begin - far), begin), slice(end, end + far)
    return (
        pool_of(told[before], known[before], steps, seasons),
        pool_of(told[after][::-1], known[after][::-1], steps, seasons),
    )


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


def joined(sides: tuple[Pool | None, Pool | None], pools: Iterator[Pool]) -> Pool:
    """The pool of a gap from those of its sides that are there, which are the next of `pools`."""
    ahead, back = (None if side is None else next(pools) for side in sides)
    if ahead is None or back is None:
        one = ahead or back
        assert one is not None
        return one if one is ahead else _turned(one)
    ahead, back = _tried(ahead, back), _turned(_tried(back, ahead))
    steps, trust = len(ahead.mean), _trust(ahead, back)
    nearer = trust * np.arange(1, steps + 1)
    nearer /= nearer + (1 - trust) * np.arange(steps, 0, -1)
    scale = (1 - trust) * ahead.scale + trust * back.scale
    change = float(np.abs(ahead.mean - back.mean).mean()) - _SURPRISE * max(ahead.scale, back.scale)
    return replace(
        ahead,
        forecasts=(1 - nearer) * ahead.forecasts + nearer * back.forecasts,
        usable=ahead.usable & back.usable,
        shares=(ahead.shares + back.shares) / 2,
        errors=np.maximum(ahead.errors, back.errors),
        mean=(1 - nearer) * ahead.mean + nearer * back.mean,
        scale=float(np.hypot(scale, _STEP * max(change, 0.0))),
        profile=((1 - trust) * ahead.profile * ahead.scale + trust * back.profile * back.scale) / scale,
        tries=min(ahead.tries, back.tries),
        tail=max(ahead.tail, back.tail),
    )


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
