"""What would be done with a file, or with those of a folder, before anything is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shared.errors import DiffusionError
from speech.audio.coding import AudioInfo, RawFormat, refuse_suffix, target_coding, written_name
from speech.audio.files import audio_info
from speech.audio.writing import refuse_same

Existing = Literal["skip", "overwrite"]


@dataclass(frozen=True)
class Planned:
    """A file to enhance.

    Attributes:
        name: that its noise depends on, and by which it is told.
        source, target: where it is, and where its result goes.
        info: of the recording.
    """

    name: str
    source: Path
    target: Path
    info: AudioInfo

    @property
    def coding(self) -> str:
        """Format and subtype of the target: "WAV PCM_16"."""
        return " ".join(target_coding(self.target, self.info))


@dataclass
class Plan:
    """Files to enhance; names of those whose target exists; those that cannot be enhanced, and why."""

    files: list[Planned] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, source: Path, target: Path, existing: Existing, raw: RawFormat | None) -> None:
        """Plan one more file."""
        try:
            refuse_same(source, target)
            if existing == "skip" and target.exists():
                self.skipped.append(name)
                return
            refuse_suffix(target, source)
            planned = Planned(name, source, target, audio_info(source, raw))
            assert planned.coding
            self.files.append(planned)
        except (DiffusionError, OSError) as error:
            self.failed[name] = str(error)


def plan_folder(paths: Sequence[Path], source: Path, target: Path, existing: Existing, raw: RawFormat | None) -> Plan:
    """The plan for files below `source`; names are relative to it, with forward slashes."""
    relatives = {path.relative_to(source).as_posix(): path for path in paths}
    plan = Plan(failed=meeting(relatives))
    for name, path in relatives.items():
        if name not in plan.failed:
            plan.add(name, path, target / written_name(Path(name)), existing, raw)
    return plan


def meeting(names: Iterable[str]) -> dict[str, str]:
    """Of files below a folder those whose results would take the place of an earlier one's, and why. Names that differ
    in case alone count as equal, as they are for many file systems."""
    first, found = dict[str, str](), dict[str, str]()
    for name in names:
        written = written_name(Path(name)).as_posix()
        other = first.setdefault(written.casefold(), name)
        if other != name:
            found[name] = f"its result would be {written}, in the place of that of {other}; rename one of the two"
    return found


def target_of(source: Path, target: Path) -> Path:
    """Where the result of a single file goes: into `target`, if that is a folder."""
    return target / written_name(Path(source.name)) if os.path.isdir(target) else target
