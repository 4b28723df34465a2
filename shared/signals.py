"""The signals by which a process is asked to end, besides Ctrl-C."""

from __future__ import annotations

import signal

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""Of a terminal or a connection that is closed; None on Windows. It comes twice, from the kernel and from the shell:
whoever hears it passes over the next."""


def ending() -> list[int]:
    """Signals that ask this process to end: SIGTERM, as of schedulers and containers, and SIGHUP; without those that it
    was told to pass over, as by nohup."""
    numbers = [signal.SIGTERM, *([] if HANGUP is None else [HANGUP])]
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
