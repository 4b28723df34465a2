"""A backbone with what it is told: how noisy a window is, and what is known of its points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.kinds import kind_of
from shared.sde import DiscreteVPSDE
from tsdiff.model.backbones import ContextConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.windows.anchored import ABOUT_WIDTH
from tsdiff.windows.calendar import SEASON_WIDTH, calendar_width
from tsdiff.windows.inputs import known_width


class PointInputs(nn.Module):
    """Joins what is known of every point: features, embedded categories, and a conditional model's observed values.

    The order is the published one: log-scale, categories, the rest; then the observed values.

    Args:
        config: of the model.
    """

    def __init__(self, config: TSDiffConfig):
        super().__init__()
        sizes = list(config.categories)
        widths = [min(50, (size + 1) // 2) for size in sizes]
        self.embedder: nn.Module | None = None
        if sizes:
            from gluonts.torch.modules.feature import FeatureEmbedder  # loads Lightning, for seconds

            self.embedder = FeatureEmbedder(cardinalities=sizes, embedding_dims=widths)
        self.lead = config.channels if config.scale_feature else 0
        known = known_width(config) if config.conditional else 0
        still = self.lead + config.static_features + config.dynamic_features
        self.width = (
            still + sum(widths) + calendar_width(config.freq, config.calendar) + config.external_features + known
        )

    def forward(
        self, x: Tensor, features: Tensor | None = None, categories: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor | None:
        """(batch or 1, length, width) for windows x, or None where there is nothing."""
        parts = [] if features is None else [features]
        if self.embedder is not None and categories is not None:
            embedded = self.embedder(categories)[:, None].expand(-1, x.shape[1], -1)
            if features is not None:
                still = [features[..., : self.lead], embedded, features[..., self.lead :]]
                rows = max(part.shape[0] for part in still)
                embedded = torch.cat([part.expand(rows, -1, -1) for part in still], dim=-1)
            parts = [embedded]
        if known is not None:
            parts.append(known)
        if len(parts) < 2:
            return parts[0] if parts else None
        rows = max(part.shape[0] for part in parts)
        return torch.cat([part.expand(rows, -1, -1) for part in parts], dim=-1)


class Network(nn.Module):
    """Gives the backbone its noise level where the core gives the time, and joins what is known of every point."""

    def __init__(self, config: TSDiffConfig):
        super().__init__()
        self.inputs, self.sde = PointInputs(config), config.sde
        self.by_step = getattr(config.backbone, "level", "log_snr") == "step"
        if self.by_step and not isinstance(self.sde, DiscreteVPSDE):
            raise ConfigError(
                f"the backbone {kind_of(type(config.backbone))!r} needs a table of steps (DiscreteVPSDE), not "
                f"{type(self.sde).__name__}"
            )
        # The column of the features that is 1 before the series' start, where the network is not to see anything.
        self.before = self.inputs.lead + config.static_features + SEASON_WIDTH - 1 if config.universal else 0
        sizes = (config.length, config.network_channels, self.inputs.width)
        self.reads = isinstance(config.backbone, ContextConfig)
        self.backbone = config.backbone.build(*sizes, **({"about": ABOUT_WIDTH} if self.reads else {}))

    def read(self, inputs: Mapping[str, Any], first: int = 0) -> Mapping[str, Any]:
        """Inputs with what is the same for every state and time worked out once, for draws from step `first` on."""
        if not self.reads:
            return inputs
        told = dict(inputs)
        about, of_row = told.pop("about"), told.pop("of_row", None)
        return {"memory": self.backbone.encode(self.inputs(told["known"], **told), about, of_row, first)}

    @property
    def takes_span(self) -> bool:
        """Whether it is a flow map's."""
        return bool(getattr(self.backbone, "takes_span", False))

    def forward(self, x: Tensor, t: Tensor, span: Tensor | None = None, **inputs: Any) -> Tensor:
        level, told = self._level(t).to(x.dtype), {} if span is None else {"span": span}
        if self.reads:
            memory = (inputs if "memory" in inputs else self.read(inputs))["memory"]
            return self.backbone.decode(x, level, memory, **told)
        if self.before and "features" in inputs:
            x = x * (1 - inputs["features"][..., self.before, None])
        return self.backbone(x, level, self.inputs(x, **inputs), **told)

    def _level(self, t: Tensor) -> Tensor:
        if self.by_step and isinstance(self.sde, DiscreteVPSDE):
            return self.sde.step_of_time(t.double()).clamp_min(0.0)
        return self.sde.log_snr(t.double()).clamp(-20.0, 20.0)
