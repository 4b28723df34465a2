"""Recipes as their user meets them, every run a process of its own, without paying for the imports each time."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Imports take seconds, a tiny run does not: one process of each test process imports everything, and each run is a fork
# of it. What is loaded when is tests/test_startup.py's business.
WARM = (
    *(
        f"tsdiff.commands.{verb}"
        for verb in ("anomaly", "evaluate", "forecast", "impute", "refine", "synthesize", "train")
    ),
    *(f"speech.commands.{verb}" for verb in ("enhance", "evaluate", "stream", "train")),
)
SERVER = """
import glob, importlib, json, os, runpy, signal, sys, time
import torch
torch.set_num_threads(1)
for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    folder, recipe, arguments, log, source, target, until = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
        os.dup2(os.open(source or os.devnull, os.O_RDONLY), 0)
        for stream, place in ((1, target or f"{log}.1"), (2, f"{log}.2")):
            os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        sys.argv = [recipe, *arguments]
        sys.path.insert(0, os.path.dirname(recipe))
        os.environ["COLUMNS"] = "200"
        code = 1
        try:
            sys.path.insert(0, os.path.dirname(os.path.abspath(recipe)))  # as `python recipe` does
            runpy.run_path(recipe, run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    ended = os.WEXITED | os.WNOWAIT
    if until:
        while not glob.glob(until) and not os.waitid(os.P_PID, child, ended | os.WNOHANG):
            time.sleep(0.05)
        time.sleep(0.5)
        if not os.waitid(os.P_PID, child, ended | os.WNOHANG):
            os.kill(child, signal.SIGINT)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Ran:
    """The exit status of a run, and what it said on standard output and on standard error."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All of it."""
        return self.out + self.err


@functools.cache
def server() -> subprocess.Popen[str]:
    """The process that runs are forks of, started at the first of them; it ends when its input does, with this one."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, *WARM],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class Recipes:
    """Runs recipes by name, in `folder`."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "log"

    def run(
        self,
        name: str,
        *arguments: object,
        stdin: Path | None = None,
        stdout: Path | None = None,
        until: Path | None = None,
    ) -> Ran:
        """Run recipes/<name>.py with these arguments; its standard input is this file, or nothing, and its standard
        output goes to that one, which may be a FIFO, or is told. Half a second after a file of the pattern `until` is
        there, it gets the signal of Ctrl-C."""
        process, recipe = server(), str(ROOT / "recipes" / f"{name}.py")
        assert process.stdin is not None
        assert process.stdout is not None
        places = [str(path) if path is not None else "" for path in (stdin, stdout, until)]
        wanted = [str(self.folder), recipe, [str(argument) for argument in arguments], str(self.log), *places]
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        out = Path(f"{self.log}.1").read_text() if stdout is None else ""
        return Ran(code, out, Path(f"{self.log}.2").read_text())
