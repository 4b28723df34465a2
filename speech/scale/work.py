"""What a worker does with recordings: one enhancer, on one thread, each file for itself."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from shared.errors import reason
from shared.files.checkpoint import resolve
from shared.files.settings import plain
from shared.scale import Outcome, Step, Unit, Work, digest_of
from shared.scale.places import Folder
from shared.scale.units import digest_of_folder, one_thread
from shared.version import __version__
from speech.audio.coding import RawFormat, written_name
from speech.audio.loudness import LoudnessGoal
from speech.enhancer import Enhancer
from speech.inference.files import FileResult
from speech.inference.plan import Existing, Plan
from speech.inference.removed import Removed
from speech.loading import load_model
from speech.metrics.evaluation import Scoring, scored, unscored
from speech.model.model import BUNDLED


@dataclass(frozen=True, kw_only=True)
class Enhancing(Work):
    """Enhances files by their names below a folder, into the same tree: `Enhancer.enhance_file`.

    Attributes:
        source: the folder of the noisy files.
        model: folder, bundled name, hub id or published .ckpt.
        device: where to compute.
        enhancer: arguments of `Enhancer`.
        sampling: fields of `SamplingConfig` to change.
        existing: what to do about a target that no record tells of.
        raw, loudness, track: see `Enhancer.enhance_dir`.
    """

    source: Path
    model: str = "default"
    device: str = "cpu"
    enhancer: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    existing: Existing = "skip"
    raw: RawFormat | None = None
    loudness: LoudnessGoal | None = None
    track: int | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        made = self.made()
        if self.model.endswith(".ckpt"):
            weights = digest_of(Path(self.model).read_bytes())
        else:
            weights = digest_of_folder(resolve(self.model, BUNDLED))
        beside = made.engine.members.beside
        names = (
            "seed",
            "draws",
            "mix",
            "batch_size",
            "upper_band",
            "rate",
            "keep_music",
            "window_seconds",
            "overlap_seconds",
            *(("quality",) if made.quality == "best" else ()),  # jobs begun before there was one go on
        )
        return {
            "task": "Enhancing",
            "version": __version__,
            "model": weights,
            **({} if beside is None else {"companion": digest_of_folder(beside)}),
            "sampling": plain(made.sampling),
            **{name: self.enhancer.get(name, getattr(made, name, None)) for name in names},
            "raw": self.raw and asdict(self.raw),
            "loudness": self.loudness,
            **({} if self.track is None else {"track": self.track}),
        }

    def made(self) -> Enhancer:
        """The enhancer.

        Raises:
            CheckpointError: there is no such model.
            ConfigError: a setting that cannot be.
        """
        model = load_model(self.model)
        sampling = replace(model.config.sampling, **self.sampling)
        return Enhancer(model, device=self.device, sampling=sampling, **self.enhancer)

    def begin(self) -> Step:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which was told where the job began
            made = self.made()
        return lambda unit, folder: self._work(made, unit, folder)

    def stands(self, unit: Unit, outcome: Outcome, folder: Folder) -> bool:
        """Whether all targets are there, and none was passed over that is to be overwritten. A file that failed is
        tried again, as in one process: the disk may have been full, or a package missing."""
        assert isinstance(folder, Path)
        if not outcome.failed.keys().isdisjoint(unit.items):
            return False
        targets = [self._target(values["name"], folder) for values in outcome.results]
        passed_over = any(retold(values, folder) is None for values in outcome.results)
        return all(target.exists() for target in targets) and not (passed_over and self.existing == "overwrite")

    def _target(self, name: str, folder: Path) -> Path:
        return folder / written_name(Path(name))

    def _work(self, enhancer: Enhancer, unit: Unit, folder: Folder) -> Outcome:
        assert isinstance(folder, Path)
        outcome = Outcome()
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in unit.payload:
                plan = Plan()
                plan.add(name, self.source / name, self._target(name, folder), self.existing, self.raw, self.track)
                outcome.failed |= plan.failed
                outcome.results += [{"name": name} for name in plan.skipped]
                for file in plan.files:
                    try:
                        found = enhancer.enhance_file(
                            file.source,
                            file.target,
                            name=name,
                            raw=self.raw,
                            loudness=self.loudness,
                            track=self.track,
                        )
                    except Exception as error:
                        outcome.failed[name] = reason(error)
                    else:
                        outcome.results.append(told(found, folder))
        outcome.items = len(unit.items) - len(outcome.failed)
        return outcome


def told(result: FileResult, folder: Path) -> dict[str, Any]:
    """A file's result as JSON has it, its target below the folder."""
    return {**asdict(result), "target": result.target.relative_to(folder).as_posix()}


def retold(values: Mapping[str, Any], folder: Path) -> FileResult | None:
    """The result of `told`; None of a file that was passed over."""
    if set(values) == {"name"}:
        return None
    removed = values["removed"] and Removed(**values["removed"])
    return FileResult(
        **{**values, "removed": removed, "target": folder / values["target"], "notes": tuple(values["notes"])}
    )


@dataclass(frozen=True, kw_only=True)
class Evaluating(Work):
    """Scores files: `speech.metrics.evaluate`.

    Attributes:
        metrics: their names.
        align: see `speech.metrics.evaluate`.
    """

    metrics: tuple[str, ...]
    align: bool

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"task": "Evaluating", "version": __version__, "metrics": list(self.metrics), "align": self.align}

    def begin(self) -> Step:
        return self._work

    def stands(self, unit: Unit, outcome: Outcome, folder: Folder) -> bool:
        """Whether all files that have a counterpart were read; one that was not is tried again."""
        rows = rows_of(unit, outcome)
        paired = [job.file for job in unit.payload if all(len(paths) == 1 for paths in job.paths.values())]
        return not any(math.isnan(rows[file]["seconds"]) for file in paired)

    def _work(self, unit: Unit, folder: Folder) -> Outcome:
        jobs: tuple[Scoring, ...] = unit.payload
        with one_thread():
            rows = [scored(job) for job in jobs]
        failed = {row["file"]: row["reason"] for row in rows if row["reason"]}
        return Outcome(len(rows) - len(failed), failed, results=[_in_json(row) for row in rows])


def _in_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with NaN and infinities as texts, which JSON has no numbers for."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def rows_of(unit: Unit, outcome: Outcome) -> dict[str, dict[str, Any]]:
    """The row of each file of a unit of `Evaluating`; where its workers died, one without scores that says so."""
    rows = {job.file: unscored(job, outcome.failed.get(job.file, "")) for job in unit.payload}
    return rows | {row["file"]: _out_of_json(row) for row in outcome.results}


def _out_of_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row again."""
    return {
        name: float(value) if isinstance(value, str) and name not in ("file", "reason") else value
        for name, value in row.items()
    }
