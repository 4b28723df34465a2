"""Running totals: found, forecast by what they grow by, and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffPredictor
from tsdiff.commands import forecast
from tsdiff.commands.options import Forecast
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
    gapped = TOTAL.copy()
    gapped[[30, 31, 90]] = np.nan
    growth = growth_of(gapped, 7)
    assert growth is not None
    assert np.flatnonzero(np.isnan(growth)).tolist() == [29, 30, 31, 89, 90]


RNG = np.random.default_rng(2)
OTHERS = {
    "a line with noise": 100 + 5.0 * STEPS + RNG.uniform(-2, 2, 140),
    "a line": 100 + 5.0 * STEPS,
    "growth by a share": 100 * 1.02**STEPS,
    "a curve that bends": 100 / (1 + np.exp(-(STEPS - 70) / 20)),
    "one that fell": np.r_[TOTAL[:100], TOTAL[100:] - 200],
    "jumps": np.cumsum(RNG.random(140) < 0.1).astype(float),
    "constant": np.full(140, 5.0),
    "not known of late": np.r_[TOTAL, np.nan],
    "too few": TOTAL[:20],
    "missing": np.full(140, np.nan),
}


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
