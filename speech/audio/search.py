"""The recordings of a folder: those that can be read, and those that are passed over, with the reason."""

from __future__ import annotations

import os
from pathlib import Path

from shared.console.notes import tell
from shared.errors import DataError
from shared.optional import install, is_there
from speech.audio.coding import AUDIO_SUFFIXES, FOREIGN_SUFFIXES


def find_audio(source: Path, target: Path | None = None) -> tuple[list[Path], dict[str, str]]:
    """The audio files below `source`, in the order of their names, without those below `target`, if one is given.

    Hidden files and folders are not looked at. Links to folders are followed, but those that lead back to a folder that
    they lie in.

    Args:
        source: a folder.
        target: a folder.

    Returns:
        The files, and what was passed over: the reason, with the remedy, by the name below `source`. Those are folders
        that may not be read, links that lead back and, without the extra "media", recordings that only FFmpeg reads.

    Raises:
        DataError: `source` is no folder, holds no audio that can be read, or is `target`.
    """
    if not os.path.isdir(source):  # False for what no file system takes as a name
        raise DataError(
            f"{source}: {'is a file' if os.path.exists(source) else 'no such folder'}; name a folder of recordings"
        )
    if target is not None and target.exists() and os.path.samefile(source, target):
        raise DataError(f"{target} is the folder of the noisy files itself; choose another for the enhanced ones")
    found, passed = list[Path](), dict[str, str]()
    inside, root = None if target is None else target.resolve(), source.resolve()
    ways = {source: frozenset((root, *root.parents))}  # to folders that are to be looked into: where they lie in truth

    def pass_over(path: Path, why: str) -> None:
        passed[path.relative_to(source).as_posix()] = why

    def unreadable(error: OSError) -> None:
        pass_over(Path(error.filename), f"the folder cannot be read ({error.strerror}); change its permissions")

    def is_searched(path: Path, way: frozenset[Path]) -> bool:
        place = path.resolve()
        if path.name.startswith(".") or place == inside:
            return False
        if place in way:
            pass_over(path, f"it leads back to {place}, which it lies in; remove the link")
            return False
        ways[path] = way | {place}
        return True

    for folder, folders, names in os.walk(source, onerror=unreadable, followlinks=True):
        here = Path(folder)
        way = ways.pop(here)
        folders[:] = [name for name in sorted(folders) if is_searched(here / name, way)]
        for name in names:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in AUDIO_SUFFIXES or (suffix in FOREIGN_SUFFIXES and is_there("av")):
                found.append(here / name)
            elif suffix in FOREIGN_SUFFIXES:
                pass_over(here / name, f"{suffix} is read by PyAV: {install('media')}; or convert it to WAV or FLAC")
    if not found:
        more = "".join(f"; {name}: {why}" for name, why in list(passed.items())[:3])
        raise DataError(
            f"{source} holds no audio files that can be read ({', '.join(AUDIO_SUFFIXES[:6])}, …); name another "
            f"folder{more}"
        )
    return sorted(found), passed


def tell_passed(folder: Path, passed: dict[str, str]) -> None:
    """Tell what `find_audio` passed over in a folder, if anything."""
    if passed:
        name, why = next(iter(passed.items()))
        tell(f"{len(passed)} files or folders below {folder} are passed over, {name} for one: {why}")
