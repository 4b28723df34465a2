"""Running the reverse process on spectrograms: the published samplers, and the core's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction
from shared.random import Generators
from shared.samplers import (
    AdaptiveODE,
    Callback,
    EVODiff,
    Exponential,
    GaussianExponential,
    PredictorCorrector,
    Sampler,
    SampleResult,
    method_from,
    sample,
    time_grid,
)
from shared.samplers.published import PublishedBridgeStart
from shared.sde import SDE
from speech.model.config import NetworkTime, SamplerSetting, SamplingConfig
from speech.model.corrector import PublishedPC, is_pc
from speech.model.model import SpeechModel

_PUBLISHED: dict[str, str | Sampler] = {
    "pc": PublishedPC(),
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
    heard: Sequence[int] | None = None,
) -> SampleResult:
    """Draw clean spectrograms given noisy ones.

    Args:
        model: the model, on the device of `y`.
        y: noisy spectrograms (batch, 1, frequencies, frames), of frames that the network takes; see
            `SpeechModel.pad_frames`.
        sampling: how; None means the model's own default.
        generator: one for the batch, or one per item, which makes an item's result independent of the batch.
        callback: called after every step; see `shared.samplers.ProgressBar`.
        heard: of each item, how many frames of its recording that sound came before these; None: 0.

    Returns:
        SampleResult with .x (batch, 1, frequencies, frames) and .nfe, the true number of network calls.

    Raises:
        ConfigError: the sampler does not suit the model's process, or the times are impossible.
        DataError: frames that the network does not take.
    """
    sampling = sampling or model.config.sampling

    def data(x: Tensor, t: Tensor, r: Tensor | None = None) -> Tensor:
        with torch.autocast(y.device.type, torch.bfloat16, enabled=sampling.precision == "bfloat16"):
            return model.denoise(x, y, t, r)

    result = sample_around(data, model.sde, y, sampling, generator, callback)
    result.x = finished(result.x, y, sampling, heard or [0] * len(y))
    return result


def sample_around(
    data: DenoiserFunction,
    sde: SDE,
    y: Tensor,
    sampling: SamplingConfig,
    generator: Generators = None,
    callback: Callback | None = None,
) -> SampleResult:
    """`sample_spectrogram` for any data prediction (x (batch, ...), t (batch,)) → x̂_0 around the anchor y (batch, ...);
    precision, suppression and fading in are left to it."""
    times = sampling_times(sde, sampling)
    published = sampling.sampler == "sb_ode" and float(times[0]) == sde.T
    return sample(
        at_network_time(data, times, network_time(sampling), sde.t_min),
        sde,
        y=y,
        method=method_of(sampling),
        schedule=times,
        t_start=float(times[0]),
        generator=generator,
        guidance=PublishedBridgeStart(sde, y, times) if published else None,
        callback=callback,
    )


def method_of(sampling: SamplingConfig) -> Sampler:
    """The core's method of a sampler."""
    named = sampling.sampler
    return method_from(_PUBLISHED.get(named, named) if isinstance(named, str) else named)


def looks_at_the_whole(sampling: SamplingConfig) -> bool:
    """Whether steps depend on all of a signal, so that a stream cannot take them as they come."""
    method = method_of(sampling)
    return (
        isinstance(method, AdaptiveODE | EVODiff)
        or (isinstance(method, PredictorCorrector) and method.corrector == "langevin")
        or (isinstance(method, Exponential) and method.shift is not None)
    )


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


def finished(x: Tensor, y: Tensor, sampling: SamplingConfig, heard: Sequence[int]) -> Tensor:
    """A sampler's result x on noisy y after suppression and fading in; `heard` as in `faded_in`."""
    return faded_in(suppressed(x, y, sampling.suppression), y, heard, sampling.fade_in)


