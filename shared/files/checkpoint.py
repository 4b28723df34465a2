"""Models on disk: `config.json` and `model.safetensors` in one folder.

The weights file carries the configuration in its header too, and is the truth: both files cannot be replaced in one
instant, and so a save that stops between them still leaves a model that belongs together.
"""

from __future__ import annotations

import json
import os
import stat
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, contiguous_format, nn

from shared.errors import CheckpointError, MissingPackageError, first_few, first_line
from shared.files.budget import Budget
from shared.files.documents import parse_json, read_json
from shared.files.io import atomic_path, held, temporary_path, write_json
from shared.files.settings import dataclass_from
from shared.optional import needed
from shared.precision import single

CONFIG = "config.json"
"""Name of a model's configuration in its folder."""
WEIGHTS = "model.safetensors"
"""Name of a model's weights in its folder."""
_OF_MODELS = ["*.json", WEIGHTS, f"*/{WEIGHTS}"]
"""What a model's folder may have: settings, weights, and folders of models that belong to it, such as a companion."""
_ALONE = [CONFIG, WEIGHTS]
"""What a model is no model without."""
_REMEDY = "copy or train the model again"
_PATIENCE = 10.0
"""Seconds for which processes that change a folder's files wait for each other; a training holds its own for hours."""
T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


