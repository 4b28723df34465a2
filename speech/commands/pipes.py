"""Recordings through standard input and output: - in place of a file's name, or a FIFO as the source."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from shared.errors import DataError
from shared.files.io import temporary_path
from speech.audio.errors import unwritable

STANDARD = Path("-")
"""Standard input, or standard output."""

_AT_ONCE = 1 << 20


def is_pipe(source: Path) -> bool:
    """Whether a recording can only be read once, from its start: standard input, a FIFO, a device."""
    if source == STANDARD:
        return True
    mode = source.stat().st_mode if source.exists() else 0
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def name_of(source: Path) -> str:
    """What a recording from a pipe is called, in messages and reports."""
    return "standard input" if source == STANDARD else str(source)


@contextlib.contextmanager
def spooled(source: Path, raw: bool) -> Iterator[Path]:
    """All that comes through a pipe, as a file for as long as it is needed: a recording is read more than once.

    Args:
        source: - or a FIFO.
        raw: whether it is bare samples.

    Raises:
        DataError: it is empty, or a terminal; or it cannot be read, or there is no room for it.
    """
    with temporary_path(tempfile.gettempdir(), folder=True) as folder, _stream(source) as stream:
        path = folder / ("stdin.raw" if raw else "stdin")
        try:
            with open(path, "wb") as file:
                shutil.copyfileobj(stream, file, _AT_ONCE)
        except OSError as error:
            raise DataError(
                f"{name_of(source)} cannot be taken into {folder.parent} ({error.strerror}), where what comes by a "
                "pipe lies till it is done; free some space there, or have TMPDIR name another folder"
            ) from error
        if path.stat().st_size == 0:
            raise DataError(
                f"{name_of(source)} is empty; pipe a recording in, as cat noisy.wav | speech enhance - out.wav"
            )
        yield path


@contextlib.contextmanager
def _stream(source: Path) -> Iterator[BinaryIO]:
    if source != STANDARD:
        with open(source, "rb") as stream:
            yield stream
        return
    if sys.stdin is None or sys.stdin.isatty():
        what = "closed" if sys.stdin is None else "a terminal, not a recording"
        raise DataError(
            f"standard input is {what}; name a file, or pipe one in: cat noisy.wav | speech enhance - out.wav"
        )
    wait_for(sys.stdin)
    yield sys.stdin.buffer


@contextlib.contextmanager
def standard_output() -> Iterator[Path]:
    """A path for a WAV file, which goes to standard output once it is whole; nothing does if there is none.

    Raises:
        DataError: it is a terminal, or closed; or it takes no more, as where its disk is full.
        BrokenPipeError: its reader is gone.
    """
    if sys.stdout is None or sys.stdout.isatty():
        what = "closed" if sys.stdout is None else "a terminal"
        raise DataError(
            f"standard output is {what}; name a file, or send it on: speech enhance noisy.wav - > clean.wav"
        )
    with temporary_path(tempfile.gettempdir(), folder=True) as folder:
        path = folder / "stdout.wav"
        yield path
        if path.exists():
            with open(path, "rb") as file, told_as_output():
                output = output_bytes()
                shutil.copyfileobj(file, output, _AT_ONCE)
                output.flush()


def wait_for(stream: TextIO) -> None:
    """Have reading and writing wait, also where a program that shares the pipe has it return at once."""
    with contextlib.suppress(AttributeError, OSError):  # which Windows lacks for pipes up to Python 3.11
        os.set_blocking(stream.fileno(), True)


def output_bytes() -> BinaryIO:
    """Standard output, which takes all bytes that are written, also where Python does not buffer it (-u)."""
    wait_for(sys.stdout)
    return open(sys.stdout.fileno(), "wb", closefd=False)


@contextlib.contextmanager
def told_as_output() -> Iterator[None]:
    """What fails in the block is standard output.

    Raises:
        DataError: it takes no more.
        BrokenPipeError: its reader is gone.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable("standard output", error.strerror or str(error)) from error
