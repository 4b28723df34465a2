"""Training speech from the command line, on tiny sounds, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from shared.errors import CheckpointError, ConfigError, TrainingError
from shared.files.settings import read_yaml
from speech.commands import VERBS, application
from speech.commands.options import Train
from speech.commands.train import main
from speech.model.model import SpeechModel
from tests.conftest import ROOT
from tests.recipes.harness import Ran, Recipes

SMALL = """
model:
  backbone: {kind: light, width: 8, edge_width: 4, blocks: 1, dilations: [1], mixed: 2, mixing_width: 8, embedding: 8}
  frontend: {n_fft: 126, hop_length: 32}
  sampling: {sampler: sde1, steps: 3}
data:
  batch_size: 2
  seconds: 0.3
training: {max_steps: 6}
validation: {every: 3, files: 2, seconds: 1.0}
"""


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Recipes:
    made = Recipes(tmp_path_factory.mktemp("train_speech"))
    rng = np.random.default_rng(0)
    time_axis = np.arange(24000) / 16000
    for part in ("train", "valid"):
        for kind in ("clean", "noise", "rir"):
            (made.folder / "data" / part / kind).mkdir(parents=True)
        for i in range(3):
            voice = sum(np.sin(2 * np.pi * (140 + 20 * i) * k * time_axis) / k for k in range(1, 12))
            envelope = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time_axis + i)
            soundfile.write(made.folder / "data" / part / "clean" / f"voice{i}.wav", 0.1 * voice * envelope, 16000)
        soundfile.write(made.folder / "data" / part / "noise" / "hiss.wav", 0.1 * rng.normal(size=48000), 16000)
        decay = np.exp(-np.arange(2000) / 300) * rng.normal(size=2000)
        decay[0] = 4
        soundfile.write(made.folder / "data" / part / "rir" / "room.wav", 0.2 * decay, 16000)
    (made.folder / "small.yaml").write_text(SMALL)
    return made


def run(recipes: Recipes, *arguments: str, output: str = "out") -> Ran:
    options = ("--config", "small.yaml", "--data", "data", "--output", output, "--threads", "1")
    return recipes.run("train_speech", *options, *arguments)


@pytest.mark.slow
def test_it_leaves_a_model_and_results(recipes: Recipes) -> None:
    ran = run(recipes)
    assert ran.code == 0, ran.said
    out = recipes.folder / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["steps"] == 6
    assert metrics["files"] == 2
    assert metrics["nfe"] == 3
    assert set(metrics["noisy"]) == set(metrics["enhanced"]) == {"si_sdr", "estoi", "pesq_wb"}
    assert [row["step"] for row in metrics["checks"]] == [3, 6]
    model = SpeechModel.from_pretrained(out / "model")
    assert sum(p.numel() for p in model.parameters()) == metrics["parameters"]
    assert model.config.frontend.n_fft == 126
    assert "SI-SDR" in (out / "metrics.md").read_text()
    assert (out / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert any((out / "tensorboard").glob("events*"))
    assert read_yaml(out / "experiment.yaml")["training"]["max_steps"] == 6

    more = run(recipes, "--steps", "8")
    assert more.code == 0, more.said
    assert "going on" in more.said
    assert json.loads((out / "metrics.json").read_text())["steps"] == 8
    assert "none was left" not in more.said
    idle = run(recipes, "--steps", "7")
    assert "its 8 steps were taken before, and none was left; more --steps" in idle.said
    with pytest.raises(CheckpointError, match=r"out holds no model\.safetensors; .*; give .*out/model, which does"):
        SpeechModel.from_pretrained(out)

    refused = run(recipes, "--seed", "5")
    assert refused.code == 1
    assert "other settings (training.seed: 0 there, 5 now); choose another --output" in refused.said
    anew = run(recipes, "--seed", "5", "--retrain")
    assert anew.code == 0, anew.said
    assert json.loads((out / "metrics.json").read_text())["steps"] == 6


def test_what_cannot_be_used_is_one_line(recipes: Recipes) -> None:
    for arguments, told in (
        (("--data", "nowhere"), "no data at nowhere"),
        (("--set", "training.steps=3"), "training.steps"),
        (("--config", "none.yaml"), "none.yaml"),
        (("--start-from", "nothing"), "nothing"),
    ):
        ran = run(recipes, *arguments, output="other")
        assert ran.code == 1
        assert told in ran.said
        assert "Traceback" not in ran.said


def test_what_is_refused_removes_no_earlier_training(recipes: Recipes) -> None:
    out = recipes.folder / "earlier"
    options = Train(config=str(recipes.folder / "small.yaml"), data=recipes.folder / "data", output=out, steps=1)
    options = replace(options, changes=["validation.files=0"])
    main(options)
    refused = ["hardware.devices=0", "hardware.strategy=none", "objective.flow_map.kind=shortcut"]
    refused += [] if torch.cuda.is_available() else ["hardware.device=cuda"]
    for change in refused:
        with pytest.raises(ConfigError):
            main(replace(options, changes=["validation.files=0", change], retrain=True))
        assert (out / "model" / "model.safetensors").is_file(), change


def test_a_new_training_that_fails_leaves_no_results_of_the_one_before(recipes: Recipes) -> None:
    out = recipes.folder / "anew"
    options = Train(config=str(recipes.folder / "small.yaml"), data=recipes.folder / "data", output=out, steps=2)
    main(replace(options, changes=["validation.files=0"]))
    assert (out / "metrics.json").is_file()
    with pytest.raises(TrainingError, match="not finite"):
        main(replace(options, changes=["validation.files=0", "training.learning_rate=1e30"], steps=9, retrain=True))
    assert not {"metrics.json", "metrics.md", "curves.png"} & {path.name for path in out.iterdir()}


def test_recordings_of_validation_without_scores_are_told(
    recipes: Recipes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "valid"):
        for kind in ("clean", "noisy"):
            (tmp_path / part / kind).mkdir(parents=True)
            soundfile.write(
                tmp_path / part / kind / "a.wav", np.zeros(16000) if part == "valid" else np.ones(16000), 16000
            )
    options = Train(config=str(recipes.folder / "small.yaml"), data=tmp_path, output=tmp_path / "out", steps=1)
    main(replace(options, changes=["data.layout=split"]))
    assert "of validation has a score by SI-SDR / dB, ESTOI, PESQ-WB: they are silent" in capsys.readouterr().err


def test_without_validation_the_weights_are_the_last_and_are_scored_once_there_is_one(recipes: Recipes) -> None:
    out = recipes.folder / "unchecked"
    options = Train(config=str(recipes.folder / "small.yaml"), data=recipes.folder / "data", output=out, steps=2)
    main(replace(options, changes=["validation.files=0"]))
    assert (out / "metrics.md").read_text().endswith("\nNo validation files; the weights are those of the last step.\n")
    main(options)
    assert "2 validation files; the weights are those of the last step" in (out / "metrics.md").read_text()
    scores = json.loads((out / "metrics.json").read_text())["enhanced"]
    assert set(scores) == {"si_sdr", "estoi", "pesq_wb"}


def test_a_missing_torch_pesq_is_told_before_anything_starts(recipes: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pesq", None)
    with pytest.raises(ConfigError, match=r"torch-pesq: pip install 'anchored-diffusion\[pesq-loss\]'"):
        main(Train(config="default", data=recipes.folder / "no such folder", output=recipes.folder / "untouched"))
    assert not (recipes.folder / "untouched").exists()


def test_the_console_command_has_every_verb() -> None:
    said = CliRunner().invoke(application(), ["--help"]).output
    for verb in (*VERBS, "prepare"):
        assert verb in said


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_save_the_step(recipes: Recipes, number: int, code: int) -> None:
    command = [sys.executable, str(ROOT / "recipes" / "train_speech.py"), "--config", "small.yaml", "--data", "data"]
    out = recipes.folder / f"stopped-{code}"
    command += ["--steps", "100000", "--output", out.name, "--threads", "1", "--set", "validation.files=0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=recipes.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    events = out / "tensorboard"
    _wait_for(lambda: any(events.glob("events*")), process)
    time.sleep(1.0)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == code, told
    assert "goes on from here" in told
    assert (out / "state" / "last.ckpt").is_file()


def _wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 240.0) -> None:
    assert callable(condition)
    limit = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.1)


@pytest.mark.slow
def test_two_processes_train_together(recipes: Recipes) -> None:
    command = [sys.executable, str(ROOT / "recipes" / "train_speech.py"), "--config", "small.yaml", "--data", "data"]
    command += ["--output", "together", "--threads", "1"]
    command += ["--set", "hardware.devices=2", "--set", "hardware.strategy=ddp"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=recipes.folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr  # of the second process, whose exit status nobody hears of
    metrics = json.loads((Path(recipes.folder) / "together" / "metrics.json").read_text())
    assert metrics["steps"] == 6
