"""The head of every benchmark's report: the command that made it and the machine it ran on."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from pathlib import Path

import torch


def header(title: str) -> str:
    """Markdown: title, command (of absolute paths the last part), processor, cores, versions."""
    options = [_without_place(option) for option in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *options])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"# {title}\n\n"
        f"Made by `{command}` on {processor()}, {cores} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__}.\n"
    )


def _without_place(option: str) -> str:
    """An option, or what NAME=PATH has for a path, without where an absolute path lies."""
    name, equals, path = option.rpartition("=")
    return f"{name}{equals}{Path(path).name}" if Path(path).is_absolute() else option


def processor() -> str:
    """The processor's model, as Linux tells it, or whatever the platform knows."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
