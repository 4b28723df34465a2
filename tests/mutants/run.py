"""Running tests against mutants, several at a time, each in a copy of the tree and a fork of this process."""

from __future__ import annotations

import importlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.covers import PACKAGES, SLOW
from tests.mutants.mutant import Mutant

LIBRARIES = (
    *("torch", "torchaudio", "lightning.pytorch", "gluonts.torch", "gluonts.dataset.pandas", "gluonts.evaluation"),
    *("pandas", "pyarrow", "pydantic", "safetensors.torch", "scipy.signal", "scipy.stats", "sklearn.linear_model"),
    *("torchdiffeq", "matplotlib.pyplot", "typer", "rich", "soundfile", "soxr", "pesq", "pystoi", "hypothesis"),
    *("pytest", "torchmetrics", "tensorboard"),
)
"""What the tests import and no mutant changes: read once, before the forks."""

CPU_SECONDS = 180
"""Of one process of a run; a mutant that takes longer, such as a loop without end, counts as killed."""
WALL_SECONDS = 1800
"""For runs that wait for what never comes."""


@dataclass(frozen=True)
class Job:
    """Tests to run on a mutant, or on the tree as it is."""

    mutant: Mutant | None
    tests: tuple[str, ...]

    @property
    def slow(self) -> bool:
        """Whether tests that are marked slow run too."""
        return self.mutant is not None and self.mutant.file in SLOW


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        passed: whether all tests passed, which a mutant is not to see.
        by: the first test that fell, or what else ended the run.
        seconds: of wall time.
        said: the end of what pytest wrote.
    """

    passed: bool
    by: str
    seconds: float
    said: str


def preload() -> None:
    """Import the libraries."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            try:
                importlib.import_module(name)
            except ImportError:
                continue
    import torch

    torch.set_num_threads(1)


def run_all(root: Path, work: Path, jobs: Iterable[Job], workers: int) -> Iterator[tuple[Job, Outcome]]:
    """Outcomes as they come.

    Args:
        root: of the repository.
        work: an empty folder for copies of it.
        jobs: what to run.
        workers: how many at a time.
    """
    free = [_copy(root, work / str(n)) for n in range(workers)]
    running: dict[int, tuple[Job, Path, float]] = {}
    waiting = iter(jobs)
    while True:
        while free and (job := next(waiting, None)) is not None:
            tree = free.pop()
            if job.mutant is not None:
                (tree / job.mutant.file).write_text(job.mutant.text)
            running[_fork(tree, job)] = job, tree, time.time()
        if not running:
            return
        child, status = os.wait()
        job, tree, started = running.pop(child)
        _end_group(child)
        if job.mutant is not None:
            shutil.copy2(root / job.mutant.file, tree / job.mutant.file)
        free.append(tree)
        yield job, _outcome(status, (tree / "log.txt").read_text(errors="replace"), time.time() - started)


def _copy(root: Path, tree: Path) -> Path:
    """What git knows of, or would take, of the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in os.fsdecode(listed.stdout).split("\0"):
        if name and (root / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, tree / name)
    return tree


def _fork(tree: Path, job: Job) -> int:
    """The number of a child that runs the tests of a job in a process group of its own, within its time."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 10))
        signal.alarm(WALL_SECONDS)
        code = _pytest(tree, [*job.tests, *(["--run-slow"] if job.slow else [])])
    finally:
        os._exit(code)


def _pytest(tree: Path, arguments: Sequence[str]) -> int:
    """Run tests in the tree, whose packages this process must not have imported from elsewhere."""
    os.chdir(tree)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in list(sys.modules):
        if name.split(".")[0] in (*PACKAGES, "tests", "recipes", "benchmarks"):
            del sys.modules[name]
    sys.path[:] = [str(tree), *(entry for entry in sys.path if entry not in ("", str(Path(__file__).parents[2])))]
    sys.dont_write_bytecode = True
    os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1")
    import pytest

    code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", *arguments]))
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _end_group(child: int) -> None:
    """End what a run has left behind."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        return


def _outcome(status: int, said: str, seconds: float) -> Outcome:
    code = os.waitstatus_to_exitcode(status)
    fallen = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said, re.MULTILINE)
    if fallen is not None:
        by = fallen.group(1)
    elif code < 0:
        by = f"{signal.Signals(-code).name}: out of time" if -code in _OUT_OF_TIME else signal.Signals(-code).name
    else:
        by = f"pytest ends with {code}"
    return Outcome(code == 0, "" if code == 0 else by, seconds, said[-3000:])


_OUT_OF_TIME = (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL)
