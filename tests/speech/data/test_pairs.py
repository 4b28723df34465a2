"""Pair folders in the layouts of the public sets; what does not pair is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from shared.errors import ConfigError, DataError
from speech.data import PairSource
from speech.data.pairs import find_pairs, pairs
from tests.speech.media_files import write_media
from tests.speech.trees import RATE, hiss, put, speech_like


def put_pair(clean: Path, noisy: Path, name: str, seconds: float = 2.0, rate: int = RATE, noisy_name: str = "") -> None:
    speech = speech_like(seconds, len(name) + ord(name[-5]), rate)
    put(clean / name, speech, rate)
    put(noisy / (noisy_name or name), speech + hiss(seconds, 1, rate), rate)


@pytest.fixture
def voicebank(tmp_path: Path) -> Path:
    for name in ("p225_001.wav", "p226_002.wav", "p287_001.wav", "p228_003.wav"):
        put_pair(tmp_path / "clean_trainset_28spk_wav", tmp_path / "noisy_trainset_28spk_wav", name, rate=48000)
    put_pair(tmp_path / "clean_testset_wav", tmp_path / "noisy_testset_wav", "p232_001.wav", rate=48000)
    return tmp_path


def test_voicebank_splits_by_speaker_and_is_resampled(voicebank: Path) -> None:
    names = {split: [pair.id for pair in find_pairs(voicebank, split)] for split in ("train", "valid", "test")}  # type: ignore[arg-type]
    assert names == {
        "train": ["p225_001", "p228_003"],
        "valid": ["p226_002", "p287_001"],
        "test": ["p232_001"],
    }
    ((name, clean, noisy),) = pairs(voicebank, "test")
    assert name == "p232_001"
    assert clean.shape == noisy.shape
    assert abs(len(clean) - 2 * RATE) <= 1
    batch = PairSource(voicebank, "train", seconds=0.5, batch_size=3).batch(np.random.default_rng(0))
    assert batch.x0.shape == (3, RATE // 2)


@pytest.mark.parametrize(("base", "names"), [("", ("clean", "noisy")), ("audio", ("anechoic", "reverb"))])
def test_split_layouts(tmp_path: Path, base: str, names: tuple[str, str]) -> None:
    for split in ("train", "valid", "test"):
        root = tmp_path / base / split
        put_pair(root / names[0], root / names[1], f"{split}_a.wav")
    for split in ("train", "valid", "test"):
        assert [pair.id for pair in find_pairs(tmp_path, split)] == [f"{split}_a"]  # type: ignore[arg-type]


def test_ears_layout_has_the_snr_in_its_noisy_names(tmp_path: Path) -> None:
    clean, noisy = tmp_path / "test/clean/p102", tmp_path / "test/noisy/p102"
    put_pair(clean, noisy, "00000.wav", noisy_name="00000_-2.5dB.wav")
    put_pair(clean, noisy, "00001.wav", noisy_name="00001_12.0dB.wav")
    found = find_pairs(tmp_path, "test", "ears")
    assert [(pair.id, pair.clean.name) for pair in found] == [
        ("p102/00000_-2.5dB", "00000.wav"),
        ("p102/00001_12.0dB", "00001.wav"),
    ]


def test_crops_are_of_one_place_in_both_files(tmp_path: Path) -> None:
    ramp = np.linspace(-0.9, 0.9, 3 * RATE).astype(np.float32)
    put(tmp_path / "clean/a.wav", ramp, subtype="FLOAT")
    put(tmp_path / "noisy/a.wav", ramp + 0.05, subtype="FLOAT")
    batch = PairSource(tmp_path, "all", seconds=0.5, batch_size=64).batch(np.random.default_rng(1))
    assert batch.y is not None
    torch.testing.assert_close(batch.y, batch.x0 + 0.05)
    starts = batch.x0[:, 0]
    assert float(starts.min()) < -0.75
    assert float(starts.max()) > 0.4
    again = PairSource(tmp_path, "all", seconds=0.5, batch_size=64).batch(np.random.default_rng(1))
    assert torch.equal(again.x0, batch.x0)


def test_crops_of_files_that_ffmpeg_alone_reads(tmp_path: Path) -> None:
    wave = speech_like(1.0)[None]
    for kind in ("clean", "noisy"):
        write_media(tmp_path / kind / "a.m4a", wave, "alac", RATE)
    batch = PairSource(tmp_path, "all", seconds=0.5, batch_size=2).batch(np.random.default_rng(0))
    assert batch.x0.shape == (2, RATE // 2)
    assert torch.equal(batch.x0, batch.y)


def test_names_pair_whether_their_accents_are_apart_or_not(tmp_path: Path) -> None:
    put(tmp_path / "clean" / "Gru\u00df \u00fc.wav", hiss(0.5))
    put(tmp_path / "noisy" / "Gru\u00df u\u0308.wav", hiss(0.5))
    assert [pair.id for pair in find_pairs(tmp_path, "all")] == ["Gru\u00df \u00fc"]


def test_short_files_are_followed_by_silence(tmp_path: Path) -> None:
    put_pair(tmp_path / "clean", tmp_path / "noisy", "short.wav", 0.5)
    batch = PairSource(tmp_path, "all", seconds=1.0, batch_size=1).batch(np.random.default_rng(0))
    assert batch.x0.shape == (1, RATE)
    assert not batch.x0[0, RATE // 2 :].any()
    assert batch.ids == ["short"]


def test_weights(tmp_path: Path) -> None:
    put_pair(tmp_path / "clean", tmp_path / "noisy", "long.wav", 3.0)
    put_pair(tmp_path / "clean", tmp_path / "noisy", "tiny.wav", 1.0)
    for weight, low, high in (("length", 0.65, 0.85), ("file", 0.4, 0.6)):
        source = PairSource(tmp_path, "all", seconds=0.1, batch_size=300, weight=weight)  # type: ignore[arg-type]
        ids = list(source.batch(np.random.default_rng(0)).ids)
        assert low < ids.count("long") / 300 < high


def test_what_does_not_pair_is_named(tmp_path: Path) -> None:
    put_pair(tmp_path / "clean", tmp_path / "noisy", "a.wav")
    lonely = put(tmp_path / "noisy" / "b.wav", hiss(1.0))
    with pytest.raises(DataError, match=r"b\.wav has no clean partner"):
        find_pairs(tmp_path, "all")
    lonely.rename(tmp_path / "clean" / "c.wav")
    with pytest.raises(DataError, match=r"c\.wav has no noisy partner"):
        find_pairs(tmp_path, "all")
    put(tmp_path / "noisy" / "c.wav", hiss(1.5))
    with pytest.raises(DataError, match=r"c\.wav has 24000 samples"):
        PairSource(tmp_path, "all")
    with pytest.raises(DataError, match=r"c\.wav has 24000 samples"):
        list(pairs(tmp_path, "all"))
    (tmp_path / "noisy" / "c.wav").write_bytes(b"RIFF, but no more")
    with pytest.raises(DataError, match=r"c\.wav is not audio"):
        PairSource(tmp_path, "all")


def test_links_to_folders_are_followed_as_often_as_they_are_named(tmp_path: Path) -> None:
    """The noisy folders of two SNRs have the same clean one."""
    for snr in ("snr0", "snr5"):
        put_pair(tmp_path / "voice", tmp_path / "train/noisy" / snr, "a.wav")
        (tmp_path / "train/clean").mkdir(exist_ok=True)
        (tmp_path / "train/clean" / snr).symlink_to(tmp_path / "voice")
    assert [pair.id for pair in find_pairs(tmp_path, "train", "split")] == ["snr0/a", "snr5/a"]


@pytest.mark.parametrize("kind", ["clean", "noisy"])
def test_two_files_of_one_name_are_refused(tmp_path: Path, kind: str) -> None:
    put_pair(tmp_path / "clean", tmp_path / "noisy", "a.wav")
    put(tmp_path / kind / "a.flac", hiss(2.0))
    with pytest.raises(DataError, match=rf"{kind}/a\.flac and .*{kind}/a\.wav have one name.*; remove one"):
        find_pairs(tmp_path, "all")


def test_samples_that_are_not_finite_are_refused_in_crops_too(tmp_path: Path) -> None:
    put_pair(tmp_path / "clean", tmp_path / "noisy", "a.wav")
    put(tmp_path / "noisy" / "a.wav", np.full(2 * RATE, np.nan, np.float32), subtype="FLOAT")
    with pytest.raises(DataError, match=r"noisy/a\.wav holds NaN or infinite samples; remove or repair it"):
        PairSource(tmp_path, "all", seconds=0.1).batch(np.random.default_rng(0))


def test_pairs_of_a_silent_noisy_file_are_left_out_and_told(tmp_path: Path) -> None:
    clean, noisy = tmp_path / "clean", tmp_path / "noisy"
    for name in ("a.wav", "b.wav", "c.wav"):
        put_pair(clean, noisy, name)
    put(noisy / "b.wav", np.zeros(2 * RATE))
    late = np.zeros(2 * RATE)
    late[-1] = 0.5
    put(noisy / "c.wav", late)
    put(clean / "c.wav", np.zeros(2 * RATE))  # noise alone may be learnt from
    with pytest.warns(UserWarning, match=r"1 of 3 pairs are left out, .*noisy/b\.wav for one: .* are silent"):
        source = PairSource(tmp_path, "test", batch_size=40)
    assert [pair.id for pair in source.pairs] == ["a", "c"]
    assert set(source.batch(np.random.default_rng(0)).ids) == {"a", "c"}
    for name in ("a.wav", "c.wav"):
        put(noisy / name, np.zeros(2 * RATE))
    with pytest.raises(DataError, match=r"noisy/a\.wav is silent, and so is every other"):
        PairSource(tmp_path, "test")


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(DataError, match="train/clean"):
        find_pairs(tmp_path, "train")
    with pytest.raises(ConfigError, match="dev"):
        find_pairs(tmp_path, "dev")  # type: ignore[arg-type]
    put_pair(tmp_path / "clean", tmp_path / "noisy", "a.wav")
    with pytest.raises(ConfigError, match="batch_size=0"):
        PairSource(tmp_path, "all", batch_size=0)
    with pytest.raises(ConfigError, match="weight"):
        PairSource(tmp_path, "all", weight="even")  # type: ignore[arg-type]


def test_real_pairs(shared_data: Path) -> None:
    folder = shared_data / "speech" / "test_pairs"
    if not folder.is_dir():
        pytest.skip(f"no pairs at {folder}; set SHARED_DATA to the folder that holds them")
    found = find_pairs(folder)
    assert len(found) == len(list((folder / "clean").iterdir()))
    name, clean, noisy = next(pairs(folder))
    original, _ = soundfile.read(folder / "clean" / f"{name}.wav", dtype="float32")
    np.testing.assert_array_equal(clean, original)
    assert len(noisy) == len(clean)


def test_pairs_below_the_models_rate_are_told(voicebank: Path) -> None:
    put_pair(voicebank / "clean_trainset_28spk_wav", voicebank / "noisy_trainset_28spk_wav", "p229_004.wav", rate=8000)
    told = r"1 of 3 recordings of clean speech have rates below 16000 Hz, p229_004 for one \(8000 Hz\)"
    with pytest.warns(UserWarning, match=told):
        PairSource(voicebank, "train")
