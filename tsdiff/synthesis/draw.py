"""Synthetic data sets: unconditional samples that take their scale and calendar from places in the training series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch

from shared.errors import ConfigError, DataError
from shared.random import derive_seed, make_generator
from shared.samplers import Method, sample
from tsdiff.calendar import calendar_features, shifted
from tsdiff.config import TSDiffConfig
from tsdiff.data.series import Entry
from tsdiff.model import TSDiff, call_times
from tsdiff.synthesis.windows import SOURCE
from tsdiff.windows import context_scale, cut, observed_target

_TRIES = 10


@dataclass(frozen=True)
class SynthesisConfig:
    """How a synthetic data set is drawn.

    Args:
        method: of `shared.samplers.sample`.
        steps: network calls of a multistep method.
        log_snr_end: log-SNR of the last call; the result is the data prediction there.
        seed: item i depends on it, on i and on the training series, and on nothing else.
        batch_rows: windows that go through the network together; bounds memory, does not change results.
        pool: training series that are kept to take places from; of more, so many are drawn at random.
        nonnegative: values below 0 become 0, for counts and other quantities that cannot be negative.
    """

    method: Method = "sde2"
    steps: int = 20
    log_snr_end: float = 3.5
    seed: int = 0
    batch_rows: int = 256
    pool: int = 1000
    nonnegative: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ConfigError(f"method={self.method!r}: choose one of {', '.join(get_args(Method))}")
        if not math.isfinite(self.log_snr_end):
            raise ConfigError(f"log_snr_end={self.log_snr_end}: need a finite number")
        for name in ("steps", "batch_rows", "pool"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: need at least 1")


@dataclass(frozen=True)
class _Place:
    """Where in which training series a synthetic window takes its scale and its time from."""

    source: str
    start: pd.Period
    loc: float
    scale: float


def synthesize(
    model: TSDiff, n: int, series: Iterable[Entry], config: SynthesisConfig | None = None
) -> Iterator[Entry]:
    """Draw a synthetic data set of n windows, one batch at a time.

    Each window is an unconditional sample of the model. It is brought to the series' units by the scale of a window
    of the training series, drawn as training draws them (a series, then a place in it), and begins where that one
    begins, so that the calendar it was made under is the one it carries. `list(...)` or `series_from_gluonts(...)`
    makes a set of it, `save_series` a file.

    Args:
        model: trained.
        n: how many windows of model.config.length steps.
        series: the training series; read once, before the first window is drawn.
        config: how to draw.

    Yields:
        GluonTS entries: "item_id" ("synthetic_0", …, with leading zeros), "start", "target" float32 (length,), and
        "source", the training series that scale and start are of.

    Raises:
        ConfigError: n < 1.
        DataError: no series with an observed value, one of another frequency, or a sample that is not finite.
    """
    if n < 1:
        raise ConfigError(f"n={n}: need at least one window")
    config = config or SynthesisConfig()
    return _windows(model, n, _pool(series, model.config, config), config)


def _pool(series: Iterable[Entry], config: TSDiffConfig, settings: SynthesisConfig) -> list[Entry]:
    """At most `settings.pool` usable series, each with the same chance (Vitter 1985, algorithm R)."""
    rng = np.random.default_rng(derive_seed(settings.seed, "pool"))
    kept: list[Entry] = []
    seen = 0
    for place, entry in enumerate(series):
        name = str(entry.get("item_id", place))
        target = observed_target(entry, config, name)
        if np.isnan(target).all():
            continue
        usable = {"item_id": name, "start": entry["start"], "target": target}
        seen += 1
        if len(kept) < settings.pool:
            kept.append(usable)
        elif (slot := int(rng.integers(seen))) < settings.pool:
            kept[slot] = usable
    if not kept:
        raise DataError("no training series holds an observed value, so there is no scale to draw; give others")
    return kept


def _place(pool: list[Entry], config: TSDiffConfig, number: int, seed: int) -> _Place:
    rng = np.random.default_rng(derive_seed(seed, "place", number))
    for _ in range(_TRIES):
        entry = pool[int(rng.integers(len(pool)))]
        free = len(entry["target"]) - config.length
        first = int(rng.integers(free + 1)) if free >= 0 else free
        context = cut(entry["target"], first, config.context_length)
        if not np.isnan(context).all():
            break
    loc, scale = context_scale(context[None], config.scaling, entry["target"][None])
    return _Place(entry["item_id"], shifted(entry["start"], first), float(loc[0, 0]), float(scale[0, 0]))


def _windows(model: TSDiff, n: int, pool: list[Entry], config: SynthesisConfig) -> Iterator[Entry]:
    digits = len(str(n - 1))
    for first in range(0, n, config.batch_rows):
        numbers = range(first, min(first + config.batch_rows, n))
        places = [_place(pool, model.config, number, config.seed) for number in numbers]
        for number, place, window in zip(numbers, places, _draw(model, places, numbers, config), strict=True):
            with np.errstate(over="ignore"):  # becomes infinite, which is refused
                target = (place.loc + place.scale * window).astype(np.float32)
            if not np.isfinite(target).all():
                raise DataError(
                    f"synthetic window {number}, at the scale of series {place.source!r} ({place.scale:g}), is not "
                    "finite; train the model longer, or rescale the series"
                )
            yield {
                "item_id": f"synthetic_{number:0{digits}d}",
                "start": place.start,
                "target": np.maximum(target, 0.0) if config.nonnegative else target,
                SOURCE: place.source,
            }


@torch.no_grad()
def _draw(model: TSDiff, places: list[_Place], numbers: range, config: SynthesisConfig) -> np.ndarray:
    """Unconditional windows (rows, length), float64, relative to the context's scale."""
    length, device = model.config.length, model.device
    inputs: dict[str, Any] = {}
    if model.config.calendar:
        features = np.stack([calendar_features(place.start, length) for place in places])
        inputs["features"] = torch.from_numpy(features).to(device)
    model.eval()
    result = sample(
        lambda x, t: model(x, t, **inputs),
        model.sde,
        (len(places), length, model.channels),
        method=config.method,
        steps=config.steps,
        schedule=call_times(model.sde, config.steps, config.log_snr_end),
        generator=[make_generator(config.seed, "sample", number) for number in numbers],
        device=device,
    )
    windows = result.x[..., 0].double().cpu().numpy()
    return windows * model.statistics.spread + model.statistics.center
