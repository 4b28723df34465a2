"""The bundled model of all frequencies: it forecasts and imputes what it is given, at once."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recipes.default_forecaster.default import CONFIG
from recipes.default_forecaster.generators import generate
from shared.errors import ConfigError
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.commands import forecast
from tsdiff.commands.options import Forecast
from tsdiff.data import embedded_series, split_windows
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import quiet
from tsdiff.evaluation.metrics import best_seasonal_naive, evaluate
from tsdiff.model.model import BUNDLED
from tsdiff.pretraining.finetuning import HALF_WEIGHED, WEIGHED, FineTuning, fine_tune
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.config import ANY_FREQ

FOLDER = BUNDLED / "default"


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").with_sampling(steps=4)


@pytest.mark.parametrize("change", [{}, {"counts": True}, {"covariates": True}])
@pytest.mark.parametrize("horizon", [14, 150])
def test_samples_are_within_what_is_possible(change, horizon):
    """A share near its top, drawn at once, from own draws, and with what is met after the draws."""
    noise = np.random.default_rng(0).normal(size=200)
    entry = {"start": pd.Period("2024-01-01", freq="D"), "target": np.minimum(98 + 2 * noise, 100), "item_id": "a"}
    predictor = TSDiffPredictor.from_pretrained("default").adapted("D", horizon)
    (free,) = predictor.with_sampling(**change).predict([entry], 40)
    (made,) = predictor.with_sampling(maximum=99.5, minimum=95.0, **change).predict([entry], 40)
    assert free.samples.max() == 100  # which its values show, reached so often
    assert free.samples.min() < 95
    assert 95 == made.samples.min() < made.samples.max() == 99.5


def test_bounds_that_cross_are_refused():
    with pytest.raises(ConfigError, match=r"minimum=5.*maximum=3"):
        Sampling(minimum=5.0, maximum=3.0)


def test_it_loads_without_a_note() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TSDiffPredictor.from_pretrained("default")


def test_it_is_bundled_small_and_has_a_card() -> None:
    model = TSDiff.from_pretrained("default")
    assert replace(model.config, sde=CONFIG.sde) == CONFIG
    assert model.config.freq == ANY_FREQ
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 8e6
    card = (FOLDER / "README.md").read_text(encoding="utf-8").lower()
    for word in ("licence", "recipes/train_default_forecaster.py", "limits", "crps", "cpu"):
        assert word in card


def test_it_forecasts_the_embedded_data_better_than_seasonal_naive(default: TSDiffPredictor) -> None:
    test = split_windows(list(embedded_series())[:4], 24, 1).test
    predictor = default.adapted("h", 24)
    scores = evaluate(list(predictor.predict(test.input, 30)), test)
    _, naive = best_seasonal_naive(test, (24, 168))
    assert scores.crps < naive.crps


@pytest.mark.parametrize(("freq", "horizon"), [("15min", 24), ("D", 14), ("B", 10), ("W", 8), ("M", 12), ("QE", 4)])
def test_it_forecasts_every_frequency_and_horizon(default: TSDiffPredictor, freq: str, horizon: int) -> None:
    series = generate(freq, 20, 150 + horizon, np.random.default_rng(5), {"product": 1.0})
    entries = [{"start": series.periods[0], "target": row} for row in series.values]
    test = split_windows(entries, horizon, 1).test
    scores = evaluate(list(default.adapted(freq, horizon).predict(test.input, 30)), test)
    _, naive = best_seasonal_naive(test, (1,))
    assert scores.crps < 0.9 * naive.crps
    assert scores.coverage_90 > 0.5


@pytest.mark.parametrize("steps", [3, 28, 150])
def test_an_adapted_model_takes_another_horizon_as_the_first_would(
    default: TSDiffPredictor, steps: int, tmp_path: Path
) -> None:
    """A forecaster of one step went on to 28 in 28 pieces, a half worse."""
    week = {"start": pd.Period("2024-01-01", freq="D"), "target": np.tile([1.0, 2, 3, 4, 5, 9, 9], 20)}
    (wanted,) = default.adapted("D", steps).predict([week], 8)
    other = default.adapted("D", 12).with_horizon(steps)
    other.serialize(tmp_path)
    for one in (other, default.adapted("D", 1).adapted("D", steps), TSDiffPredictor.from_pretrained(tmp_path)):
        (made,) = one.predict([week], 8)
        np.testing.assert_array_equal(made.samples, wanted.samples)
    assert other.config.reach == default.config.prediction_length


def test_a_horizon_beyond_its_reach_comes_in_pieces(default: TSDiffPredictor) -> None:
    steps = np.arange(400)
    target = 10 + np.sin(2 * np.pi * steps / 24) + 0.05 * np.random.default_rng(0).normal(size=400)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", freq="h"), "target": target[:250]}
    predictor = default.adapted("h", 150)
    (made,) = predictor.predict([entry], 10)
    assert made.samples.shape == (10, 150)
    assert made.start_date == pd.Period("2024-01-01", freq="h") + 250
    assert np.abs(np.median(made.samples, axis=0) - target[250:]).mean() < 0.5


@pytest.mark.parametrize("horizon", [129, 200])
def test_beyond_its_reach_it_knows_as_much_of_the_past(default: TSDiffPredictor, horizon: int) -> None:
    steps = np.arange(1500 + horizon)
    year, week = 30 * np.sin(2 * np.pi * steps / 365.25), 20 * np.sin(2 * np.pi * steps / 7)
    target = 100 + year + week + 3 * np.random.default_rng(1).normal(size=len(steps))
    entry = {"item_id": "a", "start": pd.Period("2018-01-01", freq="D"), "target": target[:1500]}
    (near,) = default.adapted("D", 128).predict([entry], 20)
    other, far = default.adapted("D", horizon).predict([{**entry, "item_id": "b", "target": -target[:900]}, entry], 20)
    np.testing.assert_allclose(far.samples[:, :128], near.samples, rtol=1e-5)
    assert other.samples.shape == far.samples.shape == (20, horizon)
    assert np.abs(np.median(far.samples, axis=0) - target[1500:])[128:].mean() < 8


def noisy_week(count: int) -> np.ndarray:
    return 1000 + 20 * np.sin(2 * np.pi * np.arange(count) / 7) + 2 * np.random.default_rng(5).normal(size=count)


@pytest.mark.parametrize("missing", [30, 600, 2600])
def test_a_series_that_ended_long_ago_goes_on(default: TSDiffPredictor, missing: int) -> None:
    target = np.r_[noisy_week(200), np.full(missing, np.nan)]
    for horizon in (14, 140):
        entry = {"item_id": "a", "start": pd.Period("2021-01-04", freq="D"), "target": target}
        (made,) = default.adapted("D", horizon).predict([entry], 20)
        truth = 1000 + 20 * np.sin(2 * np.pi * np.arange(200 + missing + horizon) / 7)[-horizon:]
        low, middle, high = np.quantile(made.samples, [0.05, 0.5, 0.95], axis=0)
        assert np.abs(middle - truth).mean() < 8
        assert ((low <= truth) & (truth <= high)).mean() > 0.8
        assert (high - low).mean() < 200


@pytest.mark.parametrize("after", [1, 3, 7])
def test_a_gap_before_the_last_values_is_not_taken_for_a_line(default: TSDiffPredictor, after: int) -> None:
    target = noisy_week(200)
    target[-30 - after : -after] = np.nan
    entry = {"item_id": "a", "start": pd.Period("2021-01-04", freq="D"), "target": target}
    (made,) = default.adapted("D", 14).predict([entry], 40)
    truth = 1000 + 20 * np.sin(2 * np.pi * np.arange(214) / 7)[-14:]
    assert np.abs(np.median(made.samples, axis=0) - truth).mean() < 4


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_values_missing_here_and_there_are_imputed_by_the_season(default: TSDiffPredictor, share: float) -> None:
    whole = noisy_week(300)
    missing = np.random.default_rng(7).random(300) < share
    entry = {"start": pd.Period("2021-01-04", freq="D"), "target": np.where(missing, np.nan, whole)}
    (made,) = default.adapted("D", 14).impute([entry], 40)
    low, middle, high = np.quantile(made.samples, [0.05, 0.5, 0.95], axis=0)
    assert np.abs(middle - whole[missing]).mean() < 3  # their own noise is 1.6
    assert ((low <= whole[missing]) & (whole[missing] <= high)).mean() > 0.6


def _imputed(default: TSDiffPredictor, values: np.ndarray, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether intervals of 90 % cover each missing value of days, and the errors of the medians."""
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=len(values)), "y": np.where(gaps, np.nan, values)})
    low, middle, high = (
        default.impute_df(frame, quantile_levels=[0.05, 0.5, 0.95])[["0.05", "0.5", "0.95"]].to_numpy().T
    )
    return ((low <= values) & (values <= high))[gaps], (middle - values)[gaps]


