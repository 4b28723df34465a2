"""What sound files are refused for, where whoever reads or writes many does something about it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from shared.errors import DataError
from shared.files.io import UNFINISHED


class NoSamplesError(DataError):
    """A file that is whole, and of no length."""


class UnwritableError(DataError):
    """A target that cannot be written: its disk is full, or its folder takes no files."""


def unwritable(path: str | os.PathLike[str], why: str) -> UnwritableError:
    """The error of a target that cannot be written."""
    return UnwritableError(f"{path} cannot be written ({why}); free some space, or choose another name or folder")


def full(path: str | os.PathLike[str]) -> UnwritableError:
    """The error of a result for which there is no room: on its disk, or, where it goes to a pipe or a device, in the
    temporary folder that holds it till it is done."""
    path = Path(path)
    if path.parent.name.startswith(UNFINISHED) or (path.exists() and not path.is_file()):
        return UnwritableError(
            f"{tempfile.gettempdir()} has no room for the result, which lies there till it is done; free some space "
            "there, or have TMPDIR name another folder"
        )
    return unwritable(path, "its disk is full, or the file may not grow")
