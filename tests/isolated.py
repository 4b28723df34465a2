"""Calls in a process of their own with a limit on memory and time: for input that takes all there is when it is not
refused."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch

from shared.errors import DiffusionError


def forked(function: Callable[..., Any], *args: Any) -> BaseProcess:
    """A call in a fork of this process, which has imported everything already, to be stopped by a signal."""
    process = multiprocessing.get_context("fork").Process(target=_alone, args=(function, *args), daemon=True)
    process.start()
    return process


def killed_while_writing(most: int, function: Callable[..., Any], *args: Any) -> bool:
    """Whether a call, in a fork of this process, was killed before the file that it would rename or remove after `most`
    others; False where it came to its end before."""
    process = forked(_killed_after, most, function, *args)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _killed_after(most: int, function: Callable[..., Any], *args: Any) -> None:
    left = most

    def watch(event: str, _: tuple[Any, ...]) -> None:
        nonlocal left
        if event in ("os.rename", "os.remove"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    function(*args)


def _alone(function: Callable[..., Any], *args: Any) -> None:
    _on_one_thread()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    function(*args)


def as_program(streams: Sequence[str | os.PathLike[str]], call: Callable[[], object]) -> NoReturn:
    """Become a program in this process, a fork: standard input, output and errors are these files, and it ends with the
    status that the call comes to."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup, if tests run under it, has passed on
    writes = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, place in enumerate(streams):
        os.dup2(os.open(place, writes if number else os.O_RDONLY), number)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    code = 1
    try:
        call()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Outcome(NamedTuple):
    """What came of a call.

    Attributes:
        kind: "done", "refused" (an error of this toolkit), "uncaught" (another one), "died" or "hang".
        what: the error, with its class.
        cpu, megabytes: seconds, and memory beyond what the process had before.
    """

    kind: str
    what: str = ""
    cpu: float = 0.0
    megabytes: float = 0.0


def outcome_of(function: Callable[..., Any], *args: Any, seconds: float = 60.0, megabytes: int = 1024) -> Outcome:
    """Call a function in a fork of this process, for at most so many seconds and megabytes beyond those it has."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_attempt, args=(function, args, megabytes, there))
    process.start()
    there.close()
    try:
        if not here.poll(seconds):
            return Outcome("hang", f"nothing after {seconds} s")
        result: Outcome = here.recv()
        return result
    except EOFError:
        process.join(10)
        return Outcome("died", f"exit code {process.exitcode}")
    finally:
        process.kill()
        process.join()


def _attempt(function: Callable[..., Any], args: tuple[Any, ...], megabytes: int, told: Connection) -> None:
    _on_one_thread()
    limit = _mapped() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before, started = _most_megabytes(), time.process_time()
    kind, what = "done", ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*args)
    except DiffusionError as error:
        kind, what = "refused", f"{type(error).__name__}: {error}"
    except BaseException as error:
        kind, what = "uncaught", f"{error!r}\n{''.join(traceback.format_tb(error.__traceback__)[-3:])}"
    told.send(Outcome(kind, what, time.process_time() - started, _most_megabytes() - before))


def _on_one_thread() -> None:
    """Of the threads that PyTorch has in a process a fork has none, and would wait for them for ever."""
    torch.set_num_threads(1)


def _mapped() -> int:
    """Bytes of address space of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _most_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
