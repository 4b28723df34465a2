"""What the bundled weights of `tsdiff.windows.weighing.Weighing` are made by: windows, loss, training.

The windows are those that the forecaster of `default.py` is trained on, so that the sets for validation are unseen.
The loss is the CRPS of a Gaussian (Gneiting and Raftery 2007, equation 21) by the error of a naive forecast there.

A second part adds what people try first and those windows hardly hold: straight lines with nothing but noise, of which
the best forecast is known, and series that wander and come back, of which lines are bad forecasts. There the network is
free, elsewhere it is held near what it has learnt.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.signal import lfilter
from torch import Tensor
from tqdm import tqdm

from shared.errors import DataError
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.windows.anchored import bridged_line
from tsdiff.windows.anchors import REMEMBERED, pooled, seasons_of
from tsdiff.windows.simple import Seasons
from tsdiff.windows.weighing import Weighing, pool_inputs

WINDOWS, STEPS, BATCH, LEARNING_RATE = 80_000, 5000, 384, 3e-3
PLAIN_WINDOWS, PLAIN_STEPS, PLAIN_RATE = 16_000, 900, 1e-3
_PLAIN, _STAY = 0.35, 1.0
"""Of the second part: share of plain windows, and how hard the network is held elsewhere."""
_FREQUENCIES = {"h": 0.2, "D": 0.17, "W-SUN": 0.21, "M": 0.13, "Q-DEC": 0.08, "Y-DEC": 0.09, "15min": 0.07, "B": 0.05}
"""Of the plain windows, and their shares."""
_STEPS_OF_A_WINDOW = 12
_MOST, _FARTHEST = 30.0, 1e3


def windows(source: AnchoredSource, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """`told_of` for forecasts of the source's series."""
    rng = np.random.default_rng([seed, 7])
    while True:
        found = source.stretch(rng)
        known, actual = found.values[: -found.horizon], found.values[-found.horizon :]
        if np.isnan(known).all():
            continue
        row = told_of(bridged_line(known[-REMEMBERED:]), actual, found.group.seasons, rng)
        if row is not None:
            yield row


