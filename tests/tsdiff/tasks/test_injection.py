"""Injected anomalies: labels tell exactly what changed, and each kind does what its name says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, DataError
from tsdiff.tasks.anomaly.injection import KINDS, Anomaly, InjectionConfig, change, inject

START = pd.Period("2024-01-01", freq="h")


def wave(length: int = 400, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 50 + 10 * np.sin(2 * np.pi * np.arange(length) / 24) + rng.standard_normal(length)


def entry(values: np.ndarray, name: str = "a") -> dict[str, Any]:
    return {"item_id": name, "start": START, "target": values.astype(np.float32), "info": "kept"}


@given(
    seed=st.integers(0, 2**31),
    length=st.integers(30, 400),
    per_series=st.integers(1, 12),
    shortest=st.integers(1, 10),
    extra=st.integers(0, 30),
    margin=st.integers(0, 15),
    level=st.sampled_from([1.0, -1.0, 1e12, 1e-12]),
    gaps=st.floats(0, 0.3),
    channels=st.integers(1, 3),
)
@settings(max_examples=80, deadline=None)
def test_labels_are_true_exactly_where_values_changed(
    seed: int,
    length: int,
    per_series: int,
    shortest: int,
    extra: int,
    margin: int,
    level: float,
    gaps: float,
    channels: int,
) -> None:
    rng = np.random.default_rng(seed)
    target = level * np.stack([wave(length, seed + i) for i in range(channels)])
    target[rng.random(target.shape) < gaps] = np.nan
    item = entry(target if channels > 1 else target[0])
    before = item["target"].copy()
    config = InjectionConfig(
        per_series=per_series, shortest=shortest, longest=shortest + extra, margin=margin, seed=seed
    )
    try:
        (found,) = inject([item], config)
    except DataError:
        return  # no room, or all of it missing
    after = found.entry["target"]
    np.testing.assert_array_equal(item["target"], before)
    assert after.dtype == before.dtype
    assert after.shape == before.shape
    assert found.entry["info"] == "kept"
    changed = (after != before) & ~np.isnan(before)
    np.testing.assert_array_equal(np.isnan(after), np.isnan(before))
    np.testing.assert_array_equal(found.labels, np.atleast_2d(changed).any(axis=0))
    assert not found.labels[: max(margin, 1)].any()
    assert len(found.anomalies) <= per_series
    inside = np.zeros(length, dtype=bool)
    for one, after_one in zip(found.anomalies, [*found.anomalies[1:], None], strict=True):
        stretch = slice(one.first, one.first + one.length)
        assert found.labels[stretch].any()
        assert one.first + one.length <= length
        assert one.length <= shortest + extra or one.kind == "spike"
        assert after_one is None or one.first + one.length < after_one.first
        inside[stretch] = True
        named = found.kinds()[stretch]
        assert set(named) <= {one.kind, ""}
    assert not (found.labels & ~inside).any()
    np.testing.assert_array_equal(found.kinds() != "", found.labels)


def test_the_same_seed_gives_the_same_whatever_else_is_in_the_set() -> None:
    both = inject([entry(wave(seed=1), "x"), entry(wave(seed=2), "y")])
    (alone,) = inject([entry(wave(seed=2), "y")])
    np.testing.assert_array_equal(both[1].entry["target"], alone.entry["target"])
    assert both[1].anomalies == alone.anomalies
    (other,) = inject([entry(wave(seed=2), "y")], InjectionConfig(seed=1))
    assert other.anomalies != alone.anomalies


def test_kinds_occur_equally_often() -> None:
    found = inject([entry(wave(800, i), f"s{i}") for i in range(3)], InjectionConfig(per_series=16))
    counts = pd.Series([one.kind for series in found for one in series.anomalies]).value_counts()
    assert set(counts.index) == set(KINDS)
    assert counts.max() == counts.min() == 6


def changed(kind: Any, values: np.ndarray, magnitude: float = 1.0, seed: int = 0) -> np.ndarray:
    """Steps 100 … 123 after the change; everything else must be as it was."""
    out = change(values, kind, 100, 24, magnitude, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.delete(out, np.s_[100:124]), np.delete(values, np.s_[100:124]))
    return out[100:124]


def test_what_each_kind_does() -> None:
    values = wave()
    piece, deviation = values[100:124], values.std()
    for kind in ("spike", "level_shift"):
        np.testing.assert_allclose(np.abs(changed(kind, values, 2.0) - piece), 2 * deviation)
    ramp = (changed("trend", values) - piece) / deviation
    np.testing.assert_allclose(np.abs(ramp), np.arange(1, 25) / 24)
    assert abs(np.diff(ramp).mean()) == pytest.approx(1 / 24)
    noise = changed("noise_burst", values) - piece
    assert 0.6 * deviation < noise.std() < 1.4 * deviation
    np.testing.assert_array_equal(changed("flatline", values), values[99])
    larger = changed("amplitude", values, 1.0)
    assert np.mean(larger) == pytest.approx(piece.mean())
    assert larger.std() / piece.std() == pytest.approx(2.0) or larger.std() / piece.std() == pytest.approx(0.5)
    line = np.arange(400, dtype=float)
    assert set(np.abs(changed("time_shift", line) - line[100:124])) == {6.0}
    warp = changed("time_warp", line) - line[100:124]
    assert np.abs(warp).argmax() in (11, 12)
    assert np.abs(warp)[[0, -1]].max() < 0.3 * np.abs(warp).max()
    assert (np.diff(line[100:124] + warp) > 0).all()  # time never runs back


@given(st.floats(0.01, 100), st.integers(2, 200), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_warped_time_never_runs_back(magnitude: float, length: int, seed: int) -> None:
    line = np.arange(1000, dtype=float)
    out = change(line, "time_warp", 300, length, magnitude, np.random.default_rng(seed))
    # One step at least, so that something changes; from two steps on, time keeps its order.
    assert (np.diff(out[300 : 300 + length]) > -1e-9).all() or length < 8


def test_a_flatline_changes_nothing_of_a_constant_series_and_is_left_out() -> None:
    (found,) = inject([entry(np.full(300, 5.0))], InjectionConfig(kinds=("flatline", "level_shift"), per_series=4))
    assert {one.kind for one in found.anomalies} == {"level_shift"}
    assert len(found.anomalies) == 2
    size = np.abs(found.entry["target"][found.labels] - 5.0)
    np.testing.assert_allclose(size, 5.0)  # its own size is the only scale there is


def test_integers_and_series_without_room() -> None:
    (found,) = inject([{**entry(wave()), "target": wave().round().astype(np.int64)}])
    assert found.entry["target"].dtype == np.float64
    short, usable = inject([entry(wave(5), "short"), entry(wave(), "long")])
    assert short.anomalies == ()
    assert not short.labels.any()
    assert usable.anomalies
    with pytest.raises(DataError, match="none of 1 series has room"):
        inject([entry(wave(5))])
    with pytest.raises(DataError, match="none of 1 series"):
        inject([entry(np.full(300, np.nan))])
    with pytest.raises(DataError, match="steps in its last 2; give more of these"):
        inject([entry(wave())], last=2)
    with pytest.raises(DataError, match="put it into a list"):
        inject(entry(wave()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "setting",
    [
        {"kinds": ()},
        {"kinds": ("spike", "hail")},
        {"per_series": 0},
        {"shortest": 0},
        {"shortest": 9, "longest": 8},
        {"magnitude": 0.0},
        {"magnitude": float("inf")},
        {"margin": -1},
        {"gap": 0},
    ],
)
def test_settings_that_cannot_be(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        InjectionConfig(**setting)


def test_an_anomaly_is_a_value() -> None:
    assert Anomaly("spike", 3, 1) == Anomaly("spike", 3, 1, channel=0)


@pytest.mark.parametrize("length", [1, 5, 12])
def test_a_time_warp_is_off_the_most_in_the_middle_and_the_same_on_either_side(length: int) -> None:
    """Of a ramp, changes are shifts of time themselves: a half wave from the step before to the step after."""
    ramp = np.arange(100.0)
    shift = (
        change(ramp, "time_warp", 40, length, 3.0, np.random.default_rng(0))[40 : 40 + length] - ramp[40 : 40 + length]
    )
    np.testing.assert_allclose(shift, shift[::-1])
    half_wave = np.sin(np.pi * np.arange(1, length + 1) / (length + 1))
    np.testing.assert_allclose(np.abs(shift), max(1.0, 0.5 * length) * half_wave / np.pi)


def test_anomalies_lie_in_the_last_steps_of_series_of_any_length() -> None:
    for item, found in zip(items := [entry(wave(n), str(n)) for n in (400, 90)], inject(items, None, 60), strict=True):
        assert found.labels[-60:].sum() > 20
        assert not found.labels[:-60].any()
        assert len(found.labels) == len(item["target"])
