"""Synthetic data sets: unconditional samples that take their scale and calendar from places in the training series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch

from shared.errors import ConfigError, DataError
from shared.random import derive_seed, make_generator
from shared.samplers import Method, sample
from tsdiff.data.series import Entry
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff, call_times
from tsdiff.tasks.synthesis.windows import SOURCE
from tsdiff.windows.calendar import shifted
from tsdiff.windows.conditioning import Conditioning, Conditions, cut, windows_of
from tsdiff.windows.entries import Series, read_series

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
    """A window of a training series, of which a synthetic one takes scale, time and covariates."""

    series: Series
    first: int
    window: Conditioning


def synthesize(
    model: TSDiff, n: int, series: Iterable[Entry], config: SynthesisConfig | None = None
) -> Iterator[Entry]:
    """Draw a synthetic data set of n windows, one batch at a time.

    Each window is an unconditional sample of the model. It is brought to the series' units by the scale of a window
    of the training series (every series has the same chance, then every place in it) and begins where that one begins,
    so that the calendar it was made under is the one it carries. `list(...)` or `series_from_gluonts(...)`
    makes a set of it, `save_series` a file.

    Args:
        model: trained.
        n: how many windows of model.config.length steps.
        series: the training series; read once, before the first window is drawn.
        config: how to draw.

    Yields:
        GluonTS entries: "item_id" ("synthetic_0", …, with leading zeros), "start", "target" (length,) or
        (channels, length), "source", the training series that scale and start are of, and the covariates of that
        window where the model takes some.

    Raises:
        ConfigError: n < 1, or a conditional model.
        DataError: no series with an observed value, one of another frequency or without the covariates that the model
            takes, or a sample that is not finite.
    """
    if n < 1:
        raise ConfigError(f"n={n}: need at least one window")
    if model.config.conditional:
        raise ConfigError("a conditional model only forecasts; train one with conditional=False to draw windows")
    config = config or SynthesisConfig()
    return _windows(model, n, _pool(series, model.config, config), config)


def _pool(series: Iterable[Entry], config: TSDiffConfig, settings: SynthesisConfig) -> list[Series]:
    """At most `settings.pool` usable series, each with the same chance (Vitter 1985, algorithm R)."""
    rng = np.random.default_rng(derive_seed(settings.seed, "pool"))
    kept: list[Series] = []
    seen = 0
    for place, entry in enumerate(series):
        found = read_series(entry, config, str(entry.get("item_id", place)))
        if found.empty:
            continue
        seen += 1
        if len(kept) < settings.pool:
            kept.append(found)
        elif (slot := int(rng.integers(seen))) < settings.pool:
            kept[slot] = found
    if not kept:
        raise DataError("no training series holds an observed value, so there is no scale to draw; give others")
    return kept


def _place(pool: list[Series], config: TSDiffConfig, number: int, seed: int) -> tuple[Series, int]:
    """A series, and the first step of a window of it that is not all missing, if twenty tries find one."""
    rng = np.random.default_rng(derive_seed(seed, "place", number))
    for _ in range(_TRIES):
        series = pool[int(rng.integers(len(pool)))]
        free = len(series) - config.length
        first = int(rng.integers(free + 1)) if free >= 0 else free
        if not np.isnan(cut(series.target, first, config.context_length)).all():
            break
    return series, first


def _windows(model: TSDiff, n: int, pool: list[Series], config: SynthesisConfig) -> Iterator[Entry]:
    digits = len(str(n - 1))
    for first in range(0, n, config.batch_rows):
        numbers = range(first, min(first + config.batch_rows, n))
        found = [_place(pool, model.config, number, config.seed) for number in numbers]
        windows = windows_of(found, model.config, model.statistics)
        places = [_Place(series, at, window) for (series, at), window in zip(found, windows, strict=True)]
        for number, place, drawn in zip(numbers, places, _draw(model, places, numbers, config), strict=True):
            target = place.window.to_series(drawn).T
            if not (np.abs(target) <= np.finfo(np.float32).max).all():  # larger ones no reader would take
                raise DataError(
                    f"synthetic window {number}, at the scale of series {place.series.name!r} "
                    f"({place.window.scale.max():.3g}), is not finite; train the model longer, or rescale the series"
                )
            yield {
                "item_id": f"synthetic_{number:0{digits}d}",
                "start": shifted(place.series.start, place.first),
                "target": _shaped(np.maximum(target, 0.0) if config.nonnegative else target),
                SOURCE: place.series.name,
                **_covariates(place, model),
            }


def _shaped(target: np.ndarray) -> np.ndarray:
    return target[0] if len(target) == 1 else target


def _covariates(place: _Place, model: TSDiff) -> Entry:
    """What the window was drawn under, as GluonTS names it; before a series' start its features are their mean."""
    config, found = model.config, {}
    if config.dynamic_features:
        rows = cut(place.series.dynamic, place.first, config.length)
        mean = np.array(model.statistics.feature_center[config.static_features :], dtype=np.float32)
        found["feat_dynamic_real"] = np.where(np.isnan(rows), mean, rows).T
    if config.static_features:
        found["feat_static_real"] = place.series.static
    if config.categories:
        found["feat_static_cat"] = place.series.categories
    return found


@torch.no_grad()
def _draw(model: TSDiff, places: list[_Place], numbers: range, config: SynthesisConfig) -> np.ndarray:
    """Unconditional windows (rows, length, channels), float64, in the network's units."""
    inputs = Conditions.stack([place.window for place in places], model.config, device=model.device).inputs
    model.eval()
    result = sample(
        lambda x, t: model(x, t, **inputs),
        model.sde,
        (len(places), model.config.length, model.config.network_channels),
        method=config.method,
        steps=config.steps,
        schedule=call_times(model.sde, config.steps, config.log_snr_end),
        generator=[make_generator(config.seed, "sample", number) for number in numbers],
        device=model.device,
    )
    return result.x[..., : model.config.channels].double().cpu().numpy()
