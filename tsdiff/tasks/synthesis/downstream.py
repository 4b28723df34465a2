"""What synthetic windows are worth to a forecaster: the Linear Predictive Score; train on synthetic, test on real."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor

from shared.checks import Count, NonNegative, checked
from shared.console.tables import markdown, shown
from shared.errors import ConfigError, DataError
from tsdiff.baselines import lags_up_to, train_baseline
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import normalise_freq, shifted
from tsdiff.evaluation.metrics import Metrics, evaluate
from tsdiff.evaluation.pairs import Pair, pairs_of
from tsdiff.tasks.noted import made_of
from tsdiff.tasks.synthesis.windows import Windows, context_scales, stack_windows, with_values
from tsdiff.windows.scales import context_scale

LINEAR, REAL = "linear", "real"
DOWNSTREAM_MODELS = (LINEAR, "deepar", "transformer", "patchtst")
"""What may be trained on synthetic series."""
RIDGE_PENALTY = 1.0
"""Of the published score: scikit-learn's default."""


class ScaledForecaster(Predictor):
    """A forecaster of scaled windows for series as they are.

    As published, a history is cut to its last context_length steps and divided by their mean absolute value, and the
    forecast is multiplied by it (Kollovieh et al. 2023, §5.3: synthetic windows live in the scaled space). Of a history
    without a value in these steps the last value before stands at the first of them.

    Args:
        base: trained on windows divided by the mean absolute value of their context.
        context_length: steps that a forecast may see.
    """

    def __init__(self, base: Predictor, context_length: int):
        super().__init__(prediction_length=base.prediction_length)
        self.base, self.context_length = base, context_length

    def predict(self, dataset: Iterable[Entry], num_samples: int = 100) -> Iterator[SampleForecast]:
        """One forecast for each entry, in order; entries are read as the base forecaster asks for them."""

        def made(entries: Iterable[Entry], count: int) -> Iterator[SampleForecast]:
            return self.base.predict(entries, num_samples=count)

        for forecast, scale in made_of(made, map(self._scaled, dataset), num_samples):
            samples = np.asarray(forecast.samples, dtype=np.float64) * scale
            yield SampleForecast(samples, forecast.start_date, forecast.item_id)

    def _scaled(self, entry: Entry) -> tuple[Entry, float]:
        target = np.asarray(entry["target"], dtype=np.float64)
        recent = target[-self.context_length :]
        if np.isnan(recent).all():
            recent = np.r_[target[~np.isnan(target)][-1:], recent[1:]]  # the last value before is all that is known
        scale = float(context_scale(recent[None], "mean", target[None])[1][0, 0])
        start = shifted(entry["start"], len(target) - len(recent))
        return {"item_id": entry.get("item_id"), "start": start, "target": (recent / scale).astype(np.float32)}, scale


def linear_predictive_score(
    windows: Windows,
    test: Iterable[Pair],
    prediction_length: int,
    context_length: int | None = None,
    *,
    scaled: bool = False,
    penalty: float = RIDGE_PENALTY,
) -> Metrics:
    """The Linear Predictive Score: ridge regression fitted on synthetic windows, scored on real ones.

    Kollovieh et al. 2023, §5.3: the lower, the better the windows. The paper fits 10,000 windows and
    reports the CRPS, which for the point forecast of a linear model is the normalised deviation. Only first and
    second moments of the windows matter to it.

    Args:
        windows: to fit, (n, length); of longer ones the last context_length + prediction_length steps are used.
        test: real pairs (input entry, label entry).
        prediction_length: steps to forecast.
        context_length: steps to forecast from; None takes the windows' length less prediction_length.
        scaled: the windows are samples relative to the context's scale already and are taken as they are, as
            published; otherwise each is divided by the mean absolute value of its context.
        penalty: ridge penalty.

    Raises:
        ConfigError: a length below 1, or a negative penalty.
        DataError: windows that are too short, missing or infinite; labels of another length; see `evaluate`.
    """
    checked(NonNegative, penalty=penalty)
    checked(Count, prediction_length=prediction_length)
    values, context_length = _training_values(windows, prediction_length, context_length, scaled, "the windows")
    pairs = _checked(test, prediction_length)
    fitted = _linear(values, prediction_length, penalty)
    return evaluate(ScaledForecaster(fitted, context_length).predict((past for past, _ in pairs), 1), pairs)


