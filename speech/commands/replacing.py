"""Another recording in the place of a result, as where a shell makes two names of *.wav: who sits at a terminal is
asked before it is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from shared.errors import DiffusionError
from speech.audio.coding import RawFormat
from speech.audio.files import audio_info

_APART_SECONDS = 0.25
"""An earlier result is as long as its recording, but for the last block of a coding."""


def ask_to_replace(source: Path, target: Path, raw: RawFormat | None, track: int | None) -> None:
    """Ask whether a file may be replaced that is no earlier result, by its length. Where nobody can be asked, as in a
    script, it may.

    Args:
        source: the recording.
        target: of its result.
        raw, track: what .raw files hold, and which sound track of a video is meant.

    Raises:
        typer.Abort: it may not.
    """
    if any(stream is None or not stream.isatty() for stream in (sys.stdin, sys.stderr)) or not target.is_file():
        return
    try:
        there, coming = audio_info(target, raw).seconds, audio_info(source, raw, track).seconds
    except (DiffusionError, OSError):  # what cannot be read is no recording that is lost, and is told later
        return
    if abs(there - coming) > _APART_SECONDS:
        question = f"{target} is another recording ({there:.1f} s; {source} has {coming:.1f} s). Replace it?"
        typer.confirm(question, abort=True, err=True)
