"""`speech stream` as its user meets it: real processes, through pipes and files."""

from __future__ import annotations

import contextlib
import io
import os
import signal as signal_module
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.audio.devices import Duplex
from speech.audio.pcm import PCM, Source
from speech.commands.stream import Stopping, play
from speech.enhancer import Enhancer
from speech.inference.live import DryWet
from tests.conftest import ROOT
from tests.speech.commands.processes import Running, piped, read_up_to, run
from tests.speech.models import decibels, noise, tiny_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(causal=True, sampler="ode1", steps=1, normalize="not").save_pretrained(folder)
    return folder


def samples(data: bytes, pcm: PCM) -> np.ndarray:
    """(channels, n) out of bytes."""
    file = io.BytesIO(data)
    return np.concatenate(list(Source(lambda size: file.read(size), pcm).blocks()), axis=1)


def expected(model: Path, signal: np.ndarray, rate: int) -> np.ndarray:
    """What a stream in this process makes of a signal."""
    stream = Enhancer.from_pretrained(model, device="cpu").stream(rate, channels=len(signal))
    return np.concatenate([stream.push(signal), stream.flush()], axis=1)


def test_raw_samples_through_pipes_come_out_enhanced_while_they_come(model: Path, tmp_path: Path) -> None:
    pcm = PCM(16000)
    data = pcm.encode(noise(1, 8000))
    running, to, out = piped(tmp_path, "--rate", 16000, "--model", model)
    os.write(to, data[:8000])
    first = read_up_to(out, 7000)
    assert len(first) == 7000  # before the rest is there
    os.write(to, data[8000:])
    os.close(to)
    found = first + read_up_to(out, 1 << 20)
    os.close(out)
    assert running.code() == 0
    assert len(found) == len(data)
    wanted = pcm.decode(pcm.encode(expected(model, pcm.decode(data), 16000)))
    assert np.abs(pcm.decode(found) - wanted).max() <= 1.01 / 32768
    assert "latency 8 ms" in running.said


@pytest.mark.parametrize(
    "length", ["cut", *(pytest.param(length, marks=pytest.mark.slow) for length in ("known", "unknown"))]
)
def test_wav_keeps_its_form(model: Path, tmp_path: Path, length: str) -> None:
    file = io.BytesIO()
    signal = noise(2, 9000)
    soundfile.write(file, signal.T, 44100, "FLOAT", format="WAV")
    data = bytearray(file.getvalue())
    if length == "unknown":
        place = data.index(b"data") + 4
        data[place : place + 4] = b"\xff" * 4
    elif length == "cut":
        data = data[: -8 * 1000 - 3]
        signal = signal[:, :7999]
    code, out, said = run(tmp_path, bytes(data), "--model", model, "--upper-band", "drop")
    assert code == 0, said
    found, rate = soundfile.read(io.BytesIO(out), dtype="float32", always_2d=True)
    assert (rate, found.shape) == (44100, (signal.shape[1], 2))
    assert soundfile.info(io.BytesIO(out)).subtype == "FLOAT"
    assert struct.unpack("<I", out[40:44])[0] == len(out) - 44
    with_band = Enhancer(Enhancer.from_pretrained(model).model, upper_band="drop", device="cpu")
    stream = with_band.stream(44100, channels=2)
    wanted = np.concatenate([stream.push(signal), stream.flush()], axis=1)
    assert decibels(found.T - wanted, wanted) < -90
    assert ("before its header's length" in said) == (length == "cut")


@pytest.mark.parametrize("samples", [1000, 1001])
def test_that_a_second_wav_is_left_out_is_told(model: Path, tmp_path: Path, samples: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(1, samples).T, 16000, "PCM_24", format="WAV")
    code, out, said = run(tmp_path, 2 * file.getvalue(), "--model", model)
    assert (code, soundfile.info(io.BytesIO(out)).frames) == (0, samples)
    assert "another WAV follows on standard input and was left out" in said
    assert "--channels" not in said
    tagged = file.getvalue() + b"LIST" + struct.pack("<I4s", 4, b"INFO")
    assert "left out" not in run(tmp_path, tagged, "--model", model)[2]