def _linear(values: np.ndarray, prediction_length: int, penalty: float = RIDGE_PENALTY) -> Predictor:
    """Ridge regression on scaled windows (n, context_length + prediction_length), each used once."""
    # What the linear model does not look at: their time.
    entries = [
        {"item_id": str(k), "start": pd.Period("2001-01-01", freq="D"), "target": v} for k, v in enumerate(values)
    ]
    settings: dict[str, Any] = {"penalty": penalty, "windows": len(values), "scaling": False}
    return train_baseline(LINEAR, entries, "D", prediction_length, values.shape[1] - prediction_length, **settings)


def _training_values(
    windows: Windows, prediction_length: int, context_length: int | None, scaled: bool, name: str
) -> tuple[np.ndarray, int]:
    """Scaled windows (n, context_length + prediction_length), and context_length."""
    values = stack_windows(windows, name).values
    if context_length is None:
        context_length = values.shape[1] - prediction_length
    if prediction_length < 1 or (context_length < 1 and values.shape[1] > prediction_length):
        raise ConfigError(
            f"context_length={context_length}, prediction_length={prediction_length}: each must be at least 1"
        )
    length = context_length + prediction_length
    if context_length < 1 or values.shape[1] < length:
        raise DataError(
            f"{name} have {values.shape[1]} steps; a context of {max(context_length, 1)} and a horizon of "
            f"{prediction_length} need {max(context_length, 1) + prediction_length}: draw longer windows or shorten "
            "context_length"
        )
    values = values[:, -length:]
    return (values if scaled else values / context_scales(values, context_length)), context_length


def _checked(test: Iterable[Pair], prediction_length: int) -> list[Pair]:
    pairs = list(pairs_of(test))
    for past, label in pairs:
        if np.shape(label["target"]) != (prediction_length,):
            raise DataError(
                f"the test window of series {label.get('item_id')!r} has shape {np.shape(label['target'])}, the "
                f"windows' horizon is {prediction_length}; give test windows of the same, univariate horizon"
            )
        if np.isnan(np.asarray(past["target"], dtype=np.float64)).all():
            raise DataError(f"series {past.get('item_id')!r} has no observed value before its test window")
    if not pairs:
        raise DataError("there is no test window to score on")
    return pairs


@dataclass(frozen=True)
class Downstream:
    """One downstream forecaster's scores on real test windows.

    Attributes:
        model: its name.
        trained_on: what its training windows were.
        metrics: on the test windows.
        seconds: of training.
    """

    model: str
    trained_on: str
    metrics: Metrics
    seconds: float


