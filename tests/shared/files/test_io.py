"""io.py: the old file or the new one, whole, whatever happens; what is no file stays; nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch

from shared.console.command import claim_output
from shared.errors import ConfigError, DataError
from shared.files import io
from shared.files.io import UNFINISHED, atomic_folder, atomic_path, remove_unfinished, write_csv, write_text
from shared.training.loop import AtomicIO
from tests.isolated import forked
from tests.stops import stopped_everywhere

ROOT = Path(__file__).resolve().parents[3]


def left_in(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(UNFINISHED)]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that runs this code; it has said a line when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_reader_of_the_old_file_keeps_it_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with open(target) as reader:
        before = os.fstat(reader.fileno()).st_ino
        with atomic_path(target) as temporary:
            temporary.write_text("new and longer")
            assert target.read_text() == "old"
        assert reader.read() == "old"
        assert os.fstat(reader.fileno()).st_nlink == 0
    assert target.stat().st_ino != before
    assert target.read_text() == "new and longer"


def test_an_observer_never_sees_half_a_file(tmp_path: Path) -> None:
    target, seen, done = tmp_path / "a.bin", set(), threading.Event()
    size = 4_000_000
    write_text(target, "0" * size)

    def observe() -> None:
        while not done.is_set():
            content = target.read_bytes()
            seen.add((len(content), content[:1], content[-1:]))

    watching = threading.Thread(target=observe)
    watching.start()
    try:
        for n in range(1, 9):
            write_text(target, str(n) * size)
    finally:
        done.set()
        watching.join()
    assert seen
    assert {(length, first == last) for length, first, last in seen} == {(size, True)}


WRITE_FOREVER = """
import itertools, sys
from shared.files.io import atomic_path
print(flush=True)
for n in itertools.count():
    with atomic_path(sys.argv[1]) as temporary, open(temporary, "wb") as stream:
        for _ in range(40):
            stream.write(b"%d" % (n % 10) * 50_000)
            stream.flush()
"""


def test_a_killed_writer_leaves_a_whole_file_and_the_next_run_removes_the_rest(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"x" * 2_000_000)
    left = 0
    for attempt in range(8):
        process = start(WRITE_FOREVER, target)
        time.sleep(0.004 * attempt)
        kill(process)
        content = target.read_bytes()
        assert len(content) == 2_000_000
        assert content == content[:1] * len(content)
        left += len(left_in(tmp_path))
        assert len(left_in(tmp_path)) <= 1
    assert left > 0
    write_text(target, "the next run")
    assert os.listdir(tmp_path) == ["a.bin"]


def one_folder(target: Path) -> None:
    with atomic_folder(target) as temporary:
        (temporary / "part").write_text("new")


@pytest.mark.parametrize("write", [lambda target: write_text(target, "new"), one_folder])
def test_a_stop_at_any_moment_leaves_nothing_unfinished(tmp_path: Path, write: Callable[[Path], object]) -> None:
    stops = 0
    for stop in stopped_everywhere(lambda: write(tmp_path / "a"), io, contextlib):
        assert left_in(tmp_path) == [], stop
        stops += 1
    assert stops > 300
    assert os.listdir(tmp_path) == ["a"]


HOLD = """
import sys, time
from shared.files.io import atomic_folder, atomic_path
with atomic_path(sys.argv[1] + "/a.txt") as file, atomic_folder(sys.argv[1] + "/b") as folder:
    (folder / "part").write_text("half")
    file.write_text("half")
    print(flush=True)
    sys.stdin.readline()
    file.write_text("whole")
    (folder / "part").write_text("whole")
