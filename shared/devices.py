"""Where tensors are computed, and by which process."""

from __future__ import annotations

import os
from typing import Any

import torch

from shared.errors import ConfigError, first_line

_RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "SLURM_PROCID")
"""Variables by which Lightning, torchrun and Slurm tell processes which they are."""


def compute_device(name: str | torch.device) -> torch.device:
    """The device of that name, after a look whether it can be used here; "auto" takes a GPU where there is one.

    Raises:
        ConfigError: unknown, not on this machine, or without double precision, which the processes need.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device).item()  # "meta" makes tensors, but holds no values
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:
        reason = first_line(error).partition(". ")[0]
        raise ConfigError(f"device {str(name)!r} cannot be used here ({reason}); use cpu") from error
    return device


def first_process() -> bool:
    """Whether this is the only process, or the first of those that train together on several devices or machines."""
    return all(int(os.environ.get(name, "0")) == 0 for name in _RANKS)


def started_together() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def check_processes(devices: int | str | list[int], nodes: int) -> None:
    """See that so many processes are what was started, where something else than this process starts them.

    Raises:
        ConfigError: it started another number, or several machines were asked for and nothing started the others.
    """
    started = os.environ.get("WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else None
    if started is not None and isinstance(devices, int) and devices > 0 and devices * nodes != int(started):
        raise ConfigError(
            f"hardware.devices={devices} × hardware.nodes={nodes} processes are to train, and torchrun started "
            f"{started}; give its --nproc-per-node as hardware.devices and its --nnodes as hardware.nodes"
        )
    if nodes > 1 and not {"MASTER_ADDR", "SLURM_NTASKS"} & os.environ.keys():
        raise ConfigError(
            f"hardware.nodes={nodes}: nothing tells this process where the other machines are; start it on each by "
            f"`torchrun --nnodes {nodes}`, or once for a cluster of Ray with --engine ray"
        )


def hardware(device: str) -> dict[str, Any]:
    """Lightning's accelerator and devices for a torch device: "cuda:1" is the second GPU, not any one."""
    found = torch.device(device)
    accelerator = "gpu" if found.type == "cuda" else found.type
    return {"accelerator": accelerator, "devices": 1 if found.index is None else [found.index]}
