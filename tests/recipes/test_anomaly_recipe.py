"""`tsdiff anomaly` and recipes/anomaly.py: what a run leaves behind, and what it refuses."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from shared.errors import DiffusionError
from tests.recipes.harness import Recipes
from tests.recipes.test_forecast_recipe import table, written
from tests.tsdiff.tasks.test_anomaly_calendar import sales
from tsdiff.commands import application

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--steps", "40", "--prediction-length", "12", "--context-length", "36"]
DETECTORS = {"model", "seasonal_naive", "seasonal_median", "rolling_z_score"}
FILES = {"anomalies.png", "injected.png", "scores.csv", "anomalies.csv", "evaluation.md", "metrics.json", "model"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(application(), ["anomaly", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the script on a CSV, in a process of its own."""
    folder = tmp_path_factory.mktemp("anomaly")
    data = written(table(600), folder)
    made = Recipes(folder).run("anomaly", "--data", data, "--output", folder / "out", *TINY)
    assert made.code == 0, made.said
    assert "AUROC / average precision over steps" in made.out
    assert "results:" in made.out
    return folder


def test_a_run_leaves_all_its_results(first: Path) -> None:
    output = first / "out"
    assert {path.name for path in output.iterdir()} == FILES
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics.keys() == DETECTORS | {"kinds", "found", "seconds"}
    # What is injected depends on the seed alone, and so do the scores of those that are not trained.
    untrained = {name: round(metrics[name]["auroc"], 2) for name in DETECTORS - {"model"}}
    assert untrained == {"seasonal_naive": 0.77, "seasonal_median": 0.88, "rolling_z_score": 0.47}
    assert metrics["model"]["auroc"] > 0.6  # after 40 steps
    assert metrics["model"]["auprc"] > metrics["model"]["prevalence"]
    assert all(set(kind) == DETECTORS for kind in metrics["kinds"].values())
    scores = pd.read_csv(output / "scores.csv")
    assert list(scores.columns) == ["item_id", "timestamp", "target", "score", "threshold", "anomaly"]
    # A tenth of 600 steps held out, in whole horizons, after four windows of 48 that the threshold is taken from.
    assert scores.groupby("item_id").size().to_dict() == {"a": 252, "b": 252}
    np.testing.assert_allclose(scores["target"], table(600).groupby("item_id").tail(252)["target"], rtol=1e-5)
    assert np.isfinite(scores["score"]).all()
    np.testing.assert_array_equal(scores["anomaly"], scores["score"] > scores["threshold"])
    stretches = pd.read_csv(output / "anomalies.csv")
    assert stretches["steps"].sum() == scores["anomaly"].sum()
    assert len(stretches) == metrics["found"]
    assert "| TSDiff |" in (output / "evaluation.md").read_text()
    assert "/ average precision" in (output / "evaluation.md").read_text()
    for picture in ("anomalies.png", "injected.png"):
        assert (output / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
def test_a_given_model_scores_the_same_and_needs_no_training(first: Path, tmp_path: Path) -> None:
    ran = run("--data", first / "data.csv", "--model", first / "out/model", "--output", tmp_path / "o", *TINY)
    assert ran.exit_code == 0, ran.output
    one, other = (pd.read_csv(folder / "scores.csv") for folder in (first / "out", tmp_path / "o"))
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-4, atol=1e-4)
    assert json.loads((tmp_path / "o/metrics.json").read_text())["seconds"]["train"] == 0


@pytest.mark.slow
def test_the_exact_density_and_other_settings(first: Path, tmp_path: Path) -> None:
    settings = ["--method", "ode", "--stride", "24", "--windows", "3", "--reference", "60", "--quantile", "0.9"]
    model = ["--model", first / "out/model"]
    ran = run("--data", first / "data.csv", *model, "--output", tmp_path, *TINY, *settings)
    assert ran.exit_code == 0, ran.output
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert scores.groupby("item_id").size().to_dict() == {"a": 96, "b": 96}
    assert "scored are the last 96 of" in ran.output.replace("\n", " ")
    assert np.isfinite(scores["score"]).all()


@pytest.mark.slow
def test_gaps_and_a_constant_series_are_scored_and_it_is_said(first: Path, tmp_path: Path) -> None:
    frame = table(600)
    frame.loc[frame.index[560:563], "target"] = np.nan
    frame.loc[frame.item_id == "b", "target"] = 3.0
    ran = run(
        "--data",
        written(frame, tmp_path),
        "--model",
        first / "out/model",
        "--output",
        tmp_path / "out",
        *TINY,
    )
    assert ran.exit_code == 0, ran.output
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    np.testing.assert_array_equal(scores["score"].isna(), scores["target"].isna())
    assert scores["target"].isna().sum() == 3
    assert not scores.loc[scores["target"].isna(), "anomaly"].any()


@pytest.mark.slow
def test_held_out_steps_without_room_for_anomalies_are_scored_all_the_same(first: Path, tmp_path: Path) -> None:
    frame = table(600)
    frame.loc[frame.groupby("item_id").cumcount() >= 590, "target"] = np.nan
    ran = run(
        "--data",
        written(frame, tmp_path),
        "--model",
        first / "out/model",
        "--output",
        tmp_path / "out",
        *TINY,
        "--windows",
        "1",
    )
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "out/scores.csv").is_file()


