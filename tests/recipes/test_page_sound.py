"""The functions behind the page to try, for sound: results, what is told, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.page import examples, sound
from recipes.page.requests import (
    MODELS,
    RATES,
    ModelName,
    SoundRequest,
)
from shared.errors import ConfigError, DataError
from tests.recipes.test_page import LIMITS, is_picture, quiet

# Sound


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's recording."""
    return examples.noisy_recording(tmp_path_factory.mktemp("sound"))


def read(path: Path) -> np.ndarray:
    samples: np.ndarray = soundfile.read(path, dtype="float32")[0]
    return samples


CLEANING = [name for name in MODELS if name not in RATES]


@pytest.mark.parametrize(
    "model", [pytest.param(one, marks=() if one == "causal" else pytest.mark.slow) for one in CLEANING]
)
def test_the_example_is_cleaned(noisy: Path, tmp_path: Path, model: ModelName) -> None:
    told: list[tuple[float, str]] = []
    request = SoundRequest(noisy, noisy.name, model)
    made = sound.enhance(request, tmp_path, lambda *news: told.append(news), LIMITS)
    before, after, result = read(made.before), read(made.after), read(made.result)
    assert np.abs(before - read(noisy)).max() < 2**-14
    assert len(after) == len(before) == 10 * examples.RATE
    assert np.abs(after - result).max() < 2**-14
    voice = examples.talker(10, np.random.default_rng(4))
    voice = voice * (before @ voice) / (voice @ voice)

    def distance(sound: np.ndarray) -> float:
        return float(np.square(sound - voice).sum())

    assert distance(after) < 0.5 * distance(before)
    assert is_picture(made.picture)
    assert made.result.name == "made-up talker-enhanced.wav"
    assert [share for share, _ in told] == sorted(share for share, _ in told)


def test_a_call_gets_the_band_of_a_studio(tmp_path: Path) -> None:
    call = tmp_path / "call.wav"
    soundfile.write(call, examples.talker(2, np.random.default_rng(4))[::2], examples.RATE // 2)
    made = sound.enhance(SoundRequest(call, call.name, "bandwidth"), tmp_path, quiet, LIMITS)
    info = soundfile.info(made.result)
    assert info.samplerate == 48000
    assert info.duration == pytest.approx(2, abs=1e-3)


def test_dry_is_the_recording_itself(noisy: Path, tmp_path: Path) -> None:
    made = sound.enhance(SoundRequest(noisy, noisy.name, mix=0.0), tmp_path, quiet, LIMITS)
    assert np.abs(read(made.result) - read(noisy)).max() < 2**-13


def test_what_is_louder_than_full_scale_is_heard_as_it_is_but_quieter(noisy: Path, tmp_path: Path) -> None:
    wave = read(noisy)
    loud = wave * (4 / np.abs(wave).max())
    soundfile.write(tmp_path / "loud.wav", loud, examples.RATE, subtype="FLOAT")
    made = sound.enhance(SoundRequest(tmp_path / "loud.wav", "loud.wav", "causal"), tmp_path, quiet, LIMITS)
    assert np.abs(read(made.before) - loud / 4).max() < 2**-14
    assert np.abs(read(made.after) - read(made.result) / 4).max() < 2**-14
    assert any("4 times full scale" in note for note in made.notes)


def test_samples_that_are_not_finite_are_told_and_not_heard(noisy: Path, tmp_path: Path) -> None:
    wave = read(noisy)
    wave[1000], wave[2000] = np.nan, np.inf
    soundfile.write(tmp_path / "hurt.wav", wave, examples.RATE, subtype="FLOAT")
    made = sound.enhance(SoundRequest(tmp_path / "hurt.wav", "hurt.wav", mix=0.0), tmp_path, quiet, LIMITS)
    assert made.notes == ("2 samples not finite or beyond 1e+15, taken for 0",)
    assert np.abs(read(made.before)[[1000, 2000]]).max() == 0


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("talk.mp3", "talk-enhanced.mp3"),
        ("talk.MP4", "talk-enhanced.mp4"),
        ("talk.amr", "talk-enhanced.wav"),
        ("talk", "talk-enhanced.wav"),
        ("a=b;$(rm).flac", "a_b___rm_-enhanced.flac"),
        ("..wav", "recording-enhanced.wav"),
        ("x" * 300 + ".ogg", "x" * 80 + "-enhanced.ogg"),
    ],
)
def test_names_of_results(name: str, result: str) -> None:
    assert sound.result_name(name) == result


def test_recordings_that_cannot_be_are_refused(noisy: Path, tmp_path: Path) -> None:
    bare = tmp_path / "text.wav"
    bare.write_text("no sound at all")
    samples = tmp_path / "bare.RAW"
    samples.write_bytes(bytes(1000))
    many = tmp_path / "many.wav"
    soundfile.write(many, np.zeros((100, 9)), 16000)
    for request, said in (
        (SoundRequest(noisy, "long.wav"), "long.wav lasts 0.2 minutes, and this page takes 0.1"),
        (SoundRequest(bare, "text.wav"), "is not audio that libsndfile reads"),
        (SoundRequest(samples, "bare.RAW"), "bare.RAW holds bare samples.* send it as WAV"),
        (SoundRequest(many, "many.wav"), "9 channels, and this page takes 8"),
    ):
        with pytest.raises(DataError, match=said):
            sound.enhance(request, tmp_path, quiet, replace(LIMITS, sound_seconds=6.0))
    wrong = SoundRequest(noisy, "a.wav", "best")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="default and causal"):
        sound.enhance(wrong, tmp_path, quiet, LIMITS)
