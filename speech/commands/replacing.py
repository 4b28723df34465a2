"""A file in the place of a result, as where a shell makes two names of *.wav: it is replaced where that was said, or is
when its user is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from shared.console.command import note
from shared.console.harmless import harmless
from shared.errors import DataError, DiffusionError
from speech.audio.coding import RawFormat
from speech.audio.files import audio_info
from speech.audio.writing import refuse_same


def refuse_or_ask(source: Path, target: Path, raw: RawFormat | None, track: int | None, dry: bool) -> None:
    """Ask on a terminal whether a file that is there may be replaced; elsewhere, as in a script, refuse to.

    Args:
        source: the recording.
        target: of its result. What is no regular file, as a device, is written to and not replaced, and of an empty
            one, as a shell makes it for /dev/stdout, nothing is lost.
        raw, track: what .raw files hold, and which sound track of a video is meant.
        dry: nothing is going to be written; what would come of it is told.

    Raises:
        DataError: it may not, as nobody can be asked; or it is the recording itself.
        typer.Abort: it may not.
    """
    if not target.is_file():
        return
    refuse_same(source, target)
    if not target.stat().st_size:
        return
    remedy = "--overwrite replaces it, or choose another name"
    if dry:
        note(f"{target} is there already: who sits at a terminal is asked about it, and a script is refused; {remedy}")
        return
    if any(stream is None or not stream.isatty() for stream in (sys.stdin, sys.stderr)):
        raise DataError(f"{target} is there already; {remedy}")
    there, coming = _seconds(target, raw), _seconds(source, raw, track)
    lengths = "" if None in (there, coming) else f" ({there:.1f} s; {source} has {coming:.1f} s)"
    typer.confirm(harmless(f"{target} is there already{lengths}. Replace it?"), abort=True, err=True)


def _seconds(path: Path, raw: RawFormat | None, track: int | None = None) -> float | None:
    """How long a recording is; None where it cannot be read."""
    try:
        return audio_info(path, raw, track).seconds
    except (DiffusionError, OSError):
        return None
