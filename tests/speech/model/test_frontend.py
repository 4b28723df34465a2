"""Spectrograms and their inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shared.errors import ConfigError
from speech.model.frontend import FRONT_ENDS, FrontEnd, FrontEndConfig, mirrored
from tests.golden.recipe import complex_draw
from tests.golden.sgmse_cases import FRONT_END_CASES, key, waveforms
from tests.golden.store import Golden

KINDS = [
    FrontEndConfig(),
    FRONT_ENDS["48k"],
    FrontEndConfig(window="sqrthann", exponent=1.0),
    FrontEndConfig(transform="log", factor=0.3),
    FrontEndConfig(transform="none"),
    FrontEndConfig(exponent=0.3, factor=0.33),
]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", KINDS, ids=str)
@pytest.mark.parametrize("samples", [1, 100, 255, 256, 257, 1024, 1025, 5000])
def test_the_inverse_is_exact(config: FrontEndConfig, samples: int) -> None:
    front_end, waveform = FrontEnd(config), noise(2, samples)
    spectrogram = front_end(waveform)
    assert spectrogram.shape == (2, 1, config.frequencies, config.frames(samples))
    torch.testing.assert_close(front_end.inverse(spectrogram, samples), waveform, rtol=0, atol=1e-12)


@given(samples=st.integers(1, 6000), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_the_inverse_is_exact_for_any_length(samples: int, seed: int) -> None:
    front_end, waveform = FrontEnd(FrontEndConfig()), noise(1, samples, seed=seed)
    torch.testing.assert_close(front_end.inverse(front_end(waveform), samples), waveform, rtol=0, atol=1e-12)


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_compression_keeps_the_phase_and_transforms_the_magnitude(config: FrontEndConfig) -> None:
    front_end = FrontEnd(config)
    stft = torch.complex(noise(50), noise(50, seed=1)) * 30
    compressed = front_end.compress(stft)
    torch.testing.assert_close(compressed.angle(), stft.angle())
    magnitude = stft.abs()
    wanted = {
        "exponent": config.factor * magnitude**config.exponent,
        "log": config.factor * torch.log(1 + magnitude),
        "none": magnitude,
    }[config.transform]
    torch.testing.assert_close(compressed.abs(), wanted)
    torch.testing.assert_close(front_end.expand(compressed), stft)


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_silence_stays_silence_and_has_finite_gradients(config: FrontEndConfig) -> None:
    front_end = FrontEnd(config)
    waveform = torch.zeros(1, 4000).requires_grad_()
    spectrogram = front_end(waveform)
    back = front_end.inverse(spectrogram, 4000)
    assert not bool(spectrogram.detach().abs().any())
    assert not bool(back.detach().any())
    back.sum().backward()
    assert waveform.grad is not None
    assert bool(torch.isfinite(waveform.grad).all())
    point = torch.zeros(3, dtype=torch.complex64).requires_grad_()
    torch.view_as_real(front_end.expand(front_end.compress(point))).sum().backward()
    assert bool(torch.isfinite(torch.view_as_real(point.grad)).all())


def test_expansion_has_the_right_gradient() -> None:
    front_end = FrontEnd(FrontEndConfig(exponent=0.4, factor=0.2))
    point = torch.complex(noise(4), noise(4, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(front_end.expand, point)
    assert torch.autograd.gradcheck(front_end.compress, point)


@pytest.mark.parametrize("name", FRONT_END_CASES)
def test_it_is_the_published_front_end(golden: Golden, name: str) -> None:
    front_end = FrontEnd(FRONT_END_CASES[name])
    spectrogram = front_end(waveforms("front end", 1, 8000))
    golden.assert_close(spectrogram[0], key("front end", name), 1e-6)
    changed = spectrogram * (1 + 0.3 * complex_draw("gains", *spectrogram.shape[1:]))
    golden.assert_close(front_end.inverse(changed, 8000), key("front end", name, "inverse"), 1e-6)


def test_a_tone_is_in_its_bin() -> None:
    config = FrontEndConfig(transform="none")
    bin_hz = config.sample_rate / config.n_fft
    time = torch.arange(8000, dtype=torch.float64) / config.sample_rate
    spectrogram = FrontEnd(config)(torch.cos(2 * math.pi * 40 * bin_hz * time)[None]).abs()
    assert int(spectrogram[0, 0, :, 20].argmax()) == 40
    # A periodic Hann window sums to half its length, half of a cosine is at the positive frequency.
    assert float(spectrogram[0, 0, 40, 20]) == pytest.approx(config.n_fft / 4, rel=1e-6)


@pytest.mark.parametrize(("normalize", "peak"), [("noisy", 0.5), ("clean", 0.25), ("not", 1.0)])
def test_scale(normalize: str, peak: float) -> None:
    front_end = FrontEnd(FrontEndConfig(normalize=normalize))  # type: ignore[arg-type]
    noisy, clean = torch.tensor([[0.1, -0.5], [0.0, 0.0]]), torch.tensor([[0.25, 0.1], [0.0, 0.0]])
    np.testing.assert_allclose(front_end.scale(noisy, clean), [[peak], [1.0]])


def test_what_cannot_be_used_is_told() -> None:
    front_end = FrontEnd()
    for waveform in (torch.zeros(0), torch.zeros(1, 0), torch.zeros(1, 1, 500)):
        with pytest.raises(ConfigError, match="batch, samples"):
            front_end(waveform)
    with pytest.raises(ConfigError, match="need 9 frames"):
        front_end.inverse(torch.zeros(1, 1, 256, 5, dtype=torch.complex64), 1024)
    with pytest.raises(ConfigError, match="clean waveform"):
        FrontEnd(FrontEndConfig(normalize="clean")).scale(torch.ones(1, 2))
    for wrong in (
        {"window": "kaiser"},
        {"transform": "sqrt"},
        {"normalize": "peak"},
        {"sample_rate": 0},
        {"hop_length": 400},
        {"n_fft": 511},
        {"exponent": 0.0},
        {"exponent": 1.5},
        {"factor": -1.0},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            FrontEndConfig(**wrong)  # type: ignore[arg-type]


@given(st.integers(1, 40), st.integers(0, 200))
def test_mirrored_is_what_numpy_calls_reflected(samples: int, more: int) -> None:
    waveform = np.random.default_rng(0).standard_normal((2, samples))
    expected = np.pad(waveform, ((0, 0), (0, more)), mode="reflect")
    np.testing.assert_array_equal(mirrored(torch.from_numpy(waveform), samples + more).numpy(), expected)
