"""How well scores find known anomalies, and simple detectors to compare with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shared.checks import Count, checked
from shared.console.tables import json_ready, markdown, shown
from shared.errors import ConfigError, DataError
from shared.optional import needed
from tsdiff.tasks.anomaly.injection import Injected

_MAD_TO_STD = 1.4826


@dataclass(frozen=True)
class DetectionMetrics:
    """Step-wise scores of a detector; steps without a score are left out.

    Attributes:
        auroc: area under the ROC curve; 0.5 is chance. NaN where all steps, or none, are anomalous.
        auprc: average precision; chance is `prevalence`.
        prevalence: share of anomalous steps among those that count.
        found: share of anomalies with a step above the threshold; NaN without thresholds.
        precision: share of steps above the threshold that are anomalous; NaN without thresholds, or with no such step.
        recall: share of anomalous steps above the threshold.
    """

    auroc: float
    auprc: float
    prevalence: float
    found: float = math.nan
    precision: float = math.nan
    recall: float = math.nan

    def as_dict(self) -> dict[str, float | None]:
        """By name, ready for JSON: what is undefined is None."""
        return json_ready(vars(self))


def ranking_scores() -> Any:
    """scikit-learn's scores of a ranking.

    Raises:
        MissingPackageError: it is not installed.
    """
    return needed("sklearn.metrics", "metrics", "the evaluation of a detector")


def evaluate_detection(
    scores: Sequence[np.ndarray], injected: Sequence[Injected], thresholds: Sequence[float] | None = None
) -> dict[str, DetectionMetrics]:
    """Score a detector on injected anomalies, all together ("all") and kind by kind.

    For one kind, the steps of the others are left out, so that each kind is told from ordinary steps. No detection is
    extended to its whole stretch ("point adjustment"), which makes random scores look good (Kim et al. 2022, "Towards a
    rigorous evaluation of time-series anomaly detection").

    Args:
        scores: (length,) of each series, larger where more anomalous, NaN where unknown.
        injected: the series and what was put in, in the same order.
        thresholds: one a series.

    Raises:
        DataError: scores that do not match the series, or no series.
    """
    if not injected:
        raise DataError("there is no series to evaluate a detector on")
    if len(scores) != len(injected) or (thresholds is not None and len(thresholds) != len(injected)):
        raise DataError(f"{len(scores)} scores for {len(injected)} series; give one array, and one threshold, for each")
    for score, series in zip(scores, injected, strict=True):
        if np.shape(score) != series.labels.shape:
            raise DataError(
                f"series {series.entry.get('item_id')!r}: scores of shape {np.shape(score)} for {series.labels.shape}"
            )
    kinds = sorted({anomaly.kind for series in injected for anomaly in series.anomalies})
    return {kind: _metrics(scores, injected, thresholds, kind) for kind in ("all", *kinds)}


def _metrics(
    scores: Sequence[np.ndarray], injected: Sequence[Injected], thresholds: Sequence[float] | None, kind: str
) -> DetectionMetrics:
    values, labels, above = [], [], []
    hits: list[bool] = []
    for row, (score, series) in enumerate(zip(scores, injected, strict=True)):
        wanted = series.labels if kind == "all" else series.kinds() == kind
        counts = np.isfinite(score) & (wanted | ~series.labels)
        values.append(np.asarray(score, dtype=np.float64)[counts])
        labels.append(wanted[counts])
        if thresholds is not None:
            with np.errstate(invalid="ignore"):
                over = np.asarray(score) > thresholds[row]
            above.append(over[counts])
            hits += [
                bool((over & series.labels)[anomaly.first : anomaly.first + anomaly.length].any())
                for anomaly in series.anomalies
                if kind in ("all", anomaly.kind)
            ]
    value, label = np.concatenate(values), np.concatenate(labels)
    prevalence = float(label.mean()) if label.size else math.nan
    auroc = auprc = math.nan
    if label.any() and not label.all():
        ranking = ranking_scores()
        auroc, auprc = float(ranking.roc_auc_score(label, value)), float(ranking.average_precision_score(label, value))
    if thresholds is None:
        return DetectionMetrics(auroc, auprc, prevalence)
    over = np.concatenate(above)
    return DetectionMetrics(
        auroc,
        auprc,
        prevalence,
        found=float(np.mean(hits)) if hits else math.nan,
        precision=float(label[over].mean()) if over.any() else math.nan,
        recall=float(over[label].mean()) if label.any() else math.nan,
    )


def detection_table(metrics: Mapping[str, Mapping[str, DetectionMetrics]]) -> str:
    """A Markdown table: a row for each kind, "AUROC / average precision" of each method, and, where thresholds were
    given, rows of what they find.

    Args:
        metrics: by method, then kind, as `evaluate_detection` gives them.
    """
    methods = list(metrics)
    rows = []
    for kind in metrics[methods[0]]:
        areas = [(metrics[name][kind].auroc, metrics[name][kind].auprc) for name in methods]
        rows.append([kind.replace("_", " "), *(f"{shown(a, '.3f')} / {shown(b, '.3f')}" for a, b in areas)])
    for what in ("found", "precision", "recall"):
        values = [getattr(metrics[name]["all"], what) for name in methods]
        if any(math.isfinite(value) for value in values):
            rows.append([f"{what} at the threshold", *(shown(value, ".3f") for value in values)])
    return markdown(["anomalies", *methods], rows)


def seasonal_naive_scores(target: np.ndarray, season: int) -> np.ndarray:
    """|x_t − x_{t−season}| in robust standard deviations of these differences, (length,).

    The first season is compared with the second. NaN where either value is missing.

    Raises:
        ConfigError: season < 1.
    """
    values = _series(target)
    season = checked(Count, season=season)
    difference = values - _moved(values, season)
    difference[:season] = (values - _moved(values, -season))[:season]
    return _robust_z(difference)


def seasonal_median_scores(target: np.ndarray, season: int, seasons: int = 3) -> np.ndarray:
    """|x_t − median of the same place in up to `seasons` seasons on either side| in robust deviations, (length,).

    Raises:
        ConfigError: season < 1 or seasons < 1.
    """
    values = _series(target)
    season, seasons = checked(Count, season=season, seasons=seasons)
    moves = [season * turn for turn in range(-seasons, seasons + 1) if turn]
    others = pd.DataFrame({move: _moved(values, move) for move in moves})
    return _robust_z(values - others.median(axis=1).to_numpy())


def rolling_z_scores(target: np.ndarray, window: int) -> np.ndarray:
    """|x_t − mean| in standard deviations of the `window` steps around t, (length,); 0 in a constant stretch.

    Raises:
        ConfigError: window < 2.
    """
    if checked(Count, window=window) < 2:
        raise ConfigError(f"window={window}: a deviation needs at least two steps")
    series = pd.Series(_series(target))
    around = series.rolling(window, center=True, min_periods=2)
    mean, deviation = around.mean().to_numpy(), around.std(ddof=0).to_numpy()
    return _ratio(np.abs(series.to_numpy() - mean), deviation)


def _series(target: Any) -> np.ndarray:
    values = np.asarray(target, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(f"a target of shape {values.shape}: the simple detectors take one series, (length,)")
    return np.where(np.isfinite(values), values, np.nan)


def _moved(values: np.ndarray, steps: int) -> np.ndarray:
    """values[t − steps], NaN beyond the ends."""
    return pd.Series(values).shift(steps).to_numpy()


def _robust_z(residual: np.ndarray) -> np.ndarray:
    """|residual − median| in MADs, scaled to standard deviations; in mean deviations where the MAD is 0."""
    seen = residual[~np.isnan(residual)]
    if not seen.size:
        return np.full_like(residual, np.nan)
    deviation = np.abs(residual - np.median(seen))
    scale = _MAD_TO_STD * float(np.nanmedian(deviation)) or float(np.nanmean(deviation))
    return _ratio(deviation, np.full_like(deviation, scale))


def _ratio(size: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """size/scale; 0 where the scale is 0, as nothing varies there; NaN stays."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isnan(size) | (scale > 0), size / scale, 0.0)
