"""Networks for windows of time series."""

from tsdiff.model.backbones.context import ContextConfig, ContextNetwork
from tsdiff.model.backbones.s4 import S4Backbone, S4Config
from tsdiff.model.backbones.s4d import PatchedS4D, S4DConfig
from tsdiff.model.backbones.spacetime import SpaceTimeConfig
