"""Ctrl-C at each moment of a call, one after another: what a signal does, at any place instead of a chance one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType, ModuleType
from typing import Any


def stopped_everywhere(call: Callable[[], object], *modules: ModuleType) -> Iterator[int]:
    """Call again and again, stopped just before the first, second, … instruction that Python carries out in the code of
    these modules, until nothing was left to stop it at; yields the number after each stop."""
    files = {module.__file__ for module in modules}
    for number in count():
        if not _stopped(call, number, files):
            return
        yield number


def _stopped(call: Callable[[], object], after: int, files: set[str | None]) -> bool:
    left, stopped, before = after, False, sys.gettrace()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left, stopped
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                stopped = True
                sys.settrace(before)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        _kept = call()  # whose end is not traced any more
    except KeyboardInterrupt:  # suppress() would be traced itself
        if not stopped:
            raise
    finally:
        sys.settrace(before)
    return stopped