def settled(
    model: SpeechModel, sampling: SamplingConfig | None, sampler: SamplerSetting | None, steps: int | None
) -> SamplingConfig:
    """How to sample: the settings that are given, or the model's, with another sampler or number of steps.

    Raises:
        ConfigError: settings of another kind, or a sampler that does not suit the model.
    """
    if not isinstance(sampling, SamplingConfig | None):
        raise ConfigError(f"sampling={sampling!r}: need a SamplingConfig, such as SamplingConfig('ode1', steps=1)")
    chosen = sampling or model.config.sampling
    changes: dict[str, Any] = {} if steps is None else {"steps": steps}
    if sampler is not None and not (sampler == "pc" and is_pc(chosen.sampler)):
        changes["sampler"] = sampler
    chosen = replace(chosen, **changes)
    sampling_times(model.sde, chosen)
    return chosen


def only_call(sde: SDE, sampling: SamplingConfig, frequencies: int) -> float | None:
    """The time of a sampler's only network call, if that is asked about y itself and its answer is the result.

    A stream then has no need of the sampler, which costs as much as a small network does on one frame. It is found by
    running the sampler on an answer that is made up.
    """
    made_up = torch.randn(2, 1, 1, frequencies, 2, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    y, answer = made_up
    asked: list[tuple[Tensor, float]] = []
    maps = False

    def data(x: Tensor, t: Tensor, r: Tensor | None = None) -> Tensor:
        nonlocal maps
        maps = maps or r is not None
        asked.append((x, float(t[0])))
        return answer

    found = sample_around(data, sde, y, sampling, torch.Generator().manual_seed(0)).x
    if maps or len(asked) != 1 or not torch.equal(asked[0][0], y) or not torch.allclose(found, answer, 1e-5, 1e-6):
        return None
    return asked[0][1]


def sounding(y: Tensor) -> Tensor:
    """Which frames of spectrograms (batch, 1, frequencies, frames) are not digital silence: (batch, frames)."""
    return (y != 0).any(dim=2)[:, 0]


def faded_in(x: Tensor, y: Tensor, heard: Sequence[int], frames: int) -> Tensor:
    """Estimates that rise from 0 from where their recordings begin to sound: frame k from there on times k/`frames`.

    Args:
        x: compressed spectrograms (batch, 1, frequencies, frames).
        y: the noisy ones.
        heard: of each, how many frames of its recording that sound came before these.
        frames: of the rise; 0 returns `x` itself.
    """
    if all(count >= frames for count in heard):
        return x
    sounds = sounding(y).long()
    before = torch.tensor(heard, device=x.device)[:, None] + sounds.cumsum(-1) - sounds
    return x * (before / frames).clamp(max=1.0)[:, None, None]


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
    if not isinstance(sampling.schedule, str):
        return torch.tensor(sampling.schedule, dtype=torch.float64)
    method, start = method_of(sampling), min(sde.T, sampling.reverse_starting_point)
    end = sde.t_end if sampling.t_end is None else sampling.t_end
    if end >= start:
        raise ConfigError(f"sampling from t={start} to {end}: raise reverse_starting_point or lower t_end")
    if isinstance(method, PredictorCorrector) and method.probability_flow and float(sde.sigma(start)) == 0:
        raise ConfigError(
            f"probability_flow=True from t={start}, the end of a bridge, where there is no score: lower "
            "reverse_starting_point, or take sampler sb_ode"
        )
    if sampling.sampler in ("sb_ode", "sb_sde"):
        if sde.prior_std > 0:
            raise ConfigError(
                f"sampler {sampling.sampler!r} is for bridges such as SBVESDE, this model has {type(sde).__name__}; "
                "take one of pc, ode, ode1, ode2, sde1, sde2"
            )
        return time_grid(sde, sampling.steps, "uniform", start, end)
    if isinstance(method, PublishedPC):
        return _to_zero(start, end, sampling.steps)
    if sampling.sampler == "ode":
        return torch.tensor([start, end, 0.0] if end > 0 else [start, 0.0], dtype=torch.float64)
    begin = method.first_step(sde, start) if isinstance(method, GaussianExponential) else start
    if sampling.t_end is not None:
        times = time_grid(sde, sampling.steps, sampling.schedule, begin, end)
    elif sampling.schedule == "uniform":
        times = _to_zero(begin, max(end, begin / sampling.steps), sampling.steps)
    else:
        times = time_grid(sde, sampling.steps, sampling.schedule, begin, 0.0)
    times[0] = start
    return times


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
