"""Options and fixtures that every test of the repository shares.

PyTorch is imported where it is used: the process that only hands out tests to workers needs none.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow, which take minutes")
    parser.addoption("--gpu-device", default="cuda", help="where the tests marked gpu run; cpu tries them without one")


def pytest_configure(config: pytest.Config) -> None:
    # Processes that tests start would each compile all of the source, where the user's environment forbids to keep it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # One worker a core is the parallelism; more threads would only compete, there and in processes that it starts.
    if config.getoption("numprocesses", None):
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        torch.set_num_threads(1)


def pytest_collection_finish(session: pytest.Session) -> None:
    from tests.recipes.harness import server

    # The modules and tests are there until the end: nothing for collections to look through, here or in forks, which
    # would copy them for that.
    gc.freeze()
    server()  # before any test has changed what runs of recipes are forks of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    import torch

    missing = config.getoption("--gpu-device").startswith("cuda") and not torch.cuda.is_available()
    for item in items:
        if item.get_closest_marker("gpu"):  # keywords hold names of folders too
            if missing:
                item.add_marker(pytest.mark.skip(reason="torch finds no GPU here; --gpu-device cpu tries it without"))
        elif "slow" in item.keywords and not config.getoption("--run-slow"):
            item.add_marker(pytest.mark.skip(reason="takes long, or is like others; give --run-slow"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets, from $SHARED_DATA or beside the repository."""
    folder = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; set SHARED_DATA to the folder that holds series/ and speech/")
    return folder


@pytest.fixture
def hangups_are_heard() -> Iterator[None]:
    """SIGHUP asks to end, though the tests run under nohup, which all that they start would inherit."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def double_by_default() -> Iterator[None]:
    """torch's default is double precision for as long as a test lasts."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
