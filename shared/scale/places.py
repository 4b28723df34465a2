"""Where results go: a folder, or what fsspec writes to, such as s3://bucket/sales; with what jobs need of a path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from shared.errors import ConfigError, DiffusionError
from shared.files.documents import parse_json, read_json
from shared.files.io import UNFINISHED, atomic_path, json_text
from shared.optional import needed


@dataclass(frozen=True)
class Remote:
    """A file or a folder of a file system of fsspec.

    A file is written by one call, which object stores finish whole or not at all.

    Attributes:
        address: with its scheme, without a slash at its end.
    """

    address: str

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.address}/{name}")

    def __str__(self) -> str:
        return self.address

    @property
    def _opened(self) -> tuple[Any, str]:
        """The file system, which fsspec keeps, and the path there, of which it is to remember nothing."""
        try:
            files, path = needed("fsspec", "scale", f"writing {self.address}").core.url_to_fs(self.address)
        except (ValueError, ImportError, OSError) as error:
            if isinstance(error, DiffusionError):
                raise
            raise ConfigError(f"{self.address} cannot be written ({error}); choose another folder") from error
        files.invalidate_cache(path)
        return files, path

    def exists(self) -> bool:
        """Whether something is there."""
        files, path = self._opened
        return bool(files.exists(path))

    def read_bytes(self) -> bytes:
        """What a file holds."""
        files, path = self._opened
        return bytes(files.cat_file(path))

    def write_bytes(self, content: bytes) -> None:
        """Write a file, and the folders that it is in where there are such."""
        files, path = self._opened
        files.makedirs(os.path.dirname(path), exist_ok=True)
        files.pipe_file(path, content)

    def remove(self) -> None:
        """Remove a file, if it is there."""
        files, path = self._opened
        if files.exists(path):
            files.rm_file(path)

    def stems(self, suffix: str) -> list[str]:
        """Names, without their suffix, of the files in a folder that have it."""
        files, path = self._opened
        if not files.exists(path):
            return []
        names = [os.path.basename(name) for name in files.ls(path, detail=False)]
        return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))


Folder: TypeAlias = Path | Remote
"""Of results."""


def folder_of(address: str | os.PathLike[str]) -> Folder:
    """The folder at an address; of this machine's file system, whatever its address, it is a path."""
    text = os.fspath(address)
    scheme, found, rest = text.partition("://")
    if not found:
        return Path(address)
    return Path(rest) if scheme in ("file", "local") else Remote(text.rstrip("/"))


def write_whole(place: Folder, content: bytes) -> None:
    """Write a file so that a stop at any moment leaves all of it or nothing."""
    if isinstance(place, Remote):
        place.write_bytes(content)
        return
    with atomic_path(place) as temporary:
        temporary.write_bytes(content)


def write_record(place: Folder, value: Mapping[str, Any]) -> None:
    """Write a JSON file."""
    write_whole(place, json_text(value).encode())


def read_record(place: Folder, error: type[DiffusionError] = ConfigError, remedy: str = "") -> Any:
    """What a JSON file holds; see `shared.files.documents.read_json`."""
    if isinstance(place, Path):
        return read_json(place, error, remedy)
    return parse_json(place.read_bytes().decode("utf-8", "replace"), str(place), error, remedy)


def stems(folder: Folder, suffix: str) -> list[str]:
    """Names, without their suffix, of the files in a folder that have it and are whole."""
    if isinstance(folder, Remote):
        return folder.stems(suffix)
    return sorted(one.stem for one in folder.glob(f"*{suffix}") if not one.name.startswith(UNFINISHED))


def remove(place: Folder) -> None:
    """Remove a file, if it is there."""
    place.remove() if isinstance(place, Remote) else place.unlink(missing_ok=True)
