"""What people see first: lines, growth, seasons, an outlier, a level that shifts, a constant, zeros, counts.

    python benchmarks/trends.py                       the bundled forecaster
    python benchmarks/trends.py --model FOLDER        another model of all frequencies

Twelve lines with noise at each frequency and horizon, rising and falling, drawn several times: in how many the median
moves the right way, its error beside that of a straight line through the history, and how much the 90 % interval
covers; the same of histories of a few values. Levels that began to rise or fall some steps ago. Growth by the same
share each step, beside the line through its logarithms. Seasons with noise of one size, or of one share of the level:
how much is covered where they are low and where they are high. Seasons that fell once and came back, beside the same
without that. A peak that comes once a year, after three years, beside the value 364 days ago. Demand that comes by
chance, beside its law. Then single series, with the median and the width of the interval at the end, and one page of
pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import torch
import typer

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.scores import inside
from benchmarks.trend_seasons import DENTS, PEAKS, SEASONS, dent_row, entry, peak_row, samples_of, season_rows
from shared.files.io import atomic_path, write_text
from tsdiff import TSDiffPredictor

RESULTS = Path("benchmarks/results")
LINES = (
    ("h", 24, 480),
    ("h", 48, 480),
    ("D", 14, 200),
    ("D", 28, 200),
    ("W-SUN", 8, 150),
    ("W-SUN", 13, 150),
    ("M", 12, 120),
    ("M", 18, 120),
    ("Q-DEC", 8, 60),
    ("Y-DEC", 6, 30),
)
"""Frequency, horizon and steps of history."""
SHORT = (("h", 4, 8), ("D", 4, 8), ("D", 7, 12), ("D", 14, 20), ("M", 6, 12), ("Q-DEC", 4, 8), ("Y-DEC", 3, 6))
BREAKS = (
    ("h", 24, 480, 24),
    ("D", 14, 150, 8),
    ("D", 14, 150, 15),
    ("D", 14, 150, 40),
    ("D", 28, 400, 30),
    ("W-SUN", 13, 150, 13),
    ("M", 12, 96, 9),
    ("M", 12, 96, 18),
)
"""The same, and for how many steps a level has risen or fallen."""
GROWTH = (
    ("D", 14, 30, 0.05),
    ("D", 14, 60, 0.05),
    ("D", 14, 120, 0.02),
    ("M", 12, 60, 0.03),
    ("Q-DEC", 8, 24, 0.06),
    ("Y-DEC", 6, 20, 0.1),
)
"""The same, and the logarithm of the growth of a step."""
DEMANDS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "Poisson, .3 a day": lambda rng, shape: rng.poisson(0.3, shape) * 1.0,
    "Poisson, 5 every seventh day": lambda rng, shape: (rng.random(shape) < 1 / 7) * rng.poisson(5, shape) * 1.0,
    "amounts every fifth day": lambda rng, shape: (rng.random(shape) < 0.2) * np.exp(2 + 0.5 * rng.normal(size=shape)),
}
"""Demand that comes by chance."""
LINE_COLUMNS = ["frequency", "history", "horizon", "right way", "error / line's", "of a draw", "90 % covers"]
HORIZON = 14


@dataclass(frozen=True)
class Lines:
    """Scores of the forecasts of twelve lines.

    Attributes:
        right: lines whose median moves the way they do.
        ratio: mean absolute error of the median, over that of the least-squares line through the history.
        coverage: of the 90 % interval.
    """

    right: int
    ratio: float
    coverage: float


def twelve_lines(count: int, horizon: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Lines (12, count + horizon) with noise of a tenth or a half of what they move in the horizon; their slopes."""
    rng = np.random.default_rng(seed)
    slopes = np.array([sign * size for size in (0.1, 0.3, 1.0) for sign in (1, -1) for _ in range(2)])
    noise = np.abs(slopes) * horizon * np.resize([0.1, 0.5], 12)
    steps = np.arange(count + horizon)
    return 100 + slopes[:, None] * steps + noise[:, None] * rng.normal(size=(12, count + horizon)), slopes


