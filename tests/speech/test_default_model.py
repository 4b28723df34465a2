"""The models that ship: they are small, have their cards, and make real noisy speech better."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from speech import Enhancer
from speech.audio.files import Audio, read_audio
from speech.audio.resampling import resample
from speech.audio.writing import write_audio
from speech.loading import load_model
from speech.metrics import si_sdr
from speech.model.export import EXPORTED
from speech.model.model import BUNDLED, SpeechModel
from tests.speech.models import tiny_model


@pytest.fixture(scope="module", params=["default", "causal"])
def enhancer(request: pytest.FixtureRequest) -> Enhancer:
    return Enhancer.from_pretrained(request.param, device="cpu")


@pytest.mark.parametrize("name", ["default", "causal"])
def test_it_loads_without_a_note(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Enhancer.from_pretrained(name, device="cpu")


def test_it_enhances_alike_where_torch_makes_doubles_by_default(enhancer: Enhancer, double_by_default: None) -> None:
    wave = np.random.default_rng(0).normal(size=8000).astype(np.float32) / 10
    again = Enhancer.from_pretrained(enhancer.model.folder or "", device="cpu")
    assert {weights.dtype for weights in again.model.parameters()} == {torch.float32}
    for rate in (16000, 44100):
        np.testing.assert_array_equal(again.enhance(wave, rate), enhancer.enhance(wave, rate))


@pytest.mark.parametrize("name", ["default", "causal"])
def test_it_is_small_and_has_a_card(name: str) -> None:
    model = Enhancer.from_pretrained(name, device="cpu").model
    assert sum(parameter.numel() for parameter in model.parameters()) <= 3_000_000
    assert (BUNDLED / name / "model.safetensors").stat().st_size <= 8_000_000
    more = {EXPORTED} if name == "causal" else set()
    assert {path.name for path in (BUNDLED / name).iterdir()} == {
        "README.md",
        "HISTORY.md",
        "config.json",
        "model.safetensors",
        *more,
    }
    card = (BUNDLED / name / "README.md").read_text(encoding="utf-8")
    for part in ("Licence", "train_speech.py", "LibriSpeech", "PESQ", "Limits"):
        assert part in card


def test_a_folder_of_its_name_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("default", "causal"):
        tiny_model().save_pretrained(name)
        with pytest.warns(UserWarning, match=f"'{name}' is the bundled model"):
            assert Enhancer.from_pretrained(name).model.config == SpeechModel.from_pretrained(BUNDLED / name).config
        for path in (f"./{name}", Path(name)):
            assert load_model(path).config == Enhancer.from_pretrained(path).model.config == tiny_model().config


@pytest.mark.parametrize("place", [0, 11])
def test_real_noisy_speech_gets_better(enhancer: Enhancer, shared_data: Path, place: int) -> None:
    pairs = shared_data / "speech" / "test_pairs"
    path = sorted((pairs / "clean").iterdir())[place]
    clean, noisy = (read_audio(folder / path.name).waveform[0] for folder in (path.parent, pairs / "noisy"))
    rate = 16000
    enhanced = enhancer.enhance(noisy, rate)
    assert enhanced.shape == noisy.shape
    assert si_sdr(clean, enhanced, rate) > si_sdr(clean, noisy, rate)


@pytest.mark.parametrize("name", ["default", "dereverb"])
def test_a_click_does_not_spoil_a_recording(name: str, shared_data: Path) -> None:
    enhancer, rate = Enhancer.from_pretrained(name, device="cpu"), 16000
    path = sorted((shared_data / "speech/valid/clean/librispeech").rglob("*.*"))[1]
    clean = read_audio(path).waveform[0, : 3 * rate]
    noisy = clean + 0.3 * clean.std() * np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)
    without = enhancer.enhance(noisy, rate)
    before = np.s_[: len(clean) - 4000]
    for place in (slice(-1600, -1599), slice(-1600, None)):  # a click, and a thump
        struck = noisy.copy()
        struck[place] += 30 * np.abs(noisy).max() * np.sin(np.arange(1600) / 36 + 1)[: len(struck[place])]
        found = enhancer.enhance(struck, rate)
        assert si_sdr(clean[before], found[before], rate) > si_sdr(clean[before], without[before], rate) - 0.5


@pytest.mark.parametrize(("name", "rate"), [("default", 16000), ("default", 48000), ("dereverb", 16000)])
def test_a_constant_does_not_spoil_a_recording(name: str, rate: int, shared_data: Path) -> None:
    """Against the result without it, SI-SDR was 23 dB, of "dereverb" 8."""
    path = sorted((shared_data / "speech/valid/clean/librispeech").iterdir())[1]
    clean = resample(read_audio(path).waveform[:, : 3 * 16000], 16000, rate)
    both = np.concatenate([clean, 0.3 * clean])
    enhancer = Enhancer(load_model(name), upper_band="follow")
    without = enhancer.enhance(both, rate)
    for window in (16.0, 2.0):
        windows = Enhancer(load_model(name), upper_band="follow", window_seconds=window, overlap_seconds=0.6)
        found = windows.enhance(both + np.array([[0.2], [-0.05]], np.float32), rate)
        for wanted, channel in zip(without, found, strict=True):
            assert si_sdr(wanted, channel, rate) > 25
            assert abs(float(channel.mean())) < 1e-3


def test_a_constant_that_was_taken_away_is_told(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 32000)).astype(np.float32)
    for folder, sound in (("in", noise + 0.2), ("without", noise)):
        (tmp_path / folder).mkdir()
        write_audio(tmp_path / folder / "a.wav", Audio(sound, 16000))
    enhancer = Enhancer.from_pretrained("default", device="cpu")
    one = enhancer.enhance_file(tmp_path / "in/a.wav", tmp_path / "a.wav")
    (other,) = enhancer.enhance_dir(tmp_path / "in", tmp_path / "out", progress=False).files
    assert one.notes == other.notes == ("a constant, 0.2 of full scale, lay on it, and was taken away",)
    assert one.removed is not None
    assert other.removed is not None
    assert one.removed.overall == pytest.approx(other.removed.overall, abs=1e-3)
    assert one.removed.overall > 15  # the constant counts
    assert enhancer.enhance_file(tmp_path / "without/a.wav", tmp_path / "b.wav").notes == ()


def test_silence_stays_silence(enhancer: Enhancer) -> None:
    assert not enhancer.enhance(np.zeros(16000, np.float32), 16000).any()


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("name", ["default", "dereverb", "causal"])
def test_a_recording_that_was_muted_again_and_again_keeps_its_voice(name: str, shared_data: Path, rate: int) -> None:
    """For a third of every .6 s: at 16 kHz SI-SDR was 9.7, 11.6 and 9.5 dB, where the recording's is 9.6 dB, and the
    silence had peaks 22, 34 and 21 dB below the voice's."""
    path = sorted((shared_data / "speech/valid/clean/librispeech").iterdir())[23]
    speech = resample(read_audio(path).waveform[0, : 4 * 16000], 16000, rate)
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    is_open = np.arange(len(speech)) % (0.6 * rate) < 0.4 * rate
    noisy = (speech + 0.3 * speech.std() * noise) * is_open
    enhanced = Enhancer.from_pretrained(name, device="cpu").enhance(noisy, rate)
    assert si_sdr(speech * is_open, enhanced, rate) > si_sdr(speech * is_open, noisy, rate) + 4
    within = np.convolve(is_open, np.ones(rate // 12), "same") == 0
    assert np.abs(enhanced[within]).max() < 1e-4 * np.abs(enhanced).max()


@pytest.mark.parametrize("place", [23, 60])
@pytest.mark.parametrize("name", ["default", "causal", "dereverb"])
def test_speech_stays_as_loud_as_it_was(name: str, shared_data: Path, place: int) -> None:
    """By least squares, of the recording in the result; the causal one gave 1 dB less, the others .3 and .4 dB."""
    enhancer = Enhancer.from_pretrained(name, device="cpu")
    path = sorted((shared_data / "speech/valid/clean/librispeech").iterdir())[place]
    clean = read_audio(path).waveform[0, : 4 * 16000]
    enhanced = enhancer.enhance(clean, 16000)
    level = 20 * np.log10(float((enhanced * clean).sum() / (clean * clean).sum()))
    assert abs(level) < 0.15


def test_noise_alone_becomes_quieter(enhancer: Enhancer) -> None:
    noise = 0.1 * torch.randn(2 * 16000, generator=torch.Generator().manual_seed(0)).numpy()
    assert np.square(enhancer.enhance(noise, 16000)).mean() < 0.25 * np.square(noise).mean()


@pytest.mark.parametrize("samples", [32468, 32778, 33023, 36768])
def test_noise_is_taken_away_up_to_the_last_sample(enhancer: Enhancer, samples: int) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    enhanced = enhancer.enhance(noise, 16000)
    assert np.square(enhanced[-4800:]).mean() < 2e-3 * np.square(noise).mean()
    assert np.abs(enhanced[-256:]).max() < 0.1 * np.abs(noise).max()


def test_any_rate_and_channels(enhancer: Enhancer) -> None:
    generator = np.random.default_rng(0)
    for rate, shape in ((8000, (8000,)), (44100, (2, 22050)), (16000, (1,)), (192000, (8, 1920))):
        waveform = (0.1 * generator.standard_normal(shape)).astype(np.float32)
        enhanced = enhancer.enhance(waveform, rate)
        assert enhanced.shape == shape
        assert enhanced.dtype == np.float32
        assert np.isfinite(enhanced).all()
        assert np.square(enhanced).mean() < (1.05 if waveform.size == 1 else 0.6) * np.square(waveform).mean()  # noise


def test_the_causal_one_streams_what_it_gives_at_once() -> None:
    enhancer = Enhancer.from_pretrained("causal", device="cpu")
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    stream = enhancer.stream(16000)
    parts = [stream.push(noise[start : start + 700]) for start in range(0, len(noise), 700)]
    streamed = np.concatenate([*parts, stream.flush()])
    assert stream.latency < 0.05
    np.testing.assert_allclose(streamed, enhancer.enhance(noise, 16000), atol=1e-4)


LAST_FRAME = (
    pytest.mark.xfail(strict=True, reason="the last frame of this noise, half of it mirrored, keeps more than -20 dB"),
)
"""A loss that the weights which know bands that end early brought."""


@pytest.mark.parametrize(
    ("level", "silent"),
    [
        (0.1, 3),
        *(
            pytest.param(level, silent, marks=[pytest.mark.slow, *(LAST_FRAME if level == 0.1 and not silent else ())])
            for level, silent in itertools.product((0.01, 0.1, 0.3), (0, 3, 40))
            if (level, silent) != (0.1, 3)
        ),
    ],
)
def test_the_causal_one_starts_quiet(level: float, silent: int) -> None:
    """What a stream begins with, be it after digital silence, is turned down before noise can be told from speech."""
    enhancer = Enhancer.from_pretrained("causal", device="cpu")
    noise = (level * np.random.default_rng(0).standard_normal((2, 24064))).astype(np.float32)
    noise[:, : 256 * silent] = 0
    noise[1, : 256 * (silent + 5)] = 0  # channels begin when they do
    stream = enhancer.stream(16000, channels=2, runtime="torch")
    found = np.concatenate([*(stream.push(part) for part in np.split(noise, 47, axis=1)), stream.flush()], axis=1)
    np.testing.assert_allclose(found, enhancer.enhance(noise, 16000), atol=1e-5)
    for channel, start in ((0, silent), (1, silent + 5)):
        energies = np.square(found[channel].reshape(-1, 256)).mean(axis=1) / level**2
        assert energies[start] < 1e-3
        assert energies[start : start + 3].max() < 0.05
        if start == 0:
            assert energies.max() < 0.01


@pytest.mark.parametrize("decibels", [60, 600])
def test_a_click_of_any_size_leaves_the_rest_as_it_was(decibels: float) -> None:
    """Recordings with one of 60 dB above their peak were refused: of what is far beyond its training the network makes
    more still."""
    enhancer = Enhancer.from_pretrained("default", device="cpu")
    wave = (0.1 * np.random.default_rng(0).standard_normal(32000) * np.sin(np.arange(32000) / 3000) ** 2).astype(
        np.float32
    )
    clicked = wave.copy()
    clicked[16000] = 10 ** (decibels / 20)
    found, usual = enhancer.enhance(clicked, 16000), enhancer.enhance(wave, 16000)
    rest = np.r_[:12000, 20000:32000]
    assert np.square(found[rest] - usual[rest]).sum() < 0.01 * np.square(wave[rest]).sum()


@pytest.mark.parametrize("loud", [5e19, 9e14])
@pytest.mark.filterwarnings("ignore:.*(not finite|cut off)", "error::RuntimeWarning")
def test_a_damaged_sample_leaves_the_rest_finite(enhancer: Enhancer, loud: float) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    wave[8000] = loud
    assert np.isfinite(enhancer.enhance(wave, 16000)).all()
