"""What the commands share: options, where the shared data is, threads and device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import torch
import typer

from shared.console.command import (
    DeviceOption,
    claim_output,
    console,
    fail,
    note,
    prepare,
    run,
    show,
    status,
    write_csv,
)
from shared.errors import ConfigError

__all__ = [
    "DeviceOption",
    "SeedOption",
    "ThreadsOption",
    "claim_output",
    "console",
    "fail",
    "note",
    "pick_device",
    "prepare",
    "run",
    "shared_speech",
    "show",
    "status",
    "write_csv",
]

ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="CPU threads; left out, as many as torch sees fit.", min=1)
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]


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
