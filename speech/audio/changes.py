"""Recordings that others write to, replace or remove while they are read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.errors import DataError
from speech.audio.coding import AudioInfo
from speech.audio.errors import UnwritableError

_CLOCK_SECONDS = 2.0
"""By how much file systems may round the time of a change, or tell it late."""


@dataclass(frozen=True)
class Watched:
    """A file as it was when reading it began.

    Attributes:
        path: of the file.
        size, changed: bytes, and when it was written to last, in seconds; None where there was no such file.
    """

    path: Path
    size: int | None
    changed: float | None

    @classmethod
    def of(cls, path: Path) -> Watched:
        """The file as it is now."""
        try:
            now = os.stat(path)
        except (OSError, ValueError):  # which reading it tells better
            return cls(path, None, None)
        return cls(path, now.st_size, now.st_mtime)

    def differs(self, now: Watched) -> bool:
        """Whether the file is another now. Network file systems number files anew, so numbers of files do not count."""
        if self.changed is None or now.changed is None:
            return self.changed is not now.changed
        return self.size != now.size or abs(now.changed - self.changed) > _CLOCK_SECONDS

    def notes(self, seconds: float) -> tuple[str, ...]:
        """What there is to say of a result of so many seconds, if the file is another now."""
        now = Watched.of(self.path)
        if not self.differs(now):
            return ()
        again = "enhance it again (--overwrite) once it is whole"
        if self.size is not None and now.size is not None and now.size > self.size:
            return (f"it grew while it was enhanced: the result is of the {seconds:.1f} s at its beginning; {again}",)
        return (f"it changed while it was enhanced, and the result may be of both; {again}",)


def is_newer(source: Path, result: Path) -> bool:
    """Whether a recording was written to after the result that lies there."""
    made, now = Watched.of(result), Watched.of(source)
    return made.changed is not None and now.changed is not None and now.changed > made.changed + _CLOCK_SECONDS


def refuse_other(path: Path, before: AudioInfo, now: AudioInfo) -> None:
    """Refuse a recording that, opened once more, is no longer as long, or of another rate or number of channels.

    Raises:
        DataError: it is.
    """
    same = (now.sample_rate, now.channels) == (before.sample_rate, before.channels)
    if not same or now.samples < before.samples:
        raise _changed(path)


@contextlib.contextmanager
def watched(path: Path) -> Iterator[Watched]:
    """Watch a file while it is read.

    Raises:
        DataError: it was written to or removed meanwhile, which is why reading failed.
    """
    before = Watched.of(path)
    try:
        yield before
    except (DataError, OSError) as error:
        now = Watched.of(path)
        # a disk may be full because a recorder writes to it
        told = isinstance(error, UnwritableError) and now.changed is not None
        if told or not before.differs(now):
            raise
        raise _changed(path) from error


def _changed(path: Path) -> DataError:
    how = "changed" if path.exists() else "was moved or removed"
    return DataError(f"{path} {how} while it was being enhanced; enhance it again once nothing else writes to it")
