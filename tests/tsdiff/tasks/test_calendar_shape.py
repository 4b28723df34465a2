"""The shape of months: what runs up to the month's end, or is spent from payday to payday, is found, foreseen and
filled, and nothing is found where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffPredictor
from tsdiff.sampling.zeros import Support
from tsdiff.tasks.anomaly.forecasts import ForecastScoring, forecast_scores
from tsdiff.tasks.calendar_days import calendar_days
from tsdiff.tasks.calendar_search import REMEMBERED
from tsdiff.tasks.calendar_shape import MonthShape, month_shape
from tsdiff.tasks.dates import dates_of
from tsdiff.tasks.suited import SUITED

WEEK = np.array([1.0, 0.95, 1.0, 1.1, 1.3, 1.5, 0.9])
BEGIN = "2022-01-10"
ORIGINS = {"in the middle of a month": 15, "near its end": 28, "at its first": 1}
Make = Callable[[np.random.Generator, pd.DatetimeIndex], np.ndarray]


def days(length: int, freq: str = "D", begin: str = BEGIN) -> pd.DatetimeIndex:
    return pd.date_range(begin, periods=length, freq=freq)


def sold(rng: np.random.Generator, dates: pd.DatetimeIndex, growth: float = 1.0) -> np.ndarray:
    noise = np.exp(0.3 * rng.normal(size=len(dates)))
    return 20 * WEEK[dates.dayofweek] * np.linspace(1, growth, len(dates)) * noise


def to_date(daily: np.ndarray, dates: pd.DatetimeIndex, first: int = 1) -> np.ndarray:
    """What has come since the last day of months that is the first one."""
    return pd.Series(daily).groupby((dates - pd.Timedelta(days=first - 1)).to_period("M").asi8).cumsum().to_numpy()


def corrected(rng: np.random.Generator, total: np.ndarray) -> np.ndarray:
    """A total that is known but nearly, which may fall."""
    return total * np.exp(0.03 * rng.normal(size=len(total)))


def over(dates: pd.DatetimeIndex) -> np.ndarray:
    """The share of the month that is over."""
    return (dates.day.to_numpy() - 0.5) / dates.days_in_month.to_numpy()


def wave(rng: np.random.Generator, dates: pd.DatetimeIndex) -> np.ndarray:
    """Guests, the more the nearer the month's turn is."""
    return (100 + 40 * np.cos(2 * np.pi * over(dates))) * np.exp(0.05 * rng.normal(size=len(dates)))