def score_lines(predictor: TSDiffPredictor, freq: str, horizon: int, count: int, seed: int = 0) -> Lines:
    """Forecast twelve lines."""
    values, slopes = twelve_lines(count, horizon, seed)
    history, future = values[:, :count], values[:, count:]
    samples = samples_of(predictor, freq, horizon, history)
    median, ahead = np.median(samples, axis=1), np.arange(horizon)
    lines = np.stack([np.polyval(np.polyfit(np.arange(count), row, 1), count + ahead) for row in history])
    moves = np.polyfit(ahead, median.T, 1)[0]
    ratio = np.abs(median - future).mean(1) / np.abs(lines - future).mean(1)
    covered = float(inside(samples, future).mean())
    return Lines(int((moves * slopes > 0).sum()), float(np.exp(np.log(ratio).mean())), covered)


def lines_row(predictor: TSDiffPredictor, freq: str, horizon: int, count: int, seeds: int) -> list[str]:
    """A row of the table of lines, drawn so many times."""
    drawn = [score_lines(predictor, freq, horizon, count, seed) for seed in range(seeds)]
    ratios = [scores.ratio for scores in drawn]
    mean, covered = float(np.exp(np.log(ratios).mean())), float(np.mean([scores.coverage for scores in drawn]))
    right = min(scores.right for scores in drawn)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return [freq, str(count), str(horizon), f"{right} of 12", f"{mean:.2f}", spread, f"{covered:.2f}"]


def score_breaks(
    predictor: TSDiffPredictor, freq: str, horizon: int, count: int, since: int, seeds: int = 1
) -> tuple[float, float, float, float]:
    """Forecast twelve series a draw whose level, with noise, goes up or down by its deviation each step of late.

    Returns:
        Mean errors of the median, of the line through the steps since, and of the last value, and the coverage.
    """
    rng, steps = np.random.default_rng(0), np.arange(count + horizon)
    signs = np.resize([1.0, -1.0], 12 * seeds)[:, None]
    level = 100 + signs * np.maximum(steps - (count - since), 0)
    values = level + rng.normal(size=level.shape)
    history, future = values[:, :count], values[:, count:]
    samples = samples_of(predictor, freq, horizon, history)
    fits = [np.polyval(np.polyfit(steps[count - since : count], row[-since:], 1), steps[count:]) for row in history]
    made = (np.median(samples, axis=1), np.stack(fits), history[:, -1:])
    error, line, last = (float(np.abs(one - future).mean()) for one in made)
    return error, line, last, float(inside(samples, future).mean())


def break_row(predictor: TSDiffPredictor, freq: str, horizon: int, count: int, since: int, seeds: int) -> list[str]:
    """A row of the table of breaks."""
    *errors, covered = score_breaks(predictor, freq, horizon, count, since, seeds)
    return [freq, str(count), str(horizon), str(since), *(f"{error:.1f}" for error in errors), f"{covered:.2f}"]


def growth_row(predictor: TSDiffPredictor, freq: str, horizon: int, count: int, rate: float, seeds: int) -> list[str]:
    """A row of the table of growth, twelve series a draw: mean errors of the median by the last value's and by those of
    the line through the logarithms, and the coverage."""
    rng, steps = np.random.default_rng(0), np.arange(count + horizon)
    values = 10 * np.exp(rate * steps + 0.03 * rng.normal(size=(12 * seeds, len(steps))))
    history, future = values[:, :count], values[:, count:]
    samples = samples_of(predictor, freq, horizon, history)
    fits = [np.polyfit(steps[:count], row, 1) for row in np.log(history)]
    lines = np.exp(np.stack([np.polyval(fit, steps[count:]) for fit in fits]))
    error, line, last = (
        float(np.abs(made - future).mean()) for made in (np.median(samples, axis=1), lines, history[:, -1:])
    )
    covered = float(inside(samples, future).mean())
    return [
        freq,
        str(count),
        str(horizon),
        f"{np.expm1(rate):.0%}",
        f"{error / last:.2f}",
        f"{line / last:.2f}",
        f"{covered:.2f}",
    ]


