"""Series that stay where they are but for jumps: found, drawn, filled and told."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln

from tsdiff import TSDiffPredictor
from tsdiff.commands import forecast, impute
from tsdiff.commands.options import Forecast, Impute
from tsdiff.sampling.jumps import Jumps, filled, stays_throughout
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.suited import SUITED, suited

START = pd.Period("2024-01-01", "D")
PRICE = np.repeat([9.99, 10.49, 10.99, 11.49], [30, 20, 25, 15])
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def daily() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("D", 14)


def entry(values: np.ndarray, name: str = "a") -> dict[str, object]:
    return {"start": START, "target": values, "item_id": name}


def jumps_of(values: np.ndarray, seasons: tuple[int, ...] = (7, 365)) -> Jumps:
    found = Jumps.of(values, seasons)
    assert found is not None
    return found


def test_what_is_told_of_a_price():
    values = PRICE.copy()
    values[[3, 40, 88, 89]] = np.nan
    found = jumps_of(values)
    assert (found.last, found.age, found.since, found.steps) == (11.49, 13, 2, 87)
    assert found.stays.tolist() == [20, 25]
    assert found.sizes == pytest.approx([0.5] * 3)
    assert (found.relative, found.decimals) == (False, 2)
    rising = np.repeat(100 * 1.1 ** np.arange(4), 20)
    assert jumps_of(rising).relative
    assert jumps_of(rising).sizes == pytest.approx(np.log([1.1] * 3))


OTHERS = {
    "constant": np.full(60, 5.0),
    "noise": RNG.normal(size=60),
    "coarse readings": np.round(np.cumsum(0.3 * RNG.normal(size=200))),
    "a switch": np.repeat(np.tile([0.0, 1.0], 10), 9),
    "offers": np.repeat(np.tile([9.99, 7.99], 5), np.tile([20, 6], 5)),
    "day and night": np.tile(np.repeat([0.2, 0.3, 0.25], [8, 8, 8]), 8),
    "days of a week, each hour": np.repeat(np.tile(20.0 + np.arange(7), 8) + RNG.normal(size=56), 24),
    "sales now and then": (RNG.random(200) < 0.1) * RNG.poisson(5, 200).astype(float),
    "too few": np.repeat([5.0, 6.0], [6, 5]),
    "many": np.repeat(RNG.normal(size=40), 4),
    "since it moves": np.r_[np.full(60, 5.0), RNG.normal(5, 1, 8)],
    "noise, and then it stays": np.r_[RNG.normal(size=20), np.full(180, 5.0)],
    "a slope in coarse units": 50 + np.round(0.13 * np.arange(200) + 0.5 * np.sin(np.arange(200) / 9)),
    "a wave in coarse units": np.round(15 * np.sin(2 * np.pi * np.arange(365) / 365)) + 300,
    "a cycle of plateaus": np.tile(np.repeat(100.0 - 10 * np.arange(9), 7), 4),
    "minutes of days": np.round(8 * np.sin(2 * np.pi * np.arange(2880) / 1440)),
    "of late all the time": np.r_[np.repeat(10.0 + np.arange(8), 10), 18.3, 19.1, 18.7, 20.2, 19.4],
    "a last mistake": np.r_[np.full(60, 9.99), 99.9],
    "a last zero": np.r_[PRICE, 0.0],
    "missing": np.full(60, np.nan),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_others_do_not(kind):
    seasons = {"day": (24, 168), "min": (1440, 10080)}.get(kind[:3], (7, 365))
    assert Jumps.of(OTHERS[kind], seasons) is None


def test_a_jump_as_large_as_one_before_or_that_lasts_is_no_mistake():
    once = np.r_[np.full(40, 10.0), np.full(20, 30.0)]
    assert jumps_of(np.r_[once, 70.0]).last == 70
    assert jumps_of(once).last == 30


def test_a_single_wrong_value_between_is_no_jump():
    values = PRICE.copy()
    values[10] = 99.9
    assert jumps_of(values).sizes.tolist() == jumps_of(PRICE).sizes.tolist()
    steps = np.repeat(10.0 + np.arange(12), 12)
    wrong = steps.copy()
    wrong[30] = 1200
    assert jumps_of(wrong).sizes.tolist() == jumps_of(steps).sizes.tolist()


@pytest.mark.parametrize("horizon", [1, 14, 60])
def test_draws_stay_as_often_as_a_chance_that_is_not_known_says(horizon):
    """The mean of (1 − p)^h over the posterior of p, with Jeffreys' prior: a ratio of beta functions."""
    values = np.repeat([5.0, 6.0, 8.0, 7.5, 9.0], [40, 10, 31, 77, 20])
    found = jumps_of(values)
    paths = found.paths(20_000, horizon, np.random.default_rng(1))
    jumps, without = 4.5, found.steps - 4 + 0.5
    expected = np.exp(betaln(jumps, without + horizon) - betaln(jumps, without))
    share = (paths == values[-1]).all(1).mean()
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(paths))


