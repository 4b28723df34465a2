"""Experiments as YAML: read, changed, written; their data; the recipes that run them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from shared.errors import CheckpointError, ConfigError, DataError
from shared.experiment import HARDWARE
from shared.training.config import TrainingConfig
from tests.recipes.harness import Recipes
from tests.tsdiff.data.test_data_sets import ROOT, needs_shared
from tsdiff.commands import application
from tsdiff.commands.options import Train
from tsdiff.commands.train import experiment_of
from tsdiff.data.benchmarks import PAPER_SETS
from tsdiff.data.frequency import quiet
from tsdiff.estimator import TSDiffEstimator
from tsdiff.experiment.experiment import (
    DataSettings,
    Experiment,
    ModelSettings,
    load_experiment_data,
    read_experiment,
    write_experiment,
)
from tsdiff.experiment.presets import PRESETS
from tsdiff.importing import PUBLISHED_LAGS
from tsdiff.model.backbones import S4Config, S4DConfig
from tsdiff.predictor import TSDiffPredictor

CONFIGS = ROOT / "recipes" / "configs"
TINY = [
    "training.max_steps=20", "samples=4", "tuning.steps=[2]", "tuning.scales=[1.0]", "sampling.steps=2",
    "model.backbone={kind: s4d, patch: 4, width: 8, blocks: 1, state: 4}", "model.context_length=24",
]  # fmt: skip


@pytest.mark.parametrize("changes", [[], TINY, ["model.backbone={kind: s4}", "model.lags=published", "seeds=[1, 2]"]])
def test_yaml_gives_an_experiment_back(tmp_path: Path, changes: list[str]):
    made = read_experiment(None, changes)
    (tmp_path / "e.yaml").write_text(write_experiment(made))
    assert read_experiment(tmp_path / "e.yaml") == made


def test_what_comes_later_wins(tmp_path: Path):
    path = tmp_path / "e.yaml"
    path.write_text("preset: exchange_rate_nips\ndata: {name: x}\ntraining: {max_steps: 11, learning_rate: 0.5}\n")
    made = read_experiment(path, ["training.max_steps=12", "hardware.threads=2"], "gpu")
    assert made.model.scaling == PRESETS["exchange_rate_nips"].scaling  # of the preset
    assert made.training.learning_rate == 0.5  # of the file, over the preset
    assert made.training.precision == "bf16-mixed"  # of the hardware
    assert made.training.max_steps == 12  # of the change
    assert (made.hardware.device, made.hardware.threads) == ("cuda", 2)
    assert read_experiment(path, ["preset=pjm_hourly"]).model.scaling == PRESETS["pjm_hourly"].scaling
    path.write_text("model: {backbone: {kind: s4, width: 8}}")
    assert read_experiment(path, ["model.backbone={kind: s4d, patch: 3}"]).model.backbone == S4DConfig(patch=3)
    assert read_experiment(path, ["model.backbone.blocks=2"]).model.backbone == S4Config(width=8, blocks=2)


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        (
            "training: {max_step: 3}",
            [],
            r"e\.yaml: training\.max_step: Unexpected keyword argument, perhaps max_steps;",
        ),
        ("", ["colour=1"], "colour: Unexpected keyword argument; there are preset, data, model, .*samples;"),
        ("", ["data.freqq=h"], "data.freqq: Unexpected keyword argument, perhaps freq;"),
        ("", ["model.backbone.pach=4"], "model.backbone.pach: Unexpected keyword argument;"),
        ("", ["seeds=3"], r"seeds=3: need a list, such as \[1, 2\]"),
        ("", ["training=5"], r"training=5: need settings by name, such as \{name: value\}"),
        ("", ["training.max_steps=many"], r"training\.max_steps: Input should be a valid integer"),
        ("", ["sampling.scale=-1"], r"sampling\.scale=-1: need a number, at least 0;"),
        ("", ["seeds=[1, 1]"], r"seeds=\(1, 1\)"),
        ("", ["data.test_windows=0"], "test_windows=0: need"),
        ("", ["data.prediction_length=0"], "prediction_length=0: need"),
        ("", ["data.validation_windows=-1"], "validation_windows=-1: need"),
        ("", ["samples=0"], "samples=0"),
        ("", ["training"], "write it as section.name=value"),
        ("", ["training.max_steps=[1"], "is not valid YAML"),
        ("preset: m5", [], "preset: 'm5' is not one of"),
        ("- 1", [], "does not hold settings by name"),
        ("a: [", [], "is not valid YAML"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path: Path, text: str, changes: list[str], message: str):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_experiment(tmp_path / "e.yaml", changes)


@pytest.mark.parametrize("hardware", [None, *HARDWARE])
def test_there_are_configs_for_every_set_of_the_paper(hardware):
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(PAPER_SETS)
    for name, known in PAPER_SETS.items():
        ours, published = (read_experiment(CONFIGS / at / f"{name}.yaml", [], hardware) for at in ("", "published"))
        assert ours.data.name == published.data.name == name
        assert ours.data.validation_windows == known.windows
        assert published.model.context_length == known.context_length
        assert published.model.backbone == S4Config(input_skip=known.input_skip)
        assert published.model.lags == ("published" if known.lags else ())
        assert (published.sampling.scale, published.sampling.guidance) == (known.guidance_scale, "quantile")
        assert published.training.max_steps == 1000 * 128
        if known.lags:
            assert known.freq in PUBLISHED_LAGS


@needs_shared
@pytest.mark.parametrize("name", ["m4_hourly", "exchange_rate_nips"])
def test_data_of_a_known_set_never_mix_test_and_training(shared_data: Path, name: str):
    known = PAPER_SETS[name]
    settings = DataSettings(name, str(shared_data / "series"), validation_windows=2)
    data = load_experiment_data(settings)
    assert data.prediction_length == known.prediction_length
    assert data.split.validation is not None
    with quiet():
        past = next(iter(data.split.test.input))
        before, after = next(iter(data.split.validation))
    whole = data.series[0]["target"]
    np.testing.assert_array_equal(past["target"][: len(whole)], whole)
    trained = data.split.train[0]["target"]
    assert len(trained) == len(whole) - 2 * known.prediction_length
    np.testing.assert_array_equal(before["target"], trained)
    np.testing.assert_array_equal(after["target"], whole[len(trained) : len(trained) + known.prediction_length])
    estimator = read_experiment(CONFIGS / "published" / f"{name}.yaml").estimator(data, 3)
    assert estimator.config.lags == (PUBLISHED_LAGS[known.freq] if known.lags else ())
    assert estimator.training.seed == estimator.sampling.seed == 3
    with pytest.raises(ConfigError, match="leave out"):
        load_experiment_data(DataSettings(name, str(shared_data / "series"), prediction_length=7))


def test_a_table_needs_its_horizon(tmp_path: Path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"date": pd.date_range("2024", periods=40), "x": 1.0}).to_csv(path, index=False)
    with pytest.raises(ConfigError, match=r"data\.prediction_length is needed for"):
        load_experiment_data(DataSettings(str(path)))
    data = load_experiment_data(DataSettings(str(path), prediction_length=4, test_windows=2, validation_windows=1))
    assert [len(part[0]["target"]) for part in (data.split.train, data.series)] == [28, 32]
    with pytest.raises(ConfigError, match="there are none for frequency 'M'"):
        Experiment(model=ModelSettings(lags="published")).estimator(
            load_experiment_data(DataSettings(str(_monthly(tmp_path)), prediction_length=4)), 0
        )


def _monthly(folder: Path) -> Path:
    path = folder / "m.csv"
    pd.DataFrame({"date": pd.date_range("2004", periods=40, freq="MS"), "x": 1.0}).to_csv(path, index=False)
    return path


def sets(changes: list[str]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two noisy sines, wide."""
    path = tmp_path_factory.mktemp("data") / "sines.csv"
    rng, t = np.random.default_rng(0), np.arange(300)
    waves = {
        name: 5 + np.sin(2 * np.pi * t / period) + 0.1 * rng.normal(size=300) for name, period in (("a", 8), ("b", 6))
    }
    pd.DataFrame({"time": pd.date_range("2024-01-01", periods=300, freq="h"), **waves}).to_csv(path, index=False)
    return path


