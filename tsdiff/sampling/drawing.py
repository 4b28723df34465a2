"""Windows drawn given what is observed of them: by self-guidance, or by a conditional network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import Guidance
from shared.samplers import sample
from tsdiff.model.model import TSDiff, call_times
from tsdiff.sampling.guidance import KernelGuidance, ScalarGuidance, TweedieGuidance, WindowGuidance
from tsdiff.sampling.published import AncestralGuidance, DDIMGuidance, table_times
from tsdiff.sampling.settings import Energy, Observation, Sampling
from tsdiff.windows.calendar import season_of
from tsdiff.windows.conditioning import Conditions


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
    result = sample(
        lambda x, t: model(x, t, **conditions.inputs),
        model.sde,
        tuple(conditions.values.shape),
        method=sampling.sampler(),
        schedule=_times(model, sampling),
        generator=list(generators),
        guidance=_guidance(model, sampling, conditions, levels, generators),
        device=model.device,
    )
    return result.x.cpu(), result.nfe


def _times(model: TSDiff, sampling: Sampling) -> Tensor:
    if sampling.method == "ddpm":
        return table_times(model.sde)
    if sampling.method == "ddim":
        return table_times(model.sde, sampling.skip, sampling.skip_type)
    return call_times(model.sde, sampling.steps, sampling.log_snr_end)


def _guidance(
    model: TSDiff,
    sampling: Sampling,
    conditions: Conditions,
    levels: np.ndarray,
    generators: Sequence[torch.Generator],
) -> Guidance | None:
    if model.config.conditional:
        return None
    values, observed = conditions.values, conditions.observed
    quantiles = torch.from_numpy(levels).to(values)
    if not isinstance(sampling.guidance, str):
        own: Guidance = sampling.guidance.build(Observation(values, observed, quantiles))
        return own
    energy: Energy = sampling.guidance  # type: ignore[assignment]
    if sampling.method == "ddpm":
        return AncestralGuidance(values, observed, energy, quantiles, sampling.scale)
    if sampling.method == "ddim":
        return DDIMGuidance(values, observed, energy, quantiles, sampling.scale)
    common = (values, observed, energy, quantiles, sampling.scale, sampling.trust)
    covariance = model.statistics.covariance
    of_all = model.config.universal and covariance is None
    if sampling.covariance == "kernels" or (sampling.covariance is None and of_all):
        chances = torch.cat([torch.rand(1, generator=g, device=g.device).cpu() for g in generators])
        season = season_of(model.config.freq)
        return KernelGuidance(*common, season=season, kernel_share=sampling.kernel_share, chances=chances)
    if sampling.covariance == "tweedie":
        return TweedieGuidance(*common)
    if sampling.covariance == "scalar" or (sampling.covariance is None and covariance is None):
        return ScalarGuidance(*common, top_variance=model.statistics.top_variance)
    if covariance is None:
        raise ConfigError(
            "the model does not know the covariance of its training windows, as imported ones do not; call "
            '`predictor.measure_covariance(dataset)` with the training series, or use covariance="scalar" or "tweedie"'
        )
    return WindowGuidance(*common, covariance=covariance)
