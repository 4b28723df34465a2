"""Settings of a training that follow from the data, where the caller leaves them open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared.console.notes import tell
from shared.errors import ConfigError, counted
from shared.training.config import TrainingConfig
from tsdiff.data import SeriesStore, candidate_seasons
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.config import TSDiffConfig, default_patch, patch_of
from tsdiff.windows.config import Scaling, fitting_context

STEPS_EACH, LEAST_STEPS, MOST_STEPS = 40.0, 500, 7000
"""Optimiser steps grow with the root of the number of values; held-out windows end them where they are too many."""
_AVERAGED = 7.0
"""The average of the weights is over a seventh of the steps: over a thousand of few hundred, most of it would be the
weights that training began with."""
_DROPOUT = ((20_000, 0.2), (200_000, 0.1))
"""Dropout of a network that is trained on fewer values than this."""
_LEAST_WINDOWS = 3
"""Windows that the usual series should hold side by side."""
_LEAST_TOKENS = 3
"""Patches of a window."""
_PROBES = 400
"""Places that are looked at."""
_LEAST_PROBES = 10
"""Below so many, nothing is said of the scaling."""
_ZEROS = 0.05
"""Share of zeros from which a non-negative series is one of amounts, whose unit is their mean."""
_WALKS, _AWAY = 0.7, 0.9
"""A series walks where its last values are nearer to what comes than the context's mean by this factor, and that lies
so many deviations of the context away."""
_NARROW, _UNEQUAL = 0.12, 4.0
"""Windows whose spread is usually below this share of their level, or differs by this factor between them, are brought
to one spread."""
FEW_VALUES = 20_000
"""Observed values below which a model of one's own is not to be trusted."""


def averaging(steps: int, most: float) -> float:
    """Decay of the averaged weights that suits a number of steps, at most `most`."""
    return min(most, 1.0 - _AVERAGED / (steps + _AVERAGED))


@dataclass(frozen=True)
class Chosen:
    """Settings for a set of series.

    Attributes:
        scaling, context_length, patch, dropout: see `TSDiffConfig` and `S4DConfig`.
        max_steps: see `TrainingConfig`.
        values: observed values of all series.
    """

    scaling: Scaling
    context_length: int
    patch: int
    dropout: float
    max_steps: int
    values: int

    def of(self, config: TSDiffConfig, names: Sequence[str]) -> TSDiffConfig:
        """A model's settings with those of these names: "scaling", "context_length", "backbone"."""
        backbone: Any = config.backbone
        if "backbone" in names:
            backbone = S4DConfig(patch=self.patch, dropout=self.dropout)
        context = self.context_length if "context_length" in names else config.context_length
        context = fitting_context(config.freq, config.prediction_length, patch_of(backbone), context)
        scaling = self.scaling if "scaling" in names and config.transform is None else config.scaling
        return replace(config, backbone=backbone, context_length=context, scaling=scaling)

    def training(self, given: TrainingConfig) -> TrainingConfig:
        """A training of as many steps, its average over no more of them than suits."""
        return replace(given, max_steps=self.max_steps, ema_decay=averaging(self.max_steps, given.ema_decay))

    def warn(self) -> None:
        """Tell where values are few."""
        if self.values < FEW_VALUES:
            tell(
                f"{few(self.values)}: intervals may come out too narrow, and synthetic series "
                'much like these; TSDiffPredictor.from_pretrained("default") forecasts without training, and '
                "tsdiff.auto(data, …) chooses by backtests"
            )


def few(values: int) -> str:
    """That so many values are few, in words."""
    return f"{counted(values, 'value is little', 'values are few')} to train on"


