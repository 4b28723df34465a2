"""What the bundled weights of `tsdiff.windows.weighing.Weighing` are made by: windows, loss, training.

The windows are those that the forecaster of `default.py` is trained on, so that the sets for validation are unseen;
`tsdiff.pretraining.weighing` has the loss.

It learns in three parts: on those windows; on them and on series by formula (`plain.py`), half of each batch; and on
young histories of both kinds, of which one or two seasons are known, as of a shop in its first year, while on all
others it is held near what it says.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from shared.random import derive_seed
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.pretraining.weighing import Collected, collected, descended, forecast_windows, some, weighing_loss
from tsdiff.windows.simple import Seasons
from tsdiff.windows.weighing import Weighing, bundled_weighing

from .plain import is_young, plain_windows, young_length

Part = Literal[1, 2, 3]
WINDOWS, STEPS, BATCH, LEARNING_RATE = 160_000, 10_000, 384, 3e-3
PLAIN_WINDOWS, PLAIN_STEPS, PLAIN_RATE = 60_000, 4500, 2e-3
YOUNG_WINDOWS, YOUNG_STEPS, YOUNG_RATE = 90_000, 5000, 2e-3
_CHUNK = 500
_PLAIN = 0.5
"""Share of plain windows in the second part."""
_YOUNG, _YOUNG_PLAIN, _HELD = 0.44, 0.33, 4.0
"""Share of young histories in the third part, of plain ones among them, and the weight of what holds the others."""


def train_weighing(
    source: AnchoredSource,
    seed: int,
    count: int = WINDOWS,
    steps: int | None = None,
    part: Part = 1,
    workers: int = 0,
) -> Weighing:
    """A network trained on windows.

    Args:
        source: of series.
        seed: of everything.
        count: windows of the source, and the most that parts have of other kinds.
        steps: of each part; None: `STEPS`, `PLAIN_STEPS` and `YOUNG_STEPS`.
        part: to begin with; the second and third go on from the bundled weights.
        workers: processes that make windows; 0 makes them here. Other numbers draw other ones.
    """
    draw = partial(_drawn, seed=seed, workers=workers)
    of_source, plain_count = partial(forecast_windows, source), min(count, PLAIN_WINDOWS)
    network = bundled_weighing()
    if part < 3:
        data, plain = draw(of_source, count=count), draw(plain_windows, count=plain_count)
        network = fitted(data, seed, steps or STEPS) if part == 1 else network
        network = settled(network, data, plain, seed, steps or PLAIN_STEPS)
    count, plain_count = min(count, YOUNG_WINDOWS), -(-plain_count // 2)
    young, others = (draw(partial(of_source, known_of=one), count=count) for one in (_young, _not_young))
    plain, plain_others = (draw(partial(plain_windows, young=one), count=plain_count) for one in (True, False))
    others = {name: torch.cat([others[name], plain_others[name]]) for name in others}
    return schooled(network, young, plain, others, seed, steps or YOUNG_STEPS)


def _young(rng: np.random.Generator, count: int, seasons: Seasons) -> int:
    """What is known of a young history; nothing of one that is shorter than a season, or has none."""
    return min(young_length(rng, seasons[0]), count) if 0 < seasons[0] <= count else 0


def _not_young(rng: np.random.Generator, count: int, seasons: Seasons) -> int:
    """All that is known, or nothing of a young history."""
    return 0 if is_young(count, seasons) else count


class _Chunks(IterableDataset[Collected]):
    """Windows, some hundreds at a time, of which each worker draws its part."""

    def __init__(self, draw: Callable[[int], Iterator[dict[str, np.ndarray]]], seed: int, count: int):
        self.draw, self.seed, self.count = draw, seed, count

    def __iter__(self) -> Iterator[Collected]:
        info = get_worker_info()
        place, workers = (info.id, info.num_workers) if info else (0, 1)
        windows = self.draw(derive_seed(self.seed, f"worker {place}") if info else self.seed)
        left = len(range(place, self.count, workers))
        while left:
            yield collected(islice(windows, min(left, _CHUNK)))
            left -= min(left, _CHUNK)


def _drawn(draw: Callable[[int], Iterator[dict[str, np.ndarray]]], seed: int, count: int, workers: int) -> Collected:
    loader: DataLoader[Collected] = DataLoader(_Chunks(draw, seed, count), batch_size=None, num_workers=workers)
    drawn = list(tqdm(loader, desc="windows", total=-(-count // _CHUNK), unit_scale=_CHUNK, mininterval=30))
    return {name: torch.cat([part[name] for part in drawn]) for name in drawn[0]}


def fitted(data: Collected, seed: int, steps: int) -> Weighing:
    """A network trained on windows, stacked."""
    torch.manual_seed(seed)
    network = Weighing()

    def loss() -> Tensor:
        return weighing_loss(network, some(data, BATCH))

    return descended(network, loss, steps, LEARNING_RATE, 1e-2, show=True)


def settled(network: Weighing, data: Collected, plain: Collected, seed: int, steps: int = PLAIN_STEPS) -> Weighing:
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
    made, few = copy.deepcopy(network), round(_PLAIN * BATCH)

    def loss() -> Tensor:
        usual, others = some(data, BATCH - few), some(plain, few)
        return weighing_loss(made, {name: torch.cat([part, others[name]]) for name, part in usual.items()})

    return descended(made, loss, steps, PLAIN_RATE, 0.0, show=True)


def schooled(
    network: Weighing, young: Collected, young_plain: Collected, others: Collected, seed: int, steps: int = YOUNG_STEPS
) -> Weighing:
    """The network after the third part.

    Args:
        network: after the others, which is left as it is.
        young, young_plain: windows of young histories, of sets and plain ones, stacked.
        others: windows on which it says what it said, by the mean square of how far its mean is off in deviations, and
            its deviation in logarithms.
        seed: of the batches.
        steps: of the training.

    Raises:
        DataError: the loss is not finite.
    """
    torch.manual_seed(seed + 2)
    made, few = copy.deepcopy(network).requires_grad_(True), round(_YOUNG * BATCH)
    plain = round(_YOUNG_PLAIN * few)

    def loss() -> Tensor:
        usual, formula = some(young, few - plain), some(young_plain, plain)
        learnt = weighing_loss(made, {name: torch.cat([part, formula[name]]) for name, part in usual.items()})
        told = {name: part for name, part in some(others, BATCH - few).items() if name not in ("actual", "naive")}
        with torch.no_grad():
            said, unsure = network(**told)
        mean, deviation = made(**told)
        away = ((mean - said) / unsure).square().clamp_max(9.0) + torch.log(deviation / unsure).square()
        return learnt + _HELD * away.mean()

    return descended(made, loss, steps, YOUNG_RATE, 0.0, show=True)


def save_weighing(network: Weighing, folder: Path) -> Path:
    """`model.safetensors` of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    save_file({name: part.contiguous() for name, part in network.state_dict().items()}, path)
    return path
