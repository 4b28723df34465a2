"""Every verb as its user meets it: what it leaves, and how it refuses what it cannot use."""

from __future__ import annotations

import json
import re
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.recipes.harness import Recipes
from tsdiff.commands import application

VERBS = ("forecast", "impute", "refine", "synthesize", "anomaly")
SMALL = ["--steps", "3", "--prediction-length", "12", "--context-length", "36"]
TINY = [*SMALL, "--samples", "4"]


def table(length: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-01-01", periods=length, freq="h")
    waves = [10 + 5 * np.sin(2 * np.pi * np.arange(length) / 24 + k) + 0.3 * rng.normal(size=length) for k in range(2)]
    parts = [
        pd.DataFrame({"item_id": item, "timestamp": stamps, "target": wave, "warm": (stamps.hour > 12).astype(float)})
        for item, wave in zip("ab", waves, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> Recipes:
    made = Recipes(tmp_path_factory.mktemp("verbs"))
    frame = table()
    frame.to_csv(made.folder / "whole.csv", index=False)
    frame.drop(index=[30, 31, 32, 200]).to_csv(made.folder / "gaps.csv", index=False)
    frame.assign(target=5.0).to_csv(made.folder / "constant.csv", index=False)
    return made


def test_the_console_command_has_every_verb():
    said = CliRunner().invoke(application(), ["--help"]).output
    for verb in (*VERBS, "diagnose", "train", "evaluate"):
        assert verb in said


@pytest.mark.parametrize("verb", [*VERBS, "diagnose", "train", "evaluate"])
def test_a_help_page_speaks_of_no_option_that_the_verb_does_not_have(verb):
    """--data told of --engine where there is none."""
    page = typer.main.get_command(application()).commands[verb]
    there = {name for option in page.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    assert set(re.findall(r"--[a-z][a-z-]+", CliRunner().invoke(application(), [verb, "--help"]).output)) <= there


def test_versions_and_verbs_that_there_are_not():
    told = CliRunner().invoke(application(), ["--version"])
    assert (told.exit_code, told.output) == (0, f"anchored-diffusion {metadata.version('anchored-diffusion')}\n")
    wrong = CliRunner().invoke(application(), ["forecst"])
    assert wrong.exit_code == 2
    assert "forecast" in wrong.stderr


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "recipes").glob("*.py")))
def test_help_keeps_the_lines_of_its_examples(recipes, name):
    lines = [line.rstrip() for line in recipes.run(name, "--help").out.splitlines()]
    source = (ROOT / "recipes" / f"{name}.py").read_text()
    examples = [line for line in source.split('"""')[1].splitlines() if line.startswith("    python recipes/")]
    assert examples or name == "prepare_speech"
    for example in examples:
        assert example in [line.removeprefix("  ") for line in lines]


def test_results_go_to_standard_output_and_the_rest_to_standard_error(recipes):
    options = ["--data", "gaps.csv", "--output", "said/forecast", *TINY]
    ran = recipes.run("forecast", *options)
    assert ran.code == 0, ran.said
    assert "TSDiff" in ran.out
    assert "results: said/forecast/" in ran.out
    assert "note:" not in ran.out
    assert re.search("^note: .*missing", ran.err, re.MULTILINE)
    quiet = recipes.run("forecast", *options, "--quiet")
    assert (quiet.out, quiet.err) == (ran.out, "")
    refused = recipes.run("forecast", "--data", "nowhere.csv", "--prediction-length", "12", "--quiet")
    assert refused.out == ""
    assert refused.err.startswith("error: nowhere.csv")
    assert recipes.run("forecast", "--threads", "0").code == 2


def test_impute_fills_exactly_the_gaps_and_scores_hidden_values(recipes):
    ran = recipes.run("impute", "--data", "gaps.csv", "--output", "runs/impute", *TINY)
    assert ran.code == 0, ran.said
    out = recipes.folder / "runs/impute"
    filled = pd.read_csv(out / "imputed.csv", parse_dates=["timestamp"])
    frame = table()
    expected = [(frame["item_id"][i], frame["timestamp"][i]) for i in (30, 31, 32, 200)]
    assert list(zip(filled["item_id"], filled["timestamp"], strict=True)) == expected
    assert np.isfinite(filled[["mean", "0.05", "0.5", "0.95"]].to_numpy()).all()
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["filled_values"] == 4
    assert set(metrics["model"]) == set(metrics["line"]) == set(metrics["seasonal"])
    assert metrics["hidden_values"] > 0
    assert (out / "imputed.png").stat().st_size > 10_000
    again = recipes.run("forecast", "--data", "gaps.csv", "--output", "runs/forecast", *TINY)
    assert "using the model trained before, runs/impute/model" in again.said


@pytest.mark.slow
def test_covariates_of_a_table_reach_the_model_and_the_future(recipes):
    frame = table()
    late = frame["timestamp"] > frame["timestamp"].max() - pd.Timedelta(hours=12)
    frame.loc[late, "target"] = np.nan
    frame.to_csv(recipes.folder / "covariates.csv", index=False)
    options = ["--data", "covariates.csv", "--dynamic", "warm", "--output", "covariates/forecast"]
    ran = recipes.run("forecast", *options, *TINY)
    assert ran.code == 0, ran.said
    future = pd.read_csv(recipes.folder / "covariates/forecast/future.csv", parse_dates=["timestamp"])
    assert len(future) == 24
    assert future["timestamp"].min() == frame["timestamp"][late].min()
    other = recipes.run("forecast", "--data", "whole.csv", "--model", "covariates/forecast/model", *TINY)
    assert other.code == 1
    assert "takes 1 dynamic covariates, the data has 0; name the columns of a table by --dynamic" in other.said
    for verb in ("refine", "anomaly", "synthesize"):  # told of --dynamic, which they do not take
        other = recipes.run(verb, "--data", "whole.csv", "--model", "covariates/forecast/model", *SMALL)
        assert other.code == 1
        assert "the data has 0; a table has none here: give a folder that holds them, or take" in other.said


@pytest.mark.parametrize("verb", ["forecast", "impute", "refine", "anomaly"])
def test_series_of_one_name_are_refused_where_results_go_by_it(verb, tmp_path):
    """As 1 and "1" have. Those of another length took what was trained on for held out, or ended the run."""
    (tmp_path / "train").mkdir()
    (tmp_path / "metadata.json").write_text(json.dumps({"freq": "D", "prediction_length": 6}))
    series = [(1, 60), ("2", 60), ("1", 40)]
    lines = [{"item_id": name, "start": "2024-01-01", "target": [n % 7 for n in range(days)]} for name, days in series]
    (tmp_path / "train" / "data.json").write_text("\n".join(map(json.dumps, lines)))
    options = ["--data", str(tmp_path), "--prediction-length", "6", "--output", str(tmp_path / "out")]
    ran = CliRunner().invoke(application(), [verb, *options])
    assert ran.exit_code == 1
    assert str(ran.exception).startswith("2 series have the item_id '1'; give each its own")


@pytest.mark.slow
def test_features_of_a_folder_that_the_bundled_model_does_not_take_are_left_out(recipes):
    """Nearly every folder in GluonTS's layout has a category for each series."""
    folder = recipes.folder / "with_features"
    (folder / "train").mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps({"freq": "D", "prediction_length": 6}))
    lines = []
    for code in range(2):
        target = (10 + np.arange(60) % 7 + code).tolist()
        entry = {"item_id": f"s{code}", "start": "2024-01-01", "target": target, "feat_static_cat": [code]}
        lines.append(json.dumps({**entry, "feat_dynamic_real": [[float(n % 2) for n in range(60)]]}))
    (folder / "train" / "data.json").write_text("\n".join(lines))
    options = ["--data", "with_features", "--prediction-length", "6", "--no-train", "--samples", "3"]
    for verb, unused in (("forecast", ""), ("impute", "1 dynamic covariates, ")):  # a forecast regresses on them
        ran = recipes.run(verb, *options, "--output", f"features/{verb}")
        assert ran.code == 0, ran.said
        assert f"the data's {unused}1 static categories are left out" in ran.err
    assert len(pd.read_csv(recipes.folder / "features/forecast/future.csv")) == 12
    assert "takes no guidance" not in ran.err
    guided = recipes.run("forecast", *options, "--guidance", "robust", "--output", "features/guided")
    assert "takes no guidance; left out: guidance" in guided.err


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--data", "whole.csv", "--target", "price"], "price"),
        (["--model", "nowhere"], "nowhere"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_what_cannot_be_used_ends_with_one_clear_line(recipes, verb, arguments, message):
    options = SMALL if "--data" in arguments else SMALL[:2]
    ran = recipes.run(verb, *arguments, "--output", f"bad/{verb}", *options)
    assert ran.code == 1
    assert "Traceback" not in ran.said
    (line,) = [line for line in ran.said.splitlines() if line.startswith("error:")]
    assert message in line


@pytest.mark.parametrize("verb", ["forecast", "impute"])
def test_bounds_the_wrong_way_round_are_named_as_they_are_typed_before_the_work(recipes, verb):
    ran = recipes.run(verb, "--minimum", "5", "--maximum", "3", "--output", f"bounds/{verb}", *SMALL[:2])
    assert (ran.code, ran.out) == (1, "")
    assert "error: --minimum=5.0, --maximum=3.0: the first is not to be above the second" in ran.err
    assert not (recipes.folder / "bounds").exists()
