"""Where the training of a flow map starts: a trained model's weights, a teacher, and whether settings agree."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from typing import Any

from torch import Tensor, nn

from shared.errors import CheckpointError, ConfigError
from shared.flow_maps.objectives import NO_OBJECTIVE, NO_SPAN, FlowMapObjective
from shared.flow_maps.span import SpanEmbedding
from shared.predictions import Denoiser


def check_map(denoiser: Denoiser, objective: FlowMapObjective | None) -> None:
    """Compare a network with what it is to be trained by.

    Raises:
        ConfigError: one is a flow map's and the other is not.
    """
    if denoiser.is_map != (objective is not None):
        raise ConfigError(NO_OBJECTIVE if objective is None else NO_SPAN)


def as_map(backbone: Any) -> Any:
    """The settings of a backbone as a flow map's, where they know of maps."""
    known = is_dataclass(backbone) and hasattr(backbone, "span")
    return replace(backbone, span=True) if known else backbone


def apart(one: object, other: object) -> str:
    """The settings in which a part of a model differs from another's; all of it where they are of different kinds."""
    if not is_dataclass(one) or type(one) is not type(other):
        return repr(one)
    return ", ".join(f"{name}={value!r}" for name, value in vars(one).items() if value != getattr(other, name))


def start_map(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of a model that is no map, or of a map, into a map that is like it otherwise. What tells a map
    the span keeps its own weights where the other has none, which begin as no change.

    Raises:
        CheckpointError: the weights are of another model.
    """
    own = model.state_dict()
    places = [name for name, module in model.named_modules() if isinstance(module, SpanEmbedding)]
    fresh = {name for name in own if name.startswith(tuple(f"{place}." for place in places)) and name not in weights}
    missing, unexpected = set(own) - fresh - set(weights), set(weights) - set(own)
    if missing or unexpected:
        name = min(missing | unexpected)
        raise CheckpointError(f"a flow map cannot start from these weights, which differ in {name!r}")
    model.load_state_dict({**{name: own[name] for name in fresh}, **weights})


def frozen_copy(denoiser: Denoiser) -> Denoiser:
    """The network as it is now, as a teacher."""
    return copy.deepcopy(denoiser).eval().requires_grad_(False)