def plain_windows(seed: int) -> Iterator[dict[str, np.ndarray]]:
    """`told_of` for forecasts of lines with noise, and of series that wander and come back."""
    rng = np.random.default_rng([seed, 8])
    names, chances = list(_FREQUENCIES), list(_FREQUENCIES.values())
    while True:
        freq = str(rng.choice(names, p=chances))
        seasons = seasons_of(freq)
        is_line = rng.random() < 0.6
        known = _log_uniform(rng, 20, 80 if freq in ("Q-DEC", "Y-DEC") else 600 if is_line else 1500)
        horizon = min(_log_uniform(rng, 4, 60), known // 3)
        made = line(rng, known + horizon, horizon) if is_line else wandering(rng, known + horizon, seasons[0])
        row = told_of(made[:known], made[known:], seasons, rng)
        if row is not None:
            yield row


def line(rng: np.random.Generator, count: int, horizon: int) -> np.ndarray:
    """A straight line with noise, (count,); now and then it has another slope before, or is bent into growth."""
    steps, slope = np.arange(count), rng.choice([-1, 1]) * 10 ** rng.uniform(-2, 2)
    noise = rng.normal(size=count) if rng.random() < 0.8 else rng.standard_t(4, size=count)
    size = abs(slope) * horizon * np.exp(rng.uniform(np.log(0.03), np.log(1.5)))
    values = 10 ** rng.uniform(0, 3) + slope * steps + size * noise
    if rng.random() < 0.15 and count > horizon + 40:
        turn = int(rng.integers(10, count - horizon - 10))
        values[:turn] -= slope * rng.uniform(-1, 1) * (turn - steps[:turn])
    if rng.random() < 0.15:
        values = 100 * np.exp(values / np.abs(values).max() * rng.uniform(0.2, 2))
    return values


def wandering(rng: np.random.Generator, count: int, season: int) -> np.ndarray:
    """A first-order autoregression with a memory of 2 to 200 steps, (count,); some have a season, or are positive."""
    before = 300
    memory = np.exp(-1 / np.exp(rng.uniform(np.log(2), np.log(200))))
    noise = rng.normal(size=count + before) if rng.random() < 0.5 else rng.standard_t(3, size=count + before)
    values = lfilter([1.0], [1.0, -memory], noise)[before:]
    values /= values.std()
    if season and rng.random() < 0.5:
        values = values + rng.uniform(0.1, 1) * np.resize(rng.normal(size=season), count)
    if rng.random() < 0.5:
        values = np.exp(rng.uniform(0.3, 1.2) * values)
    return 10 ** rng.uniform(0, 2) * values


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> int:
    return int(np.exp(rng.uniform(np.log(low), np.log(high))))


def told_of(
    known: np.ndarray, actual: np.ndarray, seasons: Seasons, rng: np.random.Generator
) -> dict[str, np.ndarray] | None:
    """Inputs of the network for some random steps of a forecast, with "actual" values by the pool's mean and scale and
    the "naive" error by its scale, (steps,) each; None where none of them has a value.

    Args:
        known: what the forecast knows, (n,), finite.
        actual: what came, (horizon,), NaN where missing.
        seasons: of the series.
        rng: of the steps.
    """
    pool = pooled(known, len(actual), seasons)
    places = rng.choice(len(actual), _STEPS_OF_A_WINDOW)  # with repetition where there are fewer
    if np.isnan(actual[places]).all():
        return None
    naive = 2 if seasons[0] and pool.usable[2] else 0
    error = np.nanmean(np.abs(pool.forecasts[naive] - actual)) / pool.scale
    numbers = (actual[places] - pool.mean[places]) / pool.scale
    return pool_inputs(pool, places) | {
        "actual": np.clip(numbers, -_FARTHEST, _FARTHEST).astype(np.float32),
        "naive": np.array([np.clip(error, 0.3, 5.0)], dtype=np.float32),
    }


def gaussian_crps(mean: Tensor, deviation: Tensor, actual: Tensor) -> Tensor:
    """The continuous ranked probability score of N(mean, deviation²)."""
    z = (actual - mean) / deviation
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return deviation * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def train_weighing(
    source: AnchoredSource,
    seed: int,
    count: int = WINDOWS,
    steps: int | None = None,
    start: Weighing | None = None,
    plain: int = PLAIN_WINDOWS,
) -> Weighing:
    """A network trained on windows.

    Args:
        source: of series.
        seed: of everything.
        count: windows of the source.
        steps: of each part; None: `STEPS` and `PLAIN_STEPS`.
        start: a network that has the first part behind it.
        plain: plain windows, of the second part.
    """
    data = _collected(windows(source, seed), count)
    network = fitted(data, seed, steps or STEPS) if start is None else start
    return settled(network, data, _collected(plain_windows(seed), plain), seed, steps or PLAIN_STEPS)


def _collected(made: Iterator[dict[str, np.ndarray]], count: int) -> dict[str, Tensor]:
    rows = [next(made) for _ in tqdm(range(count), desc="windows", mininterval=30)]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def fitted(data: dict[str, Tensor], seed: int, steps: int) -> Weighing:
    """A network trained on windows, stacked."""
    torch.manual_seed(seed)
    network = Weighing()

    def loss() -> Tensor:
        return _loss(network, _some(data, BATCH))

    return _descended(network, loss, steps, LEARNING_RATE, 1e-2)


def settled(
    network: Weighing, data: dict[str, Tensor], plain: dict[str, Tensor], seed: int, steps: int = PLAIN_STEPS
) -> Weighing:
    """The network after the second part.

    Args:
        network: after the first, which is left as it is.
        data, plain: windows as before, and plain ones, stacked.
        seed: of the batches.
        steps: of the training.

    Raises:
        DataError: the loss is not finite.
    """
    torch.manual_seed(seed + 1)
    before, made = network.eval(), copy.deepcopy(network)
    few = round(_PLAIN * BATCH)

    def loss() -> Tensor:
        usual, others = _some(data, BATCH - few), _some(plain, few)
        both = {name: torch.cat([part, others[name]]) for name, part in usual.items()}
        told = {name: part for name, part in usual.items() if name not in ("actual", "naive")}
        mean, deviation = made(**told)
        with torch.no_grad():
            mean_before, deviation_before = before(**told)
        moved = ((mean - mean_before) / deviation_before).square() + (deviation / deviation_before).log().square()
        return _loss(made, both) + _STAY * moved.clamp_max(4.0).mean()

    return _descended(made, loss, steps, PLAIN_RATE, 0.0)


def _some(data: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    chosen = torch.randint(len(data["horizon"]), (count,))
    return {name: part[chosen] for name, part in data.items()}


def _descended(
    network: Weighing, loss_of_a_batch: Callable[[], Tensor], steps: int, rate: float, decay: float
) -> Weighing:
    optimiser = torch.optim.AdamW(network.train().parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    for _ in tqdm(range(steps), desc="weighing", mininterval=30):
        loss = loss_of_a_batch()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    if not loss.isfinite():
        raise DataError("the weighing network's loss is not finite: look at its windows")
    return network.eval()


def _loss(network: Weighing, batch: dict[str, Tensor]) -> Tensor:
    told = dict(batch)
    actual, naive = told.pop("actual"), told.pop("naive")
    mean, deviation = network(**told)
    known = ~actual.isnan()
    score = gaussian_crps(mean, deviation, torch.nan_to_num(actual)) / naive
    return torch.where(known, score.clamp_max(_MOST), 0.0).sum() / known.sum()


def save_weighing(network: Weighing, folder: Path) -> Path:
    """`model.safetensors` of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    save_file({name: part.contiguous() for name, part in network.state_dict().items()}, path)
    return path
