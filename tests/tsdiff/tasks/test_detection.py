"""Detection metrics and simple detectors, against hand-made scores and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.errors import ConfigError, DataError
from tsdiff.tasks.anomaly.detection import (
    evaluate_detection,
    rolling_z_scores,
    seasonal_median_scores,
    seasonal_naive_scores,
)
from tsdiff.tasks.anomaly.injection import Anomaly, Injected


def labelled(length: int, *anomalies: Anomaly) -> Injected:
    labels = np.zeros(length, dtype=bool)
    for one in anomalies:
        labels[one.first : one.first + one.length] = True
    entry: dict[str, Any] = {"item_id": "a", "start": pd.Period("2024-01-01", freq="h"), "target": np.zeros(length)}
    return Injected(entry, labels, anomalies)


SPIKE, SHIFT = Anomaly("spike", 2, 1), Anomaly("level_shift", 6, 2)


def test_a_perfect_and_a_useless_detector() -> None:
    series = labelled(10, SPIKE, SHIFT)
    perfect = evaluate_detection([series.labels.astype(float)], [series], [0.5])
    assert set(perfect) == {"all", "spike", "level_shift"}
    for metrics in perfect.values():
        assert (metrics.auroc, metrics.auprc, metrics.found, metrics.precision, metrics.recall) == (1, 1, 1, 1, 1)
    assert perfect["all"].prevalence == pytest.approx(0.3)
    assert perfect["spike"].prevalence == pytest.approx(1 / 8)  # steps of the other kind are left out
    useless = evaluate_detection([np.zeros(10)], [series], [0.5])["all"]
    assert (useless.auroc, useless.auprc, useless.found, useless.recall) == (0.5, pytest.approx(0.3), 0, 0)
    assert useless.as_dict()["precision"] is None


def test_areas_by_hand_over_two_series() -> None:
    # Anomalous scores 4 and 1; ordinary ones 3, 2, 0: four of the six pairs are in order.
    first, second = labelled(3, Anomaly("spike", 0, 1)), labelled(2, Anomaly("spike", 1, 1))
    found = evaluate_detection([np.array([4.0, 3, 2]), np.array([0.0, 1])], [first, second])["all"]
    assert found.auroc == pytest.approx(4 / 6)
    assert found.auprc == pytest.approx((1 + 2 / 4) / 2)
    assert math.isnan(found.found)


def test_unknown_scores_are_left_out_and_each_series_has_its_threshold() -> None:
    series = labelled(10, SPIKE, SHIFT)
    score = series.labels * 2.0
    score[7] = np.nan
    score[0] = np.nan
    found = evaluate_detection([score, score], [series, series], [1.0, 3.0])
    assert found["all"].auroc == 1
    assert found["all"].prevalence == pytest.approx(2 / 8)
    assert found["all"].found == found["all"].recall == 0.5
    assert found["all"].precision == 1


def test_one_class_only_has_no_area() -> None:
    found = evaluate_detection([np.arange(4.0)], [labelled(4)])["all"]
    assert math.isnan(found.auroc)
    assert found.as_dict()["auroc"] is None
    assert found.prevalence == 0


def test_what_does_not_match() -> None:
    with pytest.raises(DataError, match="1 scores for 2 series"):
        evaluate_detection([np.zeros(3)], [labelled(3), labelled(3)])
    with pytest.raises(DataError, match="'a'"):
        evaluate_detection([np.zeros(4)], [labelled(3)])
    with pytest.raises(DataError, match="no series to evaluate"):
        evaluate_detection([], [])


def noisy(length: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return 100 + 20 * np.sin(2 * np.pi * np.arange(length) / 24) + rng.standard_normal(length)


def test_baselines_are_in_standard_deviations() -> None:
    values = noisy()
    for scores in (seasonal_naive_scores(values, 24), seasonal_median_scores(values, 24)):
        # |z| of a normal variable: mean √(2/π), second moment 1.
        assert np.mean(scores) == pytest.approx(math.sqrt(2 / math.pi), abs=0.06)
        assert np.mean(scores**2) == pytest.approx(1, abs=0.15)
    rolling = rolling_z_scores(np.random.default_rng(1).standard_normal(2000), 50)
    assert np.mean(rolling**2) == pytest.approx(1, abs=0.06)


def test_baselines_find_a_spike_at_any_level() -> None:
    for level in (1.0, -1.0, 1e12):
        values = level * noisy()
        values[1000] += level * 50
        for scores in (
            seasonal_naive_scores(values, 24),
            seasonal_median_scores(values, 24),
            rolling_z_scores(values, 24),
        ):
            assert scores[1000] > 2
        assert seasonal_median_scores(values, 24).argmax() == 1000


def test_baselines_of_gaps_constants_and_short_series() -> None:
    values = noisy(200)
    values[50] = np.nan
    values[60] = np.inf
    naive, median = seasonal_naive_scores(values, 24), seasonal_median_scores(values, 24)
    assert np.flatnonzero(np.isnan(naive)).tolist() == [50, 60, 74, 84]
    assert np.flatnonzero(np.isnan(median)).tolist() == [50, 60]
    assert np.flatnonzero(np.isnan(rolling_z_scores(values, 24))).tolist() == [50, 60]
    for scores in (
        seasonal_naive_scores(np.full(100, 3.0), 24),
        seasonal_median_scores(np.full(100, 3.0), 24),
        rolling_z_scores(np.full(100, 3.0), 24),
    ):
        assert not scores.any()
    assert np.isnan(seasonal_naive_scores(np.arange(5.0), 24)).all()
    jump = np.full(100, 3.0)
    jump[50] = 4.0
    assert seasonal_median_scores(jump, 24).argmax() == 50


def test_settings_that_cannot_be() -> None:
    for call in (
        lambda: seasonal_naive_scores(np.zeros(5), 0),
        lambda: seasonal_median_scores(np.zeros(5), 0),
        lambda: rolling_z_scores(np.zeros(5), 1),
        lambda: rolling_z_scores(np.zeros(5), 2.5),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError):
            call()
    with pytest.raises(DataError, match="one series"):
        rolling_z_scores(np.zeros((2, 5)), 3)
