"""Synthetic data sets: unconditional samples that take their scale and calendar from places in the training series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from shared.checks import Checked, Count, Finite, checked
from shared.console.notes import tell
from shared.errors import ConfigError, DataError
from shared.random import derive_seed, make_generator
from shared.samplers import Method
from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry, Series
from tsdiff.data.frequency import shifted
from tsdiff.data.named import by_names
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.model.times import call_times
from tsdiff.sampling.drawing import Rows, for_each_draw
from tsdiff.tasks.synthesis.windows import SOURCE
from tsdiff.windows.conditioning import Place, cut
from tsdiff.windows.series import trainable_series

_TRIES = 10


@dataclass(frozen=True)
class SynthesisConfig(Checked):
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
    steps: Count = 20
    log_snr_end: Finite = 3.5
    seed: int = 0
    batch_rows: Count = 256
    pool: Count = 1000
    nonnegative: bool = False


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

    A warning says so of a model with anchors, as the bundled one, of which such windows have no seasons.

    Yields:
        GluonTS entries: "item_id" ("synthetic_0", …, with leading zeros), "start", "target" (length,) or
        (channels, length), "source", the training series that scale and start are of, and the covariates of that
        window where the model takes some.

    Raises:
        ConfigError: n < 1, or a conditional model.
        DataError: no series with an observed value, one of another frequency or without the covariates that the model
            takes, or a sample that is not finite.
    """
    n = checked(Count, n=n)
    if not isinstance(model, TSDiff):
        raise ConfigError(f"model={model!r}: need a TSDiff, such as a predictor's .model")
    if not isinstance(config, SynthesisConfig | None):
        raise ConfigError(f"config={config!r}: need a SynthesisConfig, such as SynthesisConfig(steps=20), or None")
    if not model.config.draws_whole:
        raise ConfigError("a conditional model only forecasts; train one with conditional=False to draw windows")
    if model.config.scaling == "anchor":
        tell(
            "the model knows seasons by the past of what it forecasts, and windows are drawn without one: they have "
            "the size of the series and none of their seasons; train one on the series, on the command line by "
            "leaving --model out"
        )
    config = config or SynthesisConfig()
    return _windows(model, n, _pool(by_names(series, [model]), model.config, config), config)


def _pool(series: Iterable[Entry], config: TSDiffConfig, settings: SynthesisConfig) -> list[Series]:
    """At most `settings.pool` usable series, each with the same chance (Vitter 1985, algorithm R)."""
    rng = np.random.default_rng(derive_seed(settings.seed, "pool"))
    kept: list[Series] = []
    for seen, found in enumerate(trainable_series(series, config), start=1):
        if len(kept) < settings.pool:
            kept.append(found)
        elif (slot := int(rng.integers(seen))) < settings.pool:
            kept[slot] = found
    if not kept:
        raise DataError("no training series holds an observed value, so there is no scale to draw; give others")
    return kept


def _place(pool: list[Series], config: TSDiffConfig, number: int, seed: int) -> Place:
    """A series, and the first step of a window of it that is not all missing, if `_TRIES` find one."""
    rng = np.random.default_rng(derive_seed(seed, "place", number))
    for _ in range(_TRIES):
        series = pool[int(rng.integers(len(pool)))]
        free = len(series) - config.length
        first = int(rng.integers(free + 1)) if free >= 0 else free
        if not np.isnan(cut(series.values, first, config.context_length)).all():
            break
    return series, first


def _windows(model: TSDiff, n: int, pool: list[Series], config: SynthesisConfig) -> Iterator[Entry]:
    digits = len(str(n - 1))
    for first in range(0, n, config.batch_rows):
        numbers = range(first, min(first + config.batch_rows, n))
        places = [_place(pool, model.config, number, config.seed) for number in numbers]
        for number, place, target in zip(numbers, places, _draw(model, places, numbers, config), strict=True):
            series, at = place
            yield {
                "item_id": f"synthetic_{number:0{digits}d}",
                "start": shifted(series.start, at),
                "target": _shaped(np.maximum(target, 0.0) if config.nonnegative else target),
                SOURCE: series.name,
                **_covariates(place, model),
            }


def _shaped(target: np.ndarray) -> np.ndarray:
    return target[0] if len(target) == 1 else target


def _covariates(place: Place, model: TSDiff) -> Entry:
    """What the window was drawn under, as GluonTS names it; before a series' start its features are their mean."""
    (series, first), config = place, model.config
    found: Entry = dict(series.covariates)
    if DYNAMIC in found:
        rows = cut(series.dynamic, first, config.length)
        mean = np.array(model.statistics.feature_center[config.static_features :], dtype=np.float32)
        found[DYNAMIC] = np.where(np.isnan(rows), mean, rows).T
    return found


def _draw(model: TSDiff, places: list[Place], numbers: range, config: SynthesisConfig) -> np.ndarray:
    """Unconditional windows (rows, channels, length) in the units of their places."""
    times = call_times(model.sde, config.steps, config.log_snr_end, config.method)

    @torch.no_grad()
    def work(rows: Rows) -> np.ndarray:
        generators = [make_generator(config.seed, "sample", numbers[item]) for item in rows.items]
        drawn = model.draw(rows.windows.inputs, generators, times, method=config.method).x
        made = rows.windows.to_series(drawn[..., : model.config.channels].double().cpu().numpy())
        for item, window, scale in zip(rows.items, made, rows.windows.scale, strict=True):
            if not (np.abs(window) <= np.finfo(np.float32).max).all():  # larger ones no reader would take
                raise DataError(
                    f"synthetic window {numbers[item]}, at the scale of series {places[item][0].name!r} "
                    f"({scale.max():.3g}), is not finite; train the model longer, or rescale the series"
                )
        return made

    hidden = model.config.length if model.config.conditional else 0
    return for_each_draw(model.eval(), places, 1, config.batch_rows, work, hidden)[:, 0].swapaxes(1, 2)