def gapped(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return np.where(rng.random(len(values)) < 0.04, np.nan, values)


SHAPES: dict[str, tuple[str, Make]] = {
    "a month to date": ("D", lambda rng, dates: corrected(rng, to_date(sold(rng, dates), dates))),
    "one that grows": ("D", lambda rng, dates: corrected(rng, to_date(sold(rng, dates, 2.5), dates))),
    "of working days": ("B", lambda rng, dates: corrected(rng, to_date(sold(rng, dates), dates))),
    "closed on Sundays": (
        "D",
        lambda rng, dates: corrected(rng, to_date(sold(rng, dates) * (dates.dayofweek != 6), dates)),
    ),
    "with gaps": ("D", lambda rng, dates: gapped(rng, corrected(rng, to_date(sold(rng, dates), dates)))),
    "what is left of pay": ("D", lambda rng, dates: 900 - to_date(sold(rng, dates), dates, 25)),
    "a share of the plan": ("D", lambda rng, dates: 10 + 90 * over(dates) + 2 * rng.normal(size=len(dates))),
    "a week beside": ("D", lambda rng, dates: wave(rng, dates) * WEEK[dates.dayofweek]),
    "shops that are shut": ("D", lambda rng, dates: wave(rng, dates) * WEEK[dates.dayofweek] * (dates.dayofweek != 6)),
}


def histories(name: str, months: int, ahead: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Series of so many months, and what follows, from each of `ORIGINS`."""
    freq, make = SHAPES[name]
    dates = days(31 * (months + 3) + ahead, freq)
    values = np.asarray(make(np.random.default_rng(0), dates), dtype=float)
    month = pd.Timestamp(BEGIN).to_period("M") + months
    for day in ORIGINS.values():
        end = int((dates < month.to_timestamp() + pd.Timedelta(days=day - 1)).sum())
        while np.isnan(values[end - 1]):
            end -= 1
        yield values[:end], values[end : end + ahead]


def entry_of(values: np.ndarray, freq: str = "D", **fields: Any) -> dict[str, Any]:
    return {"item_id": "a", "start": pd.Period(BEGIN, freq), "target": values, **fields}


def shape_of(values: np.ndarray, freq: str = "D", begin: str = BEGIN, ahead: int = 30) -> MonthShape | None:
    dates = dates_of(pd.Period(begin, freq), 0, len(values) + ahead)
    return month_shape(np.asarray(values, dtype=float), dates, 5 if freq == "B" else 7)


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default")


@pytest.mark.parametrize("ahead", [14, 45])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_foreseen(default: TSDiffPredictor, name: str, ahead: int) -> None:
    """They were forecast by what they were whole weeks before."""
    freq = SHAPES[name][0]
    parts = [part for months in (8, 14) for part in histories(name, months, ahead)]
    entries = [entry_of(past, freq) for past, _ in parts]
    knowing = default.adapted(freq, ahead)
    pairs = zip(knowing.predict(entries), knowing.with_sampling(calendar_days=False).predict(entries), strict=True)
    errors, inside = [], []
    for (past, true), (known, plain) in zip(parts, pairs, strict=True):
        assert known.info[SUITED].calendar_days > 0 == plain.info[SUITED].calendar_days
        seen = np.isfinite(true)
        low, middle, high = np.quantile(known.samples, [0.05, 0.5, 0.95], axis=0)
        errors.append([np.abs(one - true)[seen].mean() / np.nanmean(past) for one in (middle, plain.quantile(0.5))])
        inside.append(((low <= true) & (true <= high))[seen].mean())
        assert known.samples.min() >= 0
    shaped, without = np.mean(errors, axis=0)
    assert shaped < min(0.85 * without, 0.16)
    assert max(error for error, _ in errors) < 0.33
    assert np.mean(inside) > 0.7


def test_a_month_to_date_that_never_falls_stays_a_running_total(default: TSDiffPredictor) -> None:
    dates = days(400)
    values = to_date(sold(np.random.default_rng(0), dates), dates)
    (made,) = default.adapted("D", 45).predict([entry_of(values[:-45])])
    assert made.info[SUITED].total
    assert made.info[SUITED].calendar_days == 0
    assert np.abs(made.quantile(0.5) - values[-45:]).sum() < 0.1 * values[-45:].sum()


def test_the_value_at_a_months_end_is_its_own(default: TSDiffPredictor) -> None:
    """It was forecast as 310, its weekday's in the weeks before."""
    dates = days(400)
    values = 20.0 * dates.day.to_numpy() - 10
    end = int(np.flatnonzero(dates == "2022-11-29")[0])
    (made,) = default.adapted("D", 14).predict([entry_of(values[:end])])
    np.testing.assert_allclose(made.quantile(0.5), values[end : end + 14], rtol=0.02, atol=2)


@pytest.mark.parametrize("ratio", [False, True])
def test_a_shape_is_taken_out_and_added_again(ratio: bool) -> None:
    dates, rng = days(430), np.random.default_rng(0)
    off, noise = (1.0 if ratio else 100.0) * np.linspace(-1, 1, 31), rng.normal(size=430)
    level = 500 + 300 * np.sin(np.arange(430) / 60)
    level = level * np.exp(0.02 * noise) if ratio else level + 4 * noise
    places = dates.day.to_numpy() - 1
    values = level * np.exp(off[places]) if ratio else level + off[places]
    shape = shape_of(values[:400])
    assert shape is not None
    assert shape.ratio == ratio
    told = shape.off[shape.places]
    assert np.median(np.abs(told - told.mean() - off[places])) < 0.1 * off.max()
    usual = shape.without(values[:400])
    assert np.std(usual / level[:400]) < 0.1
    np.testing.assert_allclose(shape.added(usual[None, -30:], np.arange(370, 400))[0], values[370:400])
    later = shape.after(7)
    np.testing.assert_allclose(later.added(usual[None, -30:], np.arange(377, 407))[0], values[370:400])


@pytest.mark.parametrize("kind", ["from the begin", "from the end", "by the share that is over"])
def test_places_are_counted_as_the_months_do(kind: str) -> None:
    dates = days(500)
    left = (dates.days_in_month - dates.day).to_numpy()
    run = {"from the begin": dates.day.to_numpy() - 1, "from the end": 30 - left}
    values = 20.0 * run.get(kind, 30 * (dates.day.to_numpy() - 1) / (dates.days_in_month.to_numpy() - 1))
    noise = np.random.default_rng(0).normal(size=500)
    shape = shape_of((values + noise)[:470])
    assert shape is not None
    ahead = shape.off[shape.places[470:500]]
    np.testing.assert_allclose(ahead - ahead.mean(), values[470:] - values[470:].mean(), atol=25)


def test_eight_months_are_enough_and_fewer_tell_nothing() -> None:
    values = 20.0 * days(300).day.to_numpy()
    assert shape_of(values[:195]) is None
    assert shape_of(values[:260]) is not None


def test_only_the_last_two_years_tell() -> None:
    dates, rng = days(1600), np.random.default_rng(0)
    run, noise = 10.0 * dates.day.to_numpy(), 300 + 5 * rng.normal(size=1600)
    assert shape_of(np.r_[run[:800], noise[800:]]) is None
    assert shape_of(np.r_[noise[:800], run[800:]]) is not None


def test_a_few_wrong_values_hide_no_shape() -> None:
    values = 20.0 * days(400).day.to_numpy() + np.random.default_rng(0).normal(size=400)
    values[[60, 150, 333]] = [9000.0, -5000.0, 4000.0]
    assert shape_of(values) is not None


def cycles(rng: np.random.Generator, steps: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for length in (7.5, 10, 14.77, 15, 20, 25, 27.3, 28, 29, 29.53, 30, 31, 35, 45, 60, 61, 91.3):
        at = (steps + rng.uniform(0, length)) / length % 1
        yield f"a wave of {length} days", 100 + 50 * np.cos(2 * np.pi * at) + 4 * rng.normal(size=len(steps))
        yield f"a run of {length} days", 50 * at + 2 * rng.normal(size=len(steps))


def others(rng: np.random.Generator, dates: pd.DatetimeIndex) -> Iterator[tuple[str, np.ndarray]]:
    count, week = len(dates), WEEK[dates.dayofweek]
    turn, noise = 2 * np.pi * dates.dayofyear.to_numpy() / 365.25, rng.normal(size=count)
    yield "noise", noise
    yield "nothing", np.full(count, np.nan)
    yield "constant", np.full(count, 3.0)
    yield "a walk", np.cumsum(noise)
    yield "a growing walk", np.exp(np.cumsum(0.02 * noise))
    yield "a week", 100 * week * np.exp(0.1 * noise)
    yield "a week and a year", 100 * week * (1 + 0.3 * np.cos(turn)) * np.exp(0.1 * noise)
    yield "a summer", 100 * week * (1 + 2 * np.exp(-(((turn - 3) * 4) ** 2))) * np.exp(0.05 * noise)
    yield "a trend", np.arange(count) + noise
    yield "a bent trend", 0.01 * np.arange(count) ** 2 + noise
    yield "steps", np.repeat(rng.normal(size=count // 40 + 1), 40)[:count] + 0.05 * noise
    yield "a level each month", rng.normal(size=400)[(dates.year - 2015) * 12 + dates.month] + 0.05 * noise
    yield "rare counts", 1.0 * rng.poisson(0.3, count)
    yield "now and then", 1.0 * (rng.random(count) < 0.2) * rng.poisson(5, count)
    yield "counts of a week", 1.0 * rng.poisson(3 * week)
    yield "closed on Sundays", np.where(dates.dayofweek == 6, 0.0, rng.poisson(20 * week))
    yield "heavy tails", rng.standard_t(1.5, count)
    yield "paydays", 100 * week * np.where(dates.day == 25, 2.5, 1) * np.exp(0.06 * noise)
    yield "two paydays", 100 * week * np.where((dates.day == 15) | (dates.day >= 30), 2.5, 1) * np.exp(0.06 * noise)
    yield "three days", 100 * week * np.where(dates.day <= 3, 2.0, 1) * np.exp(0.06 * noise)
    stock = np.concatenate([np.arange(rng.integers(22, 40)) for _ in range(count // 22 + 1)])[:count]
    yield "a stock that is filled when it is low", 400 - 10.0 * stock + noise


@pytest.mark.parametrize("freq", ["D", "B"])
def test_none_is_found_where_there_is_none(freq: str) -> None:
    for seed, length in enumerate((60, 180, 260, 400, 800, 1500)):
        rng = np.random.default_rng(seed)
        begin = str(pd.Timestamp("2018-01-01") + pd.Timedelta(days=137 * seed))[:10]
        dates = days(length, freq, begin)
        steps = (dates - dates[0]).days.to_numpy()
        for name, values in (*cycles(rng, steps), *others(rng, dates)):
            assert shape_of(values, freq, begin) is None, (name, length)


def test_series_without_one_are_left_to_the_days_that_differ() -> None:
    dates, rng = days(400), np.random.default_rng(0)
    values = 100 * np.where(dates.day == 25, 2.5, 1) * np.exp(0.06 * rng.normal(size=400))
    found = calendar_days(np.asarray(values), pd.Period(BEGIN, "D"), 30)
    assert found is not None
    assert found.shape is None
    np.testing.assert_allclose(found.usual[dates.day != 25], values[dates.day != 25], rtol=1e-12)


def test_days_may_differ_beside_a_shape(default: TSDiffPredictor) -> None:
    dates, rng = days(540), np.random.default_rng(0)
    values = wave(rng, dates) * np.where(dates.day == 15, 3.0, 1.0)
    found = calendar_days(values[:500], pd.Period(BEGIN, "D"), 40)
    assert found is not None
    assert found.shape is not None
    (made,) = default.adapted("D", 40).predict([entry_of(values[:500])])
    assert np.abs(np.log(made.quantile(0.5) / values[500:])).max() < 0.3


def test_what_lies_before_it_is_looked_at_stays() -> None:
    dates = days(REMEMBERED + 300)
    values = wave(np.random.default_rng(0), dates)
    for history, before in ((values, 300), (np.r_[np.zeros(200), values[200:500]], 200)):
        found = calendar_days(history, pd.Period(BEGIN, "D"), 30)
        assert found is not None
        assert found.shape is not None
        np.testing.assert_array_equal(found.usual[:before], history[:before])
        assert np.std(found.usual[before:]) < 0.3 * np.std(history[before:])
        steps = np.arange(before, len(history))
        np.testing.assert_allclose(found.joined(found.usual[None, before:], steps, 0)[0], history[before:])


def test_shut_days_stay_zeros(default: TSDiffPredictor) -> None:
    dates, rng = days(428), np.random.default_rng(0)
    values = wave(rng, dates) * (dates.dayofweek != 6)
    found = calendar_days(values[:400], pd.Period(BEGIN, "D"), 28)
    assert found is not None
    np.testing.assert_array_equal(found.usual == 0, values[:400] == 0)
    (made,) = default.adapted("D", 28).predict([entry_of(values[:400])])
    np.testing.assert_array_equal(made.quantile(0.5) == 0, values[400:] == 0)


def test_counts_stay_whole(default: TSDiffPredictor) -> None:
    dates, rng = days(440), np.random.default_rng(0)
    values = np.rint(corrected(rng, to_date(sold(rng, dates), dates)))
    (made,) = default.adapted("D", 40).predict([entry_of(values[:400])])
    assert Support.of(made.samples.ravel()).counts
    assert np.abs(made.quantile(0.5) - values[400:]).sum() < 0.15 * values[400:].sum()


def test_gaps_are_filled_by_the_shape(default: TSDiffPredictor) -> None:
    dates, rng = days(400), np.random.default_rng(0)
    values = corrected(rng, to_date(sold(rng, dates), dates))
    gaps = values.copy()
    gap = slice(195, 206)
    gaps[gap] = np.nan
    (made,) = default.adapted("D", 14).impute([entry_of(gaps)])
    assert np.abs(made.median[gap] - values[gap]).sum() < 0.15 * values[gap].sum()


def test_a_month_that_begins_anew_is_no_anomaly() -> None:
    dates, rng = days(700), np.random.default_rng(0)
    values = corrected(rng, to_date(sold(rng, dates), dates)) + 100
    without, known = (
        forecast_scores(values, (7, 365), ForecastScoring(last=200), start=start)[0]
        for start in (None, pd.Period(BEGIN, "D"))
    )
    anew = (np.arange(700) >= 500) & (dates.day == 1)
    assert np.median(without[anew]) > 2 * np.median(known[anew])
