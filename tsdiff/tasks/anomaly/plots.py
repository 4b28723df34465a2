"""Pictures of anomaly scores."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.errors import DataError
from tsdiff.data.frequency import quiet
from tsdiff.data.timestamps import Stamp, to_timestamps
from tsdiff.evaluation.plots import ACTUAL, FORECAST, GRID, check_picture, draw_values, dress_times, save_picture
from tsdiff.tasks.anomaly.scores import SeriesScores, Thresholds, stretches
from tsdiff.tasks.anomaly.thresholds import checked_thresholds, listed_scores

_FLAG, _TRUTH = "#d1495b", "#edae49"
_LEAST_CUT = 5.0
"""Nats: scores up to it, of one in a hundred, are never cut."""


def plot_anomalies(
    scores: Sequence[SeriesScores],
    thresholds: Thresholds,
    path: str | os.PathLike[str],
    *,
    labels: Sequence[np.ndarray] | None = None,
    max_series: int = 4,
    title: str | None = None,
    stamp: Stamp | None = None,
) -> None:
    """Draw each series with its anomalous stretches shaded, and its score with the threshold beneath.

    If there are more than `max_series`, those whose largest score is farthest above their threshold are drawn.

    Args:
        scores: of `anomaly_scores`.
        thresholds: what counts as anomalous.
        path: the picture, .png, .svg or .pdf; written atomically.
        labels: (length,) of bool for each series, known anomalies, shaded behind.
        max_series: series at most.
        title: a line above the panels.
        stamp: which day of their period timestamps name, in place of the scores' own.

    Raises:
        DataError: nothing to draw, or labels that do not match the scores.
        ConfigError: what are no scores or thresholds; `max_series` is below 1, or the picture's suffix is unknown.
    """
    check_picture(path, max_series=max_series)
    scores, thresholds = listed_scores(scores), checked_thresholds(thresholds)
    drawable = [place for place, result in enumerate(scores) if np.isfinite(result.score).any()]
    if not drawable:
        raise DataError("there is no scored series to draw")
    lengths = [len(result.score) for result in scores]
    if labels is not None and (given := [len(row) for row in labels]) != lengths:
        raise DataError(
            f"labels of lengths {given[:5]} for scores of {lengths[:5]}; give one array of each series' length"
        )
    margin = {place: np.nanmax(scores[place].score) - thresholds.of(scores[place].item_id) for place in drawable}
    chosen = sorted(sorted(drawable, key=lambda place: -margin[place])[:max_series])
    figure = Figure(figsize=(12.0, 3.1 * len(chosen) + 0.8), layout="constrained")
    grid = figure.subplots(
        2 * len(chosen), 1, squeeze=False, gridspec_kw={"height_ratios": [2.2, 1] * len(chosen)}
    ).ravel()
    with quiet():
        for row, place in enumerate(chosen):
            known = None if labels is None else labels[place]
            _panel(grid[2 * row], grid[2 * row + 1], scores[place], thresholds, known, stamp)
    save_picture(figure, path, title, grid)


def _panel(
    above: Axes,
    below: Axes,
    result: SeriesScores,
    thresholds: Thresholds,
    known: np.ndarray | None,
    stamp: Stamp | None,
) -> None:
    times, limit = to_timestamps(result.index(), stamp or result.stamp), thresholds.of(result.item_id)
    for axes in (above, below):
        if known is not None:
            _shade(axes, times, known, _TRUTH, 0.35, "injected anomaly")
        _shade(axes, times, thresholds.exceeded(result), _FLAG, 0.35, "above the threshold")
        if len(times) > 1:
            axes.set_xlim(times[0], times[-1])  # type: ignore[arg-type]
    for row in np.atleast_2d(result.target):
        draw_values(above, times, row, color=ACTUAL, linewidth=1.0)
    draw_values(below, times, result.score, color=FORECAST, linewidth=1.0, label="score (nats a step)")
    below.axhline(limit, color=_FLAG, linewidth=0.9, linestyle=(0, (4, 3)), label="threshold")
    below.set_ylim(*_score_limits(result.score, limit))
    dress_times(above, result.item_id)
    dress_times(below, "")
    above.tick_params(labelbottom=False)
    below.grid(axis="y", color=GRID, linewidth=0.6)


def _score_limits(score: np.ndarray, limit: float) -> tuple[float, float]:
    """From the least to the largest score, cut at six times the threshold's height, so that one peak does not hide the
    rest; but not below a few nats, for a threshold may be next to nothing."""
    low, high = float(np.nanmin(score)), float(np.nanmax(score))
    top = min(max(high, limit), low + max(6 * (limit - low), _LEAST_CUT))
    reach = max(limit - low, 0.1 * (top - low), 1e-6)
    return low - 0.1 * reach, top + 0.2 * reach


def _shade(axes: Axes, times: pd.DatetimeIndex, flags: np.ndarray, color: str, alpha: float, name: str) -> None:
    # Half a step to either side, or as much as can be seen.
    half = max((times[1] - times[0]) / 2, (times[-1] - times[0]) / 500) if len(times) > 1 else pd.Timedelta("1h")
    for place, (first, end) in enumerate(stretches(flags)):
        label = name if place == 0 else None
        axes.axvspan(
            times[first] - half,  # type: ignore[arg-type]
            times[end - 1] + half,  # type: ignore[arg-type]
            color=color,
            alpha=alpha,
            linewidth=0,
            label=label,
        )
