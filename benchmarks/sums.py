"""Sums over the horizon, such as a week's demand: how wide they are is a matter of how the steps hang together.

    python benchmarks/sums.py                       the bundled forecaster
    python benchmarks/sums.py --model FOLDER        another model of all frequencies with an anchor

Of laws whose truth is known, and of the last windows of the validation sets' training parts: how often the 80 and 90 %
intervals of the sum over the horizon hold it, their width, its CRPS, the energy score and the variogram score
(Scheuerer & Hamill 2015, order .5, weights one by the distance in steps) of whole paths, and the mean correlation of
two steps' draws; with the steps' dependence as the diffusion draws it (`past_share` 0), and as the past tells it.
Single steps are the same in all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.signal import lfilter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA
from benchmarks.trend_seasons import entry
from benchmarks.zero_shot import validation_tasks
from shared.files.io import write_text
from tsdiff import TSDiffPredictor
from tsdiff.data.entries import Entry
from tsdiff.evaluation.joint import energy_scores

RESULTS = Path("benchmarks/results")
SHARES = (0.0, 0.5, 1.0)
"""Of the past, that are compared."""
HISTORY, SERIES, SAMPLES = 300, 120, 100
LEVELS = np.arange(0.05, 1.0, 0.05)
Law = Callable[[np.random.Generator, int], np.ndarray]


def autoregression(rate: float) -> Law:
    """Of order one, around 100, settled."""
    return lambda rng, steps: 100 + lfilter([1.0], [1.0, -rate], rng.normal(size=steps + 200))[200:]


def season(steps: int, period: int) -> np.ndarray:
    """A sine of 20."""
    return 20 * np.sin(2 * np.pi * np.arange(steps) / period)


LAWS: dict[str, tuple[str, int, Law]] = {
    "noise": ("D", 14, lambda rng, steps: 100 + rng.normal(size=steps)),
    "autoregression, .5": ("D", 14, autoregression(0.5)),
    "autoregression, .9": ("D", 14, autoregression(0.9)),
    "autoregression, .97": ("D", 14, autoregression(0.97)),
    "walk": ("D", 14, lambda rng, steps: 100 + rng.normal(size=steps).cumsum()),
    "week and noise": ("D", 14, lambda rng, steps: 100 + season(steps, 7) + 2 * rng.normal(size=steps)),
    "week and autoregression, .8": ("D", 14, lambda rng, steps: season(steps, 7) + autoregression(0.8)(rng, steps)),
    "line and noise": ("D", 14, lambda rng, steps: 100 + 0.2 * np.arange(steps) + 2 * rng.normal(size=steps)),
    "day and noise": ("h", 24, lambda rng, steps: 100 + season(steps, 24) + 2 * rng.normal(size=steps)),
    "counts of 5": ("D", 14, lambda rng, steps: rng.poisson(5.0, steps).astype(float)),
}
"""Frequency, horizon and law."""


@dataclass(frozen=True)
class Sums:
    """Scores of forecasts of some series.

    Attributes:
        covered_80, covered_90: shares of the sums inside their intervals.
        width: mean of the 80 % interval of the sum.
        crps: mean over series of that of the sum.
        energy, variogram: means of the paths' scores.
        together: mean correlation of two steps' draws.
    """

    covered_80: float
    covered_90: float
    width: float
    crps: float
    energy: float
    variogram: float
    together: float


def variogram_scores(samples: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Of order .5 with weights 1/|i − j|, of samples (windows, draws, steps) and values (windows, steps)."""
    one, other = np.triu_indices(actual.shape[1], 1)
    wanted = np.abs(actual[:, one] - actual[:, other]) ** 0.5
    drawn = np.stack([(np.abs(draws[:, one] - draws[:, other]) ** 0.5).mean(0) for draws in samples])
    return ((wanted - drawn) ** 2 / (other - one)).sum(1)


def scored(samples: np.ndarray, actual: np.ndarray) -> Sums:
    """Scores of samples (windows, draws, steps) of values (windows, steps)."""
    known = np.isfinite(actual).all(1)
    samples, actual = samples[known], actual[known]
    total, wanted = samples.sum(2), actual.sum(1)
    low_90, low_80, high_80, high_90 = np.quantile(total, [0.05, 0.1, 0.9, 0.95], axis=1)
    missed = wanted - np.quantile(total, LEVELS, axis=1)
    loss = np.maximum(LEVELS[:, None] * missed, (LEVELS[:, None] - 1) * missed)
    pairs = np.triu_indices(actual.shape[1], 1)
    with np.errstate(invalid="ignore"):  # a constant has no correlation
        together = [np.nanmean(np.corrcoef(draws.argsort(0).argsort(0).T)[pairs]) for draws in samples]
    return Sums(
        float(((wanted >= low_80) & (wanted <= high_80)).mean()),
        float(((wanted >= low_90) & (wanted <= high_90)).mean()),
        float((high_80 - low_80).mean()),
        float(2 * loss.mean()),
        float(energy_scores(samples.swapaxes(0, 1), actual).mean()),
        float(variogram_scores(samples, actual).mean()),
        float(np.mean(together)),
    )


