"""How much of everything the page takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.errors import DataError

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds on what is sent to the page, and on the work that is done with it.

    Attributes:
        upload_bytes: of a file.
        body_bytes: of any request: a file with what frames it.
        pasted: characters of a table that is pasted.
        unpacked_bytes: what a packed table may unpack to.
        sound_seconds, channels: of a recording.
        rows, series, horizon: of a table, and steps to forecast.
        job_seconds: of work on one request; it is stopped then.
        job_bytes: that a process may take beyond what it has with its models loaded.
        waiting: requests that may wait; further ones are refused.
        keep_seconds: that uploads and results are kept after they were made.
    """

    upload_bytes: int = 50 * MEGABYTE
    body_bytes: int = 52 * MEGABYTE
    pasted: int = 5_000_000
    unpacked_bytes: int = 200 * MEGABYTE
    sound_seconds: float = 600.0
    channels: int = 8
    rows: int = 50_000
    series: int = 50
    horizon: int = 500
    job_seconds: float = 120.0
    job_bytes: int = 4096 * MEGABYTE
    waiting: int = 16
    keep_seconds: float = 1800.0


def check_size(path: Path, name: str, limits: Limits) -> None:
    """Refuse a file that is too large.

    Raises:
        DataError: it is; `name` is what its sender calls it.
    """
    size = path.stat().st_size
    if size > limits.upload_bytes:
        raise DataError(
            f"{name} has {size / MEGABYTE:.0f} MB, and this page takes {limits.upload_bytes / MEGABYTE:.0f}; send a "
            "part of it, or use the command line, which has no such bound"
        )
