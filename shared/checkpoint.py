"""Models on disk: `config.json` and `model.safetensors` in one folder.

The weights file carries the configuration in its header too, and is the truth: both files cannot be replaced in one
instant, and so a save that stops between them still leaves a model that belongs together.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from shared.errors import CheckpointError
from shared.io import atomic_path, write_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_REMEDY = "copy or train the model again"
T = TypeVar("T")


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
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors, metadata={"config": json.dumps(full)}))
    write_json(folder / CONFIG, full)


def load_checkpoint(
    folder: str | os.PathLike[str], kind: str, version: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `save_checkpoint` wrote: the configuration without its header, and the tensors on the CPU.

    Raises:
        CheckpointError: a file is missing or truncated, or holds another kind or version of model.
    """
    folder = Path(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{folder} holds no {WEIGHTS}; a model folder has {CONFIG} and {WEIGHTS}")
    try:
        with safe_open(weights, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{weights} cannot be read ({error}); it may be truncated: copy or train it again"
        ) from error
    config = _read_config(folder / CONFIG, metadata.get("config"))
    found_kind, found_version = config.pop("format", None), config.pop("version", None)
    if found_kind != kind:
        raise CheckpointError(f"{folder} holds a model of format {found_kind!r}, not {kind!r}")
    if found_version != version:
        raise CheckpointError(
            f"{folder} was saved as version {found_version} of format {kind!r}, this release reads {version}; "
            "train it again, or install the release that made it"
        )
    return config, state


def _read_config(path: Path, embedded: str | None) -> dict[str, Any]:
    beside: dict[str, Any] | None = None
    try:
        beside = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        if embedded is None:
            raise CheckpointError(f"{path} is not valid JSON ({error}); copy or train the model again") from error
    if embedded is None:
        if not isinstance(beside, dict):
            raise CheckpointError(f"{path} is missing or not a JSON object, and the weights carry no configuration")
        return beside
    config = _embedded_config(path.with_name(WEIGHTS), embedded)
    if beside is not None and beside != config:
        warnings.warn(f"{path} differs from the configuration inside {WEIGHTS}, which is used", stacklevel=3)
    return config


def _embedded_config(weights: Path, text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{weights} carries a damaged configuration ({error}); {_REMEDY}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{weights} carries a configuration that is not a JSON object; {_REMEDY}")
    return config


def load_state(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load `state` into `module`, strictly.

    Raises:
        CheckpointError: keys are missing, unexpected, or of another shape; the message names them.
    """
    own = module.state_dict()
    problems = [f"missing key {name!r}" for name in own if name not in state]
    problems += [f"unexpected key {name!r}" for name in state if name not in own]
    problems += [
        f"key {name!r} has shape {tuple(state[name].shape)} where the model has {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{origin} does not fit the model: {'; '.join(problems[:5])}{more}; {_REMEDY}")
    module.load_state_dict(state)


def dataclass_from(cls: type[T], values: Mapping[str, Any], origin: str) -> T:
    """A typed dataclass from JSON values, checked by pydantic; unknown names are refused.

    Raises:
        CheckpointError: names the settings that are unknown, missing or of the wrong type.
    """
    adapter: TypeAdapter[T] = TypeAdapter(with_config(ConfigDict(extra="forbid", strict=False))(cls))
    try:
        return adapter.validate_python(dict(values))
    except ValidationError as error:
        details = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise CheckpointError(f"settings in {origin} do not fit {cls.__name__}: {details}; {_REMEDY}") from error


def resolve(path_or_name: str | os.PathLike[str], bundled: Path, cache_dir: str | None = None) -> Path:
    """The folder of a model: a bundled name, an existing folder, or a hub id ("owner/name", needs the extra "hub").

    A bundled name means the bundled model, whatever lies in the current folder: a folder of that name is "./name". A
    `Path` is never a name.

    Raises:
        CheckpointError: nothing of that name; the message tells what there is.
    """
    path, name = Path(path_or_name), os.fspath(path_or_name)
    names = sorted(p.parent.name for p in bundled.glob(f"*/{WEIGHTS}"))
    if name in names and isinstance(path_or_name, str):
        if (path / WEIGHTS).is_file():
            warnings.warn(f"{name!r} is the bundled model; the one in the folder here is './{name}'", stacklevel=3)
        return bundled / name
    if os.path.isdir(path):  # False for what no file system takes as a name
        return path
    if isinstance(path_or_name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _from_hub(name, cache_dir)
    known = f"bundled names: {', '.join(names)}" if names else "no model is bundled with this release"
    raise CheckpointError(f"{name!r} is neither a folder, a bundled name nor a hub id; {known}")


def _from_hub(name: str, cache_dir: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            f"{name!r} is no folder here; to fetch it from a hub: pip install 'anchored-diffusion[hub]'"
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS], cache_dir=cache_dir))
    except Exception as error:  # the hub's client raises a wide family of errors; each means the same to a user
        raise CheckpointError(f"{name!r} is no folder here and could not be fetched from the hub: {error}") from error
