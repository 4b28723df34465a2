"""Work that misbehaves, for the processes of a page's desk; it loads little."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from recipes.page.limits import Limits
from recipes.page.requests import Request, Result, Tell


@dataclass(frozen=True)
class Misbehaviour(Request):
    """What a process is to do.

    Attributes:
        which: "slow", "dies", or none.
    """

    work: ClassVar = (__name__, "misbehave")
    which: str

    @property
    def sent(self) -> tuple[Path | None, str]:
        return None, self.which


def misbehave(request: Misbehaviour, folder: Path, tell: Tell, limits: Limits) -> Result:
    """Take long, or end the process."""
    tell(0.5, "at work")
    if request.which == "dies":
        os._exit(1)
    if request.which == "slow":
        time.sleep(600)
    return Result(about="done")


def begin(threads: int, limits: Limits) -> None:
    """In place of loading models."""
