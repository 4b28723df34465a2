"""What users do with anomaly scores: join them with their frame, take thresholds from them, and get names wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tsdiff import TSDiffPredictor
from tsdiff.data.origin import Zone
from tsdiff.tasks.anomaly.forecasts import ForecastScoring
from tsdiff.tasks.anomaly.plots import plot_anomalies
from tsdiff.tasks.anomaly.scores import (
    SeriesScores,
    Thresholds,
    against_recent,
    anomalies_to_frame,
    anomaly_scores,
    fit_thresholds,
    stretches_to_frame,
)


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("D", 7)


def days(ids: Any) -> pd.DataFrame:
    parts = []
    for seed, name in enumerate(ids):
        values = np.random.default_rng(seed).normal(size=40)
        values[30] = 20
        stamps = pd.date_range("2024-01-01", periods=40, freq="D")
        parts.append(pd.DataFrame({"item_id": [name] * 40, "timestamp": stamps, "target": values}))
    return pd.concat(parts, ignore_index=True)


def scored(item: str, score: list[float]) -> SeriesScores:
    return SeriesScores(item, pd.Period("2024-01-01", freq="D"), np.zeros(len(score)), np.array(score))


def test_scores_that_are_made_by_place_hold_what_they_did():
    start, early = pd.Period("2024-01-01", freq="D"), np.full(2, 3.0)
    found = SeriesScores("a", start, np.zeros(2), np.ones(2), "end", Zone(), early)
    assert found.comparable(1).score.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("kind", ["int64", "Int64", "category", "object", "string"])
def test_results_have_the_ids_of_the_frame_that_was_scored(default: TSDiffPredictor, kind: str) -> None:
    """They were texts, so that nothing matched where ids are numbers."""
    frame = days([7, "b"] if kind == "object" else [7, 8]).astype({"item_id": kind})
    scores = against_recent(anomaly_scores(default, frame), learning=10)
    limit = fit_thresholds(scores, 0.9)
    table = anomalies_to_frame(scores, limit)
    assert table["item_id"].dtype == frame["item_id"].dtype
    joined = table.merge(frame, on=["item_id", "timestamp"])
    assert len(joined) == len(frame)
    np.testing.assert_array_equal(joined["value"], joined["target"])
    found = stretches_to_frame(scores, limit).merge(
        frame, left_on=["item_id", "first"], right_on=["item_id", "timestamp"]
    )
    assert sorted(found.loc[found["target"] == 20, "item_id"].map(str)) == sorted(
        {str(one) for one in frame["item_id"]}
    )


def test_a_model_of_all_frequencies_adapts_itself_to_a_frame(default: TSDiffPredictor) -> None:
    """It had to be adapted before, as for no other call that takes a frame."""
    expected, found = (anomaly_scores(one, days("ab")) for one in (default, TSDiffPredictor.from_pretrained("default")))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.score, other.score)


def test_a_frame_may_have_a_column_for_each_series(default: TSDiffPredictor) -> None:
    """It was asked for its column "target", where other calls take it."""
    long = days("ab")
    wide = long.pivot(index="timestamp", columns="item_id", values="target")
    for given in (wide, wide.reset_index()):
        for one, other in zip(anomaly_scores(default, long), anomaly_scores(default, given), strict=True):
            assert one.item_id == other.item_id
            np.testing.assert_array_equal(one.score, other.score)


def test_thresholds_are_of_all_scores_of_a_series_that_comes_in_parts() -> None:
    """Those of the last part alone were taken."""
    whole = list(np.arange(100.0))
    limit = fit_thresholds([scored("a", whole[:60]), scored("b", [0.0] * 9), scored("a", whole[60:])], 0.5)
    assert limit.items["a"] == np.median(whole)
    assert limit.overall == np.median([*whole, *[0.0] * 9])


def test_thresholds_of_a_frame_whose_ids_are_numbers_are_found_by_them() -> None:
    """An id that is no text had the threshold of all series, in silence."""
    scores = [scored("3", [0.0, 1.0, 2.0]), scored("7", [5.0, 6.0, 7.0])]
    limit = fit_thresholds(scores, 0.5)
    assert [limit.of(one) for one in (3, np.int64(7), "7", 8)] == [1.0, 6.0, 6.0, limit.overall]
    own = Thresholds(0.995, 100.0, {3: 1.5, 7: 5.5})
    assert [int(own.exceeded(one).sum()) for one in scores] == [1, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"id_column": "item_id"}, "id_column='item_id': use item_id="),
        ({"timestamp_column": "timestamp"}, "use timestamp="),
        ({"freq": "D"}, r"freq='D': the model's is taken; predictor.adapted\('D', 24\)"),
        ({"values": 1}, "values=1: no such option; there are target, item_id, timestamp"),
    ],
)
def test_options_by_other_names_are_told_ours(default: TSDiffPredictor, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        anomaly_scores(default, days("a"), **options)


ONE = scored("a", [1.0, 2.0, 3.0])
LIMIT = fit_thresholds([ONE], 0.5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda path: fit_thresholds(ONE), "scores of the series 'a' by itself: give a list"),  # type: ignore[arg-type]
        (lambda path: anomalies_to_frame(ONE, LIMIT), "'a' by itself"),  # type: ignore[arg-type]
        (lambda path: against_recent(ONE), "'a' by itself"),  # type: ignore[arg-type]
        (lambda path: plot_anomalies(ONE, LIMIT, path), "'a' by itself"),  # type: ignore[arg-type]
        (lambda path: fit_thresholds([0.5]), "scores hold float: need what anomaly_scores gives"),  # type: ignore[list-item]
        (lambda path: anomalies_to_frame([ONE], 3.0), r"thresholds=3.0: .* Thresholds\(0.995, number, {}\)"),  # type: ignore[arg-type]
        (lambda path: stretches_to_frame([ONE], None), "thresholds=None: need those of fit_thresholds"),  # type: ignore[arg-type]
        (lambda path: plot_anomalies([ONE], None, path), "thresholds=None"),  # type: ignore[arg-type]
    ],
)
def test_what_are_no_scores_or_thresholds_is_told(tmp_path: Path, call: Callable[[Path], Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        call(tmp_path / "x.png")


def test_of_series_whose_scored_end_has_no_value_that_is_told_and_short_ones_are_scored_whole() -> None:
    model = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    hours = 100 + 20 * np.sin(np.arange(300) * 2 * np.pi / 24)
    ended = {"item_id": "ended", "start": pd.Period("2024-01-01", "h"), "target": hours.copy()}
    ended["target"][200:] = np.nan
    short = {"item_id": "short", "start": pd.Period("2024-01-01", "h"), "target": hours[:60]}
    with (
        pytest.warns(Note, match="'ended' has no score: its last 100 steps, which alone are scored, have no value"),
        pytest.raises(DataError, match=r"their last 100 steps have no value; raise last=100, or leave it out"),
    ):
        anomaly_scores(model, ended, ForecastScoring(last=100))
    with pytest.warns(Note, match="'ended' has no score"):
        _, scored = anomaly_scores(model, [ended, short], ForecastScoring(last=100))
    np.testing.assert_array_equal(scored.score, anomaly_scores(model, short)[0].score)
    with pytest.raises(DataError, match="a forecast needs a value before the one that is scored; give longer series"):
        anomaly_scores(model, short | {"target": hours[:1]}, ForecastScoring(last=100))


@pytest.mark.parametrize(("last", "told"), [(None, True), (313, True), (312, False)])
def test_a_change_of_clocks_near_what_is_scored_is_told(last: int | None, told: bool) -> None:
    """What keeps to the local clock is an hour off for some days: with `last` the first step that is scored begins a
    week after the change, or an hour before that."""
    predictor = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    change = pd.Timestamp("2024-03-31 03:00", tz="Europe/Berlin")
    times = pd.date_range(change - pd.Timedelta("30D"), change + pd.Timedelta("20D"), freq="h")[:-1]
    given = pd.DataFrame({"timestamp": times, "target": np.sin(np.arange(len(times)))})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        anomaly_scores(predictor, given, ForecastScoring(last=last))
    text = "clocks of Europe/Berlin change at 2024-03-31 03:00:00+02:00, in what is scored or the week before it"
    assert any(text in str(one.message) for one in said) is told
