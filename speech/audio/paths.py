"""Names of sound files: as soundfile takes them, and what they tell."""

from __future__ import annotations

import os
import re

_SNR_IN_NAME = re.compile(r"_-?\d+(\.\d+)?dB$")


def without_snr(name: str) -> str:
    """The name, without suffix, of the clean recording of a noisy one that has its SNR in its name (EARS-WHAM)."""
    return _SNR_IN_NAME.sub("", name)


def sound_path(path: str | os.PathLike[str]) -> str | bytes:
    """A path as soundfile opens it whatever its name holds: as bytes, since it encodes text strictly, and names of
    files need not be UTF-8. Windows' names are text."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)
