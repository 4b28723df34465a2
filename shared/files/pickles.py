"""Reading what `torch.save` wrote, without running anything that is in it."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from shared.errors import CheckpointError

_RARE = (AssertionError, MemoryError, OverflowError, SyntaxError, ImportError, struct.error, zipfile.BadZipFile)
"""What torch's reader raises besides, on damaged bytes."""
_WRAPPERS = {"module", "_orig_mod"}


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
        CheckpointError: the file is missing, a folder or damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if os.path.isdir(path):  # False for what no file system takes as a name
        raise CheckpointError(
            f"{path} is a folder; give the checkpoint in it, or read a model's folder by from_pretrained"
        )
    try:
        _check_zip(path)
        _check_kind(path)
        known = [*stand_ins, *(_references(path, stand_ins) if references else ())]
        with torch.serialization.safe_globals(known):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}") from error
    except pickle.UnpicklingError as error:
        what = f"{path} is damaged, or holds more than tensors and plain values and is not read"
        raise CheckpointError(f"{what} ({_reason(error)}); {remedy}") from error
    except CheckpointError:
        raise
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, *_RARE) as error:
        why = str(error) or type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({why}); it may be truncated: copy it again") from error


def unwrapped(name: str) -> str:
    """The name of a tensor without what wrappers of its module, DataParallel and torch.compile, put between."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def refuse_odd_tensors(tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Refuse tensors that are not plain ones on the CPU, or that take more memory than the file holds.

    A view may have any shape: one stored number, repeated, is a matrix of any size. Of a file as `torch.save` writes it
    several tensors may share what is stored, hence twice.

    Raises:
        CheckpointError: names the tensor.
    """
    total, size = 0, Path(path).stat().st_size
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise CheckpointError(f"{path}: {name!r} is no plain tensor in memory; the file is damaged: copy it again")
        total += tensor.numel() * tensor.element_size()
        if total > 2 * size:
            raise CheckpointError(
                f"{path}: tensors up to {name!r} {tuple(tensor.shape)} would take {total} bytes, the file has {size}; "
                "it is damaged: copy it again"
            )


def _check_zip(path: Path) -> None:
    """Refuse archives whose parts unpack to more than the file: torch stores them as they are."""
    if not zipfile.is_zipfile(path):
        return
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > size:
        raise CheckpointError(f"{path} has {size} bytes and unpacks to {unpacked}; save it again with torch.save")


def _check_kind(path: Path) -> None:
    """Refuse safetensors files: the length of their header, and the header, a JSON object, come first."""
    with path.open("rb") as file:
        head = file.read(9)
    if len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        raise CheckpointError(
            f"{path} is a safetensors file, weights without their settings, and not what torch.save writes; give the "
            "checkpoint that the training code wrote, or the folder of a model that was saved by this toolkit"
        )


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
