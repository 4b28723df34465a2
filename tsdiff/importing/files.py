"""Reading what the published training script wrote: checkpoints, without running code in them, and YAML."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from shared.errors import CheckpointError, ConfigError
from shared.files.documents import read_yaml_file
from shared.files.pickles import Reference, load_pickle, refuse_odd_tensors, unwrapped

_RESULTS = {"config", "version", "metrics"}
# Known by name in every format of torch's files, other functions in today's only.
_FUNCTIONS = [
    (type("Reference", (Reference,), {"name": name}), name)
    for name in ("uncond_ts_diff.utils.linear_beta_schedule", "uncond_ts_diff.utils.cosine_beta_schedule")
]


class _Reader(yaml.SafeLoader):
    """Plain YAML, where a Python function that Lightning's hparams.yaml names is its name."""


_Reader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, suffix, node: suffix)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict, without prefixes of the backbone and of wrappers, and the hyperparameters, by torch's restricted
    reader.

    Hyperparameters that are functions, such as the schedule, become their names.
    """
    content = load_pickle(path, _FUNCTIONS, references=True, remedy="save the module's state_dict() alone")
    hyper: Any = {}
    if isinstance(content, Mapping) and "state_dict" in content:
        content, hyper = content["state_dict"], content.get("hyper_parameters") or {}
    if not isinstance(content, Mapping) or not isinstance(hyper, Mapping):
        raise CheckpointError(f"{path} holds no state dict")
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(f"{path}: {', '.join(others[:5])} are not tensors; save the module's state_dict() alone")
    state = {unwrapped(str(k)).removeprefix("backbone."): v for k, v in content.items()}
    refuse_odd_tensors(state, path)
    return state, {str(name): _named(value) for name, value in hyper.items()}


def _named(value: Any) -> Any:
    return getattr(value, "name", None) if isinstance(value, type) and issubclass(value, Reference) else value


def read_settings(
    config: str | os.PathLike[str] | Mapping[str, Any] | None, used: Collection[str], ignored: Collection[str]
) -> dict[str, Any]:
    """The settings of a YAML file or a mapping, of results.yaml those of its run; {} for None. A name that is neither
    used nor ignored is refused."""
    if config is None:
        return {}
    settings = config if isinstance(config, Mapping) else _parsed(Path(config))
    if isinstance(settings.get("config"), Mapping) and set(settings) <= _RESULTS:
        settings = settings["config"]
    unknown = [str(name) for name in settings if name not in used and name not in ignored]
    if unknown:
        raise ConfigError(f"unknown settings {', '.join(unknown)}; known: {', '.join(sorted(used))}")
    return dict(settings)


def _parsed(path: Path) -> Mapping[str, Any]:
    content = read_yaml_file(path, reader=_Reader)
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{path} holds a {type(content).__name__}, no settings by name; give the YAML of the training"
        )
    return content
