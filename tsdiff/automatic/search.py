"""Choosing a forecaster by backtests, within a time."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.split import TestData
from gluonts.model.forecast import SampleForecast

from shared.checks import Count, Positive, checked
from shared.console.notes import Note
from shared.console.progress import bar
from shared.errors import ConfigError, DiffusionError
from shared.optional import install, is_there
from shared.random import derive_seed
from shared.training.timing import Pace, seconds_of
from tsdiff.automatic.guards import Guard
from tsdiff.automatic.predictor import AutoPredictor, Member, apportioned, common_sampling
from tsdiff.automatic.report import Report, Tried
from tsdiff.automatic.settings import AutoSettings
from tsdiff.automatic.weights import Losses, choose
from tsdiff.data import SeriesSet, hold_back, load_dataset
from tsdiff.data.entries import Entry
from tsdiff.data.known import Names, listed, series_to_learn
from tsdiff.estimator import HELD_OUT, TSDiffEstimator
from tsdiff.evaluation.metrics import evaluate
from tsdiff.fitting.chosen import averaging
from tsdiff.fitting.starting import name_inputs
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling

_BACKTESTS = 0.25
"""Share of the time that backtests of the bundled model may take, for all candidates that are models."""
_ETS = 0.15
"""Share of the time that AutoETS may take."""
_TUNING = 0.45
"""Share of what is left that training leaves to fine-tuning, with whatever it does not take itself."""
_CHOOSING = 0.4
"""Share of the fine-tuning that its own choices may take."""
_LEAST_HELD, _MOST_HELD, _TRIALS = 6, 80, 10
"""Windows that fine-tuning chooses by, and about how often it forecasts them, with half as many samples."""
_LEAST_STEPS = 100
_PROBES, _LEAST_WINDOWS = 3, 6
_SAFETY = 0.97
"""Share of the time that is given out."""


def auto(
    data: pd.DataFrame | Iterable[Entry],
    prediction_length: int,
    minutes: float | None = None,
    *,
    covariates: Sequence[str] = (),
    freq: str | None = None,
    id_column: str | None = None,
    timestamp_column: str | None = None,
    target: str | None = None,
    model: TSDiffPredictor | str = "default",
    settings: AutoSettings | None = None,
    progress: bool = True,
) -> AutoPredictor:
    """Choose, or pool, forecasters of some series by rolling backtests on them.

    The last windows of some series are cut off. A seasonal naive, AutoETS (where statsforecast is installed), the
    bundled model, a copy of it that is fine-tuned on what is left, and a model that is trained on that, forecast them;
    shares of a pool of their paths are fitted to the CRPS of these forecasts, and taken unless the best candidate does
    clearly better on windows that did not choose.

    Args:
        data: a frame, see `TSDiffPredictor.predict_df`, or GluonTS entries of univariate series.
        prediction_length: steps to forecast.
        minutes: of CPU time for it all; None takes the settings'.
        covariates: columns, or one column, of a frame that are known of the future; entries hold them as
            feat_dynamic_real. The models take them, by a regression or trained with them.
        freq: in any pandas spelling; None takes that of the data.
        id_column, timestamp_column, target: of a frame; found by their usual names.
        model: the model of all frequencies that is the bundled candidate.
        settings: what to try, and how.
        progress: show what is done.

    Returns:
        A forecaster with a predictor's calls (`predict`, `predict_df`, `serialize`, …), whose `report` tells what was
        tried and which was taken, and why.

    Raises:
        ConfigError: a setting that cannot be, or series of several channels.
        DataError: no series that can be used.
    """
    started = time.process_time()
    settings = settings or AutoSettings()
    settings = settings if minutes is None else replace(settings, cpu_minutes=checked(Positive, minutes=minutes))
    steps = checked(Count, prediction_length=prediction_length)
    if isinstance(data, pd.DataFrame):
        series = series_to_learn(data, Names(id_column, timestamp_column, target), freq, listed(covariates))
    else:
        series = load_dataset(data, freq=freq)
    if series.layout.channels:
        raise ConfigError(
            f"the series have {series.layout.channels} channels; give one entry a channel, or train a TSDiffEstimator"
        )
    found = TSDiffPredictor.from_pretrained(model) if isinstance(model, str) else model
    return _Search(series, found, steps, settings, progress, started).run()


class _Search:
    """A search as it goes on, since `started` of this process' CPU time."""

    def __init__(
        self,
        series: SeriesSet,
        model: TSDiffPredictor,
        horizon: int,
        settings: AutoSettings,
        progress: bool,
        started: float,
    ):
        self.series, self.horizon, self.settings, self.progress = series, horizon, settings, progress
        self.started = started
        changes: dict[str, Any] = {"seed": settings.seed, **({"covariates": True} if series.layout.dynamic else {})}
        self.bundled = model.with_sampling(**changes).adapted(series.freq, horizon)
        self.sampling = common_sampling(self.bundled.sampling)
        self.members: list[Member] = []
        self.samples: list[list[SampleForecast]] = []
        self.tried: list[Tried] = []
        self.steps: dict[str, int] = {}
        self.each = 0.0  # CPU seconds of the bundled model's forecast of a window
        self.each_trained = 0.0  # of a trained model's
        self.looks = 0.0  # of the looks at held-out windows while it is trained, and to fit its width
        self.pace: Pace | None = None  # of that training

    @property
    def total(self) -> float:
        return _SAFETY * 60 * self.settings.cpu_minutes

    @property
    def left(self) -> float:
        return self.total - (time.process_time() - self.started)

    def run(self) -> AutoPredictor:
        """All of it."""
        settings = self.settings
        rng = np.random.default_rng(derive_seed(settings.seed, "backtests"))
        if max(len(entry["target"]) for entry in self.series) < 4 * self.horizon:
            return self._untested()
        about = self._affordable()
        self.train, windows = hold_back(self.series.entries, self.horizon, about, rng)
        if windows is None:
            return self._untested()
        self.windows: TestData = windows
        self.labels = [np.asarray(label["target"], dtype=np.float64) for label in windows.label]
        work: dict[str, Callable[[], tuple[Any, str]]] = {
            "naive": lambda: (self._guard("naive"), "the season before, with its own earlier errors"),
            "bundled": lambda: (self.bundled, "as it came"),
            "auto_ets": self._ets,
            "trained": self._trained,
            "fine-tuned": self._fine_tuned,
        }
        chosen = [name for name in work if name in settings.candidates]
        with bar(len(chosen), "choosing a forecaster", "candidates", show=self.progress, leave=False) as shown:
            for name in chosen:
                shown.set_postfix_str(name, refresh=False)
                self._try(name, work[name])
                shown.update(1)
        return self._chosen()

    def _affordable(self) -> int:
        """How many windows the time allows to forecast by every model, by what one takes each of them."""
        asked = set(self.settings.candidates)
        longest = sorted(self.series.entries, key=lambda entry: -len(entry["target"]))[:_PROBES]
        probes = [{**entry, "target": np.asarray(entry["target"])[: -self.horizon]} for entry in longest]
        probes = [entry for entry in probes if not np.isnan(entry["target"].astype(np.float64)).all()]
        if not probes or not asked & {"bundled", "fine-tuned", "trained"}:
            return self.settings.windows
        self.each = _seconds_each(self.bundled, probes, self.settings.samples)
        together = self.each * len(asked & {"bundled", "fine-tuned"})
        if "trained" in asked:
            with suppress(DiffusionError):  # training it for good will tell
                self.pace = self._measure_training(probes)
            if self.pace is not None and self._training_fits(self.pace, (1 - _BACKTESTS) * self.left):
                together += self.each_trained
        within = _BACKTESTS * self.total / together if together else math.inf
        return int(np.clip(within, _LEAST_WINDOWS, self.settings.windows))

    def _measure_training(self, probes: Sequence[Entry]) -> Pace:
        """What training, its looks at held-out windows, and forecasts of a trained model take."""
        from tsdiff.fitting.held_out import CHECKS, SAMPLES, few_calls  # loads Lightning
        from tsdiff.fitting.widths import SAMPLES as WIDTH_SAMPLES

        with _few_values():
            estimator = self._estimator()
            pace = estimator.pace(self.series)
            model = estimator.with_training(max_steps=1).train(self.series, progress=False, hold_out=False)
        self.each_trained = _seconds_each(model, probes, self.settings.samples)
        looking = model.with_sampling(steps=few_calls(model.sampling).steps)
        fitting = self.each_trained * WIDTH_SAMPLES / self.settings.samples
        self.looks = HELD_OUT * (CHECKS * _seconds_each(looking, probes, SAMPLES) + fitting)
        return pace

    def _for_training(self, seconds: float) -> float:
        """What of this time is left to the steps of a training."""
        share = 1 - _TUNING if "fine-tuned" in self.settings.candidates else 1.0
        return share * seconds - self.looks

    def _training_fits(self, pace: Pace, seconds: float) -> bool:
        return self._for_training(seconds) >= _LEAST_STEPS * pace.seconds

    def _try(self, name: str, make: Callable[[], tuple[Any, str]]) -> None:
        started = time.process_time()
        try:
            predictor, about = make()
            if predictor is None:
                self.tried.append(Tried(name, about=f"left out: {about}"))
                return
            alone = AutoPredictor([Member(name, 1.0, predictor)], sampling=self.sampling)
            made = list(alone.predict(self.windows.input, self.settings.samples))
            metrics = evaluate(made, self.windows)
        except DiffusionError as error:
            self.tried.append(Tried(name, about=f"left out: {error}", seconds=time.process_time() - started))
            return
        spent = time.process_time() - started
        self.members.append(Member(name, 0.0, predictor))
        self.samples.append(made)
        self.tried.append(Tried(name, metrics.crps, metrics.coverage_90, 0.0, spent, about))

    def _guard(self, kind: str) -> Guard:
        return Guard(kind, self.series.freq, self.horizon, seed=self.settings.seed)  # type: ignore[arg-type]

    def _ets(self) -> tuple[Guard | None, str]:
        if not is_there("statsforecast"):
            return None, f"needs statsforecast, {install('baselines')}"
        guard, first = self._guard("auto_ets"), [next(iter(self.windows.input))]
        list(guard.predict(first, 2))  # numba compiles
        started = time.process_time()
        list(guard.predict(first, self.settings.samples))
        each = time.process_time() - started
        if each * len(self.labels) > _ETS * self.total:
            return None, f"takes {each:.2g} CPU s a series, too long for {self.settings.cpu_minutes:g} minutes"
        return guard, "fitted to each series"

    def _fine_tuned(self) -> tuple[TSDiffPredictor | None, str]:
        from tsdiff.pretraining.finetuning import FineTuning, fine_tune  # loads Lightning

        seconds = self.left - self.each * len(self.labels)
        held = int(min(_CHOOSING * seconds / (_TRIALS * self.each / 2), _MOST_HELD)) if self.each else _MOST_HELD
        if held < _LEAST_HELD and self.settings.fine_tune_steps is None:
            return None, f"{self.settings.cpu_minutes:g} minutes are too short"
        given = self.settings.fine_tune_steps
        held = held if given is None else self.settings.windows
        tuning = FineTuning(max(seconds, 0.0) / 60, given, held_back=held, checks=3, seed=self.settings.seed)
        made = fine_tune(self.bundled, self.train, tuning, progress=self.progress)
        self.steps["fine_tune_steps"] = max([made.steps, *(trial.steps for trial in made.trials)])
        weights = f"weights after {made.steps} steps" if made.steps else "weights as they came"
        return made.predictor, f"{weights}, {made.change}"

    def _trained(self) -> tuple[TSDiffPredictor | None, str]:
        from shared.training.monitoring import CPULimit  # loads Lightning

        given, estimator = self.settings.train_steps, self._estimator()
        limit = CPULimit(math.inf)
        if given is None:
            with _few_values():
                pace = self.pace or estimator.pace(self.train)
            later = self.each if "fine-tuned" in self.settings.candidates else 0.0
            seconds = self.left - (self.each_trained + later) * len(self.labels)
            if not self._training_fits(pace, seconds):
                return None, f"{self.settings.cpu_minutes:g} minutes are too short"
            within = self._for_training(seconds)
            given, limit = pace.within(within), CPULimit(time.process_time() + within + self.looks)
        estimator.with_training(max_steps=given, ema_decay=averaging(given, estimator.training.ema_decay))
        self.steps["train_steps"] = given
        with _few_values():
            made = estimator.train(self.train, progress=self.progress, hold_out=True, callbacks=[limit])
        name_inputs(made.model, self.series)
        return (
            made,
            f"{given} steps" if limit.ended is None else f"{limit.ended} of {given} steps, for the time was over",
        )

    def _estimator(self) -> TSDiffEstimator:
        """Of the model of their own."""
        layout = self.series.layout
        return TSDiffEstimator(
            self.series.freq,
            self.horizon,
            dynamic_features=layout.dynamic,
            static_features=layout.reals,
            categories=self.series.cardinalities,
            sampling=replace(self.sampling, batch_rows=Sampling().batch_rows),
        ).with_training(seed=self.settings.seed)

    def _chosen(self) -> AutoPredictor:
        if not self.members:
            raise ConfigError(f"no candidate is left: {'; '.join(f'{one.name} {one.about}' for one in self.tried)}")
        drawn = [[made.samples for made in forecasts] for forecasts in self.samples]
        names = [member.name for member in self.members]
        groups = [str(label["item_id"]) for label in self.windows.label]
        choice = choose(Losses.of(drawn, self.labels), names, groups, [label["start"] for label in self.windows.label])
        members = [replace(one, share=float(share)) for one, share in zip(self.members, choice.shares, strict=True)]
        by_name = {member.name: member.share for member in members}
        tried = [replace(one, share=by_name.get(one.name, 0.0)) for one in self.tried]
        predictor = AutoPredictor(members, sampling=self.sampling)
        if len(predictor.members) > 1:
            pooled = evaluate(self._pooled(choice.shares), self.windows)
            tried.append(Tried("pool", pooled.crps, pooled.coverage_90, 1.0, 0.0, "the samples together"))
        spent = time.process_time() - self.started
        report = Report(tuple(tried), len(self.labels), choice.why, round(spent, 1), self.steps)
        return AutoPredictor(members, report, self.sampling)

    def _untested(self) -> AutoPredictor:
        """What is taken where no series is long enough for a backtest."""
        members = [Member("naive", 0.5, self._guard("naive")), Member("bundled", 0.5, self.bundled)]
        why = f"no series has {4 * self.horizon} values, four horizons, to backtest on: both in equal shares"
        tried = tuple(Tried(one.name, share=one.share) for one in members)
        return AutoPredictor(members, Report(tried, 0, why, round(time.process_time() - self.started, 1)))

    def _pooled(self, shares: np.ndarray) -> Iterator[SampleForecast]:
        """Forecasts of the windows from the samples that are there."""
        counts, rng = apportioned(shares.tolist(), self.settings.samples), np.random.default_rng(self.settings.seed)
        for forecasts in zip(*self.samples, strict=True):
            parts = [rng.permutation(one.samples)[:n] for one, n in zip(forecasts, counts, strict=True)]
            first = forecasts[0]
            yield SampleForecast(np.concatenate(parts), first.start_date, item_id=first.item_id)


def _seconds_each(predictor: TSDiffPredictor, entries: Sequence[Entry], samples: int) -> float:
    """CPU seconds that its forecast of one takes."""
    list(predictor.predict(entries[:1], 2))  # what a first call takes is no forecast's
    return max(seconds_of(lambda: list(predictor.predict(entries, samples))), 1e-4) / len(entries)


@contextmanager
def _few_values() -> Iterator[None]:
    """Without the note that values are few to train on: what it offers is being done."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* (few|little) to train on", Note)
        yield
