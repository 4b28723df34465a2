"""Damaged audio files, by the hundred: each is enhanced or refused by name; none hangs, none takes memory."""

from __future__ import annotations

import multiprocessing
import resource
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, ID3, TIT2

from shared.errors import DataError
from speech.audio.files import open_audio
from speech.audio.writing import create_audio
from speech.enhancer import Enhancer
from tests.speech.audio.test_kept import BEXT, CUE, LABEL, TEXTS, with_chunks
from tests.speech.audio.test_kept_lengths import without_length
from tests.speech.models import noise, tiny_enhancer

SECONDS = 20
"""How long a file may take: a hundred times what it does."""
GIGABYTES = 2
"""What a file may take beyond what the process has."""


def sound_files(folder: Path) -> list[Path]:
    """One whole file of every container and coding, with tags."""
    wave, rate = noise(12_000, 2), 16_000
    wav = {"PCM_16": "pcm", "FLOAT": "float", "IMA_ADPCM": "ima", "MS_ADPCM": "ms", "GSM610": "gsm"}
    for subtype, name in wav.items():
        soundfile.write(folder / f"{name}.wav", wave[:, 0] if name == "gsm" else wave, rate, subtype)
        with_chunks(folder / f"{name}.wav", BEXT + TEXTS, CUE + LABEL)
    for name in ("stated.flac", "unstated.flac", "a.ogg", "a.mp3", "a.aiff", "a.w64"):
        soundfile.write(folder / name, wave, rate)
    soundfile.write(folder / "a.opus", wave, rate, "OPUS", format="OGG")
    flac, picture = FLAC(folder / "stated.flac"), Picture()
    picture.data, picture.mime = bytes(2000), "image/png"
    flac.add_picture(picture)
    flac["title"] = "a title"
    flac.save()
    without_length(folder / "unstated.flac")
    tags = ID3()
    tags.add(TIT2(encoding=3, text="a title"))
    tags.add(APIC(encoding=3, mime="image/png", type=3, desc="", data=bytes(2000)))
    tags.save(folder / "a.mp3")
    for name in ("a.ogg", "a.opus"):
        ogg = mutagen.File(folder / name)
        ogg["title"] = "a title"
        ogg.save()
    return sorted(folder.iterdir())


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The same with damage of one kind: bytes changed (in the header more often), sizes made extreme, parts lost,
    zeroed or doubled."""
    data = bytearray(content)
    reach = len(data) if rng.random() < 0.3 else min(len(data), 200)
    kind = rng.integers(5)
    if kind == 0:
        for place in rng.integers(0, reach, rng.integers(1, 9)):
            data[place] = rng.integers(256)
    elif kind == 1:
        place = int(rng.integers(0, max(1, reach - 4)))
        data[place : place + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80"][
            rng.integers(4)
        ]
    elif kind == 2:
        del data[int(rng.integers(1, len(data))) :]
    elif kind == 3:
        place = int(rng.integers(0, reach))
        data[place : place + int(rng.integers(1, 400))] = b""
    else:
        place, length = int(rng.integers(0, reach)), int(rng.integers(1, 2000))
        data[place:place] = data[place : place + length] if rng.random() < 0.5 else bytes(length)
    return bytes(data)


def copied(source: Path, target: Path) -> None:
    """What enhancement does to a file, without the network."""
    with open_audio(source) as reader, create_audio(target, reader.info, source) as writer:
        for block in reader.blocks():
            writer.write(block)


def each(paths: list[Path], action: Callable[[Path, Path], object], answers: Connection) -> None:
    """Do it to every file, and tell what came of it; in a process of its own, whose memory is bounded."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + GIGABYTES * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for path in paths:
        try:
            action(path, path.with_name(f"out-{path.name}"))
        except DataError as error:
            answers.send("refused" if path.name in str(error) else f"without its name: {error}")
        except BaseException as error:
            answers.send(f"{type(error).__name__}: {error}")
        else:
            answers.send("taken")
    answers.close()


def outcomes(folder: Path, count: int, seed: int, action: Callable[[Path, Path], object]) -> dict[str, str]:
    """What comes of so many mutated files: "taken", "refused", or what is wrong."""
    rng = np.random.default_rng(seed)
    whole = sound_files(folder)
    paths = []
    for n in range(count):
        source = whole[n % len(whole)]
        paths.append(folder / f"{n}{source.suffix}")
        paths[-1].write_bytes(mutated(source.read_bytes(), rng))
    found: dict[str, str] = {}
    context = multiprocessing.get_context("fork")
    while len(found) < count:
        here, there = context.Pipe(duplex=False)
        left = paths[len(found) :]
        process = context.Process(target=each, args=(left, action, there))
        process.start()
        there.close()
        for path in left:
            if not here.poll(SECONDS):
                found[path.name] = f"nothing for {SECONDS} s"
                break
            try:
                found[path.name] = here.recv()
            except EOFError:
                found[path.name] = "the process died"
                break
        process.kill()
        process.join()
    return found


def check(found: dict[str, str]) -> None:
    wrong = {name: outcome for name, outcome in found.items() if outcome not in ("taken", "refused")}
    assert wrong == {}
    tally = Counter(found.values())
    assert min(tally["taken"], tally["refused"]) > len(found) / 10, tally


def test_damaged_files_are_copied_or_refused(tmp_path):
    check(outcomes(tmp_path, 120, 0, copied))


@pytest.mark.slow
def test_four_hundred_damaged_files_are_enhanced_or_refused(tmp_path):
    enhancer: Enhancer = tiny_enhancer(sampler="ode1", steps=1)
    check(outcomes(tmp_path, 400, 1, enhancer.enhance_file))
