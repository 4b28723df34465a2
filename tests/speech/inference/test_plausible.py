"""plausible.py: results that cannot be right are refused wherever they would come out, others told or let be."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from shared.errors import SamplingError
from speech.audio.arrays import AudioWarning
from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from speech.commands import application
from speech.enhancer import Enhancer
from speech.inference.members import Members
from speech.inference.plausible import Plausible, doubts
from speech.inference.segments import SegmentRunner
from speech.model.config import Companion, SamplingConfig
from speech.training.fit import Validation
from speech.training.settings import Experiment, ValidationSettings
from tests.speech.models import gain_enhancer, noise, tiny_enhancer

HEUN = SamplingConfig("heun", steps=5, schedule="log_snr")


def syllables(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """Something like speech in noise: harmonics that come and go, and hiss 15 dB below."""
    time = np.arange(round(seconds * 16000)) / 16000
    voice = sum(np.sin(2 * np.pi * 130 * k * time + k) / k for k in range(1, 25)) * np.sin(9 * time) ** 2
    signal = voice + 0.18 * voice.std() * np.random.default_rng(seed).standard_normal(time.size)
    return (0.5 * signal / np.abs(signal).max()).astype(np.float32)[None]


@pytest.mark.parametrize(
    ("sampler", "told"),
    [("ode1", "it is the network that fails"), ("ode", "it is the network"), ("heun", "at 5 steps fails .*more steps")],
)
def test_a_stable_sampler_is_not_to_blame(sampler: str, told: str) -> None:
    check = Plausible(SamplingConfig(sampler, steps=5), 16000)
    with pytest.raises(SamplingError, match=told):
        check.checked(syllables()[0], 100 * syllables()[0])


@pytest.fixture(scope="module")
def bundled() -> dict[str, Enhancer]:
    return {name: Enhancer.from_pretrained(name, device="cpu") for name in ("default", "causal")}


@pytest.fixture
def failing(bundled: dict[str, Enhancer]) -> Enhancer:
    """The bundled model with a sampler that is unstable at so few steps."""
    with pytest.warns(UserWarning, match=r"sampler 'heun' at 5 steps is unstable on SBVESDE: take at least \d+ steps"):
        return Enhancer(bundled["default"].model, sampling=HEUN)


def test_what_an_unstable_sampler_gives_is_refused_everywhere(failing: Enhancer, tmp_path: Path) -> None:
    refused = r"cannot be right: .*energy \+\d.*Sampler 'heun' at 5 steps.*more steps, or another sampler"
    with pytest.raises(SamplingError, match=refused):
        failing.enhance(syllables(), 16000)
    write_audio(tmp_path / "in/a.wav", Audio(syllables(), 16000))
    write_audio(tmp_path / "in/b.wav", Audio(np.zeros((1, 500), np.float32), 16000))
    (tmp_path / "old.wav").write_bytes(b"old")
    with pytest.raises(SamplingError, match=refused):
        failing.enhance_file(tmp_path / "in/a.wav", tmp_path / "old.wav")
    assert (tmp_path / "old.wav").read_bytes() == b"old"
    report = failing.enhance_dir(tmp_path / "in", tmp_path / "out", progress=False)
    assert [file.name for file in report.files] == ["b.wav"]
    assert "Sampler 'heun' at 5 steps" in report.failed["a.wav"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.wav"]


def test_the_command_ends_with_status_one_and_lists_it(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", Audio(syllables(), 16000))
    options = ["--sampler", "heun", "--steps", "5", "--device", "cpu", "--output", str(tmp_path / "report")]
    with pytest.warns(UserWarning, match="is unstable on SBVESDE"):
        done = CliRunner().invoke(
            application(), ["enhance", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), *options]
        )
    assert done.exit_code == 1
    assert not (tmp_path / "b.wav").exists()
    metrics = json.loads((tmp_path / "report/metrics.json").read_text())
    assert "cannot be right" in metrics["failed"][0]["reason"]


def test_a_stream_is_refused(bundled: dict[str, Enhancer]) -> None:
    with pytest.warns(UserWarning, match="unstable"):
        stream = Enhancer(bundled["causal"].model, sampling=HEUN).stream(16000)
    with pytest.raises(SamplingError, match="'heun' at 5 steps"):
        stream.push(syllables())


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [
        *(("pc", 3), ("sb_ode", 2), ("sb_sde", 3), ("ode2", 3), ("sde1", 2)),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("euler", 16), ("heun", 8))),
    ],
)
def test_results_that_are_right_are_let_be(bundled: dict[str, Enhancer], sampler: str, steps: int) -> None:
    signal = syllables(0.4)
    for model, sound in (("default", np.clip(12 * signal, -1, 1)), ("causal", signal)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            usual = Enhancer(bundled[model].model, sampler, steps)  # type: ignore[arg-type]
            as_drawn = replace(usual.sampling, makeup=0.0)  # this is of samplers, not of the level that models lack
            enhanced = Enhancer(usual.model, sampling=as_drawn).enhance(sound, 16000)
        assert 0.2 < np.abs(enhanced).max() / np.abs(sound).max() < 2


def test_what_is_a_little_too_loud_is_limited_and_told(tmp_path: Path) -> None:
    signal = noise(1, 4000)
    signal[0, 2000] = 0.5
    with pytest.warns(AudioWarning, match=r"7.0 dB more energy than the noisy signal.*more steps"):
        enhanced = gain_enhancer(5**0.5).enhance(signal, 16000)
    assert np.abs(enhanced).max() == pytest.approx(1.0, abs=0.01)
    assert np.abs(enhanced).max() <= 1.0
    write_audio(tmp_path / "a.wav", Audio(signal, 16000, "WAV", "FLOAT"))
    result = gain_enhancer(5**0.5).enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert int((np.abs(5**0.5 * signal) > 1.0).sum()) == 1
    assert "1 samples exceeded twice the noisy signal's peak" in result.notes[0]
    assert "7.0 dB more energy" in result.notes[0]
    assert np.abs(read_audio(tmp_path / "b.wav").waveform).max() <= 1.0
    stream = gain_enhancer(5**0.5).stream(16000)
    with pytest.warns(AudioWarning, match="dB more energy"):
        stream.push(signal)


def test_what_the_files_coding_cuts_off_is_counted(tmp_path: Path) -> None:
    signal = 3 * noise(1, 4000)
    for subtype, counted in (("PCM_16", int((np.abs(1.3 * signal) > 1).sum())), ("FLOAT", 0)):
        write_audio(tmp_path / "a.wav", Audio(signal, 16000, "WAV", "FLOAT"))
        source = Audio(signal, 16000, "WAV", subtype)
        write_audio(tmp_path / f"{subtype}/a.wav", source)
        enhancer = gain_enhancer(1.3)
        report = enhancer.enhance_dir(tmp_path / subtype, tmp_path / f"out-{subtype}", progress=False)
        file = enhancer.enhance_file(tmp_path / f"{subtype}/a.wav", tmp_path / f"{subtype}.wav")
        assert file.notes == report.files[0].notes
        told = [int(note.split(" samples exceeded")[0]) for note in file.notes if "or full scale" in note]
        assert sum(told) == pytest.approx(counted, abs=2)
    assert "5 samples" in str(doubts(5, 0.0))
    assert "loudness" not in str(doubts(5, 0.0))
    assert doubts(0, 0.0) is None


@pytest.mark.parametrize("networks", [1, 2])
def test_peaks_that_come_back_beyond_full_scale_are_turned_down_where_the_loudness_is_kept(
    networks: int, tmp_path: Path
) -> None:
    """What was cut off of a recording comes back in part. In windows, of two networks, that of the last one alone was
    counted."""
    wave = np.clip(3 * noise(1, 20_000), -1, 1)
    write_audio(tmp_path / "a.wav", Audio(wave, 16000, "WAV", "PCM_16"))
    enhancer = gain_enhancer(1.3, window_seconds=0.5, overlap_seconds=0.25)
    if networks == 2:
        beside = SegmentRunner(enhancer.model, enhancer.sampling, 1, 10**6)
        enhancer.engine.members = Members(enhancer.engine.runner, beside, Companion("another", share=0.5, beyond=0.5))
    cut = enhancer.enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert int(cut.notes[0].split(" samples exceeded")[0]) == pytest.approx((1.3 * np.abs(wave) > 1).sum(), abs=9)
    assert "; --loudness keep turns peaks down instead" in cut.notes[0]
    kept = enhancer.enhance_file(tmp_path / "a.wav", tmp_path / "c.wav", loudness="keep")
    assert not [note for note in kept.notes if "cut off" in note]
    assert np.abs(read_audio(tmp_path / "c.wav").waveform).max() < 0.9


def test_what_lossy_codings_keep_is_not_told_as_cut_off(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", Audio(3 * noise(1, 16000), 16000, "WAV", "FLOAT"))
    for name in ("b.mp3", "b.ogg"):
        file = gain_enhancer(1.3).enhance_file(tmp_path / "a.wav", tmp_path / name)
        assert not [note for note in file.notes if "full scale" in note]
        assert np.abs(read_audio(tmp_path / name).waveform).max() > 1.2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    enhancer = tiny_enhancer(steps=1)
    enhancer.model.backbone.register_forward_hook(lambda module, inputs, output: output * bad)
    with pytest.raises(SamplingError, match=r"500 of 500 samples are not finite.*'sb_sde' at 1 steps"):
        enhancer.enhance(noise(1, 500), 16000)


def test_levels_are_those_of_the_whole_in_pieces_too() -> None:
    quiet, loud = noise(1600), noise(1600, seed=1)
    check = Plausible(HEUN, 16000)
    np.testing.assert_array_equal(check.checked(loud, loud), loud)
    assert check.checked(1e-6 * quiet, 1e-3 * quiet).shape == quiet.shape  # far below what was heard
    assert (check.limited, check.louder) == (0, 0.0)
    with pytest.raises(SamplingError, match="energy"):
        check.checked(quiet, 6 * loud)
    with pytest.raises(SamplingError, match="peak"):
        Plausible(HEUN, 16000).checked(quiet, np.where(np.arange(1600) == 7, 11 * np.abs(quiet).max(), 0))
    np.testing.assert_array_equal(Plausible(HEUN, 16000).checked(0 * quiet, quiet), quiet)  # nothing to compare with
    assert Plausible(HEUN, 16000, loudest=1.0).checked(1e-9 * quiet, 1e-3 * quiet).any()


def test_quiet_pieces_are_held_against_a_floor_below_the_loudest() -> None:
    """50 dB below the loudest sample that was heard; what is below counts as that."""
    noisy = np.zeros(1600, np.float32)
    floor = 0.003 * 0.5
    for gain, told in ((1.0, 0.0), (2.0, 6.0), (3.0, 9.5)):
        check = Plausible(HEUN, 16000, loudest=0.5)
        enhanced = np.full(1600, gain * floor, np.float32)
        np.testing.assert_array_equal(check.checked(noisy, enhanced), enhanced)
        assert check.louder == told
    with pytest.raises(SamplingError, match=r"energy \+14\.0 dB"):
        Plausible(HEUN, 16000, loudest=0.5).checked(noisy, np.full(1600, 5 * floor, np.float32))


def test_a_network_that_fails_on_validation_is_never_the_best(linear_model) -> None:
    from shared.sde import SBVESDE
    from speech.model.config import Parameterisation

    settings = Experiment(validation=ValidationSettings(scores=("si_sdr",), files=2))
    model = linear_model(SBVESDE(), Parameterisation(output="data"), SamplingConfig("ode1", steps=1))
    recordings = [(str(seed), noise(8000, seed=seed), 2 * noise(8000, seed=seed)) for seed in range(2)]
    validation = Validation(recordings, settings)
    model.backbone.maps.data[:] = 0
    model.backbone.maps.data[:, :, :, 0] = np.inf
    assert np.isnan(validation(model, 0)["si_sdr"])


@pytest.mark.parametrize("level", [1e-30, 1e-12, 1e-7])
def test_what_nobody_hears_is_not_held_against_a_network(bundled: dict[str, Enhancer], level: float) -> None:
    """A microphone that is off gives numbers that are next to nothing."""
    signal = level * noise(1, 4000)
    stream = bundled["causal"].stream(16000)
    found = np.concatenate([stream.push(signal), stream.flush()], axis=1)
    assert np.abs(found).max() < 1e-5
    with pytest.raises(SamplingError, match="cannot be right"):
        Plausible(HEUN, 16000).checked(signal[0], np.full(4000, 0.1, np.float32))
