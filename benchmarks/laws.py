"""Series of known laws: how far forecasts are from the best that there are, draws of the law itself.

    python benchmarks/laws.py                         the bundled forecaster, beside AutoETS
    python benchmarks/laws.py --model FOLDER          another model of all frequencies
    python benchmarks/laws.py --only "random walk"    one law; may be given several times

Of each law some series are drawn, and what may follow each of them many times. The CRPS of the forecasts over these
futures is given by that of the futures themselves; how much of them the 90 % interval covers, and how wide it is beside
the law's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from scipy.signal import lfilter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.scores import inside, quantile_losses
from shared.files.io import write_text
from tsdiff import TSDiffPredictor
from tsdiff.baselines import train_baseline
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import quiet

RESULTS = Path("benchmarks/results")
SEED, FUTURES, JUDGED = 5, 200, 40
"""Futures drawn of each series, and those of them that forecasts are judged by."""
LEVELS = np.arange(1, 20) / 20
Draw = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]
"""A generator, steps of history and of horizon → a history (n,), and futures (FUTURES, h)."""


@dataclass(frozen=True)
class Law:
    """A law of series.

    Attributes:
        draw: a history and what may follow it.
        freq, history, horizon: of the series.
    """

    draw: Draw
    freq: str = "D"
    history: int = 150
    horizon: int = 14


def around(mean: Callable[[np.random.Generator, np.ndarray, int], np.ndarray], noise: float, tail: float = 0) -> Draw:
    """A mean of each step, told the number of known ones, with independent noise: Gaussian, or Student's of `tail`
    degrees of freedom."""

    def draw(rng: np.random.Generator, known: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        def noises(*shape: int) -> np.ndarray:
            return noise * (rng.standard_t(tail, shape) if tail else rng.normal(size=shape))

        whole = mean(rng, np.arange(known + horizon), known)
        return whole[:known] + noises(known), whole[known:] + noises(FUTURES, horizon)

    return draw


def states(alpha: float, beta: float = 0.0, phi: float = 1.0, slope: float = 0.0) -> Draw:
    """Exponential smoothing's law: a level and a slope that take their part of each step's noise."""
    steps = ([1.0, alpha - 1 - phi + phi * beta, phi * (1 - alpha)], np.convolve([1.0, -phi], [1.0, -1.0]))

    def draw(rng: np.random.Generator, known: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        noise = np.repeat(rng.normal(size=(1, known + horizon)), FUTURES, axis=0)
        noise[:, known:] = rng.normal(size=(FUTURES, horizon))
        made = 50 + slope * np.arange(known + horizon) + lfilter(*steps, noise)
        return made[0, :known], made[:, known:]

    return draw


def lasting(memory: float, mean: Callable[[np.ndarray], np.ndarray], bend: Callable = lambda x: x) -> Draw:
    """A mean with noise that is an autoregression of first order, both bent by a function."""

    def draw(rng: np.random.Generator, known: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        before = 200
        noise = np.repeat(rng.normal(size=(1, before + known + horizon)), FUTURES, axis=0)
        noise[:, before + known :] = rng.normal(size=(FUTURES, horizon))
        made = bend(mean(np.arange(known + horizon)) + lfilter([1.0], [1.0, -memory], noise)[:, before:])
        return made[0, :known], made[:, known:]

    return draw


def drawn(values: Callable[[np.random.Generator, np.ndarray], np.ndarray], season: int = 1, size: float = 0.0) -> Draw:
    """Independent values by a random season's factor of each step."""

    def draw(rng: np.random.Generator, known: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        factor = np.resize(np.exp(size * rng.normal(size=season)), known + horizon)
        return values(rng, factor[:known]), values(rng, np.tile(factor[known:], (FUTURES, 1)))

    return draw


def week(rng: np.random.Generator, steps: np.ndarray, known: int) -> np.ndarray:
    return 100 + 5 * rng.normal(size=7)[steps % 7]


def logistic(rng: np.random.Generator, steps: np.ndarray, known: int) -> np.ndarray:
    return 100 / (1 + np.exp(-(steps - known + rng.integers(-20, 20)) / 25))


def growing_week(rng: np.random.Generator, known: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """A line with a week and noise in proportion."""
    steps = np.arange(known + horizon)
    mean = (50 + 0.5 * steps) * np.exp(0.3 * rng.normal(size=7))[steps % 7]
    share = 1 + 0.05 * rng.normal(size=known)
    return mean[:known] * share, mean[known:] * (1 + 0.05 * rng.normal(size=(FUTURES, horizon)))


def volatile(rng: np.random.Generator, known: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """A random walk whose noise is calm and wild by turns: GARCH(1, 1)."""
    noise = np.repeat(rng.normal(size=(1, known + horizon)), FUTURES, axis=0)
    noise[:, known:] = rng.normal(size=(FUTURES, horizon))
    power = np.ones(FUTURES)
    for step in range(known + horizon):
        noise[:, step] *= np.sqrt(power)
        power = 0.05 + 0.15 * noise[:, step] ** 2 + 0.8 * power
    made = 100 + np.cumsum(noise, axis=1)
    return made[0, :known], made[:, known:]


def airline(rng: np.random.Generator, known: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Box and Jenkins' model of airline passengers, in logarithms."""
    count = 60 + known + horizon
    noise = np.repeat(0.04 * rng.normal(size=(1, count)), FUTURES, axis=0)
    noise[:, 60 + known :] = 0.04 * rng.normal(size=(FUTURES, horizon))
    late = np.zeros(14)
    late[[0, 1, 12, 13]] = 1, -0.4, -0.6, 0.24
    early = np.zeros(14)
    early[[0, 1, 12, 13]] = 1, -1, -1, 1
    steps = np.arange(count)
    mean = np.log(200) + 0.1 * np.sin(2 * np.pi * steps / 12) + 0.008 * steps
    made = np.exp(mean + lfilter(late, early, noise))[:, 60:]
    return made[0, :known], made[:, known:]


def staying(jumps: Callable[[np.random.Generator, np.ndarray, int], np.ndarray], relative: bool = True) -> Draw:
    """A value that stays but for jumps, told the steps (FUTURES, n) and the number of known ones: of its logarithm."""

    def draw(rng: np.random.Generator, known: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        steps = np.tile(np.arange(known + horizon), (FUTURES, 1))
        sizes = jumps(rng, steps, known)
        sizes[:, :known] = sizes[0, :known]
        moved = np.cumsum(sizes, axis=1)
        made = np.round(10 * np.exp(moved), 2) if relative else 100 + moved
        return made[0, :known], made[:, known:]

    return draw


def now_and_then(rng: np.random.Generator, steps: np.ndarray, known: int) -> np.ndarray:
    return (rng.random(steps.shape) < 1 / 30) * 0.1 * rng.normal(size=steps.shape)


def just_once(rng: np.random.Generator, steps: np.ndarray, known: int) -> np.ndarray:
    jumps = np.where(steps < known, steps == known - rng.integers(1, 10), rng.random(steps.shape) < 1 / known)
    return jumps * 0.2 * rng.normal(size=steps.shape)


def each_year(rng: np.random.Generator, steps: np.ndarray, known: int) -> np.ndarray:
    return ((steps + rng.integers(12)) % 12 == 0) * (0.02 + 0.05 * np.abs(rng.normal(size=steps.shape)))


def quarters(rng: np.random.Generator, steps: np.ndarray, known: int) -> np.ndarray:
    """Steps of .25 that mostly go the way of the one before."""
    ways = np.where(rng.random(steps.shape) < 0.02, -1, 1)
    ways[:, :known] = ways[0, :known]
    return 0.25 * (rng.random(steps.shape) < 0.1) * np.cumprod(ways, axis=1)


def total(mean: float, size: float) -> Draw:
    """All of Poisson counts so far, of days of a random week."""

    def draw(rng: np.random.Generator, known: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        rate = np.tile(mean * np.resize(np.exp(size * rng.normal(size=7)), known + horizon), (FUTURES, 1))
        made = rng.poisson(rate).astype(np.float64)
        made[:, :known] = made[0, :known]
        made = np.cumsum(made, axis=1)
        return made[0, :known], made[:, known:]

    return draw


def workweek(steps: np.ndarray) -> np.ndarray:
    """Hours of a day, and less on weekends."""
    day = 10 * np.sin(2 * np.pi * steps / 24) + 4 * np.sin(4 * np.pi * steps / 24 + 1)
    return 100 + day - 6 * ((steps // 24) % 7 >= 5)


def log_normal(rng: np.random.Generator, factor: np.ndarray) -> np.ndarray:
    return factor * np.exp(5 + 0.4 * rng.normal(size=factor.shape))


LAWS = {
    "white noise": Law(around(lambda rng, steps, known: 20 + 0.0 * steps, 1.0)),
    "white noise, heavy tails": Law(around(lambda rng, steps, known: 50 + 0.0 * steps, 1.0, tail=2)),
    "random walk": Law(states(1.0)),
    "random walk with drift": Law(states(1.0, slope=0.5)),
    "random walk, calm and wild": Law(volatile),
    "level that wanders": Law(states(0.3)),
    "level and slope that wander": Law(states(0.3, beta=0.05)),
    "slope that dies away": Law(states(0.5, beta=0.1, phi=0.9)),
    "autoregression, .8": Law(lasting(0.8, lambda steps: 20 + 0.0 * steps)),
    "share, between 0 and 1": Law(
        lasting(0.95, lambda steps: 3 + 0.0 * steps, lambda made: 1 / (1 + np.exp(-0.3 * made)))
    ),
    "rise since 15 steps": Law(around(lambda rng, steps, known: 100 + 2.0 * np.maximum(steps - known + 15, 0), 2.0)),
    "new level since 10 steps": Law(around(lambda rng, steps, known: 50 + 10.0 * (steps >= known - 10), 2.0)),
    "logistic growth": Law(around(logistic, 1.0)),
    "growth that saturates": Law(around(lambda rng, steps, known: 100 * (1 - np.exp(-steps / 40)), 1.0)),
    "week": Law(around(week, 1.0)),
    "week, growing": Law(growing_week),
    "week, log-normal": Law(drawn(log_normal, 7, 0.4)),
    "week, Poisson": Law(drawn(lambda rng, factor: rng.poisson(4 * factor).astype(np.float64), 7, 0.5)),
    "intermittent": Law(drawn(lambda rng, factor: (rng.random(factor.shape) < 0.15) * rng.poisson(5.0, factor.shape))),
    "negative binomial": Law(drawn(lambda rng, factor: rng.negative_binomial(1.5, 0.2, factor.shape).astype(float))),
    "hours, weekends, lasting noise": Law(lasting(0.9, workweek), "h", 504, 24),
    "airline model": Law(airline, "M", 120, 12),
    "price, new now and then": Law(staying(now_and_then)),
    "price, new since 1 to 9 steps": Law(staying(just_once)),
    "price, new each year": Law(staying(each_year), "M", 120, 12),
    "rate in quarters": Law(staying(quarters, relative=False), "M", 120, 12),
    "meter of a total": Law(staying(lambda rng, steps, known: 1.0 * (rng.random(steps.shape) < 0.1), relative=False)),
    "total of counts by week": Law(total(20.0, 0.3)),
    "total of rare counts": Law(total(0.6, 0.0)),
}


def crps(quantiles: np.ndarray, actual: np.ndarray) -> float:
    """Twice the mean quantile loss over `LEVELS`: quantiles (levels, h), actual values (futures, h)."""
    return float(quantile_losses(quantiles, actual[:, None], LEVELS).mean())


def row(name: str, law: Law, predictor: TSDiffPredictor, count: int, ets: bool) -> list[str]:
    """Of one law: CRPS of the forecaster and of AutoETS by the least, coverage, and width by the law's."""
    rng = np.random.default_rng([SEED, list(LAWS).index(name)])
    made = [law.draw(rng, law.history, law.horizon) for _ in range(count)]
    start = pd.Period("2020-01-06", law.freq)
    entries: list[Entry] = [
        {"start": start, "target": one.astype(np.float64), "item_id": str(place)} for place, (one, _) in enumerate(made)
    ]
    samples = [one.samples for one in predictor.adapted(law.freq, law.horizon).predict(entries, num_samples=100)]
    futures = [one for _, one in made]
    least, ours = (sum(scores(paths, futures)) for paths in (futures, samples))
    wide = [np.ptp(np.quantile(np.stack(paths), [0.05, 0.95], axis=1), axis=0) for paths in (samples, futures)]
    covered = [inside(paths, future).mean() for paths, future in zip(samples, futures, strict=True)]
    peer = ""
    if ets:
        with quiet():
            forecasts = train_baseline("auto_ets", entries, law.freq, law.horizon, num_samples=FUTURES).predict(entries)
        peer = f"{sum(scores([one.samples for one in forecasts], futures)) / least:.2f}"
    width = float(np.median(wide[0].mean(1) / np.maximum(wide[1].mean(1), 1e-9)))
    return [name, f"{ours / least:.2f}", peer, f"{np.mean(covered):.2f}", f"{width:.2f}"]


def scores(paths: list[np.ndarray], futures: list[np.ndarray]) -> list[float]:
    """`crps` of each forecast's samples."""
    pairs = zip(paths, futures, strict=True)
    return [crps(np.quantile(samples, LEVELS, axis=0), future[:JUDGED]) for samples, future in pairs]


def main(
    model: Annotated[str, typer.Option(help="Bundled name or folder of a model of all frequencies.")] = "default",
    only: Annotated[list[str] | None, typer.Option(help="Of these laws alone.")] = None,
    count: Annotated[int, typer.Option(help="Series of each law.", min=1)] = 24,
    ets: Annotated[bool, typer.Option(help="AutoETS, too.")] = True,
    output: Annotated[Path, typer.Option(help="Report.")] = RESULTS / "laws.md",
) -> None:
    """Forecast series of known laws; write the table."""
    torch.set_num_threads(1)
    predictor, rows = TSDiffPredictor.from_pretrained(model), []
    for name, law in LAWS.items():
        if only is None or name in only:
            rows.append(row(name, law, predictor, count, ets))
            print(*rows[-1], sep="  ", flush=True)
    ratios = np.array([[float(part) for part in line[1 : 3 if ets else 2]] for line in rows])
    typical = [f"{value:.2f}" for value in np.exp(np.log(ratios).mean(0))]
    rows.append(["geometric mean", *typical, *[""] * (4 - len(typical))])
    write_text(
        output,
        header("Series of known laws")
        + f"\n{count} series of each law (`benchmarks/laws.py`), daily, 150 values and 14 steps ahead; hours have 504 "
        f"and 24, months 120 and 12. CRPS over {JUDGED} futures of each series, by that of {FUTURES} draws of the law "
        "itself, which knows all but the noise to come: 1 is the best there is. Then what the bundled forecaster's "
        "90 % interval covers, and its width by the law's (median).\n\n"
        + table(["law", "the forecaster", "AutoETS", "90 % covers", "width"], rows),
    )


if __name__ == "__main__":
    typer.run(main)
