"""Scores by forecasts: their law, what they find and forget, that they look at nothing later, bad input."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import sines
from tsdiff import TSDiffPredictor
from tsdiff.sampling.anchor_share import anchor_surprise
from tsdiff.tasks.anomaly.forecasts import ForecastScoring, forecast_scores
from tsdiff.tasks.anomaly.lasting import Lasting, lasting_errors, news
from tsdiff.tasks.anomaly.scores import DEFAULT_SCORING, anomaly_scores, scoring
from tsdiff.windows.simple import Seasons
from tsdiff.windows.weighing import Weighing

HOURS: Seasons = (24, 168)
NONE: Seasons = (0, 0)


def scored(values: np.ndarray, seasons: Seasons = NONE, **settings: float) -> np.ndarray:
    return forecast_scores(values, seasons, ForecastScoring(**settings))[0]  # type: ignore[arg-type]


def noise(count: int = 400, seed: int = 0) -> np.ndarray:
    return 50 + np.random.default_rng(seed).normal(size=count)


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default")


def test_noise_with_tails_has_scores_near_the_exponential_law_and_gaussian_noise_none_far_out() -> None:
    heavy = np.random.default_rng(0).standard_t(3, 1600)
    told, kept, light = (
        np.exp(-score[200:]) for score in (scored(heavy, outlying=1e9, share=0), scored(heavy), scored(noise()))
    )
    for chance in (told, kept, light):
        assert (chance < 0.5).mean() == pytest.approx(0.5, abs=0.12)
    for share in (0.1, 0.05, 0.02):
        assert (told < share).mean() == pytest.approx(share, rel=0.5)
        assert (kept < share).mean() < 2 * share
    assert (light < 0.02).mean() < 0.01


def test_neither_unit_nor_level_matters() -> None:
    values = noise(150)
    np.testing.assert_allclose(scored(1e6 * values - 3e5), scored(values), rtol=1e-4, atol=1e-4)


def test_a_spike_has_the_top_score_and_what_follows_is_scored_as_without_it() -> None:
    values = noise() + 5 * np.sin(2 * np.pi * np.arange(400) / 24)
    clean = scored(values, HOURS)
    values[300] += 10
    found = scored(values, HOURS)
    assert np.nanargmax(found) == 300
    np.testing.assert_array_equal(found[:300], clean[:300])
    assert np.abs(found[301:] - clean[301:]).max() < 0.3
    told = scored(values, HOURS, outlying=1e9)
    assert np.abs(told[301:] - clean[301:]).max() > 2 * np.abs(found[301:] - clean[301:]).max()


def test_a_spike_of_a_few_steps_stands_out_of_a_series_that_wanders() -> None:
    """By forecasts of 24 steps alone .82 of the others were below it."""
    below = []
    for seed in range(8):
        values = 100 + np.cumsum(np.random.default_rng(seed).normal(size=300))
        values[260 + 2 * seed] += 6
        score = scored(values, last=100)[200:]
        below.append(np.mean(score < score[60 + 2 * seed]))
    assert np.mean(below) > 0.93


def test_what_is_new_in_errors_that_last_is_told_by_the_last_one_that_is_not_far_off() -> None:
    half = Lasting(share=0.5, new=0.5)
    off, deviation = np.array([0.4, 0.2, np.nan, 0.3, 9.0, 0.1, 8.0, 8.0, 4.0]), np.full(9, 1.0)
    new, size, far = news(off, deviation, half, outlying=3.0, after_gap=False)
    np.testing.assert_allclose(new, [0.4, 0.0, np.nan, 0.25, 8.85, 0.025, 7.95, 7.975, 0.0])
    np.testing.assert_allclose(size, np.sqrt([1, 1, np.nan, 1.25, 1, 1.25, 1, 1.25, 1]) / 2)
    np.testing.assert_array_equal(np.flatnonzero(far), [4])  # the 8 stayed
    gap = news(off, deviation, half, outlying=3.0, after_gap=True)
    assert (gap[0][0], gap[1][0]) == (0.4, 1.0)  # nothing tells of the first, which is as uncertain as it was
    none = news(off, deviation, Lasting(0.5, 0.8), outlying=3.0, after_gap=False)
    assert np.isnan(none[:2]).all()
    assert not none[2].any()


def test_errors_of_walks_last_and_those_of_noise_or_rounding_do_not() -> None:
    steps = np.random.default_rng(0).normal(size=(12, 24))
    walk = lasting_errors(np.cumsum(steps, axis=1), 0.0)
    assert walk.share > 0.9
    assert walk.new < 0.4
    assert lasting_errors(steps, 0.0).new > 0.9
    for nothing in (np.full((12, 24), 1e-9), steps[:1], steps[:, :2], np.zeros((0, 24))):
        assert lasting_errors(nothing, 1e-8) == Lasting()


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_a_slipped_decimal_point_hides_nothing_after_it(size: float) -> None:
    values = noise() + 5 * np.sin(2 * np.pi * np.arange(400) / 24)
    values[300] += 10
    found = scored(values, HOURS)[300]
    assert found > 2.5
    for places in ([150], [120, 200]):
        mistaken = values.copy()
        mistaken[places] *= size
        mistaken[places] += size
        score = scored(mistaken, HOURS)
        assert score[300] == pytest.approx(found, abs=0.8)  # it was .004 at most
        assert score[places].min() > np.nanmax(np.delete(score, places))


def test_what_has_happened_again_and_again_is_usual() -> None:
    values = noise(800)
    values[100::20] += 200
    score = scored(values)[100::20]
    assert score[:3].min() > score[20:].max() + 1


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("since", [0, 240])
def test_office_hours_are_usual_though_they_are_less_than_half_of_a_day(spread: float, since: int) -> None:
    """They were kept from all forecasts, those of a machine too that is idle at first, and had top scores for good."""
    hours = np.arange(24 * 35)
    on = (hours >= since) & (hours % 24 >= 8) & (hours % 24 < 18)
    score = scored(100 + 30 * on + spread * np.random.default_rng(0).normal(size=len(hours)), HOURS)
    late = np.median(score[since + 24 * 21 :].reshape(-1, 24), axis=0)
    assert late.max() < 2
    if since:
        assert np.median(score[since + 8 : since + 18]) > 2 > late.max(), "the first day of them is not"


def test_spikes_of_other_sizes_a_season_apart_spoil_nothing() -> None:
    values = noise() + 5 * np.sin(2 * np.pi * np.arange(400) / 24)
    clean = scored(values, HOURS)
    values[[276, 300]] += [25, 10]
    found = scored(values, HOURS)
    assert np.argsort(-np.nan_to_num(found))[:2].tolist() == [276, 300]
    assert np.abs(found[301:] - clean[301:]).max() < 0.3


def test_a_level_that_stays_is_found_and_then_taken_as_the_series_own() -> None:
    values = noise()
    values[260:] += 12
    score = scored(values)
    assert score[260:272].min() > np.nanmax(score[:260])
    assert np.median(score[340:]) < 1


def test_trends_and_seasons_are_no_anomaly_and_their_breaks_are() -> None:
    steps = np.arange(400.0)
    for values, seasons in ((2 * steps + noise(), NONE), (9 * np.sin(2 * np.pi * steps / 24) + noise(), HOURS)):
        assert np.median(scored(values, seasons)[100:]) < np.log(3)
        broken = values.copy()
        broken[350] += 9
        assert np.nanargmax(scored(broken, seasons)) == 350
    held = 9 * np.sin(2 * np.pi * steps / 24) + noise()
    held[300:324] = held[299]
    score = scored(held, HOURS)
    assert score[300:324].mean() > 3 * score[100:300].mean()


def test_a_constant_is_no_surprise_and_its_first_change_the_largest() -> None:
    for level in (0.0, 3.0, -1e12):
        values = np.full(200, level)
        assert scored(values)[8:].max() == 0  # what rounding adds is no error of a forecast
        values[150] += 1 + abs(level) / 10
        score = scored(values)
        assert np.nanargmax(score) == 150
        assert np.isfinite(score[8:]).all()
        # Itself the one change among 126: its size by √(½/126)/2, in a tail of four degrees of freedom.
        assert score[150] == pytest.approx(float(anchor_surprise(np.array(2 * np.sqrt(2 * 126)))), abs=0.1)
        assert scored(values, share=0)[150] > 100


def test_few_values_known_are_no_reason_to_be_sure() -> None:
    """The first sale after some days without was far ahead of all later ones, up to 1860 where 35 is now the most."""
    largest = [scored(np.random.default_rng(seed).poisson(0.2, 400).astype(float), (7, 365)) for seed in range(10)]
    assert sum(np.nanargmax(one) < 26 for one in largest) <= 2
    assert max(np.nanmax(one[:26]) for one in largest) < 40


def weekly(seed: int, days: int = 98) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 50 + 3 * rng.normal(size=7)[np.arange(days) % 7] + rng.normal(size=days)


def weekends(seed: int, weeks: int = 4) -> np.ndarray:
    rng, steps = np.random.default_rng(seed), np.arange(168 * weeks)
    return (
        50 + 10 * np.sin(2 * np.pi * steps / 24 + seed) * np.where(steps // 24 % 7 < 5, 1, 0.5) + rng.normal(size=672)
    )


def test_the_first_two_seasons_are_flagged_no_more_often_than_later_ones() -> None:
    """Of the days 8 to 13 were 4.6 %, of the first week of hours 4.6 % above what .9 and .6 % of later ones are."""
    days = [scored(weekly(seed), (7, 365)) for seed in range(20)]
    limits = [np.quantile(one[14:], 0.99) for one in days]
    assert np.mean([one[8:14] > limit for one, limit in zip(days, limits, strict=True)]) < 0.03
    hours = [scored(weekends(seed), HOURS) for seed in range(3)]
    limits = [np.quantile(one[336:], 0.995) for one in hours]
    assert np.mean([one[8:336] > limit for one, limit in zip(hours, limits, strict=True)]) < 0.005
    spiked = weekends(0)
    spiked[100] += 40  # two deviations above the first week
    assert np.nanargmax(scored(spiked, HOURS)) == 100


def test_early_scores_are_those_without_what_an_unknown_season_adds() -> None:
    values = weekends(0)
    score, early = forecast_scores(values, HOURS, ForecastScoring())
    np.testing.assert_array_equal(score, scored(values, HOURS))
    assert np.isnan(early[335:]).all()
    assert (early[8:335] > score[8:335]).all()
    assert early[334] == pytest.approx(score[334], rel=0.05)  # the hour before two weeks are known has nearly none
    noise_alone = forecast_scores(noise(), NONE, ForecastScoring())[1]
    assert np.isnan(noise_alone[2:]).all()


def test_a_season_longer_than_what_is_forecast_at_a_time_is_not_flagged_while_it_is_new() -> None:
    """Of the second year of a smooth season in weeks a third was above what one in two hundred of later ones is."""
    weeks = np.arange(260)
    scores = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        values = 10 + 5 * np.sin(2 * np.pi * (weeks / 52.18 + rng.random())) + 0.3 * rng.normal(size=260)
        scores.append(scored(values, (52, 0)))
    later = np.nanquantile(np.array(scores)[:, 156:], 0.995)
    assert (np.array(scores)[:, 52:104] > later).mean() < 0.03


def test_the_last_steps_are_scored_as_all_are_told_the_same_before_them() -> None:
    values = noise() + 5 * np.sin(2 * np.pi * np.arange(400) / 24)
    whole, end = (scored(values, HOURS, outlying=1e9, **last) for last in ({}, {"last": 32}))
    assert np.isnan(end[:368]).all()
    np.testing.assert_array_equal(end[368:], whole[368:])  # 368 is where a forecast begins
    values[-40:] = np.nan
    assert np.isnan(scored(values, HOURS, last=32)).all()


def test_missing_values_have_no_score_and_those_around_them_one() -> None:
    values = noise(300) + 5 * np.sin(2 * np.pi * np.arange(300) / 24)
    values[[20, 21, 90]] = np.nan
    values[150:230] = np.nan
    score = scored(values, HOURS)
    np.testing.assert_array_equal(np.isnan(score[8:]), np.isnan(values[8:]))
    assert np.nanmax(score) < 6
    assert np.isnan(score[:8]).all()


@pytest.mark.parametrize("at", [17, 40, 133, 200])
def test_a_score_depends_on_nothing_later(at: int) -> None:
    values = noise(260) + np.arange(260)
    values[[60, 61, 120]] = np.nan
    values[100] += 30
    np.testing.assert_array_equal(scored(values[:at], HOURS), scored(values, HOURS)[:at])


def test_the_bundled_model_scores_by_forecasts_unless_told_otherwise(default: TSDiffPredictor) -> None:
    adapted, entry = default.adapted("h", 6), sines(1, 120)[0]
    by_default, by_name = anomaly_scores(adapted, entry)[0], anomaly_scores(adapted, entry, scoring("forecast"))[0]
    np.testing.assert_array_equal(by_default.score, by_name.score)
    np.testing.assert_allclose(by_default.score, scored(np.asarray(entry["target"], dtype=float), HOURS))
    assert scoring("forecast", 5) == ForecastScoring(steps=5)
    assert scoring("forecast", calendar_days=False) == ForecastScoring(calendar_days=False)
    assert scoring("elbo") == DEFAULT_SCORING
    with pytest.warns(UserWarning, match="8 steps lie in no scored window"):
        bound = anomaly_scores(adapted, entry, DEFAULT_SCORING)[0].score
    assert not np.allclose(bound[8:], by_default.score[8:])


def test_a_weighing_of_the_model_s_own_is_used(default: TSDiffPredictor) -> None:
    own = copy.copy(default.adapted("h", 6).model)
    own.weighing = Weighing().eval()
    entry = sines(1, 120)[0]
    (one,), (other,) = anomaly_scores(own, entry), anomaly_scores(default.adapted("h", 6), entry)
    assert not np.allclose(one.score[8:], other.score[8:])


# --- bad input -------------------------------------------------------------------------------------------------


def test_short_series_are_scored_as_far_as_something_is_known(default: TSDiffPredictor) -> None:
    adapted = default.adapted("h", 6)
    for count, known in ((2, 1), (5, 2), (40, 8)):
        (found,) = anomaly_scores(adapted, {**sines(1, 60)[0], "target": noise(count)})
        assert np.flatnonzero(np.isfinite(found.score)).tolist() == list(range(known, count))
    for target in ([np.nan, 3.0], [3.0]):
        with (
            pytest.warns(Note, match="series 's0' has no score"),
            pytest.raises(DataError, match="none of 1 series could be scored: a forecast needs a value before"),
        ):
            anomaly_scores(adapted, {**sines(1, 60)[0], "target": np.array(target)})


def test_a_series_of_one_value_does_not_end_the_scoring_of_others(default: TSDiffPredictor) -> None:
    one, other = sines(2, 60)
    with pytest.warns(Note, match="series 's0' has no score"):
        alone, found = anomaly_scores(default.adapted("h", 6), [{**one, "target": one["target"][:1]}, other])
    assert np.isnan(alone.score).tolist() == [True]
    assert np.isfinite(found.score).sum() == 52


def test_settings_that_make_no_sense() -> None:
    for settings in ({"steps": 0}, {"last": 0}, {"outlying": 0.0}, {"outlying": float("nan")}):
        with pytest.raises(ConfigError, match="|".join(settings)):
            ForecastScoring(**settings)
    with pytest.raises(ConfigError, match="forecast"):
        scoring("guess")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="scores by 'elbo' know no calendar; leave it out"):
        scoring("elbo", calendar_days=True)


def test_long_gaps_cost_no_more_than_their_ends() -> None:
    values = np.concatenate([noise(100), np.full(4000, np.nan), noise(20)])
    score = scored(values)
    assert np.isfinite(score[-20:]).all()
    assert pd.Series(score[100:-20]).isna().all()
