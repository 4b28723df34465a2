"""Recordings that change while they are enhanced, as those that a recorder still writes: told, and never half read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shared.errors import DataError
from speech.audio.changes import is_newer
from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from speech.inference.files import FileResult, enhance_file
from tests.speech.models import noise, tiny_enhancer

RATE = 16000
SECONDS = 3
OPTIONS = {"window_seconds": 0.5, "overlap_seconds": 0.2}


def while_enhanced(source: Path, target: Path, change: Callable[[], object]) -> FileResult:
    """Enhance a file, which is changed after its length is known, and before its samples are read."""
    engine = tiny_enhancer(steps=1, enhancer=OPTIONS).engine
    engine.seed_of = before_reading(engine.seed_of, {source.name: change})  # type: ignore[method-assign]
    return enhance_file(engine, source, target, None, None, False)


def before_reading(seed_of: Callable[[str], int], changes: dict[str, Callable[[], object]]) -> Callable[[str], int]:
    """What asks for the seed of a file, as is done before its samples are read, and changes that file."""

    def changing(name: str) -> int:
        changes.pop(name, lambda: None)()
        return seed_of(name)

    return changing


def recorded(path: Path, seconds: float = SECONDS, seed: int = 0) -> np.ndarray:
    """A recording of noise, (samples,)."""
    waveform = noise(1, round(seconds * RATE), seed=seed)
    write_audio(path, Audio(waveform, RATE))
    return waveform[0]


def unclosed(path: Path, stated: int) -> None:
    """State another number of bytes of samples, as recorders do that correct it at the end."""
    with open(path, "r+b") as file:
        file.seek(40)
        file.write(stated.to_bytes(4, "little"))


def append(path: Path, seconds: float) -> None:
    with open(path, "ab") as file:
        file.write((noise(1, round(seconds * RATE), seed=7)[0] * 32767).astype("<i2").tobytes())


@pytest.mark.parametrize("stated", [0, 2**32 - 1])
def test_what_still_grows_is_enhanced_as_it_was_and_told(tmp_path, stated):
    path = tmp_path / "take.wav"
    recorded(path)
    whole = tiny_enhancer(steps=1, enhancer=OPTIONS).enhance_file(path, tmp_path / "before.wav", name="take.wav")
    assert whole.notes == ()
    unclosed(path, stated)
    found = while_enhanced(path, tmp_path / "out.wav", lambda: append(path, 1.0))
    assert found.seconds == SECONDS
    assert [note for note in found.notes if "grew" in note] == [
        "it grew while it was enhanced: the result is of the 3.0 s at its beginning; enhance it again (--overwrite) "
        "once it is whole"
    ]
    assert np.array_equal(
        read_audio(tmp_path / "out.wav").waveform, read_audio(tmp_path / "before.wav").waveform
    )  # the level too is that of the beginning


@pytest.mark.parametrize("name", ["take.wav", "take.flac"])
def test_what_is_cut_or_replaced_is_refused_as_changed(tmp_path, name):
    path = tmp_path / name
    for change in (lambda: os.truncate(path, 20_000), lambda: recorded(path, 1.0), lambda: path.unlink()):
        recorded(path)
        with pytest.raises(DataError, match=r"(changed|was moved or removed) while it was being enhanced"):
            while_enhanced(path, tmp_path / "out.wav", change)
    assert not list(tmp_path.glob("out.wav"))
    assert not list(tmp_path.glob(".unfinished*"))


def test_what_is_another_recording_of_that_length_is_told(tmp_path):
    path = tmp_path / "take.wav"
    recorded(path)

    def another() -> None:
        recorded(path, seed=3)
        os.utime(path, (path.stat().st_mtime + 60,) * 2)

    (said,) = while_enhanced(path, tmp_path / "out.wav", another).notes
    assert said.startswith("it changed while it was enhanced, and the result may be of both")


def test_a_folder_tells_of_what_grows_and_of_what_is_cut(tmp_path):
    folder = tmp_path / "in"
    for name in ("grows.wav", "stays.wav"):
        recorded(folder / name, 0.3)
    recorded(folder / "cut.wav")
    enhancer = tiny_enhancer(steps=1, enhancer=OPTIONS)
    changes = {
        "grows.wav": lambda: append(folder / "grows.wav", 1.0),  # one of a batch, which is in memory by then
        "cut.wav": lambda: os.truncate(folder / "cut.wav", 20_000),
    }
    engine = enhancer.engine
    engine.seed_of = before_reading(engine.seed_of, changes)  # type: ignore[method-assign]
    report = enhancer.enhance_dir(folder, tmp_path / "out", workers=1, progress=False)
    assert {file.name: len(file.notes) for file in report.files} == {"grows.wav": 1, "stays.wav": 0}
    assert "changed while it was being enhanced" in report.failed["cut.wav"]
    assert soundfile.info(tmp_path / "out/grows.wav").duration == pytest.approx(0.3)


def test_a_recording_is_newer_only_if_it_was_written_to_later(tmp_path):
    source, result = tmp_path / "a", tmp_path / "b"
    for path in (source, result):
        path.touch()
    for later, expected in ((60, True), (1, False), (0, False), (-60, False)):  # clocks of file systems are coarse
        os.utime(source, (result.stat().st_mtime + later,) * 2)
        assert is_newer(source, result) is expected
    assert not is_newer(source, tmp_path / "none")
