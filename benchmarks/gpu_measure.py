"""How `benchmarks/gpu.py` measures: a case is timed by calls that wait for the device, and becomes a row."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import processor
from benchmarks.rows import Rows

KEYS = ("card", "size", "part", "what", "side", "way")
LEAST, MOST, SECONDS = 5, 50, 2.0
"""Calls of a case that are timed: at least, at most, and for how long more than the least."""


def card(device: str) -> str:
    """The name of the GPU, or of the processor."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()


@dataclass(frozen=True)
class Bench:
    """What a part measures with.

    Attributes:
        device: where.
        small: networks and batches of a trial.
        rows: where results go.
        ends: time after which no case begins.
        part: which.
        data: folder of speech, or None.
    """

    device: str
    small: bool
    rows: Rows
    ends: float
    part: str
    data: Path | None = None

    @staticmethod
    def size_of(small: bool) -> str:
        """What rows say of their settings."""
        return "small" if small else "full"

    @property
    def on_gpu(self) -> bool:
        """Whether the device is one."""
        return self.device.startswith("cuda")

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def case(
        self,
        what: str,
        way: str,
        make: Callable[[], Callable[[], Any]],
        *,
        count: float = 0.0,
        unit: str = "",
        flops: float = 0.0,
        side: str = "ours",
    ) -> None:
        """Measure one case, unless its row is there or the time is over; one that failed is tried again.

        Args:
            what, way, side: name it.
            make: gives the call that is timed.
            count, unit: what a call gets done.
            flops: floating-point operations of a call.
        """
        row = {"card": card(self.device), "size": self.size_of(self.small), "part": self.part}
        row |= {"what": what, "side": side, "way": way}
        measured = [[str(old[key]) for key in KEYS] for old in self.rows.read() if not old["note"]]
        if [str(row[key]) for key in KEYS] in measured or time.time() > self.ends:
            return
        found: dict[str, Any] = dict.fromkeys(("ms", "per_second", "unit", "tflops", "gigabytes", "note"), "")
        try:
            seconds, found["gigabytes"] = self._measured(make())
            found |= {"ms": 1e3 * seconds, "unit": unit, "tflops": flops / seconds / 1e12 if flops else ""}
            found["per_second"] = count / seconds if count else ""
        except Exception as error:  # compilers raise many kinds
            told = (str(error).splitlines() or [""])[0].replace("|", "/")
            found["note"] = f"{type(error).__name__}: {told}"[:100]
        finally:
            self._forget()
        self.rows.add(row | found)
        print(self.part, what, side, way, {name: value for name, value in found.items() if value != ""}, flush=True)

    def _measured(self, call: Callable[[], Any]) -> tuple[float, float]:
        """Median seconds of a call, and gigabytes at the most."""
        for _ in range(0 if self.small else 3):  # compiles, chooses kernels, records graphs
            call()
        self.wait()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        spent: list[float] = []
        least, most, longest = (1, 1, 0.0) if self.small else (LEAST, MOST, SECONDS)
        while len(spent) < least or (sum(spent) < longest and len(spent) < most):
            began = time.perf_counter()
            call()
            self.wait()
            spent.append(time.perf_counter() - began)
        most_memory = (
            torch.cuda.max_memory_allocated()
            if self.on_gpu
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
        return statistics.median(spent), most_memory / 1e9

    def _forget(self) -> None:
        """What the case left on the device and in the compiler."""
        torch.compiler.reset()
        if self.on_gpu:
            torch.cuda.empty_cache()
