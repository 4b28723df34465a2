"""A model's score by itself: `shared.diagnostics` on spectrograms of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from shared.checks import Positive, checked
from shared.diagnostics import Diagnosis, DiagnosisSettings, diagnose
from shared.errors import DataError
from shared.random import make_generator
from speech.inference.advice import warn
from speech.inference.sampling import sample_spectrogram
from speech.model.model import SpeechModel


class Recording(NamedTuple):
    """A noisy recording (samples,) at the model's rate, the clean one, where there is one, and what it is called."""

    noisy: np.ndarray
    clean: np.ndarray | None = None
    name: str = ""


@torch.inference_mode(False)  # derivatives are taken, whatever mode the caller is in
def diagnose_model(
    model: SpeechModel,
    recordings: Sequence[Recording],
    settings: DiagnosisSettings | None = None,
    *,
    seconds: float = 0.5,
    progress: bool = False,
) -> Diagnosis:
    """Measure a model's score on the middle of recordings.

    Where there is no clean recording, what the model itself makes of the noisy one takes its place.

    Args:
        model: any.
        recordings: a few.
        settings: what is measured.
        seconds: of each recording; of all no more than the shortest lasts, which is said.
        progress: whether to show a bar.

    Raises:
        DataError: no recordings, silent ones, or clean ones of other lengths; the message names it.
        ConfigError: see `shared.diagnostics.diagnose`.
    """
    if not recordings:
        raise DataError("no recordings: give some noisy ones")
    length = _length(recordings, seconds, model.config.frontend.sample_rate)
    model, seed = model.eval(), 0 if settings is None else settings.seed
    pairs = [_pair(model, recording, place, length, seed) for place, recording in enumerate(recordings)]
    x0, y = (torch.cat(parts) for parts in zip(*pairs, strict=True))

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return model.denoise(x, y, t)

    return diagnose(denoise, model.sde, x0, y, settings, progress=progress)


def _length(recordings: Sequence[Recording], seconds: float, rate: int) -> int:
    """Samples of each recording that are looked at."""
    wanted = max(1, round(checked(Positive, seconds=seconds) * rate))
    shortest = min(len(recording.noisy) for recording in recordings)
    if shortest < wanted:
        warn(f"the shortest recording lasts {shortest / rate:.3g} s, which is looked at in place of {seconds:g} s")
    return min(wanted, shortest)


@torch.no_grad()
def _pair(model: SpeechModel, recording: Recording, place: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Spectrograms of clean and noisy, at one scale."""
    noisy, clean, name = recording
    name = name or f"recording {place} (from 0)"
    if clean is not None and len(clean) != len(noisy):
        raise DataError(f"{name} has {len(noisy)} samples, its clean recording {len(clean)}; cut them alike")
    start = (len(noisy) - length) // 2

    def middle(wave: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(wave[start : start + length], np.float32))[None].to(model.device)

    y = middle(noisy)
    if not float(y.abs().sum()) > 0:
        raise DataError(f"{name} is silent in its middle; leave it out")
    x0 = None if clean is None else middle(clean)
    scale = model.frontend.scale(y, y if x0 is None else x0)
    padding = model.config.sampling.frame_padding
    noisy_frames = model.pad_frames(model.frontend(y / scale), padding)
    if x0 is None:
        return sample_spectrogram(model, noisy_frames, generator=make_generator(seed, "diagnosis")).x, noisy_frames
    return model.pad_frames(model.frontend(x0 / scale), padding), noisy_frames
