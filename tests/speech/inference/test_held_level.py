"""speech/inference/held_level.py: quiet recordings are raised to what a model without normalisation knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from speech.audio.files import read_audio
from speech.enhancer import Enhancer
from speech.inference.held_level import MOST_DB, HeldLevel, LevelAround
from speech.inference.onnx_network import Runtime
from speech.model.config import SamplingConfig
from speech.model.frontend import FrontEnd, FrontEndConfig
from speech.model.model import SpeechModel
from tests.speech.models import decibels, gain_enhancer, noise

FRONT_END = FrontEndConfig(n_fft=512, hop_length=256, window="sqrthann")


@pytest.fixture(scope="module")
def causal() -> SpeechModel:
    return SpeechModel.from_pretrained("causal")


def tone(seconds: float, level_db: float) -> np.ndarray:
    """Of a mean square of this level over every hop of 256 samples, (1, samples)."""
    time = np.arange(round(seconds * 62.5) * 256)
    return (10 ** (level_db / 20) * np.sqrt(2) * np.sin(2 * np.pi * 8 * time / 256)).astype(np.float32)[None]


def gains_db(signal: np.ndarray, least: float = -30.0, cuts: list[int] | None = None) -> np.ndarray:
    held, frames = HeldLevel(FRONT_END, least, len(signal)), FRONT_END.frames(signal.shape[1])
    for block in np.split(signal, cuts or [], axis=1):
        held.push(block)
    return 20 * np.log10(held.gains(0, frames))


def test_what_is_loud_enough_has_a_gain_of_one() -> None:
    assert not gains_db(tone(5.0, -29.9)).any()
    assert not gains_db(np.concatenate([tone(1.0, -20.0), tone(15.0, -70.0)], axis=1)).any()  # falls by 7.5 dB


def test_what_is_quiet_is_raised_slowly_to_the_level_and_never_by_more_than_allowed() -> None:
    for level, wanted in ((-40.0, 10.0), (-90.0, MOST_DB)):
        found = gains_db(tone(6.0, level))[0]
        assert np.diff(found).max() < 0.25  # 12 dB a second
        assert found[-1] == pytest.approx(wanted, abs=1e-3)
        assert found[0] < 0.25


def test_what_exceeds_full_scale_is_lowered_at_once_and_rises_by_half_a_decibel_a_second() -> None:
    found = gains_db(np.concatenate([tone(1.0, -1e-3), tone(1.0, 60.0), tone(2.0, -10.0)], axis=1))[0]
    assert not found[:62].any()
    np.testing.assert_allclose(found[[62, 63, 123]], -60.0, atol=1e-3)
    assert found[-1] == pytest.approx(-59.0, abs=0.02)


def test_it_falls_at_once_and_rises_by_half_a_decibel_a_second_but_not_in_digital_silence() -> None:
    quiet, pause = tone(4.0, -50.0), tone(4.0, -80.0)
    signal = np.concatenate([quiet, tone(1.0, -40.0), pause, np.zeros((1, 64000), np.float32), pause], axis=1)
    found = gains_db(signal)[0]
    seconds = np.arange(len(found)) * 256 / 16000

    def at(second: float) -> float:
        return float(np.interp(second, seconds, found))

    assert at(3.9) == pytest.approx(20.0, abs=1e-3)
    assert found[250] == pytest.approx(10.0, abs=1e-3)  # the frame that ends with the first loud hop
    assert at(4.9) == pytest.approx(10.0, abs=1e-3)
    assert at(9.0) == pytest.approx(12.0, abs=0.02)
    assert at(12.9) == pytest.approx(12.0, abs=0.02)
    assert at(16.9) == pytest.approx(14.0, abs=0.07)


def test_pieces_of_any_size_give_the_same_and_what_ends_within_a_hop_has_the_last() -> None:
    signal = np.concatenate([noise(2, 20000) / 100, noise(2, 5001), noise(2, 9000) / 30], axis=1)
    whole = gains_db(signal)
    np.testing.assert_allclose(gains_db(signal, cuts=[1, 2, 300, 5000, 5001, 20000]), whole, atol=1e-4)
    assert not gains_db(noise(1, 200) / 1000).any()
    held = HeldLevel(FRONT_END, -30.0, 2)
    held.push(signal)
    parts = [held.gains(first, 50) for first in (0, 20, 60, 100)]
    np.testing.assert_allclose(20 * np.log10(parts[2]), whole[:, 60:110], atol=1e-4)


@pytest.mark.parametrize("transform", ["exponent", "log", "none"])
def test_an_amplified_spectrogram_is_that_of_the_amplified_waveform(transform: str) -> None:
    frontend = FrontEnd(replace(FRONT_END, transform=transform))
    wave = torch.from_numpy(noise(2, 4000))
    spectrogram = frontend(wave)
    gains = torch.full((2, spectrogram.shape[-1]), 5.0)
    torch.testing.assert_close(frontend.amplified(spectrogram, gains), frontend(5 * wave), rtol=1e-4, atol=1e-6)
    assert torch.equal(frontend.amplified(spectrogram, torch.ones_like(gains)), spectrogram)


def test_it_is_transparent_around_the_network() -> None:
    sampling = SamplingConfig("ode1", 1, least_level=-20.0)
    signal = np.concatenate([noise(2, 8000) / 300, noise(2, 8000) / 10, noise(2, 8000) / 100], axis=1)
    whole, windows = (
        gain_enhancer(0.5, sampling=sampling, **options).enhance(signal, 16000)
        for options in ({}, {"window_seconds": 0.5, "overlap_seconds": 0.2})
    )
    np.testing.assert_allclose(whole, signal / 2, atol=1e-7, rtol=1e-4)
    np.testing.assert_allclose(windows, whole, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_quiet_stream_gives_what_the_whole_gives(causal: SpeechModel, runtime: Runtime) -> None:
    rng = np.random.default_rng(3)
    voice = np.repeat(10 ** rng.uniform(-2, 0, 20), 2000) * noise(40000)
    signal = (voice / 300).astype(np.float32)[None]
    if runtime == "torch":  # rounding of the export is louder after digital silence, at any level
        signal[:, 12000:16000] = 0
    enhancer = Enhancer(causal)
    whole = enhancer.enhance(signal, 16000)
    stream = enhancer.stream(16000, runtime=runtime)
    parts = [stream.push(block) for block in np.array_split(signal, 30, axis=1)]
    joined = np.concatenate([*parts, stream.flush()], axis=1)
    assert decibels(joined - whole, whole) < (-100 if runtime == "torch" else -80)


def test_windows_give_of_quiet_recordings_nearly_what_the_whole_gives(causal: SpeechModel) -> None:
    off = []
    for seed in range(6):  # the network reaches back further than these overlaps, in some signals more
        voice = np.repeat(10 ** np.random.default_rng(seed).uniform(-2, 0, 20), 2000) * noise(40000, seed=seed)
        signal = (voice / 300).astype(np.float32)[None]
        whole = Enhancer(causal).enhance(signal, 16000)
        windows = Enhancer(causal, window_seconds=2.0, overlap_seconds=1.0).enhance(signal, 16000)
        off.append(decibels(windows - whole, whole))
    assert np.mean(off) < -25


def test_the_causal_model_makes_of_a_quiet_recording_what_it_makes_of_a_loud_one(
    causal: SpeechModel, shared_data: Path
) -> None:
    speech = read_audio(sorted((shared_data / "speech/valid/clean/librispeech").rglob("*.*"))[3]).waveform[:, :64000]
    noisy = speech / np.abs(speech).max() * 0.5 + 0.3 * noise(1, 64000)
    quiet, as_it_is = np.float32(10 ** (-40 / 20)), replace(causal.config.sampling, least_level=None)
    loud = Enhancer(causal).enhance(noisy, 16000)
    found, before = (
        Enhancer(causal, sampling=sampling).enhance(quiet * noisy, 16000) / quiet for sampling in (None, as_it_is)
    )
    later = np.s_[:, 32000:]
    assert decibels((found - loud)[later], loud[later]) < decibels((before - loud)[later], loud[later]) - 6


def test_the_causal_model_takes_floating_point_in_units_of_pcm(causal: SpeechModel, shared_data: Path) -> None:
    speech = read_audio(sorted((shared_data / "speech/valid/clean/librispeech").rglob("*.*"))[21]).waveform[:, :32000]
    noisy = speech / np.abs(speech).max() * 0.9 + 0.1 * noise(1, 32000)
    usual, found = (Enhancer(causal).enhance(scale * noisy, 16000) / scale for scale in np.float32([1, 32768]))
    assert decibels(found - usual, usual) < -20


def test_ordinary_levels_stay_bit_for_bit(causal: SpeechModel) -> None:
    signal = noise(1, 32000)
    without = Enhancer(causal, sampling=replace(causal.config.sampling, least_level=None))
    np.testing.assert_array_equal(Enhancer(causal).enhance(signal, 16000), without.enhance(signal, 16000))
    assert not Enhancer(causal).enhance(np.zeros_like(signal), 16000).any()


@pytest.mark.parametrize("lead", [0, 4096, 96000])
def test_the_rise_begins_with_the_sound_in_files_of_several_windows_too(causal: SpeechModel, lead: int) -> None:
    signal = np.concatenate([np.zeros((1, lead), np.float32), noise(1, 16000)], axis=1)
    enhancer = Enhancer(causal, window_seconds=4.0, overlap_seconds=2.0)
    found = enhancer.enhance(signal, 16000)
    stream = enhancer.stream(16000)
    streamed = np.concatenate([stream.push(signal), stream.flush()], axis=1)
    begin = np.s_[:, lead : lead + 1024]
    assert decibels((found - streamed)[begin], streamed[begin]) < -40
    assert decibels(found[begin], signal[begin]) < -10


def around_db(
    signal: np.ndarray, least: float = -30.0, cuts: list[int] | None = None, scale: float = 1.0
) -> np.ndarray:
    around = LevelAround(FRONT_END, least, len(signal))
    for block in np.split(signal, cuts or [], axis=1):
        around.push(block)
    return 20 * np.log10(around.gains(0, FRONT_END.frames(signal.shape[1]), [scale] * len(signal)))


def test_the_level_around_falls_alike_before_and_after_what_is_loud_and_rests_on_what_is_there() -> None:
    loud, quiet = tone(2.0, -20.0), tone(6.0, -60.0)
    found = around_db(np.concatenate([quiet, loud, quiet], axis=1))[0]
    np.testing.assert_allclose(found, found[::-1], atol=0.5)
    assert not found[375:500].any()
    seconds = (500 - 0.5 + np.arange(2, 375)) / 62.5 - 8  # after the last loud block
    wanted = np.clip(-30 + 20 + 20 * seconds, 0, 30)
    np.testing.assert_allclose(found[502:875], wanted, atol=0.5)
    assert found[-1] == pytest.approx(30.0, abs=1e-3)


def test_levels_around_are_those_of_what_the_channels_are_divided_by_and_end_at_most() -> None:
    signal = np.concatenate([tone(3.0, -40.0), tone(3.0, -90.0)])
    found = around_db(signal, scale=0.1)
    np.testing.assert_allclose(found[0], 0, atol=1e-3)
    np.testing.assert_allclose(found[1], MOST_DB, atol=1e-3)
    assert not around_db(np.concatenate([tone(3.0, -30.0), tone(0.3, -90.0), tone(3.0, -30.0)], axis=1), -34.0).any()


def test_levels_around_of_pieces_are_those_of_the_whole() -> None:
    signal = np.concatenate([noise(2, 20000) / 100, noise(2, 5001), noise(2, 9000) / 3000], axis=1)
    np.testing.assert_array_equal(around_db(signal), around_db(signal, cuts=[1, 300, 301, 20000, 33000]))
    for length in (1, 255, 256, 257):
        assert np.isfinite(around_db(signal[:, :length])).all()


@pytest.fixture(scope="module")
def default() -> SpeechModel:
    return SpeechModel.from_pretrained("default")


def test_the_quieter_of_two_voices_is_enhanced_as_on_a_recording_of_its_own(
    default: SpeechModel, shared_data: Path
) -> None:
    paths = sorted((shared_data / "speech/valid/clean/librispeech").rglob("*.*"))
    near, far = (read_audio(paths[i]).waveform[:, :64000] for i in (3, 21))
    voices = np.concatenate([0.5 * near / np.abs(near).max(), 0.02 * far / np.abs(far).max()], axis=1)
    noisy = voices + 0.001 * noise(1, 128000)
    as_it_is = replace(default.config.sampling, least_level=None)
    far = np.s_[:, 80000:]

    def left(enhancer: Enhancer, signal: np.ndarray = noisy) -> float:
        return decibels((enhancer.enhance(signal, 16000) - voices[:, -signal.shape[1] :])[:, -48000:], voices[far])

    found, before = left(Enhancer(default)), left(Enhancer(default, sampling=as_it_is))
    assert found < before - 2
    assert found < left(Enhancer(default), noisy[:, 64000:]) + 1
    windows = Enhancer(default, window_seconds=4.0, overlap_seconds=1.0)
    assert left(windows) == pytest.approx(found, abs=0.2)
    np.testing.assert_array_equal(
        Enhancer(default).enhance(noisy[:, :16000], 16000),
        Enhancer(default, sampling=as_it_is).enhance(noisy[:, :16000], 16000),
    )