def train_on_synthetic(
    real: Sequence[Entry],
    synthetic: Mapping[str, Sequence[Entry]],
    test: Iterable[Pair],
    freq: str,
    prediction_length: int,
    *,
    models: Sequence[str] = (LINEAR,),
    num_samples: int = 100,
    cpu_minutes: float = 1.0,
    max_steps: int | None = None,
    seed: int = 0,
) -> list[Downstream]:
    """Train forecasters on synthetic and on real windows, and score all on the same real test windows.

    As published (Kollovieh et al. 2023, §5.3; Esteban et al. 2017): as many windows of the same length each, divided
    by the mean absolute value of their context; test histories are cut to the same context and scaled likewise.

    Args:
        real: windows of the training series (`real_windows`).
        synthetic: other windows, by name; as many and as long as the real ones.
        test: real pairs (input entry, label entry).
        freq: of the series.
        prediction_length: steps to forecast.
        models: of `DOWNSTREAM_MODELS`; "linear" is the Linear Predictive Score's, a point forecast.
        num_samples: of a probabilistic forecast.
        cpu_minutes, max_steps: training of each of the neural models.
        seed: of their training.

    Returns:
        For each model the real windows' row and then one for each synthetic set, in order.

    Raises:
        ConfigError: no model, or an unknown one; no sets by name, or one that is called "real".
        DataError: sets that differ in number or length of windows; see `linear_predictive_score`.
    """
    if not models:
        raise ConfigError(f"models is empty; give some of {', '.join(DOWNSTREAM_MODELS)}")
    checked(Count, prediction_length=prediction_length)
    if not isinstance(synthetic, Mapping) or REAL in synthetic:
        raise ConfigError(f"synthetic: need sets of windows by name, as {{'TSDiff': windows}}, none of them {REAL!r}")
    pairs = _checked(test, prediction_length)
    sets = {REAL: real, **synthetic}
    values, context_length = {}, 0
    for name, windows in sets.items():
        values[name], context_length = _training_values(windows, prediction_length, None, False, f"{name} windows")
        if values[name].shape != values[REAL].shape:
            raise DataError(
                f"{name} windows have shape {values[name].shape}, the real ones {values['real'].shape}; give as many "
                "and as long ones, or what is compared is not their quality"
            )
    for model in models:
        _settings(model, len(real), freq, context_length, prediction_length)  # refuses an unknown one before the work
    rows = []
    for model in models:
        for name, windows in sets.items():
            started = time.perf_counter()
            settings, seen = _settings(model, len(real), freq, context_length, prediction_length)
            trained = train_baseline(
                model,
                with_values(windows, values[name], "window"),
                freq,
                prediction_length,
                seen,
                num_samples=num_samples,
                cpu_minutes=cpu_minutes,
                max_steps=max_steps,
                seed=seed,
                **settings,
            )
            seconds = time.perf_counter() - started
            forecaster = ScaledForecaster(trained, context_length)
            forecasts = forecaster.predict((past for past, _ in pairs), 1 if model == LINEAR else num_samples)
            rows.append(Downstream(model, name, evaluate(forecasts, pairs), seconds))
    return rows


def _settings(
    model: str, windows: int, freq: str, context_length: int, prediction_length: int
) -> tuple[dict[str, Any], int]:
    """A forecaster's settings for scaled windows, and the steps of history it sees besides its lags.

    As published: no scaling, for the windows are scaled; no time features, for they are mere sequences; DeepAR and
    the Transformer look back over one horizon, and by their lags no further than a window goes.
    """
    short = min(prediction_length, context_length)
    if model == LINEAR:
        return {"penalty": RIDGE_PENALTY, "windows": windows, "scaling": False}, context_length
    if model == "patchtst":
        return {"scaling": None}, context_length
    if model not in DOWNSTREAM_MODELS:
        raise ConfigError(f"model {model!r} is not trained on windows; take some of {', '.join(DOWNSTREAM_MODELS)}")
    lags = lags_up_to(normalise_freq(freq), max(1, context_length - prediction_length))
    without = {"scaling": False, "time_features": []} if model == "deepar" else {"scaling": None}
    return {**without, "lags_seq": lags}, short


def downstream_frame(rows: Sequence[Downstream]) -> pd.DataFrame:
    """The scores as a table: model, trained_on, crps, nd, …, seconds."""
    records = []
    for row in rows:
        scores = {name: value for name, value in asdict(row.metrics).items() if name != "notes"}
        records.append({"model": row.model, "trained_on": row.trained_on, **scores, "seconds": row.seconds})
    return pd.DataFrame(records)


def downstream_table(rows: Sequence[Downstream]) -> str:
    """The scores as a Markdown table, one row for each model and training set."""
    lines = []
    real = {row.model: row.metrics.crps for row in rows if row.trained_on == REAL}
    for row in rows:
        scores = row.metrics
        against = scores.crps / real[row.model] - 1 if real.get(row.model) else np.nan
        share = shown(None if row.trained_on == REAL else against, "+.0%")
        others = map(shown, (scores.nd, scores.nrmse, scores.mase))
        lines.append([row.model, row.trained_on, shown(scores.crps), share, *others])
    return markdown(["model", "trained on", "CRPS", "against real", "ND", "NRMSE", "MASE"], lines, left=2)
