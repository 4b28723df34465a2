"""Commands of README, docs and cards: each is understood; those that are quick, or can be made small, run."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.docs.blocks import ROOT, Found, arguments, commands
from tests.recipes.harness import Recipes

SMALLER = {
    "recipes/forecast.py": ("--samples", "5", "--steps", "2"),
    "recipes/impute.py": ("--samples", "5"),
    "recipes/forecast_jointly.py": ("--samples", "5", "--steps", "2"),
    "recipes/forecast_covariates.py": ("--samples", "5", "--steps", "2"),
    "recipes/enhance.py": (),
    "recipes/evaluate_speech.py": ("--workers", "1"),
    "speech enhance": (),
    "speech evaluate": ("--workers", "1"),
}
"""What is run, and the options that make it small."""
ELSEWHERE = {
    "recipes/train_speech.py": "trains for minutes on shared data: tests/recipes/test_train_speech_recipe.py",
    "speech train": "the same command",
    "recipes/train_default_forecaster.py": "replaces the bundled weights",
    "recipes/train_upper_band.py": "trains for minutes: tests/speech/training/test_upper_band_training.py",
    "recipes/train_extension.py": "trains for minutes: tests/speech/training/test_extension_training.py",
    "recipes/app.py": "serves until it is stopped: tests/recipes/test_page_server.py",
    "recipes/make_embedded.py": "replaces the embedded data",
    "recipes/series_sets.py": "reads tables of public repositories: tests/recipes/test_series_sets.py",
    "recipes/evaluate_tsdiff.py": "needs a trained experiment: tests/recipes/test_verbs.py",
    "recipes/train_tsdiff.py": "trains for minutes: tests/recipes/test_verbs.py",
    "tsdiff train": "the same command",
    "recipes/synthesize.py": "tests/recipes/test_synthesize_recipe.py",
    "tsdiff synthesize": "the same command",
    "recipes/diagnose.py": "takes a minute: tests/tsdiff/tasks/test_diagnosis.py",
    "recipes/diagnose_speech.py": "takes a minute: tests/speech/inference/test_diagnosis.py",
    "tsdiff diagnose": "the same command",
    "speech diagnose": "the same command",
    "speech stream": "sound goes in and out: tests/speech/commands/test_stream_command.py",
    "speech export": "takes a minute: tests/speech/inference/test_onnx.py",
    "tsdiff anomaly": "tests/recipes/test_anomaly_recipe.py",
    "tsdiff impute": "with --engine alone: tests/tsdiff/scale/test_commands.py",
    "tsdiff forecast": "with --help alone, or with --engine: tests/tsdiff/scale/test_commands.py",
    "tests/golden/make_tsdiff.py": "needs the published code and its environment",
    "tests/golden/make_sgmse.py": "needs the published code",
}
"""What is not run here, and why."""


def head(command: str) -> str:
    """The script, or the program and its verb."""
    words = arguments(command)
    return words[1] if words[0] == "python" else " ".join(words[:2])


def script_of(command: str) -> str:
    """The text of a benchmark; nothing of other commands."""
    script = ROOT / head(command)
    return script.read_text(encoding="utf-8") if script.parent.name == "benchmarks" else ""


def each(found: list[Found]) -> Iterator[object]:
    """Every command; outside README those of a script that came before are slow."""
    seen: set[str] = set()
    for one in found:
        further = one.page != "README.md" and head(one.text) in seen
        seen.add(head(one.text))
        yield pytest.param(one, id=str(one), marks=pytest.mark.slow if further else ())


def parts(command: str) -> list[str]:
    return [part.strip() for part in command.split("&&")]


def is_run(command: str) -> bool:
    """Whether it is one of `SMALLER`; evaluations that name no folder are of the shared data, and take minutes."""
    folders = [word for word in arguments(command) if word.endswith("/")]
    return head(command) in SMALLER and (bool(folders) or "evaluate" not in head(command))


ALL = commands()
RUN = [one for one in {found.text: found for found in ALL}.values() if is_run(one.text) and "&&" not in one.text]


@pytest.fixture(scope="module")
def runner(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipes:
    return Recipes(workspace)


@pytest.fixture(autouse=True)
def anew(workspace: Path) -> Iterator[None]:
    """A reader begins without the results of other pages, which are not replaced unasked."""
    before = set(workspace.iterdir())
    yield
    for path in set(workspace.iterdir()) - before:
        if path.is_file():
            path.unlink()


def run(runner: Recipes, command: str, *more: str) -> tuple[int, str]:
    """A command as typed, with further arguments at its end."""
    words = arguments(command)
    if words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"there is no {words[1]}"
        script, rest = f"../{words[1].removesuffix('.py')}", words[2:]
    else:
        script, rest = "../tests/docs/entry", words
    ran = runner.run(script, *rest, *more)
    return ran.code, ran.said


@pytest.mark.parametrize("found", list(each(ALL)))
def test_every_command_is_understood(found: Found, runner: Recipes):
    for part in parts(found.text):
        words = arguments(part)
        if words[0] == "make":
            subprocess.run(["make", "--dry-run", "VENV=nowhere", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        elif words[0] == "pip":
            known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert set(re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*?)\]", part)))) <= set(known)
        elif words[0] == "cp":
            assert (ROOT / words[-1]).is_dir()
        elif head(part).startswith("tests/golden/"):  # imports what only its own environment has
            assert (ROOT / head(part)).is_file()
        elif "typer.run(main)" in script_of(part):  # in this process, which has read what all of them import
            main = importlib.import_module(head(part).removesuffix(".py").replace("/", ".")).main
            program = typer.Typer()
            program.command()(main)
            result = CliRunner().invoke(program, [*words[2:], "--help"])
            assert result.exit_code == 0, result.output
        elif "--help" not in words:
            code, said = run(runner, part, "--help")  # options are read before the help is shown
            assert code == 0, said


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_finds_the_repository(script: Path):
    """Commands above are tried in this process, which knows where it is; a script's own knows its folder alone."""
    code = script.read_text(encoding="utf-8")
    used = re.search(r"^(from|import) (benchmarks|recipes|tests)\b", code, re.MULTILINE)
    if "__main__" in code and used is not None:
        assert "sys.path.insert(" in code[: used.start()]


