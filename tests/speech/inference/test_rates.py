"""Results at a rate of their own: arrays, files, folders and the command; and models that add a lost band."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from shared.errors import ConfigError
from speech import Enhancer
from speech.audio.resampling import resample
from speech.inference.advice import SettingWarning
from speech.inference.plan import plan_folder
from speech.model.model import SpeechModel
from speech.scale import enhance_dir
from tests.speech.models import decibels, gain_enhancer, noise


def adding(**options: object) -> Enhancer:
    """An enhancer that keeps the band of a recording; its network halves what it hears."""
    plain = gain_enhancer(0.5)
    sampling = replace(plain.model.config.sampling, keep_band=True, upper_band="extend")
    return Enhancer(plain.model, sampling=sampling, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (8000, 48000), (44100, 22050), (16000, 16000)])
def test_a_result_has_the_rate_that_is_asked_for(rate: int, wanted: int) -> None:
    given = noise(2, rate)
    found = gain_enhancer(1.0, rate=wanted, upper_band="follow").enhance(given, rate)
    assert found.shape == (2, wanted)
    there = resample(given, rate, wanted)
    assert decibels(found - there, there) < -45
    as_pcm = gain_enhancer(1.0, rate=wanted, upper_band="follow").enhance((given * 32767).astype(np.int16), rate)
    assert as_pcm.dtype == np.int16
    assert as_pcm.shape == (2, wanted)


def test_it_is_the_result_of_the_recording_at_that_rate() -> None:
    given = noise(1, 8000)
    one = gain_enhancer(0.5, rate=44100, upper_band="follow").enhance(given, 8000)
    other = gain_enhancer(0.5, upper_band="follow").enhance(resample(given, 8000, 44100), 44100)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_constant_leaves_no_clicks_at_the_ends_of_a_result_of_another_rate(rate: int, tmp_path: Path) -> None:
    plain = gain_enhancer(1.0).model
    config = replace(plain.config, frontend=replace(plain.config.frontend, normalize="noisy"))
    model = SpeechModel(config, plain.denoiser.network)
    given = noise(2, 16000) / 1000 + np.float32([[0.2], [-0.1]])
    soundfile.write(tmp_path / "a.wav", given.T, 16000, subtype="FLOAT")
    found = [Enhancer(model, rate=rate).enhance(given, 16000)]
    for place, windows in enumerate(({}, {"window_seconds": 0.5, "overlap_seconds": 0.2})):
        Enhancer(model, rate=rate, **windows).enhance_file(tmp_path / "a.wav", tmp_path / f"{place}.flac")
        found.append(soundfile.read(tmp_path / f"{place}.flac")[0].T)
    Enhancer(model, rate=rate).enhance_dir(tmp_path, tmp_path / "out", progress=False)
    found.append(soundfile.read(tmp_path / "out/a.wav")[0].T)
    for each in found:
        assert np.abs(each[:, [*range(50), *range(-50, 0)]]).max() < 1.5 * np.abs(each[:, 200:-200]).max() < 0.01


@pytest.mark.parametrize("rate", [0, -1, 0.5, 16000.5, "16k", 100, 999, 1_000_001])
def test_an_impossible_rate_is_refused(rate: object) -> None:
    with pytest.raises(ConfigError, match="rate"):
        gain_enhancer(1.0, rate=rate)


def test_a_stream_keeps_its_rate() -> None:
    with pytest.raises(ConfigError, match="stream"):
        gain_enhancer(1.0, rate=48000).stream(16000)


def test_files_and_folders_get_the_rate_and_what_they_lose_is_measured(tmp_path: Path) -> None:
    given = noise(2, 12001)
    for name in ("one.wav", "deep/two.flac"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, given.T, 8000)
    options = {"rate": 48000, "upper_band": "drop"}
    enhancer = gain_enhancer(0.5, **options)
    result = enhancer.enhance_file(tmp_path / "in/one.wav", tmp_path / "one.wav", loudness="keep")
    assert (result.sample_rate, result.removed is not None) == (48000, True)
    found, rate = soundfile.read(tmp_path / "one.wav")
    assert rate == 48000
    assert found.shape == (72006, 2)
    report = enhancer.enhance_dir(tmp_path / "in", tmp_path / "out", progress=False)
    assert not report.failed
    assert [file.sample_rate for file in report.files] == [48000, 48000]
    assert report.files[0].removed is not None
    assert report.files[0].removed.overall == pytest.approx(6, abs=0.5)
    for name in ("one.wav", "deep/two.flac"):
        info = soundfile.info(tmp_path / "out" / name)
        assert (info.samplerate, info.frames) == (48000, 72006)
    long = gain_enhancer(0.5, **options, window_seconds=0.5, overlap_seconds=0.2)
    long.enhance_file(tmp_path / "in/one.wav", tmp_path / "long.wav")
    windows, _ = soundfile.read(tmp_path / "long.wav")
    whole, _ = soundfile.read(tmp_path / "out/one.wav")
    assert decibels(windows - whole, whole) < -60


def test_file_by_file_with_records_it_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/one.wav", noise(4000), 8000)
    settings = {"rate": 16000}
    report = enhance_dir(
        tmp_path / "in", tmp_path / "out", model="causal", enhancer=settings, engine="local", workers=1
    )
    assert not report.failed
    assert soundfile.info(tmp_path / "out/one.wav").samplerate == 16000


def test_a_model_that_adds_a_band_leaves_what_is_there() -> None:
    given = noise(1, 8000)
    found = adding(rate=16000).enhance(given, 8000)[0]
    low = signal.butter(8, 3200, fs=16000, output="sos")
    kept, wanted = (signal.sosfiltfilt(low, each) for each in (found, resample(given[0], 8000, 16000)))
    assert decibels(kept - wanted, wanted) < -40
    whole = noise(1, 16000)
    np.testing.assert_array_equal(adding().enhance(whole, 16000), whole)
    windows = adding(window_seconds=0.6, overlap_seconds=0.2)
    assert decibels(windows.enhance(whole, 16000) - whole, whole) < -100


def test_the_report_says_where_the_band_ends(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(8000), 8000)
    soundfile.write(tmp_path / "b.wav", noise(48000), 48000)
    report = adding(rate=48000).enhance_dir(tmp_path, tmp_path / "out", progress=False)
    alone = adding(rate=16000).enhance_file(tmp_path / "b.wav", tmp_path / "c.wav")
    narrow, whole = (file.notes[-1] for file in report.files)
    assert re.fullmatch(r"its band ends at (3\.9|4\.[01]) kHz: what lies above was added", narrow)
    assert whole == "nothing is missing up to 20 kHz: left as it is"
    assert "nothing is missing up to 8 kHz: left as it is" in alone.notes
    plain = gain_enhancer(0.5, upper_band="follow").enhance_file(tmp_path / "a.wav", tmp_path / "c.wav")
    assert plain.notes == ()


def test_it_says_where_there_is_no_room_for_it(tmp_path: Path) -> None:
    with pytest.warns(SettingWarning, match=r"ends at 4 kHz.*--rate"):
        adding().enhance(noise(800), 8000)
    soundfile.write(tmp_path / "a.wav", noise(800), 8000)
    with pytest.warns(SettingWarning, match=r"ends at 4 kHz.*--rate"):
        adding().enhance_dir(tmp_path, tmp_path / "out", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adding(rate=48000).enhance(noise(800), 8000)


CODINGS_OF_CALLS = [("a.wav", "ULAW"), ("b.wav", "GSM610"), ("c.wav", "PCM_U8"), ("d.au", "G721_32"), ("e.w64", "ALAW")]


def test_a_call_at_a_higher_rate_leaves_its_coding_which_is_said(tmp_path: Path) -> None:
    for name, subtype in CODINGS_OF_CALLS:
        soundfile.write(tmp_path / name, 0.3 * noise(3200), 8000, subtype)
    soundfile.write(tmp_path / "f.wav", 0.3 * noise(3200), 8000, "PCM_24")
    there = gain_enhancer(1.0, rate=16000)
    report = there.enhance_dir(tmp_path, tmp_path / "out", progress=False)
    assert not report.failed
    for (name, subtype), file in zip(CODINGS_OF_CALLS, report.files, strict=False):
        said = f"written as PCM_16: {subtype} has noise in all of the band that a higher rate has"
        assert said in file.notes
        assert said in there.enhance_file(tmp_path / name, tmp_path / f"alone_{name}").notes
        assert soundfile.info(tmp_path / "out" / name).subtype == "PCM_16"
        assert soundfile.info(tmp_path / f"alone_{name}").subtype == "PCM_16"
    assert (report.files[-1].notes, soundfile.info(tmp_path / "out/f.wav").subtype) == ((), "PCM_24")
    planned = plan_folder([tmp_path / "a.wav"], tmp_path, tmp_path / "new", "skip", None).files[0]
    assert [planned.coding(rate) for rate in (8000, 16000)] == ["WAV ULAW", "WAV PCM_16"]
    lower = gain_enhancer(1.0, rate=4000).enhance_file(tmp_path / "a.wav", tmp_path / "lower.wav")
    assert (lower.notes, soundfile.info(tmp_path / "lower.wav").subtype) == ((), "ULAW")


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_has_room_for_what_a_higher_rate_brings(mode: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", 0.3 * noise(16000), 8000, compression_level=0.8, bitrate_mode=mode)
    enhancer = adding(rate=48000)
    enhancer.enhance_file(tmp_path / "a.mp3", tmp_path / "b.mp3")
    enhancer.enhance_file(tmp_path / "a.mp3", tmp_path / "b.wav")
    high = signal.butter(8, [9000, 12000], "bandpass", fs=48000, output="sos")
    found, wanted = (soundfile.read(tmp_path / name)[0] for name in ("b.mp3", "b.wav"))
    assert abs(decibels(signal.sosfilt(high, found), signal.sosfilt(high, wanted))) < 6


def test_what_a_file_lacks_is_told_in_its_own_seconds(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(16000), 8000)
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-8000])
    enhancer = gain_enhancer(1.0, rate=48000)
    said = "cut short: 0.5 s of the 2 s that its header states are missing"
    assert said in enhancer.enhance_file(tmp_path / "a.wav", tmp_path / "out.wav").notes
    assert said in enhancer.enhance_dir(tmp_path, tmp_path / "out", progress=False).files[0].notes


@pytest.mark.parametrize(
    ("source", "target", "rate", "there"),
    [
        ("a.mp3", "b.opus", 44100, 48000),
        ("a.wav", "b.opus", 11025, 12000),
        ("a.wav", "b.mp3", 96000, 48000),
    ],
)
@pytest.mark.parametrize("asked", [None, 22050])
def test_a_coding_that_lacks_a_rate_gets_the_next_that_it_has(
    source: str, target: str, rate: int, there: int, asked: int | None, tmp_path: Path
) -> None:
    time = np.arange(2 * rate) / rate
    wave = 0.2 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / source, np.stack([wave, wave / 2], axis=1), rate)
    result = gain_enhancer(1.0, rate=asked, upper_band="follow").enhance_file(tmp_path / source, tmp_path / target)
    if asked is not None:
        there = 24000 if target == "b.opus" else 22050
    heard, found = soundfile.read(tmp_path / target)
    assert found == there
    assert len(heard) == pytest.approx(2 * found, abs=2)
    middle = heard[found // 2 : 3 * found // 2]
    assert np.sqrt(np.square(middle).mean(axis=0)) == pytest.approx([0.2 / 2**0.5, 0.1 / 2**0.5], rel=0.05)
    assert np.argmax(np.abs(np.fft.rfft(middle[:, 0]))) == 440
    wanted, name = asked or rate, "Opus" if target == "b.opus" else "MP3"
    said = f"not kept: the rate of {wanted} Hz ({there} Hz in {name})"
    assert result.notes[:1] == (() if wanted == there else (said,))
    assert result.sample_rate == there
