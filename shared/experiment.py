"""Experiments as YAML files: how one is read, and where it is computed; what it holds is each domain's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator

from shared.checks import Checked, Count, Such
from shared.errors import ConfigError
from shared.files.settings import change, dataclass_from, merged, read_yaml, settings_file

T = TypeVar("T")
Hardware = Literal["cpu", "gpu", "ddp"]
"""The presets of `HARDWARE`."""


@dataclass(frozen=True)
class HardwareSettings(Checked):
    """Where to compute; precision, compilation and workers are part of the training's settings.

    Args:
        device: "cpu", "cuda", "cuda:1", … or "auto": a GPU where there is one.
        devices, strategy: Lightning's, for training on several of a machine; −1 is all of them. Files that were written
            when the number could be left open hold none for one.
        nodes: machines that train together, each with as many devices; what starts the processes on all of them, such
            as torchrun, tells each which it is.
        threads: of the CPU; None leaves them to torch. More than one only pays on an otherwise idle machine.
    """

    device: str = "cpu"
    devices: Annotated[
        int,
        Such("at least 1, or -1 for all", lambda number: number == -1 or number >= 1),
        BeforeValidator(lambda given: 1 if given is None else given),
    ] = 1
    strategy: str = "auto"
    nodes: Count = 1
    threads: Count | None = None


_GPU_TRAINING = {"precision": "bf16-mixed", "compile": True, "num_workers": 8, "save_every_seconds": 300.0}
HARDWARE: Mapping[Hardware, Mapping[str, Any]] = {
    "cpu": {"hardware": {"device": "cpu", "devices": 1, "strategy": "auto"}},
    "gpu": {"hardware": {"device": "cuda", "devices": 1, "strategy": "auto"}, "training": _GPU_TRAINING},
    "ddp": {"hardware": {"device": "cuda", "devices": -1, "strategy": "ddp"}, "training": _GPU_TRAINING},
}
"""What a preset changes of an experiment: one processor, one GPU, or all GPUs of the machine."""


def read_settings(
    kind: type[T],
    path: str | os.PathLike[str] | None,
    changes: Sequence[str],
    hardware: Hardware | None,
    *,
    bundled: Path,
    defaults: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    otherwise: Mapping[str, Any] | None = None,
) -> T:
    """An experiment from a YAML file; what the file leaves out keeps its default.

    Args:
        kind: the dataclass of the experiment.
        path: the file, or the name of one of those in `bundled`.
        changes: "section.name=value" each, the value as YAML: what to change after reading.
        hardware: a preset of `HARDWARE`, taken after the file and before the changes.
        bundled: folder of the files that come with the package.
        defaults: gives every setting, from those that are given, which may name a preset or a task.
        otherwise: what a file says where there is none.

    Raises:
        ConfigError: the file cannot be read; a name that there is not, or a value that does not fit.
    """
    given = dict(otherwise or {}) if path is None else read_yaml(settings_file(path, bundled))
    for one in (HARDWARE[hardware] if hardware is not None else {}, *map(change, changes)):
        given = merged(given, one)
    return dataclass_from(kind, merged(defaults(given), given), str(path or "the settings"), ConfigError)
