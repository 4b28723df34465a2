"""What the commands share: options, where the shared data is, threads and device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import torch
import typer

from shared.command import claim_output, console, run, run_app, write_csv
from shared.errors import ConfigError

__all__ = [
    "DeviceOption",
    "SeedOption",
    "ThreadsOption",
    "claim_output",
    "console",
    "pick_device",
    "prepare",
    "run",
    "run_app",
    "set_threads",
    "shared_speech",
    "write_csv",
]

DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: a GPU where there is one.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="CPU threads; left out, as many as torch sees fit.", min=1)
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]


def prepare(threads: int | None) -> None:
    """What every command that trains or scores does first."""
    from shared.training import quiet_lightning

    set_threads(threads)
    quiet_lightning()


def set_threads(threads: int | None) -> None:
    """Use as many CPU threads as --threads says."""
    if threads is not None:
        torch.set_num_threads(threads)


def pick_device(name: str) -> torch.device:
    """The device that --device names.

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name}: choose cpu, cuda, cuda:N or auto") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"--device {name}: torch finds no GPU here; take cpu")
    return device


def shared_speech() -> Path:
    """The folder of speech data that commands take unless told otherwise: $SHARED_DATA/speech, or
    ../shared/data/speech."""
    root = os.environ.get("SHARED_DATA")
    return (Path(root) if root else Path("..") / "shared" / "data") / "speech"