def test_a_series_without_more_values_than_are_held_out_is_told(tmp_path: Path) -> None:
    frame = pd.concat([table(600, "abc"), table(30, "s"), table(20, "t")])  # more than one window of 24, and less
    ran = run("--data", written(frame, tmp_path), "--output", tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    assert set(pd.read_csv(tmp_path / "out/scores.csv")["item_id"]) == {"a", "b", "c"}
    assert ran.output.count("series 's' left out: 30 values, but 2 × 24") == 1
    assert ran.output.count("series 't' left out: 20 values, but") == 1


def test_an_end_without_values_that_is_shorter_than_what_is_held_out_is_scored(tmp_path: Path) -> None:
    """A week of the five that are held out was looked at, and refused."""
    frame = table(400, "a", "D")
    frame.loc[frame.index[385:], "target"] = np.nan
    frame.loc[frame.index[370], "target"] = 100.0
    ran = run("--data", written(frame, tmp_path), "--output", tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    found = pd.read_csv(tmp_path / "out/anomalies.csv")
    late = int((pd.to_datetime(found["first"]) >= "2024-12-31").sum())  # the 366th day
    assert late > 0
    assert f"before the held-out steps; {late} in the last 35, held out" in ran.output


@pytest.mark.parametrize("word", ["--calendar", "--no-calendar"])
def test_a_payday_is_no_anomaly_unless_the_calendar_is_left_out(tmp_path: Path, word: str) -> None:
    values, _, payday = sales(3 * 365)
    table = pd.DataFrame({"target": values, "timestamp": pd.date_range("2018-01-01", periods=len(values))})
    options = ["--data", written(table.assign(item_id="a"), tmp_path), "--windows", "4", word]
    ran = run(*options, "--output", tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    held_out = np.arange(len(scores)) >= len(scores) - 4 * 14
    late = scores.loc[payday[-len(scores) :] & held_out, "score"]
    assert (late.max() < 2) == (word == "--calendar")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--method", "forecast"], "--method forecast: a model that is trained here has no anchors"),
        (["--no-calendar"], "--calendar, --no-calendar: scores by elbo know no calendar"),
    ],
)
def test_what_a_model_without_anchors_cannot_be_scored_by_is_refused_before_its_training(
    given: list[str], message: str, tmp_path: Path
) -> None:
    ran = run("--data", written(table(600), tmp_path), "--output", tmp_path / "out", *TINY, *given)
    assert ran.exit_code == 1
    assert message in str(ran.exception)
    assert not list((tmp_path / "out").iterdir())


def test_a_simple_detector_that_needs_more_than_there_is_does_not_end_the_run(tmp_path: Path) -> None:
    ran = run("--data", written(table(45, "a", "W"), tmp_path), "--output", tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    assert "not compared with seasonal naive (52), seasonal median (52)" in ran.output
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics.keys() == {"model", "rolling_z_score", "kinds", "found", "seconds"}


def test_a_clean_end_is_not_flagged_for_a_threshold_of_smaller_scores(tmp_path: Path) -> None:
    """Most of 400 hours lie before two weeks are known, when scores are smaller: of their last 48 .10 were flagged."""
    series = [table(400, "abcdefghij"[place]).assign(target=weather(400, place)) for place in range(10)]
    data = written(pd.concat(series), tmp_path)
    ran = run("--data", data, "--output", tmp_path / "out", "--magnitude", 5, "--windows", 2)
    assert ran.exit_code == 0, ran.output
    ends = pd.read_csv(tmp_path / "out/scores.csv").groupby("item_id").tail(48)
    assert len(ends) == 480
    assert ends["anomaly"].mean() < 0.015
    assert json.loads((tmp_path / "out/metrics.json").read_text())["model"]["found"] > 0.5


def weather(hours: int, seed: int) -> np.ndarray:
    """Temperatures: days, and a disturbance that lasts for some."""
    shocks = np.random.default_rng(seed).normal(size=hours)
    away = np.array(list(accumulate(shocks, lambda last, shock: 0.98 * last + 0.6 * shock)))
    return 12 + 4 * np.sin(2 * np.pi * np.arange(hours) / 24) + away


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quantile", "1"], "--quantile=1"),
        (["--reference", "0"], "--reference=0"),
        (["--stride", "0"], "stride=0"),
        (["--magnitude", "-1"], "magnitude=-1"),
        (["--data", "absent.csv"], "no such file"),
        (["--windows", "0"], "windows=0: need"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(arguments: list[str], message: str, tmp_path: Path) -> None:
    data = [] if "--data" in arguments else ["--data", written(table(), tmp_path)]
    ran = run(*data, "--output", tmp_path / "out", *TINY, *arguments)
    assert isinstance(ran.exception, DiffusionError)
    assert message in str(ran.exception)
    assert not (tmp_path / "out/model").exists()
