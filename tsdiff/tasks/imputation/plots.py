"""Pictures of imputations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from shared.errors import DataError
from shared.runs import runs
from tsdiff.data.frequency import quiet, shifted
from tsdiff.data.timestamps import Stamp, to_timestamps
from tsdiff.evaluation.plots import (
    ACTUAL,
    BANDS,
    FORECAST,
    check_picture,
    draw_values,
    dress_times,
    grid_of_panels,
    save_picture,
    spread,
)
from tsdiff.tasks.imputation.filling import Imputation

MOST_PANELS = 6
_AROUND = 24
"""Steps shown at least on each side of a gap."""


def plot_imputations(
    imputations: Iterable[Imputation],
    path: str | os.PathLike[str],
    *,
    truth: Sequence[np.ndarray] | None = None,
    steps: int | None = None,
    title: str | None = None,
    stamp: Stamp = "start",
) -> None:
    """Draw what was observed, and where it was not the median and intervals of the draws.

    Args:
        imputations: of univariate series; panels are spread evenly over them.
        path: The picture, .png, .svg or .pdf; written atomically.
        truth: The true values of each series, (length,), where they are known; drawn as dots in the gaps.
        steps: Only so many steps at the end of each series, two at least; None shows all.
        title: A line above the panels.
        stamp: Which day of their period timestamps name (`SeriesSet.stamp`).

    Raises:
        DataError: Nothing to draw, what is no imputation, several channels, or truth of another number or length.
        ConfigError: the picture's suffix is unknown, or steps below 1.
    """
    check_picture(path, steps=steps)
    made = list(imputations)
    if any(not isinstance(one, Imputation) for one in made):
        raise DataError(
            "imputations are what `impute` of a predictor gives; a table of them is drawn by its own columns"
        )
    if not made or any(one.target.ndim > 1 for one in made):
        raise DataError("there is no series of one channel to draw")
    lengths = [len(one.target) for one in made]
    if truth is not None and [len(one) for one in truth] != lengths:
        raise DataError(
            f"truth of {[len(one) for one in truth][:5]} steps for series of {lengths[:5]}; give the true values of "
            "each series whole, in the order of the imputations"
        )
    places = spread(len(made), MOST_PANELS)
    with quiet():
        figure, panels = grid_of_panels(len(places))
        for axes, place in zip(panels, places, strict=True):
            _gaps(axes, made[place], None if truth is None else truth[place], steps, stamp)
    save_picture(figure, path, title, panels[:1])


def around_longest_gap(made: Imputation) -> Imputation:
    """The part of a series of one channel around its longest gap, twice as long on each side where that is known."""
    missing = np.isnan(made.target)
    first, end = max(runs(missing).tolist(), key=lambda gap: gap[1] - gap[0])
    margin = max(2 * (end - first), _AROUND)
    part = slice(max(0, first - margin), end + margin)
    drawn = np.flatnonzero(missing)
    inside = (part.start <= drawn) & (drawn < part.stop)
    start = shifted(made.start, part.start)
    return replace(made, start=start, target=made.target[part], samples=made.samples[:, inside])


def _gaps(axes: Axes, made: Imputation, truth: np.ndarray | None, steps: int | None, stamp: Stamp) -> None:
    index = pd.period_range(made.start, periods=len(made.target), freq=made.start.freq)
    part = slice(-max(steps or len(index), 2), None)  # of a single step a band and a line would show nothing
    times, target = to_timestamps(index[part], stamp), made.target[part]
    missing = np.isnan(target)
    # A gap of one step still shows, as a line to its neighbours.
    near = missing | np.r_[missing[1:], False] | np.r_[False, missing[:-1]]
    for low, high, alpha, name in BANDS:
        lower, upper = made.quantile(low)[part], made.quantile(high)[part]
        axes.fill_between(times, lower, upper, where=near, color=FORECAST, alpha=alpha, linewidth=0, label=name)
    draw_values(axes, times, target, color=ACTUAL, linewidth=1.1, label="observed", zorder=2.5)
    axes.plot(times, np.where(near, made.median[part], np.nan), color=FORECAST, linewidth=1.6, label="median imputed")
    if truth is not None:
        hidden = np.where(missing, truth[part], np.nan)
        axes.plot(times, hidden, ".", color="#c2410c", markersize=3.5, label="true value, hidden")
    dress_times(axes, made.item_id)
