"""`tsdiff forecast` beyond scoring: forecasts alone, long horizons, covariates, counts, and what it says."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import sines
from tsdiff import Sampling, TSDiffEstimator, TSDiffPredictor
from tsdiff.commands import anomaly, diagnose, forecast, impute, refine, synthesize
from tsdiff.commands.anomaly import Watch, all_scores, injected_metrics, since, thresholds_of, watch
from tsdiff.commands.job import Job, load_job
from tsdiff.commands.options import Anomaly, Diagnose, Forecast, Impute, Refine, Synthesize
from tsdiff.data import series_from_gluonts, split_windows
from tsdiff.tasks.anomaly.forecasts import ForecastScoring
from tsdiff.tasks.anomaly.injection import InjectionConfig
from tsdiff.tasks.anomaly.scores import DEFAULT_SCORING

DAYS = pd.date_range("2024-01-01", periods=74, freq="D")


def sales(folder: Path, known: int = 60, ids: int = 5, future: bool = False) -> Path:
    """Counts with promotions, which may be known for two weeks more; each series lacks a day."""
    rng = np.random.default_rng(0)
    parts = []
    for place in range(ids):
        promotion = (rng.random(len(DAYS)) < 0.3).astype(int)
        sold = rng.poisson(4 + 16 * promotion).astype(float)
        sold[known:] = np.nan
        frame = pd.DataFrame({"item_id": place, "timestamp": DAYS, "target": sold, "promotion": promotion})
        parts.append(frame.assign(region="north", size=1.5 * place).drop(index=20 if known > 20 else 3))
    path, whole = folder / "sales.csv", pd.concat(parts)
    (whole if future else whole.dropna()).to_csv(path, index=False)
    return path


def long(folder: Path) -> Path:
    """Four hundred days of one shop."""
    days = pd.date_range("2024-01-01", periods=400, freq="D")
    frame = pd.DataFrame({"timestamp": days, "target": 10.0 + np.arange(400) % 7})
    frame.to_csv(folder / "long.csv", index=False)
    return folder / "long.csv"


def run(folder: Path, **options: object) -> dict[str, object]:
    """The metrics of a run with the bundled model."""
    forecast.main(Forecast(no_train=True, samples=10, output=folder, **options))  # type: ignore[arg-type]
    metrics: dict[str, object] = json.loads((folder / "metrics.json").read_text())
    return metrics


def test_no_windows_only_forecast(tmp_path, capsys):
    data = sales(tmp_path)
    run(tmp_path / "out", data=data, prediction_length=7)
    assert (tmp_path / "out" / "forecasts.csv").is_file()
    metrics = run(tmp_path / "out", data=data, prediction_length=7, windows=0)
    assert set(metrics) == {"seconds", "nfe"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"forecasts.png", "future.csv", "metrics.json"}
    future = pd.read_csv(tmp_path / "out" / "future.csv")
    assert list(future["timestamp"].unique()) == [str(day.date()) for day in DAYS[60:67]]
    said = capsys.readouterr()
    line = said.out.strip().splitlines()[-2]
    assert line.startswith(
        "TSDiff default: 5 series of 'D', 7 steps ahead, 10 samples each; not scored; 5 taken for co"
    )
    assert said.err.count("1 gap filled") == 2  # once a run
    assert "and 4 more alike: '1', '2', '3', '4'" in said.err


def test_a_horizon_beyond_the_history_is_forecast(tmp_path, capsys):
    data = sales(tmp_path, known=10)
    assert "model" not in run(tmp_path / "out", data=data, prediction_length=30)
    assert len(pd.read_csv(tmp_path / "out" / "future.csv")) == 5 * 30
    assert "nothing is scored" in capsys.readouterr().err
    with pytest.raises(DataError, match="--windows 0 forecasts without scoring"):
        run(tmp_path / "out", data=data, prediction_length=30, windows=1)


@pytest.mark.slow
def test_series_too_short_to_be_scored_are_forecast(tmp_path, capsys):
    data = sales(tmp_path)
    frame = pd.read_csv(data)
    frame[(frame["item_id"] > 0) | (frame["timestamp"] > "2024-02-24")].to_csv(data, index=False)
    assert "model" in run(tmp_path / "out", data=data, prediction_length=10)
    assert "series '0' is not scored: 5 values" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "out" / "future.csv")["item_id"].nunique() == 5


def test_options_of_a_training_are_told_where_a_model_is_taken(tmp_path, capsys):
    idle = {"retrain": True, "steps": 3, "context_length": 40}
    options = Forecast(model="default", data=long(tmp_path), prediction_length=7, samples=5, output=tmp_path, **idle)
    forecast.main(options)
    assert "note: --retrain, --steps, --context-length left out: no model is trained anew" in capsys.readouterr().err
    assert Anomaly(no_train=True, steps=5).idle == ["--steps"]
    assert not Anomaly(no_train=True).idle
    assert not Forecast(**idle).idle


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_to_fine_tune_that_is_none_is_refused_before_the_work(minutes):
    with pytest.raises(ConfigError, match=r"^--fine-tune=.*need a positive number"):
        _ = Forecast(minutes=minutes).chosen


def test_synthesis_of_a_constant_is_refused_before_its_training(tmp_path):
    days = pd.date_range("2024-01-01", periods=300, freq="D")
    pd.DataFrame({"timestamp": days, "target": 3.0}).to_csv(tmp_path / "same.csv", index=False)
    options = Synthesize(data=tmp_path / "same.csv", prediction_length=3, n=20, steps=2, output=tmp_path / "out")
    with pytest.raises(DataError, match="all 20 real windows are constant"):
        synthesize.main(options)
    assert not list((tmp_path / "out").iterdir())


def test_covariates_help_the_bundled_model_and_statics_are_noted(tmp_path, capsys):
    data = sales(tmp_path, future=True)
    options = {"prediction_length": 14, "static": ["region", "size"]}
    helped = run(tmp_path / "out", data=data, dynamic=["promotion"], **options)["model"]
    known = tmp_path / "known.csv"
    pd.read_csv(data).dropna().to_csv(known, index=False)
    plain = run(tmp_path / "plain", data=known, **options)["model"]
    assert helped["crps"] < 0.8 * plain["crps"]  # type: ignore[index]
    said = capsys.readouterr()
    assert re.search("covariates help [345]: [0-9]+ % less error in held-out parts", said.out)
    assert "1 static categories, 1 static numbers are left out" in said.err
    assert "dynamic covariates" not in said.err
    future = pd.read_csv(tmp_path / "out" / "future.csv").merge(pd.read_csv(data), on=["item_id", "timestamp"])
    promoted = future["promotion"] == 1
    assert future["mean"][promoted].mean() > future["mean"][~promoted].mean() + 4


def test_covariates_that_end_with_the_series_are_told_of_the_scored_windows(tmp_path, capsys):
    run(tmp_path / "out", data=sales(tmp_path), prediction_length=14, dynamic=["promotion"])
    said = capsys.readouterr()
    assert "5 series have no covariates for the 14 steps after their end" in said.err
    assert re.search(r"covariates help [345] of the scored windows: [0-9]+ % less error in held-out parts", said.out)


def test_rows_of_the_future_that_no_option_names_are_told_the_one_that_takes_them(tmp_path, capsys):
    data = sales(tmp_path, future=True)  # with "region", which is no number
    advice = "by --dynamic promotion --dynamic size, cut them off, or hold out more"
    with pytest.raises(DataError, match=f"the last 14 steps of every series.*hold no observed value.*{advice}"):
        run(tmp_path / "out", data=data, prediction_length=14)
    run(tmp_path / "out", data=data, prediction_length=7, windows=0)
    assert "comes after the rows without a value; --dynamic promotion --dynamic size takes" in capsys.readouterr().err
    run(tmp_path / "out", data=data, prediction_length=7, windows=0, dynamic=["promotion", "size"])
    run(tmp_path / "out", data=sales(tmp_path), prediction_length=7, windows=0)
    assert "rows without a value" not in capsys.readouterr().err


def test_columns_that_no_option_names_are_told(tmp_path, capsys):
    data = sales(tmp_path)
    pd.read_csv(data).to_csv(data)  # with row numbers, which are no covariate
    run(tmp_path / "out", data=data, prediction_length=7, dynamic=["promotion"])
    assert "columns 'region', 'size' are not used; --dynamic and --static name covariates\n" in capsys.readouterr().err
    impute.main(Impute(data=data, freq="D", dynamic=["promotion"], static=["region", "size"], output=tmp_path / "out"))
    assert "not used" not in capsys.readouterr().err
    anomaly.main(Anomaly(data=data, freq="D", output=tmp_path / "out"))
    assert "columns 'promotion', 'region', 'size' are not used\n" in capsys.readouterr().err


def test_a_model_that_takes_covariates_is_not_said_to_leave_them_out(tmp_path, capsys):
    options = Forecast(data=sales(tmp_path, future=True), dynamic=["promotion"], prediction_length=7, windows=0)
    job = load_job(options, forecast_only=True)
    sampling = Sampling(steps=1, method="ode1", counts=True)
    estimator = TSDiffEstimator("D", 7, dynamic_features=1, sampling=sampling).with_training(max_steps=1)
    line = forecast.write_results(job, estimator.train(job.series), tmp_path, 2, 0.0)
    assert "taken for counts" in line
    assert "covariates" not in line


def test_nothing_to_forecast_and_nothing_to_score_is_told_by_what_is_lacking(tmp_path):
    job = load_job(
        Forecast(data=sales(tmp_path), dynamic=["promotion"], prediction_length=7, windows=0), forecast_only=True
    )
    predictor = TSDiffEstimator("D", 7, dynamic_features=1).with_training(max_steps=1).train(job.series)
    with pytest.raises(DataError, match=r"no series has covariates for the 7 steps after its end.*without a target"):
        forecast.write_results(job, predictor, tmp_path, 2, 0.0)


def test_a_trained_model_forecasts_and_is_scored_for_fewer_steps(trained, tmp_path, capsys):
    trained.serialize(tmp_path / "model")
    times = pd.date_range("2024-01-01", periods=200, freq="h")
    pd.concat([pd.DataFrame({"id": e["item_id"], "ds": times, "y": e["target"]}) for e in sines()]).to_csv(
        tmp_path / "sines.csv", index=False
    )
    options = {"data": tmp_path / "sines.csv", "target": "y", "item_id": "id", "timestamp": "ds", "samples": 10}
    forecast.main(
        Forecast(model=str(tmp_path / "model"), prediction_length=3, windows=2, output=tmp_path / "out", **options)
    )
    assert len(pd.read_csv(tmp_path / "out" / "future.csv")) == 3 * 3
    assert len(pd.read_csv(tmp_path / "out" / "forecasts.csv")) == 3 * 2 * 3
    assert "3 steps ahead" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="refines 8 steps, not 3: give --prediction-length 8"):
        refine.main(Refine(model=str(tmp_path / "model"), prediction_length=3, output=tmp_path / "no", **options))


def test_what_forecasts_nothing_needs_no_horizon(tmp_path, capsys):
    data = sales(tmp_path)
    for options in (Impute(data=data), Anomaly(data=data)):
        assert load_job(options).prediction_length == 6  # a tenth of 60 days
        assert "--prediction-length is left out: windows of 6 steps" in capsys.readouterr().err
    assert load_job(Impute(data=sales(tmp_path, 74))).prediction_length == 7
    assert "a season of 'D'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--prediction-length is needed"):
        load_job(Forecast(data=data))


def test_a_diagnosis_needs_no_horizon(tmp_path, capsys):
    options = Diagnose(data=sales(tmp_path), measures=["asymmetry"], noise=[1.0], windows=1, output=tmp_path / "out")
    diagnose.main(options)
    said = capsys.readouterr()
    assert "held out" not in said.err
    assert (tmp_path / "out" / "diagnosis.md").read_text().startswith("# Diagnosis of default\n\n1 item of 512 dim")


def test_gaps_at_the_ends_of_all_series_are_filled_and_nothing_is_scored(tmp_path, capsys):
    data = pd.read_csv(sales(tmp_path))
    data.loc[data["timestamp"] > "2024-02-20", "target"] = np.nan
    data.to_csv(tmp_path / "sales.csv", index=False)
    options = Impute(data=tmp_path / "sales.csv", no_train=True, samples=5, output=tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.md").write_text("of an earlier run")
    impute.main(options)
    made = pd.read_csv(tmp_path / "out" / "imputed.csv")
    assert (made["timestamp"] > "2024-02-20").sum() == 5 * 9
    said = capsys.readouterr()
    assert "nothing is scored: the held-out ends of the series have no values to hide" in said.err
    assert "50 missing values of 5 series filled; 5 taken for counts: whole samples, their share of zeros" in said.out
    assert "(imputed.csv, gaps.png, metrics.json)" in said.out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"imputed.csv", "gaps.png", "metrics.json"}
    with pytest.raises(DataError, match="the last 7 steps of every series, held out to be scored, hold no observed"):
        run(tmp_path / "no", data=tmp_path / "sales.csv", prediction_length=7)


def test_data_without_gaps_leaves_no_picture_of_an_earlier_run(tmp_path):
    frame = pd.DataFrame({"timestamp": DAYS[:40], "target": np.arange(40.0) % 7})
    frame.to_csv(tmp_path / "whole.csv", index=False)
    frame.drop(index=[20, 21]).to_csv(tmp_path / "gaps.csv", index=False)
    for name, drawn in (("gaps", True), ("whole", False)):
        impute.main(Impute(data=tmp_path / f"{name}.csv", freq="D", windows=0, samples=5, output=tmp_path / "out"))
        assert (tmp_path / "out" / "gaps.png").exists() is drawn


def test_hidden_values_that_have_no_mase_are_told(tmp_path, capsys):
    frame = pd.DataFrame({"timestamp": DAYS[:40], "target": 5.0})
    frame.to_csv(tmp_path / "constant.csv", index=False)
    impute.main(Impute(data=tmp_path / "constant.csv", samples=5, output=tmp_path / "out"))
    said = capsys.readouterr()
    assert "MASE leaves out 1 window whose history is constant or unobserved" in said.err
    assert "missing and left out" not in said.err
    assert "1 hidden value of 1 series" in said.out


def test_series_too_short_to_be_scored_are_filled(tmp_path, capsys):
    data = sales(tmp_path, known=10, ids=1)
    shared = {"data": data, "prediction_length": 14, "samples": 5, "output": tmp_path / "out"}
    told = "the longest series has 10 values, too few to hold 14 steps out: nothing is scored, and gaps are filled"
    for more, line in (({}, told), ({"windows": 0}, ""), ({"hide": 0.0}, "")):
        impute.main(Impute(**shared, **more))
        assert len(pd.read_csv(tmp_path / "out" / "imputed.csv")) == 1
        assert {file.name for file in (tmp_path / "out").iterdir()} == {"imputed.csv", "gaps.png", "metrics.json"}
        said = capsys.readouterr().err
        assert line in said
        assert line or "scored" not in said
    with pytest.raises(DataError, match="--windows 0 fills gaps without scoring"):
        impute.main(Impute(**shared, windows=1))
    pd.concat([pd.read_csv(data), pd.read_csv(long(tmp_path)).assign(item_id="long")]).to_csv(data, index=False)
    impute.main(Impute(**shared))
    said = capsys.readouterr()
    assert "series '0' is not scored: 10 values" in said.err
    assert "left out" not in said.err
    assert "1 missing value of 1 series filled" in said.out


def test_refine_and_anomaly_take_the_bundled_model_where_values_are_few(tmp_path, capsys):
    options = {"data": sales(tmp_path), "prediction_length": 7}
    (tmp_path / "refine").mkdir()
    for name in ("linear.png", "mine.png"):
        (tmp_path / "refine" / name).write_text("of an earlier run")
    refine.main(Refine(**options, output=tmp_path / "refine", base=["seasonal_naive"], samples=5))
    assert "295 values are few to train on: the bundled model is taken" in capsys.readouterr().err
    files = {file.name for file in (tmp_path / "refine").iterdir()}
    assert files == {"seasonal_naive.png", "mine.png", "refined.csv", "metrics.json", "metrics.md"}
    anomaly.main(Anomaly(**options, output=tmp_path / "anomaly"))
    assert "the bundled model is taken" in capsys.readouterr().err
    assert not (tmp_path / "anomaly" / "model").exists()
    assert (tmp_path / "anomaly" / "scores.csv").is_file()
    with pytest.raises(ConfigError, match="default refines 128 steps, not 129: give --prediction-length 128, or --ret"):
        refine.main(Refine(**{**options, "data": long(tmp_path), "prediction_length": 129}, output=tmp_path / "far"))


def test_what_is_not_evaluated_leaves_no_evaluation_of_an_earlier_run(tmp_path, capsys):
    data = pd.read_csv(long(tmp_path))
    data.loc[390:398, "target"] = np.nan  # one value of the held-out ten
    data.to_csv(tmp_path / "long.csv", index=False)
    (tmp_path / "out").mkdir()
    for name in ("injected.png", "evaluation.md"):
        (tmp_path / "out" / name).write_text("of an earlier run")
    anomaly.main(Anomaly(data=tmp_path / "long.csv", prediction_length=10, windows=1, output=tmp_path / "out"))
    said = capsys.readouterr()
    assert "not evaluated" in said.err
    assert "(anomalies.png, scores.csv, anomalies.csv, metrics.json)" in said.out
    assert not {"injected.png", "evaluation.md"} & {file.name for file in (tmp_path / "out").iterdir()}


def test_choosing_by_zeros_is_refused_before_the_work(tmp_path):
    data = pd.read_csv(sales(tmp_path))
    data.loc[data["timestamp"] > "2024-02-01", "target"] = 0
    data.to_csv(tmp_path / "sales.csv", index=False)
    options = Refine(
        data=tmp_path / "sales.csv", prediction_length=7, choose=True, output=tmp_path / "out", retrain=True
    )
    with pytest.raises(DataError, match=r"--choose scores on the last 7 steps of the training series.*leave it out"):
        refine.main(options)


def test_notes_on_series_are_not_said_again_of_those_with_injected_anomalies(trained, tmp_path):
    watched = Watch(sines(), 60, 8, 200)
    settings = replace(DEFAULT_SCORING, stride=2 * trained.config.length)  # steps between windows have no score
    with pytest.warns(Note, match="lie in no scored window"):
        scores = all_scores(trained, watched.entries, settings, watched, 200)
    limits = thresholds_of(scores, watched.held_out, 0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        config = InjectionConfig(shortest=3, longest=6)
        assert injected_metrics(trained, watched, limits, settings, config, tmp_path / "injected.png")


def test_forecasts_that_score_are_told_what_lies_before_the_scored_steps():
    default = TSDiffPredictor.from_pretrained("default").adapted("h", 12)
    series = series_from_gluonts(sines(1, 500, 24))
    job = Job(series, split_windows(series, 12, 5), 12)
    watched = watch(job, default, 40, ForecastScoring())
    assert (watched.held_out, watched.scored, len(watched.entries[0]["target"])) == (60, 100, 500)
    (score,) = since(all_scores(default, watched.entries, ForecastScoring(), watched, 100)["TSDiff"], 100)
    assert (score.start, len(score.score)) == (series[0]["start"] + 400, 100)
    assert np.isfinite(score.score).all()
    assert len(watch(job, default, 40, DEFAULT_SCORING).entries[0]["target"]) == 100


def test_series_that_ended_long_ago_are_not_scored_and_the_others_are(trained, tmp_path, capsys):
    series = series_from_gluonts(sines(3))
    for ended, steps in ((series[1], 20), (series[2], 120)):  # before the reference, and within it
        ended["target"][steps:] = np.nan
    job = Job(series, split_windows(series, 8, 5), 8)
    watched = watch(job, trained, 130, DEFAULT_SCORING)
    assert [entry["item_id"] for entry in watched.entries] == [series[0]["item_id"], series[2]["item_id"]]
    assert f"series {series[1]['item_id']!r} is not scored: its last 170 steps hold no value" in " ".join(
        capsys.readouterr().err.split()
    )
    scores = all_scores(trained, watched.entries, DEFAULT_SCORING, watched, watched.scored)
    limits = thresholds_of(scores, watched.held_out, 0.9)
    config = InjectionConfig(shortest=3, longest=6)
    assert injected_metrics(trained, watched, limits, DEFAULT_SCORING, config, tmp_path / "injected.png")


def test_a_change_of_clocks_near_what_is_forecast_filled_or_scored_is_told(tmp_path):
    times = pd.date_range("2024-03-01", "2024-03-29", freq="h", tz="Europe/Berlin")
    data = tmp_path / "load.parquet"
    pd.DataFrame({"time": times, "load": times.hour + 1.0}).drop(index=[600]).to_parquet(data)
    with pytest.warns(Note, match="clocks of Europe/Berlin change at 2024-03-31 03:00.*in a forecast"):
        run(tmp_path / "out", data=data, prediction_length=72, windows=0)
    options = Impute(data=data, no_train=True, output=tmp_path / "out", prediction_length=24, samples=2, hide=0.0)
    with pytest.warns(Note, match="clocks of Europe/Berlin change at 2024-03-31 03:00.*in a gap"):
        impute.main(options)
    times = pd.date_range("2024-03-20", "2024-04-10", freq="h", tz="Europe/Berlin")
    pd.DataFrame({"time": times, "load": times.hour + 1.0}).to_parquet(data)
    with pytest.warns(Note, match="clocks of Europe/Berlin change at 2024-03-31 03:00.*in what is scored"):
        anomaly.main(Anomaly(data=data, no_train=True, output=tmp_path / "out"))


@pytest.mark.slow
def test_series_without_covariates_ahead_are_forecast_without(tmp_path, capsys):
    data = sales(tmp_path, future=True)
    frame = pd.read_csv(data)
    frame[(frame["item_id"] > 1) | frame["target"].notna()].to_csv(data, index=False)
    run(tmp_path / "out", data=data, prediction_length=14, dynamic=["promotion"], windows=0)
    assert "2 series have no covariates for the 14 steps after their end, and are forecast w" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "out" / "future.csv")["item_id"].nunique() == 5


@pytest.mark.parametrize("counts", [None, False])
def test_counts_are_decided_unless_it_is_said(counts, tmp_path):
    run(tmp_path / "out", data=sales(tmp_path), prediction_length=7, windows=0, counts=counts)
    whole = pd.read_csv(tmp_path / "out" / "future.csv").filter(regex="^0").mod(1).eq(0).all(axis=None)
    assert whole == (counts is None)


@pytest.mark.slow
def test_a_saved_horizon_needs_no_option_and_any_other_is_taken(tmp_path):
    TSDiffPredictor.from_pretrained("default").adapted("D", 9).serialize(tmp_path / "model")
    options = {"model": str(tmp_path / "model"), "data": sales(tmp_path), "windows": 0, "samples": 4}
    for horizon, steps in ((None, 9), (12, 12), (5, 5)):
        forecast.main(Forecast(output=tmp_path / "out", prediction_length=horizon, **options))  # type: ignore[arg-type]
        assert len(pd.read_csv(tmp_path / "out" / "future.csv")) == 5 * steps


@pytest.mark.parametrize("asked", [None, False])
def test_paydays_are_foreseen_unless_that_is_refused(
    tmp_path: Path, asked: bool | None, capsys: pytest.CaptureFixture[str]
):
    days = pd.date_range("2024-01-01", periods=300, freq="D")
    paid = np.random.default_rng(0).poisson(np.where(days.day == 25, 90, 30))
    pd.DataFrame({"timestamp": days, "target": paid}).to_csv(tmp_path / "paid.csv", index=False)
    run(tmp_path / "out", data=tmp_path / "paid.csv", prediction_length=40, windows=0, calendar_days=asked)
    told = "the calendar tells of 1" in capsys.readouterr().out
    future = pd.read_csv(tmp_path / "out" / "future.csv", parse_dates=["timestamp"])
    peaks = future[future["timestamp"].dt.day == 25]
    assert len(peaks) == 1
    assert told is (asked is None)
    assert ((peaks["0.5"] > 70) == told).all()
