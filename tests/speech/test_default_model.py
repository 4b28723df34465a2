"""The model that ships: it is small, it has its card, and it makes real noisy speech better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from speech import Enhancer
from speech.audio import read_audio
from speech.metrics import si_sdr
from speech.model import BUNDLED

FOLDER = BUNDLED / "default"


@pytest.fixture(scope="module")
def enhancer() -> Enhancer:
    return Enhancer.from_pretrained("default", device="cpu")


def test_it_is_small_and_has_a_card(enhancer: Enhancer) -> None:
    assert sum(parameter.numel() for parameter in enhancer.model.parameters()) <= 3_000_000
    assert (FOLDER / "model.safetensors").stat().st_size <= 8_000_000
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for part in ("Licence", "train_speech.py", "LibriSpeech", "PESQ", "Limits"):
        assert part in card


@pytest.mark.parametrize("place", [0, 11])
def test_real_noisy_speech_gets_better(enhancer: Enhancer, shared_data: Path, place: int) -> None:
    pairs = shared_data / "speech" / "test_pairs"
    path = sorted((pairs / "clean").iterdir())[place]
    clean, noisy = (read_audio(folder / path.name).waveform[0] for folder in (path.parent, pairs / "noisy"))
    rate = 16000
    enhanced = enhancer.enhance(noisy, rate)
    assert enhanced.shape == noisy.shape
    assert si_sdr(clean, enhanced, rate) > si_sdr(clean, noisy, rate)


def test_silence_stays_silence(enhancer: Enhancer) -> None:
    assert not enhancer.enhance(np.zeros(16000, np.float32), 16000).any()


def test_noise_alone_becomes_quieter(enhancer: Enhancer) -> None:
    noise = 0.1 * torch.randn(2 * 16000, generator=torch.Generator().manual_seed(0)).numpy()
    assert np.square(enhancer.enhance(noise, 16000)).mean() < 0.25 * np.square(noise).mean()


def test_any_rate_and_channels(enhancer: Enhancer) -> None:
    generator = np.random.default_rng(0)
    for rate, shape in ((8000, (8000,)), (44100, (2, 22050)), (16000, (1,)), (192000, (8, 1920))):
        waveform = (0.1 * generator.standard_normal(shape)).astype(np.float32)
        enhanced = enhancer.enhance(waveform, rate)
        assert enhanced.shape == shape
        assert enhanced.dtype == np.float32
        assert np.isfinite(enhanced).all()


def test_the_folder_is_what_the_package_ships() -> None:
    assert {path.name for path in Path(FOLDER).iterdir()} == {"README.md", "config.json", "model.safetensors"}
