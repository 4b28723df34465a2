"""What the base install does, and that what needs more says which extra installs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest

from tests.conftest import ROOT

DISTRIBUTION = {"sklearn": "scikit-learn"}
EXTRA = {
    "pesq": "metrics",
    "pystoi": "metrics",
    "onnxruntime": "metrics",
    "evaluate": "metrics",
    "opinion": "metrics",
    "train": "metrics",
    "onnx": "onnx",
    "runtime": "onnx",
    "sounddevice": "live",
    "pyroomacoustics": "rooms",
    "sklearn": "baselines",
    "refine": "baselines",
    "synthesize": "metrics",
    "anomaly": "metrics",
    "statsforecast": "baselines",
    "av": "media",
    "loudness": "media",
    "folder": "media",
    "huggingface_hub": "hub",
    "torch_pesq": "pesq-loss",
    "ray": "scale",
}
"""The extra that the error of each call of `without_extras.py` names."""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What a process without the extras tells."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.without_extras"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_the_base_install_forecasts_and_enhances(told: dict[str, Any]) -> None:
    assert told["forecast"] == [2, 7]
    assert told["enhanced"] == [16000]
    assert told["si_sdr"] == pytest.approx(20, abs=0.5)
    assert told["modules"] > 150


@pytest.mark.parametrize("what", EXTRA)
def test_what_needs_an_extra_names_it(told: dict[str, Any], what: str) -> None:
    said = told["errors"][what]
    assert f"pip install 'anchored-diffusion[{EXTRA[what]}]'" in said
    assert said.startswith(("MissingPackageError: ", "CheckpointError: ", "ConfigError: ", "DataError: "))
    if what in ("pesq", "pystoi", "av", "sklearn", "statsforecast", "pyroomacoustics", "onnx", "sounddevice", "ray"):
        assert f" needs {what}" in said


def test_metrics_that_need_no_package_are_offered(told: dict[str, Any]) -> None:
    assert told["errors"]["evaluate"].endswith(", or choose other metrics (si_sdr, lsd)")
    assert "other metrics" not in told["errors"]["opinion"]


def test_each_extra_that_an_error_names_installs_what_is_missing() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    source = "".join(
        path.read_text() for name in ("shared", "speech", "tsdiff") for path in (ROOT / name).rglob("*.py")
    )
    asked = re.findall(r'needed\(f?"([\w.{}]+)", "([\w-]+)"', source)
    assert len(asked) > 8
    for module, extra in asked:
        package = module.split(".")[0]
        names = [re.split(r"[><=\[]", line)[0].replace("-", "_") for line in extras[extra]]
        assert DISTRIBUTION.get(package, package).replace("-", "_") in names
    for extra in re.findall(r"""install\(["']([\w-]+)["']\)""", source):
        assert extra in extras
