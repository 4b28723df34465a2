"""A terminal, a real one, that a command in this process has."""

from __future__ import annotations

import contextlib
import os
import select
import struct
import sys
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def answering(answer: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal at which somebody answers whatever is asked, and the end where what it shows is read."""
    import fcntl  # which Windows has not
    import termios

    here, there = os.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with open(there, "w") as said, open(os.dup(there)) as typed:
        os.write(here, answer.encode())
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", typed)
            patch.setattr(sys, "stderr", said)
            yield here
    os.close(here)


def shown(here: int) -> str:
    """What a terminal shows by now."""
    sys.stderr.flush()
    said = b""
    while select.select([here], [], [], 0.1)[0]:
        said += os.read(here, 4096)
    return said.decode()
