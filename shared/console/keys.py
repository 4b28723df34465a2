"""Keys that are pressed while a command runs, without waiting for one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Pressed = Callable[[], str]
"""The keys since the last time, as text; none: ''."""


@contextlib.contextmanager
def keys() -> Iterator[Pressed]:
    """Hear the keys of the terminal, where there is one; it is as before afterwards."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield lambda: ""
        return
    if sys.platform == "win32":
        import msvcrt

        def pressed() -> str:
            found = ""
            while msvcrt.kbhit():
                found += msvcrt.getwch()
            return found

        yield pressed
        return
    import os
    import select
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def read() -> str:
        there, _, _ = select.select([terminal], [], [], 0)
        return os.read(terminal, 64).decode(errors="replace") if there else ""

    try:
        tty.setcbreak(terminal)
        yield read
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
