"""`tsdiff.auto`: what it takes and says, that it can be repeated and saved, and keeps to its time."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import SampleForecast

import tsdiff
from shared.console.notes import Note
from shared.errors import CheckpointError, ConfigError, DataError
from shared.random import derive_seed
from shared.training.timing import Pace
from tests.tsdiff.conftest import tiny_estimator
from tsdiff import AutoSettings, TSDiffPredictor
from tsdiff.automatic import AutoPredictor, search
from tsdiff.automatic.guards import Guard
from tsdiff.automatic.predictor import Member
from tsdiff.baselines.seasonal import SeasonalPathsPredictor
from tsdiff.commands import forecast
from tsdiff.commands.options import Forecast
from tsdiff.data import load_dataset
from tsdiff.data.windows import hold_back
from tsdiff.estimator import TSDiffEstimator
from tsdiff.evaluation.metrics import evaluate

H = 7


@pytest.fixture(scope="module")
def model() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").with_sampling(steps=2)


def weekly(count: int = 3, length: int = 120, noise: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=length, freq="D")
    wave = 20 + 10 * np.sin(2 * np.pi * np.arange(length) / 7)
    return pd.concat(
        pd.DataFrame({"unique_id": n, "ds": days, "y": wave * (1 + n) + noise * rng.normal(size=length)})
        for n in range(count)
    )


def few(**settings: object) -> AutoSettings:
    return AutoSettings(**{"windows": 6, "samples": 20, "cpu_minutes": 5.0, **settings})  # type: ignore[arg-type]


def choose(model: TSDiffPredictor, settings: AutoSettings, df: pd.DataFrame | None = None, **more: object):
    frame = weekly() if df is None else df
    return tsdiff.auto(frame, H, model=model, settings=settings, progress=False, **more)  # type: ignore[arg-type]


def same(one: AutoPredictor, two: AutoPredictor) -> bool:
    left, right = (made.predict_df(weekly(), num_samples=10) for made in (one, two))
    return left.equals(right)


def test_it_says_what_was_tried_and_forecasts_frames(model, tmp_path: Path):
    made = choose(model, few(candidates=("naive", "bundled", "auto_ets")))
    tried = {one.name: one for one in made.report.tried}
    assert {"naive", "bundled", "auto_ets"} <= set(tried)
    assert all(one.crps > 0 for one in tried.values())
    assert sum(one.share for name, one in tried.items() if name != "pool") == pytest.approx(1.0)
    for part in ("| naive |", "6 backtest windows", "taken: "):
        assert part in str(made.report)
    table = made.predict_df(weekly(), num_samples=10)
    assert list(table.columns[:3]) == ["unique_id", "ds", "mean"]
    assert len(table) == 3 * H
    assert len(made.predict_df(weekly(), prediction_length=10, num_samples=10)) == 30
    assert len(made.cross_validation_df(weekly(), windows=2, num_samples=10)) == 3 * 2 * H
    made.save_pretrained(tmp_path)
    again = AutoPredictor.from_pretrained(tmp_path)
    assert again.report == made.report
    assert repr(again) == repr(made)
    assert same(again, made)


@pytest.mark.slow
def test_a_choice_with_given_steps_can_be_repeated(model):
    settings = few(
        candidates=("naive", "fine-tuned", "trained"), fine_tune_steps=2, train_steps=3, seed=3, samples=8, windows=3
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        one, two = choose(model, settings), choose(model, settings)
    assert not [one for one in told if "values are few" in str(one.message)]  # what it offers is being done
    assert [(row.name, row.crps) for row in one.report.tried] == [(row.name, row.crps) for row in two.report.tried]
    assert one.report.steps == {"fine_tune_steps": 2, "train_steps": 3}
    assert same(one, two)


def test_where_the_naive_is_perfect_it_is_taken(model):
    made = choose(model, few(candidates=("bundled", "naive")), weekly(noise=0.0))
    assert [member.name for member in made.members] == ["naive"]
    truth = weekly(1, 127, 0.0)["y"].to_numpy()[-H:]
    np.testing.assert_allclose(made.predict_df(weekly(1, noise=0.0), num_samples=5)["mean"], truth, rtol=1e-6)


@pytest.mark.slow
def test_time_that_does_not_do_leaves_candidates_out(model):
    started = time.process_time()
    made = choose(model, few(cpu_minutes=0.002))  # 120 ms: no machine takes 100 training steps in it
    assert time.process_time() - started < 15
    left_out = [one.name for one in made.report.tried if one.crps is None]
    assert "trained" in left_out
    assert "left out" in str(made.report)


def test_fine_tuning_for_which_no_time_is_left_is_left_out(model):
    made = choose(model, few(candidates=("naive", "fine-tuned"), cpu_minutes=0.001))
    assert [member.name for member in made.members] == ["naive"]
    assert "left out: 0.001 minutes are too short" in str(made.report)


def searching(model: TSDiffPredictor, settings: AutoSettings) -> search._Search:
    series = load_dataset(weekly(), item_id="unique_id", timestamp="ds", target="y")
    return search._Search(series, model, H, settings, False, time.process_time())


def test_windows_are_as_many_as_all_models_have_time_for(model, monkeypatch):
    """A trained model's forecast takes longer than the bundled one's."""
    made = searching(model, few(candidates=("bundled", "trained"), windows=1000))
    monkeypatch.setattr(search, "_seconds_each", lambda one, *_: 0.01 if one is made.bundled else 0.08)
    monkeypatch.setattr(search._Search, "total", 40.0)
    monkeypatch.setattr(search._Search, "left", 1e6)
    assert made._affordable() == int(0.25 * 40 / (0.01 + 0.08))
    monkeypatch.setattr(search._Search, "left", 0.5)  # it will be left out
    assert made._affordable() == int(0.25 * 40 / 0.01)
    alone = searching(model, few(candidates=("naive", "trained"), windows=1000))
    assert alone._affordable() == 1000


def test_training_ends_when_the_time_is_over(model, monkeypatch):
    """Here steps are thought to take no time."""
    monkeypatch.setattr(Pace, "within", lambda self, seconds: 10**6)
    monkeypatch.setattr(search._Search, "_training_fits", lambda *_: True)
    made = choose(model, few(candidates=("naive", "trained"), cpu_minutes=0.04))
    assert made.report.steps == {"train_steps": 10**6}
    assert made.report.tried[1].crps is not None


def test_the_pools_row_is_of_the_samples_that_are_there(model):
    """Each forecaster's by its share, none twice."""
    made = searching(model, few(samples=10))
    start, rows = pd.Period("2024-05-01", "D"), np.arange(10.0)[:, None].repeat(H, 1)
    made.samples = [[SampleForecast(rows, start), SampleForecast(rows + 50, start)] for rows in (rows, rows + 100)]
    for place, pooled in enumerate(made._pooled(np.array([0.3, 0.7]))):
        drawn = pooled.samples[:, 0] - 50 * place
        assert len(set(drawn)) == 10
        assert (drawn < 100).sum() == 3
        assert (pooled.samples == pooled.samples[:, :1]).all()  # whole paths


