"""Runs `speech stream` in processes of its own, with named pipes or files as its standard streams."""

from __future__ import annotations

import os
import select
import sys
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.isolated import as_program

_SERVER = get_context("forkserver")
# It pays for the imports once, and for the one that runs would else come to: other rates than the model's need it.
_SERVER.set_forkserver_preload(["speech.commands.stream", "scipy.signal"])


def _child(arguments: list[str], folder: str) -> None:
    sys.argv = ["speech", *arguments]
    from speech.commands import main

    as_program([os.path.join(folder, name) for name in ("in", "out", "err")], main)


@dataclass
class Running:
    """A process that runs, or has run, with its standard streams in a folder."""

    folder: Path
    arguments: tuple[object, ...]
    process: BaseProcess = field(init=False)

    def __post_init__(self) -> None:
        given = ["stream", *(str(each) for each in self.arguments)]
        self.process = _SERVER.Process(target=_child, args=(given, str(self.folder)))
        self.process.start()

    def code(self) -> int | None:
        """Its exit status, once it has ended."""
        self.process.join(120)
        return self.process.exitcode

    @property
    def said(self) -> str:
        """Standard error."""
        return (self.folder / "err").read_text()


def run(folder: Path, data: bytes, *arguments: object) -> tuple[int | None, bytes, str]:
    """Exit status, output and standard error of a run on all of `data` from a file."""
    (folder / "in").write_bytes(data)
    ran = Running(folder, arguments)
    code = ran.code()
    return code, (folder / "out").read_bytes(), ran.said


def piped(folder: Path, *arguments: object) -> tuple[Running, int, int]:
    """A run with pipes, and the ends to write to and to read from."""
    for name in ("in", "out"):
        os.mkfifo(folder / name)
    running = Running(folder, arguments)
    return running, os.open(folder / "in", os.O_WRONLY), os.open(folder / "out", os.O_RDONLY)


def read_up_to(place: int, size: int) -> bytes:
    """So many bytes of a pipe, or all that come before its end; an error once nothing comes for two minutes."""
    found = b""
    while len(found) < size:
        assert select.select([place], [], [], 120)[0], f"{len(found)} of {size} bytes, and no end"
        if not (more := os.read(place, size - len(found))):
            break
        found += more
    return found
