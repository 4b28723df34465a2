"""What the bundled weights of `tsdiff.windows.weighing.Weighing` are made by: windows, loss, training.

The windows are those that the forecaster of `default.py` is trained on, so that the sets for validation are unseen;
`tsdiff.pretraining.weighing` has the loss.

It learns in parts: on those windows; on them and on series by formula (`plain.py`), half of each batch; and on
young histories, of which one or two seasons are known, as of a shop in its first year: of the sets, and of seasons by
formula. On all others, and on young lines by formula, it is then held near what it says. In the fourth, on windows of
the first two, it learns of the newest simple forecasts alone, and all else of it stays. Where there are further sets
(`recipes/series_sets.py`) a fifth part goes on with all of these kinds at once, and with the further sets' windows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from shared.errors import ConfigError
from shared.random import derive_seed
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.pretraining.weighing import Collected, collected, descended, forecast_windows, some, weighing_loss
from tsdiff.windows.simple import Seasons
from tsdiff.windows.weighing import Weighing, bundled_weighing

from .plain import YOUNG_OTHERS, YOUNG_SEASONAL, is_young, plain_windows, young_length

WINDOWS, STEPS, BATCH, LEARNING_RATE = 160_000, 10_000, 384, 3e-3
PLAIN_WINDOWS, PLAIN_STEPS, PLAIN_RATE = 60_000, 4500, 2e-3
YOUNG_WINDOWS, YOUNG_STEPS, YOUNG_RATE = 90_000, 4500, 2e-3
NEWEST_WINDOWS, NEWEST_STEPS, NEWEST_RATE = 75_000, 800, 1e-2
FURTHER_WINDOWS, FURTHER_STEPS, FURTHER_RATE = 40_000, 3000, 2e-3
_CHUNK = 500
_PLAIN = 0.5
"""Share of plain windows in the second part."""
_YOUNG, _YOUNG_SEASONAL, _YOUNG_OTHERS, _HELD = 0.26, 0.13, 0.16, 4.0
"""Shares of young histories in the third part: of the sets, of seasons, of others, which are held; and the weight of
what holds."""
_PLAIN_FEW = 0.2
"""Share of plain windows in the fourth part."""
_FURTHER, _PLAIN_TOO, _YOUNG_TOO = 0.20, 0.26, 0.06
"""Shares in the fifth part: of the sets, and of the further sets; of plain windows; and of young histories of each of
both, of seasons and of others."""
_KEPT = 0.3
"""How much of the network's weights stays after it."""


