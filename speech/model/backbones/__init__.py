"""The networks: all of them (x_t, y, t) → complex like x_t, (batch, 1, frequencies, frames)."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field
from torch import nn

from shared.sde import SDE
from speech.model.backbones.dcunet import DCUNetConfig
from speech.model.backbones.light import LightConfig
from speech.model.backbones.ncsnpp import NCSNppConfig
from speech.model.frontend import FrontEndConfig

__all__ = ["BackboneConfig", "DCUNetConfig", "LightConfig", "NCSNppConfig", "build_backbone"]

BackboneConfig: TypeAlias = Annotated[NCSNppConfig | DCUNetConfig | LightConfig, Field(discriminator="kind")]
"""Settings of one of the networks; `kind` tells which."""


def build_backbone(config: BackboneConfig, frontend: FrontEndConfig, sde: SDE) -> nn.Module:
    """The network that `config` describes, with fresh weights.

    Args:
        config: its settings.
        frontend: tells the number of frequencies and the rate.
        sde: the process, for networks that are told the noise rather than the time.

    Returns:
        A module (x_t, y, t) → complex like x_t, with `frame_multiple`: recordings are continued to a multiple of
        that many frames.
    """
    if isinstance(config, NCSNppConfig):
        from speech.model.backbones.ncsnpp import NCSNpp

        return NCSNpp(config)
    if isinstance(config, DCUNetConfig):
        from speech.model.backbones.dcunet import DCUNet

        return DCUNet(config)
    from speech.model.backbones.light import LightBackbone

    return LightBackbone(config, frontend.frequencies, sde)
