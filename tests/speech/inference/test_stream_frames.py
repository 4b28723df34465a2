"""The frames of a stream are those of the whole recording, mirrored at its end, and no more; and the way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from speech.inference.stream_frames import Analysis, Synthesis
from speech.model.frontend import FrontEnd, FrontEndConfig, mirrored
from tests.speech.conftest import TINY_FRONT_END


@pytest.mark.parametrize("config", [TINY_FRONT_END, FrontEndConfig(n_fft=100, hop_length=40)])
@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_frames_come_as_from_the_whole(config: FrontEndConfig, block: int) -> None:
    for samples in (1, 5, 30, 31, 32, 33, 49, 50, 51, 52, 79, 80, 81, 160, 161):
        check(FrontEnd(config), samples, block)


def check(frontend: FrontEnd, samples: int, block: int) -> None:
    signal = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    found = frames_of(frontend, signal, block)
    config = frontend.config
    count = config.frames(samples) + config.frames_beyond
    whole = frontend(mirrored(signal, samples + 2 * config.n_fft))
    assert found.shape[-1] == count, samples
    # of one sample next to nothing but rounding is above the lowest bins, which compression makes louder
    torch.testing.assert_close(found, whole[..., :count], rtol=1e-4, atol=1e-5 if samples > 1 else 3e-4)


def frames_of(frontend: FrontEnd, signal: torch.Tensor, block: int) -> torch.Tensor:
    samples = signal.shape[1]
    analysis, parts = Analysis(frontend, 2), []
    for start in range(0, samples, block):
        parts.append(analysis.push(signal[:, start : start + block].numpy(), last=start + block >= samples))
    return torch.cat([part for part in parts if part is not None], dim=-1)


KINDS: list[dict[str, Any]] = [
    {"transform": "none"},
    {"transform": "log"},
    {"exponent": 1.0},
    {"exponent": 0.5, "window": "sqrthann"},
    {"exponent": 0.3},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pieces", [1, 3, 40])
def test_there_and_back_is_the_signal_and_draws_are_averaged(kind: dict[str, Any], pieces: int) -> None:
    frontend = FrontEnd(replace(TINY_FRONT_END, **kind))
    signal = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    spectrogram = frames_of(frontend, signal, 100)
    both = torch.cat([spectrogram, spectrogram])
    synthesis = Synthesis(frontend, 2)
    *first, rest = both.tensor_split(pieces, dim=-1)
    parts = [synthesis.push(piece, None) for piece in first]
    found = np.concatenate([*parts, synthesis.push(rest, 1000)], axis=1)
    np.testing.assert_allclose(found, signal.numpy(), atol=1e-4)
