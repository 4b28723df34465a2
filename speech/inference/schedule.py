"""What a sampler may know of one model and its recordings: where its steps best lie, and the residual's spectrum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from shared.errors import ConfigError, DataError
from shared.random import make_generator, randn_like
from shared.samplers.laws import Spectrum
from shared.samplers.search import SearchedGrid, search_grid
from speech.inference.sampling import method_of, network_time, sampling_times
from speech.model.config import SamplingConfig, has_own_schedule
from speech.model.model import SpeechModel


def search_schedule(
    model: SpeechModel,
    noisy: Sequence[np.ndarray],
    steps: int,
    sampling: SamplingConfig | None = None,
    *,
    seconds: float = 2.0,
    fine: int = 200,
    most_runs: int = 100,
    seed: int = 0,
) -> tuple[SamplingConfig, SearchedGrid]:
    """Where a model's steps best lie, on noisy recordings that it was not trained on: no clean ones are needed.

    To keep it with the model, `model.config = replace(model.config, sampling=found)`, and `save_pretrained`.

    Args:
        model: in evaluation.
        noisy: recordings (samples,) at the model's rate; about ten, of which the middle is taken.
        steps: how many.
        sampling: the sampler; None is the model's own.
        seconds: of each recording.
        fine: steps that the others are to come near to.
        most_runs: how often all of them may be sampled.
        seed: of the noise.

    Returns:
        The settings with the times as their `schedule`, and what the search says of them.

    Raises:
        ConfigError: a sampler with a schedule of its own or with fresh noise, or one that tells the network the next
            time.
        DataError: a recording is silent.
    """
    base = sampling or model.config.sampling
    if has_own_schedule(base.sampler) or network_time(base) == "next":
        raise ConfigError(f"sampler {base.sampler!r} has a schedule of its own; give sampling with one such as ode2")
    base = replace(base, steps=steps, schedule=base.schedule if isinstance(base.schedule, str) else "log_snr")
    length = round(seconds * model.config.frontend.sample_rate)
    parts = [_middle(np.asarray(wave, np.float32), length, place) for place, wave in enumerate(noisy)]
    y = torch.cat([_spectrogram(model, part, base) for part in parts])
    first = sampling_times(model.sde, base)
    generator, begin = make_generator(seed, "schedule"), float(first[0])
    if begin < model.sde.T:
        x = model.sde.perturb(y, first[:1], randn_like(y, generator), y)
    else:
        x = model.sde.prior_sample(y, generator)

    def data(x: Tensor, t: Tensor) -> Tensor:
        return model.denoise(x, y, t)

    found = search_grid(data, model.sde, x, steps, y, method_of(base), first=first, fine=fine, most_runs=most_runs)
    return replace(base, schedule=found.times), found


@torch.no_grad()
def residual_spectrum(model: SpeechModel, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Spectrum:
    """The spectrum of x_0 − y in the model's own spectrograms, for `GaussianExponential` and `LevelShift`.

    Args:
        model: its front end and levels are used, no network.
        pairs: clean and noisy recordings (samples,) at the model's rate, of training data.

    Raises:
        DataError: there are no pairs, or two of a pair differ in length.
    """
    power, frames = torch.zeros(model.config.frontend.frequencies, dtype=torch.float64), 0
    for clean, noisy in pairs:
        if len(clean) != len(noisy):
            raise DataError(
                f"a clean recording of {len(clean)} samples with a noisy one of {len(noisy)}; cut them alike"
            )
        x0, y = (torch.from_numpy(np.asarray(wave, np.float32))[None].to(model.device) for wave in (clean, noisy))
        scale = model.frontend.scale(y, x0)
        left = model.frontend(x0 / scale) - model.frontend(y / scale)
        power += left.abs().double().square().sum(-1)[0, 0].cpu()
        frames += left.shape[-1]
    if frames == 0:
        raise DataError("no pairs of recordings: give some clean and noisy ones of the training data")
    return Spectrum(tuple((power / frames).tolist()))


def _middle(wave: np.ndarray, length: int, place: int) -> np.ndarray:
    start = max(0, (len(wave) - length) // 2)
    part = wave[start : start + length]
    if not np.abs(part).max(initial=0.0) > 0:
        raise DataError(f"noisy[{place}] is silent in its middle; leave that recording out")
    return np.pad(part, (0, length - len(part)))


def _spectrogram(model: SpeechModel, wave: np.ndarray, sampling: SamplingConfig) -> Tensor:
    at = torch.from_numpy(wave)[None].to(model.device)
    peak = at.abs().max() if model.config.frontend.normalize != "not" else 1.0
    return model.pad_frames(model.frontend(at / peak), sampling.frame_padding)
