"""The networks: all of them (x_t, y, t) → complex like x_t, (batch, 1, frequencies, frames).

A class of settings with a `kind` and a method `build(frontend, sde)` that makes the module is a backbone; one of a
user's own is no less. A module may have an attribute `frame_multiple`, of which recordings get a multiple of frames.
"""

from __future__ import annotations

from typing import Annotated, Any

from shared.kinds import OneOf
from speech.model.backbones.dcunet import DCUNetConfig
from speech.model.backbones.light import LightConfig
from speech.model.backbones.ncsnpp import NCSNppConfig

BackboneConfig = Annotated[Any, OneOf(None, (NCSNppConfig, DCUNetConfig, LightConfig))]
"""The type of a setting that is a network: an object, a kind, or a mapping of kind and sizes."""
