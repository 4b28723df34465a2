"""What lets `gluonts.core.serde` write an estimator: our settings are frozen dataclasses, encoded by their fields."""

from __future__ import annotations

from inspect import signature
from typing import Any

from gluonts.core import fqname_for
from gluonts.core.serde import encode

from shared.flow_maps.objectives import FlowMapObjective
from shared.noise import Kernel, Noise
from shared.objectives import DiffusionLoss, TimeSampler
from shared.sde import SDE
from shared.training.config import TrainingConfig
from tsdiff.model.backbones import S4Config, S4DConfig, SpaceTimeConfig
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.missing import MissingContext
from tsdiff.windows.transforms import Transform


def _by_fields(value: Any) -> dict[str, Any]:
    given = {name: encode(getattr(value, name)) for name in signature(type(value)).parameters}
    return {"__kind__": "instance", "class": fqname_for(type(value)), "args": [], "kwargs": given}


def register() -> None:
    """Teach GluonTS to encode the settings of an estimator."""
    parts = (SDE, Noise, Kernel, S4DConfig, S4Config, SpaceTimeConfig, Transform, FlowMapObjective)
    for kind in (TrainingConfig, Sampling, DiffusionLoss, TimeSampler, MissingContext, *parts):
        encode.register(kind, _by_fields)
