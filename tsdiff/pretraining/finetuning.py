"""Fine-tuning a model of all frequencies on the series it is to forecast."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from gluonts.dataset.split import TestData
from gluonts.model.forecast import Forecast
from torch import Tensor, nn

from shared.checks import Checked, Count, Natural, NonNegative, Positive
from shared.errors import DataError
from shared.random import natural
from shared.training.batches import BatchSource
from shared.training.config import TrainingConfig
from shared.training.monitoring import Checkup, CPULimit
from shared.training.timing import seconds_of
from tsdiff.data import entries_of, hold_back
from tsdiff.data.entries import Entry
from tsdiff.evaluation.metrics import window_losses
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.pretraining.anchored import CHANGES, AnchoredSource, Chances, Change
from tsdiff.pretraining.corpus import Corpus, CorpusGroup, CorpusSource
from tsdiff.pretraining.training import train
from tsdiff.pretraining.weighing import TUNING_STEPS
from tsdiff.pretraining.weighing import tuned as tuned_weighing
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.weighing import Weighing, bundled_weighing

_FIRST, _CALIBRATION, _MEASURING = 3, 20, 0.1
"""Steps by which the time of one is measured, at first and at most; the share of the time that this may take."""
_GUIDANCE: tuple[Mapping[str, Any], ...] = (
    {"kernel_share": 0.25},
    {"kernel_share": 0.75},
    {"kernel_share": 1.0},
    {"covariance": "window"},
)
"""Changes of the model's own sampling that are tried."""
_TOLERANCE = 0.02
"""By which share of its CRPS a change must be better on the few windows that are held back, to be taken for better."""
_SAMPLES = 50
WEIGHED, HALF = "anchors weighed anew", "half-way"
"""What a trial's changes are called."""
_WEIGHINGS = 24
"""Steps of weighing simple forecasts for each of the network, up to `TUNING_STEPS`: they gain most in little time."""
_NAME = "the series"
_CHANGES: dict[Change, float] = {"bent": 0.05, "stepped": 0.02, "spiked": 0.02, "turned": 0.05, "mixed": 0.0}
_CHANCES = Chances(synthetic=0.0, gap=0.05, nothing=0.02, short=0.1, changes={**CHANGES, **_CHANGES})
"""What happens to windows of a model with an anchor, which has seen enough of it."""


@dataclass(frozen=True)
class FineTuning(Checked):
    """How to fine-tune.

    Args:
        cpu_minutes: of it all, where `steps` is None; the steps that fit are measured first.
        steps: optimiser steps.
        learning_rate: its peak.
        batch_size: windows in a batch.
        held_back: about how many last windows of the series, up to 6 of each, choose how long to train the network, not
            at all included, and the guidance. The weighing of simple forecasts, which is always trained, learns from
            them too. 0 trains on everything to the end and keeps the guidance.
        checks: how often these windows are forecast during training.
        seed: of everything.
    """

    cpu_minutes: NonNegative = 5.0
    steps: Count | None = None
    learning_rate: Positive = 3e-4
    batch_size: Count = 32
    held_back: Natural = 80
    checks: Count = 6
    seed: int = 0

    def _related(self) -> None:
        met = self.steps is not None or self.cpu_minutes > 0
        self._require(met, "cpu_minutes", "need a positive time, or give steps")


@dataclass(frozen=True)
class Trial:
    """What was measured on the windows that were held back.

    Attributes:
        steps: of training.
        change: what else was changed: "anchors weighed anew" is a weighing of the simple forecasts of its own, which
            has seen these windows, and which later trials keep; "half-way" are the network's weights midway between
            those and the first; the others are of the sampling; none is "as it was".
        crps: of the forecasts.
    """

    steps: int
    change: str
    crps: float


class Tunable(Protocol):
    """A forecaster whose model can be replaced, such as `tsdiff.predictor.TSDiffPredictor`."""

    model: TSDiff
    sampling: Sampling
    prediction_length: int

    def with_model(self, model: TSDiff) -> Self:
        """The same with another model."""
        ...

    def with_sampling(self, **changes: Any) -> Self:
        """The same with some settings of its sampling changed."""
        ...

    def measure_covariance(self, dataset: Iterable[Entry], windows: int, rng: np.random.Generator | None) -> Self:
        """Measure the covariance of windows of the model, which is changed in place."""
        ...

    def predict(self, dataset: Iterable[Entry], num_samples: int) -> Iterator[Forecast]:
        """One forecast for each entry, in order."""
        ...


P = TypeVar("P", bound=Tunable)


@dataclass(frozen=True)
class FineTuned(Generic[P]):
    """What came of it.

    Attributes:
        predictor: of the fine-tuned model.
        steps: after which its weights were taken; 0 where the model forecast best as it was.
        change: what else was changed, see `Trial`.
        trials: what decided; empty where nothing was held back.
    """

    predictor: P
    steps: int
    change: str
    trials: tuple[Trial, ...]