def train_weighing(
    source: AnchoredSource,
    seed: int,
    count: int | None = None,
    steps: int | None = None,
    part: int = 1,
    workers: int = 0,
    further: AnchoredSource | None = None,
) -> Weighing:
    """A network trained on windows.

    Args:
        source: of series.
        seed: of everything.
        count: windows of a source, and the most that parts have of other kinds; None: each part's.
        steps: of each part; None: `STEPS`, `PLAIN_STEPS`, `YOUNG_STEPS`, `NEWEST_STEPS` and `FURTHER_STEPS`.
        part: to begin with, 1 to 5; all but the first go on from the bundled weights.
        workers: processes that make windows; 0 makes them here. Other numbers draw other ones.
        further: more series, for the fifth part, which is left out without.

    Raises:
        ConfigError: the fifth part without further series.
    """
    if part > 4 and further is None:
        raise ConfigError(f"part {part} of the weighing's training is of further series: give --further FOLDER")
    draw = partial(_drawn, seed=seed, workers=workers)
    network = bundled_weighing()
    if part < 3:
        data = draw(partial(forecast_windows, source), count=count or WINDOWS)
        plain = draw(plain_windows, count=_least(count, PLAIN_WINDOWS))
        network = fitted(data, seed, steps or STEPS) if part == 1 else network
        network = settled(network, data, plain, seed, steps or PLAIN_STEPS)
    if part < 4:
        of_sets, plain_count = _least(count, YOUNG_WINDOWS), -(-_least(count, PLAIN_WINDOWS) // 3)
        young, older = (
            draw(partial(forecast_windows, source, known_of=one), count=of_sets) for one in (_young, _older)
        )
        seasonal, lines = (
            draw(partial(plain_windows, young=one), count=plain_count) for one in (YOUNG_SEASONAL, YOUNG_OTHERS)
        )
        older = _joined(older, draw(partial(plain_windows, older=True), count=plain_count))
        network = schooled(network, (young, seasonal), (older, lines), seed, steps or YOUNG_STEPS)
    if part < 5:
        data = draw(partial(forecast_windows, source), count=_least(count, NEWEST_WINDOWS))
        plain = draw(plain_windows, count=_least(count, NEWEST_WINDOWS) // 4)
        network = acquainted(network, data, plain, seed, steps or NEWEST_STEPS)
    if further is None:
        return network
    whole, few = _least(count, FURTHER_WINDOWS), -(-_least(count, FURTHER_WINDOWS) // 5)
    parts = [(_PLAIN_TOO, draw(plain_windows, count=whole))]
    for one in (YOUNG_SEASONAL, YOUNG_OTHERS):
        parts.append((_YOUNG_TOO, draw(partial(plain_windows, young=one), count=few)))
    for windows_of in (source, further):
        parts.append((_FURTHER, draw(partial(forecast_windows, windows_of), count=whole)))
        if any(group.seasons[0] for group in windows_of.draw_group.groups):  # else no history is young
            parts.append((_YOUNG_TOO, draw(partial(forecast_windows, windows_of, known_of=_young), count=few)))
    return widened(network, parts, seed, steps or FURTHER_STEPS)


def _least(count: int | None, most: int) -> int:
    """A number of windows, where one is given that is smaller."""
    return most if count is None else min(count, most)


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
    return _joined(*drawn)


def fitted(data: Collected, seed: int, steps: int) -> Weighing:
    """A network trained on windows, stacked."""
    torch.manual_seed(seed)
    return _taught(Weighing(), [(BATCH, data)], steps, LEARNING_RATE, 1e-2)


def _taught(
    made: Weighing, parts: Sequence[tuple[int, Collected]], steps: int, rate: float, decay: float = 0.0
) -> Weighing:
    """A network, trained in place on batches of so many windows of each part."""

    def loss() -> Tensor:
        return weighing_loss(made, _joined(*(some(data, count) for count, data in parts)))

    return descended(made, loss, steps, rate, decay, show=True)


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
    few = round(_PLAIN * BATCH)
    return _taught(copy.deepcopy(network), [(BATCH - few, data), (few, plain)], steps, PLAIN_RATE)


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


def acquainted(network: Weighing, data: Collected, plain: Collected, seed: int, steps: int = NEWEST_STEPS) -> Weighing:
    """The network after the fourth part.

    Args:
        network: after the others, which is left as it is.
        data, plain: windows of the sets, and plain ones, stacked.
        seed: of the batches.
        steps: of the training.

    Raises:
        DataError: the loss is not finite.
    """
    torch.manual_seed(seed + 3)
    made, few = copy.deepcopy(network).requires_grad_(False), round(_PLAIN_FEW * BATCH)
    made.newest.requires_grad_(True)
    return _taught(made, [(BATCH - few, data), (few, plain)], steps, NEWEST_RATE)


def widened(network: Weighing, parts: Sequence[tuple[float, Collected]], seed: int, steps: int) -> Weighing:
    """The network after the fifth part: between what it was and what it learns, which is better on the kinds that it
    knew, and no worse on the new ones (Wortsman et al. 2022, "Robust fine-tuning").

    Args:
        network: after the others, which is left as it is.
        parts: shares of a batch, and the windows, stacked.
        seed: of the batches.
        steps: of the training.

    Raises:
        DataError: the loss is not finite.
    """
    torch.manual_seed(seed + 4)
    made = copy.deepcopy(network).requires_grad_(True)
    counts = [(round(BATCH * share / sum(one for one, _ in parts)), data) for share, data in parts]
    _taught(made, counts, steps, FURTHER_RATE)
    with torch.no_grad():
        for weights, before in zip(made.parameters(), network.parameters(), strict=True):
            weights.lerp_(before, _KEPT)
    return made


def _joined(*parts: Collected) -> Collected:
    """Windows of all of them."""
    return {name: torch.cat([one[name] for one in parts]) for name in parts[0]}


def save_weighing(network: Weighing, folder: Path) -> Path:
    """`model.safetensors` of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    save_file({name: part.contiguous() for name, part in network.state_dict().items()}, path)
    return path
