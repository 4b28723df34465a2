"""What forecasts take for other than it is in a history is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffPredictor
from tsdiff.commands import forecast
from tsdiff.commands.options import Forecast
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.tasks.suited import CHANGED, SUITED

MONTHS = pd.period_range("2015-01", periods=96, freq="M")
STEPS = np.arange(len(MONTHS))
CLEAN = 1000 * np.exp(0.3 * np.sin(2 * np.pi * STEPS / 12) + 0.03 * np.random.default_rng(0).normal(size=len(MONTHS)))
DONE = {
    "clean": lambda at: 1.0,
    "outliers": lambda at: np.where(at == 91, 10.0, 1.0),
    "excluded": lambda at: np.where((at >= 84) & (at < 90), 0.5, 1.0),
    "rescaled": lambda at: np.where(at < 81, 1e-3, 1.0),
}
COUNTS = {"outliers": 1, "excluded": 6, "rescaled": 81}


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default")


def frame(*kinds: str) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"item_id": kind, "timestamp": MONTHS.to_timestamp(), "target": CLEAN * DONE[kind](STEPS)})
        for kind in kinds
    ]
    return pd.concat(parts)


@pytest.mark.parametrize("horizon", [12, 150])  # beyond the model's reach, too
@pytest.mark.parametrize("made", [lambda one: one, lambda one: EnsemblePredictor([one, one])])
def test_a_forecast_tells_how_many_values(
    default: TSDiffPredictor, horizon: int, made: Callable[[TSDiffPredictor], TSDiffPredictor]
) -> None:
    entries = [{"start": MONTHS[0], "target": CLEAN * change(STEPS), "item_id": kind} for kind, change in DONE.items()]
    for one in made(default.adapted("M", horizon)).predict(entries, num_samples=2):
        about = asdict(one.info[SUITED])
        told = {name: about[name] for name in CHANGED if about[name]}
        assert told == {kind: count for kind, count in COUNTS.items() if kind == one.item_id}


def test_filled_values_are_no_outliers(default: TSDiffPredictor) -> None:
    values = CLEAN * DONE["outliers"](STEPS)
    values[90] = np.nan  # and is filled by what is around, which is far off it
    [one] = default.adapted("M", 12).predict([{"start": MONTHS[0], "target": values, "item_id": "a"}], num_samples=2)
    assert one.info[SUITED].outliers == 1


def test_a_sampling_that_decides_nothing_tells_too(default: TSDiffPredictor) -> None:
    plain = default.adapted("M", 12).with_sampling(counts=False, calendar_days=False, covariates=False)
    clean, dent = plain.predict(
        [{"start": MONTHS[0], "target": CLEAN * DONE[kind](STEPS)} for kind in ("clean", "excluded")], num_samples=2
    )
    assert clean.info is None
    assert dent.info[SUITED].excluded == 6


def test_a_table_tells_in_how_many_series(default: TSDiffPredictor) -> None:
    made = default.predict_df(frame(*DONE), prediction_length=12, num_samples=2)
    assert {name: made.attrs[name] for name in CHANGED} == dict.fromkeys(CHANGED, 1)
    clean = default.predict_df(frame("clean"), prediction_length=12, num_samples=2)
    assert {name: clean.attrs[name] for name in CHANGED} == dict.fromkeys(CHANGED, 0)


def test_the_line_of_the_command_tells_and_of_clean_series_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [
        "1 with outliers, put back",
        "1 with a dent, a peak, an outage, an old habit or a last 0",
        "1 whose unit changed",
    ]
    for kinds in (DONE, ("clean",)):
        frame(*kinds).to_csv(tmp_path / "data.csv", index=False)
        options = {"model": "default", "freq": "M", "prediction_length": 12, "windows": 0, "samples": 2}
        forecast.main(Forecast(data=tmp_path / "data.csv", output=tmp_path / "out", **options))  # type: ignore[arg-type]
        line = capsys.readouterr().out.replace("\n", " ")
        assert all((part in line) == (kinds is DONE) for part in told)