def single_series() -> dict[str, np.ndarray]:
    """Twelve kinds of daily series of 200 steps."""
    rng, steps = np.random.default_rng(1), np.arange(200)
    week = 5 * np.sin(2 * np.pi * steps / 7)
    plain = 50 + week + rng.normal(size=200)
    outlier, shifted = plain.copy(), plain.copy()
    outlier[-1] *= 10
    shifted[-20:] += 50
    return {
        "a week": plain,
        "a week and a line": plain + 0.3 * steps,
        "growth": 100 * np.exp(0.01 * steps) * (1 + 0.1 * np.sin(2 * np.pi * steps / 7)),
        "decline": 300 * np.exp(-0.01 * steps) + rng.normal(size=200),
        "a walk": 50 + rng.normal(size=200).cumsum(),
        "last value ten times": outlier,
        "level shift 20 steps ago": shifted,
        "constant": np.full(200, 42.0),
        "noise of 10 on 1e8": 1e8 + 10 * rng.normal(size=200),
        "zeros": np.zeros(200),
        "rare counts": rng.poisson(0.3, 200).astype(float),
        "nine values": plain[:9],
    }


def forecast_single(predictor: TSDiffPredictor) -> dict[str, np.ndarray]:
    """Samples (100, HORIZON) of each."""
    entries = [entry(values, "D", name) for name, values in single_series().items()]
    made = predictor.adapted("D", HORIZON).predict(entries)
    return {str(one["item_id"]): forecast.samples for one, forecast in zip(entries, made, strict=True)}


def draw_fan(axis: Axes, ahead: np.ndarray, samples: np.ndarray) -> None:
    """The median and the 50 and 90 % intervals of samples (draws, h) at the steps `ahead`, (h,)."""
    for low, high in ((0.05, 0.95), (0.25, 0.75)):
        axis.fill_between(ahead, *np.quantile(samples, [low, high], axis=0), color="tab:blue", alpha=0.3, lw=0)
    axis.plot(ahead, np.median(samples, axis=0), color="tab:blue")


def draw_page(samples: dict[str, np.ndarray], path: Path) -> None:
    """Fan charts of the single series."""
    figure, axes = plt.subplots(3, 4, figsize=(16, 9), layout="constrained")
    for axis, (name, values) in zip(axes.flat, single_series().items(), strict=True):
        recent, ahead = values[-60:], np.arange(len(values), len(values) + HORIZON)
        axis.plot(np.arange(len(values) - len(recent), len(values)), recent, color="black", lw=1)
        draw_fan(axis, ahead, samples[name])
        axis.set_title(name)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80)
    plt.close(figure)


def demand_row(predictor: TSDiffPredictor, name: str, seeds: int) -> list[str]:
    """A row of the table of demand, twelve series a draw of 200 days: mean and 95 % quantile of the samples and of the
    law, and the samples' quantile losses by those of 100 draws of the law."""
    rng, levels = np.random.default_rng(0), np.arange(1, 20) / 20
    future, law = (DEMANDS[name](rng, (12 * seeds, draws, HORIZON)) for draws in (20, 100))
    history = DEMANDS[name](rng, (12 * seeds, 200))
    samples = samples_of(predictor.with_sampling(counts=True), "D", HORIZON, history)
    losses = []
    for made in (samples, law):
        below = [future - np.quantile(made, level, axis=1)[:, None] for level in levels]
        losses.append(
            np.mean(
                [np.maximum(level * off, (level - 1) * off).mean() for level, off in zip(levels, below, strict=True)]
            )
        )
    cells = [f"{made.mean():.2f}" for made in (samples, law)]
    high = [f"{np.quantile(made, 0.95, axis=1).mean():.2f}" for made in (samples, law)]
    return [name, *cells, *high, f"{losses[0] / losses[1]:.2f}"]


def single_rows(samples: dict[str, np.ndarray]) -> list[list[str]]:
    """Rows of the table of single series, from their samples."""
    rows = []
    for name, values in single_series().items():
        last = samples[name][:, -1]
        low, median, high = np.quantile(last, [0.05, 0.5, 0.95])
        rows.append([name, f"{values[-1]:.6g}", f"{median:.6g}", f"{high - low:.3g}", f"{(last == 0).mean():.2f}"])
    return rows