@pytest.mark.slow
def test_given_steps_are_taken_even_where_no_time_is_left(model):
    made = choose(model, few(candidates=("naive", "fine-tuned"), cpu_minutes=0.001, fine_tune_steps=1, windows=3))
    assert next(one for one in made.report.tried if one.name == "fine-tuned").crps is not None


def test_series_too_short_for_a_backtest_take_half_of_each(model):
    made = choose(model, few(), weekly(length=20))
    assert [(member.name, member.share) for member in made.members] == [("naive", 0.5), ("bundled", 0.5)]
    assert "too short" not in made.report.why
    assert "28 values" in made.report.why


def test_covariates_enter_the_models(model):
    rng = np.random.default_rng(1)
    frame = weekly()
    frame["promotion"] = (rng.random(len(frame)) < 0.3).astype(float)
    frame["y"] += 15 * frame["promotion"]
    made = choose(model, few(candidates=("bundled",)), frame, covariates=["promotion"])
    days = pd.date_range("2024-04-30", periods=H, freq="D")
    future = pd.concat(pd.DataFrame({"unique_id": n, "ds": days, "promotion": [1, 0, 0, 1, 0, 0, 0]}) for n in range(3))
    table = made.predict_df(frame, future, num_samples=20)
    assert min(table.attrs["covariates"].values()) > 0.1
    pooled = AutoPredictor([Member("naive", 0.5, Guard("naive", "D", H)), *made.members])
    assert pooled.predict_df(frame, future, num_samples=20).attrs["covariates"] == table.attrs["covariates"]


