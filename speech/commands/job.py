"""What `speech enhance` is asked to do: what is enhanced, and where to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.console.command import claim_output, note
from shared.errors import ConfigError, DataError
from speech.audio.coding import AUDIO_SUFFIXES, FOREIGN_SUFFIXES, RawFormat, written_name
from speech.audio.loudness import LoudnessGoal, checked_goal
from speech.audio.search import find_audio
from speech.commands.options import Enhance
from speech.commands.pipes import STANDARD, is_pipe, name_of, spooled, standard_output
from speech.commands.replacing import refuse_or_ask
from speech.inference.plan import Existing, Plan, plan_files, plan_folder, refuse_unnamed, target_of


@dataclass(frozen=True)
class Job:
    """What is enhanced, and where to.

    Attributes:
        source, target: files, or folders.
        several: recordings that are enhanced into the folder `target`, where there are; `source` is the first of them.
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
    several: tuple[Path, ...] = ()

    @property
    def is_many(self) -> bool:
        """Whether there are many recordings, or may be, and `target` is a folder."""
        return bool(self.several) or self.source.is_dir()

    def plan(self) -> Plan:
        """What would be done."""
        if self.several:
            return plan_files(self.several, self.target, self.existing, self.raw, self.track)
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
        if not self.is_many:
            return self.source, self.target
        noisy = next((path for path in self.several if path.name == name), self.source / name)
        return noisy, self.target / written_name(Path(name))

    def told(self, text: str) -> str:
        """A message, with what the user calls the source in place of where it lies."""
        return text if self.name is None else text.replace(str(self.source), self.name)


@contextlib.contextmanager
def job_of(options: Enhance) -> Iterator[Job]:
    """What the options ask for. The folder for the report, if any, is made; what comes through a pipe is read.

    Raises:
        ConfigError: options that do not go together.
        DataError: no such recording, or a target that cannot be, or may not be replaced.
        typer.Abort: who sits at the terminal does not want it replaced.
    """
    if options.more:
        yield _several(options)
        return
    loudness, raw = checked_goal(options.loudness), _raw(options)
    source, output, piped = options.source, options.output, options.target == str(STANDARD)
    if options.target is not None:
        refuse_unnamed(options.target)
    elif output is None:
        output = Path("runs/enhance")
    if source != STANDARD and not source.exists():
        raise DataError(f"{source}: no such file or folder; name a recording, or a folder of them")
    if piped and source.is_dir():
        raise DataError(f"{source} is a folder, which standard output does not take; name a folder for the results")
    if piped and options.picture and output is None:
        raise ConfigError("--picture draws beside OUT, which is standard output; give --output FOLDER")
    target = _target(options, output)
    _tell_kind(source, target)
    if options.overwrite is None and options.target is not None and not (piped or source.is_dir()):
        refuse_or_ask(source, target, raw, options.track, options.dry_run)
    if output is not None and not options.dry_run:
        claim_output(output)
    overwrite = options.overwrite if options.overwrite is not None else not source.is_dir()
    existing: Existing = "overwrite" if overwrite else "skip"
    name = name_of(source) if is_pipe(source) else None
    with contextlib.ExitStack() as stack:
        if name is not None:
            source = stack.enter_context(spooled(source, raw is not None))
        if piped and not options.dry_run:
            target = stack.enter_context(standard_output())
        yield Job(source, target, name, output, piped, raw, loudness, options.track, existing)


def _several(options: Enhance) -> Job:
    """What is asked for by three names or more.

    Raises:
        DataError: the last is no folder, or one of the others can only be enhanced alone.
    """
    assert options.target is not None
    assert options.more
    names = [str(options.source), options.target, *options.more]
    for name in names:
        refuse_unnamed(name)
    last = names.pop()
    if not (os.path.isdir(last) or last.endswith(("/", os.sep))):
        remedy = "name a folder last" if os.path.exists(last) else f"{last}/ makes it one"
        raise DataError(f"{last} is no folder; of three names or more the last is one for all results: {remedy}")
    several = tuple(Path(name) for name in names)
    for path in several:
        if path.is_dir():
            raise DataError(f"{path} is a folder, which is enhanced alone: speech enhance {path} {last}")
        if is_pipe(path):
            raise DataError(f"{name_of(path)} is enhanced alone; leave it out here")
    if options.output is not None and not options.dry_run:
        claim_output(options.output)
    return Job(
        source=several[0],
        target=Path(last),
        name=None,
        output=options.output,
        piped=False,
        raw=_raw(options),
        loudness=checked_goal(options.loudness),
        track=options.track,
        existing="overwrite" if options.overwrite else "skip",
        several=several,
    )


def _target(options: Enhance, output: Path | None) -> Path:
    """Where the result of the options' source goes, or those of its recordings; without OUT into `output`.

    Raises:
        DataError: a file for the results of a folder.
    """
    source, target = options.source, options.target
    if target is None:
        assert output is not None
        return output / "enhanced" if source.is_dir() else output / "enhanced" / _called(source)
    if target == str(STANDARD):
        return Path("stdout.wav")
    if not source.is_dir():
        return target_of(_called(source), target)
    if Path(target).is_file():
        raise DataError(f"{target} is a file, {source} a folder; name a folder for the enhanced files")
    return Path(target)


def _called(source: Path) -> Path:
    """The name that a recording's result has in a folder."""
    if is_pipe(source):
        return Path("stdin.wav" if source == STANDARD else f"{source.name}.wav")
    return written_name(Path(source.name))


def _tell_kind(source: Path, target: Path) -> None:
    """What a target becomes that is named as a folder and is a file, or the other way round."""
    if target.exists():
        return
    if source.is_file() and not target.suffix:
        note(f"{target} becomes a file, as its name has no suffix; {target}/ is a folder")
    elif source.is_dir() and target.suffix.lower() in {*AUDIO_SUFFIXES, *FOREIGN_SUFFIXES}:
        note(f"{target} becomes a folder, as {source} is one")


def _raw(options: Enhance) -> RawFormat | None:
    """What .raw files hold, where the options tell it.

    Raises:
        ConfigError: they tell no rate, or what cannot be.
    """
    if options.raw_rate is not None:
        if options.source.is_file() and options.source.suffix.lower() != ".raw":
            note(f"--raw-rate is of .raw files; {options.source} is read as it says itself")
        return RawFormat(options.raw_rate, options.raw_channels, options.raw_subtype)
    if (options.raw_channels, options.raw_subtype) != (Enhance.raw_channels, Enhance.raw_subtype):
        raise ConfigError("--raw-channels and --raw-subtype are of .raw files; give their --raw-rate too")
    return None
