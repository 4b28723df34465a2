"""Reading a file as if a few of its bytes were others, for headers that do not tell what is true."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path


class Patched(io.RawIOBase):
    """A file for reading, with other bytes in some places.

    Args:
        path: the file.
        patches: bytes by their place.
    """

    def __init__(self, path: Path, patches: Mapping[int, bytes]):
        self._file, self._patches = open(path, "rb"), dict(patches)  # noqa: SIM115 (closed with this)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        start = self._file.tell()
        count = self._file.readinto(buffer)
        view = memoryview(buffer).cast("B")
        for place, content in self._patches.items():
            for at, byte in enumerate(content, place - start):
                if 0 <= at < count:
                    view[at] = byte
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
