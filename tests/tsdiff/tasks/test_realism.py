"""The realism report: autocorrelation, spectrum, distances, the classifiers, the picture."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from shared.errors import ConfigError, DataError
from tsdiff.tasks.synthesis import (
    WindowSet,
    discriminate,
    plot_realism,
    realism,
    realism_frame,
    realism_table,
    window_features,
)
from tsdiff.tasks.synthesis.picture import _marginal, _spectrum
from tsdiff.tasks.synthesis.statistics import autocorrelation, power_spectrum


def ar1(n: int, length: int, phi: float, seed: int = 0) -> np.ndarray:
    """Stationary AR(1) windows of unit variance."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, length))
    for step in range(1, length):
        values[:, step] = phi * values[:, step - 1] + math.sqrt(1 - phi**2) * values[:, step]
    return values


def windows(values: np.ndarray, prefix: str = "w") -> WindowSet:
    return WindowSet(values, np.array([f"{prefix}{place}" for place in range(len(values))]))


# --- autocorrelation and spectrum --------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (3, 9), elements=st.integers(-100, 100).map(float)), st.integers(1, 8))
def test_autocorrelation_is_its_definition(values, max_lag):
    found = autocorrelation(values, max_lag)
    for row, acf in zip(values, found, strict=True):
        centred = row - row.mean()
        if np.ptp(row) <= 1e-9 * np.abs(row).max():
            assert np.isnan(acf).all()
            continue
        wanted = [np.sum(centred[lag:] * centred[: 9 - lag]) / np.sum(centred**2) for lag in range(max_lag + 1)]
        np.testing.assert_allclose(acf, wanted, atol=1e-7)


def test_autocorrelation_and_spectrum_of_ar1_are_the_closed_forms():
    phi = 0.8
    values = ar1(100, 4096, phi)
    np.testing.assert_allclose(autocorrelation(values, 20).mean(axis=0), phi ** np.arange(21), atol=0.015)
    frequencies, power = power_spectrum(values)
    mean = power.mean(axis=0)
    closed = 1.0 / np.abs(1 - phi * np.exp(-2j * np.pi * frequencies)) ** 2
    closed /= closed.sum()
    bands = np.array_split(np.arange(2, len(frequencies) - 1), 32)
    ratio = [mean[band].sum() / closed[band].sum() for band in bands]
    np.testing.assert_allclose(ratio, 1.0, atol=0.07)


def test_a_sine_has_its_power_at_its_frequency():
    values = np.sin(2 * np.pi * np.arange(240) / 24)[None] + 5.0
    frequencies, power = power_spectrum(values)
    assert frequencies[power[0].argmax()] == pytest.approx(1 / 24)
    np.testing.assert_allclose(power.sum(axis=1), 1.0)
    # A Hann window spreads a line over three bins: ¼, 1, ¼ of its power.
    top = np.sort(power[0])[-3:]
    np.testing.assert_allclose(top, [1 / 6, 1 / 6, 2 / 3], atol=1e-6)


def test_constant_windows_have_neither():
    assert np.isnan(autocorrelation(np.full((1, 10), 0.1), 3)).all()
    assert np.isnan(power_spectrum(np.full((1, 10), 0.1))[1]).all()


# --- the classifiers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", ["logistic", "boosting"])
def test_identical_windows_cannot_be_told_apart(classifier):
    same = windows(ar1(60, 48, 0.7))
    found = discriminate(same, same, classifier)
    assert (found.auroc, found.accuracy, found.score) == (0.5, 0.5, 0.0)


@pytest.mark.parametrize("classifier", ["logistic", pytest.param("boosting", marks=pytest.mark.slow)])
def test_windows_of_one_distribution_give_one_half_within_chance(classifier):
    n = 250
    found = discriminate(windows(ar1(n, 48, 0.7)), windows(ar1(n, 48, 0.7, seed=1), "x"), classifier)
    deviation = math.sqrt((2 * n + 1) / (12 * n * n))  # of AUROC under the null (Mann & Whitney 1947)
    assert abs(found.auroc - 0.5) < 4 * deviation
    assert abs(found.accuracy - 0.5) < 4 * 0.5 / math.sqrt(2 * n)


