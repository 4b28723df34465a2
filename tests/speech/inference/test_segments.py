"""speech/inference/segments.py: what the network is given of a recording, frame for frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.sde import OUVESDE
from speech.enhancer import Enhancer
from speech.model.config import SamplingConfig, SpeechConfig
from speech.model.model import SpeechModel
from tests.speech.conftest import TINY_FRONT_END, LinearModel
from tests.speech.model.test_speech_model import SMALL_NCSNPP
from tests.speech.models import noise

NEAR: dict[str, Any] = {"reverse_starting_point": 0.04}
"""What random weights give is plausible only near the noisy signal."""


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("samples", [1, 40, 200, 496, 512])
def test_recordings_are_continued_once(linear_model: LinearModel, padding: Any, samples: int) -> None:
    """To what the network needs as the settings say, and by zeros to the frames that a batch shares."""
    model = linear_model(OUVESDE())
    seen: list[Tensor] = []
    forward = model.backbone.forward
    model.backbone.forward = lambda x, y, t: seen.append(y) or forward(x, y, t)  # type: ignore[assignment]
    signal = noise(1, samples)
    sampling = SamplingConfig("ode2", 2, frame_padding=padding, **NEAR)
    enhanced = Enhancer(model, sampling=sampling).enhance(signal, 16000)
    assert enhanced.shape == signal.shape
    spectrogram = model.frontend(torch.from_numpy(signal / np.abs(signal).max()))
    assert spectrogram.shape[-1] == TINY_FRONT_END.frames(samples)
    wanted = model.pad_frames(spectrogram, padding)
    shared = -(-wanted.shape[-1] // 32) * 32
    assert [y.shape[-1] for y in seen] == [shared] * 2
    for y in seen:
        torch.testing.assert_close(y[..., : wanted.shape[-1]], wanted)
        assert not y[..., wanted.shape[-1] :].abs().any()


@pytest.mark.parametrize("samples", [1, 700, 1030])
def test_recordings_of_any_length_go_through_a_network_that_halves(samples: int) -> None:
    model = SpeechModel(SpeechConfig(SMALL_NCSNPP, TINY_FRONT_END, sampling=SamplingConfig("pc", 1, **NEAR)))
    seen: list[int] = []
    forward = model.backbone.forward
    model.backbone.forward = lambda x, y, t: seen.append(y.shape[-1]) or forward(x, y, t)  # type: ignore[assignment]
    signal = noise(1, samples)
    enhanced = Enhancer(model).enhance(signal, 16000)
    assert enhanced.shape == signal.shape
    assert np.isfinite(enhanced).all()
    assert seen == [128 if samples == 1030 else 64] * 2
