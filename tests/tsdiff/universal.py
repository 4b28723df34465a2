"""An unconditional model of all frequencies, guided by kernels, as earlier releases shipped one."""

from __future__ import annotations

from tsdiff.model.backbones import S4DConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.windows.config import ANY_FREQ

UNIVERSAL = TSDiffConfig(
    freq=ANY_FREQ,
    prediction_length=128,
    context_length=256,
    scaling="standard",
    calendar="season",
    backbone=S4DConfig(patch=12, width=96, blocks=4),
)
