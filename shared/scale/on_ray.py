"""Units on Ray: workers that load once and are replaced when they die, and no more units at a time than there are."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shared.console.notes import tell
from shared.console.progress import set_quiet
from shared.errors import ConfigError, DataError, DiffusionError, first_line
from shared.optional import needed
from shared.scale.ledger import Ledger
from shared.scale.units import Outcome, Step, Unit, Work

MOST_DEATHS = 5
"""Workers that may die over the same unit before it is given up, and one after another before the job is."""
_PATIENCE = 60.0
"""Seconds without a free CPU after which that is told."""
_SEEN_WITHIN = 10.0
"""Seconds after which a file of another machine is to be seen here."""


@dataclass(frozen=True)
class Cluster:
    """Where and on how much units are worked; see `shared.scale.run.run`."""

    workers: int | None = None
    address: str | None = None
    gpus: float = 0.0


def on_ray(work: Work, units: Iterator[Unit], ledger: Ledger, cluster: Cluster) -> Iterator[tuple[Unit, Outcome]]:
    """Work the units on Ray, and yield each as it is finished; see `shared.scale.run.run`.

    A unit that killed its workers again and again is yielded with all its items failed, and is not recorded: a job that
    goes on tries it again.
    """
    ray = needed("ray", "scale", "engine='ray'")
    with connected(ray, cluster):
        pool = _Pool(ray, work, ledger, cluster)
        try:
            yield from pool.run(units)
        finally:
            pool.end()


class _Worker:
    """Lives in a process of Ray's. What it loads is loaded by a call, whose errors come back as they are."""

    def __init__(self, work: Work, ledger: Ledger):
        self._work, self._ledger = work, ledger
        self._step: Step | None = None
        set_quiet(True)

    def begin(self) -> None:
        self._step = self._work.begin()

    def do(self, unit: Unit) -> Outcome:
        assert self._step is not None
        return self._ledger.worked(self._step, unit)


class _Pool:
    """The workers: those that load, those that wait, those that have a unit."""

    def __init__(self, ray: Any, work: Work, ledger: Ledger, cluster: Cluster):
        self.ray, self.work, self.ledger, self.cluster = ray, work, ledger, cluster
        self.loading: dict[Any, Any] = {}
        self.idle: list[Any] = []
        self.busy: dict[Any, tuple[Any, Unit]] = {}
        self.waiting: deque[Unit] = deque()
        self.deaths: Counter[str] = Counter()

    def run(self, units: Iterator[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        workers, quiet_since = self.cluster.workers or _capacity(self.ray, self.cluster.gpus), time.monotonic()
        finished: list[tuple[Unit, Outcome]] = []
        while True:
            # One more than can be worked, so that no worker waits for a unit to be read.
            while len(self.waiting) + len(self.busy) <= workers and (unit := next(units, None)) is not None:
                self.waiting.append(unit)
            while len(self.loading) + len(self.idle) + len(self.busy) < min(
                workers, len(self.waiting) + len(self.busy)
            ):
                self._start()
            while self.waiting and self.idle:
                worker, unit = self.idle.pop(), self.waiting.popleft()
                self.busy[worker.do.remote(unit)] = worker, unit
            yield from finished  # while the workers work on
            finished.clear()
            if not self.waiting and not self.busy:
                return
            done, _ = self.ray.wait([*self.busy, *self.loading], num_returns=1, timeout=1.0)
            for ref in done:
                quiet_since = time.monotonic()
                if (found := self._taken(ref)) is not None:
                    finished.append(found)
            if not self.busy and time.monotonic() - quiet_since > _PATIENCE:
                quiet_since = float("inf")
                tell("no worker has begun yet: the cluster has no CPU (or GPU) free, or is slow to start one")

    def _start(self) -> None:
        options = {"num_cpus": 1, "num_gpus": self.cluster.gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        worker = self.ray.remote(_Worker).options(**options).remote(self.work, self.ledger)
        self.loading[worker.begin.remote()] = worker

    def _taken(self, ref: Any) -> tuple[Unit, Outcome] | None:
        """What a call came to: a unit that is finished, or given up; None where a worker has loaded, or has died."""
        errors = self.ray.exceptions
        loading = ref in self.loading
        worker, unit = (self.loading.pop(ref), None) if loading else self.busy.pop(ref)
        try:
            outcome = self.ray.get(ref)
        except errors.RayTaskError as error:
            raise _cause(error) from error
        except (errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            self.ray.kill(worker)  # where it only could not be reached
            return self._died(unit, error)
        self.idle.append(worker)
        self.deaths.pop("", None)
        if unit is None:
            return None
        self._see(unit)
        return unit, outcome

    def _died(self, unit: Unit | None, error: Exception) -> tuple[Unit, Outcome] | None:
        name = "" if unit is None else unit.name
        self.deaths[name] += 1
        if self.deaths[name] < MOST_DEATHS:
            if unit is not None:
                self.waiting.appendleft(unit)
            return None
        why = f"{MOST_DEATHS} workers died over it, perhaps for want of memory ({first_line(error)})"
        if unit is None:
            raise DataError(f"no worker could begin: {why}; take fewer workers, or a smaller model")
        return unit, Outcome(failed=dict(unit.failed) | dict.fromkeys(unit.items, why))

    def _see(self, unit: Unit) -> None:
        """See that what another machine has written is written here too."""
        until = time.monotonic() + _SEEN_WITHIN
        while self.ledger.of(unit) is None:
            if time.monotonic() > until:
                raise DataError(
                    f"a worker has finished {unit.name} into {self.ledger.folder}, which cannot be seen here; take a "
                    "folder that all machines of the cluster share"
                )
            time.sleep(0.1)

    def end(self) -> None:
        """End all workers."""
        for worker in [*self.loading.values(), *self.idle, *(worker for worker, _ in self.busy.values())]:
            self.ray.kill(worker)


@contextmanager
def connected(ray: Any, cluster: Cluster) -> Iterator[None]:
    """Ray for the time of a job: the one that this process has begun already, or one that is left or ended after it.

    Raises:
        ConfigError: it cannot be reached, or not be started.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = cluster.address
    here: dict[str, Any] = {"num_cpus": cluster.workers, "include_dashboard": False} if address is None else {}
    try:
        _knock(address)
        ray.init(address=address or "local", log_to_driver=False, logging_level="warning", **here)
    except Exception as error:  # Ray raises a wide family; each means the same to a user
        if address is None:
            raise ConfigError(f"Ray cannot be started on this machine ({first_line(error)})") from error
        raise ConfigError(
            f"address={address!r}: no Ray cluster can be reached there ({first_line(error)}); begin one by `ray start "
            "--head`, correct the address, or leave it out to work on this machine alone"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Connect to an address that names host and port, which Ray would do for minutes.

    Raises:
        OSError, ValueError: nobody is there, or it is no address.
    """
    if address is None or address in ("auto", "local"):
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    port = parts.port or (10001 if parts.scheme == "ray" else 6379)
    socket.create_connection((parts.hostname or "", port), timeout=5.0).close()


def _capacity(ray: Any, gpus: float) -> int:
    """How many workers the cluster has room for."""
    has = ray.cluster_resources()
    return max(1, int(has.get("GPU", 0) // gpus if gpus else has.get("CPU", 1)))


def _cause(error: Any) -> Exception:
    """What a worker raised."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, (DiffusionError, OSError)) else error