def test_train_then_evaluate(tmp_path: Path, table: Path):
    data = [f"data.name={table}", "data.prediction_length=8", "data.test_windows=2", "preset=null"]
    options = sets([*data, *TINY])
    made = Recipes(tmp_path).run("train_tsdiff", *options, "--seed", "0", "--seed", "1", "--output", "train")
    assert made.code == 0, made.said
    metrics = json.loads((tmp_path / "train" / "metrics.json").read_text())
    assert metrics["methods"]["TSDiff"]["seeds"] == 2
    assert metrics["methods"]["TSDiff"]["crps"]["std"] > 0
    rows = pd.read_csv(tmp_path / "train" / "results.csv")
    assert rows["crps"].notna().all()
    assert rows["method"].tolist()[:2] == ["TSDiff", "TSDiff"]
    for name in ("results.md", "experiment.yaml", "forecasts.png", "seed-0/model/config.json", "seed-1/tuning.md"):
        assert (tmp_path / "train" / name).stat().st_size > 0
    predictor = TSDiffPredictor.from_pretrained(tmp_path / "train" / "seed-1" / "model")
    assert predictor.sampling.steps == 2

    models = [str(tmp_path / "train" / f"seed-{seed}" / "model") for seed in (0, 1)]
    config = str(tmp_path / "train" / "experiment.yaml")
    arguments = [
        "evaluate",
        "--config",
        config,
        "--model",
        models[0],
        "--seed",
        "0",
        "--output",
        str(tmp_path / "again"),
    ]
    again = CliRunner().invoke(application(), arguments)
    assert again.exit_code == 0, again.output
    scores = pd.read_csv(tmp_path / "again" / "results.csv")
    assert scores["crps"][0] == pytest.approx(rows["crps"][0], rel=1e-5)  # the tuned sampling was saved with the model
    both = CliRunner().invoke(application(), [*arguments, "--guidance", "mse", "--guidance", "quantile"])
    assert both.exit_code == 0, both.output
    assert pd.read_csv(tmp_path / "again" / "results.csv")["method"].tolist()[:2] == ["TSDiff, mse", "TSDiff, quantile"]
    assert "sampling" not in both.output  # nothing of it was given
    changed = [*arguments, "--set", "sampling.steps=3", "--set", "model.lags=[4]", "--set", "tuning.steps=[9]"]
    told = CliRunner().invoke(application(), changed)
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["nfe"] == 3
    assert "--set model.lags=[4], tuning.steps=[9]: of trainings, and not used with --model" in told.output
    bundled = [*arguments[:3], "--model", "default", "--seed", "0", "--output", str(tmp_path / "bundled")]
    any_frequency = CliRunner().invoke(application(), bundled)
    assert any_frequency.exit_code == 0, any_frequency.output
    twice = [*bundled, "--model", "default", "--guidance", "mse", "--guidance", "quantile"]
    unguided = CliRunner().invoke(application(), twice)
    assert unguided.exit_code == 0, unguided.output
    assert "takes no guidance; --guidance is left out" in unguided.output
    assert pd.read_csv(tmp_path / "bundled" / "results.csv")["method"].tolist()[0] == "TSDiff"
    assert len(pd.read_csv(tmp_path / "bundled" / "results.csv")) == 2
    assert pd.read_csv(tmp_path / "bundled" / "results.csv")["crps"].notna().all()
    short = CliRunner().invoke(application(), [*arguments, "--set", "data.prediction_length=4"])
    assert short.exit_code == 0, short.output
    frame = pd.read_csv(table)
    frame.assign(time=pd.date_range("2024-01-01", periods=300, freq="D")).to_csv(table, index=False)
    wrong = CliRunner().invoke(application(), arguments)
    assert isinstance(wrong.exception, ConfigError)
    assert "its frequency is h, that of the data D" in str(wrong.exception)