@pytest.mark.parametrize("values", [10.0 ** np.arange(2, 10), 0.5 ** np.arange(8)])
def test_relative_jumps_lead_to_ten_times_what_was_seen_at_most(values):
    found = jumps_of(np.repeat(values, 12 + np.arange(len(values)) % 3))
    assert found.relative
    with np.errstate(all="raise"):
        paths = found.paths(50, 6000, np.random.default_rng(0))
    assert values.min() / 10.001 < paths.min() < paths.max() < 10.001 * values.max()


def test_what_is_known_for_longer_steps_alone_moves_when_these_begin():
    days = 20 + np.cumsum(np.random.default_rng(5).normal(size=30))
    paths = jumps_of(np.repeat(days, 24), (24, 168)).paths(200, 48, np.random.default_rng(0))
    moved = np.diff(paths, axis=1) != 0
    assert np.flatnonzero(moved.mean(0) > 0.5).tolist() == [23]
    assert (paths[:, 0] != days[-1]).mean() > 0.9


@pytest.mark.parametrize("age", [1, 5, 11])
def test_yearly_prices_change_when_it_is_time(age):
    values = np.repeat(10.0 * 1.04 ** np.arange(11), 12)[: 120 + age].round(2)
    paths = jumps_of(values, (12,)).paths(4000, 26, np.random.default_rng(0))
    moved = np.diff(np.hstack([np.full((4000, 1), values[-1]), paths]), axis=1) != 0
    due = np.flatnonzero(moved.mean(0) > 0.5)
    assert due.tolist() == [step for step in (12 - age, 24 - age, 36 - age) if step < 26]
    assert moved[:, due].mean() > 0.9
    assert np.delete(moved, due, axis=1).mean() < 0.03
    assert (np.diff(paths, axis=1) >= 0).mean() > 0.99


def test_where_it_comes_to_is_one_of_its_levels_if_that_does_not_depend_on_where_it_was():
    levels = np.random.default_rng(3).normal(100, 5, 42).round(1)
    found = jumps_of(np.repeat(levels, 7))
    paths = found.paths(4000, 140, np.random.default_rng(0))
    assert np.isin(paths, levels).all()
    assert abs(paths[:, 70:].std() / levels.std() - 1) < 0.05
    assert jumps_of(np.repeat(np.cumsum(levels - 100), 7)).levels is None
    ahead = jumps_of(np.r_[np.repeat(levels, 7), np.full(5, np.nan)]).paths(4000, 135, np.random.default_rng(0))
    np.testing.assert_array_equal(ahead, paths[:, 5:])


def test_how_often_it_jumps_lately_tells():
    """Twenty jumps in the first hundred steps, two since."""
    early = np.repeat(20.0 + np.cumsum(np.random.default_rng(1).normal(size=13)), 8)
    paths = jumps_of(np.r_[early, np.full(60, 30.0), np.full(44, 31.0)]).paths(2000, 10, np.random.default_rng(0))
    assert 0.75 < (paths == 31).all(1).mean() < 0.95