"""


def test_the_unfinished_of_a_living_run_stay_and_those_of_a_dead_one_go(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    dead = start(HOLD, tmp_path)
    kill(dead)
    assert len(left_in(tmp_path)) == 4
    remove_unfinished(tmp_path)
    assert len(left_in(tmp_path)) == 2
    process.communicate("go on\n")
    assert process.returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b"]
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "b/part").read_text() == "whole"


def test_other_files_are_not_taken_for_unfinished(tmp_path: Path) -> None:
    for name in (".hidden", "unfinished-1.wav", ".a.txt-x1"):
        (tmp_path / name).write_text("the user's")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("the user's")
    (tmp_path / f"{UNFINISHED}link").symlink_to(outside)
    os.mkfifo(tmp_path / f"{UNFINISHED}fifo")
    write_text(tmp_path / "new.txt", "x")
    assert {".hidden", "unfinished-1.wav", ".a.txt-x1", "new.txt"} <= set(os.listdir(tmp_path))
    assert (outside / "kept").read_text() == "the user's"


@pytest.mark.parametrize(
    "name",
    ["a" * 250, "ü" * 120 + ".table", "録音" * 40 + ".wav", "b." + "c" * 253],
    ids=["letters", "two bytes each", "three bytes each", "suffix"],
)
def test_names_as_long_as_the_file_system_takes(tmp_path: Path, name: str) -> None:
    for text in ("one", "two"):
        write_text(tmp_path / name, text)
    assert (tmp_path / name).read_text() == "two"
    assert os.listdir(tmp_path) == [name]
    assert len(os.fsencode(name)) > 240
    with atomic_folder(tmp_path / ("d" * 255)) as temporary:
        (temporary / "x").write_text("x")
    assert (tmp_path / ("d" * 255) / "x").is_file()
    with pytest.raises(OSError, match="too long"):
        write_text(tmp_path / ("e" * 256), "x")


def test_a_file_hands_its_permissions_on(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    (tmp_path / "a").chmod(0o640)
    write_text(tmp_path / "a", "new")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_link_stays_and_the_file_behind_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file, link = tmp_path / "elsewhere/file.txt", tmp_path / "link.txt"
    link.symlink_to("elsewhere/file.txt")
    for text in ("through a link that leads nowhere yet", "and again"):
        write_text(link, text)
        assert link.is_symlink()
        assert file.read_text() == text
        assert not file.is_symlink()
    assert os.listdir(tmp_path / "elsewhere") == ["file.txt"]
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links"):
        write_text(tmp_path / "round", "x")
    assert (tmp_path / "round").is_symlink()


@contextmanager
def reading(path: Path) -> Iterator[list[bytes]]:
    """What a thread reads from a FIFO meanwhile."""
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(path.read_bytes()), daemon=True)
    thread.start()
    yield got
    thread.join(20)
    assert not thread.is_alive()


def test_a_fifo_is_written_to_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with reading(tmp_path / "pipe") as got:
            write_text(tmp_path / name, "through " + name)
        assert got == [b"through " + name.encode()]
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def device(path: Path, kind: int, major: int, minor: int) -> Path:
    try:
        os.mknod(path, kind | 0o666, os.makedev(major, minor))
        if kind == stat.S_IFCHR:
            path.write_bytes(b"")
    except PermissionError:
        pytest.skip("needs the right to make a device")
    return path


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    null = device(tmp_path / "null", stat.S_IFCHR, 1, 3)
    full = device(tmp_path / "full", stat.S_IFCHR, 1, 7)
    write_text(null, "gone")
    with pytest.raises(OSError, match="No space left"):
        write_text(full, "does not fit")
    assert null.is_char_device()
    assert full.is_char_device()
    assert sorted(os.listdir(tmp_path)) == ["full", "null"]


def test_what_no_file_may_replace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as unix:
        where = os.getcwd()
        os.chdir(tmp_path)  # the names of sockets are short
        try:
            unix.bind("socket")
        finally:
            os.chdir(where)
    for name, kind in (("folder", "a folder"), ("socket", "a socket")):
        with pytest.raises(DataError, match=rf"{name} is {kind}.*choose another name"):
            write_text(tmp_path / name, "x")
    assert sorted(os.listdir(tmp_path)) == ["folder", "socket"]
    block = device(tmp_path / "disk", stat.S_IFBLK, 7, 250)
    with pytest.raises(DataError, match="disk is a block device"):
        write_text(block, "x")
    assert block.is_block_device()


def test_an_output_folder_is_tried_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "metrics.json.check").write_text("the user's")
    claim_output(tmp_path)
    assert os.listdir(tmp_path) == ["metrics.json.check"]
    assert (tmp_path / "metrics.json.check").read_text() == "the user's"
    with pytest.raises(ConfigError, match="cannot be written"):
        claim_output(tmp_path / "metrics.json.check/x")


def test_a_folder_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "set"
    with atomic_folder(target) as temporary:
        (temporary / "old").write_text("x")
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as temporary:
        (temporary / "new").write_text(f"{1 / 0}")
    assert os.listdir(target) == ["old"]
    with atomic_folder(target) as temporary:
        (temporary / "new").write_text("x")
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["set"]


def test_numbers_on_a_high_level_come_back_from_a_table(tmp_path: Path) -> None:
    values = [123456.789, 1e8 + 10.25, 1e12 + 3, -0.1, 1e-30, 0.3]
    write_csv(tmp_path / "x.csv", pd.DataFrame({"value": values}))
    assert pd.read_csv(tmp_path / "x.csv", float_precision="round_trip")["value"].tolist() == values
    assert (tmp_path / "x.csv").read_text().splitlines()[4] == "-0.1"


def test_a_full_disk_is_told_with_the_file_that_it_had_no_room_for(tmp_path: Path) -> None:
    folder, told = tmp_path / "out", tmp_path / "told"
    folder.mkdir()

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        for write in (
            lambda path: write_text(path, "a" * 9000),
            lambda path: AtomicIO().save_checkpoint({"weights": torch.zeros(9000)}, path),
        ):
            try:
                write(folder / "large")
            except OSError as error:
                with told.open("a") as stream:
                    print(error, file=stream)

    forked(fill).join()
    assert told.read_text().splitlines() == [f"[Errno 27] File too large: '{folder}/large'"] * 2
    assert list(folder.iterdir()) == []
