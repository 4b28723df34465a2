"""What an installed wheel holds, and that its commands work by name, far from a clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared.errors import ConfigError
from speech.training import settings as speech_experiment
from tests.conftest import ROOT
from tsdiff.experiment import experiment as tsdiff_experiment


@pytest.mark.parametrize("package", ["shared", "tsdiff", "speech"])
def test_every_file_of_a_package_goes_into_the_wheel(package: str) -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][package]
    packed = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
    files = {path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == packed
    assert ROOT / package / "py.typed" in packed


@pytest.mark.parametrize(
    ("module", "name", "in_recipes"),
    [
        (tsdiff_experiment, "m4_hourly", "m4_hourly.yaml"),
        (tsdiff_experiment, "published/solar_nips", "published/solar_nips.yaml"),
        (speech_experiment, "default", "speech/default.yaml"),
    ],
)
def test_settings_by_name_are_those_of_the_recipes(module, name, in_recipes, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir(parents=True)  # a folder of that name hides nothing
    assert module.read_experiment(name) == module.read_experiment(ROOT / "recipes" / "configs" / in_recipes)
    with pytest.raises(ConfigError, match=f"no-such is no file.*{name}"):
        module.read_experiment("no-such")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages as a wheel of this tree installs them. Needs a package registry, to build it."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    for name in ("shared", "tsdiff", "speech"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("tsdiff", ["train", "--config", "nothing"], "published/m4_hourly"),
        ("tsdiff", ["train", "--config", "m4_hourly", "--set", "data.name=none"], "prediction_length is needed"),
        ("speech", ["train", "--config", "nothing"], "published_sgmse"),
        ("speech", ["train", "--config", "default", "--data", "no"], "no data at no"),
        ("speech", ["prepare", "voicebank", "--output", "x"], "python recipes/prepare_speech.py"),
    ],
)
def test_the_commands_of_a_wheel(installed: Path, tmp_path: Path, command, arguments, said) -> None:
    ran = subprocess.run(
        [sys.executable, str(installed / "bin" / command), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.slow
def test_the_packages_are_those_of_the_wheel_and_wait_for_nothing(installed: Path, tmp_path: Path) -> None:
    code = "import sys, tsdiff, speech; print(tsdiff.__file__, speech.__file__, 'torch' in sys.modules)"
    where = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    ours, theirs, torch = where.stdout.split()
    assert ours.startswith(str(installed))
    assert theirs.startswith(str(installed))
    assert torch == "False"
