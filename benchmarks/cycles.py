"""Cycles that keep to no calendar: sines, sawtooths and sums of two sines, of periods that no frequency tells.

    python benchmarks/cycles.py                       the bundled forecaster
    python benchmarks/cycles.py --model FOLDER        another model of all frequencies

Of series with a cycle of 10, 13.3, 25, 37 and 50.5 steps and noise of a tenth of it, drawn several times, the error of
the median beside the least that there is, that of the cycle itself, and how much the 90 % interval covers; AutoETS,
whose seasons are the calendar's, and the mean of the history beside it. And a page of pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import torch
import typer

matplotlib.use("Agg")
from matplotlib import pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.scores import inside
from benchmarks.trend_seasons import entry
from benchmarks.trends import draw_fan
from shared.files.io import atomic_path, write_text
from tsdiff import TSDiffPredictor
from tsdiff.baselines import train_baseline
from tsdiff.data.frequency import quiet

RESULTS = Path("benchmarks/results")
SHAPES = ("sine", "sawtooth", "two sines")
PERIODS = (10, 13.3, 25, 37, 50.5)
NOISE = 0.1
KINDS = (("h", 200), ("h", 600), ("D", 200), ("D", 600), ("W-SUN", 200), ("M", 200), ("M", 400))
"""Frequency and steps of history."""
HORIZON = 24


@dataclass(frozen=True)
class Cycle:
    """A series with a cycle.

    Attributes:
        shape, period: of it.
        values: with noise, (count,).
        truth: the cycle alone in the steps that follow, (HORIZON,).
        future: with noise.
    """

    shape: str
    period: float
    values: np.ndarray
    truth: np.ndarray
    future: np.ndarray


def cycles(count: int, seed: int) -> Iterator[Cycle]:
    """One of every shape and period."""
    rng, steps = np.random.default_rng([seed, count]), np.arange(count + HORIZON)
    for shape in SHAPES:
        for period in PERIODS:
            phase = steps / period + rng.random()
            truth = {
                "sine": np.sin(2 * np.pi * phase),
                "sawtooth": 2 * (phase % 1) - 1,
                "two sines": np.sin(2 * np.pi * phase) + 0.7 * np.sin(2 * np.pi * 2.37 * phase),
            }[shape]
            values = 10 + truth + NOISE * rng.normal(size=len(steps))
            yield Cycle(shape, period, values[:count], 10 + truth[count:], values[count:])


def entries(made: list[Cycle], freq: str) -> list[dict[str, Any]]:
    """GluonTS entries."""
    return [entry(one.values, freq, str(place)) for place, one in enumerate(made)]


def by_shape(made: list[Cycle], errors: np.ndarray) -> list[float]:
    """Geometric means of errors, one for each cycle."""
    logs = np.log(np.maximum(errors, 1e-12))
    return [float(np.exp(logs[[one.shape == shape for one in made]].mean())) for shape in SHAPES]


def draw_page(predictor: TSDiffPredictor, path: Path) -> None:
    """Fan charts of every shape, hours and 200 steps of them."""
    made = list(cycles(200, 0))
    forecasts = predictor.adapted("h", HORIZON).predict(entries(made, "h"))
    figure, axes = plt.subplots(len(SHAPES), len(PERIODS), figsize=(18, 8), layout="constrained")
    for axis, one, forecast in zip(axes.flat, made, forecasts, strict=True):
        ahead = np.arange(HORIZON)
        axis.plot(np.arange(-80, 0), one.values[-80:], color="black", lw=1)
        axis.plot(ahead, one.truth, color="tab:orange", lw=1)
        draw_fan(axis, ahead, forecast.samples)
        axis.set_title(f"{one.shape}, {one.period:g} steps")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=70)
    plt.close(figure)


def main(
    model: Annotated[str, typer.Option(help="Bundled name or folder of a model of all frequencies.")] = "default",
    seeds: Annotated[int, typer.Option(help="Draws of the series.", min=1)] = 4,
    ets: Annotated[bool, typer.Option(help="AutoETS, too, which takes minutes.")] = True,
    output: Annotated[Path, typer.Option(help="Report; a picture goes beside it.")] = RESULTS / "cycles.md",
) -> None:
    """Forecast cycles; write the table and the picture."""
    torch.set_num_threads(1)
    predictor = TSDiffPredictor.from_pretrained(model)
    rows = []
    for freq, count in KINDS:
        made = [one for seed in range(seeds) for one in cycles(count, seed)]
        samples = np.stack([one.samples for one in predictor.adapted(freq, HORIZON).predict(entries(made, freq))])
        future = np.stack([one.future for one in made])
        least = np.abs(np.stack([one.truth for one in made]) - future).mean(1)
        covered = float(inside(samples, future).mean())
        medians = {"the bundled forecaster": np.median(samples, axis=1)}
        if ets:
            with quiet():
                peer = train_baseline("auto_ets", entries(made, freq), freq, HORIZON, num_samples=100)
                medians["AutoETS"] = np.stack(
                    [np.median(one.samples, axis=0) for one in peer.predict(entries(made, freq))]
                )
        medians["mean of the history"] = np.stack([np.full(HORIZON, one.values.mean()) for one in made])
        for name, median in medians.items():
            errors = by_shape(made, np.abs(median - future).mean(1) / least)
            covers = f"{covered:.2f}" if name == "the bundled forecaster" else ""
            rows.append([freq, str(count), name, *(f"{error:.2f}" for error in errors), covers])
            print(*rows[-1], flush=True)
    draw_page(predictor, output.with_suffix(".png"))
    write_text(
        output,
        header("Cycles that keep to no calendar")
        + f"\nSeries with a cycle of {', '.join(f'{period:g}' for period in PERIODS)} steps, between −1 and 1 or (two "
        f"sines) −1.7 and 1.7, and noise of deviation {NOISE:g}; {seeds} draws of each. Mean absolute error of the "
        f"median over {HORIZON} steps by that of the cycle itself, which is the least there is (geometric mean), "
        "and the coverage of the 90 % interval.\n\n"
        + table(["frequency", "history", "forecast", *SHAPES, "90 % covers"], rows)
        + f"\n![cycles and their forecasts]({output.with_suffix('.png').name})\n",
    )


if __name__ == "__main__":
    typer.run(main)
