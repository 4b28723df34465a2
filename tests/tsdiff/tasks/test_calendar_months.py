"""What months are made of is counted right, found in monthly sums of days, and not found where it is not."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffPredictor
from tsdiff.tasks.calendar_months import month_effect, month_features
from tsdiff.tasks.suited import SUITED

WEEK = np.array([0.9, 0.8, 0.8, 0.9, 1.3, 1.9, 0.4])
EASTERS = [date(2008, 3, 23), date(2009, 4, 12), date(2018, 4, 1), date(2024, 3, 31)]
HORIZON = 12


def test_months_are_counted():
    start = pd.Period("2008-01", "M")
    features = month_features(start, 17 * 12)
    for place, month in enumerate(pd.period_range(start, periods=features.shape[1])):
        days = pd.date_range(month.start_time, month.end_time.normalize())
        counts = np.bincount(days.dayofweek, minlength=7)
        np.testing.assert_array_equal(features[:6, place], counts[:6] - counts[6])
        assert features[6, place] == len(days)
    share = pd.Series(features[7], pd.period_range(start, periods=features.shape[1]))
    assert share.groupby(share.index.year).sum().to_list() == pytest.approx([1.0] * 17)
    assert [share[str(day)[:7]] for day in EASTERS] == pytest.approx([1.0, 1.0, 1 / 7, 1.0])


def sums(years: int, seed: int = 0, noise: float = 0.01, easter: float = 0.0) -> np.ndarray:
    """Monthly sums of days with a week and a year, from January 2005 on."""
    months = pd.period_range("2005-01", periods=12 * years, freq="M")
    days = pd.date_range(months[0].start_time, months[-1].end_time.normalize())
    daily = 10 * WEEK[days.dayofweek] * (1 + 0.3 * np.cos(2 * np.pi * days.dayofyear.to_numpy() / 365.25))
    made = pd.Series(daily, days.to_period("M")).groupby(level=0).sum().to_numpy()
    made = made * (1 + easter * month_features(months[0], len(months))[7])
    made *= np.exp(noise * np.random.default_rng(seed).normal(size=len(made)))
    return np.asarray(made)


def entry_of(values: np.ndarray) -> dict[str, object]:
    return {"item_id": "a", "start": pd.Period("2005-01", "M"), "target": values}


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("M", HORIZON)


@pytest.mark.parametrize("easter", [0.0, 0.15])
def test_they_are_foreseen(default: TSDiffPredictor, easter: float):
    errors = np.zeros(2)
    for seed in range(4):
        values = sums(12, seed, easter=easter)
        past = [entry_of(values[:-HORIZON])]
        (made,), (plain,) = default.predict(past), default.with_sampling(calendar_days=False).predict(past)
        assert (made.info[SUITED].calendar_days, made.info[SUITED].gain) == (1, 0.0)
        errors += [np.abs(np.median(one.samples, axis=0) / values[-HORIZON:] - 1).mean() for one in (made, plain)]
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize("length", [30, 64, 100, 200])
def test_none_is_found_in_noise(length: int):
    rng = np.random.default_rng(length)
    season = 20 * np.sin(np.arange(length) / 12 * 2 * np.pi)
    kinds = [
        lambda: rng.normal(size=length),
        lambda: 100 + season + rng.normal(size=length),
        lambda: np.cumsum(rng.normal(size=length)),
        lambda: np.exp(0.01 * np.arange(length) + 0.1 * rng.normal(size=length)),
        lambda: 1.0 * rng.poisson(3, length),
        lambda: np.where(rng.random(length) < 0.3, np.nan, 100 + season + rng.normal(size=length)),
    ]
    found = 0
    for kind in kinds:
        for _ in range(10):
            effect = month_effect(entry_of(kind()), "a", HORIZON)
            found += effect is not None and effect.gain > 0
    assert found <= 1


def test_what_cannot_be_told():
    for values in (np.full(200, 5.0), np.zeros(200), np.full(200, np.nan), np.ones((2, 100))):
        assert month_effect(entry_of(values), "a", HORIZON) is None


def test_covariates_come_first(default: TSDiffPredictor):
    values, months = sums(12), 12 * 12
    flag = 1.0 * (np.random.default_rng(0).random(months) < 0.2)
    values = values * (1 + 0.4 * flag)
    entry = {**entry_of(values[:-HORIZON]), "feat_dynamic_real": flag[None]}
    (made,) = default.with_sampling(covariates=True).predict([entry])
    about = made.info[SUITED]
    assert about.gain > 0
    assert about.calendar_days == 0
    entry = {**entry_of(sums(12)[:-HORIZON]), "feat_dynamic_real": flag[None]}
    (left_out,) = default.predict([entry])
    assert (left_out.info[SUITED].calendar_days, left_out.info[SUITED].gain) == (1, 0.0)


def test_frames_tell_it(default: TSDiffPredictor):
    months = pd.period_range("2005-01", periods=132, freq="M").to_timestamp()
    frame = pd.DataFrame({"unique_id": "a", "ds": months, "y": sums(11)})
    table = default.predict_df(frame, prediction_length=HORIZON)
    assert table.attrs["calendar_days"] == 1
