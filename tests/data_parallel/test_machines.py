"""Training on several machines: started by torchrun on each, or by Ray on a cluster; the same weights, bit by bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from lightning.pytorch.callbacks import Callback

from shared.errors import ConfigError, TrainingError
from shared.training.module import fit
from tests.conftest import ROOT
from tests.data_parallel.two_processes import Points, line, state
from tsdiff.commands.options import Train
from tsdiff.commands.train import main

TINY = """
preset: pjm_hourly
data: {validation_windows: 0}
model: {backbone: {kind: s4d, patch: 4, width: 8, blocks: 1, state: 4}, context_length: 24}
training: {max_steps: 6}
sampling: {steps: 2}
samples: 4
"""
LONG = 40
"""Steps of a training in the middle of which a process is killed."""


class Kill(Callback):
    """Kills the second process at a step, the first time that it comes there."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == LONG // 2 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def lines(folder: Path, mark: Path, settings: tuple[str, ...], again: bool) -> None:
    """What each process of Ray does."""
    assert again == mark.exists()
    told = dict(setting.removeprefix("hardware.").split("=") for setting in settings)
    where: dict[str, Any] = {"devices": int(told["devices"]), "num_nodes": int(told["nodes"])}
    module = line(max_steps=LONG, accumulate=2, save_every_seconds=1e-3)
    fit(module, Points(), folder, strategy=told["strategy"], callbacks=[Kill(mark)], progress=False, **where)
    torch.save(state(module.denoiser), folder / f"{os.environ['NODE_RANK']}.pt")
    print("trained")


def refusing(settings: tuple[str, ...], again: bool) -> None:
    """A training that cannot be."""
    raise TrainingError("the loss is not finite")


@pytest.mark.slow
def test_a_process_of_ray_that_is_killed_costs_a_few_steps(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    from shared.scale.training import Training, train_on_ray

    mark = tmp_path / "killed"
    train_on_ray(Training(partial(lines, tmp_path / "out", mark), tmp_path / "out", gpu=False), workers=2)
    assert mark.exists()
    assert capfd.readouterr().out.splitlines().count("trained") == 1  # of the first process alone
    assert not list((tmp_path / "out").glob(".ray-*"))
    alone = line(max_steps=LONG, accumulate=2)
    fit(alone, Points(), progress=False)
    one, other = (torch.load(tmp_path / "out" / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, value in state(alone.denoiser).items():
        assert torch.equal(one[name], other[name])
        torch.testing.assert_close(one[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_a_process_of_ray_raises_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from shared.scale import training
    from shared.scale.training import Training, train_on_ray

    monkeypatch.setattr(training, "MOST_RESTARTS", 0)
    with pytest.raises(TrainingError, match="the loss is not finite"):
        train_on_ray(Training(refusing, tmp_path, gpu=False), workers=2)
    with pytest.raises(ConfigError, match=r"workers=2: the cluster has 0 GPUs"):
        train_on_ray(Training(refusing, tmp_path, gpu=True), workers=2)


@pytest.mark.slow
def test_torchrun_on_two_machines_and_ray_train_alike(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in ("torchrun", "ray"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tiny.yaml").write_text(TINY)
    recipe = [str(ROOT / "recipes" / "train_tsdiff.py"), "--config", "tiny.yaml", "--output", "out"]
    rendezvous = ["--nnodes", "2", "--nproc-per-node", "1", "--master-port", str(find_free_network_port())]
    together = ["--set", "hardware.nodes=2", "--set", "hardware.strategy=ddp"]
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *rendezvous, "--node-rank", str(rank), *recipe, *together],
            cwd=tmp_path / "torchrun",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [machine.communicate(timeout=300)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert ["results: out/" in text for text in said] == [True, False]
    ran = subprocess.run(
        [sys.executable, *recipe, "--engine", "ray", "--workers", "2"],
        cwd=tmp_path / "ray",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert "results: out/" in ran.stdout
    weights = [(tmp_path / name / "out" / "model" / "model.safetensors").read_bytes() for name in ("torchrun", "ray")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"workers": 2}, "--workers and --address are of --engine ray"),
        ({"engine": "ray", "seeds": [0, 1]}, r"seeds=\[0, 1\]: processes"),
        ({"changes": ["hardware.nodes=2"], "seeds": [0, 1]}, r"seeds=\[0, 1\]: processes"),
        ({"changes": ["hardware.nodes=0"]}, "nodes"),
    ],
)
def test_mistakes_are_told_before_anything_starts(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        main(Train(output=tmp_path, **options))


def test_a_cluster_that_cannot_be_reached(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="no Ray cluster can be reached there"):
        main(Train(output=tmp_path, engine="ray", address="127.0.0.1:1"))