def report(tables: dict[str, list[list[str]]], seeds: int, picture: str) -> str:
    """The page of the tables, by their names."""
    return (
        header("Lines, levels and constants")
        + f"\nTwelve lines with noise at each frequency, drawn {seeds} times: how many medians move the right way in "
        "the worst draw, the median's error over that of the straight line through the history (geometric mean of the "
        "draws, and their range), and the coverage of the 90 % interval.\n\n"
        + table(LINE_COLUMNS, tables["lines"])
        + "\nThe same of short histories, through which a line leads far off too.\n\n"
        + table(LINE_COLUMNS, tables["short"])
        + f"\nLevels that rise or fall by the noise's deviation each step since a break, {12 * seeds} series: mean "
        "error of the median, of the line through the steps since, which knows when it was, and of the last value.\n\n"
        + table(
            ["frequency", "history", "horizon", "since", "error", "line's", "last value's", "90 % covers"],
            tables["broken"],
        )
        + f"\nGrowth by the same share each step with noise of 3 %, {12 * seeds} series: the mean error of the median, "
        "and that of the line through the logarithms, by the last value's.\n\n"
        + table(["frequency", "history", "horizon", "a step", "error", "line's", "90 % covers"], tables["grown"])
        + f"\nA sine with noise, {12 * seeds} series: what the 90 % interval covers where it is lowest, in the middle "
        "and highest, and in brackets its width by that of the noise alone.\n\n"
        + table(["frequency", "history", "horizon", "noise", "low", "middle", "high"], tables["seasons"])
        + f"\nSeasons with noise of 5 %, {12 * seeds} series, that fell once to a share of what they are and came "
        "back: mean error of the median by that of the same series without the dent, and coverage of both.\n\n"
        + table(
            ["frequency", "history", "horizon", "ended", "steps", "to", "error", "90 % covers", "without"],
            tables["dents"],
        )
        + f"\nDaily sales with weekends and a peak in December, known since 2020, {12 * seeds} series: mean error of "
        "the median and of the value 364 days ago.\n\n"
        + table(["first day", "horizon", "error", "of 364 days ago", "90 % covers"], tables["peaks"])
        + f"\nDemand by chance, 200 days known, {12 * seeds} series, as counts: mean and 95 % quantile, and quantile "
        "losses by those of 100 draws of the law.\n\n"
        + table(["demand", "mean", "the law's", "95 %", "the law's", "loss by the law's"], tables["demands"])
        + f"\nSingle daily series, at the last of {HORIZON} steps.\n\n"
        + table(["series", "last value", "median", "90 % width", "share of zeros"], tables["singles"])
        + f"\n![twelve series and their forecasts]({picture})\n"
    )


def main(
    model: Annotated[str, typer.Option(help="Bundled name or folder of a model of all frequencies.")] = "default",
    seeds: Annotated[int, typer.Option(help="Draws of the twelve lines.", min=1)] = 6,
    output: Annotated[Path, typer.Option(help="Report; a picture goes beside it.")] = RESULTS / "trends.md",
) -> None:
    """Forecast lines and single series; write the tables and the picture."""
    torch.set_num_threads(1)
    predictor = TSDiffPredictor.from_pretrained(model)
    tables = {
        "demands": [demand_row(predictor, name, seeds) for name in DEMANDS],
        "lines": [lines_row(predictor, *case, seeds) for case in LINES],
        "short": [lines_row(predictor, *case, seeds) for case in SHORT],
        "broken": [break_row(predictor, *case, seeds) for case in BREAKS],
        "grown": [growth_row(predictor, *case, seeds) for case in GROWTH],
        "seasons": [row for case in SEASONS for row in season_rows(predictor, *case, seeds)],
        "dents": [dent_row(predictor, *case, seeds) for case in DENTS],
        "peaks": [peak_row(predictor, *case, seeds) for case in PEAKS],
    }
    for row in (row for rows in tables.values() for row in rows):
        print(*row, flush=True)
    samples = forecast_single(predictor)
    picture = output.with_suffix(".png")
    draw_page(samples, picture)
    write_text(output, report(tables | {"singles": single_rows(samples)}, seeds, picture.name))


if __name__ == "__main__":
    typer.run(main)