def test_an_odd_wav_of_many_loudspeakers_comes_out_as_one(model: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(1, 1001).T, 16000, "PCM_24", format="WAVEX")
    _, out, said = run(tmp_path, file.getvalue(), "--model", model, "--channels", 2)
    assert "this WAV tells its own" in said
    info = soundfile.info(io.BytesIO(out))
    assert (info.format, info.subtype, info.frames) == ("WAVEX", "PCM_24", 1001)
    assert struct.unpack("<I", out[4:8])[0] == len(out) - 8
    assert len(out) % 2 == 0


@pytest.mark.slow
def test_dry_is_what_came_and_silence_stays_silence(model: Path, tmp_path: Path) -> None:
    data = PCM(48000).encode(noise(1, 5000))
    assert run(tmp_path, data, "--rate", 48000, "--model", model, "--wet", 0)[:2] == (0, data)
    code, out, _ = run(tmp_path, bytes(8000), "--rate", 16000, "--channels", 2)
    assert (code, out) == (0, bytes(8000))


def test_what_lies_above_the_band_becomes_what_the_model_says_unless_it_is_asked_for(tmp_path: Path) -> None:
    """It followed the model's gain, whatever its settings were."""
    model = tiny_model(causal=True, sampler="ode1", steps=1, normalize="not")
    model.config = replace(model.config, sampling=replace(model.config.sampling, upper_band="drop"))
    model.save_pretrained(tmp_path / "model")
    data = PCM(48000).encode(noise(1, 24000))
    ways = [(), ("--upper-band", "drop"), ("--upper-band", "follow")]
    made = [run(tmp_path, data, "--rate", 48000, "--model", tmp_path / "model", *way)[1] for way in ways]
    assert len(made[0]) == len(data)
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_a_reader_that_goes_away(model: Path, tmp_path: Path) -> None:
    running, to, out = piped(tmp_path, "--rate", 16000, "--model", model)
    os.write(to, bytes(20000))
    assert len(read_up_to(out, 1000)) == 1000
    os.close(out)
    with contextlib.suppress(BrokenPipeError):
        for _ in range(100):  # until it ends, and its end of this pipe closes
            os.write(to, bytes(20000))
    os.close(to)
    assert running.code() == 1
    assert "standard output was closed after" in running.said
    assert "Traceback" not in running.said


@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_pipes_that_do_not_wait_lose_nothing(model: Path, unbuffered: str) -> None:
    """As those are that a program has set so; a reader that was late got 64 KiB, and the status was 0."""
    (come, to), (out, go) = os.pipe(), os.pipe()
    for end in (come, go):
        os.set_blocking(end, False)
    command = [sys.executable, "-m", "speech", "stream", "--rate", "16000", "--model", str(model)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    running = subprocess.Popen(command, stdin=come, stdout=go, stderr=subprocess.DEVNULL, env=environment)
    os.close(come)
    os.close(go)
    os.write(to, bytes(20_000))
    first = read_up_to(out, 15_000)  # now it waits for more
    sender = threading.Thread(target=lambda: [os.write(to, bytes(300_000)), os.close(to)])
    sender.start()
    time.sleep(0.5)  # until the pipe is full
    assert len(first + read_up_to(out, 1 << 20)) == 320_000
    os.close(out)
    sender.join()
    assert running.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(20000))
    (tmp_path / "out").symlink_to("/dev/full")
    running = Running(tmp_path, ("--rate", 16000, "--model", model))
    assert running.code() == 1
    assert "error: standard output cannot be written (No space left on device); free some space" in running.said


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_what_came_before_a_stop_goes_out_whole(model: Path, tmp_path: Path, name: str) -> None:
    """SIGHUP, of a terminal that is closed, comes from the kernel and from the shell."""
    number = getattr(signal_module, name)
    running, to, out = piped(tmp_path, "--rate", 16000, "--model", model)
    os.write(to, bytes(16000))
    early = read_up_to(out, 15000)
    assert running.process.pid is not None
    for _ in range(2 if name == "SIGHUP" else 1):
        os.kill(running.process.pid, number)
    assert len(early + read_up_to(out, 1 << 20)) == 16000
    assert running.code() == 128 + number
    os.close(to)
    os.close(out)
    assert "stopped after 0.50 s" in running.said
    assert "Traceback" not in running.said


