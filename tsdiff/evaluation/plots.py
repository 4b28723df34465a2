"""Pictures of forecasts, and what all pictures of series have in common."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import Forecast
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import Formatter

from shared.checks import Count, checked
from shared.errors import ConfigError, DataError
from shared.figures import write_figure
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import quiet
from tsdiff.data.timestamps import Stamp, to_timestamps
from tsdiff.evaluation.pairs import Pair, forecasts_of, pairs_of

SUFFIXES = (".png", ".svg", ".pdf")
ACTUAL, FORECAST, GRID, TEXT = "#22272e", "#1763b5", "#e3e7ec", "#57606a"
BANDS = ((0.05, 0.95, 0.22, "90 % interval"), (0.25, 0.75, 0.42, "50 % interval"))
_HISTORY_HORIZONS = 3
_MOST_DIGITS = 14


def plot_forecasts(
    forecasts: Iterable[Forecast],
    test_data: Iterable[Pair],
    path: str | os.PathLike[str],
    *,
    max_panels: int = 6,
    history: int | None = None,
    title: str | None = None,
    stamp: Stamp = "start",
) -> None:
    """Draw fan charts: median, 50 % and 90 % intervals, what happened, and a stretch of what came before.

    Each panel is one series; if there are more than `max_panels`, panels are spread evenly over them. Of a series
    with several test windows the last is drawn.

    Args:
        forecasts: One univariate forecast for each test pair, in the same order.
        test_data: Pairs (input entry, label entry): a GluonTS `TestData` or a list.
        path: The picture, .png, .svg or .pdf; written atomically.
        max_panels: Panels at most.
        history: Steps shown before the forecast; None shows three times the horizon.
        title: A line above the panels.
        stamp: Which day of their period timestamps name (`SeriesSet.stamp`).

    Raises:
        DataError: Nothing to draw, forecasts of several channels, or such as do not match the pairs in number, order
            or length.
        ConfigError: `max_panels` or `history` is below 1, or the picture's suffix is unknown.
    """
    check_picture(path, max_panels=max_panels, history=history)
    figure = draw_forecasts(forecasts, test_data, max_panels=max_panels, history=history, title=title, stamp=stamp)
    write_picture(figure, path)


def draw_forecasts(
    forecasts: Iterable[Forecast],
    test_data: Iterable[Pair],
    *,
    max_panels: int = 6,
    history: int | None = None,
    title: str | None = None,
    stamp: Stamp = "start",
) -> Figure:
    """The figure of `plot_forecasts`; labels may hold NaN, where what happens is not known."""
    with quiet():
        chosen = _choose(list(forecasts_of(forecasts)), list(pairs_of(test_data)), max_panels)
        figure, panels = grid_of_panels(len(chosen))
        for axes, (forecast, pair) in zip(panels, chosen, strict=True):
            _fan(axes, forecast, pair, history or _HISTORY_HORIZONS * forecast.prediction_length, stamp)
    label_picture(figure, title, panels[:1])
    return figure


def write_picture(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure of series atomically; see `write_figure`."""
    write_figure(figure, path, dpi=150)


def check_picture(path: str | os.PathLike[str], **counts: int | None) -> None:
    """Refuse what cannot be drawn before any work is done.

    Raises:
        ConfigError: a count below 1, or an unknown kind of picture.
    """
    checked(Count | None, **counts)
    if not str(path).lower().endswith(SUFFIXES):
        raise ConfigError(f"{path}: unknown kind of picture; use a name that ends in {', '.join(SUFFIXES)}")


def spread(total: int, count: int) -> list[int]:
    """At most `count` of `total` places, evenly spread from the first to the last."""
    return sorted({round(place) for place in np.linspace(0, total - 1, min(count, total)).tolist()})


def save_picture(
    figure: Figure,
    path: str | os.PathLike[str],
    title: str | None,
    panels: Iterable[Axes],
    parent: Figure | SubFigure | None = None,
) -> None:
    """`label_picture` and `write_picture`."""
    label_picture(figure, title, panels, parent)
    write_picture(figure, path)


def label_picture(
    figure: Figure, title: str | None, panels: Iterable[Axes], parent: Figure | SubFigure | None = None
) -> None:
    """Give a figure a line above it and one legend for the labels of some panels.

    Args:
        figure: the whole.
        title: the line.
        panels: whose labels the legend has, each once.
        parent: the part of the figure below which the legend stands; None takes the whole.
    """
    handles = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    (parent or figure).legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=TEXT,
    )
    if title is not None:
        figure.suptitle(title, fontsize=13, fontweight="bold", color=ACTUAL, parse_math=False)


def _choose(forecasts: list[Forecast], pairs: list[Pair], count: int) -> list[tuple[Forecast, Pair]]:
    """The last window of each series, thinned evenly to `count` series."""
    if len(forecasts) != len(pairs):
        raise DataError(f"there are {len(forecasts)} forecasts for {len(pairs)} test windows; give one for each")
    if not forecasts:
        raise DataError("there is no forecast to draw")
    _check(forecasts, pairs)
    latest = {
        place if pair[1].get("item_id") is None else str(pair[1]["item_id"]): (forecast, pair)
        for place, (forecast, pair) in enumerate(zip(forecasts, pairs, strict=True))
    }
    every = list(latest.values())
    return [every[place] for place in spread(len(every), count)]


