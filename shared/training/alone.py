"""One training a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from shared.errors import ConfigError
from shared.files.io import held


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """No other training of this machine uses the folder of a state meanwhile, which would write over this one's state,
    and remove it when it is done.

    Raises:
        ConfigError: one does.
    """
    with nullcontext(True) if folder is None else held(folder) as free:
        if not free:
            raise ConfigError(
                f"another process is training in {folder}; wait until it has ended, or give this training an output "
                "folder of its own"
            )
        yield