def test_what_a_run_does_not_make_is_not_left_of_an_earlier_one(tmp_path: Path, table: Path):
    options = sets([f"data.name={table}", "data.prediction_length=8", *TINY, "training.max_steps=2"])
    arguments = ["train", *options, "--output", str(tmp_path / "out"), "--set", "data.validation_windows=1"]
    assert CliRunner().invoke(application(), arguments).exit_code == 0
    assert (tmp_path / "out" / "tuning.md").exists()
    assert CliRunner().invoke(application(), [*arguments[:-1], "data.validation_windows=0"]).exit_code == 0
    assert not (tmp_path / "out" / "tuning.md").exists()
    assert (tmp_path / "out" / "forecasts.png").exists()
    for part, steps in (("train", 60), ("test", 68)):
        (tmp_path / "pair" / part).mkdir(parents=True)
        values = np.random.default_rng(0).normal(size=(2, steps)).tolist()
        entry = {"start": "2024-01-01 00:00", "target": values, "item_id": "a"}
        (tmp_path / "pair" / part / "data.json").write_text(json.dumps(entry) + "\n")
    (tmp_path / "pair" / "metadata.json").write_text('{"freq": "h", "prediction_length": 8}')
    channels = [*arguments[:-1], "data.validation_windows=0", "--set", f"data.name={tmp_path / 'pair'}"]
    assert CliRunner().invoke(application(), channels).exit_code == 0
    assert not (tmp_path / "out" / "forecasts.png").exists()  # there is none of channels


