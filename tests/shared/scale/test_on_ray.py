"""Units on Ray: a cluster of two nodes on this machine, whose workers and nodes are killed in the middle."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigError, DataError
from shared.scale import Report, run
from tests.shared.scale.works import Squares, contents, units

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each; a killed one is replaced by the test that killed it."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def address(cluster: Any) -> Iterator[str]:
    yield cluster.address
    ray.shutdown()


def on_ray(folder: Path, address: str, count: int = 12, *, workers: int = 2, **changes: Any) -> Report:
    """A job of two workers."""
    return run(
        Squares(folder / "log.txt", **changes),
        units(count),
        folder / "out",
        workers=workers,
        address=address,
        progress=False,
    )


def alone(folder: Path, count: int = 12) -> dict[str, bytes]:
    """What one process makes of the same job."""
    run(Squares(folder / "alone.txt"), units(count), folder / "alone", engine="local", progress=False)
    return contents(folder / "alone")


def begun(folder: Path) -> list[tuple[str, int]]:
    """Units and processes that had them, in order."""
    log = folder / "log.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def when(met: Callable[[], bool], then: Callable[[], object]) -> threading.Thread:
    """Do something as soon as a condition is met, while the job runs."""

    def watch() -> None:
        until = time.monotonic() + 120
        while not met() and time.monotonic() < until:
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_two_workers_make_what_one_process_makes(tmp_path: Path, address: str):
    report = on_ray(tmp_path, address, count=40, pause=0.2)
    assert (report.units, report.items) == (40, 110)
    assert contents(tmp_path / "out") == alone(tmp_path, 40)
    assert len({pid for _, pid in begun(tmp_path)}) == 2
    assert os.getpid() not in {pid for _, pid in begun(tmp_path)}


def test_a_killed_worker_is_replaced(tmp_path: Path, address: str):
    killed: list[int] = []

    def kill() -> None:
        killed.append(begun(tmp_path)[-1][1])
        os.kill(killed[0], signal.SIGKILL)

    thread = when(lambda: len(begun(tmp_path)) >= 5, kill)
    report = on_ray(tmp_path, address, count=40, pause=0.3)  # a new worker takes seconds to begin
    thread.join()
    assert report.units == 40
    assert contents(tmp_path / "out") == alone(tmp_path, 40)
    names = [name for name, _ in begun(tmp_path)]
    assert len(names) == 41  # what the killed one had, and nothing that was finished
    assert len({pid for _, pid in begun(tmp_path)}) == 3


def test_a_killed_node_loses_nothing(tmp_path: Path, cluster: Any, address: str):
    node = cluster.list_all_nodes()[-1]
    thread = when(lambda: len(begun(tmp_path)) >= 5, lambda: cluster.remove_node(node, allow_graceful=False))
    report = on_ray(tmp_path, address, pause=0.3)
    thread.join()
    cluster.add_node(num_cpus=1)
    assert (report.units, report.items) == (12, 33)
    assert contents(tmp_path / "out") == alone(tmp_path)
    assert len(begun(tmp_path)) <= 14


def test_a_unit_that_kills_its_workers_is_given_up_and_not_kept(tmp_path: Path, address: str):
    report = on_ray(tmp_path, address, count=3, poison="part-001")
    assert sorted(report.failed) == ["3", "4", "5"]
    assert "5 workers died over it" in report.failed["4"]
    assert report.items == 6
    again = on_ray(tmp_path, address, count=3)
    assert (again.units, again.before, again.failed) == (1, 2, {})


def test_a_stopped_job_goes_on(tmp_path: Path, address: str):
    with pytest.raises(RuntimeError, match="stopped"):
        run(
            Squares(tmp_path / "log.txt"),
            (unit if unit.name < "part-006" else stop() for unit in units(12)),
            tmp_path / "out",
            workers=2,
            address=address,
            progress=False,
        )
    finished = len(list((tmp_path / "out" / ".scale" / "units").iterdir()))
    assert 4 <= finished <= 6
    report = on_ray(tmp_path, address)
    assert report.before >= finished
    assert contents(tmp_path / "out") == alone(tmp_path)


def stop() -> Any:
    raise RuntimeError("stopped")


def test_errors_of_workers_come_back_as_they_are(tmp_path: Path, address: str):
    with pytest.raises(DataError, match=r"^power=0: give one from 1$"):
        on_ray(tmp_path, address, power=0)


def test_a_cluster_that_cannot_be_reached_is_told(tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for address in (f"ray://127.0.0.1:{port}", f"127.0.0.1:{port}", "ray://nowhere.invalid:10001", "spark://x:1:2"):
        with pytest.raises(ConfigError, match="no Ray cluster can be reached there"):
            on_ray(tmp_path, address)
