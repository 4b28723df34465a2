"""Pictures of forecasts: whole files, what is on them, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import QuantileForecast, SampleForecast
from matplotlib import dates, pyplot
from matplotlib.figure import Figure
from matplotlib.image import imread

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tsdiff.evaluation.plots import draw_forecasts, dress_times, plot_forecasts


def make_windows(count: int = 3, windows: int = 1, freq: str = "h", history: int = 40):
    """Pairs and sample forecasts; series "s0", "s1", …, each with `windows` test windows."""
    rng = np.random.default_rng(0)
    pairs, forecasts = [], []
    for item in range(count):
        for window in range(windows):
            start = pd.Period("2024-01-01", freq=freq) + window
            past = {"item_id": f"s{item}", "start": start, "target": rng.normal(size=history).astype(np.float32)}
            label = {**past, "start": start + history, "target": rng.normal(size=8).astype(np.float32)}
            pairs.append((past, label))
            forecasts.append(SampleForecast(rng.normal(size=(20, 8)), start + history, item_id=f"s{item}"))
    return forecasts, pairs


def test_windows_of_a_series_in_another_order_are_refused(tmp_path):
    forecasts, pairs = make_windows(1, 2)
    with pytest.raises(DataError, match="is from 2024-01-02 17:00, the actual values from 2024-01-02 16:00"):
        plot_forecasts(forecasts[::-1], pairs, tmp_path / "a.svg")


def titles(path: Path) -> list[str]:
    """The texts of an SVG picture that name a series (matplotlib leaves each text in a comment)."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip()[5:-4] for line in lines if line.strip().startswith("<!-- s")]


@pytest.mark.parametrize("count", [1, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 4, 7))])
def test_every_number_of_panels_gives_a_whole_picture(tmp_path, count):
    path = tmp_path / "deep" / "fan.png"
    plot_forecasts(*make_windows(count), path, max_panels=9, title="Forecasts")
    picture = imread(path)
    assert min(picture.shape[:2]) > 400
    shades = (picture * 255).astype(np.uint32) @ np.array([1, 256, 256**2, 256**3], dtype=np.uint32)
    assert len(np.unique(shades)) > 20
    assert [file.name for file in path.parent.iterdir()] == ["fan.png"]


def test_long_names_that_differ_at_their_ends_alone_are_told_apart(tmp_path):
    forecasts, pairs = make_windows(2)
    for place, (forecast, pair) in enumerate(zip(forecasts, pairs, strict=True)):
        forecast.item_id = pair[1]["item_id"] = f"shops/north/{'x' * 40}/till {place}"
    plot_forecasts(forecasts, pairs, tmp_path / "fan.svg")
    first, second = titles(tmp_path / "fan.svg")
    assert first.startswith("shops/north/x")
    assert (first[-8:], second[-8:]) == ("x/till 0", "x/till 1")
    assert len(first) == 40


def test_panels_are_spread_over_the_series(tmp_path):
    plot_forecasts(*make_windows(9, windows=2), tmp_path / "fan.svg", max_panels=3)
    assert titles(tmp_path / "fan.svg") == ["s0", "s4", "s8"]


@pytest.mark.parametrize(
    "freq", ["D", "Q", "15min", *(pytest.param(freq, marks=pytest.mark.slow) for freq in ("W", "M", "Y"))]
)
def test_other_frequencies_gaps_and_short_histories(tmp_path, freq):
    forecasts, pairs = make_windows(2, freq=freq, history=5)
    pairs[0][0]["target"][2] = np.nan
    pairs[1][1]["target"][:] = np.nan
    plot_forecasts(forecasts, pairs, tmp_path / "fan.svg", history=100, stamp="end")
    assert titles(tmp_path / "fan.svg") == ["s0", "s1"]


def test_quantile_forecasts_without_a_name(tmp_path):
    _, pairs = make_windows(1)
    for entry in pairs[0]:
        del entry["item_id"]
    keys = ["0.05", "0.25", "0.5", "0.75", "0.95"]
    forecast = QuantileForecast(np.arange(40.0).reshape(5, 8), pairs[0][1]["start"], keys)
    plot_forecasts([forecast], pairs, tmp_path / "fan.pdf")
    assert (tmp_path / "fan.pdf").read_bytes().startswith(b"%PDF")


def test_pictures_leave_the_users_own_figures_alone(tmp_path):
    mine = pyplot.figure()
    try:
        plot_forecasts(*make_windows(1), tmp_path / "fan.svg")
        assert pyplot.get_fignums() == [mine.number]
        assert pyplot.gcf() is mine
        assert not mine.axes
    finally:
        pyplot.close(mine)


