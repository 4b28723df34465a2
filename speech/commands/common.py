"""What the commands share: where the shared data is, and the device."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from shared.errors import ConfigError


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
