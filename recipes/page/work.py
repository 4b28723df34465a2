"""Requests are worked on in processes of their own: one that takes too long is stopped, one that dies is replaced, and
the server goes on."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as OutOfTime
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from shared.console.notes import for_users
from shared.errors import DataError, DiffusionError
from shared.files.io import temporary_path
from shared.optional import needed

from .limits import Limits
from .requests import (
    ExampleRequest,
    ExampleResult,
    Request,
    Result,
    SeriesRequest,
    SeriesResult,
    SoundRequest,
    SoundResult,
    TableLook,
    TableRequest,
    Tell,
)

JOBS, UPLOADS = "jobs", "uploads"
"""Folders of results and of what was sent, in the folder of a `Desk`."""

_POLL_SECONDS = 0.1
_SWEEP_SECONDS = 30.0


class Desk:
    """Where requests are worked on, some at a time; further ones wait.

    Args:
        home: folder for what is sent and what is made, see `sweep`.
        limits: see `Limits`.
        workers: processes.
        threads: of each.
        first: what each process does at its beginning, with its threads and limits; None: `prepare`.
    """

    def __init__(
        self,
        home: Path,
        limits: Limits | None = None,
        workers: int = 1,
        threads: int | None = None,
        first: Callable[[int, Limits], None] | None = None,
    ):
        self.home, self.limits, self.workers = home, limits or Limits(), workers
        self.jobs, self.uploads = home / JOBS, home / UPLOADS
        for folder in (self.jobs, self.uploads):
            folder.mkdir(parents=True, exist_ok=True)
        threads = threads or max(1, (os.cpu_count() or 1) // workers)
        self._pool = needed("pebble", "app", "the page").ProcessPool(
            max_workers=workers,
            context=multiprocessing.get_context("spawn"),
            initializer=first or prepare,
            initargs=(threads, self.limits),
        )

    def enhance(self, request: SoundRequest, tell: Tell) -> SoundResult:
        """`recipes.page.sound.enhance` in another process; raises what it raises, and as `run`."""
        return self.run(request, tell)  # type: ignore[return-value]

    def work_on(self, request: SeriesRequest, tell: Tell) -> SeriesResult:
        """`recipes.page.series.work_on` in another process; raises what it raises, and as `run`."""
        return self.run(request, tell)  # type: ignore[return-value]

    def look(self, request: TableRequest, tell: Tell) -> TableLook:
        """`recipes.page.tables.look` in another process; raises what it raises, and as `run`."""
        return self.run(request, tell)  # type: ignore[return-value]

    def example(self, request: ExampleRequest, tell: Tell) -> ExampleResult:
        """`recipes.page.examples.make` in another process; raises what it raises, and as `run`."""
        return self.run(request, tell)  # type: ignore[return-value]

    def folder(self) -> Path:
        """A new folder for results."""
        return Path(tempfile.mkdtemp(dir=self.jobs))

    def run(self, request: Request, tell: Tell) -> Result:
        """Work on a request in another process, and tell how far that is.

        Raises:
            DataError: it takes too long or too much memory, its process dies, its file was removed meanwhile, or the
                desk is closed.
        """
        file, called = request.sent
        name = called or "this"
        if file is not None:
            self.check_sent(file, name)
        self._check_kept(file, name)
        folder, stopped = self.folder(), DataError(f"{name}: this page was stopped; start it, and send that again")
        future = self._pool.schedule(perform, args=(request, folder, self.limits), timeout=self.limits.job_seconds)
        try:
            while not future.done():
                if not self._pool.active:  # which leaves what it had waiting for ever
                    raise stopped
                tell(*_read_progress(folder))
                time.sleep(_POLL_SECONDS)
            return future.result()
        except DiffusionError:
            raise
        except OutOfTime as error:
            raise DataError(
                f"{name} takes more than {self.limits.job_seconds:g} s of work, and was stopped; "
                "send less of it, or use the command line, which has no such bound"
            ) from error
        except Exception as error:  # whatever a hostile file makes of a library
            if not self._pool.active:
                raise stopped from error
            self._check_kept(file, name)
            print(f"{name!r}: {type(error).__name__}: {error}", file=sys.stderr)
            raise DataError(
                f"{name} cannot be worked on ({type(error).__name__}); it may be damaged, or need "
                "more memory than there is: send another file, or a part of it"
            ) from error
        finally:
            future.cancel()  # of no effect once it is done; else the browser is gone

    def check_sent(self, file: Path, name: str) -> None:
        """Refuse a file that is none of those that were sent to this page, or made by it.

        Raises:
            DataError: it lies elsewhere; `name` is what its sender calls it.
        """
        if not file.resolve().is_relative_to(self.home.resolve()):
            raise DataError(f"{name}: no such file was sent to this page; send it again")

    def _check_kept(self, file: Path | None, name: str) -> None:
        """Refuse a file that `sweep` has removed, as of a tab that was left open, or while it waited."""
        if file is not None and not file.exists():
            raise DataError(
                f"{name} is no longer here, since this page removes what was sent after "
                f"{self.limits.keep_seconds / 60:g} minutes; send it again"
            )

    def warm(self) -> None:
        """Wait until a process has loaded its models, so that the first request does not."""
        self._pool.schedule(time.sleep, args=(0,)).result()

    def sweep(self, now: float | None = None) -> int:
        """Remove what was sent or made longer ago than `Limits.keep_seconds`; returns how many files.

        Args:
            now: seconds since 1970; None takes the clock's.
        """
        oldest = (time.time() if now is None else now) - self.limits.keep_seconds
        found = [path for path in self.home.rglob("*") if path.parent != self.home]
        old = [path for path in found if _changed(path) < oldest]
        files = [path for path in old if path.is_file()]
        for path in files:
            path.unlink(missing_ok=True)
        for folder in sorted((path for path in old if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        return len(files)

    def sweep_until(self, stopped: Callable[[float], bool]) -> None:
        """Sweep again and again; `stopped` waits so many seconds, and tells whether to stop."""
        while not stopped(_SWEEP_SECONDS):
            self.sweep()

    def close(self) -> None:
        """End the processes, and remove all that was sent or made."""
        self._pool.stop()
        self._pool.join()
        shutil.rmtree(self.home, ignore_errors=True)


def _changed(path: Path) -> float:
    """When a file was, in seconds since 1970; infinity where it is gone meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return math.inf