def tasks(folder: Path, model: str) -> Iterator[tuple[str, str, TSDiffPredictor, list[Entry], np.ndarray]]:
    """Kind, name, forecaster, histories, and what followed, (series, horizon), of every law and validation set."""
    base = TSDiffPredictor.from_pretrained(model)
    for name, (freq, horizon, law) in LAWS.items():
        rng = np.random.default_rng(4)
        values = np.stack([law(rng, HISTORY + horizon) for _ in range(SERIES)])
        entries = [entry(row, freq, str(place)) for place, row in enumerate(values[:, :HISTORY])]
        yield "laws", name, base.adapted(freq, horizon), entries, values[:, HISTORY:]
    for name, predictor, split in validation_tasks(folder, model):
        labels = np.stack([np.asarray(label["target"], dtype=np.float64) for label in split.test.label])
        yield "validation sets", name, predictor, list(split.test.input), labels


def line(name: str, share: float, found: Sums, first: Sums) -> list[str]:
    """A row of the table."""
    covered = (f"{found.covered_80:.2f}", f"{found.covered_90:.2f}")
    return [name, f"{share:g}", *covered, *(f"{ratio:.3f}" for ratio in ratios(found, first)), f"{found.together:.2f}"]


def ratios(found: Sums, first: Sums) -> list[float]:
    """Width and scores by those of the first."""
    names = ("width", "crps", "energy", "variogram")
    return [getattr(found, name) / getattr(first, name) for name in names]


def summary(kind: str, share: float, found: list[tuple[Sums, Sums]]) -> list[str]:
    """Geometric means of the ratios, and how far coverage is off in the mean, of pairs of a share and the first."""
    off = [[abs(one.covered_80 - 0.8), abs(one.covered_90 - 0.9)] for one, _ in found]
    means = np.exp(np.log([ratios(one, first) for one, first in found]).mean(0))
    together = np.mean([one.together for one, _ in found])
    covered = [f"{miss:.3f} off" for miss in np.mean(off, axis=0)]
    return [f"all {kind}", f"{share:g}", *covered, *(f"{ratio:.3f}" for ratio in means), f"{together:.2f}"]


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")] = DEFAULT_DATA,
    model: Annotated[str, typer.Option(help="Bundled name or folder of a model of all frequencies.")] = "default",
    output: Annotated[Path, typer.Option(help="Report.")] = RESULTS / "sums.md",
) -> None:
    """Forecast laws and validation sets; write the table."""
    torch.set_num_threads(1)
    rows, all_found = [], dict[tuple[str, float], list[tuple[Sums, Sums]]]()
    for kind, name, predictor, entries, actual in tasks(data, model):
        made: list[Sums] = []
        for share in SHARES:
            drawn = predictor.with_sampling(past_share=share).predict(entries, SAMPLES)
            made.append(scored(np.stack([one.samples for one in drawn]).astype(np.float64), actual))
            rows.append(line(name, share, made[-1], made[0]))
            all_found.setdefault((kind, share), []).append((made[-1], made[0]))
            print(*rows[-1], sep=", ", flush=True)
    rows += [summary(kind, share, found) for (kind, share), found in all_found.items()]
    head = ["series", "past_share", "80 % covers", "90 % covers", "width", "CRPS", "energy", "variogram", "correlation"]
    write_text(
        output,
        header("Sums over the horizon")
        + f"\n{SERIES} series of {HISTORY} steps of each law, and the last windows of the validation sets' training"
        f" parts; {SAMPLES} samples. Coverage of the intervals of the sum over the horizon; the width of its 80 %"
        " interval, its CRPS, and the energy and variogram scores of the paths, all by those of `past_share` 0; mean"
        " rank correlation of two steps' draws. Below, geometric means, and how far coverage is off in the mean.\n\n"
        + table(head, rows),
    )


if __name__ == "__main__":
    typer.run(main)
