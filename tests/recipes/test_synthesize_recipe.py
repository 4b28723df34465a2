"""recipes/synthesize.py: files, report and metrics of a tiny run in a process of its own; what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.recipes.harness import Recipes
from tests.recipes.test_forecast_recipe import table, written
from tsdiff.commands import synthesize
from tsdiff.commands.options import Synthesize
from tsdiff.data import load_folder, load_table, series_from_frame

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--steps", "3", "--prediction-length", "12", "--context-length", "36", "--sampling-steps", "3"]
LENGTH = 48
KINDS = ["TSDiff", "Gaussian surrogate", "phase-randomised"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[Path, str]:
    """A first run: its folder (data.csv, out/) and what it said."""
    folder = tmp_path_factory.mktemp("synthesize")
    data = written(table(length=400), folder)
    more = ["--n", "40", "--compare", "30", "--csv", "--models", "deepar", "--cpu-minutes", "0.005"]
    ran = Recipes(folder).run("synthesize", "--data", data, "--output", folder / "out", *TINY, *more)
    assert ran.code == 0, ran.said
    return folder, ran.said


@pytest.mark.slow
def test_the_three_files_hold_the_same_windows(ran):
    out = ran[0] / "out"
    tables = [series_from_frame(load_table(out / f"synthetic.{kind}")) for kind in ("parquet", "csv")]
    folder = load_folder(out / "synthetic")
    assert (folder.freq, folder.prediction_length) == ("h", 12)
    for read in (folder.train, *tables):
        assert len(read) == 40
        assert {len(entry["target"]) for entry in read} == {LENGTH}
        for one, other in zip(folder.train, read, strict=True):
            assert (one["item_id"], one["start"]) == (other["item_id"], other["start"])
            np.testing.assert_array_equal(one["target"], other["target"])


def test_report_and_metrics_agree(ran):
    out = ran[0] / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["windows"], metrics["compared"], metrics["length"]) == (40, 30, LENGTH)
    assert set(metrics["realism"]) == {"other real windows", *KINDS}
    assert [(row["model"], row["trained_on"]) for row in metrics["downstream"]] == [
        (model, kind) for model in ("linear", "deepar") for kind in ("real", *KINDS)
    ]
    scores = {row["trained_on"]: row["crps"] for row in metrics["downstream"] if row["model"] == "linear"}
    assert metrics["linear_predictive_score"] == scores
    downstream = pd.read_csv(out / "downstream.csv")
    assert list(downstream["trained_on"]) == ["real", *KINDS] * 2
    assert downstream["crps"].iloc[1] == pytest.approx(scores["TSDiff"], rel=1e-4)
    report = (out / "realism.md").read_text()
    for kind in KINDS:
        assert f"| {kind} |" in report
        assert f"| linear | {kind} | {scores[kind]:.4f} |" in report
    assert (out / "realism.png").stat().st_size > 20_000
    assert "results:" in ran[1]


@pytest.mark.slow
def test_a_trained_model_draws_again_without_training(ran, tmp_path):
    options = Synthesize(
        data=ran[0] / "data.csv",
        prediction_length=12,
        output=tmp_path,
        model=str(ran[0] / "out/model"),
        n=20,
        sampling_steps=3,
        nonnegative=True,
    )
    (tmp_path / "synthetic.csv").write_text("of an earlier run")
    synthesize.main(options)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["seconds"]["train"] == 0
    drawn = load_table(tmp_path / "synthetic.parquet")
    assert drawn["target"].min() >= 0
    assert not (tmp_path / "synthetic.csv").exists()


def test_windows_like_a_single_series_are_compared_and_named_as_it_is(tmp_path):
    sold = table(length=400)
    sold = sold[sold["item_id"] == sold["item_id"].iloc[0]].drop(columns="item_id")
    data = written(sold.rename(columns={"timestamp": "day", "target": "sold"}), tmp_path)
    more = {"context_length": 12, "steps": 3, "sampling_steps": 2, "n": 20, "csv": True}
    synthesize.main(Synthesize(data=data, prediction_length=12, target="sold", output=tmp_path / "out", **more))
    assert list(pd.read_csv(tmp_path / "out/synthetic.csv").columns) == ["item_id", "day", "sold"]
    assert "auroc_boosting" in json.loads((tmp_path / "out/metrics.json").read_text())["realism"]["TSDiff"]


def test_windows_of_the_bundled_model_are_told_to_have_no_seasons(tmp_path):
    data = written(table(length=900), tmp_path)
    more = {"model": "default", "n": 10, "compare": 10, "sampling_steps": 1}
    said = "none of their seasons; train one on the series, on the command line by leaving --model out"
    with pytest.warns(Note, match=said):
        synthesize.main(Synthesize(data=data, prediction_length=12, output=tmp_path / "out", **more))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": 0}, ConfigError, "--n 0: need at least 10"),
        ({"compare": 3}, ConfigError, "--compare 3: need at least 10"),
        ({"models": "deepar,oracle"}, ConfigError, "--models oracle: choose some of linear, deepar"),
        ({"cpu_minutes": 0.0}, ConfigError, "--cpu-minutes=0.0: need"),
        ({"sampling_steps": 0}, ConfigError, "--sampling-steps=0: need"),
        ({"freq": "D"}, DataError, "not on the grid"),
        ({"freq": "30min"}, ConfigError, "forecasts 12 steps of 'h', the data asks for 12 of '30min'"),
        (
            {"windows": 30},
            DataError,
            "have 0 different windows of 48 steps.*leave --model out, to train one of shorter",
        ),
        ({"output": Path("/proc/none")}, ConfigError, "cannot be written"),
    ],
)
def test_what_cannot_work_is_refused(ran, tmp_path, change, error, message):
    arguments = {
        "data": ran[0] / "data.csv",
        "prediction_length": 12,
        "output": tmp_path,
        "model": str(ran[0] / "out/model"),
        **change,
    }
    with pytest.raises(error, match=message):
        synthesize.main(Synthesize(**arguments))
    assert not (tmp_path / "synthetic.parquet").exists()


def test_too_few_windows_are_told_before_a_training(tmp_path):
    data = written(table(length=60), tmp_path)
    more = {"context_length": 36, "steps": 10**6}
    with pytest.raises(DataError, match=r"different windows of 48 steps.*shorten --context-length"):
        synthesize.main(Synthesize(data=data, prediction_length=12, output=tmp_path / "out", **more))
    assert not list(tmp_path.glob("out/training-*"))
    with pytest.raises(DataError, match=r"different windows of \d+ steps"):  # the context is chosen from the data
        synthesize.main(Synthesize(data=data, prediction_length=24, output=tmp_path / "out", steps=10**6))