def save_checkpoint(
    folder: str | os.PathLike[str], kind: str, version: int, config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Write a model's configuration and weights to `folder`, each file atomically.

    Args:
        folder: made if need be.
        kind: what the model is ("tsdiff"); checked on loading.
        version: of the configuration's layout.
        config: JSON-ready settings.
        state: tensors by name.
    """
    folder = Path(folder)
    full = {"format": kind, "version": version, **config}
    # Copies, for safetensors refuses tensors that share memory, as the tied weights of a network do.
    tensors = {
        _uncompiled(name): tensor.detach().cpu().clone(memory_format=contiguous_format)
        for name, tensor in state.items()
    }
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors, metadata={"config": json.dumps(full)}))
    write_json(folder / CONFIG, full)


def _uncompiled(name: str) -> str:
    """The name of a weight as it is without `torch.compile`, which wraps a network in a module of its own."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


@contextmanager
def replacing(
    folder: str | os.PathLike[str],
    own: str = WEIGHTS,
    others: Collection[str] = (),
    parts: Callable[[], Collection[Path]] = tuple,
) -> Iterator[Path]:
    """Yield an empty folder, to write a model in with all that belongs to it, in folders of their own too; at the end
    its files take the place of those of the model in `folder`, of which other files stay.

    An error, or a stop before the end, leaves that one as it was. A stop while they change places leaves a folder that
    lacks `own`, and so is refused where it is read: never the weights of one with the settings of another. Processes
    that end at once take turns. Files keep the permissions of those that they replace; a link is replaced itself.

    Args:
        folder: made if need be.
        own: name of the file that a folder is no model without; it is put there last.
        others: names of files that models of other kinds have, which are removed, as their weights are.
        parts: files that the model in `folder` has in folders of their own, asked at the end; those that nothing takes
            the place of are removed, and so are folders that are empty without them.
    """
    folder = Path(folder)
    with temporary_path(folder, folder=True) as made:
        yield made
        files = sorted((one for one in made.rglob("*") if one.is_file()), key=(made / own).__eq__)
        targets = [folder / one.relative_to(made) for one in files]
        with held(folder, patience=_PATIENCE):
            left = set(parts()) - set(targets)
            _change_places(files, targets, {own, WEIGHTS, *others})
            for file in left:
                file.unlink(missing_ok=True)
            for place in {file.parent for file in left}:
                with suppress(OSError):  # it holds other files, or is not there
                    place.rmdir()


def _change_places(files: Sequence[Path], targets: Sequence[Path], removed: Collection[str]) -> None:
    """Put files in the places of others, the last of them last; files of the `removed` names go first."""
    for one, target in zip(files, targets, strict=True):
        if target.is_file():
            one.chmod(stat.S_IMODE(target.stat().st_mode))
    places = sorted({target.parent for target in targets})
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for place in places:  # the folder itself first
        for name in removed:
            (place / name).unlink(missing_ok=True)
    for one, target in zip(files, targets, strict=True):
        os.replace(one, target)


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """See that a file is the same one at the end, and so that all that was read in its folder belongs together: where
    `replacing` writes, it is gone before others are replaced, and there again after them.

    Raises:
        CheckpointError: it is not.
    """
    before = _identity(path)
    yield
    _refuse_another(path, before)


def _refuse_another(path: Path, before: tuple[int, int, int] | None) -> None:
    if before is None or _identity(path) != before:
        raise CheckpointError(f"{path.parent} was written anew while it was read; read it again")


def _identity(path: Path) -> tuple[int, int, int] | None:
    """By which a file is told from one that takes its place."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size


@dataclass(frozen=True)
class Saved:
    """A model on disk, of which the configuration and the names and shapes of its tensors were read.

    Attributes:
        folder: where it is.
        config: without its header.
        shapes: of the tensors, by name.
        identity: of the weights' file when these were read.
    """

    folder: Path
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    identity: tuple[int, int, int] | None

    def settings(self, cls: type[T], custom: Sequence[type] = ()) -> T:
        """The configuration as a typed dataclass; raises as `dataclass_from`, which tells what `custom` is."""
        return dataclass_from(cls, self.config, str(self.folder), custom=custom)

    def state(self) -> dict[str, Tensor]:
        """The tensors, on the CPU.

        Raises:
            CheckpointError: they cannot be read, or were written anew since.
        """
        weights = self.folder / WEIGHTS
        try:
            with safe_open(weights, framework="pt", device="cpu") as file:
                made = {name: file.get_tensor(name) for name in self.shapes}
        except _UNREADABLE as error:
            raise _unreadable(weights, error) from error
        _refuse_another(weights, self.identity)
        return made

    def restore(self, build: Callable[[], M], optional: Collection[str] = ()) -> M:
        """The module that `build` makes, with these tensors, for evaluation.

        Names and shapes are compared before the tensors are read; see `shared.files.budget` for what `build` may take.

        Args:
            build: makes the module.
            optional: names of tensors that keep the module's own values where the file lacks them.

        Raises:
            CheckpointError: `build` fails, or names or shapes differ; the message names them.
        """
        origin = str(self.folder)
        module = built(build, self.shapes, origin)
        fresh = module.state_dict()
        kept = {name: fresh[name] for name in optional if name in fresh and name not in self.shapes}
        check_shapes({**self.shapes, **shapes_of(kept)}, shapes_of(fresh), origin)
        load_state(module, {**self.state(), **kept}, origin)
        return module.eval()


_UNREADABLE = (SafetensorError, OSError, ValueError, TypeError, MemoryError, RuntimeError)


def _unreadable(weights: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{weights} cannot be read ({error}); it may be truncated: copy or train it again")


def open_checkpoint(folder: str | os.PathLike[str], kind: str, version: int) -> Saved:
    """What `save_checkpoint` wrote, its tensors not yet read.

    Raises:
        CheckpointError: a file is missing or truncated, or holds another kind or version of model.
    """
    folder = Path(folder)
    weights = folder / WEIGHTS
    identity = _identity(weights)
    if not weights.is_file():
        inside = folder / "model"  # where a training leaves it
        halved = "; if saving it was stopped, save or train it again" if (folder / CONFIG).is_file() else ""
        remedy = f"; give {inside}, which does" if (inside / WEIGHTS).is_file() else halved
        raise CheckpointError(f"{folder} holds no {WEIGHTS}; a model folder has {CONFIG} and {WEIGHTS}{remedy}")
    try:
        with safe_open(weights, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except _UNREADABLE as error:
        raise _unreadable(weights, error) from error
    config = _read_config(folder / CONFIG, metadata.get("config"))
    found_kind, found_version = config.pop("format", None), config.pop("version", None)
    if found_kind != kind:
        raise CheckpointError(f"{folder} holds a model of format {found_kind!r}, not {kind!r}")
    if found_version != version:
        raise CheckpointError(
            f"{folder} was saved as version {found_version} of format {kind!r}, this release reads {version}; "
            "train it again, or install the release that made it"
        )
    return Saved(folder, config, shapes, identity)


def _read_config(path: Path, embedded: str | None) -> dict[str, Any]:
    beside: Any = None
    if path.exists():
        try:
            beside = read_json(path, CheckpointError, _REMEDY)
        except CheckpointError:
            if embedded is None:
                raise
            warnings.warn(f"{path} cannot be read; the configuration inside {WEIGHTS} is used", stacklevel=4)
    if embedded is None:
        if not isinstance(beside, dict):
            raise CheckpointError(f"{path} is missing or not a JSON object, and the weights carry no configuration")
        return beside
    weights = path.with_name(WEIGHTS)
    config = parse_json(embedded, f"the configuration in {weights}", CheckpointError, _REMEDY)
    if not isinstance(config, dict):
        raise CheckpointError(f"{weights} carries a configuration that is not a JSON object; {_REMEDY}")
    if beside is not None and beside != config:
        warnings.warn(f"{path} differs from the configuration inside {WEIGHTS}, which is used", stacklevel=4)
    return config


def _kind_of(folder: Path) -> Any:
    """The format of what a folder holds; None where it does not say."""
    return _read_config(folder / CONFIG, None).get("format") if (folder / CONFIG).is_file() else None


def built(build: Callable[[], M], shapes: Mapping[str, Sequence[int]], origin: str) -> M:
    """The module that settings of a file make, if it is about as large as what the file holds.

    Args:
        build: makes the module.
        shapes: of the file's tensors.
        origin: of the settings, for the message.

    Raises:
        CheckpointError: `build` fails, or the module is too large.
    """
    try:
        with Budget(list(shapes.values()), origin), single():
            return build()
    except CheckpointError:
        raise
    except (ValueError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"settings in {origin} do not make a model: {first_line(error)}; {_REMEDY}") from error


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def check_shapes(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], origin: str) -> None:
    """Compare the names and shapes of tensors.

    Raises:
        CheckpointError: keys are missing, unexpected, or of another shape; the message names them.
    """
    if problems := differences(found, wanted):
        raise CheckpointError(f"{origin} does not fit the model: {problems}; {_REMEDY}")


def differences(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> str:
    """In which names and shapes tensors differ from those that are wanted, up to five; empty where in none."""
    problems = [f"missing key {name!r}" for name in wanted if name not in found]
    problems += [f"unexpected key {name!r}" for name in found if name not in wanted]
    problems += [
        f"key {name!r} has shape {found[name]} where the model has {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    return first_few(problems, 5, "; ")


def load_state(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load `state` into `module`, strictly.

    Raises:
        CheckpointError: keys are missing, unexpected, or of another shape; the message names them. Or a tensor is
            complex or whole numbers where the model has real ones, or has values that its layer refuses; or weights
            are not finite, of which nothing but NaN would come.
    """
    own = module.state_dict()
    check_shapes(shapes_of(state), shapes_of(own), origin)
    for name, tensor in own.items():
        if state[name].is_complex() != tensor.is_complex() or (
            tensor.is_floating_point() and not state[name].is_floating_point()
        ):
            raise CheckpointError(f"{origin}: {name!r} is {state[name].dtype}, the model's {tensor.dtype}; {_REMEDY}")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{origin}: {str(error).splitlines()[-1].strip()}; {_REMEDY}") from error
    for name, weights in module.named_parameters():
        if not torch.isfinite(weights).all():
            raise CheckpointError(f"{origin}: {name!r} has values that are not finite; {_REMEDY}")


def resolve(path_or_name: str | os.PathLike[str], bundled: Path, kind: str | None = None) -> Path:
    """The folder of a model: a bundled name, an existing folder, or a hub id ("owner/name", needs the extra "hub").

    A bundled name means the bundled model, whatever lies in the current folder: a folder of that name is "./name". A
    `Path` is never a name. From a hub come the weights, all settings, and those of models in folders of the model's.
    Where no hub is reached, a cache that has the weights and their settings alone serves, with a warning.

    Raises:
        CheckpointError: nothing of that name, or a file; the message tells what there is of this kind.
    """
    path, name = Path(path_or_name), os.fspath(path_or_name)
    names = sorted(p.parent.name for p in bundled.glob(f"*/{WEIGHTS}"))
    if name in names and isinstance(path_or_name, str):
        if (path / WEIGHTS).is_file():
            warnings.warn(f"{name!r} is the bundled model; the one in the folder here is './{name}'", stacklevel=3)
        return bundled / name
    if os.path.isdir(path):  # False for what no file system takes as a name
        return path
    if os.path.isfile(path):
        raise CheckpointError(
            f"{name!r} is a file; a model is a folder with {CONFIG} and {WEIGHTS}: give that (a published checkpoint "
            "is read by import_checkpoint, and saved as such a folder by save_pretrained)"
        )
    if isinstance(path_or_name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _from_hub(name)
    names = [each for each in names if kind is None or _kind_of(bundled / each) == kind]
    known = f"bundled names: {', '.join(names)}" if names else "no model is bundled with this release"
    raise CheckpointError(f"{name!r} is neither a folder, a bundled name nor a hub id; {known}")


def _from_hub(name: str) -> Path:
    try:
        hub = needed("huggingface_hub", "hub", f"{name!r} is no folder here, and fetching it from a hub")
    except MissingPackageError as error:
        raise CheckpointError(str(error)) from error
    try:
        return Path(hub.snapshot_download(name, allow_patterns=_OF_MODELS))
    except Exception as error:  # the hub's client raises a wide family of errors; each means the same to a user
        cached = _cached(hub, name)
        if cached is None:
            told = f"{name!r} is no folder here and could not be fetched from the hub: {error}"
            raise CheckpointError(told) from error
        warnings.warn(f"of {name!r} the weights in the cache are used, by themselves: {error}", stacklevel=4)
        return cached


def _cached(hub: Any, name: str) -> Path | None:
    """The weights of a model and their settings in the client's cache, where they may lie alone: earlier releases
    fetched no more, which the client takes for incomplete."""
    with suppress(Exception):  # as of a fetch; what that raised tells more
        folder = Path(hub.snapshot_download(name, allow_patterns=_ALONE, local_files_only=True))
        return folder if all((folder / file).is_file() for file in _ALONE) else None
    return None
