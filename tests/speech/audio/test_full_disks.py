"""Audio that is written where there is no room, or no right to, or that is stopped: no half file is left."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.errors import DataError
from shared.files.io import temporary_path
from speech.audio.files import Audio, AudioInfo
from speech.audio.writing import create_audio, write_audio
from speech.commands.pipes import spooled
from tests.speech.audio.test_audio import sound


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file may grow beyond this many bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a.mka"])
def test_a_full_disk_leaves_no_half_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"the old file")
    with small_files(20_000), pytest.raises(DataError, match=r"cannot be written.*free some space"):
        write_audio(tmp_path / name, Audio(sound(2, 200_000), 48000))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"the old file"


def test_of_a_result_for_a_pipe_or_a_device_the_temporary_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_path(tmp_path, folder=True) as folder:  # of standard output, see speech/commands/pipes.py
        for target in (Path(os.devnull), folder / "stdout.wav"):
            with small_files(20_000), pytest.raises(DataError) as raised:
                write_audio(target, Audio(sound(2, 200_000), 48000))
            assert f"{tmp_path} has no room" in str(raised.value)
            assert "TMPDIR" in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_pipe_that_there_is_no_room_for_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "a.wav").write_bytes(bytes(100_000))
    with small_files(20_000), pytest.raises(DataError, match="have TMPDIR name another folder") as caught:
        spooled(tmp_path / "a.wav", False).__enter__()
    assert str(tmp_path) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(("options", "message"), [("size=64k", "full"), ("ro", "Read-only")])
def test_a_full_and_a_read_only_file_system(tmp_path, options, message):
    with mounted(tmp_path, options):
        with pytest.raises(DataError, match=rf"cannot be written.*{message}"):
            write_audio(tmp_path / "a.wav", Audio(sound(2, 100_000), 48000))
        assert list(tmp_path.iterdir()) == []


def test_a_stop_in_the_middle_leaves_nothing(tmp_path):
    def stopped() -> None:
        with create_audio(tmp_path / "a.wav", AudioInfo(16000, 1, 100)) as writer:
            writer.write(sound(1, 50))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []
