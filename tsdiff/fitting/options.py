"""What `TSDiffEstimator.train` hands on to Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import ConfigError

_FIT_OPTIONS = ("accelerator", "devices", "strategy", "num_nodes", "callbacks", "logger")
_INSTEAD = {
    "ckpt_path": "use folder=…, from which an interrupted training goes on",
    "num_workers": "use the estimator's training=TrainingConfig(num_workers=…)",
    "num_prefetch": "leave it out",
    "item_id": "fit takes the name of the column as id_column=…",
    "timestamp": "fit takes the name of the column as timestamp_column=…",
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what `train` cannot hand on, with the remedy."""
    for name, value in options.items():
        if name not in _FIT_OPTIONS:
            remedy = _INSTEAD.get(
                name, f"train takes {', '.join(_FIT_OPTIONS)} besides; settings go to TSDiffEstimator"
            )
            raise ConfigError(f"{name}={value!r}: {remedy}")
