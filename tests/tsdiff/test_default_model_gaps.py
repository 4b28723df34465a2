"""The bundled model of all frequencies fills gaps: of walks, noise, seasons and counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.tsdiff.test_default_model import noisy_week
from tsdiff import TSDiffPredictor
from tsdiff.data.frequency import quiet


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_values_missing_here_and_there_are_imputed_by_the_season(default: TSDiffPredictor, share: float) -> None:
    whole = noisy_week(300)
    missing = np.random.default_rng(7).random(300) < share
    entry = {"start": pd.Period("2021-01-04", freq="D"), "target": np.where(missing, np.nan, whole)}
    (made,) = default.adapted("D", 14).impute([entry], 40)
    low, middle, high = np.quantile(made.samples, [0.05, 0.5, 0.95], axis=0)
    assert np.abs(middle - whole[missing]).mean() < 3  # their own noise is 1.6
    assert ((low <= whole[missing]) & (whole[missing] <= high)).mean() > 0.6


def _imputed(default: TSDiffPredictor, values: np.ndarray, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether intervals of 90 % cover each missing value of days, and the errors of the medians."""
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=len(values)), "y": np.where(gaps, np.nan, values)})
    low, middle, high = (
        default.impute_df(frame, quantile_levels=[0.05, 0.5, 0.95])[["0.05", "0.5", "0.95"]].to_numpy().T
    )
    return ((low <= values) & (values <= high))[gaps], (middle - values)[gaps]


def test_every_second_value_of_a_walk_is_near_the_line_between_its_neighbours(default):
    walk = 50 + np.random.default_rng(0).normal(size=300).cumsum()
    gaps = np.arange(300) % 2 == 1
    gaps[-1] = False
    inside, errors = _imputed(default, walk, gaps)
    line = np.interp(np.arange(300), np.flatnonzero(~gaps), walk[~gaps])
    assert inside.mean() > 0.9
    assert np.abs(errors).mean() < 1.15 * np.abs(line - walk)[gaps].mean()


def test_gaps_of_walks_are_filled_nearly_as_by_their_own_law(default):
    """A walk between two values has the law of a Brownian bridge: the line, with variance k(n − k)/n."""
    start, gap, k = pd.Period("2024-01-01", freq="D"), slice(60, 72), np.arange(1, 13)
    walks = 50 + np.random.default_rng(5).normal(size=(40, 120)).cumsum(axis=1)
    held = walks.copy()
    held[:, gap] = np.nan
    made = default.adapted("D", 14).impute([{"start": start, "target": row} for row in held], 60)
    samples, truth = np.stack([one.samples for one in made], axis=1), walks[:, gap]
    line = walks[:, [59]] + (walks[:, [72]] - walks[:, [59]]) * k / 13
    bridge = line + np.sqrt(k * (13 - k) / 13) * np.random.default_rng(0).normal(size=samples.shape)
    assert _crps(samples, truth) < 1.15 * _crps(bridge, truth)
    low, high = np.quantile(samples, [0.05, 0.95], axis=0)
    assert ((low <= truth) & (truth <= high)).mean() > 0.84
    assert (high - low).mean() < 1.6 * 2 * 1.645 * np.sqrt(k * (13 - k) / 13).mean()


def _crps(samples: np.ndarray, truth: np.ndarray) -> float:
    """Of draws (n, …) of what came, in the mean."""
    return float(np.abs(samples - truth).mean() - np.abs(samples[:, None] - samples).mean() / 2)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_scattered_gaps_of_noise_are_as_wide_as_it(default, share):
    rng = np.random.default_rng(2)
    inside, _ = _imputed(default, 50 + 3 * rng.normal(size=400), np.append(rng.random(399) < share, False))
    assert inside.mean() > 0.82


def test_a_gap_over_a_change_of_level_is_as_uncertain_as_its_place(default):
    days = np.arange(300)
    covered = []
    for place in (151, 153, 155, 157, 159):
        values = np.where(days < place, 50.0, 80.0) + np.random.default_rng(place).normal(size=300)
        covered.append(_imputed(default, values, (days >= 150) & (days < 160))[0])
    assert np.mean(covered) > 0.7


