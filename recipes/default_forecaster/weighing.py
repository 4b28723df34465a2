"""What the bundled weights of `tsdiff.windows.weighing.Weighing` are made by: windows, loss, training.

The windows are those that the forecaster of `default.py` is trained on, so that the sets for validation are unseen;
`tsdiff.pretraining.weighing` has the loss.

It learns in three parts: on those windows; on them and on series by formula (`plain.py`), half of each batch; and on
young histories, of which one or two seasons are known, as of a shop in its first year: of the sets, and of seasons by
formula. On all others, and on young lines by formula, it is then held near what it says.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

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

from .plain import YOUNG_OTHERS, YOUNG_SEASONAL, is_young, plain_windows, young_length

WINDOWS, STEPS, BATCH, LEARNING_RATE = 160_000, 10_000, 384, 3e-3
PLAIN_WINDOWS, PLAIN_STEPS, PLAIN_RATE = 60_000, 4500, 2e-3
YOUNG_WINDOWS, YOUNG_STEPS, YOUNG_RATE = 90_000, 4500, 2e-3
_CHUNK = 500
_PLAIN = 0.5
"""Share of plain windows in the second part."""
_YOUNG, _YOUNG_SEASONAL, _YOUNG_OTHERS, _HELD = 0.26, 0.13, 0.16, 4.0
"""Shares of young histories in the third part: of the sets, of seasons, of others, which are held; and the weight of
what holds."""


def train_weighing(
    source: AnchoredSource,
    seed: int,
    count: int = WINDOWS,
    steps: int | None = None,
    part: int = 1,
    workers: int = 0,
) -> Weighing:
    """A network trained on windows.

    Args:
        source: of series.
        seed: of everything.
        count: windows of the source, and the most that parts have of other kinds.
        steps: of each part; None: `STEPS`, `PLAIN_STEPS` and `YOUNG_STEPS`.
        part: to begin with, 1 to 3; the second and third go on from the bundled weights.
        workers: processes that make windows; 0 makes them here. Other numbers draw other ones.
    """
    draw = partial(_drawn, seed=seed, workers=workers)
    of_source, plain_count = partial(forecast_windows, source), min(count, PLAIN_WINDOWS)
    network = bundled_weighing()
    if part < 3:
        data, plain = draw(of_source, count=count), draw(plain_windows, count=plain_count)
        network = fitted(data, seed, steps or STEPS) if part == 1 else network
        network = settled(network, data, plain, seed, steps or PLAIN_STEPS)
    count, plain_count = min(count, YOUNG_WINDOWS), -(-plain_count // 3)
    young, older = (draw(partial(of_source, known_of=one), count=count) for one in (_young, _older))
    seasonal, lines = (
        draw(partial(plain_windows, young=one), count=plain_count) for one in (YOUNG_SEASONAL, YOUNG_OTHERS)
    )
    older = _joined(older, draw(partial(plain_windows, older=True), count=plain_count))
    return schooled(network, (young, seasonal), (older, lines), seed, steps or YOUNG_STEPS)


def _young(rng: np.random.Generator, count: int, seasons: Seasons) -> int:
    """What is known of a young history; nothing of one that is shorter than a season, or has none."""
    return min(young_length(rng, seasons[0]), count) if 0 < seasons[0] <= count else 0


def _older(rng: np.random.Generator, count: int, seasons: Seasons) -> int:
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
        return weighing_loss(made, _joined(some(data, BATCH - few), some(plain, few)))

    return descended(made, loss, steps, PLAIN_RATE, 0.0, show=True)


def schooled(
    network: Weighing,
    young: tuple[Collected, Collected],
    held: tuple[Collected, Collected],
    seed: int,
    steps: int = YOUNG_STEPS,
) -> Weighing:
    """The network after the third part.

    Args:
        network: after the others, which is left as it is.
        young: windows of young histories, of sets and of seasons, stacked.
        held: older ones, and young ones without seasons, on which it says what it said, by the mean square of how far
            its mean is off in deviations, and its deviation in logarithms.
        seed: of the batches.
        steps: of the training.

    Raises:
        DataError: the loss is not finite.
    """
    torch.manual_seed(seed + 2)
    made = copy.deepcopy(network).requires_grad_(True)
    of_sets, seasonal, others = (round(share * BATCH) for share in (_YOUNG, _YOUNG_SEASONAL, _YOUNG_OTHERS))
    rest = BATCH - of_sets - seasonal - others

    def loss() -> Tensor:
        learnt = weighing_loss(made, _joined(some(young[0], of_sets), some(young[1], seasonal)))
        told = _joined(some(held[0], rest), some(held[1], others))
        told = {name: part for name, part in told.items() if name not in ("actual", "naive")}
        with torch.no_grad():
            said, unsure = network(**told)
        mean, deviation = made(**told)
        away = ((mean - said) / unsure).square().clamp_max(9.0) + torch.log(deviation / unsure).square()
        return learnt + _HELD * away.mean()

    return descended(made, loss, steps, YOUNG_RATE, 0.0, show=True)


def _joined(one: Collected, other: Collected) -> Collected:
    """Windows of both."""
    return {name: torch.cat([part, other[name]]) for name, part in one.items()}


def save_weighing(network: Weighing, folder: Path) -> Path:
    """`model.safetensors` of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    save_file({name: part.contiguous() for name, part in network.state_dict().items()}, path)
    return path
