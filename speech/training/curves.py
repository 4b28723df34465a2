"""A picture of a training: the loss and the scores over the steps."""

from __future__ import annotations

import os
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared.figures import write_figure
from shared.training.monitoring import Row

LABELS = {"si_sdr": "SI-SDR / dB", "estoi": "ESTOI", "pesq_wb": "PESQ-WB"}


def plot_training(losses: Sequence[Row], checks: Sequence[Row], noisy: Row, target: str | os.PathLike[str]) -> None:
    """Write a picture of the loss and of each score beside that of the noisy recordings.

    Args:
        losses: rows of "step" and "loss".
        checks: rows of "step" and scores.
        noisy: scores of the noisy recordings.
        target: file, its format by its suffix.
    """
    names = [name for name in LABELS if any(name in row for row in checks)]
    figure = Figure(figsize=(3.6 * (1 + len(names)), 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(names), squeeze=False)[0]
    axes[0].plot([row["step"] for row in losses], [row["loss"] for row in losses], linewidth=1)
    if losses and all(row["loss"] > 0 for row in losses):
        axes[0].set_yscale("log")
    axes[0].set(xlabel="step", ylabel="loss")
    for axis, name in zip(axes[1:], names, strict=True):
        axis.plot([row["step"] for row in checks], [row[name] for row in checks], marker=".", label="enhanced")
        if name in noisy:
            axis.axhline(noisy[name], color="gray", linestyle="--", label="noisy")
        axis.set(xlabel="step", ylabel=LABELS[name])
        axis.legend(fontsize="small")
    write_figure(figure, target, dpi=110)
