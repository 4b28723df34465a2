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
from speech.metrics import estoi, si_sdr
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
def test_all_above_an_edge_is_mirrored_from_the_upper_half_below_it(first: int) -> None:
    """Beyond one and a half times the edge, too, where the mirror image had the loud lower half of voices, and hum."""
    noisy = torch.arange(128.0).to(torch.complex64)[None, None, :, None].repeat(1, 1, 1, 2)
    seen = mirrored_above(noisy, [first])[0, 0, :, 0].real
    above = seen[first:]
    assert above[0] == first - 1
    assert above.max() < first
    assert above.min() >= first // 2
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


def a_recording(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Speech of the validation part, clean and with noise, (samples,) each."""
    path = sorted((shared_data / "speech/valid/clean/librispeech").iterdir())[11]
    clean = read_audio(path).waveform[0, : 4 * RATE]
    return clean, clean + 0.3 * clean.std() * signal.lfilter([1], [1, -0.9], noise(1, len(clean))[0]).astype(np.float32)


def joined(enhancer: Enhancer, wave: np.ndarray, rate: int, blocks: int = 7) -> np.ndarray:
    """What a stream makes of a wave (samples,) in so many blocks."""
    stream = enhancer.stream(rate)
    parts = [*map(stream.push, np.array_split(wave, blocks)), stream.flush()]
    return np.concatenate(parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("edge", [3400.0, 3900.0, 7000.0])
@pytest.mark.parametrize("name", ["default", "causal"])
def test_an_edge_costs_the_bundled_enhancers_little(shared_data: Path, name: str, edge: float) -> None:
    """Beside the whole recording's result, below the edge; it cost up to 3.4 dB. Where it is not heard, too."""
    clean, noisy = a_recording(shared_data)
    enhancer = Enhancer.from_pretrained(name, device="cpu")
    plain = Enhancer(enhancer.model, sampling=replace(enhancer.sampling, mirror_band=False))
    target = low_passed(clean, edge)
    whole, *cut = (
        si_sdr(target, low_passed(each.enhance(given, RATE), edge), RATE)
        for each, given in (
            (enhancer, noisy),
            (enhancer, low_passed(noisy, edge)),
            (plain, low_passed(noisy, edge)),
        )
    )
    assert min(cut) > whole - 0.5


def test_what_is_mirrored_helps_the_bundled_model_for_rooms(shared_data: Path) -> None:
    clean, noisy = (low_passed(wave, 3900) for wave in a_recording(shared_data))
    enhancer = Enhancer.from_pretrained("dereverb", device="cpu")
    plain = Enhancer(enhancer.model, sampling=replace(enhancer.sampling, mirror_band=False))
    mirrored, without = (si_sdr(clean, each.enhance(noisy, RATE), RATE) for each in (enhancer, plain))
    assert mirrored > without + 0.2


@pytest.mark.parametrize("rate", [8000, RATE])
def test_silence_stays_silence_in_streams_of_the_bundled_model(rate: int) -> None:
    enhancer = Enhancer.from_pretrained("causal", device="cpu")
    assert not joined(enhancer, np.zeros(rate, np.float32), rate).any()
    sound = 0.1 * noise(1, rate)[0]
    after = joined(enhancer, np.concatenate([np.zeros(rate, np.float32), sound]), rate)
    assert not after[: rate - 1000].any()
    assert after[rate:].any()


def test_streams_of_a_telephone_come_out_as_those_of_whole_bands(shared_data: Path) -> None:
    """ESTOI fell from .91 to .78 by the enhancer, where a stream of the whole band has .90."""
    clean, noisy = a_recording(shared_data)
    enhancer = Enhancer.from_pretrained("causal", device="cpu")
    whole = low_passed(joined(enhancer, noisy, RATE), 3800)[::2]
    target, given = low_passed(clean, 3800)[::2], low_passed(noisy, 3800)[::2]
    found = joined(enhancer, given, 8000)
    assert estoi(target, found, 8000) > estoi(target, whole, 8000) - 0.03
    assert si_sdr(target, found, 8000) > si_sdr(target, whole, 8000) - 0.5
