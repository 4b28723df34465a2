"""What a person would try first on the bundled forecaster: lines, cycles, an outlier, a level shift, a constant,
zeros."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.cycles import HORIZON, NOISE, cycles, entries
from benchmarks.far import working_days
from benchmarks.trend_seasons import samples_of, score_peak
from benchmarks.trends import BREAKS, LINES, SHORT, score_breaks, score_lines
from tsdiff import TSDiffPredictor

RNG = np.random.default_rng(0)
PLAIN = 50 + 5 * np.sin(2 * np.pi * np.arange(200) / 7) + RNG.normal(size=200)


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default")


def drawn(predictor: TSDiffPredictor, values: np.ndarray, freq: str = "D", horizon: int = 14) -> np.ndarray:
    """Samples (100, horizon)."""
    entry = {"start": pd.Period("2024-01-01", freq=freq), "target": values, "item_id": "a"}
    [made] = predictor.adapted(freq, horizon).predict([entry], num_samples=100)
    return made.samples


@pytest.mark.parametrize(
    ("freq", "horizon", "count"),
    [  # of each frequency the longer horizon
        *(pytest.param(*line, marks=pytest.mark.slow) for line in LINES[0::2]),
        *LINES[1::2],
    ],
)
def test_lines_go_on(default: TSDiffPredictor, freq: str, horizon: int, count: int) -> None:
    found = score_lines(default, freq, horizon, count)
    assert found.right >= 11
    assert found.ratio < 1.5


@pytest.mark.parametrize(("freq", "horizon", "count"), SHORT)
def test_short_lines_go_on(default: TSDiffPredictor, freq: str, horizon: int, count: int) -> None:
    assert score_lines(default, freq, horizon, count).right >= 9


@pytest.mark.parametrize(("freq", "horizon", "count", "since"), BREAKS)
def test_a_trend_that_began_of_late_is_seen(
    default: TSDiffPredictor, freq: str, horizon: int, count: int, since: int
) -> None:
    """It was forecast to end, worse than by the last value, within intervals that held a tenth of what came."""
    error, _, last, covered = score_breaks(default, freq, horizon, count, since)
    assert error < (1.15 if since < horizon else 0.95) * last
    assert covered > 0.55


@pytest.mark.parametrize(("freq", "season", "horizon"), [("h", 24, 24), ("D", 7, 14)])
def test_a_spike_of_late_does_not_narrow_the_intervals(
    default: TSDiffPredictor, freq: str, season: int, horizon: int
) -> None:
    rng, steps = np.random.default_rng(0), np.arange(400 + horizon)
    values = 100 + 20 * np.sin(2 * np.pi * steps / season) + 2 * rng.normal(size=(12, len(steps)))
    history, future = values[:, :400].copy(), values[:, 400:]
    history[:, -60] += 60
    low, high = np.quantile(samples_of(default, freq, horizon, history), [0.05, 0.95], axis=1)
    assert ((low <= future) & (future <= high)).mean() > 0.8


@pytest.mark.parametrize("kind", ["level", "week", "strong week", "trend", "year"])
@pytest.mark.parametrize("factor", [0, 10])
def test_a_last_value_that_is_a_mistake_changes_little(default: TSDiffPredictor, kind: str, factor: float) -> None:
    """As a day that is not over, or is missing and written as 0, or one with a decimal point in the wrong place. Where
    a season is strong, two thirds of the usual were forecast, down to 0, and the 0 came back a year later."""
    rng, steps = np.random.default_rng(0), np.arange(214)
    freq, horizon = ("M", 12) if kind == "year" else ("D", 14)
    shape = {
        "level": 100.0 + 0 * steps,
        "week": 100 + 10 * np.sin(2 * np.pi * steps / 7),
        "strong week": 100 + 40 * np.sin(2 * np.pi * steps / 7),
        "trend": 50 + 0.3 * steps,
        "year": 100 + 40 * np.sin(2 * np.pi * steps / 12),
    }
    values = (shape[kind] + rng.normal(size=(12, len(steps))))[:, -horizon - 200 :]
    usual = np.median(samples_of(default, freq, horizon, values[:, :200]), axis=1)
    history, future = values[:, :200].copy(), values[:, 200:]
    history[:, -1] *= factor
    made = samples_of(default, freq, horizon, history)
    assert np.abs(np.median(made, axis=1) - usual).max() < 3
    low, high = np.quantile(made, [0.05, 0.95], axis=1)
    assert ((low <= future) & (future <= high)).mean() > 0.8


@pytest.mark.parametrize(("freq", "horizon", "count", "rate"), [("D", 14, 60, 0.05), ("M", 12, 60, 0.03)])
def test_growth_by_the_same_share_goes_on(
    default: TSDiffPredictor, freq: str, horizon: int, count: int, rate: float
) -> None:
    rng, steps = np.random.default_rng(0), np.arange(count + horizon)
    values = 10 * np.exp(rate * steps + 0.03 * rng.normal(size=(12, len(steps))))
    history, future = values[:, :count], values[:, count:]
    medians = np.median(samples_of(default, freq, horizon, history), axis=1)
    assert np.abs(medians - future).mean() < 0.4 * np.abs(history[:, -1:] - future).mean()


def test_years_that_grow_by_chance_stay_within_the_intervals(default: TSDiffPredictor) -> None:
    """Their 90 % intervals held 82 %."""
    values = 1000 * np.exp((0.04 + 0.05 * np.random.default_rng(0).normal(size=(120, 30))).cumsum(1))
    history, future = values[:, :25], values[:, 25:]
    low, high = np.quantile(samples_of(default, "Y-DEC", 5, history), [0.05, 0.95], axis=1)
    assert 0.85 < ((low <= future) & (future <= high)).mean() < 0.95


def test_a_peak_that_comes_once_a_year_is_foreseen(default: TSDiffPredictor) -> None:
    _, error, a_year_ago, covered = score_peak(default, 28, 0)
    assert error < 1.5 * a_year_ago
    assert covered > 0.8


@pytest.mark.parametrize(("before", "weekday"), [(15, 5), pytest.param(28, 5, marks=pytest.mark.slow), (28, 0)])
def test_a_weekend_is_known_in_steps_of_five_minutes(default: TSDiffPredictor, before: int, weekday: int) -> None:
    """Its week has 2,016 of them; what a day ago says is wrong by 60."""
    known, future = working_days("5min", before, weekday, 288, seed=0)
    low, middle, high = np.quantile(drawn(default, known, "5min", 288), [0.05, 0.5, 0.95], axis=0)
    assert np.abs(middle - future).mean() < 20
    assert ((low <= future) & (future <= high)).mean() > 0.8


@pytest.mark.parametrize(("freq", "count"), [("h", 200), ("D", 400), ("M", 200)])
def test_cycles_of_any_period_go_on(default: TSDiffPredictor, freq: str, count: int) -> None:
    """Not those of the calendar: in the median of shapes and periods up to half more off than the cycle itself."""
    made = [one for one in cycles(count, 0) if one.period < count / 5]
    forecasts = default.adapted(freq, HORIZON).predict(entries(made, freq), num_samples=100)
    off = [
        np.abs(np.median(one.samples, axis=0) - given.future).mean() for one, given in zip(forecasts, made, strict=True)
    ]
    assert np.median(off) < 1.5 * NOISE * np.sqrt(2 / np.pi)


@pytest.mark.parametrize("period", [9.5, 30.0, 61.0])
def test_a_sine_without_noise_goes_on(default: TSDiffPredictor, period: float) -> None:
    values = 10 + np.sin(2 * np.pi * np.arange(314) / period)
    made = drawn(default, values[:300])
    np.testing.assert_allclose(np.median(made, axis=0), values[300:], atol=0.1)


@pytest.mark.parametrize("level", [0.0, 42.0, -3.5e7])
def test_a_constant_stays_one(default: TSDiffPredictor, level: float) -> None:
    assert (drawn(default, np.full(100, level)) == level).all()


def test_noise_on_a_high_level_keeps_its_width(default: TSDiffPredictor) -> None:
    low, high = np.quantile(drawn(default, 1e8 + 10 * RNG.normal(size=300)), [0.05, 0.95], axis=0)
    assert (high - low).mean() == pytest.approx(33, rel=0.35)


def test_one_outlier_does_not_set_the_level(default: TSDiffPredictor) -> None:
    values = PLAIN.copy()
    values[-1] *= 10
    assert np.abs(np.median(drawn(default, values), axis=0) - 50).max() < 12


def test_a_level_that_shifted_is_not_forgotten(default: TSDiffPredictor) -> None:
    values = PLAIN.copy()
    values[-20:] += 50
    assert np.abs(np.median(drawn(default, values), axis=0) - 100).mean() < 8


def test_growth_bends_up_and_decline_down_to_a_floor(default: TSDiffPredictor) -> None:
    steps = np.arange(200)
    growing = np.median(drawn(default, 100 * np.exp(0.01 * steps)), axis=0)
    falling = np.median(drawn(default, 300 * np.exp(-0.01 * steps)), axis=0)
    assert np.polyfit(np.arange(14), growing, 1)[0] > 0
    assert np.polyfit(np.arange(14), falling, 1)[0] < 0
    assert growing[-1] > 740
    assert falling.min() > 0


def test_rare_counts_have_their_share_of_zeros(default: TSDiffPredictor) -> None:
    counts = np.random.default_rng(1).poisson(0.3, 300).astype(float)
    frame = pd.DataFrame({"item_id": "a", "timestamp": pd.date_range("2024-01-01", periods=300), "target": counts})
    made = default.predict_df(frame, prediction_length=14)
    assert (made["0.5"] == 0).mean() > 0.8
    assert made["0.9"].between(0, 2).all()
    assert 0.1 < made["mean"].mean() < 0.6


@settings(max_examples=10, deadline=None)
@given(unit=st.sampled_from([1e-20, 1e-6, 1e6]), seed=st.integers(0, 1000))
def test_the_unit_does_not_matter(default: TSDiffPredictor, unit: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=60).cumsum()
    one, other = drawn(default, values), drawn(default, unit * values)
    np.testing.assert_allclose(other / unit, one, atol=0.02 * (np.ptp(values) + 1))
