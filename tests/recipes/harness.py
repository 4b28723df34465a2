"""Recipes as their user meets them, every run a process of its own, without paying for the imports each time."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import multiprocessing
import os
import runpy
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch

from tests.isolated import as_program

ROOT = Path(__file__).resolve().parents[2]

# Imports take seconds, a tiny run does not: each run is a fork of one process, itself a fork of the test process before
# its first test, which has imported nearly everything by then. What is loaded when is tests/test_startup.py's business.
WARM = (
    *(
        f"tsdiff.commands.{verb}"
        for verb in ("anomaly", "evaluate", "forecast", "impute", "refine", "synthesize", "train")
    ),
    *(f"speech.commands.{verb}" for verb in ("enhance", "evaluate", "stream", "train")),
)


@functools.cache
def server() -> Connection:
    """To the process that runs are forks of, started by the first call; it ends with this one."""
    here, there = multiprocessing.Pipe()
    if os.fork() == 0:  # no `Process`, whose runs might start none of their own
        here.close()
        try:
            _serve(there)
        finally:
            os._exit(1)
    there.close()
    return here


def _serve(asked: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the test process ends it
    torch.set_num_threads(1)
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))  # of processes that runs start
    logging.root.handlers.clear()  # those of pytest
    ready = False
    with contextlib.suppress(EOFError):
        while True:
            wanted: Wanted = asked.recv()
            if not ready:
                for name in WARM:
                    importlib.import_module(name)
                ready = True
            child = os.fork()
            if child == 0:
                _run(wanted)
            if wanted.until:
                _interrupt(child, wanted)
            _, status = os.waitpid(child, 0)
            asked.send(os.waitstatus_to_exitcode(status))


def _interrupt(child: int, wanted: Wanted) -> None:
    """Ctrl-C for the process a second after it has said these words, unless it has ended."""

    def has_ended() -> bool:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    while not has_ended() and wanted.until not in _text(wanted.stderr):
        time.sleep(0.05)
    time.sleep(1)
    if not has_ended():
        os.kill(child, signal.SIGINT)


def _text(place: str) -> str:
    path = Path(place)
    return path.read_text() if path.exists() else ""


def _run(wanted: Wanted) -> NoReturn:
    """Become `python recipe arguments`, and end."""
    os.chdir(wanted.folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    sys.argv = [wanted.recipe, *wanted.arguments]
    sys.path.insert(0, os.path.dirname(wanted.recipe))  # as `python recipe` does
    os.environ["COLUMNS"] = "200"
    warnings.resetwarnings()
    for ignored in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", ignored)
    streams = (wanted.stdin or os.devnull, wanted.stdout, wanted.stderr)
    as_program(streams, lambda: runpy.run_path(wanted.recipe, run_name="__main__"))


class Wanted(NamedTuple):
    """A run that is asked for: its folder, its command, the files of its streams, the words before Ctrl-C."""

    folder: str
    recipe: str
    arguments: list[str]
    stdin: str
    stdout: str
    stderr: str
    until: str


@dataclass
class Ran:
    """The exit status of a run, and what it said on standard output and on standard error."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All of it."""
        return self.out + self.err


class Recipes:
    """Runs recipes by name, in `folder`."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "log"

    def run(
        self,
        name: str,
        *arguments: object,
        stdin: Path | None = None,
        stdout: Path | None = None,
        until: str = "",
    ) -> Ran:
        """Run recipes/<name>.py with these arguments; its standard input is this file, or nothing, and its standard
        output goes to that one, which may be a FIFO, or is told. A second after it has said the words `until` on
        standard error, it gets the signal of Ctrl-C."""
        wanted = Wanted(
            folder=str(self.folder),
            recipe=str(ROOT / "recipes" / f"{name}.py"),
            arguments=[str(argument) for argument in arguments],
            stdin=str(stdin or ""),
            stdout=str(stdout or f"{self.log}.1"),
            stderr=f"{self.log}.2",
            until=until,
        )
        Path(wanted.stderr).unlink(missing_ok=True)  # with the words of the last run
        server().send(wanted)
        code: int = server().recv()
        out = Path(wanted.stdout).read_text() if stdout is None else ""
        return Ran(code, out, Path(wanted.stderr).read_text())
