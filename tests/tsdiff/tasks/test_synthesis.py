"""Synthetic data sets: how they are drawn, real windows beside them, surrogates."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.common import load_datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator
from tsdiff import TSDiffPredictor
from tsdiff.data import series_from_gluonts
from tsdiff.tasks.synthesis import (
    SynthesisConfig,
    enough_parts,
    gaussian,
    phase_randomised,
    real_windows,
    save_series,
    stack_windows,
    synthesize,
)
from tsdiff.tasks.synthesis.statistics import autocorrelation
from tsdiff.windows.scales import context_scale

LENGTH = CONTEXT + HORIZON


NAN = np.nan


def entry(target: object, item: str = "a", start: str = "2024-01-01", freq: str = "h") -> dict[str, object]:
    return {"item_id": item, "start": pd.Period(start, freq=freq), "target": np.asarray(target, dtype=np.float64)}


def stacked(entries: object) -> np.ndarray:
    return stack_windows(entries, "windows").values  # type: ignore[arg-type]


# --- drawing -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(trained) -> list[dict[str, object]]:
    return list(synthesize(trained.model, 40, sines()))


def test_windows_are_samples_of_the_model_at_the_scale_and_time_of_a_training_window(trained, drawn):
    series = {str(s["item_id"]): s for s in sines()}
    for number in (0, 7, 39):
        made = drawn[number]
        source = series[str(made["source"])]
        first = (made["start"] - source["start"]).n
        assert 0 <= first <= len(source["target"]) - LENGTH
        context = source["target"][first : first + CONTEXT]
        scale = float(context_scale(context[None], "mean", context[None])[1][0, 0])
        sample = trained.model.sample(number + 1, start=made["start"], scales=[scale] * (number + 1))
        np.testing.assert_allclose(made["target"], sample[number, :, 0].numpy(), rtol=2e-4, atol=1e-4)


def test_entries_are_clean_gluonts_entries(drawn):
    checked = series_from_gluonts(drawn)
    assert len(checked) == 40
    assert checked.freq == "h"
    assert not checked.notes
    assert [made["item_id"] for made in drawn[:2]] == ["synthetic_00", "synthetic_01"]
    assert {len(made["target"]) for made in drawn} == {LENGTH}
    assert {made["target"].dtype for made in drawn} == {np.dtype(np.float64)}
    assert {made["source"] for made in drawn} == {"s0", "s1", "s2"}


def test_items_do_not_depend_on_batch_or_number(trained, drawn):
    for rows in (1, 7):
        few = list(synthesize(trained.model, 11, sines(), SynthesisConfig(batch_rows=rows)))
        np.testing.assert_allclose(stacked(few), stacked(drawn[:11]), rtol=1e-4, atol=1e-4)
        assert [made["start"] for made in few] == [made["start"] for made in drawn[:11]]


def test_another_seed_is_another_set(trained, drawn):
    other = list(synthesize(trained.model, 5, sines(), SynthesisConfig(seed=1)))
    assert not np.isclose(stacked(other), stacked(drawn[:5])).all(axis=1).any()


def test_synthetic_values_follow_the_scale_of_the_series(trained, drawn):
    large = [{**s, "target": s["target"] * 1024} for s in sines()]
    np.testing.assert_allclose(stacked(synthesize(trained.model, 8, large)), 1024 * stacked(drawn[:8]), rtol=1e-4)


def test_windows_are_drawn_as_they_are_asked_for(trained):
    stream = synthesize(trained.model, 10**9, sines(), SynthesisConfig(batch_rows=2))
    assert next(stream)["item_id"] == "synthetic_000000000"


def test_a_pool_smaller_than_the_set_draws_from_all_of_it(trained):
    many = ({**sines(1)[0], "item_id": f"n{place}"} for place in range(300))
    made = synthesize(trained.model, 60, many, SynthesisConfig(pool=20, steps=1))
    sources = {int(str(m["source"])[1:]) for m in made}
    assert 10 <= len(sources) <= 20
    assert min(sources) < 150 < max(sources)


def test_nonnegative_clips_at_zero(trained):
    zero_mean = [{**s, "target": s["target"] - s["target"].mean()} for s in sines()]
    plain = stacked(synthesize(trained.model, 20, zero_mean, SynthesisConfig(steps=2)))
    clipped = stacked(synthesize(trained.model, 20, zero_mean, SynthesisConfig(steps=2, nonnegative=True)))
    np.testing.assert_array_equal(clipped, np.maximum(plain, 0.0))


def test_short_missing_and_constant_series_give_scale_and_time_too(trained):
    odd = [
        entry([5.0] * 10, "short"),
        entry([NAN] * 20 + [3.0] * 40, "late"),
        entry([7.0] * 100, "constant"),
        entry([NAN] * 50, "nothing"),
    ]
    made = list(synthesize(trained.model, 40, odd))
    assert {m["source"] for m in made} == {"short", "late", "constant"}
    assert np.isfinite(stacked(made)).all()


@pytest.mark.parametrize(
    ("n", "series", "error", "message"),
    [
        (0, sines(), ConfigError, "n=0: need a whole number, at least 1"),
        (-3, sines(), ConfigError, "n=-3"),
        (2, [], DataError, "no training series holds an observed value"),
        (2, [entry([NAN] * 30)], DataError, "no training series holds an observed value"),
        (2, [entry(np.ones(30), freq="D")], DataError, "series 'a' has frequency D; this model needs"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_once(trained, n, series, error, message):
    with pytest.raises(error, match=message):
        synthesize(trained.model, n, series)


def test_windows_that_are_not_finite_are_refused(trained):
    huge = [entry(np.full(60, 3.0e38), "huge")]
    with pytest.raises(
        DataError, match=r"synthetic window \d+, at the scale of series 'huge' \(.*e\+3\d\), is not finite"
    ):
        list(synthesize(trained.model, 50, huge))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"batch_rows": 0}, "batch_rows=0"),
        ({"pool": 0}, "pool=0"),
        ({"method": "magic"}, "method='magic': choose one of"),
        ({"log_snr_end": NAN}, "log_snr_end=nan"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(SynthesisConfig(), **changes)


def test_channels_and_covariates_go_with_the_windows(tmp_path):
    rng = np.random.default_rng(0)
    series = [
        {
            "item_id": f"m{k}",
            "start": pd.Period("2024-01-01", freq="h") + k,
            "target": np.stack([s["target"], 100.0 + rng.normal(size=200)]),
            "feat_dynamic_real": np.arange(200.0)[None] + 1000 * k,
            "feat_static_real": [float(k)],
            "feat_static_cat": [k],
        }
        for k, s in enumerate(sines())
    ]
    settings = {"channels": 2, "dynamic_features": 1, "static_features": 1, "categories": (3,), "lags": (8,)}
    predictor = tiny_estimator(steps=20, **settings).train(series, progress=False)
    made = list(synthesize(predictor.model, 12, [*series, {**series[0], "target": series[0]["target"][:, :10]}]))
    for m in made:
        k = int(str(m["source"])[1:])
        assert m["target"].shape == (2, LENGTH)
        assert m["feat_static_cat"] == m["feat_static_real"] == [k]
        first = (m["start"] - series[k]["start"]).n
        known = m["feat_dynamic_real"]
        assert known.shape == (1, LENGTH)
        inside = np.arange(first, first + LENGTH) >= 0
        np.testing.assert_array_equal(known[0, inside], (np.arange(first, first + LENGTH) + 1000 * k)[inside])
    # A set of what a model takes trains that model again.
    save_series(made, gluonts_folder=tmp_path / "s", prediction_length=HORIZON, categories=(3,))
    read = load_datasets(tmp_path / "s", tmp_path / "s" / "train", None)
    assert read.metadata.feat_static_cat[0].cardinality == "3"
    with gzip.open(tmp_path / "s" / "train" / "data.json.gz") as stream:
        again = [json.loads(line) for line in stream]
    back = [{**e, "start": pd.Period(e["start"], freq="h")} for e in again]
    tiny_estimator(steps=2, **settings).train(back, progress=False)


def test_a_conditional_model_draws_nothing():
    model = tiny_estimator(steps=2, conditional=True).train(sines(), progress=False).model
    with pytest.raises(ConfigError, match="a conditional model only forecasts"):
        synthesize(model, 2, sines())


def test_the_bundled_model_says_that_it_draws_no_seasons():
    model = TSDiffPredictor.from_pretrained("default").adapted("h", HORIZON).model
    with pytest.warns(Note, match="none of their seasons; train one on the series"):
        list(synthesize(model, 2, sines(), SynthesisConfig(steps=1)))


# --- real windows ------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    length=st.integers(1, 12),
    parts=st.integers(1, 3),
    missing=st.sets(st.integers(0, 29), max_size=4),
    seed=st.integers(0, 5),
)
def test_real_windows_are_the_different_complete_windows(lengths, length, parts, missing, seed):
    series = [entry(1000.0 * k + np.arange(n), f"s{k}") for k, n in enumerate(lengths)]
    for place in missing:
        for s in series:
            s["target"][place : place + 1] = NAN  # type: ignore[index]
    expected = set()
    for k, n in enumerate(lengths):
        edges = np.linspace(0, n, parts + 1).round().astype(int)
        for first in range(n - length + 1):
            inside = any(low <= first and first + length <= high for low, high in pairwise(edges))
            if inside and not missing & set(range(first, first + length)):
                expected.add(1000 * k + first)
    if not expected:
        with pytest.raises(DataError, match="have 0 different windows"):
            real_windows(series, length, 1, seed=seed, parts=parts)
        return
    windows = real_windows(series, length, len(expected), seed=seed, parts=parts)
    values = stacked(windows)
    np.testing.assert_array_equal(values - values[:, :1], np.tile(np.arange(length), (len(values), 1)))
    assert {int(row[0]) for row in values} == expected
    for window, row in zip(windows, values, strict=True):
        assert (window["start"] - pd.Period("2024-01-01", freq="h")).n == row[0] % 1000
        assert str(window["source"]).startswith(f"s{int(row[0] // 1000)}")
    with pytest.raises(DataError, match=f"have {len(expected)} different windows of {length} steps"):
        real_windows(series, length, len(expected) + 1, seed=seed, parts=parts)


def test_every_series_has_the_same_chance():
    series = [entry(np.zeros(n) + k, f"s{k}") for k, n in enumerate((40, 400, 4000))]
    counts = np.unique(stacked(real_windows(series, 10, 60)), return_counts=True)[1] / 10
    np.testing.assert_array_equal(counts, [20, 20, 20])


def test_parts_do_not_overlap_and_are_sources():
    windows = real_windows([entry(np.arange(100), "a")], 8, 60, parts=enough_parts([{}], 5))
    sources = {str(w["source"]) for w in windows}
    assert sources == {f"a, part {part} of 5" for part in range(1, 6)}
    for window in windows:
        part = int(str(window["source"]).split()[2])
        assert 20 * (part - 1) <= window["target"].min() <= window["target"].max() < 20 * part


def test_multivariate_windows_are_rows_of_one_source():
    wide = {"item_id": "m", "start": pd.Period("2024-01-01", freq="h"), "target": np.arange(60.0).reshape(2, 30)}
    windows = real_windows([wide], 5, 3)
    assert windows[0]["target"].shape == (2, 5)
    together = stack_windows(windows, "windows")
    assert together.values.shape == (6, 5)
    assert set(together.sources) == {"m"}
    np.testing.assert_array_equal(together.values[1::2] - together.values[::2], 30.0)


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ([], "holds no window"),
        (np.zeros((0, 5)), r"has shape \(0, 5\)"),
        (np.zeros(5), r"has shape \(5,\)"),
        ([entry(np.ones(5)), entry(np.ones(6))], "window 1 has 6 steps, those before have 5"),
        (np.array([[1.0, 2.0], [NAN, 1.0], [np.inf, 1.0]]), "2 of 3 windows hold values that are missing or infinite"),
    ],
)
def test_windows_that_do_not_make_a_set_are_refused(windows, message):
    with pytest.raises(DataError, match=message):
        stack_windows(windows, "the windows")


@pytest.mark.parametrize("name", ["n", "length", "parts"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name}=0"):
        real_windows(sines(), **{"length": 4, "n": 4, "parts": 1, name: 0})


# --- surrogates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [24, 25])
def test_phase_surrogates_keep_mean_spectrum_and_circular_autocorrelation(length):
    windows = real_windows(sines(), length, 20)
    made = phase_randomised(windows)
    before, after = stacked(windows), stacked(made)
    assert [m["source"] for m in made] == [w["source"] for w in windows]
    assert not np.isclose(before, after).all(axis=1).any()
    np.testing.assert_allclose(np.abs(np.fft.rfft(after)), np.abs(np.fft.rfft(before)), atol=2e-3)
    np.testing.assert_allclose(after.mean(axis=1), before.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(after.var(axis=1), before.var(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(stacked(phase_randomised(windows[:3])), after[:3])
    assert not np.isclose(stacked(phase_randomised(windows, seed=1)), after).all(axis=1).any()


def test_gaussian_surrogates_have_the_covariance_of_the_scaled_windows():
    rng = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.2, 0.3]])
    values = 10.0 + rng.normal(size=(5000, 3)) @ mixing.T
    windows = [entry(row * 2.0 ** (place % 5), f"w{place}") for place, row in enumerate(values)]
    made = stacked(gaussian(windows, context_length=3))
    real = stacked(windows)
    scales = np.abs(real).mean(axis=1, keepdims=True)
    np.testing.assert_allclose((made / scales).mean(axis=0), (real / scales).mean(axis=0), atol=5e-3)
    np.testing.assert_allclose(np.cov((made / scales).T), np.cov((real / scales).T), atol=5e-4)


def test_surrogates_of_ar1_keep_its_autocorrelation():
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(300, 256))
    values = np.zeros_like(noise)
    for step in range(1, 256):
        values[:, step] = 0.9 * values[:, step - 1] + noise[:, step]
    windows = [entry(50.0 + row, f"w{place}") for place, row in enumerate(values)]
    wanted = autocorrelation(stacked(windows), 10).mean(axis=0)
    for made in (phase_randomised(windows), gaussian(windows, context_length=200)):
        np.testing.assert_allclose(autocorrelation(stacked(made), 10).mean(axis=0), wanted, atol=0.06)


def test_surrogates_refuse_what_has_no_spectrum_or_covariance():
    wide = [{"item_id": "m", "start": pd.Period("2024-01-01", freq="h"), "target": np.ones((2, 8))}]
    with pytest.raises(DataError, match="univariate"):
        phase_randomised(wide)
    with pytest.raises(DataError, match="at least two windows"):
        gaussian([entry(np.ones(8))], context_length=4)
