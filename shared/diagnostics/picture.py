"""A picture of a diagnosis: measures against noise, and distances against network calls."""

from __future__ import annotations

import math
import os

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from shared.diagnostics.report import Diagnosis
from shared.figures import write_figure

_COLOURS = ("#1763b5", "#d1495b", "#2e8b57", "#8a5fbf")
_TEXT, _GRID = "#57606a", "#e3e7ec"
_SMALLEST = 1e-8
"""Ratios and distances below are drawn there, as 0 has no logarithm."""


def plot_diagnosis(diagnosis: Diagnosis, path: str | os.PathLike[str], title: str) -> None:
    """Draw what there is of ratios by level, FLIPD by level, and distances by calls, side by side; written atomically.
    A panel of what was not measured is empty.

    Args:
        diagnosis: of `diagnose`.
        path: the picture; its suffix is one that matplotlib writes.
        title: a line above.
    """
    figure = Figure(figsize=(13.0, 4.4), layout="constrained")
    ratios, flipd, sampling = figure.subplots(1, 3)
    noise = [level.noise for level in diagnosis.levels]
    curves = {
        "asymmetry of the score": [level.asymmetry for level in diagnosis.levels],
        "of the prediction": [level.data_asymmetry for level in diagnosis.levels],
        "loop integral": [level.loop for level in diagnosis.levels],
        "Fokker–Planck residual": [level.fokker_planck for level in diagnosis.levels],
    }
    for (name, values), colour in zip(curves.items(), _COLOURS, strict=True):
        if any(map(math.isfinite, values)):
            ratios.plot(noise, [max(value, _SMALLEST) for value in values], "o-", color=colour, label=name, ms=4)
    ratios.set_yscale("log")
    _dress(ratios, "departures from a density's score", "noise / data", noise)
    if ratios.lines:
        ratios.legend(frameon=False, fontsize=8.5, labelcolor=_TEXT)
    values, errors = [level.flipd for level in diagnosis.levels], [level.flipd_error for level in diagnosis.levels]
    if any(map(math.isfinite, values)):
        flipd.errorbar(noise, values, errors, fmt="o-", color=_COLOURS[0], ms=4, capsize=2)
        flipd.axhline(diagnosis.dimensions, color=_GRID)
    _dress(flipd, f"intrinsic dimension of {diagnosis.dimensions}", "noise / data", noise)
    calls = [one.nfe for one in diagnosis.sampling]
    if calls:
        distances = [max(one.distance, _SMALLEST) for one in diagnosis.sampling]
        sampling.plot(calls, distances, "o-", color=_COLOURS[0], ms=4)
        sampling.set_yscale("log")
    _dress(sampling, "distance to many steps / deviation", "network calls", calls)
    figure.suptitle(title, fontsize=12, fontweight="bold", parse_math=False)
    write_figure(figure, path, dpi=130)


def _dress(axes: Axes, title: str, label: str, places: list[float] | list[int]) -> None:
    axes.set_title(title, loc="left", fontsize=10.5)
    axes.set_xlabel(label, fontsize=9, color=_TEXT)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if axes.lines:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.tick_params(which="both", length=0, labelsize=8.5, labelcolor=_TEXT)
