"""Pictures of anomaly scores."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from shared.errors import ConfigError, DataError
from tsdiff.tasks.anomaly.plots import plot_anomalies
from tsdiff.tasks.anomaly.scores import SeriesScores, Thresholds


def scored(item: str, peak: float, length: int = 60) -> SeriesScores:
    target = np.sin(np.arange(length) / 4)
    score = np.full(length, 0.2)
    score[30:33] = peak
    score[5] = np.nan
    return SeriesScores(item, pd.Period("2024-01-01", freq="h"), target, score)


LIMIT = Thresholds(0.99, 1.0, {})


def test_the_picture_shades_what_is_above_the_threshold_and_what_was_injected(tmp_path: Path) -> None:
    pixels = {}
    for name, peak, labels in (("none", 0.3, None), ("found", 5.0, None), ("known", 0.3, [np.arange(60) // 10 == 4])):
        path = tmp_path / f"{name}.png"
        plot_anomalies([scored("a", peak)], LIMIT, path, labels=labels)
        picture = imread(path)[..., :3]
        reddish = (picture[..., 0] > 0.85) & (picture[..., 1] < 0.8) & (picture[..., 2] < 0.8)
        yellowish = (picture[..., 0] > 0.9) & (picture[..., 1] > 0.8) & (picture[..., 2] < 0.8)
        pixels[name] = (int(reddish.sum()), int(yellowish.sum()))
    assert pixels["found"][0] > pixels["none"][0] + 5000
    assert pixels["known"][1] > pixels["none"][1] + 5000


@pytest.mark.parametrize(("limit", "peak", "shown"), [(0.0, 7.0, "4"), (0.1, 0.9, "0.8"), (2.0, 50.0, "10")])
def test_scores_are_seen_however_small_the_threshold_is(tmp_path: Path, limit: float, peak: float, shown: str) -> None:
    """The axis of a constant series, whose threshold is 0, ended at 6e-06."""
    one = scored("a", peak)
    one.score[one.score == 0.2] = limit / 5
    plot_anomalies([one], Thresholds(0.99, limit, {}), tmp_path / "a.svg")
    ticks = [line.strip()[5:-4] for line in (tmp_path / "a.svg").read_text().splitlines() if "<!-- " in line]
    assert shown in ticks
    assert "40" not in ticks, "one peak does not hide the rest"


@pytest.mark.slow
def test_the_most_anomalous_series_are_drawn_and_any_shape_will_do(tmp_path: Path) -> None:
    several = SeriesScores("m", pd.Period("2024-01", freq="M"), np.zeros((2, 30)), np.linspace(0, 9, 30))
    unscored = SeriesScores("n", pd.Period("2024-01", freq="M"), np.zeros(30), np.full(30, np.nan))
    flat = SeriesScores("f", pd.Period("2024-01-01", freq="D"), np.zeros(2), np.zeros(2))
    plot_anomalies([several, unscored, flat], LIMIT, tmp_path / "two.svg", title="A title")
    drawn = (tmp_path / "two.svg").read_text()
    assert "A title" in drawn
    plot_anomalies([scored(str(i), float(i)) for i in range(9)], LIMIT, tmp_path / "many.png", max_series=2)
    assert (tmp_path / "many.png").stat().st_size > 10_000
    with pytest.raises(DataError, match="no scored series"):
        plot_anomalies([unscored], LIMIT, tmp_path / "none.png")


def test_a_series_of_one_step_is_drawn_in_silence(tmp_path: Path) -> None:
    one = SeriesScores("a", pd.Period("2024-01-01", freq="D"), np.zeros(1), np.ones(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_anomalies([one], LIMIT, tmp_path / "one.png")


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_series"):
        plot_anomalies([scored("a", 1)], LIMIT, tmp_path / "a.png", max_series=0)
    with pytest.raises(ConfigError, match="unknown kind of picture"):
        plot_anomalies([scored("a", 1)], LIMIT, tmp_path / "a.txt")
    with pytest.raises(DataError, match="labels"):
        plot_anomalies([scored("a", 1)], LIMIT, tmp_path / "a.png", labels=[np.zeros(3, dtype=bool)])
