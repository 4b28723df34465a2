"""The models for rooms and lost bands that ship: small, with cards, and better than what they are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy import signal

from speech import Enhancer, SpeechModel
from speech.audio.files import read_audio
from speech.audio.resampling import resample
from speech.data.rooms import read_responses, reverberate
from speech.metrics import estoi, pesq_wb, si_sdr
from speech.metrics.spectral import lsd
from speech.model.model import BUNDLED
from speech.model.upper_band import UpperBandNetwork
from tests.speech.models import decibels, noise

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000


@pytest.fixture(scope="module")
def dereverb() -> Enhancer:
    return Enhancer.from_pretrained("dereverb", device="cpu")


@pytest.fixture(scope="module")
def bandwidth() -> SpeechModel:
    return SpeechModel.from_pretrained("bandwidth")


def below(waveform: np.ndarray, edge: float, rate: int) -> np.ndarray:
    return signal.sosfiltfilt(signal.butter(10, edge, fs=rate, output="sos"), waveform)


def above(waveform: np.ndarray, edge: float, rate: int) -> np.ndarray:
    return signal.sosfiltfilt(signal.butter(10, edge, "highpass", fs=rate, output="sos"), waveform)


@pytest.mark.parametrize("name", ["dereverb", "bandwidth", "extension"])
def test_it_has_a_card(name: str) -> None:
    card = (BUNDLED / name / "README.md").read_text(encoding="utf-8")
    for part in ("Licence", "recipes/train_", "Measured", "Limits"):
        assert part in card
    history = set() if name == "extension" else {"HISTORY.md"}
    files = {path.name for path in (BUNDLED / name).iterdir()}
    assert files == {"README.md", "config.json", "model.safetensors", *history}


def test_all_weights_that_ship_are_below_24_megabytes() -> None:
    folders = [ROOT / domain / "pretrained" for domain in ("speech", "tsdiff")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".safetensors", ".onnx")]
    assert len(files) >= 8
    assert sum(path.stat().st_size for path in files) < 24_000_000


def test_half_the_bits_are_enough(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Enhancer.from_pretrained("causal", device="cpu").model
    model.save_pretrained(tmp_path, half=True)
    assert (tmp_path / "model.safetensors").stat().st_size < 0.51 * 6.5e6
    given = noise(RATE)
    one, other = (Enhancer(each).enhance(given, RATE) for each in (model, SpeechModel.from_pretrained(tmp_path)))
    assert one.dtype == other.dtype == np.float32
    assert decibels(one - other, one) < -40


def test_rooms_are_taken_away(shared_data: Path, dereverb: Enhancer) -> None:
    rooms = read_responses(shared_data / "speech/valid/rir", RATE)
    files = sorted((shared_data / "speech/valid/clean").rglob("*.flac"))
    gained = []
    for place, room in enumerate(rooms):
        dry = resample(read_audio(files[7 * place]).waveform[0], RATE, RATE)[: 8 * RATE]
        wet, early = reverberate(dry, room, 50.0)
        peak = np.float32(0.9 / np.abs(wet).max())
        found = dereverb.enhance(wet * peak, RATE)
        gained.append([score(early, found, RATE) - score(early, wet, RATE) for score in (pesq_wb, estoi, si_sdr)])
    assert np.all(np.mean(gained, axis=0) > 0)


def test_a_dry_recording_stays(shared_data: Path, dereverb: Enhancer) -> None:
    path = sorted((shared_data / "speech/valid/clean").rglob("*.flac"))[0]
    clean = read_audio(path).waveform[0]
    assert pesq_wb(clean, dereverb.enhance(clean, RATE), RATE) > 3.5


@pytest.mark.parametrize("rate", [4000, 8000])
def test_a_lost_band_comes_back_and_what_is_there_stays(shared_data: Path, bandwidth: SpeechModel, rate: int) -> None:
    enhancer = Enhancer(bandwidth, rate=RATE)
    gains, levels = [], []
    for path in sorted((shared_data / "speech/valid/clean").rglob("*.flac"))[::17]:
        clean = read_audio(path).waveform[0][: 8 * RATE]
        narrow = resample(clean, RATE, rate)
        plain, found = resample(narrow, rate, RATE, length=len(clean)), enhancer.enhance(narrow, rate)[: len(clean)]
        low = below(plain, 0.4 * rate, RATE)
        assert decibels(below(found, 0.4 * rate, RATE) - low, low) < -40
        levels.append(decibels(above(found, 0.55 * rate, RATE), above(clean, 0.55 * rate, RATE)))
        gains.append(
            [
                estoi(clean, found, RATE) - estoi(clean, plain, RATE),
                lsd(clean, plain, RATE, low=rate / 2) - lsd(clean, found, RATE, low=rate / 2),
            ]
        )
    assert np.all(np.mean(gains, axis=0) > [0.05 if rate == 4000 else -0.001, 4.5])
    assert -20 < np.mean(levels) < 0  # what is added is there to be heard; a spline's images lie at −17 dB


def test_a_telephone_call_gets_a_studios_band(shared_data: Path, bandwidth: SpeechModel) -> None:
    path = sorted((shared_data / "speech/fullband/valid/clean").rglob("*.ogg"))[2]
    audio = read_audio(path)
    clean = resample(audio.waveform[0], audio.sample_rate, 48000)[: 6 * 48000]
    enhancer = Enhancer(bandwidth, rate=48000)
    for rate in (8000, 16000):
        narrow = resample(clean, 48000, rate)
        found = enhancer.enhance(narrow, rate)[: len(clean)]
        for edge in (9000, 12000):
            wanted, made = (float(np.sqrt(np.square(above(each, edge, 48000)).mean())) for each in (clean, found))
            assert abs(20 * np.log10(made / wanted)) < 8, (rate, edge)
        plain = resample(narrow, rate, 48000, length=len(clean))
        band = {"low": rate / 2, "high": 20000.0}
        assert lsd(clean, found, 48000, **band) < lsd(clean, plain, 48000, **band) - 4


def test_a_whole_recording_and_silence_stay(shared_data: Path, bandwidth: SpeechModel, tmp_path: Path) -> None:
    path = sorted((shared_data / "speech/fullband/valid/clean").rglob("*.ogg"))[2]
    audio = read_audio(path)
    clean = audio.waveform[:, : 4 * audio.sample_rate]
    found = Enhancer(bandwidth).enhance(clean, audio.sample_rate)
    assert decibels(found - clean, clean) < -40
    assert not Enhancer(bandwidth, rate=48000).enhance(np.zeros(4000, np.float32), 8000).any()
    soundfile.write(tmp_path / "a.wav", clean.T, audio.sample_rate)
    result = Enhancer(bandwidth).enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert result.sample_rate == audio.sample_rate


def test_the_extension_is_small_and_of_its_kind() -> None:
    network = UpperBandNetwork.from_pretrained("extension")
    assert network.config.share == 0
    assert sum(parameter.numel() for parameter in network.parameters()) < 100_000