def test_samples_that_are_no_numbers_and_bytes_that_are_no_sample(model: Path, tmp_path: Path) -> None:
    values = noise(1000)
    values[10:20] = np.nan
    data = values.astype("<f4").tobytes() + b"abc"
    code, out, said = run(tmp_path, data, "--rate", 16000, "--coding", "f32le", "--model", model)
    assert code == 0
    found = samples(out, PCM(16000, coding="f32le"))
    assert found.shape == (1, 1000)
    assert np.isfinite(found).all()
    assert "10 samples not finite or beyond 1e+15, taken for 0" in said
    assert "the end, 3 bytes, is no whole sample (4 bytes)" in said
    quiet = run(tmp_path, data, "--rate", 16000, "--coding", "f32le", "--model", model, "--quiet")
    assert quiet == (0, out, "")


@pytest.mark.parametrize(
    ("data", "arguments", "said"),
    [
        (b"", (), "standard input is empty"),
        (b"", ("--rate", "16000"), "held no samples"),
        (b"RIFF\x00\x00", (), "ends after 6 bytes, within its WAV header"),
        (b"\x01\x02" * 50, (), "raw PCM needs --rate"),
        (b"\x01\x02" * 50, ("--rate", "16000", "--model", "default"), "looks ahead"),
    ],
)
def test_what_cannot_be_streamed_is_one_line(
    tmp_path: Path, data: bytes, arguments: tuple[str, ...], said: str
) -> None:
    code, out, error = run(tmp_path, data, *arguments, "--quiet")
    assert (code, out) == (1, b"")
    assert said in error
    assert len(error.strip().splitlines()) == 1


def _portaudio() -> bool:
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


@pytest.mark.parametrize("argument", ["--list-devices", "--live"])
def test_without_a_sound_device_the_remedy_is_told(tmp_path: Path, argument: str) -> None:
    code, out, said = run(tmp_path, b"", argument)
    if _portaudio() and code == 0:
        pytest.skip("there is a sound device here")
    assert (code, out) == (1, b"")
    assert "libportaudio2" in said or "anchored-diffusion[live]" in said or "device" in said
    assert len(said.strip().splitlines()) == 1


class Cable:
    """What sounddevice's stream does, with a wire in place of the air: hears a signal, keeps what is played."""

    def __init__(self, signal: np.ndarray, at_end):
        self.signal, self.at_end, self.place = signal, at_end, 0
        self.played: list[np.ndarray] = []

    def read(self, size: int) -> tuple[np.ndarray, bool]:
        block = self.signal[self.place : self.place + size]
        self.place += size
        if self.place >= len(self.signal):
            self.at_end()
        return block, False

    def write(self, block: np.ndarray) -> bool:
        self.played.append(block)
        return False


def test_microphone_to_loudspeaker_until_a_stop(model: Path) -> None:
    signal = noise(16000, 2)
    signal[100] = np.nan
    cable = Cable(signal, lambda: os.kill(os.getpid(), signal_module.SIGINT))
    duplex = Duplex(cable, 16000, 0.01)
    stream = Enhancer.from_pretrained(model, device="cpu").stream(16000, channels=2)
    turns = iter([" "])
    with Stopping() as stopping:
        play(duplex, stream, DryWet(stream), stopping, lambda: next(turns, ""))
    assert stopping.by == signal_module.SIGINT
    lead, played = cable.played[0], np.concatenate(cable.played[1:])
    assert len(lead) == round((stream.latency + 0.016) * 16000)
    assert not lead.any()
    assert 0 <= len(signal) - len(played) <= 256  # with the block that came as it was stopped, or without
    signal[100] = 0
    np.testing.assert_allclose(played[400:], signal[400 : len(played)], atol=1e-6)  # switched off at once
    assert (duplex.replaced, duplex.dropped) == (2, 0)


@pytest.mark.slow
def test_in_a_shell_with_head() -> None:
    """The bundled model, and no harness."""
    command = f"head -c 64000 /dev/zero | {sys.executable} -m speech stream --rate 16000 --quiet | head -c 1000 | wc -c"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, env=environment, check=True)
    assert int(ran.stdout) == 1000