def test_every_second_value_of_a_walk_is_near_the_line_between_its_neighbours(default):
    walk = 50 + np.random.default_rng(0).normal(size=300).cumsum()
    gaps = np.arange(300) % 2 == 1
    gaps[-1] = False
    inside, errors = _imputed(default, walk, gaps)
    line = np.interp(np.arange(300), np.flatnonzero(~gaps), walk[~gaps])
    assert inside.mean() > 0.9
    assert np.abs(errors).mean() < 1.15 * np.abs(line - walk)[gaps].mean()


def test_gaps_of_walks_are_filled_nearly_as_by_their_own_law(default):
    """A walk between two values has the law of a Brownian bridge: the line, with variance k(n − k)/n."""
    start, gap, k = pd.Period("2024-01-01", freq="D"), slice(60, 72), np.arange(1, 13)
    walks = 50 + np.random.default_rng(5).normal(size=(40, 120)).cumsum(axis=1)
    held = walks.copy()
    held[:, gap] = np.nan
    made = default.adapted("D", 14).impute([{"start": start, "target": row} for row in held], 60)
    samples, truth = np.stack([one.samples for one in made], axis=1), walks[:, gap]
    line = walks[:, [59]] + (walks[:, [72]] - walks[:, [59]]) * k / 13
    bridge = line + np.sqrt(k * (13 - k) / 13) * np.random.default_rng(0).normal(size=samples.shape)
    assert _crps(samples, truth) < 1.15 * _crps(bridge, truth)
    low, high = np.quantile(samples, [0.05, 0.95], axis=0)
    assert ((low <= truth) & (truth <= high)).mean() > 0.84
    assert (high - low).mean() < 1.6 * 2 * 1.645 * np.sqrt(k * (13 - k) / 13).mean()


