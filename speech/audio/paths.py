"""Names of sound files: as soundfile takes them, and what they tell."""

from __future__ import annotations

import os
import re
from typing import Final

from shared.errors import DataError

_LONGEST: Final = 1023
"""Bytes of a path that libsndfile opens; of one more it leaves out the last, and opens another file."""
_SNR_IN_NAME = re.compile(r"_-?\d+(\.\d+)?dB$")


def without_snr(name: str) -> str:
    """The name, without suffix, of the clean recording of a noisy one that has its SNR in its name (EARS-WHAM)."""
    return _SNR_IN_NAME.sub("", name)


def sound_path(path: str | os.PathLike[str]) -> str | bytes:
    """A path as soundfile opens it whatever its name holds: as bytes, since it encodes text strictly, and names of
    files need not be UTF-8. Windows' names are text.

    Raises:
        DataError: it is longer than libsndfile takes.
    """
    if os.name == "nt":
        return os.fspath(path)
    name = os.fsencode(path)
    if len(name) > _LONGEST:
        raise DataError(
            f"{os.path.dirname(path)} makes paths of {len(name)} bytes, and libsndfile takes {_LONGEST} at most; name "
            "it from a folder nearer to it (cd), or choose another"
        )
    return name
