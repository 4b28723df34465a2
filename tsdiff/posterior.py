"""Windows drawn given what is observed of them: by self-guidance, or by a conditional network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shared.guidance import Guidance
from shared.samplers import sample
from tsdiff.config import Sampling
from tsdiff.guidance import ObservationGuidance
from tsdiff.model import TSDiff, call_times
from tsdiff.windows import Conditions


def quantile_levels(num_samples: int) -> np.ndarray:
    """The levels that quantile guidance draws samples to, (num_samples,): evenly spread inside (0, 1)."""
    return (np.arange(num_samples) + 1) / (num_samples + 1)


def draw_windows(
    model: TSDiff,
    sampling: Sampling,
    conditions: Conditions,
    levels: np.ndarray,
    generators: Sequence[torch.Generator],
) -> tuple[Tensor, int]:
    """One whole window for each row of `conditions`.

    Args:
        model: in evaluation mode.
        sampling: how to draw.
        conditions: on the model's device.
        levels: quantile level of each row, (batch,), for quantile guidance.
        generators: one a row.

    Returns:
        Windows (batch, length, network_channels) in the network's units, on the CPU, and the network calls they took.
    """
    with torch.inference_mode(False):  # guidance differentiates, whatever mode the caller is in
        result = sample(
            lambda x, t: model(x, t, **conditions.inputs),
            model.sde,
            tuple(conditions.values.shape),
            method=sampling.method,
            steps=sampling.steps,
            schedule=call_times(model.sde, sampling.steps, sampling.log_snr_end),
            generator=list(generators),
            guidance=_guidance(model, sampling, conditions, levels),
            device=model.device,
        )
    return result.x.cpu(), result.nfe


def _guidance(model: TSDiff, sampling: Sampling, conditions: Conditions, levels: np.ndarray) -> Guidance | None:
    if model.config.conditional:
        return None
    return ObservationGuidance(
        conditions.values,
        conditions.observed,
        sampling.guidance,
        torch.from_numpy(levels).to(conditions.values),
        sampling.scale,
        sampling.observation_std,
        model.statistics.top_variance,
    )
