"""Anomaly scores of series: how unlikely a model finds each step, thresholds from ordinary data, and long frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Unpack

import numpy as np
import pandas as pd
import torch

from shared.checks import Count, Level, checked
from shared.console.notes import tell
from shared.errors import ConfigError, DataError
from tsdiff.data import Stamp, series_from_frame, to_timestamps
from tsdiff.data.columns import Columns
from tsdiff.data.entries import Entry, Series, named_entries
from tsdiff.data.frequency import quiet, shifted
from tsdiff.data.origin import Zone
from tsdiff.model.model import TSDiff
from tsdiff.tasks.anomaly.forecasts import ForecastScoring, forecast_scores
from tsdiff.tasks.likelihood import LikelihoodSettings, WindowLikelihoods, refuse_conditional, series_likelihoods
from tsdiff.windows.anchors import seasons_of
from tsdiff.windows.gaps import stretches as stretches
from tsdiff.windows.series import observed_series

Method = Literal["forecast", "elbo", "ode"]
ScoringSettings = ForecastScoring | LikelihoodSettings

DEFAULT_SCORING = LikelihoodSettings(method="elbo", levels=8, log_snr_end=1.0)
"""Down to noise of e^{-1} = 0.37 network units: below it the network copies what it sees, whatever it is
(`benchmarks/anomaly.py` compares others). Of models without anchors; others are scored by `ForecastScoring()`."""


_ENOUGH = 100
"""Scores since two seasons are known that are enough for a threshold without those before."""
_ABOVE, _TAIL, _SPARED = 10, 30, 4.0
"""Scores above a quantile that tell it; of fewer it goes by so many of the largest, none of which counts for more than
so many usual ones."""


class HoldsModel(Protocol):
    """What holds a trained model, such as a `tsdiff.predictor.TSDiffPredictor`."""

    model: TSDiff


@dataclass(frozen=True)
class SeriesScores:
    """The anomaly scores of one series.

    Attributes:
        item_id: of the series.
        start: of the series.
        target: (length,), or (channels, length), what was scored, NaN where missing.
        score: (length,) nats a step, so that series of any level compare. By `ForecastScoring` −log of the chance of a
            value as far off its forecast, or of what is new in that where errors last. By `LikelihoodSettings` the
            negative log-likelihood in the network's units ("ode": of the windows that cover the step, a step's share;
            "elbo": the step's own part of it), averaged over the windows that cover it. NaN where the value is missing,
            in no scored window, or among the first few.
        stamp: which day of their period the timestamps of the frame that was scored name.
        zone: of these.
        early: (length,) what scores of steps before two seasons were known would be if they had been, NaN of others;
            those are smaller. None: there is no such difference.
    """

    item_id: str
    start: pd.Period
    target: np.ndarray
    score: np.ndarray
    stamp: Stamp = "start"
    zone: Zone = field(default_factory=Zone)
    early: np.ndarray | None = None

    def since(self, first: int) -> SeriesScores:
        """The scores from step `first` on; of a negative one, counted from the end."""
        first = first if first >= 0 else max(0, len(self.score) + first)
        return self._part(slice(first, None), shifted(self.start, first))

    def before(self, first: int) -> SeriesScores:
        """The scores of the steps before `first`; of a negative one, counted from the end."""
        return self._part(slice(None, first), self.start)

    def _part(self, steps: slice, start: pd.Period) -> SeriesScores:
        early = None if self.early is None else self.early[steps]
        return replace(self, start=start, target=self.target[..., steps], score=self.score[steps], early=early)

    def with_score(self, score: np.ndarray) -> SeriesScores:
        """The same series with other scores, (length,)."""
        return replace(self, score=score, early=None)

    def comparable(self, last: int) -> SeriesScores:
        """Scores of which the `last` compare with those before, whose thresholds are taken with `later=True`: those of
        `early`, unless two seasons had been known for a hundred steps."""
        if self.early is None or self.before(-last).settled().size >= _ENOUGH:
            return self
        return self.with_score(np.where(np.isnan(self.early), self.score, self.early))

    def settled(self) -> np.ndarray:
        """The scores of steps since two seasons are known, (n,)."""
        known = np.isfinite(self.score) if self.early is None else np.isfinite(self.score) & np.isnan(self.early)
        return self.score[known]

    def index(self) -> pd.PeriodIndex:
        """The periods of the steps."""
        with quiet():
            return pd.period_range(self.start, periods=len(self.score), freq=self.start.freq)

    def times(self, stamp: Stamp | None = None) -> pd.DatetimeIndex:
        """The timestamps of the steps, as those of the frame that was scored; of entries the starts of their periods.

        Args:
            stamp: which day of their period they name, in place of `stamp`.
        """
        return self.zone.restored(to_timestamps(self.index(), stamp or self.stamp))


@dataclass(frozen=True)
class Thresholds:
    """Scores above which a step counts as anomalous.

    Attributes:
        quantile: of the scores of ordinary data that they are.
        overall: over all series, for a series that was not among them.
        items: of each series.
    """

    quantile: float
    overall: float
    items: Mapping[str, float]

    def of(self, item_id: str) -> float:
        """The threshold of a series."""
        return self.items.get(item_id, self.overall)

    def exceeded(self, result: SeriesScores) -> np.ndarray:
        """Whether the score of each step is above the threshold of its series, (length,); not where there is none."""
        return np.nan_to_num(result.score, nan=-np.inf) > self.of(result.item_id)


def scoring(
    method: Method, stride: int | None = None, seed: int = 0, calendar_days: bool | None = None
) -> ScoringSettings:
    """How steps are scored by a method, as `tsdiff anomaly` does.

    Args:
        method: "forecast", each step by a forecast of it (models with anchors, as the bundled one); "elbo", by its part
            of a bound on the likelihood of windows; "ode", by their exact likelihood.
        stride: steps that are forecast at a time, or from one window to the next; None takes the usual.
        seed: of the noise that likelihoods are measured with.
        calendar_days: whether forecasts know the calendar; None takes the usual.

    Raises:
        ConfigError: an unknown method, a stride below 1, or a calendar for a method that knows none.
    """
    method, stride = checked(Method, method=method), checked(Count | None, stride=stride)
    if method == "forecast":
        usual = ForecastScoring()
        steps = usual.steps if stride is None else stride
        return replace(usual, steps=steps, calendar_days=calendar_days is not False)
    if calendar_days is not None:
        raise ConfigError(
            f"calendar_days={calendar_days}: scores by {method!r} know no calendar; leave it out, or score by forecasts"
        )
    base = DEFAULT_SCORING if method == "elbo" else LikelihoodSettings(probes=2)
    return replace(base, stride=stride, seed=seed)


def usual_method(model: TSDiff) -> Method:
    """That of `anomaly_scores` without settings: "forecast" of models with anchors, "elbo" of others."""
    return "forecast" if model.config.scaling == "anchor" else "elbo"


def anomaly_scores(
    model: TSDiff | HoldsModel,
    data: Entry | Iterable[Entry] | pd.DataFrame,
    settings: ScoringSettings | None = None,
    **columns: Unpack[Columns],
) -> list[SeriesScores]:
    """Score every step of each series.

    Args:
        model: trained, or the predictor around it.
        data: a GluonTS entry, a dataset of them, or a long frame.
        settings: how steps are scored: by forecasts of them (`ForecastScoring`, which needs a model with anchors), or
            by the likelihood of windows (`LikelihoodSettings`; "ode" tells of windows, and places an anomaly only as
            well as they overlap). None takes `ForecastScoring()` of models with anchors, as the bundled one, and of
            others `DEFAULT_SCORING`, with windows a prediction length apart.
        columns: target, item_id, timestamp of a frame; found by their usual names when absent (`series_from_frame`).

    Returns:
        One result a series, in order. Series of which no window could be scored are in it, with NaN for scores and a
        warning.

    Raises:
        DataError: no series can be scored at all; see `series_likelihoods` too.
        ConfigError: forecasts of a model without anchors, or likelihoods of one that has none; or what is no model, or
            no such settings.
    """
    if not isinstance(model, TSDiff) and not isinstance(getattr(model, "model", None), TSDiff):
        raise ConfigError(
            f"model={model!r}: need a model or the predictor around it, TSDiffPredictor.from_pretrained('default')"
        )
    if not isinstance(settings, ScoringSettings | None):
        raise ConfigError(f"settings={settings!r}: need ForecastScoring() or LikelihoodSettings(), or None")
    model = model if isinstance(model, TSDiff) else model.model
    settings = settings or scoring(usual_method(model))
    _refuse_unsuited(model, settings)
    entries: Iterable[Entry]
    dated: dict[str, Any] = {}
    if isinstance(data, pd.DataFrame):
        series = series_from_frame(data, freq=None if model.config.awaits_freq else model.config.freq, **columns)
        series.warn()
        entries, dated = series, {"stamp": series.stamp, "zone": series.origin.zone}
    else:
        entries = [dict(data)] if isinstance(data, Mapping) else data
    read = (observed_series(entry, model.config, name) for name, entry in named_entries(entries))
    results = [replace(_scores(model, series, settings), **dated) for series in read]
    if not any(np.isfinite(result.score).any() for result in results):
        raise DataError(f"none of {len(results)} series could be scored: {_why_none(model, settings)}")
    return results


def _refuse_unsuited(model: TSDiff, settings: ScoringSettings) -> None:
    """Raise ConfigError where a model cannot be scored so."""
    if isinstance(settings, LikelihoodSettings):
        refuse_conditional(model)
    elif usual_method(model) != "forecast":
        raise ConfigError(
            f"this model has no anchors to score by (scaling={model.config.scaling!r}); leave the settings out, or "
            "take LikelihoodSettings"
        )


def _why_none(model: TSDiff, settings: ScoringSettings) -> str:
    if isinstance(settings, ForecastScoring):
        return "a forecast needs a value before the one that is scored; give longer series"
    return (
        f"every window of {model.config.length} steps misses more than {settings.max_missing:.0%} of its values; give "
        "longer series, or raise max_missing"
    )


def fit_thresholds(scores: Iterable[SeriesScores], quantile: float = 0.995, later: bool = False) -> Thresholds:
    """Thresholds from the scores of data that is taken to be ordinary, such as the training data.

    Args:
        scores: of the data.
        quantile: of the scores of each series, and of all.
        later: the thresholds are for steps that follow these in the same series, not for these themselves. Then scores
            of steps before two seasons were known, which are smaller, are left out where a hundred others remain; make
            them `SeriesScores.comparable` for where they do not. And where fewer than ten scores lie above a quantile,
            it is told by the thirty largest, whose excesses are taken for exponential, as logarithms of chances are,
            with the error that so few leave: the largest of a hundred is no limit for the next hundred.

    Raises:
        ConfigError: a quantile outside (0, 1).
        DataError: no score at all.
    """
    checked(Level, quantile=quantile)
    items = {one.item_id: _telling(one, later) for one in scores}
    items = {item: values for item, values in items.items() if values.size}
    if not items:
        raise DataError("there is no score to take a threshold from; give series that can be scored")
    limit = _limit if later else lambda values, level: float(np.quantile(values, level))
    overall = limit(np.concatenate(list(items.values())), quantile)
    return Thresholds(quantile, overall, {item: limit(values, quantile) for item, values in items.items()})


def _telling(one: SeriesScores, later: bool) -> np.ndarray:
    """The scores that a threshold is taken from, (n,)."""
    settled = one.settled()
    return settled if later and len(settled) >= _ENOUGH else one.score[np.isfinite(one.score)]


def _limit(values: np.ndarray, level: float) -> float:
    """What the next value exceeds with a chance of 1 − level, by values (n,) before it.

    The next excess after some with an exponential law has Pareto's, with their number for its shape.
    """
    few = len(values) * (1 - level) < _ABOVE
    begin = float(np.quantile(values, min(level, max(1 - _TAIL / len(values), 0.5)) if few else level))
    over = values[values > begin] - begin
    times = len(over) / (len(values) * (1 - level))
    if not few or times <= 1:
        return begin
    most = _SPARED * float(np.median(over)) / np.log(2)  # what is no ordinary score says nothing of the others
    return begin + len(over) * float(np.minimum(over, most).mean()) * (times ** (1 / len(over)) - 1)


def against_recent(
    scores: Iterable[SeriesScores], history: int = 8000, recent: int = 1, learning: int = 100
) -> list[SeriesScores]:
    """Scores beside those that came before them: how surprising each is in its own series, by what that one had lately.

    For long series that wander, or whose kinds differ: one threshold then serves all of them. It is the anomaly
    likelihood of Ahmad et al. (2017), "Unsupervised real-time anomaly detection for streaming data", section 4, as
    −log Q((mean of the last `recent` − mean)/deviation), mean and deviation those of the last `history` scores, the
    step's own among them. The paper takes history 8000 and recent 10.

    Args:
        scores: of any detector.
        history: steps that a score is compared with.
        recent: steps that are averaged first.
        learning: steps with a score that must have been seen; NaN before.

    Returns:
        The same series with other scores, in nats: .69 is as usual, 6.6 three deviations above.

    Raises:
        ConfigError: fewer than one step, or `learning` outside 2 … `history`.
    """
    history, recent, learning = checked(Count, history=history, recent=recent, learning=learning)
    if not 2 <= learning <= history:
        raise ConfigError(f"learning={learning}: a deviation needs two steps at least, and history={history} at most")
    return [one.with_score(_surprise(one.score, history, recent, learning)) for one in scores]


def _surprise(score: np.ndarray, history: int, recent: int, learning: int) -> np.ndarray:
    series = pd.Series(score)
    before, lately = series.rolling(history, min_periods=learning), series.rolling(recent, min_periods=1)
    away, deviation = (lately.mean() - before.mean()).to_numpy(), before.std().to_numpy()
    unit = np.divide(away, deviation, out=np.zeros_like(away), where=deviation > 0)
    tail = -torch.special.log_ndtr(torch.from_numpy(-unit))
    return np.where(np.isnan(score) | np.isnan(deviation), np.nan, tail.numpy())


def anomalies_to_frame(
    scores: Iterable[SeriesScores], thresholds: Thresholds | None = None, stamp: Stamp | None = None
) -> pd.DataFrame:
    """A long frame: item_id, timestamp (`SeriesScores.times`), value (value_0, value_1, … with several channels),
    score, and, with thresholds, threshold and anomaly (bool).

    Steps without a score keep their row, with an empty score, and are no anomaly.
    """
    frames = []
    for result in scores:
        columns: dict[str, Any] = {
            "item_id": result.item_id,
            "timestamp": result.times(stamp),
            **_values(result.target),
            "score": result.score,
        }
        if thresholds is not None:
            columns |= {"threshold": thresholds.of(result.item_id), "anomaly": thresholds.exceeded(result)}
        frames.append(pd.DataFrame(columns))
    if not frames:
        raise DataError("there is no series to make a frame of")
    return pd.concat(frames, ignore_index=True)


def _values(target: np.ndarray) -> dict[str, np.ndarray]:
    return {"value": target} if target.ndim == 1 else {f"value_{i}": row for i, row in enumerate(target)}


def stretches_to_frame(
    scores: Iterable[SeriesScores], thresholds: Thresholds, stamp: Stamp | None = None
) -> pd.DataFrame:
    """One row a stretch above the threshold: item_id, first and last timestamp (`SeriesScores.times`), steps, the
    largest score, threshold; the largest excess over the threshold first."""
    columns = ["item_id", "first", "last", "steps", "score", "threshold"]
    rows: list[tuple[Any, ...]] = []
    for result in scores:
        times, limit = result.times(stamp), thresholds.of(result.item_id)
        rows += [
            (result.item_id, times[first], times[end - 1], end - first, float(result.score[first:end].max()), limit)
            for first, end in stretches(thresholds.exceeded(result))
        ]
    rows.sort(key=lambda row: row[5] - row[4])
    return pd.DataFrame(rows, columns=columns)


def _scores(model: TSDiff, series: Series, settings: ScoringSettings) -> SeriesScores:
    target = np.asarray(series.target, dtype=np.float64)
    if isinstance(settings, ForecastScoring):
        seasons = seasons_of(model.config.freq)
        values, start = series.values[:, 0].astype(np.float64), series.start if settings.calendar_days else None
        score, early = forecast_scores(values, seasons, settings, model.weighing, start)
        if np.isnan(score).all():
            tell(f"series {series.name!r} has no score: nothing that is to be scored has a value before it")
        return SeriesScores(series.name, series.start, target, score, early=early)
    missing = np.asarray(np.isnan(np.atleast_2d(target)).all(axis=0))
    score = step_scores(series_likelihoods(model, series, settings), len(missing))
    score[missing] = np.nan
    lost = int((np.isnan(score) & ~missing).sum())
    if lost:
        tell(f"series {series.name!r}: {lost} steps lie in no scored window and have no score")
    return SeriesScores(series.name, series.start, target, score)


def step_scores(windows: WindowLikelihoods, total: int) -> np.ndarray:
    """The score of each of `total` steps, averaged over the windows that cover it; NaN where none does."""
    sums, counts = np.zeros(total), np.zeros(total)
    for row, first in enumerate(windows.first_scored):
        low, high = max(int(first), 0), int(windows.first[row]) + windows.length
        if windows.steps is None:
            nats = np.full(high - low, -windows.network_log_likelihood[row] / (high - int(first)))
        else:
            nats = -windows.steps[row, windows.length - (high - low) :]
        known = np.isfinite(nats)
        sums[low:high] += np.where(known, nats, 0.0)
        counts[low:high] += known
    return np.divide(sums, counts, out=np.full(total, np.nan), where=counts > 0)