@pytest.mark.parametrize("classifier", ["logistic", "boosting"])
def test_shifted_windows_are_always_told_apart(classifier):
    found = discriminate(windows(ar1(60, 48, 0.7)), windows(ar1(60, 48, 0.7, seed=1) + 20.0, "x"), classifier)
    assert (found.auroc, found.accuracy, found.score) == (1.0, 1.0, 0.5)


@pytest.mark.parametrize("classifier", ["logistic", "boosting"])
def test_ten_windows_are_enough_to_tell_noise_from_walks(classifier):
    noise = np.random.default_rng(0).normal(size=(2, 10, 48))
    found = discriminate(windows(noise[0]), windows(noise[1].cumsum(axis=1), "x"), classifier)
    assert found.auroc > 0.8


def test_a_part_that_learns_from_two_windows_is_scored():
    values = np.random.default_rng(0).normal(size=(2, 10, 48))
    sources = np.array(["B", *"AAAAAAAAA"])  # what tells A's windows has learnt from B's alone
    real, synthetic = (replace(windows(rows), sources=sources) for rows in values)
    assert 0 <= discriminate(real, synthetic, "boosting").auroc <= 1


def test_the_area_is_that_of_two_normal_levels():
    rng = np.random.default_rng(0)
    level = rng.normal(size=(2, 500, 1))
    level[1] += 1.0
    values = level + 1e-3 * rng.normal(size=(2, 500, 8))
    found = discriminate(windows(values[0]), windows(values[1], "x"), "logistic")
    assert found.auroc == pytest.approx(stats.norm.cdf(1 / math.sqrt(2)), abs=0.05)


@pytest.mark.slow
def test_overlapping_windows_of_one_series_do_not_give_it_away():
    """Each series has a level of its own; a classifier that saw windows of it on both sides would know them."""
    rng = np.random.default_rng(0)
    levels = rng.normal(size=(2, 12))
    values = np.repeat(levels, 25, axis=1)[:, :, None] + 1e-3 * rng.normal(size=(2, 300, 4))
    sources = np.repeat(np.arange(12), 25).astype(str)
    real, synthetic = WindowSet(values[0], sources), WindowSet(values[1], np.char.add("x", sources))
    leaking = discriminate(windows(values[0]), windows(values[1], "x"), folds=3)
    apart = discriminate(real, synthetic, folds=3)
    assert leaking.auroc > 0.95
    assert apart.auroc < 0.75


def test_the_seed_settles_everything():
    pair = windows(ar1(50, 16, 0.7)), windows(ar1(40, 16, 0.5, seed=1), "x")
    once, again, other = (discriminate(*pair, folds=2, seed=seed) for seed in (3, 3, 4))
    assert once == again != other


def test_features_are_finite_even_of_constant_windows():
    values = np.stack([np.zeros(12), np.full(12, 1e12), np.arange(12.0)])
    features = window_features(values)
    assert features.shape[0] == 3
    assert np.isfinite(features).all()


