"""recipes/noise_recordings.py: how recordings are cut, joined and split, and what is answered if none is there."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.free_sources.listing import read_listing
from recipes.noise_recordings import PEAK, TABLE, Recording, Source
from tests.recipes.harness import Recipes

RATE = 8000


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A source with a long recording between silences, six short ones, one at 96 kHz, in stereo, and a silent one."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "sources" / "games"
    folder.mkdir(parents=True)
    silence = np.zeros(2 * RATE)
    soundfile.write(folder / "rain.wav", np.concatenate([silence, 0.1 * rng.normal(size=62 * RATE), silence]), RATE)
    for number in range(6):
        soundfile.write(folder / f"step{number}.wav", np.clip(0.2 * rng.normal(size=RATE // 2), -1, 1), RATE)
    soundfile.write(folder / "bell.flac", np.clip(0.2 * rng.normal(size=(6 * 96000, 2)), -1, 1), 96000)
    soundfile.write(folder / "none.wav", silence, RATE)
    lines = ["#source\tgames\tDebian package games 1.0", "games\train.wav\train\ttrain\tCC0\tsomebody\tLICENSE"]
    lines += [f"games\tstep{number}.wav\tsteps\ttrain\tCC-BY-4.0\tanother\tLICENSE" for number in range(6)]
    lines += ["games\tbell.flac\tbell\tvalid\tCC0\tsomebody\tLICENSE", "games\tnone.wav\tnone\ttrain\tCC0\tx\tLICENSE"]
    lines += ["absent\tgone.wav\tgone\ttrain\tCC0\tx\tLICENSE"]
    (tmp_path / "table.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "sources"


def _sums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
    }


def test_noises_are_cut_joined_and_split_and_come_again(tmp_path: Path, sources: Path) -> None:
    recipes, table = Recipes(tmp_path), tmp_path / "table.tsv"
    made = [tmp_path / "first", tmp_path / "second"]
    for output in made:
        ran = recipes.run("noise_recordings", "--sources", sources, "--table", table, "--output", output)
        assert ran.code == 0, ran.said
        assert "1 recordings are not there, the first: absent/gone.wav" in ran.said
    assert _sums(made[0]) == _sums(made[1])
    assert set(_sums(made[0])) == {
        "SOURCES.tsv",
        "train/games/rain-0.flac",
        "train/games/rain-1.flac",
        "train/games/steps-0.flac",
        "valid/games/bell-0.flac",
    }
    for path in made[0].rglob("*.flac"):
        samples, rate = soundfile.read(path)
        assert samples.ndim == 1
        assert rate in (RATE, 48000)
        assert np.abs(samples).max() == pytest.approx(PEAK, abs=1e-3)
    durations = {path.stem: soundfile.info(path).duration for path in made[0].rglob("*.flac")}
    assert durations["rain-0"] + durations["rain-1"] == pytest.approx(62, abs=0.01)
    assert durations["bell-0"] == pytest.approx(6, abs=0.01)
    assert 5 <= durations["steps-0"] <= 30
    with open(made[0] / "SOURCES.tsv", encoding="utf-8", newline="") as stream:
        lines = {row["file"]: row for row in csv.DictReader(stream, delimiter="\t")}
    steps = lines["train/games/steps-0.flac"]
    assert sorted(steps["recordings"].split("; ")) == [f"step{number}.wav" for number in range(6)]
    assert (steps["authors"], steps["licences"], steps["said in"]) == ("another", "CC-BY-4.0", "LICENSE")


def test_what_one_run_adds_stands_beside_what_others_made(tmp_path: Path, sources: Path) -> None:
    """Whose authors and licences are told as long as the files are there."""
    recipes, table, made = Recipes(tmp_path), tmp_path / "table.tsv", tmp_path / "made"
    (sources / "absent").mkdir()
    soundfile.write(sources / "absent" / "gone.wav", 0.5 * np.sin(np.arange(6 * RATE)), RATE)
    for only, kinds in (("games", "4 files of 3 kinds"), ("absent", "1 files of 1 kinds")):
        options = "--sources", sources, "--table", table, "--output", made, "--only", only
        ran = recipes.run("noise_recordings", *options)
        assert ran.code == 0, ran.said
        assert kinds in ran.said
        if only == "games":
            (made / "train/games/rain-1.flac").unlink()
    with open(made / "SOURCES.tsv", encoding="utf-8", newline="") as stream:
        told = [row["file"] for row in csv.DictReader(stream, delimiter="\t")]
    assert told == sorted(path.relative_to(made).as_posix() for path in made.rglob("*.flac"))
    ran = recipes.run("noise_recordings", "--sources", sources, "--table", table, "--output", made, "--only", "game")
    assert ran.code == 1
    assert "--only game: " in ran.said
    assert "has no such source" in ran.said


def test_without_recordings_it_says_where_to_look(tmp_path: Path, sources: Path) -> None:
    recipes, table = Recipes(tmp_path), tmp_path / "table.tsv"
    listed = recipes.run("noise_recordings", "--list", "--table", table)
    assert "games: Debian package games 1.0" in listed.said
    for folder in (tmp_path / "nowhere", tmp_path):
        ran = recipes.run("noise_recordings", "--sources", folder, "--table", table, "--output", tmp_path / "made")
        assert ran.code == 1
        assert "--list says what belongs into it" in ran.said
        assert "Traceback" not in ran.said


def test_the_table_names_free_licences_and_keeps_kinds_apart() -> None:
    got, recordings = read_listing(TABLE, Source, Recording)
    assert {one.source for one in recordings} == set(got)
    assert len({(one.source, one.path) for one in recordings}) == len(recordings) > 1000
    for one in recordings:
        licence = one.licence.upper().replace(" ", "-")
        assert not any(word in licence.split("-") for word in ("SA", "NC", "ND", "GPL")), one
    trained = {one.kind for one in recordings if one.split == "train"}
    assert trained.isdisjoint(one.kind for one in recordings if one.split == "valid")
