"""How strongly to guide and in how many steps: chosen on validation windows, which the test never sees."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import pandas as pd
from gluonts.model.forecast import Forecast

from shared.checks import Count, checked
from shared.console.notes import Note
from shared.console.progress import track
from shared.console.tables import markdown, shown
from shared.errors import DataError, counted
from shared.random import derive_seed
from tsdiff.data import SeriesStore, checked_entries, split
from tsdiff.data.entries import Entry
from tsdiff.data.named import by_names
from tsdiff.evaluation.metrics import Metrics, evaluate
from tsdiff.sampling.settings import Energy, Sampling, SamplingMethod

_OF_GUIDANCE = ("guidance", "scale", "observation_std")


class Tunable(Protocol):
    """A forecaster that can be told to draw otherwise, such as `tsdiff.predictor.TSDiffPredictor`."""

    sampling: Sampling
    prediction_length: int
    nfe: int

    def with_sampling(self, **changes: Any) -> Self:
        """The same with some settings changed."""
        ...

    def predict(self, dataset: Iterable[Mapping[str, Any]], num_samples: int) -> Iterator[Forecast]:
        """One forecast for each entry, in order."""
        ...


P = TypeVar("P", bound=Tunable)


@dataclass(frozen=True)
class TuningGrid:
    """The settings of `Sampling` to try, each combination of them; an empty tuple keeps what the predictor has.

    Args:
        guidance: energies.
        scales: strengths of the guidance.
        steps: network calls; the published samplers ("ddpm", "ddim") have no use for them, they take `skips`, and a
            predictor with a `schedule` keeps its calls.
        observation_stds: what observed values are trusted to.
        methods: samplers.
        skips: of "ddim".
    """

    guidance: tuple[Energy, ...] = ("mse", "quantile")
    scales: tuple[float, ...] = (0.5, 1.0, 2.0)
    steps: tuple[int, ...] = (8, 16)
    observation_stds: tuple[float | None, ...] = ()
    methods: tuple[SamplingMethod, ...] = ()
    skips: tuple[int, ...] = ()

    def settings(self, base: Sampling, guided: bool = True) -> list[Sampling]:
        """Every combination once, in order; those that differ only in a field that a method ignores count as one.

        Args:
            base: what the others are of.
            guided: whether the model takes guidance, of which there is nothing to try otherwise.

        Raises:
            ConfigError: a value that `Sampling` does not take.
        """
        fields: dict[str, tuple[Any, ...]] = {
            "method": self.methods,
            "guidance": self.guidance,
            "scale": self.scales,
            "observation_std": self.observation_stds,
            "steps": self.steps if base.schedule is None else (),  # which tells the steps
            "skip": self.skips,
        }
        wanted = {name: values for name, values in fields.items() if values and (guided or name not in _OF_GUIDANCE)}
        found: dict[Sampling, None] = {}
        for chosen in product(*wanted.values()):
            made = replace(base, **dict(zip(wanted, chosen, strict=True)))
            if made.is_published:
                made = replace(made, steps=base.steps, observation_std=base.observation_std)
            found[made if made.method == "ddim" else replace(made, skip=base.skip)] = None
        return list(found)


@dataclass(frozen=True)
class Trial:
    """One setting and what it reached on the validation windows.

    Attributes:
        sampling: the setting.
        metrics: its scores; None where its forecasts were not finite.
        nfe: network calls of each sample.
        seconds: for all forecasts.
        error: why there are no scores.
    """

    sampling: Sampling
    metrics: Metrics | None
    nfe: int
    seconds: float
    error: str = ""

    @property
    def crps(self) -> float:
        """The score that decides; infinite where there is none."""
        return self.metrics.crps if self.metrics is not None and math.isfinite(self.metrics.crps) else math.inf


@dataclass(frozen=True)
class Tuned(Generic[P]):
    """What `tune` found.

    Attributes:
        predictor: the model with the best setting; by the predictor's own seed and batch size.
        trials: all that was tried, in the grid's order.
        best: the trial of the lowest CRPS; of equals the one with fewer network calls.
        windows: validation windows behind each score.
    """

    predictor: P
    trials: list[Trial]
    best: Trial
    windows: int

    def to_frame(self) -> pd.DataFrame:
        """One row a trial, the best first."""
        rows = []
        for trial in sorted(self.trials, key=lambda trial: (trial.crps, trial.nfe)):
            scores: Mapping[str, Any] = {} if trial.metrics is None else trial.metrics.as_dict()
            used = trial.sampling
            rows.append(
                {
                    "method": used.method,
                    "guidance": used.guidance,
                    "scale": used.scale,
                    "observation_std": used.trust,
                    "crps": scores.get("crps"),
                    "nd": scores.get("nd"),
                    "coverage_90": scores.get("coverage_90"),
                    "nfe": trial.nfe,
                    "seconds": round(trial.seconds, 2),
                    "error": trial.error,
                }
            )
        return pd.DataFrame(rows)

    def to_markdown(self) -> str:
        """The table of trials, with what it was measured on."""
        frame = self.to_frame()
        rows = ([shown(value, ".4g") for value in row] for row in frame.itertuples(index=False))
        found = counted(self.windows, "validation window")
        return f"CRPS over {found}; the first row is used.\n\n" + markdown(list(frame.columns), rows, left=2)


def tune(
    predictor: P,
    dataset: Iterable[Mapping[str, Any]],
    windows: int = 1,
    grid: TuningGrid | None = None,
    *,
    num_samples: int = 50,
    max_series: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> Tuned[P]:
    """Choose guidance and step count by the CRPS of the last windows of a data set.

    Give the series without their test windows. For an honest choice the model should not have been trained on the
    validation windows either: train on `split(..., validation_windows=1).train`, tune on its `before_test`.

    Args:
        predictor: trained; not changed.
        dataset: GluonTS entries, each with the validation windows at its end.
        windows: adjacent validation windows of each series.
        grid: what to try; None takes `TuningGrid()`.
        num_samples: samples of each forecast.
        max_series: at most so many series are forecast, drawn by `seed`; the others are left out.
        seed: of that choice. Samples are drawn with the predictor's own seed, the same for every setting, so that
            the same call gives the same result.
        progress: show a bar.

    Returns:
        The predictor with the best setting, and the table of all.

    Raises:
        ConfigError: a count below 1, or a grid with values that cannot be used.
        DataError: no series is long enough, or no setting gives a finite score.
    """
    checked(Count, windows=windows, num_samples=num_samples, max_series=max_series)
    told = getattr(getattr(predictor, "config", None), "conditional", False)  # the past, instead of being guided by it
    settings = (grid or TuningGrid()).settings(predictor.sampling, guided=not told)
    known: Any = predictor
    if hasattr(known, "vocabulary") and not isinstance(dataset, SeriesStore):  # a store knows no names
        dataset = by_names(dataset, [known])
    pairs = list(_validation(dataset, predictor.prediction_length, windows, max_series, seed))
    trials = [
        _try(predictor, setting, pairs, num_samples)
        for setting in track(settings, "tuning the guidance", "settings", total=len(settings), show=progress)
    ]
    best = min(trials, key=lambda trial: (trial.crps, trial.nfe))
    if not math.isfinite(best.crps):
        why = next((trial.error for trial in trials if trial.error), "every actual value is 0")
        raise DataError(f"none of {len(trials)} settings gives a finite score ({why}); widen the grid or the windows")
    return Tuned(predictor.with_sampling(**vars(best.sampling)), trials, best, len(pairs))


def _validation(
    dataset: Iterable[Mapping[str, Any]], prediction_length: int, windows: int, max_series: int, seed: int
) -> Iterator[tuple[Entry, Entry]]:
    """Validation pairs of at most `max_series` series that have an observed value to score."""
    with ExitStack() as stack:
        store = dataset if isinstance(dataset, SeriesStore) else None
        store = store or stack.enter_context(SeriesStore.of(checked_entries(dataset)))
        order = np.random.default_rng(derive_seed(seed, "tuning")).permutation(len(store))
        chosen = []
        for place in order:
            target, cut = store.target(int(place)), prediction_length * windows
            if target.shape[1] > cut and _observed(target[:, :-cut]) and _observed(target[:, -cut:]):
                chosen.append(int(place))
            if len(chosen) == max_series:
                break
        if not chosen:
            raise DataError(
                f"no series has observed values before and in its last {windows} × {prediction_length} steps; give"
                " longer series, or fewer windows"
            )
        yield from split([store[place] for place in sorted(chosen)], prediction_length, windows).test


def _observed(values: np.ndarray) -> bool:
    return bool((~np.isnan(values)).any())


def _try(predictor: Tunable, sampling: Sampling, pairs: list[tuple[Entry, Entry]], num_samples: int) -> Trial:
    tried = predictor.with_sampling(**vars(sampling))
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)  # of trials; the predictor that is chosen tells its own
            metrics = evaluate(tried.predict([past for past, _ in pairs], num_samples=num_samples), pairs)
    except DataError as error:  # a guidance that diverges is no reason to lose the others
        return Trial(sampling, None, tried.nfe, time.perf_counter() - started, str(error))
    return Trial(sampling, metrics, tried.nfe, time.perf_counter() - started)
