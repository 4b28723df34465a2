"""What sound files are refused for, where whoever reads or writes many does something about it."""

from __future__ import annotations

import os

from shared.errors import DataError


class NoSamplesError(DataError):
    """A file that is whole, and of no length."""


class UnwritableError(DataError):
    """A target that cannot be written: its disk is full, or its folder takes no files."""


def unwritable(path: str | os.PathLike[str], why: str) -> UnwritableError:
    """The error of a target that cannot be written."""
    return UnwritableError(f"{path} cannot be written ({why}); free some space, or choose another name or folder")