def _crps(samples: np.ndarray, truth: np.ndarray) -> float:
    """Of draws (n, …) of what came, in the mean."""
    return float(np.abs(samples - truth).mean() - np.abs(samples[:, None] - samples).mean() / 2)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_scattered_gaps_of_noise_are_as_wide_as_it(default, share):
    rng = np.random.default_rng(2)
    inside, _ = _imputed(default, 50 + 3 * rng.normal(size=400), np.append(rng.random(399) < share, False))
    assert inside.mean() > 0.82


def test_a_gap_over_a_change_of_level_is_as_uncertain_as_its_place(default):
    days = np.arange(300)
    covered = []
    for place in (151, 153, 155, 157, 159):
        values = np.where(days < place, 50.0, 80.0) + np.random.default_rng(place).normal(size=300)
        covered.append(_imputed(default, values, (days >= 150) & (days < 160))[0])
    assert np.mean(covered) > 0.7


def test_a_week_without_hours_has_a_weekend(default: TSDiffPredictor) -> None:
    """Half a window after it is less than a week: from there, no weekend was known."""
    hours = np.arange(24 * 56)
    weekend = (hours // 24) % 7 >= 5
    values = (
        100 + 20 * np.sin(2 * np.pi * hours / 24) - 40.0 * weekend + np.random.default_rng(0).normal(size=len(hours))
    )
    gap = slice(24 * 21, 24 * 28)
    holed = values.copy()
    holed[gap] = np.nan
    (made,) = default.adapted("h", 24).impute([{"start": pd.Period("2024-01-01", "h"), "target": holed}], 50)
    assert np.abs(made.median - values)[gap][weekend[gap]].mean() < 10


def test_gaps_of_counts_are_counts_and_of_amounts_not_below_zero(default: TSDiffPredictor) -> None:
    rng, days = np.random.default_rng(3), np.arange(200)
    sold = rng.poisson(1.5 + 1.4 * np.sin(2 * np.pi * days / 7)).astype(float)
    frame = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=200, freq="D"), "target": sold})
    frame.loc[rng.random(200) < 0.2, "target"] = np.nan
    missing = frame["target"].isna().to_numpy()
    predictor = default.adapted("D", 14)
    filled = predictor.impute_df(frame, num_samples=100)
    assert filled.attrs == {"nonnegative": 1, "counts": 1}
    levels = filled.loc[missing, ["0.05", "0.25", "0.5", "0.75", "0.95"]].to_numpy()
    assert (levels == np.rint(levels)).all()
    assert levels.min() == 0
    entry = {"item_id": "target", "start": pd.Period("2024-01-01", freq="D"), "target": frame["target"].to_numpy()}
    (made,) = predictor.impute([entry], 100)
    np.testing.assert_array_equal(made.mean[missing], filled.loc[missing, "mean"])
    assert (made.samples == 0).mean() == pytest.approx((sold == 0).mean(), abs=0.06)
    (plain,) = predictor.with_sampling(counts=False, nonnegative=False).impute([entry], 100)
    assert plain.samples.min() < 0
    loose = predictor.impute_df(frame, num_samples=100, counts=False, nonnegative=False)
    np.testing.assert_array_equal(loose.loc[missing, "mean"], plain.mean[missing])
    half = frame.assign(target=frame["target"] / 2)
    amounts = predictor.impute_df(half)
    assert amounts.attrs == {"nonnegative": 1, "counts": 0}
    assert amounts.loc[missing, "0.05"].min() == 0