@pytest.mark.parametrize("name", ["naive", "trained"])
def test_candidates_are_chosen_by_what_they_draw_of_counts(model, name):
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=120, freq="D")
    demand = pd.concat(pd.DataFrame({"id": n, "ds": days, "y": rng.poisson(0.4, 120)}) for n in range(3))
    made = choose(model, few(candidates=(name,), train_steps=3, seed=1), demand, id_column="id")
    series = load_dataset(demand, target="y", item_id="id", timestamp="ds")
    samples = np.stack([one.samples for one in made.predict(series, 100)])
    assert (samples == np.round(samples)).all()
    assert (samples == 0).mean() == pytest.approx((demand["y"] == 0).mean(), abs=0.15)
    _, windows = hold_back(series.entries, H, 6, np.random.default_rng(derive_seed(1, "backtests")))
    assert windows is not None
    if name == "naive":
        assert made.report.tried[0].crps == evaluate(made.predict(windows.input, 20), windows).crps


def test_one_covariate_needs_no_list_and_columns_that_are_not_used_are_told(model):
    frame = weekly().assign(promotion=1.0, price=2.0)
    with pytest.warns(Note, match="columns 'price' are not used; what is known of the future goes into covariates"):
        made = choose(model, few(candidates=("naive",)), frame, covariates="promotion", target="y")
    assert len(made.predict_df(weekly(), num_samples=10)) == 3 * H


def test_a_path_is_one_of_a_single_member():
    entries = [{"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": np.sin(np.arange(60.0))}]
    guards = [Guard("naive", "D", H, seed=seed) for seed in (1, -2)]
    pool = AutoPredictor([Member("one", 0.3, guards[0]), Member("two", 0.7, guards[1])])
    (made,) = pool.predict(entries, 10)
    parts = [next(iter(guard.predict(entries, n))).samples for guard, n in zip(guards, (3, 7), strict=True)]
    np.testing.assert_array_equal(made.samples, np.concatenate(parts))


def test_gaps_are_filled_by_the_models_alone(model):
    """There was no such call, where the other forecasters of frames have it."""
    holed = weekly().assign(y=lambda all: all["y"].where(np.arange(len(all)) % 30 > 2))
    one = model.adapted("D", H)
    pool = AutoPredictor(
        [Member("naive", 0.5, Guard("naive", "D", H)), Member("one", 0.4, one), Member("other", 0.1, one)]
    )
    table = pool.impute_df(holed, num_samples=10, seed=1)
    assert table["unique_id"].unique().tolist() == [0, 1, 2]
    assert table["imputed"].sum() == holed["y"].isna().sum()
    parts = [list(one.impute(load_dataset(holed, target="y"), n)) for n in (8, 2)]
    for made, first, second in zip(pool.impute(load_dataset(holed, target="y"), 10), *parts, strict=True):
        np.testing.assert_array_equal(made.samples, np.concatenate([first.samples, second.samples]))
    alone = AutoPredictor([Member("naive", 1.0, Guard("naive", "D", H))])
    with pytest.raises(ConfigError, match=r"naive fill no gaps; take .*impute_df\(df\)"):
        alone.impute_df(holed)


