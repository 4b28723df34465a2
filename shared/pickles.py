"""Reading what `torch.save` wrote, without running anything that is in it."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from shared.errors import CheckpointError


class Reference:
    """In the place of a class or function that a file names: it cannot be called.

    Attributes:
        name: with its module.
    """

    name: str

    def __new__(cls, *_: Any) -> NoReturn:
        raise pickle.UnpicklingError(f"it calls {cls.name}")


def load_pickle(
    path: str | os.PathLike[str],
    stand_ins: Sequence[tuple[type, str]] = (),
    references: bool = False,
    remedy: str = "save its tensors alone",
) -> Any:
    """The tensors and plain values of a file that `torch.save` wrote, on the CPU, by torch's restricted reader.

    Args:
        path: the file.
        stand_ins: harmless classes, each with the name that the file may call and that it stands for.
        references: other names may occur as values, such as classes among settings; each becomes a subclass of
            `Reference`. A file that calls them is refused all the same.
        remedy: what the message tells to do if the file holds more than it may.

    Raises:
        CheckpointError: the file is missing or damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    try:
        known = [*stand_ins, *(_references(path, stand_ins) if references else ())]
        with torch.serialization.safe_globals(known):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}") from error
    except pickle.UnpicklingError as error:
        what = f"{path} is damaged, or holds more than tensors and plain values and is not read"
        raise CheckpointError(f"{what} ({_reason(error)}); {remedy}") from error
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        AssertionError,
        MemoryError,
    ) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); it may be truncated: copy it again") from error


def _reason(error: Exception) -> str:
    """What of torch's long message, which also tells how to run the file's code after all, says what is wrong."""
    head, _, marked = str(error).partition("WeightsUnpickler error: ")
    text = marked or "".join(head.split("\n\n", 1)[1:]) or head
    return text.strip().split("\n")[0].split(" Please use")[0]


def _references(path: Path, known: Sequence[tuple[type, str]]) -> list[tuple[type, str]]:
    if not zipfile.is_zipfile(path):
        return []
    names = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - {name for _, name in known}
    return [(type("Reference", (Reference,), {"name": name}), name) for name in sorted(names)]
