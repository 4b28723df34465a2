"""Reading what the published training script wrote: checkpoints, without running code in them, and YAML."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from shared.documents import read_yaml_file
from shared.errors import CheckpointError, ConfigError
from shared.pickles import load_pickle, refuse_odd_tensors


class _Inert:
    """Stands for a function of the published code that a checkpoint names; it does nothing."""

    def __init__(self, *_: Any) -> None: ...


class _Linear(_Inert):
    """In the place of the linear schedule."""


class _Cosine(_Inert):
    """In the place of the cosine schedule."""


_STAND_INS = [
    (_Linear, "uncond_ts_diff.utils.linear_beta_schedule"),
    (_Cosine, "uncond_ts_diff.utils.cosine_beta_schedule"),
]


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict of the backbone and the hyperparameters, by torch's restricted reader."""
    content = load_pickle(path, _STAND_INS, remedy="save the module's state_dict() alone")
    hyper: Any = {}
    if isinstance(content, Mapping) and "state_dict" in content:
        content, hyper = content["state_dict"], content.get("hyper_parameters") or {}
    if not isinstance(content, Mapping) or not isinstance(hyper, Mapping):
        raise CheckpointError(f"{path} holds no state dict")
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(f"{path}: {', '.join(others[:5])} are not tensors; save the module's state_dict() alone")
    state = {str(k).removeprefix("backbone."): v for k, v in content.items()}
    refuse_odd_tensors(state, path)
    return state, {str(name): value for name, value in hyper.items()}


def read_settings(
    config: str | os.PathLike[str] | Mapping[str, Any] | None, used: Collection[str], ignored: Collection[str]
) -> dict[str, Any]:
    """The settings of a YAML file or a mapping; {} for None. A name that is neither used nor ignored is refused."""
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        config = read_yaml_file(config)
        if not isinstance(config, Mapping):
            raise ConfigError("the configuration is not a mapping of settings")
    unknown = [str(name) for name in config if name not in used and name not in ignored]
    if unknown:
        raise ConfigError(f"unknown settings {', '.join(unknown)}; known: {', '.join(sorted(used))}")
    return dict(config)
