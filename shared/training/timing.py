"""How many steps of a training fit into a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

_FIRST, _MORE = 5, 20


@dataclass(frozen=True)
class Pace:
    """How fast a training is.

    Attributes:
        seconds: of CPU time of this process that a step takes.
        most: steps that it has.
    """

    seconds: float
    most: int

    @classmethod
    def of(cls, run: Callable[[int], None], most: int) -> Pace:
        """Measure it; what a start takes is not counted.

        Args:
            run: trains something that is thrown away for so many steps; called twice.
            most: steps of the training.
        """
        few, more = (seconds_of(partial(run, steps)) for steps in (_FIRST, _FIRST + _MORE))
        return cls(max(more - few, 0.2 * more) / _MORE, most)

    def within(self, seconds: float) -> int:
        """Steps that take so much CPU time, at least 1."""
        steps = max(1, round(seconds / self.seconds)) if self.seconds > 0 else 1
        return min(steps, self.most)


def seconds_of(work: Callable[[], object]) -> float:
    """CPU seconds of this process that it takes."""
    started = time.process_time()
    work()
    return time.process_time() - started
