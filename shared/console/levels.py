"""Level meters: a line on a terminal's standard error that is written over again and again."""

from __future__ import annotations

import math
import sys
import time

from shared.console.progress import is_quiet

_EVERY = 0.1
_WIDTH = 20
_LOWEST = -60.0


class Meters:
    """Peaks of what goes in and of what comes out, ten times a second; nothing with --quiet or where there is no
    terminal."""

    def __init__(self) -> None:
        self._shown = not is_quiet() and sys.stderr is not None and sys.stderr.isatty()
        self._peaks = [0.0, 0.0]
        self._due = 0.0

    def __call__(self, into: float, out: float, state: str) -> None:
        """Peaks since the last call, full scale 1, and what else to say."""
        if not self._shown:
            return
        self._peaks = [max(self._peaks[0], into), max(self._peaks[1], out)]
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _EVERY
            self._write(f"\rin {gauge(self._peaks[0])}  out {gauge(self._peaks[1])}  {state:<24}")
            self._peaks = [0.0, 0.0]

    def close(self) -> None:
        """End the line."""
        if self._shown and self._due:
            self._write("\n")

    def _write(self, text: str) -> None:
        """Write; or no more, where the terminal was closed: sound matters more than meters."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self._shown = False


def gauge(peak: float) -> str:
    """A bar over 60 dB, and the level in dB below full scale."""
    level = max(_LOWEST, 20 * math.log10(peak)) if peak > 0 else _LOWEST
    full = round(_WIDTH * min(1.0, 1 - level / _LOWEST))
    return f"[{'#' * full:<{_WIDTH}}] {level:5.1f} dB"
