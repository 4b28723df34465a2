"""Options and fixtures that every test of the repository shares."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from shared.sde import (
    BBEDSDE,
    FOUVESDE,
    OUVESDE,
    OUVPSDE,
    SBVESDE,
    SDE,
    VESDE,
    VPSDE,
    DiscreteVPSDE,
    FlowSDE,
    ResfusionSDE,
    SubVPSDE,
    VPBridgeSDE,
    cosine_betas,
    linear_betas,
)
from tests.recipes.harness import server

ROOT = Path(__file__).resolve().parents[1]

SDES: dict[str, SDE] = {
    "vp": VPSDE(),
    "sub_vp": SubVPSDE(),
    "ve": VESDE(),
    "flow": FlowSDE(),
    "discrete_linear": DiscreteVPSDE(linear_betas(100, 1e-4, 0.1)),
    "discrete_cosine": DiscreteVPSDE(cosine_betas(100)),
    "ouve": OUVESDE(),
    "fouve": FOUVESDE(),
    "ouvp": OUVPSDE(),
    "bbed": BBEDSDE(),
    "sbve": SBVESDE(),
    "brownian_bridge": SBVESDE(k=1.0),
    "resfusion": ResfusionSDE(),
    "vp_bridge": VPBridgeSDE(),
}
"""One of each process, the discrete one with its two tables."""

ANCHORED = ("ouve", "fouve", "ouvp", "bbed", "sbve", "brownian_bridge", "resfusion", "vp_bridge")
"""Names in `SDES` of the processes that lead to an anchor."""

BRIDGES = ("sbve", "brownian_bridge", "vp_bridge")
"""Names of those that end in the anchor itself."""


DISTINCT = ("vp", "ve", "discrete_linear", "ouve", "sbve", "flow")
"""Names in `SDES` of the processes that together take every way through what knows a process by its coefficients alone:
with an anchor or none, constant α, a start at α = 0 or α = σ = 0, an end at clean data or before it, and the exact
forward step or Euler's."""


def all_sdes(
    *, skip: tuple[str, ...] = (), others_slow: bool = False, slow: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test once for every process of `SDES`, as its arguments `name` and `sde`; those that are not `DISTINCT`
    among the slow tests if so told, and those named."""
    late = {*slow, *(name for name in SDES if others_slow and name not in DISTINCT)}
    cases = [
        pytest.param(name, sde, id=name, marks=pytest.mark.slow if name in late else ())
        for name, sde in SDES.items()
        if name not in skip
    ]
    return pytest.mark.parametrize(("name", "sde"), cases)


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
        torch.set_num_threads(1)


def pytest_collection_finish(session: pytest.Session) -> None:
    # The modules and tests are there until the end: nothing for collections to look through, here or in forks, which
    # would copy them for that.
    gc.freeze()
    server()  # before any test has changed what runs of recipes are forks of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
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
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
