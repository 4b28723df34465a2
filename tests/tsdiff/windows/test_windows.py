"""Windows: how they are cut, scaled, bridged and drawn, the way back to the series' units, and their calendar."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts import zebras
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import windows_of
from tsdiff.data.frequency import quiet
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.windows.calendar import calendar_features, calendar_width
from tsdiff.windows.conditioning import cut
from tsdiff.windows.gaps import bridge
from tsdiff.windows.scales import Statistics, context_scale
from tsdiff.windows.series import suited_series
from tsdiff.windows.source import WindowSource

NAN = np.nan


def config(context: int = 8, horizon: int = 4, freq: str = "h", **more: object) -> TSDiffConfig:
    return TSDiffConfig(freq, horizon, context, backbone=S4DConfig(patch=4, width=4, blocks=1, state=2), **more)  # type: ignore[arg-type]


def entry(target: object, item: str = "a", start: str = "2024-01-01", freq: str = "h") -> dict[str, object]:
    return {"item_id": item, "start": pd.Period(start, freq=freq), "target": np.asarray(target, dtype=np.float32)}


# --- cut ---------------------------------------------------------------------------------------------------


@given(n=st.integers(0, 20), first=st.integers(-30, 30), length=st.integers(1, 25))
def test_cut_gives_what_the_series_has_and_nan_elsewhere(n, first, length):
    window = cut(np.arange(n, dtype=np.float32), first, length)
    places = np.arange(first, first + length)
    np.testing.assert_array_equal(window, np.where((places >= 0) & (places < n), places, NAN).astype(np.float32))


# --- scale -------------------------------------------------------------------------------------------------


def scale_of(context: object, scaling: str = "mean", fallback: object = None) -> tuple[float, float]:
    rows = np.atleast_2d(np.asarray(context, dtype=np.float32))
    older = rows if fallback is None else np.atleast_2d(np.asarray(fallback, dtype=np.float32))
    loc, scale = context_scale(rows, scaling, older)  # type: ignore[arg-type]
    return float(loc[0, 0]), float(scale[0, 0])


def test_mean_scaling_is_the_mean_absolute_value_of_what_is_observed():
    assert scale_of([1, -3, NAN, 2]) == (0.0, 2.0)


def test_standard_scaling_is_mean_and_deviation_of_what_is_observed():
    assert scale_of([1, 3, NAN, 1, 3], "standard") == (2.0, 1.0)


def test_last_scaling_is_the_last_value_and_the_mean_step_between_observed_ones():
    assert scale_of([1, 3, NAN, 2, 5, NAN], "last") == (5.0, 2.0)
    assert scale_of([NAN, 7], "last") == (7.0, 7.0)
    assert scale_of([-4, -4, -4], "last") == (-4.0, 4.0)


@pytest.mark.parametrize(("values", "loc", "scale"), [([5, 5, 5], 5, 5), ([-5, -5], -5, 5), ([0, 0], 0, 1)])
def test_a_constant_context_is_scaled_by_its_size(values, loc, scale):
    assert scale_of(values, "standard") == (loc, scale)


@pytest.mark.parametrize("context", [[NAN, NAN], [0, 0], [0, NAN]])
def test_a_context_that_tells_no_scale_takes_the_one_of_the_older_values(context):
    assert scale_of(context, "mean", [4, 8, 0, 0])[1] == 3.0
    assert scale_of(context, "mean", [NAN, 0])[1] == 1.0


@given(
    values=st.lists(st.floats(-100, 100, width=32).filter(lambda v: abs(v) > 0.01), min_size=2, max_size=20),
    factor=st.sampled_from([1e-6, 1e-3, 7.0, 1e12]),
    scaling=st.sampled_from(["mean", "standard", "last"]),
)
def test_scaled_windows_do_not_depend_on_the_unit(values, factor, scaling):
    rows = np.asarray([values], dtype=np.float64)
    loc, scale = context_scale(rows, scaling, rows)
    other_loc, other_scale = context_scale(rows * factor, scaling, rows * factor)
    np.testing.assert_allclose((rows - loc) / scale, (rows * factor - other_loc) / other_scale, rtol=1e-6, atol=1e-6)


def test_rows_are_scaled_each_on_their_own():
    rows = np.array([[1.0, 1.0], [NAN, NAN], [300.0, 500.0]])
    np.testing.assert_allclose(context_scale(rows, "mean", np.full((3, 1), 9.0))[1][:, 0], [1, 9, 400])


@pytest.mark.parametrize(("default", "expected"), [(None, 20 / 12), (0.0, 2.0), (7.0, 7.0)])
def test_a_context_of_zeros_takes_the_default_scale(default, expected):
    """None: of the whole series; 0: of all contexts of the batch, whose 12 observed values sum up to 24."""
    group = [entry([5.0] * 4 + [0.0] * 8), entry([6.0, NAN] * 4)]
    found = windows_of(group, config(default_scale=default), Statistics())
    assert found.scale[:, 0] == pytest.approx([expected, 6.0])


def test_no_scale_is_smaller_than_the_least():
    found = windows_of(entry([0.5] * 8), config(minimum_scale=2.0), Statistics())
    assert found.scale == 2.0


@pytest.mark.parametrize(
    "wrong", [{"default_scale": -1.0}, {"default_scale": 0.0, "scaling": "last"}, {"minimum_scale": 0.0}]
)
def test_scales_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}="):
        config(**wrong)


# --- bridge ------------------------------------------------------------------------------------------------


def test_gaps_are_bridged_by_lines_and_ends_are_flat():
    filled, observed = bridge(np.array([[NAN, 1, NAN, NAN, 4, NAN], [NAN] * 6], dtype=np.float32)[..., None])
    np.testing.assert_allclose(filled[..., 0], [[1, 1, 2, 3, 4, 4], [0] * 6])
    np.testing.assert_array_equal(observed[..., 0], [[0, 1, 0, 0, 1, 0], [0] * 6])


@given(st.lists(st.one_of(st.floats(-1e6, 1e6, width=32), st.just(NAN)), min_size=1, max_size=30))
def test_bridging_keeps_what_is_observed_and_invents_nothing_outside_its_range(values):
    row = np.asarray([values], dtype=np.float32)[..., None]
    given_row = row.copy()
    filled, observed = bridge(row)
    np.testing.assert_array_equal(row, given_row)
    seen = observed[0] > 0
    np.testing.assert_array_equal(filled[0, seen], row[0, seen])
    if seen.any():
        assert filled.min() >= row[0, seen].min()
        assert filled.max() <= row[0, seen].max()


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (entry([1, 2], freq="D"), "'a' has frequency D; this model needs a pd.Period of frequency 'h'"),
        ({"start": zebras.period("2024-01-01", "h"), "target": [1.0]}, r"frequency 'h': start\.to_pandas\(\)"),
        ({**entry([1, 2]), "start": pd.Timestamp("2024-01-01")}, "'a' starts at Timestamp"),
        (entry([[1, 2], [3, 4]]), r"'a' has a target of shape \(2, 2\)"),
        ({**entry([1]), "target": ["x"]}, "'a': its target is not numeric"),
        ({**entry([1]), "target": [1e300]}, "'a': the value 1e.300 is too large for single precision; rescale it"),
        ({**entry([1]), "target": [1e-200, 0]}, "'a': no value is above 1e-200, too small to be squared; rescale it"),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_by_name(bad, message):
    with pytest.raises(DataError, match=message):
        WindowSource([entry([1, 2, 3], "good"), bad], config())
    with pytest.raises(DataError, match=message):
        windows_of(bad, config(), Statistics())


def test_infinities_count_as_missing_and_it_is_said():
    with pytest.warns(UserWarning, match="series 'a': 2 infinities treated as missing"):
        target = suited_series(entry([1, np.inf, 2, -np.inf]), config(), "a").target
    np.testing.assert_array_equal(target, [1, NAN, 2, NAN])


def test_series_without_a_value_are_left_out_and_none_at_all_is_an_error():
    assert len(WindowSource([entry([NAN, NAN]), entry([1.0], "b")], config())) == 1
    with pytest.raises(DataError, match="no series holds an observed value"):
        WindowSource([entry([NAN] * 30)], config())


# --- the source of training windows ------------------------------------------------------------------------


def numbered(length: int, offset: float) -> np.ndarray:
    """A series whose values tell where they come from."""
    return offset + np.arange(length, dtype=np.float32)


@pytest.mark.parametrize("scaling", ["mean", "standard", "last"])
def test_the_same_generator_gives_the_same_batch(scaling):
    source = WindowSource([entry(numbered(40, 1)), entry(numbered(9, 50), "b")], config(scaling=scaling), batch_size=6)
    one, same, other = (source.batch(np.random.default_rng(seed)) for seed in (3, 3, 4))
    for name in ("x0", "mask"):
        torch.testing.assert_close(getattr(one, name), getattr(same, name), rtol=0, atol=0)
    torch.testing.assert_close(one.condition["features"], same.condition["features"], rtol=0, atol=0)
    assert list(one.ids) == list(same.ids) != list(other.ids)
    assert one.x0.shape == one.mask.shape == (6, 12, 1)
    assert one.condition["features"].shape == (6, 12, calendar_width("h", "waves"))


def test_windows_are_true_pieces_of_their_series_with_their_own_calendar():
    targets = {"long": numbered(40, 100), "exact": numbered(12, 1000), "short": numbered(7, 5000)}
    entries = [
        entry(target, item, start)
        for (item, target), start in zip(
            targets.items(), ("2024-01-01 05:00", "2023-05-05", "2024-02-29 23:00"), strict=True
        )
    ]
    starts = {made["item_id"]: made["start"] for made in entries}
    source = WindowSource(entries, config(), batch_size=600)
    batch = source.batch(np.random.default_rng(0))
    seen = set()
    for window, mask, features, name in zip(batch.x0, batch.mask, batch.condition["features"], batch.ids, strict=True):
        item, first = name.split(" from step ")[0], int(name.split(" from step ")[1])
        seen.add((item, first))
        assert first + 12 <= max(len(targets[item]), 12) if item != "short" else first == -5
        raw = cut(targets[item], first, 12)
        np.testing.assert_array_equal(mask[:, 0].numpy(), ~np.isnan(raw))
        scale = np.nanmean(np.abs(raw[:8]))
        np.testing.assert_allclose(window[:, 0].numpy()[~np.isnan(raw)], raw[~np.isnan(raw)] / scale, rtol=1e-5)
        np.testing.assert_allclose(features.numpy(), calendar_features(starts[item] + first, 12, "waves"), atol=1e-6)
    assert {item for item, _ in seen} == set(targets)
    assert {first for item, first in seen if item == "long"} == set(range(29))


@pytest.mark.parametrize(("power", "share"), [(0.0, 0.5), (0.5, 0.75), (1.0, 0.9)])
def test_series_are_drawn_by_the_power_of_their_size(power, share):
    entries = [entry(np.full(20, 9.0), "large"), entry(np.full(20, -1.0), "small")]
    batch = WindowSource(entries, config(), batch_size=4000, scale_power=power).batch(np.random.default_rng(0))
    drawn = np.mean([name.startswith("large") for name in batch.ids])
    assert drawn == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4000))


def test_the_horizon_may_weigh_more_than_the_context():
    target = numbered(30, 1)
    target[20] = NAN
    plain = WindowSource([entry(target)], config(), batch_size=16)
    heavy = WindowSource([entry(target)], config(), batch_size=16, horizon_weight=3.0)
    one, other = (source.batch(np.random.default_rng(0)).mask for source in (plain, heavy))
    torch.testing.assert_close(other[:, :8], one[:, :8])
    torch.testing.assert_close(other[:, 8:], 3 * one[:, 8:])


def test_a_window_is_drawn_again_while_its_context_is_empty():
    target = np.full(60, NAN, dtype=np.float32)
    target[30:] = 2.0
    batch = WindowSource([entry(target)], config(), batch_size=64).batch(np.random.default_rng(0))
    empty = (batch.mask[:, :8, 0].sum(1) == 0).float().mean()
    assert empty < 0.05


def test_training_never_changes_the_callers_entries():
    made = entry([1, NAN, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13])
    before = made["target"].copy()
    source = WindowSource([made], config())
    source.measure(np.random.default_rng(0), 20)
    source.batch(np.random.default_rng(0))
    np.testing.assert_array_equal(made["target"], before)


# --- statistics --------------------------------------------------------------------------------------------


def test_measured_statistics_bring_windows_to_zero_mean_and_unit_spread():
    rng = np.random.default_rng(0)
    entries = [entry(rng.gamma(4.0, size=400), f"{i}") for i in range(5)]
    source = WindowSource(entries, config(), batch_size=2000)
    found = source.measure(np.random.default_rng(1))
    x0 = source.batch(np.random.default_rng(2)).x0
    assert found == source.statistics
    assert abs(float(x0.mean())) < 0.05
    assert abs(float(x0.std()) - 1) < 0.08  # the measure clips the outermost two in a thousand


def test_the_widest_direction_of_known_windows_is_found():
    # Scaled by its mean, a window of level c is 1 up to its noise; with standard scaling white noise stays white.
    rng = np.random.default_rng(0)
    white = WindowSource([entry(rng.normal(size=20000))], config(context=64, horizon=4, scaling="standard"))
    assert white.measure(np.random.default_rng(1)).top_variance < 2.0
    # One sine of random phase fills two directions of 64, each of variance 32.
    wave = np.sin(2 * np.pi * np.arange(20000) / 16)
    waves = WindowSource([entry(wave)], config(context=64, horizon=4, scaling="standard"))
    assert waves.measure(np.random.default_rng(1)).top_variance == pytest.approx(32, rel=0.1)


@pytest.mark.parametrize(
    ("target", "center"), [(np.ones(50), 1.0), (np.zeros(50), 0.0), (np.r_[np.full(4999, NAN), 3.0], 0.0)]
)
def test_dull_series_give_usable_statistics(target, center):
    found = WindowSource([entry(target)], config()).measure(np.random.default_rng(0), 50)
    assert (found.center, found.spread, found.top_variance) == pytest.approx((center, 1.0, 1.0))


def test_long_stretches_of_zeros_do_not_blow_the_scale_up():
    target = np.r_[np.zeros(100), 50 + np.arange(100.0) % 7]
    source = WindowSource([entry(target)], config())
    source.measure(np.random.default_rng(0))
    assert float(source.batch(np.random.default_rng(1)).x0.abs().max()) < 50


# --- conditioning ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    values=st.lists(st.one_of(st.floats(0.125, 100, width=32), st.just(NAN)), min_size=1, max_size=25),
    factor=st.sampled_from([1e-3, -1.0, 1.0, 1e9]),
    scaling=st.sampled_from(["mean", "standard"]),
)
def test_network_units_lead_back_to_the_series(values, factor, scaling):
    target = np.asarray(values, dtype=np.float32) * np.float32(factor)
    if np.isnan(target).all():
        return
    found = windows_of(entry(target), config(scaling=scaling), Statistics(0.4, 2.5, 3.0))
    window = cut(target, len(target) - 8, 12)
    seen = ~np.isnan(window)
    np.testing.assert_array_equal(found.observed[0, :, 0].numpy(), seen)
    assert not found.observed[:, 8:].any()
    assert not found.values[found.observed == 0].any()
    back = found.to_series(found.values.numpy())[0, :, 0]
    np.testing.assert_allclose(back[seen], window[seen], rtol=1e-4, atol=1e-4 * np.nanmax(np.abs(target)))


def test_an_empty_context_is_scaled_by_the_history_before_it():
    target = np.r_[np.full(20, 6.0), np.full(8, NAN)]
    assert windows_of(entry(target), config(), Statistics()).scale == 6.0


def test_a_series_that_holds_nothing_is_named():
    with pytest.raises(DataError, match="series 'shop 7' holds no observed value"):
        windows_of(entry([NAN] * 20, "shop 7"), config(), Statistics())


def test_the_calendar_of_a_short_series_reaches_back_before_its_start():
    found = windows_of(entry([1, 2, 3], start="2024-01-01 03:00"), config(), Statistics())
    expected = calendar_features(pd.Period("2023-12-31 22:00", freq="h"), 12, "waves")
    np.testing.assert_array_equal(found.inputs["features"][0].numpy(), expected)


# --- calendar ----------------------------------------------------------------------------------------------


def wave(phase: np.ndarray) -> np.ndarray:
    return np.sqrt(2) * np.stack([np.sin(2 * np.pi * phase), np.cos(2 * np.pi * phase)], axis=1)


@pytest.mark.parametrize("freq", ["s", "min", "15min", "h", "2h", "D", "B", "W-SUN", "M", "Q-DEC", "Y-DEC"])
def test_the_calendar_agrees_with_pandas(freq):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = pd.Period("2023-11-15 10:30", freq=freq)
        stamps = pd.DatetimeIndex([(start + i).start_time for i in range(200)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = calendar_features(start, 200, "waves")
    day = (stamps - stamps.normalize()) / pd.Timedelta(days=1)
    hour = (stamps.minute * 60 + stamps.second) / 3600
    week, year = (stamps.dayofweek + day) / 7, (stamps.dayofyear - 1) / 365.25
    cycles = {"s": (hour, day), "min": (day, week), "15min": (day, week), "h": (day, week), "2h": (day, week)}
    cycles |= {"D": (week,), "B": (week,), "W-SUN": (year,), "M": (year,), "Q-DEC": (year,), "Y-DEC": ()}
    parts = [wave(np.asarray(phase)) for phase in cycles[freq]]
    expected = np.concatenate(parts, axis=1) if parts else np.zeros((200, 0))
    assert found.shape == (200, calendar_width(freq, "waves"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_business_days_before_the_start_of_a_short_series():
    with quiet():
        made = entry([1.0, 2.0], start="2024-01-01", freq="B")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is shorter than.*")
        source = WindowSource([made], config(freq="B"), batch_size=2)
        source.batch(np.random.default_rng(0))
        windows_of(made, config(freq="B"), Statistics())


@pytest.mark.parametrize("first", ["1620-02", "2264-02"])
def test_the_year_of_months_that_no_timestamp_holds_is_known(first):
    near = pd.Period("2020-02", freq="M")
    np.testing.assert_array_equal(
        calendar_features(pd.Period(first, freq="M"), 36, "season"), calendar_features(near, 36, "season")
    )
