"""Settings of a training of a speech model: those that ship, YAML, changes, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.experiment import HARDWARE
from shared.files.settings import plain, write_yaml
from speech.data import PRESETS
from speech.model.backbones import NCSNppConfig
from speech.model.corrector import PublishedPC
from speech.training.settings import (
    Experiment,
    read_experiment,
)
from tests.conftest import ROOT

CONFIGS = sorted((ROOT / "recipes" / "configs" / "speech").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_are_valid(path: Path) -> None:
    made = read_experiment(path)
    multiple = 64 if isinstance(made.model.backbone, NCSNppConfig) else 1
    samples = made.crop_samples(multiple)
    assert made.model.frontend.frames(samples) % multiple == 0
    assert made.mixing(multiple).samples == samples
    assert made.mixing(multiple).sample_rate == made.model.frontend.sample_rate


def test_settings_survive_yaml(tmp_path: Path) -> None:
    made = read_experiment(CONFIGS[0], ["training.max_steps=7"], "gpu")
    (tmp_path / "e.yaml").write_text(write_yaml(made))
    assert read_experiment(tmp_path / "e.yaml") == made
    assert made.training.precision == "bf16-mixed"
    assert made.training.max_steps == 7
    assert made.hardware.device == "cuda"
    assert set(HARDWARE) == {"cpu", "gpu", "ddp"}


def test_a_task_brings_its_mixing() -> None:
    made = read_experiment(None, ["task=dereverb", "data.mix.early_ms=20.0"])
    assert made.data.mix == replace(PRESETS["dereverb"], early_ms=20.0)
    assert read_experiment().data.mix == PRESETS["denoise"]


def test_validation_samples_as_the_model_but_for_what_is_given(tmp_path: Path) -> None:
    made = read_experiment("default", ["validation.sampling.steps=4"])
    assert made.validation.sampling == replace(made.model.sampling, steps=4)  # its suppression and makeup too
    other = read_experiment(
        None, ["validation.sampling={steps: 2}", "model.sampling={sampler: ode2, suppression: 0.7}"]
    )
    assert other.validation.sampling == replace(other.model.sampling, steps=2)
    assert other.validation.sampling.sampler == "ode2"
    pc = read_experiment(None, ["validation.sampling={sampler: {kind: pc, snr: 0.4}, steps: 5}"])
    assert pc.validation.sampling == replace(pc.model.sampling, sampler=PublishedPC(snr=0.4), steps=5)
    assert read_experiment().validation.sampling is None
    (tmp_path / "e.yaml").write_text(write_yaml(pc))
    assert read_experiment(tmp_path / "e.yaml") == pc


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("training.steps=3", "training.steps"),
        ("model.backbone.depth=3", "depth"),
        ("data.mix.snr=3", "snr"),
        ("task=dance", "dance"),
        ("objective.loss=mse", "loss"),
        ("objective.loss=denoiser", r"loss='denoiser', si_sdr_weight=0\.005: .*set their weights to 0"),
        ("validation.monitor=stoi", "monitor"),
        ("model.sde.q=1", "q"),
        ("max_minutes=-1", "max_minutes"),
        ("validation=3", "validation"),
        ("validation.sampling=3", "sampling"),
        ("data.batch_size=0", "batch_size"),
        ("nonsense", "section.name=value"),
    ],
)
def test_settings_that_there_are_not_are_refused(change: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_experiment(None, [change])


def test_a_band_above_that_is_not_for_the_rate_is_refused_before_a_training() -> None:
    """It was refused by the first validation, after a thousand steps."""
    at_48 = "model.frontend.sample_rate=48000"
    with pytest.raises(ConfigError, match=r"upper_band='enhance' .*this one is at 48000 Hz: choose follow or drop"):
        read_experiment("default", [at_48])
    assert read_experiment("default", [at_48, "model.sampling.upper_band=follow"]).model.frontend.sample_rate == 48000


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["data.mix.seconds=4"], r"data\.mix\.seconds has no effect, for data\.seconds decides it"),
        (["data.mix={batch_size: 32}"], r"batch_size has no effect, for data\.batch_size"),
        (["data.mix.sample_rate=8000"], r"for model\.frontend\.sample_rate decides it"),
        (["data.layout=split", "data.mix.snr_db=[0, 5]"], r"data\.mix has no effect on data\.layout=split"),
        (["data={layout: auto, simulated_rooms: 5}"], r"data\.simulated_rooms has no effect on data\.layout=auto"),
    ],
)
def test_changes_that_would_change_nothing_are_refused(changes: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_experiment(None, changes)


def test_what_has_no_effect_in_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("data: {mix: {seconds: 4.0}}")
    with pytest.warns(UserWarning, match=r"data\.mix\.seconds=4\.0 in .*e\.yaml has no effect, for data\.seconds"):
        read_experiment(tmp_path / "e.yaml")


def test_plain_experiments_are_json() -> None:
    assert json.loads(json.dumps(plain(Experiment())))["model"]["backbone"]["kind"] == "light"
