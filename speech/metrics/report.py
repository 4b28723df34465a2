"""What an evaluation leaves in its folder: metrics.json, metrics.md, tables as CSV, a picture."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.console.tables import markdown
from shared.errors import DataError, counted
from shared.figures import write_figure
from shared.files.io import write_csv, write_json, write_text
from speech.metrics.evaluation import NOISY, failures, summarise
from speech.metrics.measures import METRICS

_COLOURS = {"noisy": "#9aa4b0", "enhanced": "#1763b5"}
_TEXT = "#57606a"


def as_metrics(frame: pd.DataFrame, *, rtf: float | None = None, nfe: int | None = None) -> dict[str, Any]:
    """What metrics.json holds.

    Args:
        frame: Of `evaluate`.
        rtf: Seconds of computing for a second of sound, where the files were enhanced in this run.
        nfe: Network calls of each window, likewise.

    Returns:
        {"noisy": mean of each metric, "enhanced": the same, "rtf", "nfe", "files": how many, "failed": [{"file",
        "reason"}]}; without noisy recordings "noisy" is empty; a mean of no file is None.
    """
    means: dict[str, dict[str, float | None]] = {"noisy": {}, "enhanced": {}}
    for row in summarise(frame).to_dict("records"):
        if row["kind"] in means:
            means[row["kind"]][row["metric"]] = row["mean"] if math.isfinite(row["mean"]) else None
    return {**means, "rtf": rtf, "nfe": nfe, "files": len(frame), "failed": failures(frame)}


def as_markdown(frame: pd.DataFrame, title: str = "Scores", *, rtf: float | None = None, nfe: int | None = None) -> str:
    """Tables: mean ± standard deviation and 95 % interval of each metric, and the files that could not be scored."""
    speed = ""
    if rtf is not None:
        calls = "" if nfe is None else f", {nfe} network calls a window"
        speed = f" Enhanced at a real-time factor of {rtf:.3g}{calls}."
    head, *rows = as_rows(frame)
    text = (
        f"# {title}\n\n{counted(len(frame), 'file')}, {frame['seconds'].sum() / 60:.1f} minutes.{speed}\n"
        "Mean ± standard deviation over files, [95 % interval of the mean]; gain is enhanced − noisy, file by file. "
        f"n files could be scored.\n\n{markdown(head, rows)}"
    )
    if failed := failures(frame):
        rows = [[each["file"], each["reason"]] for each in failed]
        text += f"\n## Not scored in full: {len(failed)}\n\n{markdown(['file', 'reason'], rows, left=2)}"
    return text


def as_rows(frame: pd.DataFrame) -> list[list[str]]:
    """A table's cells, the head first: a row a metric; noisy, enhanced and gain, or without noisy recordings the score;
    how many files could be scored."""
    summary = summarise(frame)
    kinds = [kind for kind in ("noisy", "enhanced", "gain") if kind in set(summary["kind"])]
    table = [["metric", *(kinds if len(kinds) > 1 else ["score"]), "n"]]
    for name, rows in summary.groupby("metric", sort=False):
        metric = METRICS[str(name)]
        cells = {str(row["kind"]): _cell(row, metric.decimals) for row in rows.to_dict("records")}
        better = "" if metric.better == "higher" else " (lower is better)"
        table.append([metric.title + better, *(cells[kind] for kind in kinds), str(rows["n"].iloc[0])])
    return table


def write_report(
    folder: str | os.PathLike[str],
    frame: pd.DataFrame,
    *,
    title: str = "Scores",
    rtf: float | None = None,
    nfe: int | None = None,
) -> dict[str, Any]:
    """Write metrics.json, metrics.md, per_file.csv, summary.csv and metrics.png, each whole or not at all; no picture
    where no file has a score.

    Returns:
        What metrics.json holds; see `as_metrics`.
    """
    folder = Path(folder)
    found = as_metrics(frame, rtf=rtf, nfe=nfe)
    write_json(folder / "metrics.json", found)
    write_text(folder / "metrics.md", as_markdown(frame, title, rtf=rtf, nfe=nfe))
    write_csv(folder / "per_file.csv", frame)
    write_csv(folder / "summary.csv", summarise(frame))
    if any(mean is not None for mean in found["enhanced"].values()):
        plot_scores(frame, folder / "metrics.png", title=title)
    else:
        (folder / "metrics.png").unlink(missing_ok=True)  # an earlier run's
    return found


def plot_scores(frame: pd.DataFrame, path: str | os.PathLike[str], *, title: str | None = None) -> None:
    """Draw how each metric is distributed over the files, noisy beside enhanced: boxes, every file, and the mean.

    Args:
        frame: Of `evaluate`; files that could not be scored are left out, as from the means.
        path: The picture; written atomically.
        title: A line above the panels.

    Raises:
        DataError: No file has a score.
    """
    summary = summarise(frame)
    names = [str(name) for name in summary.loc[summary["n"] > 0, "metric"].unique()]
    if not names:
        raise DataError("no file has a score; there is nothing to draw")
    across = min(5, len(names))
    down = math.ceil(len(names) / across)
    figure = Figure(figsize=(2.3 * across + 0.6, 2.9 * down + 0.7), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        _draw(panel, frame, name)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, parse_math=False)
    write_figure(figure, path, dpi=130)


def _draw(panel: Axes, frame: pd.DataFrame, name: str) -> None:
    columns = {"noisy": NOISY + name, "enhanced": name}
    values = {kind: frame[column].to_numpy(float) for kind, column in columns.items() if column in frame}
    usable = np.all([np.isfinite(each) for each in values.values()], axis=0)
    spread = np.linspace(-0.16, 0.16, max(2, int(usable.sum())))[: int(usable.sum())]
    order = np.random.default_rng(0).permutation(spread.size)
    for place, (kind, each) in enumerate(values.items()):
        shown, colour = each[usable], _COLOURS[kind]
        panel.scatter(place + spread[order], shown, s=9, color=colour, alpha=0.45, linewidths=0, zorder=2)
        panel.boxplot(
            [shown],
            positions=[place],
            widths=0.5,
            showfliers=False,
            medianprops={"color": colour, "linewidth": 1.6},
            boxprops={"color": colour},
            whiskerprops={"color": colour},
            capprops={"color": colour},
        )
        panel.plot(place, shown.mean(), marker="D", markersize=5, color=colour, markeredgecolor="white", zorder=4)
    decimals = METRICS[name].decimals
    labels = [f"{kind}\nmean {each[usable].mean():.{decimals}f}" for kind, each in values.items()]
    panel.set_xticks(range(len(values)), labels, fontsize=8)
    panel.set_xlim(-0.6, len(values) - 0.4)
    panel.tick_params(axis="y", labelsize=8, colors=_TEXT)
    panel.grid(axis="y", color="#e3e7ec", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    better = "" if METRICS[name].better == "higher" else " (lower is better)"
    panel.set_title(METRICS[name].title + better, fontsize=9, loc="left")


def _cell(row: Mapping[Any, Any], decimals: int) -> str:
    if not math.isfinite(row["mean"]):
        return "–"
    sign = "+" if row["kind"] == "gain" else ""
    mean = f"{row['mean']:{sign}.{decimals}f}"
    if row["n"] < 2:
        return mean
    low, high = row["mean"] - row["ci95"], row["mean"] + row["ci95"]
    return f"{mean} ± {row['std']:.{decimals}f} [{low:{sign}.{decimals}f}, {high:{sign}.{decimals}f}]"
