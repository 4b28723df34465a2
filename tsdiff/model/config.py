"""What a TSDiff model is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from shared.errors import ConfigError
from shared.predictions import NetworkOutput
from shared.sde import DiscreteVPSDE, linear_betas, sde_to_config
from tsdiff.data.frequency import base_freq, candidate_seasons
from tsdiff.model.backbones import S4Config, S4DConfig
from tsdiff.windows.config import WindowConfig

_LONGEST_PATCH = 48


def _backbone_kind(value: Any) -> str:
    """Which backbone a value or its JSON describes; models saved before there were two have no `kind`."""
    return value.get("kind", "s4d") if isinstance(value, dict) else getattr(value, "kind", "")


BackboneConfig = Annotated[
    Annotated[S4DConfig, Tag("s4d")] | Annotated[S4Config, Tag("s4")], Discriminator(_backbone_kind)
]


def paper_sde() -> DiscreteVPSDE:
    """TSDiff's table: 100 steps, betas linear from 1e-4 to 0.1 (Kollovieh et al. 2023, appendix B)."""
    return DiscreteVPSDE(linear_betas(100, 1e-4, 0.1))


@dataclass(frozen=True)
class TSDiffConfig(WindowConfig):
    """What a TSDiff model is: windows, network and process.

    Args:
        backbone: sizes of the network: the patched S4D, or the published S4, which needs a process that is a table.
        sde: the diffusion process, as `shared.sde.sde_to_config` writes it.
        output: what the network predicts.
    """

    backbone: BackboneConfig = field(default_factory=S4DConfig)
    sde: dict[str, Any] = field(default_factory=lambda: sde_to_config(paper_sde()))
    output: NetworkOutput = "velocity"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length % self.backbone.patch:
            raise ConfigError(
                f"context_length + prediction_length = {self.length} is not a multiple of the patch, "
                f"{self.backbone.patch}; `fitting_context` gives a context that fits"
            )


def default_patch(freq: str) -> int:
    """Points in a token for a normalised frequency: its primary season, or 8 where that is too long."""
    season = candidate_seasons(freq)[0]
    if season > _LONGEST_PATCH:
        return 4 if base_freq(freq) == "W" else 8
    return season