def _check(forecasts: Sequence[Forecast], pairs: Sequence[Pair]) -> None:
    """Refuse forecasts of other series than their pairs; what a label is called by itself is the panel's title."""
    names = [str(label.get("item_id")) for _, label in pairs]
    for place, (forecast, (_, label), name) in enumerate(zip(forecasts, pairs, names, strict=True)):
        item, shapes = str(forecast.item_id), (forecast.quantile(0.5).shape, np.shape(label["target"]))
        if item != name and item in names:
            raise DataError(
                f"forecast {place} is of series {item!r}, the actual values of {name!r}; keep forecasts in the order "
                "of the test windows"
            )
        if (start := label.get("start", forecast.start_date)) != forecast.start_date:
            raise DataError(
                f"forecast {place} of series {item!r} is from {forecast.start_date}, the actual values from {start}; "
                "keep forecasts in the order of the test windows"
            )
        if len(shapes[0]) != 1 or shapes[0] != shapes[1]:
            raise DataError(
                f"forecast {place} of series {item!r} has shape {shapes[0]}, the actual values {shapes[1]}; both must "
                "be (length,), of one channel: forecast.copy_dim(channel) is one of several"
            )


class _NotebookFigure(Figure):
    """A figure that notebooks show; one of matplotlib's own they show only if pyplot made a figure before."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def grid_of_panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in one to three columns."""
    columns = 1 if count == 1 else 2 if count in (2, 4) else 3
    rows = math.ceil(count / columns)
    width = 8.0 if columns == 1 else 5.0 * columns if columns == 2 else 13.0
    figure = _NotebookFigure(figsize=(width, 2.6 * rows + (1.4 if rows == 1 else 0.9)), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.1)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in grid[count:]:
        spare.remove()
    return figure, grid[:count]


def _fan(axes: Axes, forecast: Forecast, pair: Pair, history: int, stamp: Stamp) -> None:
    past, label = pair
    seen = np.asarray(past["target"], dtype=np.float64)[-history:]
    future = to_timestamps(forecast.index, stamp)
    before = to_timestamps(pd.period_range(end=forecast.start_date - 1, periods=len(seen), freq=forecast.freq), stamp)
    # One line for past and future: a break between them would look like a gap in the data.
    times, observed = before.append(future), np.concatenate([seen, np.asarray(label["target"], dtype=np.float64)])
    shown = _drawable(forecast.index, stamp)
    for low, high, alpha, name in BANDS:
        lower, upper = (np.broadcast_to(forecast.quantile(level), len(shown)) for level in (low, high))
        axes.fill_between(shown, lower, upper, color=FORECAST, alpha=alpha, linewidth=0, label=name)
    draw_values(axes, times, observed, color=ACTUAL, linewidth=1.1, label="actual")
    median = np.broadcast_to(forecast.quantile(0.5), len(shown))
    axes.plot(shown, median, color=FORECAST, linewidth=1.8, label="median forecast")
    axes.axvline(shown[0], color=TEXT, linewidth=0.8, linestyle=(0, (3, 3)))  # type: ignore[arg-type]
    axes.set_xlim(times[0], shown[-1] + 0.015 * (shown[-1] - times[0]))  # type: ignore[arg-type]
    dress_times(axes, _name(forecast, label))


def _drawable(steps: pd.PeriodIndex, stamp: Stamp) -> pd.DatetimeIndex:
    """The steps' times; in place of a single one, of which bands and lines would show nothing, half a step about it."""
    times = to_timestamps(steps, stamp)
    if len(times) > 1:
        return times
    quarter = (to_timestamps(steps.shift(1), stamp)[0] - times[0]) / 4
    return pd.DatetimeIndex([times[0] - quarter, times[0] + quarter])


def draw_values(axes: Axes, times: pd.Index, values: np.ndarray, **look: Any) -> None:
    """A line through values (length,), and a dot where one has none beside it, of which a line would show nothing."""
    there = np.isfinite(values)
    alone = there & ~np.r_[False, there[:-1]] & ~np.r_[there[1:], False]
    dots = {"marker": ".", "markersize": 3.5, "markevery": alone} if alone.any() else {}
    axes.plot(times, values, **dots, **look)


def _name(forecast: Forecast, label: Entry) -> str:
    item = label.get("item_id", forecast.item_id)
    return f"from {forecast.start_date}" if item is None else str(item)


def dress(axes: Axes, title: str) -> None:
    """The look of a panel, and its title."""
    short = title if len(title) <= 40 else f"{title[:22]}…{title[-17:]}"  # ids may differ at their ends alone
    axes.set_title(short, loc="left", fontsize=10.5, color=ACTUAL, parse_math=False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(which="both", length=0, labelsize=8.5, labelcolor=TEXT)


def dress_times(axes: Axes, title: str) -> None:
    """The look of a panel over time with values of any size."""
    dress(axes, title)
    axes.margins(y=0.08)
    locator: Any = AutoDateLocator(minticks=3, maxticks=7)  # fewer cannot part 31 months, 61 hours or 151 minutes
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set(fontsize=8.5, color=TEXT)
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter(_PlainNumbers())


class _PlainNumbers(Formatter):
    """Ticks that are read at a glance: 15,000 rather than 1.5e4; very large or small ones in powers. They have as many
    digits as tell them apart."""

    def __call__(self, value: float, pos: int | None = None, more: int = 0) -> str:
        if value == 0 or 1e-3 <= abs(value) < 1e7:
            return f"{value:,.{10 + more}g}"
        return f"{value:.{3 + more}g}"

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        for more in range(_MOST_DIGITS):
            labels = [self(value, more=more) for value in values]
            if len(set(labels)) == len(labels):
                break
        return labels