@pytest.mark.parametrize(
    ("real", "synthetic", "options", "error", "message"),
    [
        (np.ones((20, 8)), np.ones((20, 9)), {}, DataError, "real windows have 8 steps, synthetic ones 9"),
        (np.ones((9, 8)), np.ones((20, 8)), {}, DataError, "9 real and 20 synthetic windows: give at least 10"),
        (np.ones((20, 8)), np.ones((20, 8)), {"classifier": "oracle"}, ConfigError, "classifier='oracle'"),
        (np.ones((20, 8)), np.ones((20, 8)), {"folds": 1}, ConfigError, "folds=1"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(real, synthetic, options, error, message):
    with pytest.raises(error, match=message):
        discriminate(windows(real), windows(synthetic, "x"), **options)


def test_a_single_source_is_refused():
    one = WindowSet(ar1(20, 8, 0.5), np.array(["a"] * 20))
    with pytest.raises(DataError, match="share one source"):
        discriminate(one, windows(ar1(20, 8, 0.5)))


def test_draws_like_a_single_series_are_told_from_its_parts():
    """`synthesize` names the series that scale and time are of, which of a single series is one source of all draws."""
    parts = np.char.add("a, part ", np.repeat(np.arange(8), 10).astype(str))
    real, alike, other = (ar1(80, 24, phi, seed) for phi, seed in ((0.5, 0), (0.5, 1), (-0.5, 2)))
    made = np.array(["a"] * 80)
    found = [discriminate(WindowSet(real, parts), WindowSet(one, made), "logistic") for one in (alike, other)]
    assert found[0].auroc == pytest.approx(0.5, abs=0.15)
    assert found[1].auroc > 0.95


# --- the report --------------------------------------------------------------------------------------------


def test_identical_sets_are_at_distance_zero():
    values = 10.0 + ar1(40, 32, 0.7)
    report = realism(values, values)
    assert report.value_ks == report.value_wasserstein == report.increment_ks == report.acf_rmse == 0
    assert report.scale_ks == report.spectrum_db == report.increment_wasserstein == 0
    assert report.discrimination["boosting"].auroc == 0.5
    quantiles = report.quantiles()
    np.testing.assert_array_equal(quantiles["real"], quantiles["synthetic"])


def test_scale_is_compared_apart_from_shape():
    values = 10.0 + ar1(40, 32, 0.7)
    report = realism(values, 2.0**20 * values, classifiers=())
    assert report.scale_ks == 1
    assert report.value_ks == pytest.approx(0, abs=1e-12)
    assert report.value_wasserstein == pytest.approx(0, abs=1e-12)
    assert report.spectrum_db == pytest.approx(0, abs=1e-6)


def test_distances_are_those_of_scipy_and_the_definitions():
    real, made = ar1(50, 64, 0.9), ar1(30, 64, 0.2, seed=1)
    report = realism(real, made, max_lag=5, classifiers=())
    scaled = [v / np.abs(v).mean(axis=1, keepdims=True) for v in (real, made)]
    flat = [v.ravel() for v in scaled]
    assert report.value_ks == pytest.approx(stats.ks_2samp(*flat).statistic)
    assert report.value_wasserstein == pytest.approx(stats.wasserstein_distance(*flat))
    steps = [np.diff(v, axis=1).ravel() for v in scaled]
    assert report.increment_wasserstein == pytest.approx(stats.wasserstein_distance(*steps))
    acf = [autocorrelation(v, 5).mean(axis=0)[1:] for v in scaled]
    assert report.acf_rmse == pytest.approx(np.sqrt(np.mean((acf[0] - acf[1]) ** 2)))
    assert report.acf_rmse > 0.3
    assert report.spectrum_db > 3


@pytest.mark.slow
def test_table_and_frame_hold_the_scores():
    values = 10.0 + ar1(40, 32, 0.7)
    rows = {"same": realism(values, values), "other": realism(values, 10.0 + ar1(40, 32, 0.0, seed=2))}
    frame = realism_frame(rows)
    assert list(frame["windows"]) == ["same", "other"]
    assert frame["value_ks"].iloc[0] == 0 < frame["value_ks"].iloc[1]
    json.dumps({name: row.as_dict() for name, row in rows.items()}, allow_nan=False)
    lines = realism_table(rows).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| same | 0.000 | 0.000 | 0.000 |")
    assert lines[2].endswith("| 0.500 ± 0.000 | 0.500 ± 0.000 | 0.500 |")
    assert "AUROC" not in realism_table({"bare": realism(values, values, classifiers=())})


def test_constant_windows_are_left_out_and_it_is_said():
    values = 10.0 + ar1(40, 32, 0.7)
    report = realism(np.concatenate([values, np.full((2, 32), 3.0)]), values, classifiers=())
    assert report.notes == ("2 windows are constant among the real ones and left out of autocorrelation and spectrum",)
    assert report.acf_rmse == 0


NAN_WINDOWS = np.where(np.arange(320).reshape(40, 8) == 83, np.nan, 1.0 + np.arange(8.0))


@pytest.mark.parametrize(
    ("real", "synthetic", "options", "error", "message"),
    [
        (ar1(20, 8, 0.5), ar1(20, 9, 0.5), {}, DataError, "real windows have 8 steps, synthetic ones 9"),
        (ar1(20, 3, 0.5), ar1(20, 3, 0.5), {}, DataError, "windows of 3 steps"),
        (np.ones((20, 8)), ar1(20, 8, 0.5), {}, DataError, "all 20 real windows are constant"),
        (ar1(20, 8, 0.5), np.ones((20, 8)), {}, DataError, "all 20 synthetic windows are constant"),
        (NAN_WINDOWS, ar1(20, 8, 0.5), {}, DataError, "the real windows: 1 of 40 windows hold values that are missing"),
        (ar1(20, 8, 0.5), NAN_WINDOWS, {}, DataError, "the synthetic windows: 1 of 40"),
        (ar1(5, 8, 0.5), ar1(20, 8, 0.5), {}, DataError, "5 real and 20 synthetic windows"),
        (ar1(20, 8, 0.5), ar1(20, 8, 0.5), {"max_lag": 8}, ConfigError, "max_lag=8"),
        (ar1(20, 8, 0.5), ar1(20, 8, 0.5), {"max_lag": 0}, ConfigError, "max_lag=0"),
        (ar1(20, 8, 0.5), [], {}, DataError, "the synthetic windows holds no window"),
    ],
)
def test_what_cannot_be_compared_is_refused(real, synthetic, options, error, message):
    with pytest.raises(error, match=message):
        realism(real, synthetic, **options)


def test_entries_are_compared_by_their_sources():
    start = pd.Period("2024-01-01", freq="h")
    entries = [
        {"item_id": f"r{k}", "start": start, "target": row, "source": f"s{k % 4}"}
        for k, row in enumerate(ar1(40, 16, 0.5))
    ]
    assert realism(entries, entries).discrimination["logistic"].auroc == 0.5


# --- the picture -------------------------------------------------------------------------------------------


def test_titles_of_the_picture_hold_their_numbers_whole():
    report = realism(10.0 + ar1(20, 32, 0.7), 10.0 + ar1(20, 32, 0.0), classifiers=())
    axes = plt.figure().subplots(1, 2)
    _marginal(axes[0], report)
    _spectrum(axes[1], replace(report, spectrum_db=13.99))
    assert axes[0].get_title("left") == f"scaled values   (KS {report.value_ks:.3f})"
    assert axes[1].get_title("left").endswith(" dB)")
    axes[1].figure.draw_without_rendering()
    labels = [label.get_text() for label in axes[1].get_xticklabels(which="minor")]
    assert labels  # there are such ticks, whose labels would lie over each other
    assert not any(labels)
    plt.close("all")


@pytest.mark.slow
def test_the_picture_is_drawn(tmp_path):
    report = realism(10.0 + ar1(20, 32, 0.7), 10.0 + ar1(20, 32, 0.0), classifiers=())
    plot_realism(report, tmp_path / "r.png", windows=2, title="AR(1) and noise")
    image = matplotlib.image.imread(tmp_path / "r.png")
    assert image.shape[1] > 1000
    assert image[..., :3].std() > 0.05  # something is drawn


@pytest.mark.parametrize(
    ("name", "options", "message"), [("r.gif", {}, "kind of picture"), ("r.png", {"windows": 0}, "windows=0")]
)
def test_pictures_that_cannot_be_drawn_are_refused(tmp_path, name, options, message):
    report = realism(ar1(20, 32, 0.7), ar1(20, 32, 0.0), classifiers=())
    with pytest.raises(ConfigError, match=message):
        plot_realism(report, tmp_path / name, **options)


# --- excursions --------------------------------------------------------------------------------------------


def test_excursions_are_compared_around_the_median_of_the_real_windows():
    steps = np.arange(240)
    rng = np.random.default_rng(0)
    phase = rng.integers(0, 48, size=(60, 1))
    square = 5.0 + np.where((steps + phase) % 48 < 24, 1.0, -1.0) + 0.01 * rng.normal(size=(60, 240))
    quick = 5.0 + np.where((steps + phase) % 12 < 6, 1.0, -1.0) + 0.01 * rng.normal(size=(60, 240))
    same = realism(windows(square[:30]), windows(square[30:], "o"), classifiers=())
    fast = realism(windows(square[:30]), windows(quick[30:], "o"), classifiers=())
    assert same.excursion_ks < 0.05
    assert fast.excursion_ks > 0.9
    assert fast.excursion_wasserstein == pytest.approx(math.log(4), abs=0.1)
    assert fast.real.excursions.mean == pytest.approx(24)
    never = realism(windows(square), windows(-square, "o"), classifiers=())
    assert math.isnan(never.excursion_ks)
    assert set(fast.as_dict()) - set(never.as_dict()) == {"excursion_ks", "excursion_wasserstein"}
    assert "excursions KS" in realism_table({"same": same})
