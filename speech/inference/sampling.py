"""Running the reverse process on spectrograms: the published samplers, and the core's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction, Guidance
from shared.random import Generators, randn
from shared.samplers import (
    Callback,
    Exponential,
    PredictorCorrector,
    Sampler,
    SampleResult,
    method_from,
    sample,
    time_grid,
)
from shared.sde import SBVESDE, SDE
from speech.model.config import NetworkTime, SamplingConfig
from speech.model.model import SpeechModel

_PUBLISHED: dict[str, str | Sampler] = {
    "ode": "rk45",
    "sb_ode": Exponential(1, boot=False),
    "sb_sde": Exponential(1, eta=1.0, last_noise=False),
}
"""The core's methods of samplers that have another name here."""


def sample_spectrogram(
    model: SpeechModel,
    y: Tensor,
    sampling: SamplingConfig | None = None,
    generator: Generators = None,
    callback: Callback | None = None,
) -> SampleResult:
    """Draw clean spectrograms given noisy ones.

    Args:
        model: the model, on the device of `y`.
        y: noisy spectrograms (batch, 1, frequencies, frames), of frames that the network takes; see
            `SpeechModel.pad_frames`.
        sampling: how; None means the model's own default.
        generator: one for the batch, or one per item, which makes an item's result independent of the batch.
        callback: called after every step; see `shared.samplers.ProgressBar`.

    Returns:
        SampleResult with .x (batch, 1, frequencies, frames) and .nfe, the true number of network calls.

    Raises:
        ConfigError: the sampler does not suit the model's process, or the times are impossible.
        DataError: frames that the network does not take.
    """
    sampling = sampling or model.config.sampling
    sde = model.sde
    times = sampling_times(sde, sampling)

    def data(x: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(y.device.type, torch.bfloat16, enabled=sampling.precision == "bfloat16"):
            return model.denoise(x, y, t)

    start: dict[str, Any] = {}
    if float(times[0]) < sde.T:
        sigma = float(sde.sigma(times[0]))
        noise = randn(y.shape, generator, dtype=y.dtype, device=y.device)
        start = {"x_start": y + sigma * noise, "t_start": float(times[0])}
    result = sample(
        at_network_time(data, times, network_time(sampling), sde.t_min),
        sde,
        y=y,
        method=method_of(sampling),
        schedule=times,
        generator=generator,
        guidance=_published_start(sde, y, times) if sampling.sampler == "sb_ode" else None,
        callback=callback,
        **start,
    )
    result.x = suppressed(result.x, y, sampling.suppression)
    return result


def method_of(sampling: SamplingConfig) -> Sampler:
    """The core's method of a sampler."""
    if sampling.sampler == "pc":
        return PredictorCorrector(
            corrector=sampling.corrector,
            corrector_steps=sampling.corrector_steps,
            snr=sampling.snr,
            probability_flow=sampling.probability_flow,
            denoise=True,
        )
    return method_from(_PUBLISHED.get(sampling.sampler, sampling.sampler))


def suppressed(x: Tensor, y: Tensor, power: float) -> Tensor:
    """An estimate with its gains on the noisy spectrogram, where below 1, raised to a power; phases stay.

    Args:
        x: estimated spectrograms, complex (…, frequencies, frames), compressed or not; with compression the gains are
            of the compressed values.
        y: noisy ones, shaped like `x`.
        power: at least 0; 1 returns `x` itself.

    Returns:
        Spectrograms shaped like `x`; 0 stays 0.
    """
    if power == 1:
        return x
    gain = (x.abs() / y.abs().clamp_min(1e-12)).clamp(1e-6, 1.0)
    return x * gain ** (power - 1)


def network_time(sampling: SamplingConfig) -> NetworkTime:
    """The time that the network is told, where the configuration leaves it to the sampler."""
    if sampling.network_time is not None:
        return sampling.network_time
    return "next" if sampling.sampler in ("sb_ode", "sb_sde") else "now"


def sampling_times(sde: SDE, sampling: SamplingConfig) -> Tensor:
    """The falling times of the steps, float64, (points,).

    "pc" takes `steps` times from the start to t_end, and its last step to 0. The bridge samplers take `steps` + 1 times
    from the start to t_end. The core's samplers make their last step to 0, the data prediction, unless t_end is given:
    then they stop there. Their other times are not below the process' own end; "uniform" ones are a step of equal
    length apart where that allows it.

    Raises:
        ConfigError: the bridge samplers with another process, an end beyond the start, or a probability-flow predictor
            from the end of a bridge.
    """
    start = min(sde.T, sampling.reverse_starting_point)
    end = sde.t_end if sampling.t_end is None else sampling.t_end
    if end >= start:
        raise ConfigError(f"sampling from t={start} to {end}: raise reverse_starting_point or lower t_end")
    if sampling.probability_flow and float(sde.sigma(start)) == 0:
        raise ConfigError(
            f"probability_flow=True from t={start}, the end of a bridge, where there is no score: lower "
            "reverse_starting_point, or take sampler sb_ode"
        )
    if sampling.sampler in ("sb_ode", "sb_sde"):
        if not isinstance(sde, SBVESDE):
            raise ConfigError(
                f"sampler {sampling.sampler!r} is for the bridge SBVESDE, this model has {type(sde).__name__}; "
                "take one of pc, ode, ode1, ode2, sde1, sde2"
            )
        return time_grid(sde, sampling.steps, "uniform", start, end)
    if sampling.sampler == "pc":
        return _to_zero(start, end, sampling.steps)
    if sampling.sampler == "ode":
        return torch.tensor([start, end, 0.0] if end > 0 else [start, 0.0], dtype=torch.float64)
    if sampling.t_end is not None:
        return time_grid(sde, sampling.steps, sampling.schedule, start, end)
    if sampling.schedule == "uniform":
        return _to_zero(start, max(end, start / sampling.steps), sampling.steps)
    return time_grid(sde, sampling.steps, sampling.schedule, start, 0.0)


def _to_zero(start: float, end: float, steps: int) -> Tensor:
    """`steps` times from start to end, and 0."""
    times = torch.linspace(start, end, steps, dtype=torch.float64)
    return times if end == 0 and steps > 1 else torch.cat([times, torch.zeros(1, dtype=torch.float64)])


def at_network_time(
    data: Callable[[Tensor, Tensor], Tensor], times: Tensor, told: NetworkTime, smallest: float = 0.0
) -> DenoiserFunction:
    """The denoiser `data`, told the time of its state, or with "next" the time that follows it in `times`, if that is
    not below `smallest`."""
    if told == "now":
        return data

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        place = int((times - t[0].double().cpu()).abs().argmin())
        following = float(times[min(place + 1, len(times) - 1)])
        return data(x, torch.full_like(t, max(following, smallest)))

    return denoiser


def _published_start(sde: SDE, y: Tensor, times: Tensor) -> Guidance | None:
    if float(times[0]) < 1 or not isinstance(sde, SBVESDE):
        return None
    return _PublishedStart(sde, y, float(times[-1]), len(times) - 1)


class _PublishedStart(Guidance):
    """The first step of the published bridge ODE sampler, without which results are not the same.

    It starts where σ = 0 and keeps from dividing by 0 with a constant ϵ, under a root and beside it. However small ϵ,
    the weights of state and anchor, of order 1/√ϵ, then add up to σ(t_1)(1 − 1/s_T) more than they should, s_T² being
    the variance of the reference process at the end; and being large, they leave rounding errors of their own. So the
    step is taken with the weights as float32 gives them, in the published order of operations.
    """

    EPSILON = 1e-8

    def __init__(self, sde: SBVESDE, y: Tensor, end: float, steps: int):
        self._y = y
        self._first = float(torch.linspace(1.0, end, steps + 1, dtype=torch.float32)[1])
        log_k, eps = torch.tensor(sde.k).log(), self.EPSILON

        def reference_std(t: Tensor) -> Tensor:
            return (sde.c * (sde.k ** (2 * t) - 1.0) / (2 * log_k)).sqrt()

        s, total = reference_std(torch.tensor([self._first])), reference_std(torch.ones(1))
        left, start = (total**2 - s**2 + eps).sqrt(), (total**2 - total**2 + eps).sqrt()
        self._of_state = float(s * left / (total * start + eps))
        share = 1 / (total**2 + eps)
        self._of_data = float(share * (left**2 - start * s * left / (total + eps)))
        self._of_anchor = float(share * (s**2 - total * s * left / (start + eps)))

    def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
        self._state, self._data = x, denoiser(x, t)
        return self._data

    def after_step(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, t_next: Tensor, sde: SDE) -> Tensor:
        if float(t[0]) < 1:
            return x
        return self._of_state * self._state + self._of_data * self._data + self._of_anchor * self._y
