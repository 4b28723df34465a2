"""What the network is told beside the noisy window, assembled in one place for training, sampling and pretraining."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tsdiff.windows.anchored import KNOWN_WIDTH
from tsdiff.windows.config import WindowConfig
from tsdiff.windows.scales import Statistics


def network_inputs(
    config: WindowConfig,
    statistics: Statistics,
    *,
    scale: np.ndarray,
    calendar: Sequence[np.ndarray],
    static: Sequence[np.ndarray] = (),
    dynamic: Sequence[np.ndarray] = (),
    categories: Sequence[np.ndarray] = (),
) -> dict[str, Tensor]:
    """The network's keyword arguments besides state and time, for a batch of windows.

    Args:
        config: of the model.
        statistics: of the training windows, by which features are standardised.
        scale: of each window, (rows, channels), in the series' units.
        calendar: of each window, (length, `calendar_width`).
        static: of each window, (static_features,).
        dynamic: of each window, (length, dynamic_features), NaN where it is not known.
        categories: of each window, (n,).

    Returns:
        "features" (rows, length, k) float32: the logarithm of the scale and static features, which do not change within
        a window; the calendar; dynamic features, 0, which is their mean, where they are not known. "categories"
        (rows, n) int64. Each where the model takes some.
    """
    n, steps = config.static_features, config.length
    center, spread = np.array(statistics.feature_center), np.array(statistics.feature_spread)
    parts = [np.stack(calendar)]
    still = [np.log(scale)] if config.scale_feature else []
    if n:
        still.append((np.stack(static) - center[:n]) / spread[:n])
    if still:
        lines = np.concatenate(still, axis=1).astype(np.float32)
        parts.insert(0, np.repeat(lines[:, None], steps, axis=1))
    if config.dynamic_features:
        parts.append(np.nan_to_num((np.stack(dynamic) - center[n:]) / spread[n:]).astype(np.float32))
    features = np.concatenate(parts, axis=2)
    inputs = {"features": torch.from_numpy(features)} if features.shape[2] else {}
    if config.categories:
        inputs["categories"] = torch.from_numpy(np.stack(categories))
    return inputs


def known_width(config: WindowConfig) -> int:
    """How many numbers a step a conditional network is told: lagged values, observed values, and which they are; or
    what stands around an anchor (`tsdiff.windows.anchored`)."""
    if config.scaling == "anchor":
        return KNOWN_WIDTH
    return config.channels * len(config.known_lags) + 2 * config.network_channels


def regression_mean(config: WindowConfig, known: Tensor) -> Tensor | None:
    """Where a model that starts from a regression on the context has its anchor: the regression's mean,
    (batch, length, network_channels); None for other models.

    Args:
        config: of the model.
        known: as `known_features` has it.
    """
    if config.start is None:
        return None
    values, observed = known[..., -2 * config.network_channels :].chunk(2, dim=-1)
    return config.start.mean(values, observed)


def known_features(values: Tensor, observed: Tensor, lagged: Tensor | None = None) -> Tensor:
    """What TSDiff-Cond's network is told: (…, `known_width`), in the published order."""
    parts = [] if lagged is None else [lagged]
    return torch.cat([*parts, values * observed, observed], dim=-1)
