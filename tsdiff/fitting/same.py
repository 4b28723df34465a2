"""Whether a saved training state is of the training that is to go on from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback

from shared.console.notes import tell
from shared.errors import CheckpointError
from shared.training.config import TrainingConfig
from tsdiff.data.store import SeriesStore

_SERIES = "series"
_DECIDING = (
    "config",
    "loss",
    "flow_map",
    "start_from",
    "missing",
    "batch_size",
    "scale_power",
    "horizon_weight",
    "hold_out",
)
"""Settings of an estimator that decide what its training comes to, beside those of the training."""
_MAY_CHANGE = ("max_steps", "accumulate", "num_workers", "save_every_seconds", "precision", "compile")
"""Settings of a training with which it goes on from a state that was saved under others."""


class SameTraining(Callback):
    """Keeps what a training is with its state, and refuses to go on from the state of another one.

    Args:
        store: the series.
        settings: of the estimator and its `train`, by name; those of `_DECIDING` count.
        training: its training's; those of `_MAY_CHANGE` do not count.
    """

    def __init__(self, store: SeriesStore, settings: Mapping[str, object], training: TrainingConfig):
        deciding = {name: settings[name] for name in _DECIDING}
        deciding |= {name: value for name, value in vars(training).items() if name not in _MAY_CHANGE}
        self.told = {_SERIES: digest_of(store), **as_text(deciding)}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say where the state has more steps behind it than are asked for: it is what the training comes to."""
        made = checkpoint["global_step"]
        if made > trainer.max_steps and trainer.is_global_zero:
            tell(
                f"the training state in folder=… has {made} steps, more than max_steps={trainer.max_steps}: its "
                "weights are taken; pass resume=False to train anew"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"told": self.told}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare with a saved state; what that does not tell is not compared.

        Raises:
            CheckpointError: it is of other series or settings.
        """
        saved = state_dict["told"]
        others = [name for name in self.told if saved.get(name, self.told[name]) != self.told[name]]
        if others:
            name = others[0]
            what = "other series" if name == _SERIES else f"a training with {name}={saved[name]}, not {self.told[name]}"
            raise CheckpointError(
                f"the training state in folder=… is of {what}; give this training a folder of its own, or pass "
                "resume=False to train anew"
            )


def as_text(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings by name; those of a dataclass by its name, a point and theirs."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if is_dataclass(value) and not isinstance(value, type):
            found[name] = type(value).__name__
            found |= as_text({f"{name}.{one.name}": getattr(value, one.name) for one in fields(value)})
        else:
            found[name] = repr(value)
    return found


def digest_of(store: SeriesStore) -> str:
    """A number, in hexadecimal digits, that other series, starts or covariates do not have."""
    digest = hashlib.blake2b(digest_size=16)
    for place in range(len(store)):
        digest.update(f"{store.name(place)} {store.start(place)} {store.lengths[place]}".encode())
        for part in (store.target(place), store.dynamic(place), store.categories(place), store.reals(place)):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
