"""The settings of the sampler "pc": in its object, beside its name, and in files of before."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.errors import CheckpointError, ConfigError
from shared.files.settings import dataclass_from, write_yaml
from shared.samplers import PredictorCorrector
from speech import Enhancer, SpeechConfig, SpeechModel
from speech.inference.sampling import method_of, sampling_times
from speech.model.config import SamplingConfig
from speech.model.corrector import PublishedPC
from speech.training.settings import read_experiment
from tests.golden.product.case import SAVED

OLD = {"corrector": "ald", "corrector_steps": 1, "snr": 0.5, "probability_flow": False}


def read(**values: Any) -> SamplingConfig:
    return dataclass_from(SpeechConfig, {"sampling": values}, "here").sampling


@pytest.fixture
def silent() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_name_stands_for_the_settings(silent: None) -> None:
    named, made = SamplingConfig("pc"), SamplingConfig(PublishedPC())
    assert method_of(named) == method_of(made) == PublishedPC(corrector="ald", corrector_steps=1, snr=0.5, denoise=True)
    sde = SpeechConfig().sde
    assert sampling_times(sde, named).tolist() == sampling_times(sde, made).tolist()


def test_settings_beside_the_name_are_those_of_its_object(silent: None) -> None:
    made = SamplingConfig("pc", snr=0.4)  # type: ignore[call-arg]
    assert made == SamplingConfig(PublishedPC(snr=0.4)) == SamplingConfig(snr=0.4)  # type: ignore[call-arg]
    changed = replace(made, corrector="none")  # type: ignore[call-arg]
    assert changed.sampler == PublishedPC(snr=0.4, corrector="none")
    assert replace(made, snr=0.5) == SamplingConfig("pc")  # type: ignore[call-arg]
    assert replace(made, steps=3).sampler == made.sampler


@pytest.mark.parametrize("sampler", ["ode2", "sb_ode", PredictorCorrector()])
def test_beside_another_sampler_they_are_refused(sampler: Any) -> None:
    name = sampler if isinstance(sampler, str) else "PredictorCorrector"
    with pytest.raises(ConfigError, match=f"sampler '?{name}.* takes no corrector='none', snr="):
        SamplingConfig(sampler, snr=0.4, corrector="none")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="takes no snr="):
        replace(SamplingConfig(sampler), snr=0.4)  # type: ignore[call-arg]


@pytest.mark.parametrize("sampler", ["pc", "ode2", PublishedPC(snr=0.3, corrector="langevin")])
def test_what_is_written_is_read_again_without_a_note(silent: None, sampler: Any) -> None:
    made = SpeechConfig(sampling=SamplingConfig(sampler, 7))
    assert dataclass_from(SpeechConfig, json.loads(json.dumps(asdict(made))), "here") == made
    assert dataclass_from(SpeechConfig, yaml.safe_load(write_yaml(made)), "here") == made
    assert not OLD.keys() & asdict(made)["sampling"].keys()


def test_files_of_before_are_read_with_one_note() -> None:
    with pytest.warns(FutureWarning, match=r"snr: 0.1.* is written sampler: {kind: pc, .*snr: 0.1.*} now$") as told:
        made = read(**{**OLD, "snr": 0.1}, sampler="pc", steps=6)
    assert len(told) == 1
    assert made == SamplingConfig(PublishedPC(snr=0.1), 6)
    with pytest.warns(FutureWarning):
        assert read(**OLD) == SamplingConfig("pc")
    with pytest.warns(FutureWarning):
        assert read(sampler={"kind": "pc", "snr": 0.2}, corrector="none").sampler == PublishedPC(
            snr=0.2, corrector="none"
        )


def test_beside_another_sampler_what_every_model_was_saved_with_is_left_out_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(sampler="ode1", corrector="ald", corrector_steps=1, snr=0.5) == SamplingConfig("ode1")


@pytest.mark.parametrize("sampler", ["ode1", {"kind": "predictor_corrector", "snr": 0.2}])
def test_beside_another_sampler_files_of_before_lose_them_with_the_note(sampler: Any) -> None:
    with pytest.warns(FutureWarning, match="beside sampler .* it has no effect, and is left out") as told:
        made = read(**{**OLD, "snr": 0.1}, sampler=sampler)
    assert len(told) == 1
    assert made == SamplingConfig(sampler)
    with pytest.raises(CheckpointError, match="takes no probability_flow=True"):
        read(sampler=sampler, probability_flow=True)


def test_values_out_of_range_are_refused_wherever_they_stand() -> None:
    for values in ({"corrector_steps": 101}, {"sampler": {"kind": "pc", "corrector_steps": 101}}):
        with pytest.raises(CheckpointError, match="corrector_steps=101: need a"):
            read(**values)
    with pytest.raises(CheckpointError, match=r"sampler\.noise: Unexpected"):
        read(sampler={"kind": "pc", "noise": 1})


def test_a_model_of_before_is_saved_as_it_is_written_now(tmp_path: Path) -> None:
    with pytest.warns(FutureWarning, match="is written sampler: {kind: pc"):
        model = SpeechModel.from_pretrained(SAVED / "speech_score")
    assert model.config.sampling == SamplingConfig(PublishedPC(snr=0.1), 6)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["sampling"]["sampler"]["snr"] == 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SpeechModel.from_pretrained(tmp_path).config == model.config
        assert Enhancer(model, "pc", 8).sampling.sampler == PublishedPC(snr=0.1)  # the model's own settings stay
        assert Enhancer(model, "sde1", 8).sampling.sampler == "sde1"


@pytest.mark.parametrize("name", ["speech_score", "speech_bridge"])
def test_an_experiment_of_before_is_read(name: str) -> None:
    with pytest.warns(FutureWarning) as told:
        made = read_experiment(SAVED / f"{name}.yaml")
    # Beside "sb_sde" they are what every experiment was saved with, of which there is nothing to say.
    said = [each for each in told if each.category is FutureWarning and "snr" in str(each.message)]
    assert len(said) == (1 if name == "speech_score" else 0)
    assert made.model.sampling.sampler == (PublishedPC(snr=0.1) if name == "speech_score" else "sb_sde")


@pytest.mark.parametrize("name", ["published_sgmse", "published_48k", None])
def test_experiments_that_come_along_are_written_as_now(silent: None, name: str | None) -> None:
    assert read_experiment(name).model.sampling.sampler == ("ode1" if name is None else "pc")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_changes_from_a_command_line() -> None:
    asked = "model.sampling.snr=0.4"
    assert read_experiment("published_sgmse", [asked]).model.sampling.sampler == PublishedPC(snr=0.4)
    within = read_experiment("published_sgmse", ["model.sampling.sampler={kind: pc, snr: 0.4}", asked])
    assert within.model.sampling.sampler == PublishedPC(snr=0.4)
    on_top = read_experiment(SAVED / "speech_score.yaml", ["model.sampling.corrector=none"])
    assert on_top.model.sampling.sampler == PublishedPC(snr=0.1, corrector="none")
    assert (
        read_experiment(SAVED / "speech_score.yaml", ["model.sampling.sampler=sde1"]).model.sampling.sampler == "sde1"
    )
    for changes in ([asked], ["validation.sampling={sampler: ode1, snr: 0.4}"]):
        with pytest.raises(ConfigError, match="sampler 'ode1' takes no snr="):
            read_experiment(None, changes)
