"""Training windows around their anchor, for a model of all frequencies that reads what is known (`ContextNetwork`).

Of a window some steps are wanted: those after a random origin (a forecast), some in the middle (a gap), or all (nothing
is known). The windows of a batch are alike in this, for the network draws the patches that any of them wants. How much
of the history is known is random too, and so are the changes that a series goes through before: it is turned upside
down, bent, given a step, a spike, noise, a second series, or wandering size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch

from shared.checks import Chance, Checked
from shared.errors import ConfigError, DataError
from shared.random import log_uniform
from shared.training.batches import Batch
from tsdiff.model.config import TSDiffConfig
from tsdiff.pretraining.corpus import Corpus, CorpusGroup, GroupDraw, Place
from tsdiff.windows.anchored import AnchoredWindow, Wanted, anchored_windows, residual_units
from tsdiff.windows.anchors import remembered
from tsdiff.windows.conditioning import anchored_inputs
from tsdiff.windows.inputs import network_inputs
from tsdiff.windows.scales import Statistics
from tsdiff.windows.weighing import Weighing

_CLIP, _TRIES = 6.0, 200
"""Network units beyond which training values are cut off: 20 times the anchor's error."""
_FEWEST = 6
_LONGEST_GAP = 48


Change = Literal["mixed", "swelling", "bent", "rough", "stepped", "spiked", "turned"]
CHANGES: Mapping[Change, float] = MappingProxyType(
    {"mixed": 0.15, "swelling": 0.1, "bent": 0.2, "rough": 0.1, "stepped": 0.08, "spiked": 0.06, "turned": 0.15}
)
"""Chances of what `changed` does, in its order: another series is added, the amplitude rises and falls slowly, a
straight line is added, or white noise, the level shifts late in the history, outliers come there, all is turned upside
down."""


@dataclass(frozen=True)
class Chances(Checked):
    """What happens to the windows of training, as shares of them.

    Attributes:
        synthetic: windows of synthetic groups; the real ones have the rest.
        gap, nothing: batches of windows with a gap, and those of which nothing is known; the others are forecasts.
        short: histories of which only the last steps are known.
        changes: see `changed`; what is not named does not happen.
    """

    synthetic: Chance = 0.4
    gap: Chance = 0.12
    nothing: Chance = 0.06
    short: Chance = 0.3
    changes: Mapping[Change, Chance] = field(default_factory=lambda: CHANGES)


@dataclass(frozen=True)
class _Plan:
    """What the windows of a batch have in common.

    Attributes:
        kind: of what is wanted.
        longest: steps that are wanted, at most.
        place: step of the window around which gaps lie.
    """

    kind: Literal["forecast", "gap", "nothing"]
    longest: int
    place: int


@dataclass(frozen=True)
class _Window:
    """A window of training.

    Attributes:
        values, counted: (length, 1) float32: what is to be drawn, in the network's units, and 1 where it counts.
        features: (length, `SEASON_WIDTH`) float32.
        told: its anchor, and what the network is told.
        name: of its group.
    """

    values: np.ndarray
    counted: np.ndarray
    features: np.ndarray
    told: AnchoredWindow
    name: str


@dataclass(frozen=True)
class Stretch:
    """A part of a series after random changes.

    Attributes:
        values: (n,), NaN where missing.
        horizon: last of them, which are not known.
        place, begin: the series, and the step of it where the values begin.
        group: that of the series.
    """

    values: np.ndarray
    horizon: int
    place: Place
    begin: int
    group: CorpusGroup


