"""Scores know the calendar: what a day of the month or year was off before is no anomaly, and its absence is one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffPredictor
from tsdiff.tasks.anomaly.forecasts import ForecastScoring, forecast_scores
from tsdiff.tasks.anomaly.scores import anomaly_scores
from tsdiff.tasks.calendar_months import month_features
from tsdiff.windows.simple import Seasons

DAYS: Seasons = (7, 365)
BEGIN = pd.Period("2018-01-01", freq="D")
WEEK = np.array([1.0, 0.9, 0.9, 1.0, 1.3, 1.6, 0.7])


def sales(days: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sales of a week, halved at Christmas and half as much again on the 28th: values, and where these are."""
    dates = pd.date_range(BEGIN.start_time, periods=days, freq="D")
    noise = np.random.default_rng(seed).normal(size=days)
    feast, payday = np.asarray((dates.month == 12) & (dates.day == 25)), np.asarray(dates.day == 28)
    usual = 200 * WEEK[dates.dayofweek] * np.exp(0.06 * noise)
    return usual * np.where(feast, 0.5, 1) * np.where(payday, 1.5, 1), feast, payday


def scored(
    values: np.ndarray, start: pd.Period | None = BEGIN, seasons: Seasons = DAYS, last: int | None = None
) -> np.ndarray:
    return forecast_scores(values, seasons, ForecastScoring(last=last), start=start)[0]


def test_days_that_have_differed_before_are_no_anomaly_and_spikes_and_what_they_lack_are() -> None:
    """Without the calendar each payday and each Christmas is."""
    values, feast, payday = sales(5 * 365)
    late = np.arange(len(values)) >= 3 * 365
    without, known = (scored(values, start, last=2 * 365) for start in (None, BEGIN))
    limit = np.quantile(known[late], 0.995)
    assert np.median(without[late & payday]) > 2.5 * np.median(known[late & payday])
    assert known[late & feast].max() < limit < without[late & feast].min()
    other = late & ~(feast | payday)
    assert np.median(known[other]) == pytest.approx(np.median(without[other]), abs=0.1)
    odd = values.copy()
    missed, spike = np.flatnonzero(late & payday)[3], np.flatnonzero(other)[200]
    odd[missed] /= 1.5
    odd[spike] *= 1.5
    assert (scored(odd, last=2 * 365)[[missed, spike]] > limit).all()
    assert not (scored(odd, None, last=2 * 365)[missed] > limit)


def test_scores_of_days_depend_on_nothing_later_and_gaps_stay() -> None:
    values, _, _ = sales(900)
    values[[300, 301, 502]] = np.nan
    whole = scored(values)
    np.testing.assert_array_equal(scored(values[:700]), whole[:700])
    np.testing.assert_array_equal(np.isnan(whole[8:]), np.isnan(values[8:]))


def test_months_are_scored_by_their_weekdays() -> None:
    start, months = pd.Period("1995-01", freq="M"), 260
    features, rng = month_features(start, months), np.random.default_rng(0)
    usual = 100 + 10 * np.sin(2 * np.pi * np.arange(months) / 12) + 0.5 * rng.normal(size=months)
    values = usual + np.array([0.5, 0.3, 0.2, 0.3, 1.5, 2.0]) @ features[:6]
    late = slice(160, None)
    without, known = (scored(values, begin, (12, 0)) for begin in (None, start))
    assert np.mean(known[late]) < 0.8 * np.mean(without[late])
    values[200] += 4
    assert np.argmax(scored(values, start, (12, 0))[late]) == 40


@pytest.mark.parametrize(("freq", "seasons"), [("h", (24, 168)), ("W-SUN", (52, 0)), ("Q-DEC", (4, 0))])
def test_other_frequencies_have_no_such_calendar(freq: str, seasons: Seasons) -> None:
    values, _, _ = sales(300)
    np.testing.assert_array_equal(
        scored(values, pd.Period("2018-01-01", freq=freq), seasons), scored(values, None, seasons)
    )


def test_the_bundled_model_scores_by_the_calendar_unless_told_otherwise() -> None:
    values, _, payday = sales(900)
    entry = {"item_id": "a", "start": BEGIN, "target": values}
    model = TSDiffPredictor.from_pretrained("default").adapted("D", 7)
    (known,), (without,) = (
        anomaly_scores(model, entry),
        anomaly_scores(model, entry, ForecastScoring(calendar_days=False)),
    )
    np.testing.assert_allclose(known.score, scored(values.astype(np.float32).astype(float)), rtol=1e-4, atol=1e-4)
    assert known.score[600:][payday[600:]].mean() < 0.5 * without.score[600:][payday[600:]].mean()


def test_working_days_have_their_calendar_too() -> None:
    start, days = pd.Period("2018-01-01", freq="B"), 800
    dates = pd.bdate_range("2018-01-01", periods=days)
    last = np.asarray((dates + pd.offsets.BMonthEnd(0)) == dates)
    values = 100 + np.random.default_rng(0).normal(size=days) + np.where(last, 15.0, 0.0)
    without, known = (scored(values, begin, (5, 260)) for begin in (None, start))
    assert known[400:][last[400:]].mean() < 0.5 * without[400:][last[400:]].mean()
