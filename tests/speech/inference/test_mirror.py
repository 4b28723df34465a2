"""Bands that end early: what the network hears above their edge, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from scipy import signal

from shared.errors import ConfigError
from speech import Enhancer
from speech.audio.edges import BandEdge
from speech.audio.files import read_audio
from speech.inference.advice import SettingWarning
from speech.inference.mirror import first_beyond, mirrored_above, own_above
from speech.metrics import estoi, si_sdr
from speech.model.config import SamplingConfig
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


def hearing(heard: list[torch.Tensor], mirror_band: Literal[True, "known"], edge: float | None) -> Enhancer:
    """An enhancer whose network halves what it hears, and leaves it in `heard`, (frequencies, frames) each."""

    def gain(y: torch.Tensor) -> torch.Tensor:
        heard.extend(y[:, 0])
        return torch.tensor(0.5)

    usual = gain_enhancer(gain)
    return Enhancer(usual.model, sampling=replace(usual.sampling, mirror_band=mirror_band), band_edge=edge)


def joined(enhancer: Enhancer, wave: np.ndarray, rate: int, blocks: int = 7) -> np.ndarray:
    """What a stream makes of a wave (samples,) in so many blocks."""
    stream = enhancer.stream(rate)
    parts = [*map(stream.push, np.array_split(wave, blocks)), stream.flush()]
    return np.concatenate(parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "edge", "first"), [(8000, None, 31), (11025, None, 42), (RATE, 3400.0, 26)])
def test_a_stream_hears_a_band_that_is_known_to_end_mirrored_from_its_first_frame(
    rate: int, edge: float | None, first: int
) -> None:
    heard: list[torch.Tensor] = []
    enhancer = hearing(heard, "known", edge)
    wave = low_passed(noise(1, rate)[0], 7000)  # of 16 kHz, or as much of the rate
    found = joined(enhancer, wave, rate)
    seen = torch.cat(heard, dim=-1)
    assert seen.shape[-1] > 200
    assert torch.equal(seen[first : first + 8], seen[first - 8 : first].flip(0).conj())
    assert seen[first:].abs().mean() > 0.1 * seen[1:first].abs().mean()
    plain = joined(gain_enhancer(0.5, upper_band="follow"), wave, rate)
    np.testing.assert_allclose(found, plain, atol=2e-5)  # what was mirrored has no part in it


def test_an_edge_that_is_told_counts_in_files_too_and_one_that_is_heard_only_where_it_is_asked_for() -> None:
    wave = noise(1, RATE)[0]
    low = low_passed(wave, 3000)
    for mirror_band, edge, given, is_mirrored in (
        ("known", 4000.0, wave, True),
        (True, 4000.0, wave, True),
        (True, None, low, True),
        ("known", None, low, False),
        ("known", 8000.0, low, False),
    ):
        heard: list[torch.Tensor] = []
        enhancer = hearing(heard, mirror_band, edge)
        enhancer.enhance(given, RATE)
        seen = torch.cat(heard, dim=-1)
        found = [torch.equal(seen[first], seen[first - 1].conj()) for first in range(20, 40)]
        assert sum(found) == is_mirrored


def test_an_edge_in_kilohertz_is_refused_and_one_without_effect_is_said() -> None:
    model = gain_enhancer().model
    with pytest.raises(ConfigError, match=r"band_edge=3\.4: need .*500.*Hz"):
        Enhancer(model, band_edge=3.4)
    with pytest.warns(SettingWarning, match="band_edge: without effect"):
        Enhancer(model, band_edge=3400)
    with pytest.raises(ConfigError, match="mirror_band='heard': choose one of False, True, known"):
        SamplingConfig(mirror_band="heard")  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "edge"), [(8000, None), (RATE, 3400.0)])
def test_silence_stays_silence_in_streams_of_the_bundled_model(rate: int, edge: float | None) -> None:
    enhancer = Enhancer(Enhancer.from_pretrained("causal", device="cpu").model, band_edge=edge)
    assert not joined(enhancer, np.zeros(rate, np.float32), rate).any()
    sound = 0.1 * noise(1, rate)[0]
    after = joined(enhancer, np.concatenate([np.zeros(rate, np.float32), sound]), rate)
    assert not after[: rate - 1000].any()
    assert after[rate:].any()


def test_streams_of_a_telephone_are_more_intelligible_and_nearer_to_clean_speech(shared_data: Path) -> None:
    """ESTOI fell from .91 to .78 by the enhancer, and is .88."""
    path = sorted((shared_data / "speech/valid/clean/librispeech").iterdir())[11]
    clean = low_passed(read_audio(path).waveform[0, : 4 * RATE], 3800)[::2]
    noisy = clean + 0.3 * clean.std() * signal.lfilter([1], [1, -0.8], noise(1, len(clean))[0]).astype(np.float32)
    enhancer = Enhancer.from_pretrained("causal", device="cpu")
    plain = Enhancer(enhancer.model, sampling=replace(enhancer.sampling, mirror_band=False))
    before, now = (joined(each, noisy, 8000) for each in (plain, enhancer))
    assert estoi(clean, now, 8000) > estoi(clean, before, 8000) + 0.05
    assert si_sdr(clean, now, 8000) > si_sdr(clean, before, 8000) + 0.5
