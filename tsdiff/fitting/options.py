"""What `TSDiffEstimator.train` is given besides settings: options for Lightning, and fields that nothing is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import ConfigError
from tsdiff.data.covariates import DYNAMIC, REALS
from tsdiff.windows.config import WindowConfig

_FIT_OPTIONS = ("accelerator", "devices", "strategy", "num_nodes", "callbacks", "logger")
_INSTEAD = {
    "ckpt_path": "use folder=…, from which an interrupted training goes on",
    "num_workers": "use TSDiffEstimator(…).with_training(num_workers=…)",
    "num_prefetch": "leave it out",
    "item_id": "fit takes the name of the column as id_column=…",
    "timestamp": "fit takes the name of the column as timestamp_column=…",
}

_TAKEN_BY = {DYNAMIC: "dynamic_features", REALS: "static_features"}
"""Fields of entries, and the settings by which a model takes them. Categories are not here: the public sets number
their series by one."""


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what `train` cannot hand on, with the remedy."""
    for name, value in options.items():
        if name not in _FIT_OPTIONS:
            remedy = _INSTEAD.get(
                name, f"train takes {', '.join(_FIT_OPTIONS)} besides; settings go to TSDiffEstimator"
            )
            raise ConfigError(f"{name}={value!r}: {remedy}")


def unused(config: WindowConfig) -> dict[str, str]:
    """Fields of covariates that a model is made without, and how it would take them."""
    return {
        field: f"TSDiffEstimator(…, {name}=…), their number, takes it"
        for field, name in _TAKEN_BY.items()
        if not getattr(config, name)
    }
