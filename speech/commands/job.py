"""What `speech enhance` is asked to do: what is enhanced, and where to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from speech.audio.coding import RawFormat, written_name
from speech.audio.loudness import LoudnessGoal
from speech.audio.search import find_audio
from speech.inference.plan import Existing, Plan, plan_folder


@dataclass(frozen=True)
class Job:
    """What is enhanced, and where to.

    Attributes:
        source, target: files, or folders.
        name: what the source is called; None: as it is.
        output: folder for the report, if any.
        piped: whether the result goes to standard output.
        raw: what .raw files hold.
        loudness: of the results.
        track: of videos, which is enhanced.
        existing: what to do about targets that exist.
    """

    source: Path
    target: Path
    name: str | None
    output: Path | None
    piped: bool
    raw: RawFormat | None
    loudness: LoudnessGoal | None
    track: int | None
    existing: Existing

    def plan(self) -> Plan:
        """What would be done."""
        if self.source.is_dir():
            paths, passed = find_audio(self.source, self.target)
            plan = plan_folder(paths, self.source, self.target, self.existing, self.raw, self.track)
            plan.failed = {**passed, **plan.failed}
            return plan
        plan = Plan()
        plan.add(self.name or self.source.name, self.source, self.target, self.existing, self.raw, self.track)
        plan.failed = {name: self.told(why) for name, why in plan.failed.items()}
        return plan

    def ends(self, name: str) -> tuple[Path, Path]:
        """A recording, by the name that reports have of it, and where its result lies."""
        if not self.source.is_dir():
            return self.source, self.target
        return self.source / name, self.target / written_name(Path(name))

    def told(self, text: str) -> str:
        """A message, with what the user calls the source in place of where it lies."""
        return text if self.name is None else text.replace(str(self.source), self.name)
