"""What a job is made of: units of a few items, what is done with each, and what became of it."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.scale.places import Folder

MOST_NOTES = 20
"""Notes that are kept of a unit."""


@dataclass(frozen=True)
class Unit:
    """A few items that one worker takes in one go.

    Attributes:
        name: of the unit, such as "part-000012"; its record and its result are files of this name.
        payload: what the worker needs to find the items; it is pickled.
        digest: of the input, by which a job that goes on sees that it is still the same (`digest_of`).
        items: names of the items.
        failed: items that are known to be of no use before any worker sees them, and why.
    """

    name: str
    payload: Any
    digest: str
    items: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What became of a unit.

    Attributes:
        items: how many were finished.
        failed: those that could not be, and why.
        notes: what else a user should know.
        results: what the job tells of its items beside the files that it writes, as JSON has it.
    """

    items: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)


Step = Callable[[Unit, Folder], Outcome]
"""Works a unit: writes its result below the folder, atomically and always the same, and tells what became of it. An
item that cannot be worked goes into `failed`; what is raised ends the job."""


class Work(ABC):
    """What is done with the units of a job. It is pickled into each worker, and so holds names and settings alone."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """All that results depend on beside the input, as JSON has it: jobs with other settings do not go on here."""

    @abstractmethod
    def begin(self) -> Step:
        """Load what every unit needs, once in each worker.

        Raises:
            DiffusionError: a model or a setting that cannot be used, which ends the job.
        """

    def stands(self, unit: Unit, outcome: Outcome, folder: Folder) -> bool:
        """Whether what a unit that was finished before has written is still there; otherwise it is worked again."""
        return True


def digest_of(*parts: Any) -> str:
    """A short digest of bytes and of values that JSON has, in order."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
        found.update(b"\0")
    return found.hexdigest()[:32]


def digest_of_folder(folder: str | os.PathLike[str]) -> str:
    """A digest of the files of a model's folder, wherever that lies."""
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in (".json", ".safetensors"))
    return digest_of(*(part for path in paths for part in (path.name, path.read_bytes())))


def named_for_workers(model: str | os.PathLike[str], bundled: Path) -> str:
    """A model's name as workers with other working folders find it: that of a bundled model, a hub id, or where its
    folder or file is."""
    name = os.fspath(model)
    is_bundled = isinstance(model, str) and (bundled / name).is_dir()
    return os.path.abspath(name) if os.path.exists(name) and not is_bundled else name


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch for a while, as the last digits of results depend on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
