"""Flow maps: networks that take the whole way from t to r along the probability-flow ODE in one step."""

from shared.flow_maps.objectives import (
    KINDS,
    ConsistencyMap,
    FlowMapSetting,
    LagrangianMap,
    MapLoss,
    MeanFlowMap,
    ShortcutMap,
)
from shared.flow_maps.span import SpanConfig, SpanEmbedding, SpanNetwork

__all__ = [
    "KINDS",
    "ConsistencyMap",
    "FlowMapSetting",
    "LagrangianMap",
    "MapLoss",
    "MeanFlowMap",
    "ShortcutMap",
    "SpanConfig",
    "SpanEmbedding",
    "SpanNetwork",
]
