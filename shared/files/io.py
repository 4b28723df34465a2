"""Writing files so that a stop at any moment leaves either the old file or the new one, whole.

What is not finished yet lies beside its target, under a short name that starts with `UNFINISHED`, and is locked for as
long as its process lives. The first write of a process into a folder removes what killed processes have left there.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and so nothing is taken for left behind
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".unfinished-"
"""What the names of temporary files start with."""

_LONGEST_SUFFIX = 16
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""Of writes to a disk that is full, or beyond what a file or a user may take."""
_swept: set[str] = set()
UNENCODABLE: Final = "backslashreplace"
"""What text files do with what UTF-8 has no bytes for: file names may hold any, and a report names them."""


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it is renamed onto `target`, on an error removed.

    The folder of `target` is made if need be. The temporary name keeps the suffix, because writers choose their format
    by it. A link is followed: the file that it leads to is replaced, and the link stays. A file that is there already
    hands its permissions on. What is no file is never renamed onto: a FIFO or a character device (/dev/stdout,
    /dev/null) is written to, once all is ready.

    Raises:
        DataError: `target` is a folder, a block device or a socket.
        OSError: it cannot be written.
    """
    target = Path(target)
    mode = _mode(target)
    if mode is not None and (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        with temporary_path(tempfile.gettempdir(), target.suffix) as temporary:
            yield temporary
            with open(temporary, "rb") as made, open(target, "wb") as stream:
                shutil.copyfileobj(made, stream)
        return
    if mode is not None and not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFBLK: "a block device", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "no file")
        raise DataError(f"{target} is {kind}, which no file may replace; choose another name")
    target = Path(os.path.realpath(target)) if target.is_symlink() else target
    with temporary_path(target.parent, target.suffix) as temporary:
        try:
            yield temporary
        except OSError as error:  # of a write, which does not tell to what
            if error.errno in _FULL and error.filename is None:
                error.filename = str(target)
            raise
        if mode is not None:
            temporary.chmod(stat.S_IMODE(mode))
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)


def _mode(path: Path) -> int | None:
    """What is at `path`, links followed; None where nothing is."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


@contextmanager
def atomic_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; on success it takes the place of `target`, on an error it is removed.

    A folder that is there already is removed just before; a stop in between leaves neither.
    """
    target = Path(os.path.realpath(target))
    with temporary_path(target.parent, folder=True) as temporary:
        yield temporary
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)


@contextmanager
def temporary_path(parent: str | os.PathLike[str], suffix: str = "", *, folder: bool = False) -> Iterator[Path]:
    """A new empty file (or folder) in `parent`, which is made if need be; what is still there at the end is removed."""
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(parent)
    claim = Claim()
    try:
        yield claim.take(parent, suffix, folder=folder)
    finally:
        claim.end()


class Claim:
    """A path of an unused short name that is this process's, and locked, from `take` to `end`.

    Whoever ends it in a `finally` may be stopped by a signal at any moment, that of taking it too: the name is known
    here before there is anything of it. The lock ends with the process, however that ends.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._lock: int | None = None

    def take(self, parent: Path, suffix: str = "", *, folder: bool = False) -> Path:
        """Make an empty file (or folder) in `parent` and lock it, where the system has locks."""
        suffix = suffix if len(os.fsencode(suffix)) <= _LONGEST_SUFFIX else ""
        while True:
            path = self._path = parent / f"{UNFINISHED}{secrets.token_hex(6)}{suffix}"
            if folder:
                path.mkdir()
                if fcntl is None:  # Windows opens no folder
                    return path
            self._lock = os.open(path, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            if fcntl is None:
                self._unlock()
                return path
            with suppress(OSError):  # a file system without locks, where nothing is taken for left behind either
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(self._lock)):
                    return path
            self._unlock()  # another process took it for left behind before it was locked

    def end(self) -> None:
        """Remove what is still there, and unlock it."""
        if self._path is not None:
            _remove(self._path)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None


@contextmanager
def held(folder: str | os.PathLike[str], patience: float = 0.0) -> Iterator[bool]:
    """Whether a folder, which is made if need be, is this one's until the end: False where another, in this process or
    in one that lives, still holds it after `patience` seconds. Where the system or the file system has no locks, all
    have it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield True
        return
    handle, until = os.open(folder, os.O_RDONLY), time.monotonic() + patience
    try:
        while not (free := _locks(handle)) and time.monotonic() < until:
            time.sleep(0.01)
        yield free
    finally:
        os.close(handle)


def _locks(handle: int) -> bool:
    """Whether a lock is had at once; so it is where a file system has none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def remove_unfinished(folder: str | os.PathLike[str], again: bool = False) -> None:
    """Remove what killed processes have left in `folder`; looks once in a process, unless it is to look `again`. What
    is locked belongs to a process that lives."""
    if fcntl is None:
        return
    place = os.path.realpath(folder)
    if place in _swept and not again:
        return
    _swept.add(place)
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith(UNFINISHED):
                _remove_if_left(Path(entry.path), entry.is_dir(follow_symlinks=False))


def _remove_if_left(path: Path, folder: bool) -> None:
    with suppress(OSError):  # locked, or another user's
        handle = os.open(path, (os.O_RDONLY if folder else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Write `text` (UTF-8) to `target` atomically; bytes of file names that are no UTF-8 become \\udc80 … \\udcff."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=UNENCODABLE)


def write_json(target: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON to `target` atomically; NaN and infinities are refused (ValueError)."""
    write_text(target, json_text(value))


def json_text(value: Any) -> str:
    """`value` as indented JSON; NaN and infinities are refused (ValueError)."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_csv(target: str | os.PathLike[str], frame: pd.DataFrame) -> None:
    """Write a frame atomically, numbers with 15 digits, which is what any decimal keeps in double precision."""
    with atomic_path(target) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.15g", errors=UNENCODABLE)
