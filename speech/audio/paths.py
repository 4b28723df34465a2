"""Names of sound files, as soundfile takes them."""

from __future__ import annotations

import os


def sound_path(path: str | os.PathLike[str]) -> str | bytes:
    """A path as soundfile opens it whatever its name holds: as bytes, since it encodes text strictly, and names of
    files need not be UTF-8. Windows' names are text."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)
