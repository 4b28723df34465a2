"""Where tensors are computed, and by which process."""

from __future__ import annotations

import os

import torch

from shared.errors import ConfigError


def compute_device(name: str | torch.device) -> torch.device:
    """The device of that name, after a look whether it can be used here; "auto" takes a GPU where there is one.

    Raises:
        ConfigError: unknown, not on this machine, or without double precision, which the processes need.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"device {str(name)!r} cannot be used here ({reason}); use cpu") from error
    return device


def first_process() -> bool:
    """Whether this is the only process, or the first of those that train together on several devices."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("LOCAL_RANK", "NODE_RANK"))
