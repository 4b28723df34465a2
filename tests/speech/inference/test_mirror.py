"""Bands that end early: what the network hears above their edge, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal

from shared.errors import ConfigError
from speech import Enhancer
from speech.audio.edges import BandEdge
from speech.audio.files import read_audio
from speech.inference.mirror import first_beyond, mirrored_above, own_above
from speech.metrics import si_sdr
from tests.speech.models import gain_enhancer, noise

RATE = 16000


def low_passed(waveform: np.ndarray, edge: float) -> np.ndarray:
    taps = signal.firwin(511, edge, fs=RATE, window=("kaiser", 10))
    result: np.ndarray = signal.fftconvolve(waveform, taps, "same").astype(np.float32)
    return result


def test_what_lies_below_is_mirrored_and_has_no_part_in_the_result() -> None:
    noisy = torch.randn(2, 1, 17, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    noisy[0, :, 12:] = 1e-4
    seen = mirrored_above(noisy, [12, None])
    assert torch.equal(seen[0, :, 12:], noisy[0, :, [11, 10, 9, 8, 7]].conj())
    assert torch.equal(seen[:, :, :12], noisy[:, :, :12])
    assert torch.equal(seen[1], noisy[1])
    own = own_above(0.25 * seen, seen, noisy, [12, None])
    torch.testing.assert_close(own, 0.25 * noisy)
    assert mirrored_above(noisy, [None, None]) is noisy


@pytest.mark.parametrize("first", [1, 2, 3, 20, 42, 43, 64, 127])
def test_all_above_an_edge_is_mirrored_from_below_it_and_hum_from_nowhere(first: int) -> None:
    """Beyond twice the edge, too, where the mirror image took the empty band and the hum."""
    noisy = torch.arange(128.0).to(torch.complex64)[None, None, :, None].repeat(1, 1, 1, 2)
    seen = mirrored_above(noisy, [first])[0, 0, :, 0].real
    above = seen[first:]
    assert above[0] == first - 1
    assert above.max() < first
    assert above.min() >= min(2, first - 1)
    assert (above.diff().abs() <= 1).all()


def test_the_first_frequency_that_is_lost() -> None:
    assert first_beyond(4000.0, RATE, 257) == int(0.97 * 128)
    assert first_beyond(8000.0, RATE, 257) is None
    assert first_beyond(None, RATE, 257) is None


def test_a_band_that_fades_out_beside_rumble_has_no_edge() -> None:
    loud = 300 * np.sin(np.arange(2 * RATE) * 2 * np.pi * 40 / RATE)
    fading = signal.lfilter([1], [1, -0.98], noise(1, 2 * RATE)[0])
    edge = BandEdge(RATE, 2)
    edge.push(np.stack([loud + fading, low_passed(noise(1, 2 * RATE)[0], 6000)]).astype(np.float32))
    assert edge.edges()[0] < 7000
    assert edge.edges(steep=True)[0] == 8000
    assert edge.edges(steep=True)[1] == pytest.approx(6000, abs=300)


def test_a_network_that_keeps_all_keeps_it_with_and_without_an_edge() -> None:
    usual = gain_enhancer(0.5)
    mirroring = Enhancer(usual.model, sampling=replace(usual.sampling, mirror_band=True))
    wave = noise(1, RATE)[0]
    for given in (wave, low_passed(wave, 3000)):
        np.testing.assert_allclose(mirroring.enhance(given, RATE), 0.5 * given, atol=1e-5)
    with pytest.raises(ConfigError, match="keep_band"):
        replace(mirroring.sampling, keep_band=True)


@pytest.mark.parametrize("edge", [3900.0, 7000.0])
def test_an_edge_costs_the_bundled_enhancer_little(shared_data: Path, edge: float) -> None:
    """Beside the whole recording's result, below the edge; it cost up to 3.4 dB."""
    path = sorted((shared_data / "speech/valid/clean/librispeech").iterdir())[11]
    clean = read_audio(path).waveform[0, : 4 * RATE]
    noisy = clean + 0.3 * clean.std() * signal.lfilter([1], [1, -0.9], noise(1, len(clean))[0]).astype(np.float32)
    enhancer = Enhancer.from_pretrained("default", device="cpu")
    plain = Enhancer(enhancer.model, sampling=replace(enhancer.sampling, mirror_band=False))
    target = low_passed(clean, edge)
    whole, mirrored, before = (
        si_sdr(target, low_passed(each.enhance(given, RATE), edge), RATE)
        for each, given in (
            (enhancer, noisy),
            (enhancer, low_passed(noisy, edge)),
            (plain, low_passed(noisy, edge)),
        )
    )
    assert mirrored > whole - 0.5
    assert mirrored > before + 0.2