def test_what_cannot_be_is_refused(model, tmp_path: Path):
    entry = {"start": pd.Period("2024-01-01", "D"), "target": np.ones((2, 90))}
    with pytest.raises(ConfigError, match="channels"):
        tsdiff.auto([entry], H, model=model, progress=False)
    with pytest.raises(ConfigError, match="prediction_length=0"):
        tsdiff.auto(weekly(), 0, model=model)
    with pytest.raises(ConfigError, match=r"^minutes=0: need a positive number"):
        tsdiff.auto(weekly(), H, minutes=0)
    with pytest.raises(ConfigError, match="shares"):
        AutoPredictor([Member("one", 0.0, Guard("naive", "D", H))])
    with pytest.raises(CheckpointError, match=r"auto\.json"):
        AutoPredictor.from_pretrained(tmp_path)
    (tmp_path / "auto.json").write_text('{"members": [{"name": 1}], "sampling": {}, "report": {}}')
    with pytest.raises(CheckpointError):
        AutoPredictor.from_pretrained(tmp_path)
    pool = AutoPredictor([Member("one", 1.0, Guard("naive", "D", H))])
    with pytest.raises(ConfigError, match="strength"):
        pool.with_sampling(strength=2)
    with pytest.raises(ConfigError, match="chosen for its own"):
        pool.adapted("h", H)


@pytest.mark.slow
def test_the_command_chooses_and_takes_its_choice_again(tmp_path: Path, capsys):
    data = tmp_path / "sales.csv"
    weekly().to_csv(data, index=False)
    names = {"data": data, "prediction_length": H, "target": "y", "item_id": "unique_id", "timestamp": "ds"}
    forecast.main(Forecast(budget=0.05, samples=10, output=tmp_path / "out", **names))  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "| naive |" in said
    assert "| naive |" in (tmp_path / "out" / "candidates.md").read_text()
    forecast.main(Forecast(model=str(tmp_path / "out" / "auto"), samples=10, output=tmp_path / "again", **names))  # type: ignore[arg-type]
    one, two = (pd.read_csv(tmp_path / name / "future.csv") for name in ("out", "again"))
    pd.testing.assert_frame_equal(one, two)
    with pytest.raises(ConfigError, match="--budget"):
        _ = Forecast(budget=1.0, no_train=True).chosen


# --- the naive's paths -------------------------------------------------------------------------------------


def test_seasonal_paths_choose_the_season_and_repeat_it():
    target = np.tile(np.arange(7.0), 10)
    entries = [{"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": target}]
    (made,) = SeasonalPathsPredictor(10, (7, 5)).predict(entries, 4)
    np.testing.assert_array_equal(made.samples, np.tile(np.arange(10) % 7, (4, 1)))


def test_errors_of_a_walk_grow_as_a_walk_does_and_belong_together():
    walk = np.cumsum(np.random.default_rng(0).normal(size=4000))
    entries = [{"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": walk}]
    (made,) = SeasonalPathsPredictor(16, (7,)).predict(entries, 4000)
    moves = np.diff(made.samples, axis=1)
    assert np.abs(moves.std(axis=0) - 1).max() < 0.15  # one step at a time, in every path


@pytest.mark.parametrize("target", [[3.0], [3.0, 4.0], [np.nan, 2.0, np.nan]])
def test_hardly_any_history_is_forecast(target):
    entries = [{"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": np.array(target)}]
    (made,) = SeasonalPathsPredictor(3, (7,)).predict(entries, 5)
    assert np.isfinite(made.samples).all()
    assert made.samples.shape == (5, 3)


@pytest.mark.slow
def test_time_of_steps_is_measured(model):
    frame = [{"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": np.sin(np.arange(300.0))}]
    estimator = TSDiffEstimator("h", 4, 12, backbone=tiny_estimator().config.backbone)
    pace = estimator.pace(frame)
    assert 1 <= pace.within(0.05) < pace.within(1000.0) <= 7000


@pytest.mark.parametrize(
    ("start", "told"), [(pd.Period("2024-01-01", "h"), "has frequency 'h', not 'D'"), (None, "has no 'start'")]
)
def test_simple_forecasters_take_series_of_their_frequency_alone(start: pd.Period | None, told: str):
    pool = AutoPredictor([Member("one", 1.0, Guard("naive", "D", H))])
    with pytest.raises(DataError, match=told):
        list(pool.predict([{"start": start, "target": np.arange(60.0)}]))
