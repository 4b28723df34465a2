"""The score of labelled anomalies: its ends, its costs, and what does not matter to it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.nab import PROFILES, Labelled, nab_score, rewards, worth

STANDARD, FEW_FALSE, FEW_MISSED = PROFILES


def series(windows: list[tuple[int, int]], count: int = 400) -> Labelled:
    return Labelled("a", "5min", pd.Timestamp("2024-01-01"), np.zeros(count), windows)


def alarms(one: Labelled, *places: int) -> tuple[Labelled, np.ndarray]:
    scores = np.zeros(len(one.values))
    scores[list(places)] = 1.0
    return one, scores


@pytest.mark.parametrize("profile", PROFILES, ids=lambda one: one.name)
def test_alarms_at_the_first_readings_alone_are_perfect_and_none_is_nothing(profile):
    one = series([(100, 140), (300, 320)])
    assert nab_score([alarms(one, 100, 300)], profile) == (pytest.approx(100.0), 1.0)
    score, threshold = nab_score([(one, np.zeros(400))], profile)
    assert (score, threshold) == (0.0, np.inf)  # every reading an alarm would cost more


def test_a_later_alarm_in_a_window_earns_less_and_further_ones_nothing():
    one = series([(100, 199)])
    at = [nab_score([alarms(one, place)], STANDARD)[0] for place in (100, 150, 180, 199)]
    assert at == sorted(at, reverse=True)
    assert nab_score([alarms(one, 150, 151, 180)], STANDARD)[0] == at[1]
    middle = (2 / (1 + np.exp(-2.5)) - 1) / (2 / (1 + np.exp(-5.0)) - 1)  # half of the window is left
    assert at[1] == pytest.approx(100 * (1 + middle) / 2, abs=0.01)


def test_false_alarms_cost_the_more_the_farther_behind_a_window():
    value, window = rewards(series([(100, 140)]))
    assert (value[:100] == -1).all()
    assert (value[261:] == -1).all()  # more than three windows behind
    assert (np.diff(value[141:262]) <= 0).all()
    assert value[141] == pytest.approx(2 / (1 + np.exp(5 / 40)) - 1)
    assert set(window[100:141]) == {0}
    assert worth(np.array([-1.0, 0.0, 1.0])) == pytest.approx([0.98661, 0.0, -0.98661], abs=1e-5)
    one = series([(100, 140)])
    whole, dear = (nab_score([alarms(one, 100, 70, 80)], profile)[0] for profile in (STANDARD, FEW_FALSE))
    assert (whole, dear) == (pytest.approx(100 * (2 - 0.22) / 2), pytest.approx(100 * (2 - 0.44) / 2))
    lost = nab_score([alarms(series([(100, 140), (300, 320)]), 100)], FEW_MISSED)[0]
    assert lost == pytest.approx(100 * 3 / 6)


def test_what_comes_early_and_what_has_no_score_counts_nothing():
    one = series([(100, 140)])
    _, scores = alarms(one, 100)
    early, unknown = scores.copy(), scores.copy()
    early[: one.probation] = 5.0
    unknown[200:] = np.nan
    assert one.probation == 60
    assert nab_score([(one, early)], STANDARD) == nab_score([(one, unknown)], STANDARD) == (pytest.approx(100.0), 1.0)


def test_only_the_order_of_scores_matters_and_one_threshold_is_for_all():
    rng = np.random.default_rng(0)
    made = [(series([(100, 140)]), rng.normal(size=400)) for _ in range(3)]
    moved = [(one, np.exp(2 * scores)) for one, scores in made]
    assert nab_score(made, STANDARD)[0] == pytest.approx(nab_score(moved, STANDARD)[0])
    apart = [alarms(series([(100, 140)]), 100), (series([(100, 140)]), 0.4 * alarms(series([]), 100)[1] + 2.0)]
    assert nab_score(apart, STANDARD)[0] == pytest.approx(50.0)  # the second series' level hides its alarm


@pytest.mark.parametrize("tied", [True, False])
def test_readings_of_one_score_are_alarms_together(tied):
    one = series([(100, 140)])
    scores = alarms(one, 100)[1]
    scores[150:400] = 1.0 if tied else 0.5
    assert nab_score([(one, scores)], STANDARD)[0] == pytest.approx(0.0 if tied else 100.0)
