"""A job whose results anyone can compute: the square of each number. It may be told to stop, to die or to wait."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import DataError
from shared.files.io import write_text
from shared.scale import Outcome, Step, Unit, Work, digest_of


@dataclass(frozen=True)
class Squares(Work):
    """Writes the squares of a unit's numbers, a file a unit; negative ones fail.

    Attributes:
        log: a file that gets a line for each unit that is begun: its name and the worker's process.
        pause: seconds that a unit takes.
        power: in place of 2.
        poison: the unit that kills its worker.
    """

    log: Path
    pause: float = 0.0
    power: int = 2
    poison: str = ""

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"power": self.power}

    def begin(self) -> Step:
        if self.power < 1:
            raise DataError(f"power={self.power}: give one from 1")
        return self._step

    def _step(self, unit: Unit, folder: Path) -> Outcome:
        with self.log.open("a") as file:
            file.write(f"{unit.name} {os.getpid()}\n")
        time.sleep(self.pause)
        if unit.name == self.poison:
            os._exit(9)
        good = [number for number in unit.payload if number >= 0]
        write_text(folder / f"{unit.name}.txt", " ".join(str(number**self.power) for number in good))
        failed = {str(number): "it is negative" for number in unit.payload if number < 0}
        return Outcome(len(good), failed, ["squared"], [sum(good)])


def units(count: int, *, size: int = 3, first: int = 0) -> list[Unit]:
    """Units of the numbers from `first`; of every fourth the last is negative."""
    made = []
    for place in range(count):
        numbers = list(range(first + place * size, first + (place + 1) * size))
        if place % 4 == 3:
            numbers[-1] *= -1
        made.append(Unit(f"part-{place:03d}", numbers, digest_of(numbers), tuple(map(str, numbers))))
    return made


def contents(folder: Path) -> dict[str, bytes]:
    """Results and records of a job, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def kill_one_worker(when: Callable[[], bool]) -> threading.Thread:
    """Kill a worker of Ray of this machine as soon as a condition is met; join the thread after the job."""

    from benchmarks.scale import workers_of_ray  # loads all models' code, which workers need not

    def watch() -> None:
        until = time.monotonic() + 120
        while not when() and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(workers_of_ray()[0], signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread
