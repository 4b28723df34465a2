"""Enhancers on tiny networks with weights that do something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from shared.sde import OUVESDE, SBVESDE
from speech.enhancer import Enhancer
from speech.model.backbones import LightConfig
from speech.model.config import Parameterisation, SamplingConfig, SpeechConfig
from speech.model.frontend import FrontEndConfig
from speech.model.model import SpeechModel

SMALL = {"width": 8, "edge_width": 4, "blocks": 2, "dilations": (1, 2), "mixed": 2, "mixing_width": 8, "embedding": 8}


TINY_FRONT_END = FrontEndConfig(n_fft=126, hop_length=32)


def tiny_model(
    *,
    causal: bool = False,
    normalize: Any = "noisy",
    sampler: Any = "sb_sde",
    steps: int = 3,
    frontend: FrontEndConfig = TINY_FRONT_END,
) -> SpeechModel:
    """A light network of a few thousand weights, none of them zero, on a bridge (or on OUVE, for "pc" and "ode")."""
    sde = OUVESDE() if sampler in ("pc", "ode") else SBVESDE()
    config = SpeechConfig(
        LightConfig(**SMALL, causal=causal),
        replace(frontend, normalize=normalize),
        sde,
        Parameterisation(output="data"),
        SamplingConfig(sampler=sampler, steps=steps),
    )
    torch.manual_seed(1)
    model = SpeechModel(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.05 * torch.randn_like(weights)
    return model.eval()


def tiny_enhancer(*, enhancer: dict[str, Any] | None = None, **model: Any) -> Enhancer:
    """An enhancer on `tiny_model(**model)`."""
    return Enhancer(tiny_model(**model), **(enhancer or {}))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Float32 samples well within full scale."""
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def level(waveform: np.ndarray) -> float:
    """The mean square, in dB of full scale."""
    return float(10 * np.log10(np.square(waveform).mean() + 1e-30))


def decibels(difference: np.ndarray, reference: np.ndarray) -> float:
    """Energy of a difference against that of what it differs from."""
    return float(10 * np.log10(np.square(difference).sum() / np.square(reference).sum()))


class GainBackbone(nn.Module):
    """Answers with the noisy spectrogram times a gain, which may depend on each frame; looks at nothing else."""

    frame_multiple = 1

    def __init__(self, gain: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.gain, self.unused = gain, nn.Parameter(torch.zeros(1))

    def forward(self, x_t: torch.Tensor, y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.gain(y) * y

    def initial_state(self, batch: int = 1) -> None:
        return None

    def step(self, x_t: torch.Tensor, y: torch.Tensor, t: torch.Tensor, state: None) -> tuple[torch.Tensor, None]:
        return self(x_t, y, t), None


def gain_enhancer(
    gain: float | Callable[[torch.Tensor], torch.Tensor] = 1.0,
    frontend: FrontEndConfig = FrontEndConfig(n_fft=128, hop_length=64),  # noqa: B008
    **options: Any,
) -> Enhancer:
    """An enhancer whose network applies this gain to amplitudes, at 16 kHz, causal; it draws nothing."""
    config = SpeechConfig(
        LightConfig(**SMALL, causal=True),
        replace(frontend, window="sqrthann", normalize="not", transform="none"),
        SBVESDE(),
        Parameterisation(output="data"),
        SamplingConfig("ode1", steps=1),
    )
    backbone = GainBackbone(gain if callable(gain) else lambda y: torch.tensor(gain))
    return Enhancer(SpeechModel(config, backbone), **options)