def fine_tune(
    predictor: P, dataset: Iterable[Entry], settings: FineTuning | None = None, *, progress: bool = False
) -> FineTuned[P]:
    """Train a copy of an adapted model on some series.

    Args:
        predictor: of one frequency and horizon (`TSDiffPredictor.adapted`); its model is left as it is.
        dataset: GluonTS entries to learn from.
        settings: how.
        progress: show a bar.

    Raises:
        ConfigError: a model that was not made for several frequencies.
        DataError: no series holds an observed value, or more than six values.
    """
    settings = settings or FineTuning()
    started = time.process_time()
    config = predictor.model.config
    taken = copy.deepcopy(predictor.model)
    model = copy.deepcopy(taken).cpu().requires_grad_(True)
    tuned = predictor.with_model(taken)
    rng = np.random.default_rng([natural(settings.seed), 1])
    whole = list(entries_of(dataset))
    entries, windows = hold_back(whole, tuned.prediction_length, settings.held_back, rng)
    source = tuning_source(config, entries, settings, taken.weighing)
    if windows is None:
        steps = settings.steps or _steps_in(model, source, settings, 60 * settings.cpu_minutes)
        told = "as it was"
        if isinstance(source, AnchoredSource) and not settings.held_back:
            taken.weighing = source.weighing = _weighed(source, settings, steps)
            told = WEIGHED
        train(model, source, _training(settings, steps), progress=progress)
        taken.denoiser.load_state_dict(model.denoiser.state_dict())
        return FineTuned(tuned, steps, told, ())
    contest = _Contest(tuned, windows)
    until = started + 60 * settings.cpu_minutes
    ending = contest.seconds * (2 + len(_guidance(config)))  # a last look, half-way weights, guidance
    left = until - time.process_time() - contest.seconds * (settings.checks + 1) - ending
    steps = settings.steps or _steps_in(model, source, settings, max(left, 6 * settings.cpu_minutes))
    if isinstance(source, AnchoredSource):
        # what is held back is most like what comes, and few windows cannot tell whether to weigh anew
        by_all = _anchored_source(config, whole, settings, taken.weighing)
        source.weighing = contest.weigh(_weighed(by_all, settings, steps))
    checkup = Checkup(contest.look, -(-steps // settings.checks), "score")
    limit = [CPULimit(until - ending)] if settings.steps is None else []
    train(model, source, _training(settings, steps), progress=progress, callbacks=[checkup, *limit])
    contest.settle()
    made = _with_guidance(contest, entries, settings)
    told = _told(contest, predictor.sampling, made.sampling)
    return FineTuned(made, contest.best.steps, told, tuple(contest.trials))


def tuning_source(
    config: TSDiffConfig, entries: list[Entry], settings: FineTuning, weighing: Weighing | None
) -> BatchSource:
    """Windows of the series, most of them with the horizon that is to be forecast, around anchors of that weighing."""
    if config.scaling == "anchor":
        return _anchored_source(config, entries, settings, weighing)
    corpus, horizon = _corpus(config, entries), config.prediction_length
    horizons = (max(1, horizon // 2), horizon)
    return CorpusSource(corpus, config, settings.batch_size, synthetic_share=0.0, horizons=horizons, whole=0.9)


def _anchored_source(
    config: TSDiffConfig, entries: Sequence[Entry], settings: FineTuning, weighing: Weighing | None
) -> AnchoredSource:
    corpus, horizons = _corpus(config, entries), {_NAME: config.prediction_length}
    source = AnchoredSource(corpus, config, settings.batch_size, horizons=horizons, chances=_CHANCES)
    source.weighing = weighing
    return source


def _corpus(config: TSDiffConfig, entries: Sequence[Entry]) -> Corpus:
    return Corpus([CorpusGroup.of_entries(_NAME, 1.0, list(entries), config.length)])


def _guidance(config: TSDiffConfig) -> Sequence[Mapping[str, Any]]:
    """Changes of the sampling that are tried; a model that is told the known values takes no guidance."""
    return () if config.conditional else _GUIDANCE


class _Contest(Generic[P]):
    """Networks compared by their forecasts of windows that none was trained on.

    Args:
        predictor: whose model's weights are replaced.
        windows: what to forecast.

    Attributes:
        trials: all, in order.
        first, best: of the network as it came, with the new weighing, and of the one that was taken.
        weighed: whether the simple forecasts are weighed anew.
        seconds: of CPU time that the first trial took.
    """

    def __init__(self, predictor: P, windows: TestData):
        self.predictor, self.windows = predictor, windows
        self.trials: list[Trial] = []
        self._labels = [np.asarray(label["target"], dtype=np.float64) for label in windows.label]
        started = time.process_time()
        self.first = self.best = self.trial(0, "as it was", predictor)
        self.seconds = time.process_time() - started
        self.weighed = False
        self._first = _copy_of(predictor.model.denoiser)
        self._trained, self._weights = Trial(0, "as it was", math.inf), self._first
        self._looks: list[float] = []

    def weigh(self, weighing: Weighing) -> Weighing:
        """Give the model a weighing of simple forecasts, with which trained weights are compared; return it."""
        self.predictor.model.weighing, self.weighed = weighing, True
        self.first = self.best = self.trial(0, WEIGHED, self.predictor)
        return weighing

    def look(self, network: nn.Module, step: int) -> Mapping[str, float]:
        """Forecast with trained weights; they are kept if no earlier ones were better."""
        denoiser = self.predictor.model.denoiser
        denoiser.load_state_dict(network.state_dict())
        trial = self.trial(step, "as it was", self.predictor)
        self._looks.append(trial.crps)
        if trial.crps < self._trained.crps:
            self._trained, self._weights = trial, _copy_of(denoiser)
        return {"score": -trial.crps}

    def settle(self) -> None:
        """Take the best trained weights, or those half-way to them, unless clearly worse: they do better where the
        future is unlike the past (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). The first weights
        stay where training did not help in the mean of all looks: the best of several is better by chance."""
        denoiser = self.predictor.model.denoiser
        half = {name: (w + self._first[name]) / 2 for name, w in self._weights.items()}
        denoiser.load_state_dict(half)
        other, weights = self.trial(self._trained.steps, HALF, self.predictor), half
        if other.crps > (1 + _TOLERANCE) * self._trained.crps:
            other, weights = self._trained, self._weights
        helps = sum(self._looks) < len(self._looks) * self.first.crps and other.crps < self.first.crps
        self.best = other if helps else self.first
        denoiser.load_state_dict(weights if helps else self._first)

    def trial(self, steps: int, change: str, predictor: P) -> Trial:
        """Forecast the windows, score that, and note it."""
        with torch.random.fork_rng(devices=[]):
            made = list(predictor.predict(self.windows.input, _SAMPLES))
        losses, sizes = window_losses(made, self._labels)
        with np.errstate(invalid="ignore", divide="ignore"):  # windows of zeros have no CRPS
            self.trials.append(Trial(steps, change, float(losses.sum() / sizes.sum())))
        return self.trials[-1]


def _copy_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _training(settings: FineTuning, steps: int) -> TrainingConfig:
    return TrainingConfig(
        max_steps=steps,
        learning_rate=settings.learning_rate,
        weight_decay=1e-2,
        ema_decay=min(0.995, 1 - 5 / (steps + 5)),
        seed=settings.seed,
    )


def _weighed(source: AnchoredSource, settings: FineTuning, steps: int) -> Weighing:
    """A weighing of simple forecasts, trained on from the source's beside so many steps of the network."""
    return tuned_weighing(source.weighing or bundled_weighing(), source, settings.seed, _WEIGHINGS * steps)


def _steps_in(model: TSDiff, source: BatchSource, settings: FineTuning, seconds: float) -> int:
    """How many steps fit into the time beside the training of the weighing, what is measured for it counted, by those
    of a copy that is thrown away."""
    trial, until = copy.deepcopy(model), time.process_time() + seconds

    def each_of(count: int) -> float:
        return seconds_of(lambda: train(trial, source, _training(settings, count), progress=False)) / count

    each, first = each_of(_FIRST), 0.0
    count = int(np.clip(_MEASURING * seconds / each, _FIRST, _CALIBRATION))
    if count > _FIRST:
        each = each_of(count)
    if isinstance(source, AnchoredSource):
        few = max(1, count // 4)
        first = seconds_of(lambda: _weighed(source, settings, few)) / few
    seconds = until - time.process_time()
    within, most = seconds / (each + first), TUNING_STEPS // _WEIGHINGS
    return max(1, round(within if within <= most else (seconds - most * first) / each))


def _with_guidance(contest: _Contest[P], entries: Sequence[Entry], settings: FineTuning) -> P:
    """The best network, guided otherwise where that forecasts clearly better."""
    chosen, limit = contest.predictor, (1 - _TOLERANCE) * contest.best.crps
    model = contest.predictor.model
    for changes in _guidance(model.config):
        before = model.statistics
        if changes.get("covariance") == "window":
            try:
                contest.predictor.measure_covariance(entries, 1024, np.random.default_rng([natural(settings.seed), 2]))
            except DataError:  # fewer than two windows
                continue
        other = contest.predictor.with_sampling(**changes)
        told = ", ".join(f"{name} {value}" for name, value in changes.items())
        trial = contest.trial(contest.best.steps, told, other)
        if trial.crps < limit:
            chosen, limit = other, trial.crps
        else:
            model.statistics = before  # a model that knows a covariance draws by it unless it is told otherwise
    return chosen


def _told(contest: _Contest[Any], before: Sampling, after: Sampling) -> str:
    """What was changed besides the weights, in words."""
    changes = [f"{name} {value}" for name, value in vars(after).items() if value != getattr(before, name)]
    weights = [WEIGHED] if contest.weighed else []
    weights += [HALF] if contest.best.change == HALF else []
    return ", ".join(weights + changes) or "as it was"
