"""What the bundled weights of `tsdiff.windows.weighing.Weighing` are made by: windows, loss, training.

The windows are those that the forecaster of `default.py` is trained on, so that the sets for validation are unseen.
The loss is the CRPS of a Gaussian (Gneiting and Raftery 2007, equation 21) by the error of a naive forecast there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from shared.errors import DataError
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.windows.anchored import bridged_line
from tsdiff.windows.anchors import REMEMBERED, pooled
from tsdiff.windows.weighing import Weighing, pool_inputs

WINDOWS, STEPS, BATCH, LEARNING_RATE = 80_000, 5000, 384, 3e-3
_STEPS_OF_A_WINDOW = 12
_MOST, _FARTHEST = 30.0, 1e3


def windows(source: AnchoredSource, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of the network for some random steps of forecasts, with "actual" values by the pool's mean and scale and
    the "naive" error by its scale, (steps,) each."""
    rng = np.random.default_rng([seed, 7])
    while True:
        found = source.stretch(rng)
        known, actual = found.values[: -found.horizon], found.values[-found.horizon :]
        if np.isnan(known).all():
            continue
        pool = pooled(bridged_line(known[-REMEMBERED:]), found.horizon, found.group.seasons)
        places = rng.choice(found.horizon, _STEPS_OF_A_WINDOW)  # with repetition where there are fewer
        if np.isnan(actual[places]).all():
            continue
        naive = 2 if found.group.seasons[0] and pool.usable[2] else 0
        error = np.nanmean(np.abs(pool.forecasts[naive] - actual)) / pool.scale
        numbers = (actual[places] - pool.mean[places]) / pool.scale
        yield pool_inputs(pool, places) | {
            "actual": np.clip(numbers, -_FARTHEST, _FARTHEST).astype(np.float32),
            "naive": np.array([np.clip(error, 0.3, 5.0)], dtype=np.float32),
        }


def gaussian_crps(mean: Tensor, deviation: Tensor, actual: Tensor) -> Tensor:
    """The continuous ranked probability score of N(mean, deviation²)."""
    z = (actual - mean) / deviation
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return deviation * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def train_weighing(source: AnchoredSource, seed: int, count: int = WINDOWS, steps: int = STEPS) -> Weighing:
    """A network trained on `count` windows."""
    made = windows(source, seed)
    rows = [next(made) for _ in tqdm(range(count), desc="windows", mininterval=30)]
    return fitted({name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}, seed, steps)


def fitted(data: dict[str, Tensor], seed: int, steps: int) -> Weighing:
    """A network trained on windows, stacked."""
    count = len(data["horizon"])
    torch.manual_seed(seed)
    network = Weighing()
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    for _ in tqdm(range(steps), desc="weighing", mininterval=30):
        chosen = torch.randint(count, (BATCH,))
        batch = {name: part[chosen] for name, part in data.items()}
        loss = _loss(network, batch)
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
