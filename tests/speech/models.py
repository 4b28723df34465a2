"""Enhancers on tiny networks with weights that do something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from shared.sde import OUVESDE, SBVESDE, sde_to_config
from speech.backbones import LightConfig
from speech.config import Parameterisation, SamplingConfig, SpeechConfig
from speech.enhancer import Enhancer
from speech.frontend import FrontEndConfig
from speech.model import SpeechModel

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
        sde_to_config(sde),
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


def decibels(difference: np.ndarray, reference: np.ndarray) -> float:
    """Energy of a difference against that of what it differs from."""
    return float(10 * np.log10(np.square(difference).sum() / np.square(reference).sum()))