def test_a_meter_only_rises_by_what_it_has_and_rates_turn_now_and_then():
    rng = np.random.default_rng(2)
    meter = 100 + np.cumsum(rng.random(400) < 0.1).astype(float)
    paths = jumps_of(meter).paths(500, 60, rng)
    assert set(np.unique(np.diff(paths, axis=1))) <= {-1.0, 0.0, 1.0}
    assert (np.diff(paths, axis=1) < 0).any(1).mean() < 0.1
    rates = np.repeat([1.0, 1.25, 1.5, 1.75, 2.0, 1.75, 1.5, 1.25], 20)
    ends = jumps_of(rates, (12,)).paths(4000, 60, rng)[:, -1]
    assert (ends < 1.25).mean() > 2 * (ends > 1.25).mean() > 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(7, 30), min_size=2, max_size=9), st.integers(1, 40), st.integers(0, 5), st.integers(0, 99))
def test_draws_are_of_the_series_and_missing_ends_only_wait(stays, horizon, missing, seed):
    levels = 10 + 0.25 * np.cumsum(np.random.default_rng(seed).integers(1, 4, len(stays)))
    values = np.repeat(levels, stays)
    found = jumps_of(values)
    paths = found.paths(50, missing + horizon, np.random.default_rng(seed))
    later = jumps_of(np.r_[values, np.full(missing, np.nan)]).paths(50, horizon, np.random.default_rng(seed))
    np.testing.assert_array_equal(paths[:, missing:], later)
    assert (np.round(paths, 2) == paths).all()
    first = np.diff(np.hstack([np.full((50, 1), values[-1]), paths]), axis=1)
    assert (np.abs(first) <= np.abs(np.diff(levels)).max() * 4).all()


def test_a_gap_holds_one_jump_at_any_time():
    values = PRICE.copy()
    values[5:9] = np.nan
    values[46:54] = np.nan
    drawn = filled(values, (7,), 20_000, np.random.default_rng(0))
    assert (drawn[:, :4] == 9.99).all()
    later = drawn[:, 4:]
    assert (np.diff(later, axis=1) >= 0).all()
    assert set(np.unique(later)) == {10.49, 10.99}
    share = (later == 10.99).mean(0)  # (1, 2, … 8) of nine times
    assert np.abs(share - np.arange(1, 9) / 9).max() < 4 * np.sqrt(0.25 / 20_000)


def test_a_gap_of_many_stays_holds_as_many_jumps():
    meter = 100 + np.cumsum(np.random.default_rng(2).random(400) < 0.1).astype(float)
    gapped = meter.copy()
    gapped[100:200] = np.nan
    drawn = filled(gapped, (7,), 2000, np.random.default_rng(0))
    assert (np.round(drawn) == drawn).all()
    assert (np.diff(drawn, axis=1) >= 0).all()
    line = np.linspace(meter[99], meter[200], 102)[1:-1]
    assert np.abs(drawn.mean(0) - line).max() < 0.5


def test_gaps_in_a_part_that_does_not_stay_are_filled_as_others(daily):
    """The last 2000 values stay; the gap is in noise before them."""
    values = np.r_[100 + 10 * np.random.default_rng(0).normal(size=300), np.repeat([100.0, 103.0, 104.5, 102.0], 550)]
    assert Jumps.of(values, (7, 365)) is not None
    values[140:160] = np.nan
    (made,) = daily.impute([entry(values)], num_samples=50)
    assert len(np.unique(made.samples)) > 500


def test_gaps_at_the_ends_are_drawn_as_futures():
    values = PRICE.copy()
    values[:10] = np.nan
    values[-5:] = np.nan
    drawn = filled(values, (7,), 400, np.random.default_rng(0))
    assert (drawn[:, 9] == 9.99).mean() > 0.9
    assert 0.5 < (drawn[:, 0] == 9.99).mean() < (drawn[:, 9] == 9.99).mean()
    assert (drawn[:, 10] == 11.49).mean() > 0.9


@pytest.mark.parametrize("days", [1, 2, 5, 9])
@pytest.mark.parametrize("new", [12.99, 8.49])
def test_a_price_that_has_just_changed_goes_on(daily, days, new):
    values = np.r_[np.full(60, 9.99), np.full(days, new)]
    (made,) = daily.predict([entry(values)], num_samples=200)
    assert (np.median(made.samples, 0) == new).all()
    assert (np.quantile(made.samples[:, :2], [0.1, 0.9], axis=0) == new).all()
    assert np.ptp(made.samples[:, -1]) > 1
    assert made.info[SUITED].jumps == 1


