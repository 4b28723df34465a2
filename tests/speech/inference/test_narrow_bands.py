"""Recordings and streams whose band ends early, of calls and coders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from speech import Enhancer
from speech.audio.files import read_audio
from speech.metrics import estoi, si_sdr
from tests.speech.models import noise

RATE = 16000


def low_passed(waveform: np.ndarray, edge: float) -> np.ndarray:
    taps = signal.firwin(511, edge, fs=RATE, window=("kaiser", 10))
    result: np.ndarray = signal.fftconvolve(waveform, taps, "same").astype(np.float32)
    return result


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
@pytest.mark.parametrize("name", ["default", "causal", "dereverb"])
def test_an_edge_costs_the_bundled_enhancers_little(shared_data: Path, name: str, edge: float) -> None:
    """Beside the whole recording's result, below the edge; it cost up to 3.9 dB."""
    clean, noisy = a_recording(shared_data)
    enhancer = Enhancer.from_pretrained(name, device="cpu")
    target = low_passed(clean, edge)
    whole, cut = (
        si_sdr(target, low_passed(enhancer.enhance(given, RATE), edge), RATE)
        for given in (noisy, low_passed(noisy, edge))
    )
    assert cut > whole - 0.5


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
