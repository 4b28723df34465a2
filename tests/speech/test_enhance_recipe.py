"""recipes/enhance.py as its user meets it: files of every kind, folders, bad input, what it says and leaves."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import stat
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from speech.audio.files import Audio, audio_info, read_audio
from speech.audio.writing import write_audio
from tests.conftest import ROOT
from tests.isolated import as_program, forked
from tests.recipes.harness import Recipes
from tests.speech.models import decibels, noise, tiny_model
from tests.speech.published import COMMON, OUVE, SMALL, random_weights, save_published, small_layout


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> Recipes:
    running = Recipes(tmp_path_factory.mktemp("enhance"))
    tiny_model(steps=2).save_pretrained(running.folder / "model")
    return running


def enhance(recipes: Recipes, *arguments: object):
    return recipes.run("enhance", *arguments, "--model", recipes.folder / "model")


@pytest.mark.parametrize(
    ("name", "rate", "channels", "samples"),
    [
        ("stereo.wav", 44100, 2, 20_000),
        ("eight.flac", 48000, 8, 9000),
        ("slow.mp3", 8000, 1, 9000),
        ("fast.wav", 192_000, 1, 9000),
        ("vorbis.ogg", 16000, 1, 9000),
        ("short.wav", 16000, 1, 100),
        ("one.wav", 16000, 1, 1),
    ],
)
def test_a_file_of_any_kind(recipes, tmp_path, name, rate, channels, samples):
    write_audio(tmp_path / name, Audio(noise(channels, samples), rate))
    done = enhance(recipes, tmp_path / name, tmp_path / "out" / name)
    assert done.code == 0, done.said
    assert "1 enhanced" in done.said
    assert "2 network calls" in done.said
    before, after = read_audio(tmp_path / name), read_audio(tmp_path / "out" / name)
    assert after.info == before.info
    assert np.isfinite(after.waveform).all()


def test_the_report_of_a_folder_with_bad_files(recipes, tmp_path):
    for i in range(3):
        write_audio(tmp_path / f"in/{i}.wav", Audio(noise(1, 3000 + i, seed=i), 16000, metadata={"title": f"t{i}"}))
    (tmp_path / "in/text.wav").write_text("no audio")
    (tmp_path / "in/talk.m4a").write_text("not read")
    (tmp_path / "in/2.wav").write_bytes((tmp_path / "in/2.wav").read_bytes()[:-500])
    done = enhance(recipes, tmp_path / "in", tmp_path / "out", "--output", tmp_path / "report", "--picture")
    assert done.code == 1
    assert "failed: text.wav" in done.said
    assert "convert it to WAV or FLAC" in done.said
    metrics = json.loads((tmp_path / "report/metrics.json").read_text())
    assert (metrics["files"], metrics["nfe"], metrics["skipped"]) == (3, 2, [])
    assert [item["file"] for item in metrics["failed"]] == ["talk.m4a", "text.wav"]
    assert "talk.m4a is not audio that libsndfile or FFmpeg reads, or is damaged" in done.said
    notes = [(item["file"], item["note"]) for item in metrics["notes"] if "more energy" not in item["note"]]
    assert [name for name, _ in notes] == ["2.wav"]
    assert notes[0][1].startswith("cut short: ")
    assert "2.wav: cut short: " in done.said
    assert metrics["rtf"] == pytest.approx(metrics["seconds"]["enhance"] / metrics["seconds"]["audio"])
    table = (tmp_path / "report/metrics.md").read_text()
    (row,) = [line for line in table.splitlines() if line.startswith("| 1.wav | 0.19 | 1 | 16000 | 2 | ")]
    one = next(item for item in metrics["per_file"] if item["file"] == "1.wav")
    assert row.split(" | ")[5] == f"{one['removed_db']:.1f}"
    assert "it has up to " in row  # of energy, a random network's
    assert " | cut short: " in table
    frame = pd.read_csv(tmp_path / "report/per_file.csv")
    assert list(frame["file"]) == ["0.wav", "1.wav", "2.wav"]
    np.testing.assert_allclose(frame["removed_db"], [item["removed_db"] for item in metrics["per_file"]], rtol=1e-4)
    before, after = (read_audio(tmp_path / name).waveform for name in ("in/1.wav", "out/1.wav"))
    whole = slice(0, 2880)  # frames of 20 ms
    assert one["removed_db"] == pytest.approx(-decibels(after[:, whole], before[:, whole]), abs=0.05)
    for i in range(3):
        image = imread(tmp_path / f"report/pictures/{i}.wav.png")
        assert image.shape[0] > 400
        assert image.std() > 0.1
    again = enhance(recipes, tmp_path / "in", tmp_path / "out", "--picture")
    assert again.code == 1
    assert "3 skipped" in again.said
    assert "no picture is drawn (3)" in again.said


def test_what_is_too_much_to_be_told_is_said_to_be_in_the_tables(recipes, tmp_path):
    write_audio(tmp_path / "in/good.wav", Audio(noise(1, 3000), 16000))
    for i in range(23):
        (tmp_path / f"in/{i:02}.wav").write_text("no audio")
    assert "… and 3 more: --output FOLDER lists all" in enhance(recipes, tmp_path / "in", tmp_path / "out").said
    done = enhance(recipes, tmp_path / "in", tmp_path / "out", "--output", tmp_path / "report")
    assert f"… and 3 more: all are in {tmp_path}/report/metrics.md" in done.said
    assert (tmp_path / "report/metrics.md").read_text().count("failed: ") == 23


def test_tables_of_a_second_run_belong_together(recipes, tmp_path):
    report = tmp_path / "report"
    for name in ("a.wav", "c.wav"):
        write_audio(tmp_path / "in" / name, Audio(noise(1, 3000), 16000))
    (tmp_path / "in/a.wav").write_bytes((tmp_path / "in/a.wav").read_bytes()[:-500])

    def run(source: str = "in") -> tuple[dict, list[str]]:
        enhance(recipes, tmp_path / source, tmp_path / "out", "--output", report)
        lines = (report / "metrics.md").read_text().splitlines()[2:]
        return json.loads((report / "metrics.json").read_text()), lines

    first, lines = run()
    write_audio(tmp_path / "in/b.wav", Audio(noise(1, 4000), 16000))
    second, more = run()
    assert (second["files"], second["skipped"]) == (1, ["a.wav", "c.wav"])
    assert [row["file"] for row in second["per_file"]] == ["a.wav", "b.wav", "c.wav"]
    assert [second["per_file"][0], second["per_file"][2]] == first["per_file"]
    assert all(note in second["notes"] for note in first["notes"])
    frame = pd.read_csv(report / "per_file.csv")
    assert list(frame["file"]) == ["a.wav", "b.wav", "c.wav"]
    assert frame["notes"][0].startswith("cut short: ")
    assert [line.replace("; skipped: the target exists", "") for line in more[1:]] == lines
    third, _ = run()
    assert third["per_file"] == second["per_file"]
    third["per_file"][1].pop("nfe")  # a report that cannot be relied on is not half taken
    (report / "metrics.json").write_text(json.dumps(third))
    fourth, _ = run()
    assert fourth["per_file"] == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other/d.wav").write_text("no audio")
    last, _ = run("other")
    assert last["per_file"] == []
    assert not (report / "per_file.csv").exists()


def test_without_a_target_the_results_lie_in_the_output(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 2000), 16000))
    done = enhance(recipes, tmp_path / "a.wav", "--output", tmp_path / "report", "--mix", 0.5, "--draws", 2)
    assert done.code == 0, done.said
    assert (tmp_path / "report/enhanced/a.wav").is_file()
    metrics = json.loads((tmp_path / "report/metrics.json").read_text())
    assert (metrics["nfe"], metrics["draws"], metrics["mix"]) == (4, 2, 0.5)


def test_the_least_window_is_told_and_works(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 20_000), 16000))
    refused = enhance(recipes, tmp_path / "a.wav", tmp_path / "b.wav", "--window", 0.1)
    assert (refused.code, "overlap" in refused.said) == (1, False), refused.said
    (least,) = re.findall(r"--window 0\.1: this model enhances (\S+) s or more at once", refused.said)
    done = enhance(recipes, tmp_path / "a.wav", tmp_path / "b.wav", "--window", least)
    assert done.code == 0, done.said
    for window in ("nan", "inf"):
        refused = enhance(recipes, tmp_path / "a.wav", tmp_path / "c.wav", "--window", window)
        assert (refused.code, f"--window {window}: this model" in refused.said) == (1, True), refused.said


def test_the_longest_name_and_its_picture(recipes, tmp_path):
    name = "ü" * 125 + ".wav"
    write_audio(tmp_path / name, Audio(noise(1, 2000), 16000))
    done = enhance(recipes, tmp_path / name, tmp_path / "out" / name, "--picture")
    assert done.code == 0, done.said
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".wav", ".png"}


def test_a_device_and_a_link_stay_what_they_are(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 2000), 16000))
    (tmp_path / "link.wav").symlink_to(tmp_path / "file.wav")
    assert enhance(recipes, tmp_path / "a.wav", tmp_path / "link.wav").code == 0
    assert (tmp_path / "link.wav").is_symlink()
    assert read_audio(tmp_path / "file.wav").info == read_audio(tmp_path / "a.wav").info
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        (tmp_path / "null").write_bytes(b"")
    except PermissionError:
        pytest.skip("needs the right to make a device")
    done = enhance(recipes, tmp_path / "a.wav", tmp_path / "null")
    assert done.code == 0, done.said
    assert (tmp_path / "null").is_char_device()


def test_options_reach_the_sampler(recipes, tmp_path):
    write_audio(tmp_path / "a.raw", Audio(noise(1, 2000), 16000, "RAW", "FLOAT"))
    options = ["--sampler", "ode2", "--steps", 3, "--reverse-starting-point", 0.7, "--raw-rate", 16000, "--picture"]
    done = enhance(recipes, tmp_path / "a.raw", tmp_path / "b.raw", *options, "--seed", 3, "--device", "cpu")
    assert done.code == 0, done.said
    assert "3 network calls" in done.said
    assert (tmp_path / "b.raw").stat().st_size == (tmp_path / "a.raw").stat().st_size
    assert (tmp_path / "b.raw.png").stat().st_size > 20_000
    skipped = enhance(recipes, tmp_path / "a.raw", tmp_path / "b.raw", "--skip", "--raw-rate", 16000)
    assert (skipped.code, "1 skipped" in skipped.said) == (0, True)


def test_bare_samples_that_are_read_as_others_are_told_of(recipes, tmp_path):
    write_audio(tmp_path / "a.raw", Audio(noise(1, 2000), 16000, "RAW", "PCM_16"))
    bare = ("--mix", 0, "--raw-rate", 16000)
    done = enhance(recipes, tmp_path / "a.raw", tmp_path / "b.wav", *bare)
    assert re.search(r"\d+ samples not finite .*; bare samples of another kind than FLOAT need --raw-sub", done.said)
    done = enhance(recipes, tmp_path / "a.raw", tmp_path / "c.wav", *bare, "--raw-subtype", "PCM_16")
    assert "--raw-subtype" not in done.said
    assert read_audio(tmp_path / "c.wav").waveform.shape == (1, 2000)


def test_settings_of_bare_samples_are_not_left_out_in_silence(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 2000), 16000))
    for option in (("--raw-channels", 2), ("--raw-subtype", "PCM_16")):
        done = enhance(recipes, tmp_path / "a.wav", tmp_path / "b.wav", *option)
        assert done.code == 1
        assert "give their --raw-rate too" in done.said
        assert not (tmp_path / "b.wav").exists()
    done = enhance(recipes, tmp_path / "a.wav", tmp_path / "b.wav", "--raw-rate", 8000)
    assert done.code == 0, done.said
    assert "a.wav is read as it says itself" in done.said
    assert read_audio(tmp_path / "b.wav").sample_rate == 16000


@pytest.mark.parametrize(("suffix", "coding"), [(".wav", "PCM_16"), (".aiff", "PCM_24"), (".raw", "FLOAT")])
def test_a_picture_of_bare_samples_at_another_rate(recipes, tmp_path, suffix, coding):
    format = suffix[1:].upper()
    write_audio(tmp_path / f"a{suffix}", Audio(np.vstack([noise(1, 8000)] * 2), 8000, format, coding))
    given = ["--raw-rate", 8000, "--raw-channels", 2] if suffix == ".raw" else []
    done = enhance(recipes, tmp_path / f"a{suffix}", tmp_path / "b.raw", *given, "--rate", 16000, "--picture")
    assert done.code == 0, done.said
    drawn = imread(tmp_path / "b.raw.png")[:, :, :3].max(axis=2) > 0.2
    before, after = np.array_split(drawn[40:-60, 120:-160], 2)
    assert before[len(before) // 2 :, :].mean() > 0.8
    assert before[:100].mean() < 0.1  # nothing is above 4 kHz of a recording at 8 kHz
    assert after.any()


def test_a_published_checkpoint(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 2000), 44100))
    weights = list(random_weights(small_layout(), 1).values())
    settings = {**COMMON, **OUVE, **SMALL, "backbone": "ncsnpp"}
    save_published(tmp_path / "epoch=3.ckpt", random_weights(small_layout(), 0), weights, settings)
    arguments = [tmp_path / "a.wav", tmp_path / "b.wav", "--model", tmp_path / "epoch=3.ckpt", "--steps", 2]
    arguments += ["--reverse-starting-point", 0.05]  # what random weights give is plausible only near the noisy signal
    done = recipes.run("enhance", *arguments)
    assert done.code == 0, done.said
    assert "4 network calls" in done.said
    assert read_audio(tmp_path / "b.wav").waveform.any()


def test_bad_input_is_one_line_and_status_one(recipes, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 2000), 16000))
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "bad.ckpt").write_bytes(b"nothing")
    cases = [
        ([tmp_path / "none.wav", tmp_path / "b.wav"], "no such file or folder"),
        ([tmp_path / "text.wav", tmp_path / "b.wav"], "not audio that libsndfile reads"),
        ([tmp_path / "a.wav", tmp_path / "a.wav"], "is the noisy file itself"),
        ([tmp_path / "a.wav", "/proc/none/b.wav"], "cannot be written"),
        (
            [tmp_path / "a.wav", tmp_path / "b.amr"],
            ".amr files cannot be written; choose a name",
        ),
        ([tmp_path / "a.wav", tmp_path / "b.wav", "--sampler", "psychic"], "psychic"),
        ([tmp_path / "a.wav", tmp_path / "b.wav", "--mix", 2], "mix=2"),
        ([tmp_path, tmp_path / "a.wav"], "is a file"),
        ([tmp_path, tmp_path], "is the folder of the noisy files itself"),
        ([tmp_path / "a.wav", ""], "the target is '', as of a variable that is not set"),
        ([tmp_path, ""], "the target is '', as of a variable that is not set"),
    ]
    for arguments, message in cases:
        done = enhance(recipes, *arguments)
        assert done.code == 1, done.said
        assert message in done.said
        assert "Traceback" not in done.said
    done = recipes.run("enhance", tmp_path / "a.wav", tmp_path / "b.wav", "--model", tmp_path / "bad.ckpt")
    assert (done.code, "Traceback" in done.said) == (1, False)
    assert not Path(tmp_path / "b.wav").exists()


def test_a_result_gets_the_rate_that_is_asked_for(recipes: Recipes) -> None:
    write_audio(recipes.folder / "narrow.wav", Audio(noise(1, 4000), 8000))
    enhance(recipes, "narrow.wav", "wide.flac", "--rate", "48000", "--upper-band", "drop", "--output", "wide")
    audio = read_audio(recipes.folder / "wide.flac")
    assert (audio.sample_rate, audio.waveform.shape) == (48000, (1, 24000))
    metrics = json.loads((recipes.folder / "wide/metrics.json").read_text())
    assert metrics["rate"] == 48000
    assert metrics["per_file"][0]["sample_rate"] == 48000


def test_results_of_an_earlier_run_are_named_and_a_slash_makes_a_folder(recipes, tmp_path):
    for name in ("a.wav", "out/a.wav"):
        write_audio(tmp_path / name, Audio(noise(1, 3000), 16000))
    done = enhance(recipes, tmp_path, f"{tmp_path}/two/", "--dry-run")
    assert done.code == 0, done.said
    assert "out: its recording has the name of one beside it, as results of an earlier run have" in done.said
    done = enhance(recipes, tmp_path / "a.wav", f"{tmp_path}/three/")
    assert done.code == 0, done.said
    assert "becomes" not in done.said
    assert (tmp_path / "three/a.wav").is_file()


def test_a_file_that_is_named_as_a_folder_and_a_folder_as_a_file_are_told(recipes, tmp_path):
    write_audio(tmp_path / "in/a.flac", Audio(noise(1, 3000), 16000, "FLAC"))
    done = enhance(recipes, tmp_path / "in/a.flac", tmp_path / "clean")
    assert "/clean becomes a file, as its name has no suffix" in done.said
    assert f"{tmp_path}/clean/ is a folder" in done.said
    assert audio_info(tmp_path / "clean").format == "FLAC"
    done = enhance(recipes, tmp_path / "in", tmp_path / "clean.M4A")
    assert "/clean.M4A becomes a folder, as " in done.said
    assert (tmp_path / "clean.M4A/a.flac").is_file()
    done = enhance(recipes, tmp_path / "in/a.flac", tmp_path / "clean", "--overwrite")
    assert (done.code, "becomes" in done.said) == (0, False)


@pytest.mark.parametrize(("folder", "name"), [(False, "SIGTERM"), (True, "SIGHUP")])
def test_a_request_to_end_leaves_nothing_unfinished(tmp_path: Path, folder: bool, name: str) -> None:
    number = getattr(signal, name)
    write_audio(tmp_path / "in/a.wav", Audio(noise(1, 200 * 16000), 16000))
    source, target = ("in", "out") if folder else ("in/a.wav", "out/a.wav")
    streams = (os.devnull, *(tmp_path / each for each in ("said", "told")))

    def run() -> None:
        os.chdir(tmp_path)
        sys.argv = ["enhance.py", source, target, "--threads", "1"]
        runpy.run_path(str(ROOT / "recipes/enhance.py"), run_name="__main__")

    running = forked(as_program, streams, run)
    limit = time.monotonic() + 120
    while not list((tmp_path / "out").glob(".unfinished-*")):
        assert running.is_alive(), (tmp_path / "told").read_text()
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert running.pid is not None
    os.kill(running.pid, number)
    running.join(120)
    told = (tmp_path / "told").read_text()
    assert running.exitcode == 128 + number, told
    assert list((tmp_path / "out").iterdir()) == []
    assert "Traceback" not in told


def test_a_picture_that_cannot_be_drawn_costs_no_report(recipes, tmp_path):
    for name in "ab":
        write_audio(tmp_path / f"in/{name}.wav", Audio(noise(1, 3000), 16000))
    (tmp_path / "report/pictures/a.wav.png").mkdir(parents=True)  # no file may take its place
    done = enhance(recipes, tmp_path / "in", tmp_path / "out/", "--output", tmp_path / "report", "--picture")
    assert done.code == 1
    assert "failed: a.wav: enhanced, and no picture drawn: " in done.said
    assert "2 enhanced" in done.said
    assert len(json.loads((tmp_path / "report/metrics.json").read_text())["per_file"]) == 2
    assert (tmp_path / "report/pictures/b.wav.png").is_file()


def test_recordings_newer_than_results_that_are_kept_are_told(recipes, tmp_path):
    for name in "ab":
        write_audio(tmp_path / f"in/{name}.wav", Audio(noise(1, 3000), 16000))
    for _ in range(2):
        assert "changed after" not in enhance(recipes, tmp_path / "in", tmp_path / "out/").said
    later = (tmp_path / "out/b.wav").stat().st_mtime + 60
    os.utime(tmp_path / "in/b.wav", (later, later))
    said = "1 recording that is skipped changed after the result was made (b.wav): --overwrite makes it anew"
    for more in ([], ["--dry-run"]):
        assert said in enhance(recipes, tmp_path / "in", tmp_path / "out/", *more).said
    assert said in enhance(recipes, tmp_path / "in/b.wav", tmp_path / "out/b.wav", "--skip").said