def test_a_week_without_hours_has_a_weekend(default: TSDiffPredictor) -> None:
    """Half a window after it is less than a week: from there, no weekend was known."""
    hours = np.arange(24 * 56)
    weekend = (hours // 24) % 7 >= 5
    values = (
        100 + 20 * np.sin(2 * np.pi * hours / 24) - 40.0 * weekend + np.random.default_rng(0).normal(size=len(hours))
    )
    gap = slice(24 * 21, 24 * 28)
    holed = values.copy()
    holed[gap] = np.nan
    (made,) = default.adapted("h", 24).impute([{"start": pd.Period("2024-01-01", "h"), "target": holed}], 50)
    assert np.abs(made.median - values)[gap][weekend[gap]].mean() < 10


def test_gaps_of_counts_are_counts_and_of_amounts_not_below_zero(default: TSDiffPredictor) -> None:
    rng, days = np.random.default_rng(3), np.arange(200)
    sold = rng.poisson(1.5 + 1.4 * np.sin(2 * np.pi * days / 7)).astype(float)
    frame = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=200, freq="D"), "target": sold})
    frame.loc[rng.random(200) < 0.2, "target"] = np.nan
    missing = frame["target"].isna().to_numpy()
    predictor = default.adapted("D", 14)
    filled = predictor.impute_df(frame, num_samples=100)
    assert filled.attrs == {"nonnegative": 1, "counts": 1}
    levels = filled.loc[missing, ["0.05", "0.25", "0.5", "0.75", "0.95"]].to_numpy()
    assert (levels == np.rint(levels)).all()
    assert levels.min() == 0
    entry = {"item_id": "target", "start": pd.Period("2024-01-01", freq="D"), "target": frame["target"].to_numpy()}
    (made,) = predictor.impute([entry], 100)
    np.testing.assert_array_equal(made.mean[missing], filled.loc[missing, "mean"])
    assert (made.samples == 0).mean() == pytest.approx((sold == 0).mean(), abs=0.06)
    (plain,) = predictor.with_sampling(counts=False, nonnegative=False).impute([entry], 100)
    assert plain.samples.min() < 0
    loose = predictor.impute_df(frame, num_samples=100, counts=False, nonnegative=False)
    np.testing.assert_array_equal(loose.loc[missing, "mean"], plain.mean[missing])
    half = frame.assign(target=frame["target"] / 2)
    amounts = predictor.impute_df(half)
    assert amounts.attrs == {"nonnegative": 1, "counts": 0}
    assert amounts.loc[missing, "0.05"].min() == 0


def test_gaps_in_noise_of_which_every_second_value_is_known_are_as_wide_as_noise(default: TSDiffPredictor) -> None:
    noise = np.random.default_rng(0).normal(size=(8, 200))
    start, held = pd.Period("2024-01-01", freq="D"), noise.copy()
    held[:, 1:-1:2] = np.nan
    made = list(default.adapted("D", 14).impute([{"start": start, "target": row} for row in held], 100))
    low, high = (np.quantile([one.samples for one in made], level, axis=1) for level in (0.05, 0.95))
    assert 2.3 < (high - low).mean() < 3.9  # 3.3 of the noise itself; it was 1
    assert ((low < noise[:, 1:-1:2]) & (noise[:, 1:-1:2] < high)).mean() > 0.65


def test_a_gap_far_longer_than_a_window_keeps_the_season(default: TSDiffPredictor) -> None:
    steps = np.arange(3000)
    whole = 3 * np.sin(2 * np.pi * steps / 24) + 0.05 * np.random.default_rng(5).normal(size=3000)
    target = whole.copy()
    target[1000:2200] = np.nan
    (made,) = default.adapted("h", 24).impute([{"start": pd.Period("2021-01-04", freq="h"), "target": target}], 20)
    assert np.abs(np.median(made.samples, axis=0) - whole[1000:2200]).max() < 0.5


def test_it_imputes_a_gap_better_than_a_straight_line(default: TSDiffPredictor) -> None:
    steps = np.arange(240)
    whole = 5 + np.sin(2 * np.pi * steps / 12)
    target = whole.copy()
    target[100:112] = np.nan
    with quiet():
        entry = {"item_id": "a", "start": pd.Period("2000-01", freq="M"), "target": target}
    (made,) = default.adapted("M", 12).impute([entry], 10)
    error = np.abs(made.median - whole)[100:112].mean()
    assert error < 0.5 * np.abs(np.interp(steps, [99, 112], whole[[99, 112]]) - whole)[100:112].mean()


def test_gaps_of_other_series_change_nothing():
    rng = np.random.default_rng(0)
    whole, gapped = (
        {"start": pd.Period("2024-01-01", "h"), "target": 10 + rng.normal(size=400).cumsum(), "item_id": name}
        for name in "ab"
    )
    gapped["target"][-100:-90] = np.nan
    other = {**whole, "target": np.where(np.arange(400) % 40 == 3, np.nan, whole["target"])}
    predictor = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    for first, second in ((whole, gapped), (gapped, other)):
        alone = [next(iter(predictor.predict([one], 5))).samples for one in (first, second)]
        together = [made.samples for made in predictor.predict([first, second], 5)]
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)
    filled = [next(iter(predictor.impute([one], 5))).paths for one in (gapped, other)]
    both = [made.paths for made in predictor.impute([gapped, other], 5)]
    np.testing.assert_allclose(both, filled, rtol=0, atol=1e-4)