def test_features_that_a_model_takes_none_of_are_left_out_and_told(tmp_path: Path):
    for part, steps in (("train", 60), ("test", 68)):
        (tmp_path / "shops" / part).mkdir(parents=True)
        values = (10 + np.arange(steps) % 24).tolist()
        entry = {"start": "2024-01-01 00:00", "target": values, "item_id": "a", "feat_static_cat": [0]}
        (tmp_path / "shops" / part / "data.json").write_text(json.dumps(entry) + "\n")
    (tmp_path / "shops" / "metadata.json").write_text('{"freq": "h", "prediction_length": 8}')
    options = sets([f"data.name={tmp_path / 'shops'}", "data.prediction_length=8", "samples=5"])
    arguments = ["evaluate", *options, "--output", str(tmp_path / "out")]
    made = CliRunner().invoke(application(), [*arguments, "--model", "default"])
    assert made.exit_code == 0, made.output
    assert "the data's 1 static categories are left out" in made.output
    assert pd.read_csv(tmp_path / "out" / "results.csv")["crps"].notna().all()
    estimator = TSDiffEstimator("h", 8, 16, categories=(2, 3), training=TrainingConfig(max_steps=1))
    entries = [{"start": pd.Period("2024-01-01", "h"), "target": np.arange(60.0), "feat_static_cat": [0, 0]}]
    estimator.train(entries, progress=False).serialize(tmp_path / "two")
    wrong = CliRunner().invoke(application(), [*arguments, "--model", str(tmp_path / "two")])
    assert isinstance(wrong.exception, ConfigError)
    assert "takes 2 static categories, the data has 1; name the columns of a table by --set" in str(wrong.exception)


def test_an_unknown_guidance_is_refused_before_a_training(tmp_path: Path, table: Path):
    options = sets([f"data.name={table}", "data.prediction_length=8", *TINY])
    made = CliRunner().invoke(application(), ["evaluate", *options, "--guidance", "rms", "--output", str(tmp_path)])
    assert isinstance(made.exception, ConfigError)
    assert "guidance: 'rms': choose one of mse, quantile, robust" in str(made.exception)
    assert not (tmp_path / "model").exists()


def test_a_model_that_is_not_there_is_refused_before_another_is_scored(tmp_path: Path, table: Path):
    options = [*sets([f"data.name={table}", "data.prediction_length=4"]), "--output", str(tmp_path / "out")]
    models = ["--model", "default", "--model", str(tmp_path / "absent")]
    made = CliRunner().invoke(application(), ["evaluate", *options, *models])
    assert isinstance(made.exception, CheckpointError)
    assert "seed 0" not in made.output


@pytest.mark.parametrize("last", [8, 16])
def test_windows_without_a_value_are_refused_before_a_training(tmp_path: Path, table: Path, last: int):
    frame = pd.read_csv(table)
    frame.loc[len(frame) - last : len(frame) - last + 7, ["a", "b"]] = np.nan
    frame.to_csv(tmp_path / "gap.csv", index=False)
    options = sets(
        [f"data.name={tmp_path / 'gap.csv'}", "data.prediction_length=8", "data.validation_windows=1", *TINY]
    )
    made = CliRunner().invoke(application(), ["train", *options, "--output", str(tmp_path / "out")])
    assert isinstance(made.exception, DataError)
    what = "test" if last == 8 else "validation"
    assert str(made.exception).startswith(f"the {what} windows, cut off the end of each series, hold no observed value")
    assert not (tmp_path / "out/model").exists()


def test_a_way_to_tune_that_cannot_be_is_refused_before_a_training(tmp_path: Path, table: Path):
    options = sets([f"data.name={table}", "data.prediction_length=8", "data.validation_windows=1", *TINY])
    for change, message in (("tuning.scales=[-1]", "scale=-1"), ("tuning.methods=[sde2, map]", "no flow map")):
        made = CliRunner().invoke(application(), ["train", *options, *sets([change]), "--output", str(tmp_path)])
        assert isinstance(made.exception, ConfigError)
        assert message in str(made.exception)
        assert not (tmp_path / "model").exists()


def test_a_seed_that_is_not_used_is_told(capsys: pytest.CaptureFixture[str]):
    changes = ["training.seed=4", "sampling.seed=5"]
    experiment_of(Train(changes=changes, seeds=[5]))
    told = capsys.readouterr().err
    assert "training.seed=4 is not used: seeds=[5] are" in told
    assert "sampling" not in told


def test_a_set_that_cannot_be_had_is_told(tmp_path: Path):
    options = sets(["data.name=m4_secondly", "data.prediction_length=4"])
    made = CliRunner().invoke(application(), ["train", *options, "--output", str(tmp_path)])
    assert "'m4_secondly' is no file, no folder and no set that GluonTS knows" in str(made.exception)