def test_gaps_in_noise_of_which_every_second_value_is_known_are_as_wide_as_noise(default: TSDiffPredictor) -> None:
    noise = np.random.default_rng(0).normal(size=(8, 200))
    start, held = pd.Period("2024-01-01", freq="D"), noise.copy()
    held[:, 1:-1:2] = np.nan
    made = list(default.adapted("D", 14).impute([{"start": start, "target": row} for row in held], 100))
    low, high = (np.quantile([one.samples for one in made], level, axis=1) for level in (0.05, 0.95))
    assert 2.3 < (high - low).mean() < 3.9  # 3.3 of the noise itself; it was 1
    assert ((low < noise[:, 1:-1:2]) & (noise[:, 1:-1:2] < high)).mean() > 0.65


def test_a_gap_far_longer_than_a_window_keeps_the_season(default: TSDiffPredictor) -> None:
    steps = np.arange(3000)
    whole = 3 * np.sin(2 * np.pi * steps / 24) + 0.05 * np.random.default_rng(5).normal(size=3000)
    target = whole.copy()
    target[1000:2200] = np.nan
    (made,) = default.adapted("h", 24).impute([{"start": pd.Period("2021-01-04", freq="h"), "target": target}], 20)
    assert np.abs(np.median(made.samples, axis=0) - whole[1000:2200]).max() < 0.5


def test_it_imputes_a_gap_better_than_a_straight_line(default: TSDiffPredictor) -> None:
    steps = np.arange(240)
    whole = 5 + np.sin(2 * np.pi * steps / 12)
    target = whole.copy()
    target[100:112] = np.nan
    with quiet():
        entry = {"item_id": "a", "start": pd.Period("2000-01", freq="M"), "target": target}
    (made,) = default.adapted("M", 12).impute([entry], 10)
    error = np.abs(made.median - whole)[100:112].mean()
    assert error < 0.5 * np.abs(np.interp(steps, [99, 112], whole[[99, 112]]) - whole)[100:112].mean()