def test_a_series_with_a_last_mistake_stays_where_it_was(daily):
    (made,) = daily.predict([entry(np.r_[np.full(60, 9.99), 99.9])], num_samples=100)
    assert np.abs(np.median(made.samples, 0) - 9.99).max() < 0.5
    assert made.info[SUITED].jumps == 0


def test_draws_depend_on_the_series_and_the_seed_alone(daily):
    plain, other = (list(daily.predict([entry(PRICE, n) for n in names], num_samples=50)) for names in ("ab", "b"))
    np.testing.assert_array_equal(plain[1].samples, other[0].samples)
    assert (plain[0].samples != plain[1].samples).any()
    (seeded,) = daily.with_sampling(seed=1).predict([entry(PRICE, "b")], num_samples=50)
    assert (seeded.samples != other[0].samples).any()
    (refused,) = daily.with_sampling(counts=False).predict([entry(PRICE)], num_samples=50)
    assert len(np.unique(refused.samples)) > 400


def test_a_model_that_is_told_more_draws_by_itself(daily):
    plain = daily.with_sampling(counts=False)
    given = (plain.predict, [entry(PRICE)], 50, Sampling(counts=True), "D", 14, False)
    (alone,) = suited(*given, told=True)
    (stays,) = suited(*given)
    assert len(np.unique(alone.samples)) > 400 > 50 > len(np.unique(stays.samples))


def test_a_dial_of_few_positions_comes_to_those_it_has():
    rng = np.random.default_rng(4)
    dial = np.array([12.5, 14.0, 17.5, 21.0, 22.5, 30.0])
    values = np.repeat(dial[rng.integers(6, size=40)], rng.geometric(0.1, 40))
    paths = jumps_of(values).paths(400, 200, rng)
    assert set(np.unique(paths)) <= set(dial)
    ends = [(paths[:, -1] == one).mean() for one in dial]
    assert min(ends) > 0.05


def test_limits_that_are_given_hold(daily):
    (made,) = daily.with_sampling(maximum=11.49).predict([entry(PRICE)], num_samples=200)
    assert made.samples.max() == 11.49


def test_frames_and_commands_tell_it(daily, tmp_path: Path, capsys):
    noise = 20 + np.random.default_rng(0).normal(size=len(PRICE))
    table = pd.concat(
        pd.DataFrame({"item_id": name, "timestamp": pd.date_range("2024-01-01", periods=len(PRICE)), "target": values})
        for name, values in (("price", PRICE), ("noise", noise))
    )
    assert daily.predict_df(table, num_samples=20).attrs["jumps"] == 1
    table.drop(index=[20, 21]).to_csv(tmp_path / "data.csv", index=False)
    options = {"data": tmp_path / "data.csv", "model": "default", "prediction_length": 14, "samples": 20}
    forecast.main(Forecast(**options, output=tmp_path / "out", windows=0))  # type: ignore[arg-type]
    assert "1 taken to stay but for jumps" in capsys.readouterr().out.replace("\n", " ")
    impute.main(Impute(**options, output=tmp_path / "filled", windows=0))  # type: ignore[arg-type]
    assert "1 taken to stay but for jumps" in capsys.readouterr().out.replace("\n", " ")
    made = pd.read_csv(tmp_path / "filled" / "imputed.csv").set_index("item_id").loc["price"]
    assert (made[["0.05", "0.95"]] == 9.99).all(None)


def test_far_horizons_take_little_memory():
    """A year of hours of a value that is new each day: all times beside all steps were 7 GB."""
    days = 20 + np.cumsum(np.random.default_rng(5).normal(size=30))
    found = jumps_of(np.repeat(days, 24), (24, 168))
    tracemalloc.start()
    found.paths(100, 8760, np.random.default_rng(0))
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()


def test_long_histories_are_looked_at_in_little_memory_and_time():
    """A meter by the minute, of two years: all levels beside all others were 80 GB."""
    meter = np.cumsum(np.random.default_rng(0).random(1_000_000) < 0.1).astype(float) + 1
    assert stays_throughout(meter, (1440, 10080))
