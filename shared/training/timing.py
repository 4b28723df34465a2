"""How many steps of a training fit into a time."""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST, _MORE = 5, 20


def steps_within(run: Callable[[int], None], seconds: float) -> int:
    """Optimiser steps that take so much CPU time of this process, at least 1; what a start takes is not counted.

    Args:
        run: trains something that is thrown away for so many steps; called twice.
        seconds: of CPU time.
    """
    times = []
    for steps in (_FIRST, _FIRST + _MORE):
        started = time.process_time()
        run(steps)
        times.append(time.process_time() - started)
    each = max(times[1] - times[0], 0.2 * times[1]) / _MORE
    return max(1, round(seconds / each)) if each > 0 else 1
