"""Anomaly scores of whole series: what they are made of, that they find what is wrong, bad input."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import sines, tiny_estimator
from tests.tsdiff.gaussian_model import LENGTH, gaussian_model
from tsdiff import TSDiffPredictor
from tsdiff.commands.anomaly import tail, thresholds_of
from tsdiff.tasks.anomaly.detection import evaluate_detection, rolling_z_scores
from tsdiff.tasks.anomaly.forecasts import ForecastScoring
from tsdiff.tasks.anomaly.injection import InjectionConfig, inject
from tsdiff.tasks.anomaly.scores import (
    SeriesScores,
    Thresholds,
    against_recent,
    anomalies_to_frame,
    anomaly_scores,
    fit_thresholds,
    step_scores,
    stretches,
    stretches_to_frame,
)
from tsdiff.tasks.likelihood import LikelihoodSettings, WindowLikelihoods

START = pd.Period("2024-01-01", freq="h")


def scored(item: str, score: list[float]) -> SeriesScores:
    return SeriesScores(item, START, np.arange(float(len(score))), np.array(score))


def windows(first: list[int], likelihoods: list[float], steps: np.ndarray | None = None) -> WindowLikelihoods:
    values, none = np.array(likelihoods), np.zeros(len(first))
    return WindowLikelihoods("a", START, np.array(first), 4, values, values, none, none, steps, np.array([]))


def test_a_step_s_score_is_the_mean_over_the_windows_that_cover_it() -> None:
    # A window's share of each of its four steps is a quarter; step 9 lies in no window.
    found = step_scores(windows([-1, 1, 5], [-4.0, -8.0, 4.0]), 10)
    np.testing.assert_allclose(found, [1, 1.5, 1.5, 2, 2, -1, -1, -1, -1, np.nan])
    steps = -np.array([[9.0, 1, 2, 3], [10, 20, np.nan, 40]])
    found = step_scores(windows([-1, 1], [0.0, 0.0], steps), 6)
    np.testing.assert_allclose(found, [1, (2 + 10) / 2, (3 + 20) / 2, np.nan, 40, np.nan])


def test_where_the_end_of_windows_is_scored_alone_its_steps_share_the_score() -> None:
    """It was spread over the context, too, which put every anomaly at the beginning of the series."""
    found = step_scores(replace(windows([-2, 0, 1], [-4.0, -8.0, -6.0]), scored=2), 6)
    np.testing.assert_allclose(found, [2, 2, 4, (4 + 3) / 2, 3, np.nan])


def test_the_exact_likelihood_of_the_bundled_model_places_a_spike() -> None:
    predictor = TSDiffPredictor.from_pretrained("default").adapted("h", 4)
    values = np.random.default_rng(0).normal(size=28)
    values[17] = 15
    settings = LikelihoodSettings(steps=2, trace="hutchinson", probes=2)
    (found,) = anomaly_scores(predictor, {"item_id": "a", "start": START, "target": values}, settings)
    assert np.isnan(found.score[:8]).all()
    assert set(np.flatnonzero(found.score > 0.9 * np.nanmax(found.score))) == {16, 17, 18, 19}


def test_scores_are_the_negative_bound_of_the_windows() -> None:
    model, _ = gaussian_model()
    item = {"item_id": "a", "start": START, "target": 50 + 10 * np.random.default_rng(0).standard_normal(LENGTH)}
    settings = LikelihoodSettings(method="elbo")
    (found,) = anomaly_scores(model, item, settings)
    (whole,) = TSDiffPredictor(model).log_likelihood([item], settings)
    assert found.score.sum() == pytest.approx(-whole.network_log_likelihood[0])


def test_injected_anomalies_are_found_better_than_by_a_rolling_window(trained: TSDiffPredictor) -> None:
    config = InjectionConfig(kinds=("flatline", "time_shift", "noise_burst"), per_series=3, longest=12, margin=16)
    injected = inject(sines(length=400), config)
    entries = [series.entry for series in injected]
    found = [result.score for result in anomaly_scores(trained, entries)]
    rolling = [rolling_z_scores(entry["target"], 16) for entry in entries]
    ours, theirs = evaluate_detection(found, injected)["all"], evaluate_detection(rolling, injected)["all"]
    assert ours.auroc > max(0.8, theirs.auroc + 0.1)


def test_exact_likelihoods_score_too(trained: TSDiffPredictor) -> None:
    item = sines(1, length=120)[0]
    item["target"][80:90] = item["target"][79]
    (found,) = anomaly_scores(trained, item, LikelihoodSettings(stride=4, steps=6, probes=2))
    assert np.isfinite(found.score).all()
    assert found.score[80:90].mean() > np.quantile(np.delete(found.score, np.s_[56:114]), 0.9)


def test_an_entry_a_dataset_and_a_frame_give_the_same(trained: TSDiffPredictor) -> None:
    entries = sines(2, length=60)
    frame = pd.concat(
        pd.DataFrame(
            {
                "item_id": item["item_id"],
                "timestamp": pd.period_range(item["start"], periods=60, freq="h").to_timestamp(),
                "target": item["target"],
            }
        )
        for item in entries
    )
    from_set, from_frame = anomaly_scores(trained, iter(entries)), anomaly_scores(trained.model, frame)
    (alone,) = anomaly_scores(trained, entries[1])
    for one, other in zip(from_set, from_frame, strict=True):
        assert (one.item_id, one.start) == (other.item_id, other.start)
        np.testing.assert_allclose(one.score, other.score, atol=1e-4)
    np.testing.assert_allclose(from_set[1].score, alone.score, atol=1e-4)


@pytest.mark.parametrize(
    ("freq", "times"),
    [
        ("M", pd.date_range("2019-01-31", periods=60, freq="ME")),
        ("D", pd.date_range("2024-03-01 12:00", periods=60, freq="D")),
        ("h", pd.date_range("2024-03-29", periods=60, freq="h", tz="Europe/Berlin")),
    ],
)
def test_scores_of_a_frame_are_dated_as_the_frame_is(freq: str, times: pd.DatetimeIndex) -> None:
    values = np.sin(np.arange(60.0)) + np.random.default_rng(0).normal(size=60)
    frame = pd.DataFrame({"day": times, "y": values})
    bundled = TSDiffPredictor.from_pretrained("default").adapted(freq, 7)
    scores = anomaly_scores(bundled, frame)
    limit = fit_thresholds(scores, 0.9)
    made = anomalies_to_frame(scores, limit)
    pd.testing.assert_index_equal(pd.DatetimeIndex(made["timestamp"]), times, check_names=False, exact=False)
    np.testing.assert_allclose(made["value"], values)
    found = stretches_to_frame([one.since(10) for one in scores], limit)
    assert len(found)
    assert found["first"].isin(times[10:]).all()
    assert found["last"].isin(times[10:]).all()
    (later,) = against_recent(scores, learning=2)
    assert later.times()[-1] == times[-1]


def test_the_end_of_a_series_keeps_its_own_features() -> None:
    steps, entry = np.arange(40.0), sines(1, 40)[0]
    cut = tail({**entry, "feat_dynamic_real": np.stack([steps, -steps]), "feat_static_real": [2.0]}, 15)
    assert cut["start"] == entry["start"] + 25
    np.testing.assert_array_equal(cut["target"], entry["target"][25:])
    np.testing.assert_array_equal(cut["feat_dynamic_real"], np.stack([steps, -steps])[:, 25:])
    np.testing.assert_array_equal(cut["feat_static_real"], [2.0])
    assert len(tail(entry, 60)["target"]) == 40


def test_thresholds_are_quantiles_of_each_series_and_of_all() -> None:
    first, second = scored("a", list(range(101))), scored("b", [*range(1000, 1101), np.nan])
    found = fit_thresholds([first, second], 0.9)
    assert found.of("a") == pytest.approx(90)
    assert found.of("b") == pytest.approx(1090)
    assert found.of("unknown") == pytest.approx(np.quantile([*range(101), *range(1000, 1101)], 0.9))
    for quantile in (0.0, 1.0, np.nan):
        with pytest.raises(ConfigError, match="quantile"):
            fit_thresholds([first], quantile)
    with pytest.raises(DataError, match="no score"):
        fit_thresholds([scored("a", [np.nan])])


@pytest.mark.parametrize("later", [False, True])
def test_thresholds_from_one_score_are_told(later: bool, recwarn: pytest.WarningsRecorder) -> None:
    whole = scored("a", [1.0, 2.0, 3.0])
    fit_thresholds([whole], later=later)
    assert not recwarn
    with pytest.warns(Note, match=r"^series 'b': a threshold from one score is that score, .*; give longer series"):
        assert fit_thresholds([whole, scored("b", [np.nan, 3.0])], later=later).of("b") == 3
    with pytest.warns(Note, match=r"^series 'b' and 1 more: a threshold"):
        fit_thresholds([scored("b", [1.0]), scored("c", [2.0])], later=later)


def test_thresholds_need_a_score_before_the_held_out_steps() -> None:
    scores = {"TSDiff": [scored("a", [np.nan, np.nan, 3, 4, 5])]}
    assert thresholds_of(scores, 2, 0.5)["TSDiff"].of("a") == 3
    with pytest.raises(DataError, match=r"before the 3 held out has a score by TSDiff .* hold out less with --windows"):
        thresholds_of(scores, 3, 0.5)


def test_thresholds_of_later_steps_have_the_chance_that_they_are_for_of_few_scores_too() -> None:
    """Of 60 scores the .995 quantile is nearly the largest, which one in 45 of the next are above."""
    rng = np.random.default_rng(0)
    for count in (40, 60, 150, 400):
        draws = [scored("a", list(rng.exponential(2.0, count))) for _ in range(400)]
        chance, plain = (
            np.mean([np.exp(-fit_thresholds([one], later=later).of("a") / 2) for one in draws])
            for later in (True, False)
        )
        assert 0.002 < chance < 0.009
        assert chance < plain
    many = scored("a", list(rng.exponential(2.0, 3000)))
    assert fit_thresholds([many], later=True) == fit_thresholds([many])


def test_one_giant_among_few_scores_hides_nothing_and_equal_ones_are_their_own_limit() -> None:
    few = list(np.random.default_rng(1).exponential(1.0, 200))
    limit = fit_thresholds([scored("a", few)], later=True).of("a")
    assert fit_thresholds([scored("a", [*few, 500.0])], later=True).of("a") < limit + 1
    assert fit_thresholds([scored("a", [0.0] * 50)], later=True).of("a") == 0
    assert fit_thresholds([scored("a", [3.0])], later=True).of("a") == 3
    assert fit_thresholds([scored("a", few)], 0.4, later=True).of("a") == pytest.approx(np.quantile(few, 0.4))


def test_later_scores_are_compared_with_those_of_steps_before_two_seasons_as_if_these_had_been_known() -> None:
    early = np.where(np.arange(300) < 150, 4.0, np.nan)
    one = replace(scored("a", [1.0] * 150 + [2.0] * 150), early=early)
    assert one.comparable(20) is one
    assert fit_thresholds([one.before(-20)], later=True).of("a") == 2
    later = one.comparable(100)  # 50 are too few to go by
    assert later.score.tolist() == [4.0] * 150 + [2.0] * 150
    assert later.early is None
    assert one.before(-100).settled().tolist() == [2.0] * 50
    assert one.since(100).before(60).score.tolist() == [1.0] * 50 + [2.0] * 10
    np.testing.assert_array_equal(one.since(100).early, early[100:])
    assert against_recent([one])[0].early is None


def test_beside_recent_scores_the_unit_of_a_series_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=3000)
    score[2500] = 6.0
    one, moved = against_recent([scored("a", list(score)), scored("b", list(50 * score - 7))], 1000)
    np.testing.assert_allclose(moved.score, one.score, rtol=1e-8)
    assert np.isnan(one.score[:99]).all()  # it has not seen enough
    assert np.nanargmax(one.score) == 2500
    lately = score[1501:2501]
    away = (6.0 - lately.mean()) / lately.std(ddof=1)
    assert one.score[2500] == pytest.approx(-norm.logsf(away))


def test_beside_recent_scores_chance_has_the_law_of_chance() -> None:
    score = np.random.default_rng(1).normal(size=20_000)
    (one,) = against_recent([scored("a", list(score))])
    tail = np.exp(-one.score[1000:])
    for share in (0.5, 0.1, 0.01):
        assert (tail < share).mean() == pytest.approx(share, rel=0.15)


def test_beside_recent_scores_gaps_stay_and_a_constant_is_no_surprise() -> None:
    gaps = np.random.default_rng(2).normal(size=200)
    gaps[[120, 150]] = np.nan
    (one, same) = against_recent([scored("a", list(gaps)), scored("b", [3.0] * 200)])
    assert np.flatnonzero(np.isnan(one.score[110:])).tolist() == [10, 40]
    np.testing.assert_allclose(same.score[99:], np.log(2))
    (averaged,) = against_recent([scored("a", list(gaps))], recent=3)
    before = gaps[:200]
    away = (np.nanmean(before[-3:]) - np.nanmean(before)) / np.nanstd(before, ddof=1)
    assert averaged.score[-1] == pytest.approx(-norm.logsf(away))
    with pytest.raises(ConfigError, match=r"learning=100: .* history=50"):
        against_recent([same], 50)


def test_the_frame_has_a_row_a_step() -> None:
    scores = [scored("a", [0.0, 2.0, np.nan]), scored("b", [5.0])]
    plain = anomalies_to_frame(scores)
    assert list(plain.columns) == ["item_id", "timestamp", "value", "score"]
    frame = anomalies_to_frame(scores, Thresholds(0.9, 9.0, {"a": 1.0}))
    assert frame["anomaly"].tolist() == [False, True, False, False]
    assert frame["threshold"].tolist() == [1, 1, 1, 9]
    assert frame["timestamp"].tolist()[:2] == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-01 01:00")]
    with pytest.raises(DataError, match="no series"):
        anomalies_to_frame([])


def test_parts_are_counted_from_the_end_where_their_first_step_is_negative() -> None:
    whole = scored("a", [1.0, 2.0, 3.0, 4.0])
    for since, first in ((1, 1), (-1, 3), (-9, 0)):
        part = whole.since(since)
        assert (part.start, part.score.tolist()) == (START + first, [1.0, 2.0, 3.0, 4.0][first:])
    assert whole.before(-1).score.tolist() == [1.0, 2.0, 3.0]


def test_stretches_of_flags() -> None:
    assert stretches(np.array([1, 1, 0, 0, 1, 0, 1], dtype=bool)) == [(0, 2), (4, 5), (6, 7)]
    assert stretches(np.zeros(3, dtype=bool)) == []


def test_several_channels_share_a_score() -> None:
    model, _ = gaussian_model(channels=2)
    target = 50 + 10 * np.random.default_rng(0).standard_normal((2, 60))
    target[1, 40] = 500
    target[:, 20] = np.nan
    target[0, 22] = np.nan
    (found,) = anomaly_scores(model, {"item_id": "a", "start": START, "target": target})
    assert found.score.shape == (60,)
    assert np.flatnonzero(np.isnan(found.score)).tolist() == [20]
    assert int(np.nanargmax(found.score)) == 40
    assert list(anomalies_to_frame([found]).columns) == ["item_id", "timestamp", "value_0", "value_1", "score"]


# --- bad input -------------------------------------------------------------------------------------------------


def test_missing_steps_have_no_score_and_unscored_ones_are_told(trained: TSDiffPredictor) -> None:
    item = sines(1, length=100)[0]
    item["target"][50:53] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = anomaly_scores(trained, item)
    assert np.flatnonzero(np.isnan(found.score)).tolist() == [50, 51, 52]
    item["target"][0:20] = np.nan
    item["target"][6] = 1.0
    with pytest.warns(UserWarning, match="1 steps lie in no scored window"):
        (found,) = anomaly_scores(trained, item)
    assert np.isnan(found.score[6])


def test_short_constant_and_extreme_series(trained: TSDiffPredictor) -> None:
    entries = sines(4, length=40)
    entries[0]["target"] = entries[0]["target"][:20]  # shorter than the window of 24
    entries[1]["target"] = np.full(40, 3.0, dtype=np.float32)
    entries[2]["target"] = 1e12 * entries[2]["target"]
    entries[3]["target"] = -entries[3]["target"]
    short, flat, huge, negative = (result.score for result in anomaly_scores(trained, entries))
    usual = [result.score for result in anomaly_scores(trained, sines(4, length=40))]
    assert [len(score) for score in (short, flat, huge, negative)] == [20, 40, 40, 40]
    assert max(score.max() for score in (short, *usual)) < 3
    np.testing.assert_allclose(huge, usual[2], rtol=1e-5)  # scores have no unit
    assert flat.mean() > 1.5 * max(score.mean() for score in usual[1:])
    assert negative.mean() > 20 * usual[3].mean()


def test_what_cannot_be_scored(trained: TSDiffPredictor) -> None:
    short, good = sines(2, length=60)
    short["target"] = short["target"][:5]
    with pytest.warns(UserWarning, match="5 steps lie in no scored window"):
        results = anomaly_scores(trained, [short, good])
    assert np.isnan(results[0].score).all()
    assert np.isfinite(results[1].score).all()
    with (
        pytest.warns(UserWarning, match="not scored"),
        pytest.raises(DataError, match="none of 1 series could be scored"),
    ):
        anomaly_scores(trained, short)
    with pytest.raises(DataError, match="none of 0 series"):
        anomaly_scores(trained, [])
    with pytest.raises(ConfigError, match=r"no anchors to score by \(scaling='mean'\)"):
        anomaly_scores(trained, good, ForecastScoring())
    for settings in ("forecast", {"steps": 24}):  # as --method has it
        with pytest.raises(ConfigError, match=r"need ForecastScoring\(\) or LikelihoodSettings\(\)"):
            anomaly_scores(trained, good, settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="model='default': need a model or the predictor around it"):
        anomaly_scores("default", good)  # type: ignore[arg-type]
    conditional = tiny_estimator(steps=2, conditional=True).train(sines(), progress=False)
    with pytest.raises(ConfigError, match="conditional"):
        anomaly_scores(conditional, good)
