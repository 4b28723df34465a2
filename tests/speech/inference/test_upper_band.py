"""The network for the band above 8 kHz: what it leaves alone, what it takes away, and that blocks change nothing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal

from shared.errors import CheckpointError, ConfigError
from speech import Enhancer, SpeechModel
from speech.audio.files import read_audio
from speech.audio.resampling import resample
from speech.inference.upper_band import KNOWN_PEAK, ExtensionJoin, UpperBandJoin
from speech.model.frontend import FrontEndConfig
from speech.model.model import BUNDLED
from speech.model.upper_band import Bands, RunningNetwork, UpperBandConfig, UpperBandNetwork, bundled_upper_band
from tests.speech.models import decibels, gain_enhancer, level, noise, tiny_enhancer

RATES = [22050, 32000, 44100, 48000, 96000]


def always(gain: float) -> Any:
    """Gives every band this gain."""

    def network(features: np.ndarray, memory: None, passed_over: object = None) -> tuple[np.ndarray, None]:
        return np.full((*features.shape[:-1], UpperBandConfig().upper), gain, np.float32), memory

    return network


@pytest.fixture(scope="module")
def network() -> UpperBandNetwork:
    torch.manual_seed(0)
    return UpperBandNetwork().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def running(network: UpperBandNetwork) -> RunningNetwork:
    return network.running()


@pytest.fixture(scope="module")
def model() -> SpeechModel:
    return SpeechModel.from_pretrained("default")


def joined(
    network: RunningNetwork,
    rate: int,
    signals: np.ndarray,
    cuts: list[int],
    kind: type[UpperBandJoin] = UpperBandJoin,
    peaks: Sequence[float] | None = None,
) -> np.ndarray:
    """Recording, low and enhanced, (3, channels, n), joined in blocks that begin at these places."""
    edges = ([8000.0] * signals.shape[1],) if kind is ExtensionJoin else ()
    join = kind(network, rate, signals.shape[1], *edges, peaks=peaks)
    blocks = np.split(signals, cuts, axis=2)
    made, late = [], 0
    for place, (recording, low, enhanced) in enumerate(blocks):
        made.append(join.join(join.stack(low, enhanced), recording, last=place == len(blocks) - 1))
        late = sum(block.shape[2] for block in blocks[: place + 1]) - sum(block.shape[1] for block in made)
        assert late <= join.delay
    assert late == 0
    return np.concatenate(made, axis=1)


def above(waveform: np.ndarray, rate: int) -> np.ndarray:
    return signal.sosfiltfilt(signal.butter(8, 9000, "highpass", fs=rate, output="sos"), waveform)


@pytest.mark.parametrize("rate", RATES)
def test_gains_of_one_give_the_recording_and_gains_of_none_the_models_band(rate: int) -> None:
    recording, low, enhanced = signals = noise(3, 2, rate // 3 + 17)
    np.testing.assert_allclose(joined(always(1.0), rate, signals, []), enhanced + recording - low, atol=1e-6)
    np.testing.assert_allclose(joined(always(0.0), rate, signals, []), enhanced, atol=1e-6)


@pytest.mark.parametrize("rate", [22050, 48000])
@pytest.mark.parametrize("samples", [1, 100, 20000])
def test_blocks_of_any_size_give_the_same(running: RunningNetwork, rate: int, samples: int) -> None:
    signals = noise(3, 2, samples)
    whole = joined(running, rate, signals, [])
    assert whole.shape == (2, samples)
    places = sorted(np.random.default_rng(1).integers(0, samples, 20).tolist())
    for cuts in (places, list(range(0, samples, 97))):
        np.testing.assert_allclose(joined(running, rate, signals, cuts), whole, atol=1e-6)


@pytest.mark.parametrize("kind", [UpperBandJoin, ExtensionJoin])
def test_where_the_peak_is_known_the_level_does_not_matter(running: RunningNetwork, kind: type[UpperBandJoin]) -> None:
    signals = noise(3, 2, 9000)
    edges = ([7000.0, 8000.0],) if kind is ExtensionJoin else ()

    def found(level: float, peaks: Sequence[float] | None) -> np.ndarray:
        join = kind(running, 48000, 2, *edges, peaks=peaks)
        made = join.join(join.stack(*np.float32(level) * signals[1:]), np.float32(level) * signals[0], last=True)
        return made / np.float32(level)

    known = found(1.0, [KNOWN_PEAK, KNOWN_PEAK])
    np.testing.assert_allclose(found(1.0, None), known, atol=1e-6)  # as it is
    np.testing.assert_allclose(found(1e-3, [1e-3 * KNOWN_PEAK] * 2), known, atol=1e-6)
    assert np.abs(found(1e-3, None) - known).max() > 1e-3
    assert np.isfinite(found(1.0, [0.0, KNOWN_PEAK])).all()


def test_files_of_models_that_normalise_have_their_level_told(model: SpeechModel) -> None:
    waveform, quiet = noise(1, 60000), np.float32(2**-8)
    sampling = replace(model.config.sampling, clean_share=0.0)
    for options in (
        {"upper_band": "enhance"},
        {"upper_band": "extend", "window_seconds": 1.1, "overlap_seconds": 0.55},
    ):
        enhancer = Enhancer(model, sampling=sampling, **options)
        loud = enhancer.enhance(waveform, 48000)
        np.testing.assert_allclose(enhancer.enhance(quiet * waveform, 48000) / quiet, loud, atol=1e-6)


def test_a_channel_does_not_depend_on_the_other(running: RunningNetwork) -> None:
    signals = noise(3, 2, 9000)
    both = joined(running, 48000, signals, [])
    for channel in range(2):
        np.testing.assert_allclose(joined(running, 48000, signals[:, channel, None], [])[0], both[channel], atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_frames_are_inverted_and_white_noise_is_as_loud_in_every_band(rate: int) -> None:
    bands = Bands.of(UpperBandConfig(), rate)
    frames = noise(2000, 2 * bands.hop)
    np.testing.assert_allclose(bands.waves(bands.spectra(frames)), frames * bands.window**2, atol=1e-6)
    power = np.square(np.abs(bands.spectra(frames))).mean(0)
    for weights in (bands.upper, bands.lower):
        means = (power @ weights)[weights.sum(0) > 0.5]
        assert len(means) > 4
        np.testing.assert_allclose(10 * np.log10(means), level(frames), atol=1.0)
    np.testing.assert_allclose(bands.gains.sum(0), 1.0, atol=1e-5)


def test_without_pytorch_it_is_the_same(network: UpperBandNetwork, running: RunningNetwork) -> None:
    features = np.random.default_rng(0).standard_normal((2, 30, 56)).astype(np.float32)
    wanted, memory = network(torch.from_numpy(features))
    first, remembered = running(features[:, :11])
    rest, remembered = running(features[:, 11:], remembered)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), wanted, atol=1e-6)
    np.testing.assert_allclose(remembered, memory[0], atol=1e-6)


def test_saved_and_loaded_it_is_the_same(network: UpperBandNetwork, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    features = torch.randn(1, 20, 56)
    torch.testing.assert_close(UpperBandNetwork.from_pretrained(tmp_path)(features)[0], network(features)[0])
    with pytest.raises(CheckpointError, match="'speech upper band'"):
        SpeechModel.from_pretrained(tmp_path)


def test_the_bundled_one_is_small_and_has_a_card() -> None:
    folder = BUNDLED / "upper_band"
    files = {path.name for path in folder.iterdir()}
    assert files == {"README.md", "HISTORY.md", "config.json", "model.safetensors"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 500_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("Licence", "train_upper_band.py", "kathleen", "Measured", "Limits"):
        assert part in card


def test_it_is_for_models_at_16_khz(model: SpeechModel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enhancer = Enhancer(model, upper_band="enhance")
        enhancer.enhance(noise(4800), 48000)
    assert enhancer.upper_band == "enhance"
    at_48 = FrontEndConfig(sample_rate=48000, n_fft=126, hop_length=32)
    with pytest.raises(ConfigError, match=r"upper_band='enhance'.*48000 Hz"):
        tiny_enhancer(frontend=at_48, enhancer={"upper_band": "enhance"})


def test_what_nobody_chose_is_left_to_the_network_of_the_default_and_follows_other_models(model: SpeechModel) -> None:
    waveform = noise(24000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what the model's settings say needs no word
        of_itself = Enhancer(model).enhance(waveform, 48000)
    np.testing.assert_array_equal(of_itself, Enhancer(model, upper_band="enhance").enhance(waveform, 48000))
    assert [Enhancer.from_pretrained(name).upper_band for name in ("default", "causal", "dereverb")] == [
        "enhance",
        "follow",
        "follow",
    ]


def test_noise_above_8_khz_goes_where_there_is_none_below(model: SpeechModel) -> None:
    hiss = above(noise(3 * 48000), 48000).astype(np.float32)
    made, followed = (above(Enhancer(model, upper_band=way).enhance(hiss, 48000), 48000) for way in (None, "follow"))
    assert level(made) < level(hiss) - 40
    assert level(made) < level(followed)


def test_up_to_16_khz_nothing_changes(model: SpeechModel) -> None:
    for rate in (8000, 16000):
        one, other = (Enhancer(model, upper_band=choice).enhance(noise(rate), rate) for choice in ("enhance", "follow"))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_windows_give_what_the_whole_gives(rate: int) -> None:
    waveform, options = noise(2, rate), {"upper_band": "enhance", "mix": 0.7}
    whole = gain_enhancer(0.5, **options).enhance(waveform, rate)
    windows = gain_enhancer(0.5, **options, window_seconds=0.5, overlap_seconds=0.2).enhance(waveform, rate)
    assert whole.shape == waveform.shape
    assert decibels(windows - whole, whole) < -80


@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_stream_gives_what_the_whole_gives_and_is_as_late_as_it_says(rate: int) -> None:
    enhancer = gain_enhancer(0.5, upper_band="enhance")
    waveform = noise(1, rate // 2)
    waveform -= signal.sosfiltfilt(signal.butter(4, [6500, 8500], "bandpass", fs=rate, output="sos"), waveform)
    stream = enhancer.stream(rate)
    size, inside, parts = rate // 200, 0, []
    for start in range(0, waveform.shape[1], size):
        parts.append(stream.push(waveform[:, start : start + size]))
        inside = max(inside, min(start + size, waveform.shape[1]) - sum(part.shape[1] for part in parts))
    found = np.concatenate([*parts, stream.flush()], axis=1)
    assert found.shape == waveform.shape
    assert stream.latency - 0.006 < inside / rate <= stream.latency
    whole = enhancer.enhance(waveform, rate)
    middle = slice(rate // 20, -rate // 20)
    assert decibels((found - whole)[:, middle], whole[:, middle]) < -25  # short filters are not as steep at 8 kHz


def test_silence_stays_silence(model: SpeechModel) -> None:
    assert not Enhancer(model, upper_band="enhance").enhance(np.zeros(9600, np.float32), 48000).any()


@pytest.mark.parametrize("pause", [0.0, 2e-5])  # the latter is what the last of 16 bits makes
def test_who_speaks_after_digital_silence_keeps_what_is_above(
    shared_data: Path, model: SpeechModel, pause: float
) -> None:
    """As of recordings that were joined: what was said in the second after it lost fricatives."""
    files = sorted((shared_data / "speech/fullband/valid/clean").rglob("*.ogg"))[:3]
    parts = [read_audio(file).waveform[0] for file in files]
    silence = (pause * noise(4800) / 0.1).astype(np.float32)
    clean = np.concatenate([each for part in parts for each in (part, silence)])
    made, reference = above(Enhancer(model).enhance(clean, 48000), 48000), above(clean, 48000)
    assert decibels(made - reference, reference) < -28


def test_frames_that_are_passed_over_leave_the_memory(running: RunningNetwork) -> None:
    features = np.random.default_rng(0).standard_normal((1, 12, 56)).astype(np.float32)
    passed_over = np.arange(12)[None] % 3 == 1
    gains, memory = running(features, None, passed_over)
    expected, remembered = running(features[:, ~passed_over[0]])
    np.testing.assert_allclose(gains[~passed_over], expected[0], atol=1e-6)
    np.testing.assert_allclose(memory, remembered, atol=1e-6)


def test_clean_speech_keeps_its_upper_band_and_noise_falls_in_pauses(shared_data: Path, model: SpeechModel) -> None:
    folder = shared_data / "speech/fullband/valid/clean"
    audio = read_audio(sorted(folder.rglob("*.ogg"))[0])
    clean, rate = audio.waveform[0, : 3 * audio.sample_rate], audio.sample_rate
    reference = above(clean, rate)
    smooth = np.convolve(np.square(reference), np.ones(960) / 960, "same")
    voice, pauses = smooth > smooth.max() / 100, smooth < smooth.max() / 10000
    enhancer = Enhancer(model, upper_band="enhance")
    kept = above(enhancer.enhance(clean, rate), rate)
    assert level(kept[voice]) == pytest.approx(level(reference[voice]), abs=1.0)
    noisy = clean + (0.1 * clean.std() * noise(len(clean)) / 0.1).astype(np.float32)
    before, after = above(noisy, rate), above(enhancer.enhance(noisy, rate), rate)
    assert level(after[pauses]) - model.config.sampling.makeup < level(before[pauses]) - 20
    assert level(after[voice]) == pytest.approx(level(reference[voice]), abs=3.0)


@pytest.mark.parametrize("rate", RATES)
def test_an_extension_adds_levels_of_copies_where_there_is_nothing(rate: int) -> None:
    low = signal.sosfiltfilt(signal.butter(10, 7800, fs=rate, output="sos"), noise(2, rate)).astype(np.float32)
    signals = np.stack([low, low, low])
    np.testing.assert_allclose(joined(always(0.0), rate, signals, [], ExtensionJoin), low, atol=1e-6)
    added = joined(always(0.25), rate, signals, [], ExtensionJoin) - low  # copies have four times the amplitude
    spectrum = np.square(np.abs(np.fft.rfft(added))).mean(0)
    source = np.square(np.abs(np.fft.rfft(low))).mean(0)
    hz = np.fft.rfftfreq(rate, 1 / rate)
    of_copies = source[(hz > 3600) & (hz < 7400)].mean()
    for start in range(9000, min(19000, rate // 2 - 2000), 2000):
        there = spectrum[(hz > start) & (hz < start + 1500)].mean()
        assert 10 * np.log10(there / of_copies) == pytest.approx(0.0, abs=1.5)
    assert spectrum[hz < 7000].mean() < 1e-4 * of_copies
    assert not (hz > 21000).any() or spectrum[hz > 21000].mean() < 1e-3 * of_copies


def test_an_extension_leaves_a_band_that_is_loud_enough() -> None:
    recording = noise(1, 48000)
    low = signal.sosfiltfilt(signal.butter(10, 7800, fs=48000, output="sos"), recording).astype(np.float32)
    found = joined(always(0.06), 48000, np.stack([recording, low, low]), [], ExtensionJoin)
    assert decibels(found - recording, recording) < -20
    half = low + signal.sosfiltfilt(signal.butter(10, [9000, 12000], "bandpass", fs=48000, output="sos"), recording)
    found = joined(always(0.2), 48000, np.stack([half.astype(np.float32), low, low]), [], ExtensionJoin)
    inside, outside = (
        signal.sosfiltfilt(signal.butter(8, band, "bandpass", fs=48000, output="sos"), found - half)
        for band in ([9500, 11500], [13500, 18000])
    )
    assert level(inside) < level(outside) - 10


@pytest.mark.parametrize("rate", [22050, 48000])
def test_blocks_of_any_size_extend_the_same(running: RunningNetwork, rate: int) -> None:
    signals = noise(3, 2, 20000)
    whole = joined(running, rate, signals, [], ExtensionJoin)
    for cuts in ([5], list(range(0, 20000, 97))):
        np.testing.assert_allclose(joined(running, rate, signals, cuts, ExtensionJoin), whole, atol=1e-5)


@pytest.mark.parametrize("rate", [22050, 24000, 32000])
def test_what_is_added_does_not_depend_on_the_rate(rate: int) -> None:
    network = bundled_upper_band("extension")
    falling = signal.lfilter([1], [1, -0.9], noise(1, 48000)).astype(np.float32)

    def added(rate: int) -> float:
        low = resample(resample(falling, 48000, 16000), 16000, rate)
        made = joined(network, rate, np.stack([low, low, low]), [], ExtensionJoin, [0.2]) - low
        there = signal.butter(8, [8500, 10000], "bandpass", fs=rate, output="sos")
        return level(signal.sosfiltfilt(there, made)) - level(low)

    assert added(rate) == pytest.approx(added(48000), abs=2.5)
