"""Running totals: found, forecast by what they grow by, and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.errors import DataError
from tsdiff import TSDiffPredictor
from tsdiff.commands import forecast, impute
from tsdiff.commands.options import Forecast, Impute
from tsdiff.tasks.suited import SUITED
from tsdiff.tasks.totals import growth_of

START = pd.Period("2024-01-01", "D")
STEPS = np.arange(140)
SOLD = np.random.default_rng(0).poisson(np.array([30, 30, 30, 30, 30, 12, 0])[STEPS % 7]).astype(float)
TOTAL = 5000 + np.cumsum(SOLD)


@pytest.fixture(scope="module")
def daily() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("D", 14)


def entry(values: np.ndarray, start: pd.Period = START) -> dict[str, object]:
    return {"start": start, "target": values, "item_id": "a"}


def test_totals_are_found_also_among_gaps():
    np.testing.assert_array_equal(growth_of(TOTAL, 7), SOLD[1:])
    power = 1e5 + np.cumsum(np.random.default_rng(1).gamma(3, 2.0, 200))
    np.testing.assert_allclose(growth_of(power, 24), np.diff(power))
    weekdays = np.cumsum((STEPS % 7 < 5) * (1 + 0.1 * np.random.default_rng(3).random(140)))
    assert growth_of(weekdays, 1) is None  # days that are alike
    assert growth_of(weekdays, 7) is not None
    late = np.r_[np.full(70, TOTAL[0]), TOTAL]
    assert growth_of(late, 7) is not None
    assert growth_of(late[:95], 7) is None  # too few since it began
    gapped = TOTAL.copy()
    gapped[[30, 31, 90]] = np.nan
    growth = growth_of(gapped, 7)
    assert growth is not None
    assert np.flatnonzero(np.isnan(growth)).tolist() == [29, 30, 31, 89, 90]


RNG = np.random.default_rng(2)
OTHERS = {
    "a line with noise": 100 + 5.0 * STEPS + RNG.uniform(-2, 2, 140),
    "a line": 100 + 5.0 * STEPS,
    "a line, as computers add": 3 + 0.1 * STEPS,
    "growth by a share": 100 * 1.02**STEPS,
    "a curve that bends": 100 / (1 + np.exp(-(STEPS - 70) / 20)),
    "one that fell": np.r_[TOTAL[:100], TOTAL[100:] - 200],
    "jumps": np.cumsum(RNG.random(140) < 0.1).astype(float),
    "constant": np.full(140, 5.0),
    "not known of late": np.r_[TOTAL, np.nan],
    "too few": TOTAL[:20],
    "one value": TOTAL[:1],
    "none": TOTAL[:0],
    "missing": np.full(140, np.nan),
}


LONG = np.random.default_rng(5).poisson(30, 900).astype(float)


def restarted(*places: int) -> np.ndarray:
    """A total of LONG that starts again from what came at these steps."""
    total = np.cumsum(LONG)
    for place in places:
        total[place:] -= total[place] - LONG[place]
    return total


@pytest.mark.parametrize("places", [(400,), (131, 601), (100, 300, 800)])
def test_totals_that_start_again_from_0_are_found(places):
    growth = growth_of(restarted(*places), 7)
    assert growth is not None
    assert np.flatnonzero(np.isnan(growth)).tolist() == [place - 1 for place in places]
    np.testing.assert_array_equal(np.delete(growth, np.array(places) - 1), np.delete(LONG[1:], np.array(places) - 1))


@pytest.mark.parametrize(
    "values",
    [
        restarted(100, 400, 700),  # as each month
        restarted(141, 421),  # on the same day of the week
        restarted(*range(50, 900, 61), 60),  # often
        restarted(400) + 1000.0,  # not from 0
        restarted(400) - 20000.0,
        np.where(np.arange(900) == 400, 0.0, np.cumsum(LONG)),  # one value that is wrong
    ],
)
def test_what_falls_otherwise_is_no_total(values):
    assert growth_of(values, 7) is None


def test_counters_that_start_again_may_grow_by_a_day_that_is_not_known_yet():
    """Without four seasons, growth goes with the one before; forecasts began hours of growth below the last value."""
    minutes = np.arange(2000)
    grown = np.random.default_rng(0).poisson(300 * (1 + 0.6 * np.sin(2 * np.pi * minutes / 1440))).astype(float)
    total = np.cumsum(grown)
    assert growth_of(total, 1440) is None  # nor is a curve that bends
    total[1300:] -= total[1300] - grown[1300]
    assert growth_of(total, 1440) is not None
    hidden = np.where((minutes > 1200) & (minutes < 1320), np.nan, total)
    assert growth_of(hidden, 1440) is not None
    assert growth_of(hidden + 100000.0, 1440) is None  # not from 0
    forecaster = TSDiffPredictor.from_pretrained("default").adapted("min", 30)
    (made,) = forecaster.predict([{"start": pd.Period("2024-01-01 00:00", "min"), "target": total[:-30]}], 50)
    assert made.samples.min() >= total[-31]
    np.testing.assert_allclose(np.median(made.samples, axis=0), total[-30:], rtol=0.01)


@pytest.mark.parametrize("kind", OTHERS)
def test_others_are_not(kind):
    assert growth_of(OTHERS[kind], 7) is None


def test_a_total_is_forecast_by_what_it_grows_by(daily):
    (made,) = daily.predict([entry(TOTAL)], num_samples=100)
    (grown,) = daily.predict([entry(SOLD[1:], START + 1)], num_samples=100)
    np.testing.assert_allclose(made.samples, TOTAL[-1] + np.cumsum(grown.samples, axis=1))
    assert made.start_date == grown.start_date == START + 140
    assert made.info[SUITED].total
    assert not grown.info[SUITED].total
    assert (np.diff(np.c_[np.full(100, TOTAL[-1]), made.samples], axis=1) >= 0).all()
    assert (made.samples == np.rint(made.samples)).all()
    medians = np.diff(np.median(made.samples, axis=0))
    assert medians[(STEPS[:13] + 141) % 7 == 6].max() < 3 < 20 < medians[(STEPS[:13] + 141) % 7 < 5].min()


def test_it_may_be_refused_and_covariates_leave_a_series_as_it_is(daily):
    (plain,) = daily.with_sampling(counts=False).predict([entry(TOTAL)], num_samples=50)
    assert (np.diff(plain.samples, axis=1) < 0).any()
    told = {**entry(TOTAL), "feat_dynamic_real": RNG.normal(size=(1, 154))}
    (made,) = daily.with_sampling(covariates=True).predict([told], num_samples=50)
    assert not made.info[SUITED].total


def test_gaps_of_a_total_hold_what_it_grew_by_between_their_sides(daily):
    values = TOTAL.copy()
    values[:3] = np.nan
    values[60:72] = np.nan
    values[100] = np.nan
    (made,) = daily.impute([entry(values)], 200)
    np.testing.assert_array_equal(np.isnan(made.target), np.isnan(values))
    assert made.start == START
    paths = made.paths
    assert (np.diff(paths, axis=1) >= 0).all()
    assert (paths == np.rint(paths)).all()
    truth, middle = TOTAL[60:72], np.median(paths[:, 60:72], axis=0)
    assert np.abs(middle - truth).max() < 25
    assert (np.quantile(paths[:, 60:72], 0.05, axis=0) <= truth + 5).all()
    assert (np.quantile(paths[:, 60:72], 0.95, axis=0) >= truth - 5).all()
    shut = np.flatnonzero((STEPS % 7 == 6) & (STEPS >= 60) & (STEPS < 72))
    assert np.diff(np.median(paths, axis=0))[shut - 1].max() < 4
    assert np.abs(np.median(paths[:, 0]) - TOTAL[0]) < 40
    assert set(np.unique(paths[:, 100])) <= set(range(int(TOTAL[99]), int(TOTAL[101]) + 1))
    (plain,) = daily.with_sampling(counts=False).impute([entry(values)], 50)
    assert (np.diff(plain.paths, axis=1) < 0).any()


def test_a_counter_that_starts_again_is_forecast_and_filled_by_what_it_grows_by(daily):
    """Its gaps were filled as those of a level; after one in which it fell all was what the later side is."""
    (ahead,) = daily.predict([entry(restarted(300, 700)[:886])], 50)
    assert ahead.info[SUITED].total
    np.testing.assert_allclose(np.median(ahead.samples, axis=0), restarted(300, 700)[886:], rtol=0.03)
    for place, known in ((700, 30), (512, 9)):  # before the gap, and in it
        truth = restarted(place)
        gap = slice(500, 530)
        values = truth.copy()
        values[gap] = np.nan
        (made,) = daily.impute([entry(values)], 50)
        off = np.abs(np.median(made.paths[:, gap], axis=0) - truth[gap])
        assert off[:known].max() < 150
        assert np.sort(off)[-4] < 150  # it may start again a few steps sooner or later


def test_a_total_that_began_before_it_is_known_was_not_below_0(daily):
    values = TOTAL - TOTAL[3]
    values[:3] = np.nan
    (made,) = daily.impute([entry(values)], 50)
    assert (made.paths[:, :4] == 0).all()


def test_series_without_gaps_and_those_that_end_unknown_are_filled_as_they_are(daily):
    whole, ending = daily.impute([entry(TOTAL), entry(np.r_[TOTAL, np.nan])], 20)
    np.testing.assert_array_equal(whole.target, TOTAL)
    assert whole.samples.shape == (20, 0)
    assert ending.samples.shape == (20, 1)


@pytest.mark.parametrize("bounds", [{"maximum": TOTAL[-1] + 50}, {"minimum": TOTAL[-1] + 20}])
def test_bounds_are_of_the_total(daily, bounds):
    (made,) = daily.with_sampling(**bounds).predict([entry(TOTAL)], num_samples=50)
    assert made.samples.min() >= bounds.get("minimum", -np.inf)
    assert made.samples.max() <= bounds.get("maximum", TOTAL[-1] + 1000)
    (filled,) = daily.with_sampling(**bounds).impute([entry(np.where(STEPS == 60, np.nan, TOTAL))], 20)
    assert filled.samples.min() >= bounds.get("minimum", -np.inf)
    (grown,) = daily.with_sampling(minimum=0).predict([entry(TOTAL)], num_samples=20)
    assert grown.info[SUITED].total


@pytest.mark.parametrize("start", [None, pd.Timestamp("2024-01-01")])
def test_a_total_without_a_period_is_answered_as_other_series(daily, start):
    given = {"target": TOTAL, "item_id": "a", **({} if start is None else {"start": start})}
    with pytest.raises(DataError, match="start"):
        list(daily.predict([given], num_samples=5))


def test_series_keep_their_order_and_what_each_gets_alone(daily):
    other = entry(50 + RNG.normal(size=140))
    together = list(daily.predict([other, entry(TOTAL), other], num_samples=20))
    for one, given in zip(together, [other, entry(TOTAL), other], strict=True):
        (alone,) = daily.predict([given], num_samples=20)
        np.testing.assert_allclose(one.samples, alone.samples, rtol=1e-6)
    assert [one.info[SUITED].total for one in together] == [False, True, False]


def test_frames_and_the_command_tell_it(daily, tmp_path: Path, capsys):
    times = pd.date_range("2024-01-01", periods=140)
    table = pd.DataFrame({"item_id": "meter", "timestamp": times, "target": TOTAL})
    made = daily.predict_df(table, num_samples=20)
    assert made.attrs["totals"] == 1
    assert made["timestamp"].iloc[0] == times[-1] + pd.Timedelta(days=1)
    assert (made["0.1"] >= TOTAL[-1]).all()
    table.to_csv(tmp_path / "data.csv", index=False)
    options = {"data": tmp_path / "data.csv", "model": "default", "prediction_length": 14, "samples": 20, "windows": 0}
    forecast.main(Forecast(**options, output=tmp_path / "out"))  # type: ignore[arg-type]
    assert "1 taken for running totals, by what they grow by" in capsys.readouterr().out.replace("\n", " ")
    table.drop(index=range(60, 70)).to_csv(tmp_path / "data.csv", index=False)
    impute.main(Impute(**options, output=tmp_path / "filled"))  # type: ignore[arg-type]
    assert "1 taken for running totals, by what they grow by" in capsys.readouterr().out.replace("\n", " ")
    filled = pd.read_csv(tmp_path / "filled" / "imputed.csv")
    assert filled["0.05"].min() >= TOTAL[59]
    assert filled["0.95"].max() <= TOTAL[70]
