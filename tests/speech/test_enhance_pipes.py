"""recipes/enhance.py through pipes, on media files, at a loudness, and as a rehearsal: real processes and files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from speech.audio.files import Audio, audio_info, read_audio
from speech.audio.writing import write_audio
from tests.recipes.harness import ROOT, Recipes
from tests.speech.audio.test_kept_lengths import without_length
from tests.speech.audio.test_loudness import measure
from tests.speech.media_files import packets, tones, write_media, write_video
from tests.speech.models import gain_enhancer, noise, tiny_model


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> Recipes:
    running = Recipes(tmp_path_factory.mktemp("pipes"))
    tiny_model(steps=1).save_pretrained(running.folder / "model")
    return running


def enhance(recipes: Recipes, *arguments: object, **pipes: Path):
    options = ["--model", recipes.folder / "model", "--mix", 0.1]  # what random weights give is mostly noise
    return recipes.run("enhance", *arguments, *options, **pipes)


# --- standard input and output -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.m4a", "unstated.flac", *(pytest.param(name, marks=pytest.mark.slow) for name in ("a.wav", "a.flac"))]
)
def test_through_both_pipes(recipes, tmp_path, name):
    wave = noise(2, 20_000)
    if name == "a.m4a":
        write_media(tmp_path / name, tones(20_000), "aac")
    else:
        write_audio(tmp_path / name, Audio(wave, 16000))
    if name == "unstated.flac":
        without_length(tmp_path / name)
    done = enhance(recipes, "-", "-", stdin=tmp_path / name, stdout=tmp_path / "y.wav")
    assert done.code == 0, done.said
    assert "1 enhanced" in done.err
    assert ": standard output" in done.err
    before, after = audio_info(tmp_path / name), audio_info(tmp_path / "y.wav")
    assert (after.format, after.samples, after.channels) == ("WAV", before.samples, before.channels)
    assert after.sample_rate == before.sample_rate
    (tmp_path / "standard input").write_bytes((tmp_path / name).read_bytes())
    assert enhance(recipes, tmp_path / "standard input", tmp_path / "z.wav").code == 0
    np.testing.assert_array_equal(read_audio(tmp_path / "z.wav").waveform, read_audio(tmp_path / "y.wav").waveform)


def test_a_wav_header_that_does_not_know_its_length(recipes, tmp_path):
    made = io.BytesIO()
    soundfile.write(made, noise(5000, 1), 16000, format="WAV")
    content = bytearray(made.getvalue())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "piped.wav").write_bytes(content)
    report = tmp_path / "report"
    done = enhance(recipes, "-", "-", "--output", report, stdin=tmp_path / "piped.wav", stdout=tmp_path / "y.wav")
    assert done.code == 0, done.said
    (row,) = json.loads((report / "metrics.json").read_text())["per_file"]
    assert (row["file"], row["output"]) == ("standard input", "-")
    done = enhance(recipes, "-", tmp_path / "out.wav", stdin=tmp_path / "piped.wav")
    assert done.code == 0, done.said
    assert audio_info(tmp_path / "out.wav").samples == 5000
    assert "1 enhanced" in done.out


def test_bare_samples_and_a_fifo_as_source(recipes, tmp_path):
    noise(3000).tofile(tmp_path / "a.raw")
    done = enhance(recipes, "-", tmp_path / "b.wav", "--raw-rate", 8000, stdin=tmp_path / "a.raw")
    assert done.code == 0, done.said
    assert (audio_info(tmp_path / "b.wav").samples, audio_info(tmp_path / "b.wav").sample_rate) == (3000, 8000)
    write_audio(tmp_path / "a.wav", Audio(noise(1, 3000), 16000))
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "a.wav").read_bytes()), daemon=True
    )
    writer.start()
    (tmp_path / "out").mkdir()
    done = enhance(recipes, tmp_path / "pipe", tmp_path / "out")
    assert done.code == 0, done.said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pipe.wav"]


def test_a_reader_that_leaves_ends_it_in_order(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 2_000_000), 16000, "WAV", "FLOAT"))  # more than a pipe holds
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []

    def read() -> None:
        with open(tmp_path / "pipe", "rb") as pipe:
            got.append(pipe.read(100))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    done = recipes.run("enhance", tmp_path / "a.wav", "-", "--mix", 0, stdout=tmp_path / "pipe")
    reader.join(20)
    assert got[0][:4] == b"RIFF"
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "rror" not in done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_standard_output_on_a_full_disk_is_named(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 3000), 16000))
    done = enhance(recipes, tmp_path / "a.wav", "-", stdout=Path("/dev/full"))
    assert done.code == 1
    assert "standard output cannot be written (No space left on device); free some space" in done.err


def test_pipes_that_hold_nothing_to_enhance(recipes, tmp_path):
    (tmp_path / "text").write_text("no audio")
    write_audio(tmp_path / "a.wav", Audio(noise(1, 3000), 16000))
    cases = [
        (["-", tmp_path / "b.wav"], {}, "standard input is empty; pipe a recording in"),
        (["-", "-"], {"stdin": tmp_path / "text"}, "standard input is not audio that libsndfile reads"),
        ([tmp_path, "-"], {}, "is a folder, which standard output does not take"),
        ([tmp_path / "a.wav", "-", "--picture"], {}, "give --output FOLDER"),
    ]
    for arguments, pipes, message in cases:
        done = enhance(recipes, *arguments, **pipes, stdout=tmp_path / "nothing")
        assert (done.code, "Traceback" in done.err) == (1, False)
        assert message in done.err
        assert (tmp_path / "nothing").read_bytes() == b""


def test_terminals_are_refused(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 3000), 16000))
    leader, terminal = os.openpty()
    try:
        place = Path(os.ttyname(terminal))
        done = enhance(recipes, "-", tmp_path / "b.wav", stdin=place)
        assert (done.code, "standard input is a terminal, not a recording" in done.err) == (1, True)
        done = enhance(recipes, tmp_path / "a.wav", "-", stdout=place)
        assert (done.code, "standard output is a terminal" in done.err) == (1, True)
    finally:
        os.close(leader), os.close(terminal)


@pytest.mark.slow
def test_a_shell_pipeline(recipes, tmp_path):
    write_audio(tmp_path / "a.flac", Audio(noise(1, 20_000), 16000, "FLAC"))
    command = f"{sys.executable} recipes/enhance.py --model {recipes.folder}/model"
    line = f"cat {tmp_path}/a.flac | {command} - - | {command} - - > {tmp_path}/y.wav"
    ran = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert audio_info(tmp_path / "y.wav").samples == 20_000


# --- media, loudness, rehearsal ------------------------------------------------------------------------


def test_a_folder_of_what_people_have(recipes, tmp_path):
    wave = tones(24_960)  # thirteen pictures
    write_media(tmp_path / "in/talk.m4a", wave, "aac", texts={"title": "Gruß"})
    write_media(tmp_path / "in/call.webm", wave, "libopus")
    write_media(tmp_path / "in/old.tta", wave, "tta", format="s16")
    write_video(tmp_path / "in/film.mp4", wave)
    write_video(tmp_path / "in/mute.mp4", None)
    done = enhance(recipes, tmp_path / "in", tmp_path / "out", "--output", tmp_path / "report", "--picture")
    assert done.code == 1
    assert "failed: mute.mp4: " in done.err
    assert "holds no sound" in done.err
    made = {path.name: audio_info(path) for path in sorted((tmp_path / "out").iterdir())}
    assert {name: info.subtype for name, info in made.items()} == {
        "call.webm": "OPUS",
        "film.mp4": "AAC",
        "old.tta.wav": "PCM_16",
        "talk.m4a": "AAC",
    }
    assert {info.samples for info in made.values()} == {24_960}
    assert made["talk.m4a"].metadata["title"] == "Gruß"
    assert packets(tmp_path / "out/film.mp4") == packets(tmp_path / "in/film.mp4")
    metrics = json.loads((tmp_path / "report/metrics.json").read_text())
    assert [Path(item["output"]).name for item in metrics["per_file"]] == [
        "call.webm",
        "film.mp4",
        "old.tta.wav",
        "talk.m4a",
    ]
    for item in metrics["per_file"]:
        assert item["removed_db"] == pytest.approx(0, abs=6)
        assert (item["spread_db"], item["loudness_lufs"]) == (None, None)
    assert imread(tmp_path / "report/pictures/film.mp4.png").std() > 0.1
    again = enhance(recipes, tmp_path / "in", tmp_path / "out")
    assert "4 skipped" in again.err


@pytest.mark.slow
def test_a_loudness_is_reached_or_it_is_said(recipes, tmp_path):
    wave = noise(2, 48_000)
    write_audio(tmp_path / "a.wav", Audio(wave, 16000, "WAV", "FLOAT"))
    done = enhance(recipes, tmp_path / "a.wav", tmp_path / "b.wav", "--loudness", -26, "--window", 1)
    assert done.code == 0, done.said
    assert "; loudness -26.0 LUFS; " in done.out
    assert measure(read_audio(tmp_path / "b.wav").waveform, 16000).loudness == pytest.approx(-26, abs=0.1)
    assert enhance(recipes, tmp_path / "a.wav", tmp_path / "c.wav", "--loudness", "keep").code == 0
    before, after = (measure(read_audio(tmp_path / name).waveform, 16000).loudness for name in ("a.wav", "c.wav"))
    assert after == pytest.approx(before, abs=0.1)
    write_audio(tmp_path / "in/a.wav", Audio(wave, 16000))
    write_audio(tmp_path / "in/silent.wav", Audio(np.zeros((1, 16000), np.float32), 16000))
    done = enhance(recipes, tmp_path / "in", tmp_path / "out", "--loudness", -5, "--output", tmp_path / "report")
    assert done.code == 0, done.said
    assert "silent.wav: its loudness is left as it is: it is silent, or shorter than 0.4 s" in done.err
    assert "LUFS, not -5.0: its true peak is then at -1 dB" in done.err
    assert not read_audio(tmp_path / "out/silent.wav").waveform.any()
    metrics = json.loads((tmp_path / "report/metrics.json").read_text())
    found = measure(read_audio(tmp_path / "out/a.wav").waveform, 16000)
    assert metrics["per_file"][0]["loudness_lufs"] == pytest.approx(found.loudness, abs=0.1)
    head, _, *rows = (line.split("|") for line in (tmp_path / "report/metrics.md").read_text().splitlines())
    assert [float(row[head.index(" loudness, LUFS ")]) for row in rows if "a.wav" in row[1]] == [
        round(metrics["per_file"][0]["loudness_lufs"], 1)
    ]
    assert {len(row) for row in rows} == {len(head)}
    assert found.peak <= 10 ** (-1 / 20)
    for value in ("-90", "0", "loud"):
        done = enhance(recipes, tmp_path / "a.wav", tmp_path / "d.wav", "--loudness", value)
        assert (done.code, "loudness=" in done.err, "Traceback" in done.err) == (1, True, False)


def test_a_rehearsal_writes_nothing(recipes, tmp_path):
    write_audio(tmp_path / "in/a.flac", Audio(noise(2, 32_000), 16000))
    write_audio(tmp_path / "in/b.wav", Audio(noise(1, 22_050), 44100))
    write_audio(tmp_path / "out/b.wav", Audio(noise(1, 22_050), 44100))
    (tmp_path / "in/text.wav").write_text("no audio")
    before = sorted(tmp_path.rglob("*"))
    done = enhance(recipes, tmp_path / "in", tmp_path / "out", "--dry-run", "--output", tmp_path / "report")
    assert done.code == 1
    assert "1 to enhance (2.0 s of audio), 1 to skip, 1 that cannot be" in done.out
    assert "nothing was written" in done.out
    assert "FLAC PCM_16" in done.out
    assert "failed: text.wav" in done.err
    done = enhance(recipes, tmp_path / "in/a.flac", tmp_path / "c.m4a", "--dry-run")
    assert (done.code, "MP4 AAC" in done.out) == (0, True)
    assert sorted(tmp_path.rglob("*")) == before


def test_one_file_tells_what_was_removed_and_how_far_draws_agree(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 8000), 16000))
    done = enhance(recipes, tmp_path / "a.wav", tmp_path / "b.wav")
    assert "removed " in done.out
    assert "dB overall; one deterministic result: nothing tells how sure it is" in done.out
    done = enhance(recipes, tmp_path / "a.wav", tmp_path / "b.wav", "--steps", 2, "--overwrite")
    assert "one draw: --draws 4 tells how far draws agree" in done.out
    done = enhance(recipes, tmp_path / "a.wav", tmp_path / "b.wav", "--draws", 3, "--steps", 2, "--overwrite")
    assert "dB below the result apart from it" in done.out


def test_a_long_file_is_written_as_rf64_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("speech.audio.coding.WAV_LIMIT", 10_000)
    write_audio(tmp_path / "a.flac", Audio(noise(1, 8000), 16000))
    result = gain_enhancer(0.5).enhance_file(tmp_path / "a.flac", tmp_path / "b.wav")
    assert "written as RF64, since a plain WAV file ends at 4 GB" in result.notes
    assert (tmp_path / "b.wav").read_bytes()[:4] == b"RF64"
    assert (audio_info(tmp_path / "b.wav").format, audio_info(tmp_path / "b.wav").samples) == ("RF64", 8000)
