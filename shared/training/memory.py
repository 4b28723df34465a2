"""Keeping freed memory for the next allocation."""

from __future__ import annotations

import ctypes
import platform
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt


def keep_large_blocks() -> bool:
    """Make the C library keep large blocks that are freed, instead of handing them back to the system.

    By default glibc maps every block above 32 MiB anew and trims the heap's end, so that each training step touches
    fresh pages, which the kernel must clear and map one by one. Afterwards the process holds on to the most memory
    that it ever needed, until it ends. The setting is the process's; where the library is another (macOS, Windows,
    musl) nothing happens.

    Returns:
        Whether it took effect.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
