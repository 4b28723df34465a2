"""A job from its first unit to its last: what is finished is passed over, the rest is worked here or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from shared.checks import Count, checked
from shared.console.progress import bar
from shared.errors import ConfigError
from shared.scale.ledger import Ledger
from shared.scale.on_ray import Cluster, on_ray
from shared.scale.places import Folder
from shared.scale.units import Outcome, Unit, Work

EngineName = Literal["local", "ray"]
"""Where units are worked: one after another in this process, or by Ray's workers."""


class Where(TypedDict, total=False):
    """What the calls of both packages take of `run`: engine, workers, address and progress."""

    engine: EngineName
    workers: int | None
    address: str | None
    progress: bool


MOST_NOTED = 100
"""Different notes that a report holds."""


@dataclass
class Report:
    """What became of a job.

    Attributes:
        folder: of the results.
        units: that were worked.
        before: units that had been finished before.
        items: that are finished, of all units.
        failed: items that could not be worked, and why.
        notes: what else there is to know, and of how many units.
        seconds: that it took.
    """

    folder: Folder
    units: int = 0
    before: int = 0
    items: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count what became of one more unit."""
        self.items += outcome.items
        self.failed.update(outcome.failed)
        for text in outcome.notes:
            if text in self.notes or len(self.notes) < MOST_NOTED:
                self.notes[text] = self.notes.get(text, 0) + 1


def run(
    work: Work,
    units: Iterable[Unit],
    folder: Folder,
    *,
    engine: EngineName = "ray",
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0.0,
    again: bool = False,
    total: int | None = None,
    description: str = "working",
    progress: bool = True,
    each: Callable[[Unit, Outcome, bool], None] | None = None,
) -> Report:
    """Work the units of a job into a folder, and go on where an earlier run of it was stopped.

    A unit is finished when its result and then its record are written, each whole or not at all; one whose result was
    removed since is worked again. Units are taken from their iterator as workers become free; no more than one a worker
    is held. If a worker dies, alone or with its machine, another one gets its unit.

    Args:
        work: what is done with each.
        units: the same in the same order whenever the job goes on; further ones may follow at the end.
        folder: for the results, which all workers see under this name.
        engine: see `EngineName`; results are the same bits.
        workers: processes of Ray that work at a time. None: one for each CPU of this machine, or of the cluster; where
            `gpus` is given, for each GPU.
        address: of a Ray cluster: "auto" finds the one that this machine belongs to, "ray://host:10001" one elsewhere.
            None starts Ray on this machine, for this job alone, or takes the one that this process has begun already.
        gpus: of each worker.
        again: see `Ledger`.
        total: how many units there are, for the bar; None: it grows.
        description: for the bar.
        progress: whether to show a bar.
        each: is called with each unit that is finished, its outcome, and whether an earlier run had finished it, in the
            order in which that becomes known.

    Raises:
        ConfigError: the folder holds results of other settings, the cluster cannot be reached, or workers below 1.
        DataError: the input is not what it was; workers die before they can begin, or do not see the folder.
        MissingPackageError: engine="ray" without the extra "scale".
    """
    checked(EngineName, engine=engine)
    cluster = Cluster(checked(Count | None, workers=workers), address, gpus)
    if engine == "local" and (address is not None or workers not in (None, 1)):
        raise ConfigError("engine='local' is this process alone: leave workers and address out, or take engine='ray'")
    folder = folder.absolute() if isinstance(folder, Path) else folder  # workers may have another working folder
    started, report, ledger = time.perf_counter(), Report(folder), Ledger(folder, again)
    ledger.open(work.settings)
    names: set[str] = set()
    with bar(total or 0, description, "units", show=progress, leave=False) as shown:

        def finished(unit: Unit, outcome: Outcome, before: bool = False) -> None:
            report.add(outcome)
            shown.update(1)
            if each is not None:
                each(unit, outcome, before)

        def unfinished() -> Iterator[Unit]:
            for unit in units:
                names.add(unit.name)
                if total is None:
                    shown.total = len(names)
                outcome = ledger.of(unit)
                if outcome is None or not work.stands(unit, outcome, folder):
                    yield unit
                else:
                    report.before += 1
                    finished(unit, outcome, before=True)

        made = _here(work, unfinished(), ledger) if engine == "local" else on_ray(work, unfinished(), ledger, cluster)
        for unit, outcome in made:
            report.units += 1
            finished(unit, outcome)
    ledger.sweep()
    ledger.refuse_strangers(names)
    report.failed = dict(sorted(report.failed.items()))
    ledger.write_failed(report.failed)
    report.seconds = time.perf_counter() - started
    return report


def _here(work: Work, units: Iterator[Unit], ledger: Ledger) -> Iterator[tuple[Unit, Outcome]]:
    """Work the units in this process."""
    step = None
    for unit in units:
        step = step or work.begin()
        yield unit, ledger.worked(step, unit)
