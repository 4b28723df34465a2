"""What the network that weighs simple forecasts (`tsdiff.windows.weighing`) is trained by: windows, loss, descent.

The loss is the CRPS of a Gaussian (Gneiting and Raftery 2007, equation 21) by the error of a naive forecast there. The
bundled weights are trained on many sets; `tuned` trains them on for the series at hand.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from shared.errors import ConfigError, DataError
from shared.random import derive_seed, natural
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.windows.anchors import remembered
from tsdiff.windows.filling import expected
from tsdiff.windows.sides import pool_of
from tsdiff.windows.simple import Seasons
from tsdiff.windows.weighing import TunedWeighing, Weighing, pool_inputs, share_of

Collected = dict[str, Tensor]
"""Windows as `told_of` tells them, stacked."""

TUNING_STEPS, WINDOWS_A_STEP, RATE = 800, 8, 3e-3
"""Most steps of `tuned`, windows for each, and its peak rate."""
_BATCH = 128
_STEPS_OF_A_WINDOW = 12
_MOST, _FARTHEST = 30.0, 1e3
_MOST_EMPTY = 1000


Known = Callable[[np.random.Generator, int, Seasons], int]
"""How many of so many values of a history with such seasons are known; of none no window is made."""


def forecast_windows(
    source: AnchoredSource, seed: int, known_of: Known = lambda rng, count, seasons: count
) -> Iterator[dict[str, np.ndarray]]:
    """`told_of` for forecasts of the source's series, without end.

    Args:
        source: of series.
        seed: of the windows.
        known_of: how many last values of each history are known; all of them unless told.

    Raises:
        ConfigError: many random windows, one after the other, hold nothing to learn from.
    """
    rng, empty = np.random.default_rng([natural(seed), 7]), 0
    while empty < _MOST_EMPTY:
        found = source.stretch(rng)
        far, actual = remembered(found.group.seasons), found.values[-found.horizon :]
        known = found.values[: -found.horizon][-far:]
        kept = known_of(rng, len(known), found.group.seasons)
        row = told_of(known[-kept:], actual, found.group.seasons, rng) if kept else None
        empty = empty + 1 if row is None else 0
        if row is not None:
            yield row
    raise ConfigError(f"{empty} random windows in a row hold no known value, or none to forecast: give fuller series")


def told_of(
    known: np.ndarray, actual: np.ndarray, seasons: Seasons, rng: np.random.Generator
) -> dict[str, np.ndarray] | None:
    """Inputs of the network for some random steps of a forecast, with "actual" values by the pool's mean and scale and
    the "naive" error by its scale, (steps,) each; None where none of them has a value, or nothing is known.

    Args:
        known: what the forecast knows, (n,), NaN where missing.
        actual: what came, (horizon,), NaN where missing.
        seasons: of the series.
        rng: of the steps.
    """
    seen = ~np.isnan(known)
    pool = pool_of(expected(known, seasons).values, seen, len(actual), seasons) if seen.any() else None
    if pool is None:
        return None
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


def collected(rows: Iterable[dict[str, np.ndarray]]) -> Collected:
    """Windows, stacked; at least one."""
    made = list(rows)
    return {name: torch.from_numpy(np.stack([row[name] for row in made])) for name in made[0]}


def some(data: Collected, count: int) -> Collected:
    """A random batch."""
    chosen = torch.randint(len(data["horizon"]), (count,))
    return {name: part[chosen] for name, part in data.items()}


def gaussian_crps(mean: Tensor, deviation: Tensor, actual: Tensor) -> Tensor:
    """The continuous ranked probability score of N(mean, deviation²), in the units of `actual`; all of one shape
    (Gneiting and Raftery 2007, equation 21)."""
    z = (actual - mean) / deviation
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return deviation * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def weighing_loss(network: Weighing, batch: Collected) -> Tensor:
    """The mean score of a batch, of the values that are there: a number."""
    told = dict(batch)
    actual, naive = told.pop("actual"), told.pop("naive")
    mean, deviation = network(**told)
    known = ~actual.isnan()
    score = gaussian_crps(mean, deviation, torch.nan_to_num(actual)) / naive
    return torch.where(known, score.clamp_max(_MOST), 0.0).sum() / known.sum()


def descended(
    network: Weighing, loss_of_a_batch: Callable[[], Tensor], steps: int, rate: float, decay: float, show: bool = False
) -> Weighing:
    """The network after so many steps of AdamW on one cycle of rates (Smith and Topin 2018), for evaluation.

    Args:
        network: trained in place.
        loss_of_a_batch: a number to descend, of a batch that it draws itself.
        steps: how many.
        rate, decay: AdamW's; the rate is its peak.
        show: a bar.

    Raises:
        DataError: the loss is not finite.
    """
    optimiser = torch.optim.AdamW(network.train().parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    for _ in tqdm(range(steps), desc="weighing", mininterval=30, disable=not show):
        loss = loss_of_a_batch()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    if not loss.isfinite():
        raise DataError("the weighing network's loss is not finite: look at its windows")
    return network.eval()


def tuned(network: Weighing, source: AnchoredSource, seed: int, steps: int) -> TunedWeighing:
    """A copy that is trained on for the source's series, beside the network that it began from; one that is such a pair
    already keeps what it began from. The fewer values the series have, the less the judgement is that of the copy
    (`tsdiff.windows.weighing.share_of`).

    Args:
        network: where it begins.
        source: of the series, with the horizon that is to be forecast.
        seed: of windows and batches.
        steps: of the training, at most `TUNING_STEPS`.

    Raises:
        ConfigError: the series hold nothing to learn from.
        DataError: the loss is not finite.
    """
    steps = min(steps, TUNING_STEPS)
    data = collected(islice(forecast_windows(source, seed), WINDOWS_A_STEP * steps))
    before = start = network
    with torch.random.fork_rng(devices=[]):  # networks are made, whose first weights are random
        if isinstance(network, TunedWeighing):
            before, start = network.before, network.trained()
        share = share_of(source.known / source.config.prediction_length)
        return TunedWeighing.of(before, trained_on(start, data, seed, steps), share)


def trained_on(network: Weighing, data: Collected, seed: int, steps: int, rate: float = RATE) -> Weighing:
    """A copy of the network after so many steps on windows.

    Args:
        network: where it begins.
        data: windows.
        seed: of the batches.
        steps, rate: of the training; the rate is its peak.

    Raises:
        DataError: the loss is not finite.
    """
    made = copy.deepcopy(network).cpu().requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weighing"))
        return descended(made, lambda: weighing_loss(made, some(data, _BATCH)), steps, rate, 0.0)
