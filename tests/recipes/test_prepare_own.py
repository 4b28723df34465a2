"""Pairs of one's own recordings: mixtures and lost bands, where they go, and what is told of them."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recipes.speech_pairs.command import mix
from recipes.speech_pairs.frozen import prepare_bandwidth, prepare_mix
from shared.console.notes import Note
from shared.errors import ConfigError
from speech.data import PairSource, preset
from speech.data.pairs import pairs
from tests.recipes.test_prepare import table
from tests.speech.trees import RATE, hiss, mixing_folders, put, speech_like


def test_frozen_mixtures_train_as_pairs(tmp_path: Path) -> None:
    folders = mixing_folders(tmp_path / "in", 2.0)
    config = preset("denoise", seconds=0.5)
    prepared = prepare_mix(*folders, tmp_path / "out", config, count=4, progress=False)
    assert len(prepared.rows) == 4
    batch = PairSource(tmp_path / "out", "train", seconds=0.4, batch_size=2).batch(np.random.default_rng(0))
    assert batch.x0.shape == (2, round(0.4 * RATE))
    first = (tmp_path / "out/train/noisy/000001.wav").read_bytes()
    (tmp_path / "out/train/noisy/000001.wav").unlink()
    prepare_mix(*folders, tmp_path / "out", config, count=4, progress=False)
    assert (tmp_path / "out/train/noisy/000001.wav").read_bytes() == first
    with pytest.raises(ConfigError, match="count=0"):
        prepare_mix(*folders, tmp_path / "out", config, count=0)


def test_the_command_names_the_options_that_it_lacks(tmp_path: Path) -> None:
    clean, noise, _ = mixing_folders(tmp_path / "in", 1.0)
    with pytest.raises(ConfigError, match="--noise FOLDER"):
        mix([clean], output=tmp_path / "out")
    with pytest.raises(ConfigError, match="--rooms FOLDER or --simulated-rooms"):
        mix([clean], noise=[noise], task="dereverb", output=tmp_path / "out")
    for wrong in ({"snr": (20.0, -5.0)}, {"seconds": 0.0}, {"seconds": 1e-6}, {"task": "denoised"}):
        with pytest.raises(ConfigError, match=f"^--{next(iter(wrong))}"):
            mix([clean], noise=[noise], output=tmp_path / "none", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()


def test_pairs_of_other_settings_or_recordings_do_not_stay(tmp_path: Path) -> None:
    clean, noise, rooms = mixing_folders(tmp_path / "in", 1.0)
    config = preset("denoise", seconds=0.5, snr_db=(0.0, 1.0))

    def mixed(split: str = "train", snr_db: tuple[float, float] = (0.0, 1.0)) -> None:
        made = replace(config, snr_db=snr_db)
        prepare_mix(clean, noise, rooms, tmp_path / "out", made, count=1, split=split, progress=False)

    mixed()
    mixed("valid", (19.0, 20.0))
    with pytest.raises(
        ConfigError, match=r"pairs of other settings.*train\.json: .*snr_db: \[0\.0, 1\.0\] there.*another --output"
    ):
        mixed(snr_db=(19.0, 20.0))
    put(noise / "more.wav", hiss(1.0, 9))
    with pytest.raises(ConfigError, match=r"other settings or recordings .*train\.json: other recordings"):
        mixed()
    prepare_bandwidth(clean, tmp_path / "band", cutoffs_hz=(3000.0,), progress=False)
    with pytest.raises(ConfigError, match="other settings"):
        prepare_bandwidth(clean, tmp_path / "band", cutoffs_hz=(2000.0,), progress=False)
    shutil.rmtree(tmp_path / "band/train")
    prepare_bandwidth(clean, tmp_path / "band", cutoffs_hz=(2000.0,), progress=False)
    assert {row["cutoff_hz"] for row in table(tmp_path / "band", "train")} == {"2000.0"}


def test_a_folder_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    clean, _, _ = mixing_folders(tmp_path / "in", 0.5)
    assert len(prepare_bandwidth([clean, clean], tmp_path / "out", progress=False).rows) == 6


def test_of_two_recordings_with_one_name_the_second_is_left_out(tmp_path: Path) -> None:
    for place, name in enumerate(("a/b.wav", "a-b.wav", "x.flac", "x.wav")):
        put(tmp_path / "in" / name, hiss(1.0 + place / 10, place))
    prepared = prepare_bandwidth(tmp_path / "in", tmp_path / "out", progress=False)
    assert [row["id"] for row in prepared.rows] == ["a-b", "x"]
    assert [Path(name).name for name in prepared.failures] == ["a-b.wav", "x.wav"]
    assert "/a/b.wav's, a-b; rename" in prepared.failures[str(tmp_path / "in/a-b.wav")]
    assert [(name, len(clean)) for name, clean, _ in pairs(tmp_path / "out", "train")] == [("a-b", 16000), ("x", 19200)]


def test_pairs_do_not_go_where_recordings_are_looked_for(tmp_path: Path) -> None:
    clean, noise, rooms = mixing_folders(tmp_path / "in", 1.0)
    for folder in (clean, noise, rooms):
        with pytest.raises(ConfigError, match=rf"--output .*pairs lies in {folder}, where another run"):
            prepare_mix(clean, noise, rooms, folder / "pairs", preset("denoise", seconds=0.5), count=1, progress=False)
    with pytest.raises(ConfigError, match="choose a folder outside"):
        prepare_bandwidth(tmp_path / "in", tmp_path / "in/bandwidth", progress=False)


def test_pairs_do_not_go_among_recordings_that_a_training_mixes(tmp_path: Path) -> None:
    """In the layout that `speech train` takes, whose folder of clean speech is called as that of the pairs."""
    clean, noise, _ = mixing_folders(tmp_path / "data/train", 1.0)
    (clean / "speaker").mkdir()
    put(clean / "speaker/a.wav", speech_like(1.0))
    for folder in (clean, clean / "speaker"):
        with pytest.raises(ConfigError, match=r"would lie in .*data/train/clean, among the recordings"):
            prepare_mix(folder, noise, None, tmp_path / "data", preset("denoise", reverb=0.0), count=1, progress=False)
    with pytest.raises(ConfigError, match="among the recordings"):
        prepare_bandwidth(clean, tmp_path / "data", progress=False)
    assert not (tmp_path / "data/train/noisy").exists()
    prepare_bandwidth(clean, tmp_path / "data", split="valid", progress=False)


def test_bandwidth_pairs(tmp_path: Path) -> None:
    put(tmp_path / "in/a/x.wav", hiss(1.0))
    put(tmp_path / "in/b/x.wav", hiss(1.0, 1))
    prepare_bandwidth(tmp_path / "in", tmp_path / "out", cutoffs_hz=(3000.0,), split="valid", progress=False)
    items = list(pairs(tmp_path / "out", "valid"))
    assert [name for name, _, _ in items] == ["a-x", "b-x"]
    for _, clean, noisy in items:
        above = np.fft.rfftfreq(len(clean), 1 / RATE) > 3200
        kept = [np.sum(np.abs(np.fft.rfft(np.blackman(len(x)) * x))[above] ** 2) for x in (noisy, clean)]
        assert kept[0] < 1e-4 * kept[1]
    for cutoff in (99.0, RATE / 2, 9000.0):
        with pytest.raises(ConfigError, match=f"^--cutoff 3000, {cutoff:g}: "):
            prepare_bandwidth(tmp_path / "in", tmp_path / "out", cutoffs_hz=(3000.0, cutoff))
    lowest = prepare_bandwidth(tmp_path / "in", tmp_path / "low", cutoffs_hz=(100.0,), progress=False)
    assert [row["cutoff_hz"] for row in lowest.rows] == [100.0, 100.0]


def test_recordings_of_silence_make_no_pairs(tmp_path: Path) -> None:
    put(tmp_path / "in/nothing.wav", np.zeros(RATE, np.float32))
    put(tmp_path / "in/speech.wav", hiss(1.0))
    prepared = prepare_bandwidth(tmp_path / "in", tmp_path / "out", cutoffs_hz=(3000.0,), progress=False)
    assert [row["id"] for row in prepared.rows] == ["speech"]
    assert prepared.failures[str(tmp_path / "in/nothing.wav")].endswith("nothing.wav is silent; remove it")
    assert [name for name, _, _ in pairs(tmp_path / "out", "train")] == ["speech"]


def test_recordings_that_lack_a_part_of_the_band_are_told(tmp_path: Path) -> None:
    put(tmp_path / "in/narrow.wav", hiss(1.0, 1, 8000), 8000)
    put(tmp_path / "in/wide.wav", hiss(1.0))
    with pytest.warns(Note, match=r"1 of 2 recordings of clean speech have rates below 16000 Hz, narrow .*8000 Hz"):
        prepare_bandwidth(tmp_path / "in", tmp_path / "out", cutoffs_hz=(3000.0,), progress=False)


@pytest.mark.parametrize(("task", "unused"), [("dereverb", ["noise"]), ("bandwidth", ["noise", "rooms"])])
def test_noise_and_rooms_that_a_task_does_not_use_are_told(task: str, unused: list[str], tmp_path: Path) -> None:
    folders = mixing_folders(tmp_path / "in", 0.5)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", Note)
        prepare_mix(*folders, tmp_path / "out", preset(task, seconds=0.2), count=1, progress=False)
    said = [str(one.message) for one in told if "not used: this task" in str(one.message)]
    assert len(said) == len(unused)
    assert all(name in text for name, text in zip(unused, said, strict=True))


def test_the_report_is_of_all_splits(tmp_path: Path) -> None:
    clean, _, _ = mixing_folders(tmp_path / "in", 1.0)
    (clean / "broken.wav").write_bytes(b"not audio")
    out = tmp_path / "out"
    for split in ("train", "valid", "valid"):
        prepare_bandwidth(clean, out, split=split, progress=False)
    found = json.loads((out / "metrics.json").read_text())
    assert found["files"] == {"train": 6, "valid": 6}
    assert [failure["split"] for failure in found["failed"]] == ["train", "valid"]
    (clean / "broken.wav").unlink()
    shutil.rmtree(out / "train")
    prepare_bandwidth(clean, out, split="valid", progress=False)
    found = json.loads((out / "metrics.json").read_text())
    assert (found["files"], found["failed"]) == ({"valid": 6}, [])


def test_pairs_of_an_earlier_run_that_the_table_has_not_are_told(tmp_path: Path) -> None:
    clean, _, _ = mixing_folders(tmp_path / "in", 0.5)
    out = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        prepare_bandwidth(clean, out, progress=False)
    first = min(path for path in clean.rglob("*") if path.is_file())
    first.unlink()
    with pytest.warns(Note, match=r"out/train holds 1 more of an earlier run, .* remove them"):
        prepare_bandwidth(clean, out, progress=False)
    assert json.loads((out / "metrics.json").read_text())["files"] == {"train": 5}


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ({"seconds": 1e9}, {}, r"seconds=1e\+09: 1 at once take 384,000\.0 GB of memory or more, .*\(--seconds\)"),
        ({"seconds": 1e9}, {"count": 3, "workers": 2}, r"2 at once take 768,000\.0 GB .*\(--workers\)"),
        (
            {},
            {"count": 10**11},
            r"count=100000000000, seconds=4: the pairs take 25,600,000\.0 GB, and .*\(--output\)",
        ),
        (
            {"reverb": 1.0},
            {"simulated_rooms": 10**11},
            r"simulated_rooms=100000000000: .*\(--simulated-rooms\)",
        ),
    ],
)
def test_what_no_machine_holds_is_refused_before_recordings_are_read(
    config: dict[str, float], options: dict[str, int], said: str, tmp_path: Path
) -> None:
    made = preset("denoise", **{"seconds": 4.0, **config})
    given = {"count": 1, "workers": 1, **options}
    with pytest.raises(ConfigError, match=said):
        prepare_mix(tmp_path / "nothing", [], None, tmp_path / "a" / "out", made, progress=False, **given)
    assert not list(tmp_path.iterdir())