def choose_settings(store: SeriesStore, prediction_length: int, rng: np.random.Generator) -> Chosen:
    """Settings for the series of a store.

    - Context: the frequency's, or less, so that the usual series holds three windows: of fewer the network learns by
      heart.
    - Patch: a season, or a part of it, so that a window has three.
    - Steps: 40·√(observed values), from 500 to 7000; dropout where values are few.
    - Scaling: "last" of series that walk away from their level, "standard" of those that hardly change beside their
      level or by very different shares of it or fall below 0, and else "mean".

    Args:
        store: the series.
        prediction_length: steps to forecast.
        rng: chooses where to look.
    """
    freq, usual = store.freq, int(np.median(store.lengths))
    full = fitting_context(freq, prediction_length, 1)
    window = min(full + prediction_length, max(3 * prediction_length, usual // _LEAST_WINDOWS, 8))
    patch = _patch(freq, window)
    context = fitting_context(freq, prediction_length, patch, max(1, window - prediction_length))
    values = round(int(store.lengths.sum()) * _observed(store, rng))
    dropout = next((rate for below, rate in _DROPOUT if values < below), 0.0)
    steps = int(np.clip(round(STEPS_EACH * np.sqrt(values)), LEAST_STEPS, MOST_STEPS))
    return Chosen(_scaling(store, context, prediction_length, rng), context, patch, dropout, steps, values)


def _patch(freq: str, window: int) -> int:
    """Of the divisors of the usual patch the largest with enough tokens in the window."""
    usual = default_patch(freq)
    fitting = [n for n in range(1, usual + 1) if usual % n == 0 and window // n >= _LEAST_TOKENS]
    return max(fitting, default=1)


def _observed(store: SeriesStore, rng: np.random.Generator) -> float:
    """Share of the values that are observed, in up to 100 of the series."""
    places = rng.choice(len(store), min(len(store), 100), replace=False)
    seen = [np.isfinite(store.target(int(place))).mean() for place in places]
    return float(np.mean(seen))


def _scaling(store: SeriesStore, context: int, horizon: int, rng: np.random.Generator) -> Scaling:
    season = candidate_seasons(store.freq)[0]
    probes, zeros, below = [], 0.0, False
    for _ in range(_PROBES):
        place = int(rng.integers(len(store)))
        length = int(store.lengths[place])
        first = int(rng.integers(max(length - context - horizon, 0) + 1))
        for row in store.window(place, first, min(context + horizon, length)):
            past, ahead = row[:-horizon], row[-horizon:]
            seen = past[np.isfinite(past)]
            if len(seen) < 4 or not np.isfinite(ahead).any() or np.ptp(seen) == 0:
                continue
            below = below or bool((seen < 0).any())
            zeros += float((seen == 0).mean())
            recent = past[-season:][np.isfinite(past[-season:])]
            level = seen[-1] if not len(recent) else recent.mean()
            to_come = np.nanmean(ahead)
            nearest = min(abs(to_come - level), abs(to_come - seen[-1]))
            probes.append((nearest, abs(to_come - seen.mean()), seen.std(), np.abs(seen).mean()))
    if len(probes) < _LEAST_PROBES:
        return "mean"
    near, far, spread, size = np.array(probes).T
    if not below and zeros / len(probes) > _ZEROS:
        return "mean"
    away = np.median(far / spread)
    if np.median(near / spread) < _WALKS * away and away > _AWAY:
        return "last"
    low, usual, high = np.quantile(spread / size, (0.1, 0.5, 0.9))
    return "standard" if below or usual < _NARROW or high > _UNEQUAL * low else "mean"


def left_open(given: str | Sequence[str] | None, left: Mapping[str, bool], fixed: bool) -> tuple[str, ...]:
    """Which settings are chosen from the data: those that are named, or were left open, unless all are `fixed` by a
    model to start from."""
    if given is None:
        return tuple(name for name, is_open in left.items() if is_open and not fixed)
    named = [given] if isinstance(given, str) else list(given)
    unknown = [name for name in named if name not in left]
    if unknown:
        raise ConfigError(f"from_data={named}: there are {', '.join(left)} to choose")
    return tuple(name for name in left if name in named)
