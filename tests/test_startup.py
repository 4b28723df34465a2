"""What is loaded when: no timings, which `benchmarks/startup.py` measures, but which modules are there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from typing import get_args, get_type_hints

import pytest

from shared.scale import EngineName
from speech.commands import options as speech_options
from speech.training import settings as speech_settings
from tests.conftest import ROOT
from tsdiff.baselines import BASELINE_NAMES
from tsdiff.commands import options
from tsdiff.experiment import experiment
from tsdiff.sampling.settings import Energy
from tsdiff.tasks.anomaly.scores import Method
from tsdiff.tasks.refinement import Prior, RefineConfig, Refinement
from tsdiff.tasks.synthesis import SynthesisConfig

HEAVY = ("lightning", "gluonts.torch", "gluonts.transform", "matplotlib", "scipy", "sklearn", "librosa", "numba")
HEAVY += ("onnxruntime", "pesq", "joblib", "torchaudio", "torchdiffeq", "torch._dynamo", "sympy", "tensorboard", "rich")
HEAVY += ("onnx", "onnxscript", "sounddevice", "av", "ray")


def loaded(code: str, *arguments: str, names: tuple[str, ...]) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """Those of the modules `names` that a process has after `code`, and the process."""
    tell = f"lambda: print(json.dumps([name for name in {names!r} if name in sys.modules]))"
    ran = subprocess.run(
        [sys.executable, "-c", f"import atexit, json, sys; atexit.register({tell})\n{code}", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        check=False,
    )
    return json.loads(ran.stdout.splitlines()[-1]), ran


@pytest.mark.parametrize("package", ["tsdiff", "speech"])
def test_a_package_alone_loads_nothing_and_knows_its_version(package: str) -> None:
    found, ran = loaded(f"import {package}; print({package}.__version__)", names=("torch", "pandas", "numpy", *HEAVY))
    assert found == []
    assert ran.stdout.splitlines()[0] == metadata.version("anchored-diffusion")


def test_what_users_import_loads_torch_and_nothing_of_use_later() -> None:
    """One after another: what one of them loads, all have from then on."""
    names = ("torch", *HEAVY)
    tell = f"print(json.dumps([name for name in {names!r} if name in sys.modules]))"
    lines = [
        "import shared.samplers, shared.sde, shared.likelihood, shared.objectives",
        "from tsdiff import TSDiffPredictor, TSDiffEstimator, TSDiff, Sampling, TSDiffConfig, import_checkpoint",
        "import tsdiff.evaluation.metrics, tsdiff.ensemble, tsdiff.evaluation.tuning",
        "from speech import Enhancer, SpeechModel, SpeechConfig, import_checkpoint",
    ]
    _, ran = loaded("\n".join(f"{line}; {tell}" for line in lines), names=names)
    assert ran.returncode == 0, ran.stderr
    assert {line: json.loads(found) for line, found in zip(lines, ran.stdout.splitlines(), strict=False)} == {
        line: ["torch"] for line in lines
    }


@pytest.mark.parametrize(
    ("package", "arguments", "status", "said"),
    [
        ("tsdiff", ["--help"], 0, "Show this message"),
        ("tsdiff", ["forecast", "--help"], 0, "Show this message"),
        ("speech", ["--help"], 0, "Show this message"),
        ("speech", ["prepare", "mix", "--help"], 0, "Show this message"),
        ("tsdiff", ["--version"], 0, "anchored-diffusion "),
        ("tsdiff", ["forcast"], 2, "forecast"),
        ("tsdiff", ["refine", "--method", "guess"], 2, "most_likely"),
        ("speech", ["enhance", "a.wav", "--steps", "few"], 2, "--steps"),
        *[
            pytest.param(*more, marks=pytest.mark.slow)  # verbs and refusals like those
            for more in (
                *[("tsdiff", [verb, "--help"], 0, "Show this message") for verb in ("train", "anomaly")],
                *[("speech", [verb, "--help"], 0, "Show this message") for verb in ("enhance", "stream")],
                ("speech", ["--version"], 0, "anchored-diffusion "),
                ("tsdiff", ["forecast", "--bogus"], 2, "--bogus"),
                ("speech", ["enhance"], 2, "IN"),
            )
        ],
    ],
)
def test_help_and_usage_errors_need_no_torch(package: str, arguments: list[str], status: int, said: str) -> None:
    code = f"import runpy; runpy.run_module({package!r}, run_name='__main__', alter_sys=True)"
    found, ran = loaded(code, *arguments, names=("torch", "numpy", "pandas"))
    assert (found, ran.returncode) == ([], status)
    assert said in ran.stdout + ran.stderr


def choices(kind: type, name: str) -> tuple[object, ...]:
    """Those of an option, from its type."""
    hint = get_type_hints(kind)[name]
    return next((get_args(part) for part in get_args(hint) if get_args(part)), get_args(hint))


def test_defaults_and_choices_of_options_are_those_of_the_settings() -> None:
    refine, config = options.Refine(), RefineConfig()
    assert (refine.method, refine.prior, refine.prior_scale) == (config.method, config.prior, config.prior_scale)
    assert (refine.log_snr, refine.refine_steps) == (config.log_snrs[-1], config.steps)
    assert options.Synthesize().sampling_steps == SynthesisConfig().steps
    assert choices(options.Refine, "method") == get_args(Refinement)
    assert choices(options.Refine, "prior") == get_args(Prior)
    assert choices(options.Forecast, "guidance") == get_args(Energy)
    assert set(choices(options.Anomaly, "method")) == set(get_args(Method))
    for kind, settings in ((options.Train, experiment), (speech_options.Train, speech_settings)):
        assert choices(kind, "hardware") == get_args(settings.Hardware)
    for kind in (options.Forecast, speech_options.Enhance):
        assert choices(kind, "engine") == get_args(EngineName)
    assert {"seasonal_naive", "linear", "auto_ets", "deepar"} <= set(BASELINE_NAMES)