def test_what_cannot_be_drawn_is_refused_and_leaves_no_file(tmp_path):
    forecasts, pairs = make_windows()
    path = tmp_path / "fan.png"
    for options in ({"max_panels": 0}, {"history": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            plot_forecasts(forecasts, pairs, path, **options)
    with pytest.raises(ConfigError, match=r"fan\.txt: unknown kind"):
        plot_forecasts(forecasts, pairs, tmp_path / "fan.txt")
    with pytest.raises(DataError, match="2 forecasts for 3 test windows"):
        plot_forecasts(forecasts[:2], pairs, path)
    with pytest.raises(DataError, match="no forecast to draw"):
        plot_forecasts([], [], path)
    with pytest.raises(DataError, match="forecast 0 is of series 's2', the actual values of 's0'; keep"):
        plot_forecasts(forecasts[::-1], pairs, path)
    two = SampleForecast(np.zeros((3, 24, 2)), forecasts[0].start_date)
    with pytest.raises(DataError, match=r"has shape \(24, 2\), the actual values \(2, 24\); both .*copy_dim"):
        plot_forecasts([two], [(pairs[0][0], {**pairs[0][1], "target": np.zeros((2, 24))})], path)
    with pytest.raises(DataError, match=r"series 's0' has shape \(8,\), the actual values \(5,\)"):
        plot_forecasts(forecasts[:1], [(pairs[0][0], {**pairs[0][1], "target": np.zeros(5)})], path)
    assert list(tmp_path.iterdir()) == []


def test_names_are_no_formulas(tmp_path):
    forecasts, pairs = make_windows(2)
    for (past, label), name in zip(pairs, ("s$100 - $200", "s$b_{x$"), strict=True):
        past["item_id"] = label["item_id"] = name
    plot_forecasts(forecasts, pairs, tmp_path / "fan.svg", title="$1 to $_{2$")
    assert titles(tmp_path / "fan.svg") == ["s$100 - $200", "s$b_{x$"]


def test_characters_that_the_font_lacks_are_told_once(tmp_path):
    forecasts, pairs = make_windows(1)
    pairs[0][1]["item_id"] = "\U000100a0\U000100a1"  # ideograms of Linear B, which the default font has not
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plot_forecasts(forecasts, pairs, tmp_path / "fan.png")
    assert [(one.category, "no \U000100a0\U000100a1," in str(one.message)) for one in caught] == [(Note, True)]


def test_a_single_step_shows_its_intervals():
    forecasts, pairs = make_windows(1, freq="D")
    forecasts = [SampleForecast(forecasts[0].samples[:, :1], forecasts[0].start_date, item_id="s0")]
    pairs = [(pairs[0][0], {**pairs[0][1], "target": np.array([np.nan])})]
    axes = draw_forecasts(forecasts, pairs).axes[0]
    middle = dates.date2num(forecasts[0].start_date.to_timestamp())
    for band, level in zip(axes.collections, (0.05, 0.25), strict=True):
        (left, bottom), (right, _) = band.get_paths()[0].get_extents().get_points()
        assert (left, right) == (middle - 0.25, middle + 0.25)
        assert bottom == forecasts[0].quantile(level)[0]
    (median,) = (line for line in axes.lines if line.get_label() == "median forecast")
    assert len(median.get_xdata()) == 2
    assert axes.get_xlim()[1] > middle + 0.25


def test_values_with_none_beside_them_are_dots():
    forecasts, pairs = make_windows(1)
    pairs[0][0]["target"][[20, 22, 24]] = np.nan
    (line,) = (one for one in draw_forecasts(forecasts, pairs).axes[0].lines if one.get_label() == "actual")
    assert line.get_marker() == "."
    assert np.flatnonzero(line.get_markevery()).tolist() == [5, 7]  # of 24 + 8 steps that are shown


@pytest.mark.parametrize(("level", "told"), [(0, "0"), (15_000, "15,000"), (1e9, "1000000000"), (1e-9, "1e-09")])
def test_ticks_are_told_apart(level, told):
    forecasts, pairs = make_windows(1)
    step = max(abs(level) * 1e-10, 1e-13)
    pairs[0][0]["target"] = level + step * pairs[0][0]["target"].astype(np.float64)
    pairs[0][1]["target"] = np.full(8, np.nan)
    forecasts[0] = SampleForecast(level + step * forecasts[0].samples, forecasts[0].start_date)
    figure = draw_forecasts(forecasts, pairs)
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == len(labels) > 2
    assert any(label.startswith(told) for label in labels)


@pytest.mark.parametrize("unit", ["s", "min", "h", "D", "MS", "YS"])
def test_spans_of_any_length_have_ticks_that_are_chosen_without_a_word(unit):
    """Of 31 to 35 months, 61 to 71 hours and 151 to 179 minutes matplotlib warned, at each look."""
    for steps in (1, 2, 3, 5, 20, 29, 31, 35, 45, 61, 71, 100, 151, 179, 200):
        axes = Figure().subplots()
        times = pd.date_range("2020-01-01", periods=steps + 1, freq=unit)
        axes.plot(times, np.arange(steps + 1.0))
        axes.set_xlim(times[0], times[-1])
        dress_times(axes, "")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            shown = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
        assert 2 <= len(shown) <= 9, (unit, steps)
