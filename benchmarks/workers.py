"""Sides of a comparison, each in a process of its own, timed by turns so that other load falls on all."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import typer


def answer(calls: Mapping[str, Callable[[], Any]]) -> None:
    """In a worker: answer each line on standard input, "threads job", with wall and processor seconds, page faults."""
    print("ready", flush=True)
    for line in sys.stdin:
        threads, name = line.split()
        torch.set_num_threads(int(threads))
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        wall, processor = time.perf_counter(), time.process_time()
        calls[name]()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        print(json.dumps([wall, processor, faults]), flush=True)


class Worker:
    """One side's process.

    Args:
        script: the benchmark, which calls `answer` where it is given "--worker SIDE".
        side: which.
    """

    def __init__(self, script: str, side: str):
        environment = {**os.environ, "GOMP_SPINCOUNT": "0"}  # waiting threads leave the cores to whoever works
        command = [sys.executable, script, "--worker", side]
        self.process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment)
        if self._line() != "ready":
            raise typer.Exit(1)

    def time(self, threads: int, job: str) -> list[float]:
        """Wall seconds, processor seconds, page faults."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{threads} {job}\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()
