"""What a preparation takes of the machine, before its work: memory for mixtures, and room on the disk for pairs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from shared.errors import ConfigError
from speech.data.config import MixConfig
from speech.data.rooms import RoomConfig

from .common import pair_paths

_MIXING = 24
"""Bytes for each sample while a mixture is made, at least: of float32 speech, noise, their sum, target and spectra."""
_WRITTEN = 2 * 2
"""Bytes for each sample of a pair of 16 bits."""


def refuse_too_large(
    config: MixConfig, count: int, output: Path, split: str, at_once: int, simulated_rooms: int = 0
) -> None:
    """Refuse mixtures that this machine cannot hold.

    Args:
        config: how they are mixed.
        count: of mixtures.
        output: folder of the pairs.
        split: which part they are; those that are there are counted as written.
        at_once: mixtures that are made at the same time.
        simulated_rooms: rooms that are held besides.

    Raises:
        ConfigError: too long for its memory, or too many for the disk of `output`.
    """
    memory, at_once = _memory(), min(at_once, count)
    wanted = _MIXING * config.samples * at_once
    if wanted > memory:
        raise ConfigError(
            f"seconds={config.seconds:g}: {at_once} at once take {_size(wanted)} of memory or more, of {_size(memory)}"
            "; make shorter ones (--seconds), or fewer at once (--workers)"
        )
    rooms = 4 * simulated_rooms * RoomConfig().t60_s[0] * config.sample_rate
    if rooms > memory:
        raise ConfigError(
            f"simulated_rooms={simulated_rooms}: they take {_size(rooms)} of memory or more, of {_size(memory)}; "
            "simulate fewer (--simulated-rooms)"
        )
    folder = pair_paths(output, split, "any")[0].parent
    there = sum(1 for _ in folder.glob("*.wav")) if folder.is_dir() else 0
    written, free = _WRITTEN * config.samples * max(0, count - there), _free(output)
    if written > free:
        raise ConfigError(
            f"count={count}, seconds={config.seconds:g}: the pairs take {_size(written)}, and {output} has room for "
            f"{_size(free)}; make fewer (--count) or shorter ones (--seconds), or choose another disk (--output)"
        )


def _memory() -> float:
    """Bytes of this machine's memory; without end where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no such call
        return float("inf")


def _free(folder: Path) -> int:
    """Bytes that are free where a folder is, or is to be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
