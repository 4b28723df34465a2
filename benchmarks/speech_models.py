"""What the benchmarks of enhancement run: a light model, and noisy speech."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.sde import SBVESDE
from speech.audio.files import read_audio
from speech.enhancer import Enhancer
from speech.inference.companion import Quality
from speech.loading import load_model
from speech.model.backbones import LightConfig
from speech.model.config import Parameterisation, SamplingConfig, SpeechConfig
from speech.model.frontend import FrontEndConfig
from speech.model.model import SpeechModel

SHARED_SPEECH = Path(os.environ.get("SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "speech"
"""Where the shared speech lies, if it does."""

BEST = ", best"
"""What a name ends with where a model's best quality is meant."""


def named(name: str, **options: Any) -> Enhancer:
    """The enhancer of a model's name or folder, which may end with `BEST`, on a CPU.

    Args:
        name: of the model.
        options: of `Enhancer`.
    """
    quality: Quality = "best" if name.endswith(BEST) else "standard"
    return Enhancer(load_model(name.removesuffix(BEST)), device="cpu", quality=quality, **options)


def light_model(path: str | None) -> SpeechModel:
    """The model at `path`, or a light one as the default model is built, with random weights, none of them zero."""
    if path is not None:
        return load_model(path)
    config = SpeechConfig(
        LightConfig(),
        FrontEndConfig(n_fft=512, hop_length=256, window="sqrthann"),
        SBVESDE(),
        Parameterisation(output="data"),
        SamplingConfig("ode1", steps=1, schedule="log_snr"),
    )
    torch.manual_seed(0)
    model = SpeechModel(config)
    with torch.no_grad():
        for weights in model.parameters():
            if not weights.any():
                weights += 0.05 * torch.randn_like(weights)
    return model.eval()


def noisy_files() -> list[Path]:
    """The noisy files of the public test pairs; none where the shared data is absent."""
    return sorted((SHARED_SPEECH / "test_pairs/noisy").glob("*.wav"))


def noisy_speech() -> np.ndarray:
    """Noisy speech at 16 kHz, float32 (samples,), about 90 s; noise of a moving level where the data is absent."""
    files = noisy_files()
    if files:
        return np.concatenate([read_audio(path).waveform[0] for path in files])
    noise = np.random.default_rng(0).standard_normal(90 * 16000)
    level = 0.1 * (1.2 + np.sin(np.arange(len(noise)) / 4000))
    return (noise * level).clip(-1, 1).astype(np.float32)
