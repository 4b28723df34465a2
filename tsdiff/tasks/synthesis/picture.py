"""A picture of real beside synthetic windows."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from tsdiff.evaluation.plots import ACTUAL as REAL
from tsdiff.evaluation.plots import FORECAST as SYNTHETIC
from tsdiff.evaluation.plots import GRID, TEXT, check_picture, dress, save_picture
from tsdiff.tasks.synthesis.realism import Realism

_BINS, _DRAWN_LAGS = 80, 200


def plot_realism(
    report: Realism,
    path: str | os.PathLike[str],
    *,
    windows: int = 4,
    title: str | None = None,
    name: str = "synthetic",
) -> None:
    """Draw marginals, autocorrelation, spectrum and excursions of both sets, and windows of each side by side.

    The windows are spread evenly over the sets, not chosen.

    Args:
        report: of `realism`.
        path: the picture, .png, .svg or .pdf; written atomically.
        windows: how many of each to draw.
        title: a line above.
        name: of the synthetic set.

    Raises:
        ConfigError: windows below 1, or an unknown kind of picture.
    """
    check_picture(path, windows=windows)
    figure = Figure(figsize=(15.0, 4.0 + 1.25 * windows), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[3.6, 1.25 * windows])
    top, bottom = parts
    marginal, acf, spectrum, stay = top.subplots(1, 4)
    _marginal(marginal, report)
    _acf(acf, report, name)
    _spectrum(spectrum, report)
    _excursions(stay, report)
    _samples(bottom.subplots(windows, 2, sharex=True, sharey=True, squeeze=False), report, name)
    save_picture(figure, path, title, [acf], top)


def _marginal(axes: Axes, report: Realism) -> None:
    both = (report.real.values, report.synthetic.values)
    low = min(float(np.quantile(values, 0.001)) for values in both)
    high = max(float(np.quantile(values, 0.999)) for values in both)
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    density = [np.histogram(values, edges)[0] / (values.size * np.diff(edges)) for values in both]
    axes.stairs(density[0], edges, color=REAL, alpha=0.25, fill=True)
    axes.stairs(density[1], edges, color=SYNTHETIC, linewidth=1.6)
    _labelled(axes, f"scaled values   (KS {report.value_ks:.3f})", "value, each window's mean |x| = 1")


def _acf(axes: Axes, report: Realism, name: str) -> None:
    lags = np.arange(min(len(report.real.acf), _DRAWN_LAGS + 1))
    axes.axhline(0.0, color=GRID, linewidth=1.0)
    axes.plot(lags, report.real.acf[: len(lags)], color=REAL, linewidth=2.2, label="real")
    axes.plot(lags, report.synthetic.acf[: len(lags)], color=SYNTHETIC, linewidth=1.5, label=name)
    _labelled(axes, f"mean autocorrelation   (RMSE {report.acf_rmse:.3f})", "lag, steps")


def _spectrum(axes: Axes, report: Realism) -> None:
    axes.loglog(report.real.frequencies, np.maximum(report.real.spectrum, 1e-12), color=REAL, linewidth=2.2)
    axes.loglog(
        report.synthetic.frequencies, np.maximum(report.synthetic.spectrum, 1e-12), color=SYNTHETIC, linewidth=1.5
    )
    axes.xaxis.set_minor_formatter(NullFormatter())  # over less than two decades each of them would be labelled
    _labelled(axes, f"power spectrum   (distance {report.spectrum_db:.2f} dB)", "cycles a step")


def _excursions(axes: Axes, report: Realism) -> None:
    for profile, colour, width in ((report.real, REAL, 2.2), (report.synthetic, SYNTHETIC, 1.5)):
        survival = profile.excursions.survival()
        axes.step(np.arange(len(survival)), survival, where="post", color=colour, linewidth=width)
    axes.set_yscale("log")
    axes.set_ylim(bottom=1e-3)
    _labelled(axes, f"longer excursions   (KS {report.excursion_ks:.3f})", "steps on one side of the median")


def _samples(panels: np.ndarray, report: Realism, name: str) -> None:
    for column, (values, colour, label) in enumerate(
        zip(report.samples, (REAL, SYNTHETIC), ("real", name), strict=True)
    ):
        rows = np.linspace(0, len(values) - 1, len(panels)).round().astype(int)
        for axes, row in zip(panels[:, column], rows, strict=True):
            axes.plot(values[row], color=colour, linewidth=1.0)
            _labelled(axes, f"{label} windows" if axes is panels[0, column] else "", "")
        panels[-1, column].set_xlabel("step", fontsize=9, color=TEXT)


def _labelled(axes: Axes, title: str, label: str) -> None:
    dress(axes, title)
    axes.set_xlabel(label, fontsize=9, color=TEXT)
    axes.margins(x=0.01)
