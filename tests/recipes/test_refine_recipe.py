"""recipes/refine.py: the files that it leaves, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import HORIZON, sines, trained_on_sines
from tsdiff import TSDiffPredictor
from tsdiff.commands import refine
from tsdiff.commands.job import Job
from tsdiff.commands.options import Refine
from tsdiff.data import series_from_gluonts, split_windows
from tsdiff.tasks.refinement import RefineConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trained() -> TSDiffPredictor:
    return trained_on_sines()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng, steps = np.random.default_rng(0), np.arange(160)
    frame = pd.concat(
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range("2024-01-01", periods=160, freq="h"),
                "target": 10 + 5 * np.sin(2 * np.pi * steps / 24 + k) + 0.3 * rng.normal(size=160),
            }
        )
        for k, item in enumerate("ab")
    )
    frame.to_csv(tmp_path / "data.csv", index=False)
    return tmp_path / "data.csv"


def test_no_steps_are_refused_by_the_name_of_their_option():
    with pytest.raises(ConfigError, match="--refine-steps=0: need a whole number"):
        Refine(refine_steps=0)


@pytest.mark.slow
@pytest.mark.parametrize("choose", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_run_scores_before_and_after(data, tmp_path, choose):
    output = tmp_path / "out"
    options = Refine(
        data=data,
        output=output,
        prediction_length=12,
        context_length=36,
        steps=3,
        samples=5,
        method="langevin",
        refine_steps=3,
        choose=choose,
    )
    refine.main(options)
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["bases"].keys() == {"seasonal_naive", "linear"}
    assert metrics["method"] == "langevin"
    for name, scores in metrics["bases"].items():
        assert np.isfinite([scores["before"]["crps"], scores["after"]["crps"]]).all()
        assert (scores["before"]["crps"] == scores["after"]["crps"]) == (scores["log_snr"] is None)
        assert choose or scores["log_snr"] is not None
        assert (output / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    refined = pd.read_csv(output / "refined.csv")
    assert len(refined) == 2 * 2 * 12
    assert np.isfinite(refined["0.5"]).all()
    assert {"base", "actual", "0.05", "item_id", "timestamp"} <= set(refined.columns)
    assert "seasonal naive, refined" in (output / "metrics.md").read_text()


def test_a_base_that_no_refinement_betters_is_left_as_it_is(trained):
    series = series_from_gluonts(sines(2, 150))
    job = Job(series, split_windows(series, HORIZON, 1), HORIZON)
    few = RefineConfig(steps=1)
    assert refine.chosen_config("seasonal_naive", job, trained, few) is None  # without any error
    noise = np.random.default_rng(0).normal(size=(2, 150))
    noisy = [{**one, "target": one["target"] + 20 * more} for one, more in zip(sines(2, 150), noise, strict=True)]
    series = series_from_gluonts(noisy)
    job = Job(series, split_windows(series, HORIZON, 1), HORIZON)
    found = refine.chosen_config("seasonal_naive", job, trained, replace(few, steps=12))
    assert found is not None
    assert found.num_samples == few.num_samples


def test_a_refinement_of_counts_is_chosen_by_what_it_gives_of_counts(trained):
    """Without, samples below 0 and between whole numbers were scored, of which the refined forecasts have none."""
    rng = np.random.default_rng(0)
    demand = [{**one, "target": rng.poisson(one["target"] / 60).astype(float)} for one in sines(3, 150)]
    series = series_from_gluonts(demand)
    job = Job(series, split_windows(series, HORIZON, 1), HORIZON)
    few = RefineConfig(steps=4)
    found = [
        refine.chosen_config("seasonal_naive", job, trained.with_sampling(counts=counts), few)
        for counts in (False, True)
    ]
    assert found[0] != found[1]


def test_scores_that_windows_are_left_out_of_say_so(data, tmp_path, capsys):
    frame = pd.read_csv(data)
    constant = frame[frame["item_id"] == "a"].assign(item_id="c", target=5.0)
    pd.concat([frame, constant]).to_csv(data, index=False)
    options = {"data": data, "prediction_length": 8, "base": ["seasonal_naive"], "samples": 4, "refine_steps": 2}
    refine.main(Refine(**options, output=tmp_path / "out"))
    assert "MASE leaves out 1 window whose history is constant or unobserved" in capsys.readouterr().err


def test_a_base_that_nobody_named_is_left_out_where_series_are_too_short_for_it(tmp_path, capsys):
    frame = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=12), "target": 10.0 + np.arange(12) % 7})
    frame.to_csv(tmp_path / "short.csv", index=False)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "linear.png").write_text("of an earlier run")
    options = {"data": tmp_path / "short.csv", "prediction_length": 7, "samples": 4, "refine_steps": 2}
    refine.main(Refine(**options, output=tmp_path / "out"))
    said = capsys.readouterr()
    told = "linear is left out: no series holds a training window of 1 + 7 steps; the longest has 5: give longer series"
    assert told in said.err
    assert "(seasonal_naive.png, refined.csv, metrics.json, metrics.md)" in said.out
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["bases"].keys() == {"seasonal_naive"}
    assert not (tmp_path / "out" / "linear.png").exists()
    with pytest.raises(DataError, match="no series holds a training window"):
        refine.main(Refine(**options, base=["linear"], output=tmp_path / "out"))


def test_what_cannot_be_is_refused_before_any_work(tmp_path):
    with pytest.raises(ConfigError, match="--base oracle: take one of seasonal_naive"):
        refine.main(Refine(base=["oracle"], output=tmp_path / "out"))
    with pytest.raises(ConfigError, match="--samples=0"):
        refine.main(Refine(samples=0, output=tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"^--prior-scale=-1.0: need .* at least 0"):
        refine.main(Refine(prior_scale=-1.0, output=tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"^--log-snr=nan: need a finite number"):
        refine.main(Refine(log_snr=float("nan"), output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