def test_every_command_is_run_or_has_its_reason():
    programs = [one for one in ALL if arguments(one.text)[0] in ("python", "tsdiff", "speech")]
    left = [one for one in programs if not head(one.text).startswith("benchmarks/")]
    assert [str(one) for one in left if head(one.text) not in {**SMALLER, **ELSEWHERE}] == []


def quick(found: list[Found]) -> Iterator[object]:
    """The first command of each script or verb, which README has for most; further ones take minutes together."""
    seen: set[str] = set()
    for one in found:
        job = head(one.text).replace("recipes/evaluate_speech.py", "speech evaluate")
        marks = [pytest.mark.slow] if job in seen else []
        seen.add(job)
        yield pytest.param(one, id=str(one), marks=marks)


@pytest.mark.parametrize("found", list(quick(RUN)))
def test_quick_commands_run(found: Found, runner: Recipes, workspace: Path):
    more = list(SMALLER[head(found.text)])
    if "--budget" in found.text:
        more = ["--samples", "5", "--budget", "0.05"]
    if "runs/forecast/auto" in found.text:
        run(runner, found.text.replace("--model runs/forecast/auto", "--budget 0.05"), "--samples", "5")
    if "--fine-tune" in found.text:
        more += ["--fine-tune", "0.02"]
    if "sgmse.ckpt" in found.text:
        more += ["--steps", "1"]
    if "evaluate" in found.text and "enhanced/" in found.text:
        run(runner, "python recipes/enhance.py recordings/ enhanced/")
    code, said = run(runner, found.text, *more)
    assert "Traceback" not in said
    if "sgmse.ckpt" in found.text:  # whose weights here are random: the file is read, and what it makes refused
        assert code == 1
        assert "the enhanced signal cannot be right" in said
        return
    assert code == 0, said
    results = workspace / "runs" / "forecast" / "metrics.json"
    if head(found.text) == "recipes/forecast.py" and "--windows 0" not in found.text:  # without windows, no score
        assert 0 < json.loads(results.read_text())["model"]["crps"] < 5
    assert ("in-domain" in said) == ("--no-train" in found.text and "--data" not in found.text)
    if "clean.wav" in found.text:
        assert (workspace / "clean.wav").stat().st_size > 16000
