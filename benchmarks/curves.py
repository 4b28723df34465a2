"""Pictures of a score against network calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from shared.files.io import atomic_path

Lines = Mapping[str, Mapping[int, float]]
"""By name, the score at each number of calls."""


def draw_curves(panels: Mapping[str, Lines], target: Path, score: str) -> None:
    """One panel for each set of lines, two beside each other, written as PNG.

    Args:
        panels: by title.
        target: file.
        score: what the vertical axis is; "" takes the panels' titles for it.
    """
    columns = 2
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for axis, (title, lines) in zip(axes, panels.items(), strict=False):
        for place, (name, points) in enumerate(lines.items()):
            calls = sorted(points)
            style = "--" if len(calls) == 1 else "o-"
            if len(calls) == 1:
                axis.axhline(points[calls[0]], color=f"C{place}", ls=style, lw=1, label=f"{name}, {calls[0]} calls")
            else:
                axis.plot(calls, [points[n] for n in calls], f"C{place}{style}", ms=3, lw=1.2, label=name)
        axis.set_xscale("log", base=2)
        axis.set_title(title if score else "", fontsize=9)
        axis.set_ylabel(score or title, fontsize=8)
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[max(len(panels) - columns, 0) : len(panels)]:
        axis.set_xlabel("network calls", fontsize=8)
    axes[0].legend(fontsize=7)
    ticks = sorted({n for lines in panels.values() for points in lines.values() for n in points if n <= 30})
    axes[0].set_xticks(ticks, [str(n) for n in ticks], fontsize=7)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=90)