def prepare(threads: int, limits: Limits) -> None:
    """What a process does before its first request."""
    import torch

    from tsdiff.data.tables import LIMIT

    from . import series, sound

    os.environ[LIMIT] = str(limits.unpacked_bytes)
    torch.set_num_threads(threads)
    leave_no_semaphore()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sound.warm()
        series.warm()
    _bound_memory(limits.job_bytes)


def leave_no_semaphore() -> None:
    """Have bars, which nobody sees here, share a lock of this process alone. tqdm's is a semaphore besides, which is
    left behind where the process is stopped; Python then says so on the terminal, after the page has ended."""
    from tqdm.std import tqdm

    tqdm.set_lock(threading.RLock())


def _bound_memory(more: int) -> None:
    """Let this process take so many bytes more than it has, where the system can tell and bound that."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    except (ImportError, OSError):
        return
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def perform(request: Request, folder: Path, limits: Limits) -> Result:
    """Work on a request; its notes are those of the result and what was warned of.

    Raises:
        DiffusionError: what the work raises, with names that the sender knows in place of paths.
    """
    module, function = request.work
    work = getattr(import_module(module), function)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            made: Result = work(request, folder, _progress_in(folder), limits)
        except DiffusionError as error:
            raise type(error)(told(str(error), request, folder)) from None
    own = [str(one.message) for one in caught if for_users(one.category)]
    notes = dict.fromkeys(told(text, request, folder) for text in (*made.notes, *own))
    return replace(made, notes=tuple(notes))


def told(text: str, request: Request, folder: Path) -> str:
    """A message with the names of the file, and of results in the folder, in place of where they lie here."""
    file, name = request.sent
    text = text if file is None else text.replace(str(file), name)
    return text.replace(f"{folder}{os.sep}", "")


def _progress_in(folder: Path) -> Tell:
    last = -1.0

    def tell(share: float, what: str) -> None:
        nonlocal last
        if share - last >= 0.01 or share < last:
            last = share
            with temporary_path(folder) as written:
                written.write_text(f"{share:.3f} {what}")
                written.replace(folder / "progress")

    return tell


def _read_progress(folder: Path) -> tuple[float, str]:
    try:
        share, what = (folder / "progress").read_text().split(" ", 1)
    except OSError:
        return 0.0, "waiting"
    return float(share), what


@contextlib.contextmanager
def open_desk(home: Path, limits: Limits | None = None, *args: Any, **options: Any) -> Iterator[Desk]:
    """A desk that is closed at the end."""
    desk = Desk(home, limits, *args, **options)
    try:
        yield desk
    finally:
        desk.close()