def test_counts_stay_above_zero_and_others_do_not(default: TSDiffPredictor) -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, 200).astype(float)
    entries = [
        {"item_id": name, "start": pd.Period("2024-01-01", freq="D"), "target": target}
        for name, target in (("counts", counts), ("signed", counts - counts.mean()))
    ]
    lowest = [made.samples.min() for made in default.adapted("D", 7).predict(entries, 30)]
    assert lowest[0] >= 0
    assert lowest[1] < -0.1


def test_intermittent_demand_of_gluonts_entries_is_drawn_as_counts() -> None:
    """As `predict_df` draws it: 23 % of the samples were 0, where 74 % of the values are."""
    sold = np.random.default_rng(0).poisson(0.3, 400).astype(float)
    predictor = TSDiffPredictor.from_pretrained("default").adapted("D", 14)
    (made,) = predictor.predict([{"start": pd.Period("2024-01-01", "D"), "target": sold}], 100)
    assert set(np.unique(made.samples)) <= set(np.unique(sold))
    assert (made.samples == 0).mean() == pytest.approx((sold[-200:] == 0).mean(), abs=0.02)
    assert made.samples.mean() == pytest.approx(sold[-200:].mean(), rel=0.05)
    (plain,) = predictor.with_sampling(counts=False).predict([{"start": pd.Period("2024-01-01", "D"), "target": sold}])
    assert not set(np.unique(plain.samples)) <= set(np.unique(sold))


def test_it_has_to_be_told_what_to_forecast(default: TSDiffPredictor) -> None:
    entry = {"start": pd.Period("2024-01-01", freq="h"), "target": np.arange(50.0)}
    with pytest.raises(ConfigError, match="adapted"):
        list(default.predict([entry]))
    with pytest.raises(ConfigError, match="adapted"):
        default.model.sample(1)
    with pytest.raises(ConfigError, match="reaches"):
        default.model.adapted("h", 500)
    with pytest.raises(ConfigError, match="of 'h'"):
        default.adapted("h", 24).adapted("D", 24)
    assert default.model.adapted("D", 7).sample(2, steps=2).shape == (2, CONFIG.length, 1)


def test_an_adapted_model_is_saved_and_comes_back(default: TSDiffPredictor, tmp_path: Path) -> None:
    predictor = default.adapted("D", 7)
    predictor.serialize(tmp_path)
    back = TSDiffPredictor.deserialize(tmp_path)
    assert (back.freq, back.prediction_length, back.sampling) == ("D", 7, predictor.sampling)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", freq="D"), "target": np.sin(np.arange(60.0))}
    (one,), (two,) = predictor.predict([entry], 5), back.predict([entry], 5)
    np.testing.assert_allclose(one.samples, two.samples, rtol=1e-5)


def daily_entries(count: int, length: int) -> list[Entry]:
    series = generate("D", count, length, np.random.default_rng(1), {"product": 1.0})
    return [{"item_id": str(i), "start": series.periods[0], "target": row} for i, row in enumerate(series.values)]


