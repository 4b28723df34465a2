"""The command that scores folders of recordings, its recipe, and recordings without clean ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from typer.testing import CliRunner

from shared.errors import ConfigError
from speech.commands import application
from speech.metrics import (
    WITHOUT_REFERENCE,
    dnsmos,
    evaluate,
)
from speech.model.model import SpeechModel
from tests.recipes.harness import Recipes
from tests.speech.conftest import TINY_FRONT_END, TINY_LIGHT
from tests.speech.metrics.recordings import RATE, Folders, by_file, voice, write
from tests.speech.models import tiny_model


@pytest.fixture
def command() -> Callable[..., tuple[int, str, BaseException | None]]:
    """Runs `speech evaluate` in this process: exit status, what it said, what it raised."""

    def run(*arguments: object) -> tuple[int, str, BaseException | None]:
        result = CliRunner().invoke(application(), ["evaluate", *map(str, arguments)])
        return result.exit_code, result.output, result.exception

    return run


def test_command_enhances_first(
    folders: Folders, tmp_path: Path, command: Callable[..., tuple[int, str, object]]
) -> None:
    from shared.sde import OUVESDE
    from speech.model.config import Parameterisation, SamplingConfig, SpeechConfig

    sampling = SamplingConfig(sampler="ode1", steps=2)
    config = SpeechConfig(TINY_LIGHT, TINY_FRONT_END, OUVESDE(), Parameterisation("data"), sampling)
    SpeechModel(config).save_pretrained(tmp_path / "model")
    (folders["noisy"] / "part1" / "3.wav").write_text("no sound")
    asked = ["--noisy", folders["noisy"], "--model", tmp_path / "model", "--output", tmp_path / "out"]
    code, said, _ = command(folders["clean"], *asked, "--metric", "si_sdr", "--workers", 1, "--device", "cpu")
    assert code == 1, said
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["nfe"] == 2
    assert found["rtf"] > 0
    assert [failure["file"] for failure in found["failed"]] == ["part1/3"]
    assert found["failed"][0]["reason"].startswith("not enhanced: ")
    assert len(list((tmp_path / "out" / "enhanced").rglob("*.wav"))) == 4
    gone = sorted(path for path in folders["noisy"].rglob("*.wav") if path.stem != "3")[0].relative_to(folders["noisy"])
    for kind in ("clean", "noisy"):
        (folders[kind] / gone).unlink()
    command(folders["clean"], *asked, "--metric", "si_sdr", "--workers", 1, "--device", "cpu")
    again = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (tmp_path / "out" / "enhanced" / gone).is_file()  # of the run before, and not scored
    assert [failure["file"] for failure in again["failed"]] == ["part1/3"]


def test_command_tells_no_speed_of_what_an_earlier_run_enhanced(
    folders: Folders, tmp_path: Path, command: Callable[..., tuple[int, str, object]]
) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    asked = [folders["clean"], "--noisy", folders["noisy"], "--model", tmp_path / "model", "--device", "cpu"]
    asked += ["--engine", "local", "--metric", "si_sdr", "--output", tmp_path / "out"]
    for known in (True, False):
        code, said, _ = command(*asked)
        assert code == 0, said
        found = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert (found["rtf"] is not None) == ("real-time factor" in said) == known


def test_command_refuses_what_does_not_fit(folders: Folders, command: Callable[..., tuple[int, str, object]]) -> None:
    code, _, error = command(folders["clean"])
    assert code == 1
    assert "there is nothing to score" in str(error)
    for folder in (folders["noisy"], folders["clean"] / "part0"):  # whose next run would take results for recordings
        code, _, error = command(folders["clean"], "--noisy", folders["noisy"], "--output", folder / "out")
        assert code == 1
        assert "choose a folder outside" in str(error)
        assert not (folder / "out").exists()
    code, _, error = command(folders["clean"], folders["enhanced"], "--model", "default")
    assert code == 1
    assert "--model default enhances --noisy" in str(error)


def test_command_takes_a_file_of_each(tmp_path: Path, command: Callable[..., tuple[int, str, object]]) -> None:
    for place, name in enumerate(("clean.wav", "made.flac", "loud noise.wav", "in/one.wav")):
        write(tmp_path / name, voice(0) + 0.01 * place * voice(1))
    clean, noisy, made = (tmp_path / name for name in ("clean.wav", "loud noise.wav", "made.flac"))
    asked = ["--metric", "si_sdr", "--output", tmp_path / "out"]

    def scores(*arguments: object) -> dict[str, Any]:
        code, said, error = command(*arguments, *asked)
        assert code == 0, (said, error)
        return json.loads((tmp_path / "out" / "metrics.json").read_text())

    found = scores(clean, made, "--noisy", noisy)
    assert found["enhanced"]["si_sdr"] > found["noisy"]["si_sdr"] > 20
    assert scores(clean, made)["noisy"] == {}
    tiny_model().save_pretrained(tmp_path / "model")
    first = ["--noisy", noisy, "--model", tmp_path / "model", "--device", "cpu"]
    found = scores(clean, *first)
    assert (tmp_path / "out/enhanced/loud noise.wav").is_file()
    assert found["rtf"] > 0
    assert found["enhanced"] == pytest.approx(scores(clean, tmp_path / "out/enhanced/loud noise.wav")["enhanced"])
    for wrong, why in ((tmp_path / "in", "is a file and"), (tmp_path / "nothing", "no such folder")):
        (tmp_path / "out/enhanced/loud noise.wav").unlink(missing_ok=True)
        code, _, error = command(wrong, *first, *asked)
        assert (code, why in str(error)) == (1, True), error
        assert not (tmp_path / "out/enhanced/loud noise.wav").exists()  # told before the work
    code, _, error = command(clean, *first, *asked, "--engine", "local")
    assert (code, "--engine takes a folder" in str(error)) == (1, True)


def test_command_counts_the_failures_that_it_does_not_show(
    tmp_path: Path, command: Callable[..., tuple[int, str, object]]
) -> None:
    for place in range(23):
        write(tmp_path / "clean" / f"{place}.wav", voice(0))
    write(tmp_path / "enhanced" / "0.wav", voice(1))
    asked = ["--metric", "si_sdr", "--workers", 1, "--output", tmp_path / "out"]
    code, said, _ = command(tmp_path / "clean", tmp_path / "enhanced", *asked)
    assert code == 1
    assert said.count("no enhanced file") == 20
    assert "and 2 more, which" in said


@pytest.mark.slow
def test_recipe_in_a_process_of_its_own(folders: Folders, tmp_path: Path) -> None:
    arguments = [folders["clean"], folders["enhanced"], "--noisy", folders["noisy"], "--metric", "si_sdr"]
    done = Recipes(tmp_path).run("evaluate_speech", *arguments, "--workers", "1", "--output", "out")
    assert done.code == 0, done.said
    assert "SI-SDR, dB" in done.out
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["enhanced"]["si_sdr"] > found["noisy"]["si_sdr"]
    assert (found["rtf"], found["nfe"], found["failed"]) == (None, None, [])


def test_recordings_without_clean_ones_are_scored_alone(folders: Folders, tmp_path: Path, command: Any) -> None:
    for kind in ("enhanced", "noisy"):  # fewer: DNSMOS takes half a second for each
        for name in ("part0/2", "part0/4", "part1/3"):
            (folders[kind] / f"{name}.wav").unlink()
    (folders["enhanced"] / "part0" / "0.wav").write_text("no sound")
    frame = evaluate(None, folders["enhanced"], folders["noisy"], workers=1, progress=False)
    assert list(frame)[2:6] == list(WITHOUT_REFERENCE)
    recording, _ = soundfile.read(folders["noisy"] / "part1" / "1.wav")
    row = by_file(frame)["part1/1"]
    assert row["noisy_dnsmos_ovrl"] == pytest.approx(dnsmos(recording, RATE).ovrl, abs=1e-6)
    assert "is not audio" in str(by_file(frame)["part0/0"]["reason"])
    code, said, _ = command(folders["enhanced"], "--no-reference", "--workers", 1, "--output", tmp_path / "out")
    assert code == 1  # for the file that is no sound
    assert "DNSMOS OVRL" in said
    assert "score" in said.splitlines()[1]  # nothing was enhanced
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (found["files"], found["noisy"], len(found["failed"])) == (2, {}, 1)
    assert found["enhanced"].keys() == set(WITHOUT_REFERENCE)
    assert found["enhanced"]["dnsmos_sig"] == pytest.approx(frame["dnsmos_sig"].mean(), abs=1e-4)
    assert (tmp_path / "out" / "metrics.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "there is nothing to score"),
        (["enhanced", "noisy"], "recordings of one folder"),
        (["enhanced", "--align"], "--align looks for a delay against clean recordings"),
        (["enhanced", "--metric", "pesq_wb"], "'pesq_wb' needs clean recordings; without: dnsmos_sig"),
    ],
)
def test_what_needs_clean_recordings_is_refused_without(
    folders: Folders, command: Any, options: list[str], message: str
) -> None:
    code, _, error = command(*(folders.get(each, each) for each in options), "--no-reference")
    assert code == 1
    assert message in str(error)
    with pytest.raises(ConfigError, match="a delay is found against clean recordings"):
        evaluate(None, folders["enhanced"], align=True)