class AnchoredSource:
    """Draws training windows of a corpus. A `shared.training.batches.BatchSource`.

    Args:
        corpus: of series.
        config: of the model: scaling "anchor".
        batch_size: windows in a batch.
        draws: noisy states of each window, which share its reading.
        horizons: of the real groups by name, which half of their forecasts have; the others' are log-uniform.
        chances: of what happens to a window.

    Attributes:
        weighing: of the simple forecasts that anchors are made of; None for the bundled one.

    Raises:
        ConfigError: another scaling, or no group.
        DataError: all series are too short to learn from.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: TSDiffConfig,
        batch_size: int = 48,
        *,
        draws: int = 4,
        horizons: dict[str, int] | None = None,
        chances: Chances = Chances(),
    ):
        if config.scaling != "anchor":
            raise ConfigError(f"scaling={config.scaling!r}: these windows are of models with scaling='anchor'")
        self.config, self.batch_size, self.draws, self.chances = config, batch_size, draws, chances
        self.horizons = horizons or {}
        self.weighing: Weighing | None = None
        self.draw_group = GroupDraw(corpus, chances.synthetic)
        self._series = [place.values for group in (*corpus.real, *corpus.synthetic) for place in group.places]
        self.longest = max(map(len, self._series))
        if self.longest <= _FEWEST:
            raise DataError(
                f"the longest series has {self.longest} values, and training needs {_FEWEST + 1}: forecast with the "
                "model as it is"
            )

    @property
    def known(self) -> int:
        """How many values of all series are there."""
        return sum(int(np.count_nonzero(~np.isnan(values))) for values in self._series)

    def batch(self, rng: np.random.Generator) -> Batch:
        """x0 and mask (batch·draws, length, 1), the features, and what is told around the anchor."""
        plan = self._plan(rng)
        rows = self._windows(rng, plan, self.batch_size)
        draws = 1 if plan.kind == "nothing" else self.draws
        of_row = torch.arange(len(rows)).repeat_interleave(draws)
        scale = np.array([[row.told.scale.mean()] for row in rows])
        condition = network_inputs(self.config, Statistics(), scale=scale, calendar=[row.features for row in rows])
        condition |= anchored_inputs([row.told for row in rows]) | {"of_row": of_row}
        if draws == 1:
            del condition["of_row"]  # so that any part of the batch is a batch, as a flow map's loss wants
        x0, mask = (
            torch.from_numpy(np.stack(part)) for part in zip(*((r.values, r.counted) for r in rows), strict=True)
        )
        return Batch(
            x0[of_row], mask=mask[of_row], condition=condition, ids=[row.name for row in rows for _ in range(draws)]
        )

    def _plan(self, rng: np.random.Generator) -> _Plan:
        kind, chances, longest = rng.random(), self.chances, self.config.prediction_length
        if kind < chances.nothing:
            return _Plan("nothing", longest, 0)
        if kind < chances.nothing + chances.gap:
            gap = min(_LONGEST_GAP, self.config.length // 4)
            first = max(gap, self.config.length - self.longest + _FEWEST + gap)  # where the longest series begins
            if first < self.config.length - gap:
                return _Plan("gap", gap, int(rng.integers(first, self.config.length - gap)))
        share = rng.choice([0.25, 0.25, 0.5, 1.0]) if longest > _LONGEST_GAP else 1.0  # short ones cost less
        return _Plan("forecast", int(longest * share), 0)

    def _windows(self, rng: np.random.Generator, plan: _Plan, count: int) -> list[_Window]:
        """`count` of them; what holds nothing to learn from is drawn again."""
        found: list[_Window] = []
        for _ in range(_TRIES):
            drawn = [self._drawn(rng, plan) for _ in range(count - len(found))]
            told = anchored_windows((wanted for wanted, _ in drawn), self.weighing)
            made = (self._made(*one, told) for one, told in zip(drawn, told, strict=True))
            found.extend(window for window in made if window is not None)
            if len(found) == count:
                return found
        raise ConfigError(
            f"{count - len(found)} of {count} windows hold nothing to learn from, {_TRIES} times in a row: give fuller "
            "series, or forecast with the model as it is"
        )

    def stretch(self, rng: np.random.Generator) -> Stretch:
        """A random history and what follows it, as forecasts are trained on.

        Raises:
            ConfigError: many random series, one after the other, are too short.
        """
        for _ in range(_TRIES):
            found = self._stretch(rng, self.draw_group(rng), _Plan("forecast", self.config.prediction_length, 0))
            if found is not None:
                return found
        raise ConfigError(f"{_TRIES} random series in a row are too short: a forecast needs {_FEWEST} known steps")

    def _stretch(self, rng: np.random.Generator, group: CorpusGroup, plan: _Plan) -> Stretch | None:
        """Of a random series of the group; None where that is too short."""
        place = group.places[int(rng.integers(len(group.places)))]
        count = len(place.values)
        horizon = min(self._horizon(rng, group, plan), count - _FEWEST)
        if horizon < 1:
            return None
        origin = int(rng.integers(max(_FEWEST, min(count - horizon, count // 3)), count - horizon + 1))
        begin = self._first_known(rng, origin, remembered(group.seasons))
        other = group.places[int(rng.integers(len(group.places)))].values
        values = changed(rng, place.values[begin : origin + horizon], origin - begin, other, self.chances.changes)
        return Stretch(values, horizon, place, begin, group)

    def _drawn(self, rng: np.random.Generator, plan: _Plan) -> tuple[Wanted, Stretch]:
        """A window of a random series that suits the plan."""
        for _ in range(_TRIES):
            group = self.draw_group(rng)
            found = self._stretch(rng, group, plan)
            if found is None:
                continue
            length, values = self.config.length, found.values
            first = len(values) - length  # of the window, in what is known of the series
            hidden = self._hidden(rng, plan, found.horizon)
            if plan.kind == "gap" and int(hidden.argmax()) + first < _FEWEST:  # nothing would be known before it
                continue
            if plan.kind == "nothing":  # nor is what lies before the window
                values, first = standardised(values, max(first, 0))[max(first, 0) :], min(first, 0)
            return Wanted(values, first, hidden, group.seasons, ahead=plan.kind == "forecast"), found
        raise ConfigError(f"{_TRIES} series in a row, the last of group {group.name!r}, are too short to learn from")

    def _made(self, wanted: Wanted, found: Stretch, told: AnchoredWindow) -> _Window | None:
        """The window around its anchor; None where that holds nothing to learn from."""
        length, first = self.config.length, wanted.first
        window = np.full(length, np.nan)
        window[max(-first, 0) :] = wanted.values[max(first, 0) :]
        numbers = residual_units((window - told.anchor) / told.scale)
        counted = wanted.hidden & ~np.isnan(numbers)
        if not counted.any() or not np.isfinite(told.known).all():
            return None
        clipped = np.clip(np.where(counted, numbers, 0.0), -_CLIP, _CLIP).astype(np.float32)
        features = found.group.features(found.place, found.begin + len(found.values) - length, length)
        features[:, -1] = np.arange(first, first + length) < 0
        return _Window(clipped[:, None], counted[:, None].astype(np.float32), features, told, found.group.name)

    def _first_known(self, rng: np.random.Generator, origin: int, most: int) -> int:
        """Step of the series from which on values are known, which are no more than `most` before a window."""
        known = origin
        if rng.random() < self.chances.short:
            known = min(origin, int(log_uniform(rng, _FEWEST, most)))
        return max(origin - known, origin - self.config.length - most)

    def _hidden(self, rng: np.random.Generator, plan: _Plan, horizon: int) -> np.ndarray:
        """Steps of the window that are wanted, (length,)."""
        steps = np.arange(self.config.length)
        if plan.kind == "gap":
            start = plan.place - horizon // 2 + int(rng.integers(-(plan.longest // 4), plan.longest // 4 + 1))
            return (steps >= start) & (steps < start + horizon)
        return steps >= (self.config.length - horizon if plan.kind == "forecast" else 0)

    def _horizon(self, rng: np.random.Generator, group: CorpusGroup, plan: _Plan) -> int:
        usual = self.horizons.get(group.name)
        if plan.kind == "forecast" and usual and usual <= plan.longest and rng.random() < 0.5:
            return usual
        least = 1 if plan.kind == "gap" or rng.random() < 0.2 else min(6, plan.longest)
        return int(log_uniform(rng, least, plan.longest + 1))


def standardised(values: np.ndarray, first: int) -> np.ndarray:
    """Values with zero mean and unit deviation from step `first` on; as they are where they do not change."""
    part = values[first:]
    if np.isnan(part).all():
        return values
    return (values - np.nanmean(part)) / (np.nanstd(part) or 1.0)


def changed(
    rng: np.random.Generator, values: np.ndarray, origin: int, other: np.ndarray, chances: Mapping[Change, float]
) -> np.ndarray:
    """A series after random changes, float64.

    Args:
        rng: of the changes.
        values: (n,), NaN where missing.
        origin: steps that will be known; what is sudden happens before.
        other: another series of the same frequency, which may be mixed in.
        chances: of each change, as in `CHANGES`; what is not named does not happen.
    """
    values = np.array(values, dtype=np.float64)
    seen = values[: max(origin, 1)]
    spread = float(np.nanstd(seen)) if np.isfinite(seen).any() else 0.0
    if spread == 0:
        return values
    place = np.arange(len(values)) - origin

    def happens(change: Change) -> bool:
        return rng.random() < chances.get(change, 0.0)

    if happens("mixed") and len(other) >= 2:
        part = np.resize(other, len(values)) if len(other) < len(values) else other[-len(values) :]
        size = float(np.nanstd(part)) if np.isfinite(part).any() else 0.0
        if size > 0:
            values = values + rng.uniform(0.2, 1.0) * spread / size * (part - np.nanmean(part))
    if happens("swelling"):
        wave = np.sin(2 * np.pi * (place / rng.uniform(60, 600) + rng.random()))
        center = np.nanmean(values)
        values = center + (values - center) * np.exp(rng.uniform(0.1, 0.7) * wave)
    if happens("bent"):
        values = values + rng.normal() * spread * place / rng.uniform(50, 600) * (1 if rng.random() < 0.7 else 3)
    if happens("rough"):
        values = values + rng.uniform(0.02, 0.6) * spread * rng.normal(size=len(values))
    if happens("stepped"):
        values[max(0, origin - int(np.exp(rng.uniform(0, np.log(100))))) :] += rng.normal() * 3 * spread
    if happens("spiked") and origin > 3:
        spikes = origin - 1 - rng.integers(0, min(origin, 50), rng.integers(1, 4))
        values[spikes] += rng.normal(size=len(spikes)) * 10 * spread
    return -values if happens("turned") else values
