"""What would be done with a file, or with those of a folder, before anything is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shared.errors import DataError, DiffusionError
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

    def coding(self, rate: int) -> str:
        """Format and subtype of the target at this rate, in Hz: "WAV PCM_16"."""
        return " ".join(target_coding(self.target, self.info.at(rate)))


@dataclass
class Plan:
    """Files to enhance; names of those whose target exists; those that cannot be enhanced, and why."""

    files: list[Planned] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        name: str,
        source: Path,
        target: Path,
        existing: Existing,
        raw: RawFormat | None,
        track: int | None = None,
    ) -> None:
        """Plan one more file."""
        try:
            refuse_same(source, target)
            if os.path.isdir(target):
                raise DataError(f"{target} is a folder, which no file may replace; choose another name")
            if existing == "skip" and target.exists():
                self.skipped.append(name)
                return
            refuse_suffix(target, source)
            planned = Planned(name, source, target, audio_info(source, raw, track))
            assert planned.coding(planned.info.sample_rate)
            self.files.append(planned)
        except (DiffusionError, OSError) as error:
            self.failed[name] = str(error)


def plan_folder(
    paths: Sequence[Path],
    source: Path,
    target: Path,
    existing: Existing,
    raw: RawFormat | None,
    track: int | None = None,
) -> Plan:
    """The plan for files below `source`; names are relative to it, with forward slashes."""
    relatives = {path.relative_to(source).as_posix(): path for path in paths}
    plan = Plan(failed=meeting(relatives))
    for name, path in relatives.items():
        if name not in plan.failed:
            plan.add(name, path, target / written_name(Path(name)), existing, raw, track)
    return plan


def plan_files(
    paths: Sequence[Path],
    target: Path,
    existing: Existing,
    raw: RawFormat | None,
    track: int | None = None,
) -> Plan:
    """The plan for recordings from wherever, whose results lie side by side in `target`; each goes by its own name.

    Raises:
        DataError: two of them would have one result there.
    """
    first, plan = dict[str, Path](), Plan()
    for path in dict.fromkeys(paths):
        written = written_name(Path(path.name))
        other = first.setdefault(written.name.casefold(), path)
        if other != path:
            raise DataError(
                f"the results of {other} and {path} would both be {target / written}; enhance one of them by itself, "
                "into another folder"
            )
        plan.add(path.name, path, target / written, existing, raw, track)
    return plan


def meeting(names: Iterable[str]) -> dict[str, str]:
    """Those of some files whose results would take the place of an earlier file's, by name, and why. Names that differ
    in case alone count as equal, as they do for many file systems."""
    first, found = dict[str, str](), dict[str, str]()
    for name in names:
        written = written_name(Path(name)).as_posix()
        other = first.setdefault(written.casefold(), name)
        if other != name:
            found[name] = f"its result would be {written}, in the place of that of {other}; rename one of the two"
    return found


def refuse_unnamed(target: str | os.PathLike[str]) -> None:
    """Refuse an empty text as a target: it would be the current folder, whose files are replaced.

    Raises:
        DataError: it is one.
    """
    if not os.fspath(target):
        raise DataError("the target is '', as of a variable that is not set; name a file or a folder (. is this one)")


def target_of(source: Path, target: str | os.PathLike[str]) -> Path:
    """Where the result of a single file goes: into `target`, if that is a folder, or is written as one ("results/").

    Raises:
        DataError: it is an empty text.
    """
    refuse_unnamed(target)
    is_folder = os.path.isdir(target) or os.fspath(target).endswith(("/", os.sep))
    return Path(target) / written_name(Path(source.name)) if is_folder else Path(target)


def like_results(names: Sequence[str]) -> dict[str, int]:
    """Folders among recordings that may hold results of an earlier run, and how many: each recording in them has the
    name of one beside that folder, or beside a folder around it.

    Args:
        names: of all recordings, relative to the folder, with forward slashes.
    """
    there = {written_name(Path(name)).as_posix() for name in names}
    inside: dict[str, list[str]] = {}
    for name in there:
        for parent in list(Path(name).parents)[:-1]:
            inside.setdefault(parent.as_posix(), []).append(name)
    found = dict[str, int]()
    for folder, held in sorted(inside.items()):
        around = [parent.as_posix() for parent in Path(folder).parents]
        rests = [name.removeprefix(f"{folder}/") for name in held]
        is_known = any(at in found for at in around)
        if not is_known and any(all((Path(at) / rest).as_posix() in there for rest in rests) for at in around):
            found[folder] = len(held)
    return found