def test_fine_tuning_keeps_what_forecasts_the_held_back_windows_best(default: TSDiffPredictor) -> None:
    predictor = default.adapted("D", 7)
    before = {name: value.clone() for name, value in predictor.model.state_dict().items()}
    made = fine_tune(predictor, daily_entries(4, 120), FineTuning(steps=6, held_back=8, checks=3))
    came, *rest = made.trials
    weighed = [trial for trial in rest if trial.change in (WEIGHED, HALF_WEIGHED)]
    trained, others = rest[len(weighed) : len(weighed) + 3], rest[len(weighed) + 3 :]
    assert (came.steps, came.change) == (0, "as it was")
    assert [(trial.steps, trial.change) for trial in weighed] == [(0, WEIGHED), (0, HALF_WEIGHED)][: len(weighed)]
    assert [(trial.steps, trial.change) for trial in trained] == [(n, "as it was") for n in (2, 4, 6)]
    anew = made.predictor.model.weighing is not None
    assert (weighed[-1].change in made.change) == anew
    first, best = weighed[-1] if anew else came, min(trained, key=lambda trial: trial.crps)
    assert first.crps < came.crps or not anew or first.change == HALF_WEIGHED
    scores = {trial.change: trial.crps for trial in others}
    assert list(scores) == ["half-way"]  # guidance there is none
    half = scores["half-way"] <= 1.02 * best.crps
    assert made.steps in (0, best.steps)
    if made.steps:
        assert (scores["half-way"] if half else best.crps) < first.crps
    assert ("half-way" in made.change) == (half and made.steps > 0)
    for name, value in predictor.model.state_dict().items():
        torch.testing.assert_close(value, before[name])
    taken, first_weights = made.predictor.model.denoiser.state_dict(), predictor.model.denoiser.state_dict()
    changed = any(not torch.equal(taken[name], value) for name, value in first_weights.items())
    assert changed == (made.steps > 0)


@pytest.mark.slow
def test_fine_tuning_that_harms_is_undone(default: TSDiffPredictor) -> None:
    predictor = default.adapted("D", 7)
    made = fine_tune(predictor, daily_entries(4, 120), FineTuning(steps=4, learning_rate=0.1, held_back=8, checks=2))
    assert made.steps == 0
    weights = made.predictor.model.denoiser.state_dict()
    for name, value in predictor.model.denoiser.state_dict().items():
        torch.testing.assert_close(value, weights[name])


@pytest.mark.slow
def test_fine_tuning_of_series_too_short_to_hold_back(default: TSDiffPredictor) -> None:
    predictor = default.adapted("D", 7)
    made = fine_tune(predictor, daily_entries(3, 25), FineTuning(steps=5))
    assert (made.steps, made.change, made.trials) == (5, "as it was", ())
    changed = made.predictor.model.denoiser.state_dict()
    assert any(not torch.equal(changed[n], w) for n, w in predictor.model.denoiser.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        *({"steps": 0}, {"cpu_minutes": 0.0}, {"held_back": -1}, {"checks": 0}),
        *({"cpu_minutes": float("inf")}, {"learning_rate": -1e-3}, {"batch_size": 0}),
    ],
)
def test_fine_tuning_that_cannot_be_is_named(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        FineTuning(**change)  # type: ignore[arg-type]


@pytest.mark.slow
def test_no_train_forecasts_the_embedded_data_from_the_command(tmp_path: Path) -> None:
    forecast.main(Forecast(no_train=True, windows=2, samples=10, output=tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["seconds"]["train"] == 0
    assert metrics["model"]["crps"] < metrics["seasonal_naive"]["crps"]
    with pytest.raises(ConfigError, match="--retrain"):
        forecast.main(Forecast(no_train=True, retrain=True, output=tmp_path))


def test_gaps_of_other_series_change_nothing():
    rng = np.random.default_rng(0)
    whole, gapped = (
        {"start": pd.Period("2024-01-01", "h"), "target": 10 + rng.normal(size=400).cumsum(), "item_id": name}
        for name in "ab"
    )
    gapped["target"][-100:-90] = np.nan
    other = {**whole, "target": np.where(np.arange(400) % 40 == 3, np.nan, whole["target"])}
    predictor = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    for first, second in ((whole, gapped), (gapped, other)):
        alone = [next(iter(predictor.predict([one], 5))).samples for one in (first, second)]
        together = [made.samples for made in predictor.predict([first, second], 5)]
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)
    filled = [next(iter(predictor.impute([one], 5))).paths for one in (gapped, other)]
    both = [made.paths for made in predictor.impute([gapped, other], 5)]
    np.testing.assert_allclose(both, filled, rtol=0, atol=1e-4)
