"""Covariates of a model that takes none: a regression of each series on them, whose residual the model forecasts.

A series y and its covariates x are compared by their changes over a season, so that neither a common trend nor a common
season is taken for an effect, and these by what the step before does not tell of them (Cochrane & Orcutt 1949), so that
walks are not either. The regression is linear, robust (Huber's weights) and shrunk (ridge, by generalised
cross-validation: Golub, Heath & Wahba 1979). It is used only where it lowers the error of the series' thirds,
each by what the others tell. Where no value is below 0 the logarithms are tried, too, for a promotion sells so many
times as much, on Saturdays more than on Mondays; of both that is taken which misses less of the series. Covariates of
which only the past is known enter by what they were a horizon before, and a whole number of seasons before where that
is later: lags that are known for every step to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gluonts.model.forecast import SampleForecast

from shared.errors import DataError
from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry, named_entries, target_of
from tsdiff.sampling.zeros import Support
from tsdiff.tasks.noted import Make, made_of
from tsdiff.windows.gaps import bridged_line

PAST = "past_feat_dynamic_real"
"""GluonTS's field of covariates of which the future is not known, (covariates, length)."""
_PARTS = 3
"""Of the series, that a regression on the others has to prove itself on, so that each rare event counts."""
_LEAST_ROWS, _ROWS_EACH = 20, 4
"""Steps that a regression needs, and that each covariate adds."""
_CERTAINTY = 1.5
"""Standard errors by which the error has to fall."""
_LEAST_GAIN, _LEAST_WHERE_MOVED = 0.01, 0.1
"""Shares of it by which it has to fall: of all steps, or of those alone that the covariates' changes say something of,
which are few where a flag seldom changes."""
_REACH = 0.5
"""Share of the range of a covariate by which its future may leave it; beyond, it counts as there."""
_PENALTIES = np.logspace(-4, 2, 13)
_HUBER = 1.345
_ROUNDS = 4


@dataclass(frozen=True)
class Effect:
    """What covariates do to a series.

    Attributes:
        values: that is added to the series, or to its logarithm, (length + horizon,); 0 where they are not used.
        gain: share by which the error of parts that were not learnt from fell; 0 where it did not, or by too little to
            be sure.
        ratio: whether it is the logarithm that it is added to.
    """

    values: np.ndarray
    gain: float
    ratio: bool = False

    def without(self, target: np.ndarray) -> np.ndarray:
        """What it leaves of a series (length,)."""
        values = self.values[: len(target)]
        return target * np.exp(-values) if self.ratio else target - values

    def joined(self, samples: np.ndarray) -> np.ndarray:
        """Samples (number, steps) of what it leaves of the last steps, with it."""
        return self._with(samples, self.values[-samples.shape[1] :])

    def back(self, left: np.ndarray) -> np.ndarray:
        """A series (length,) of what it leaves of that."""
        return self._with(left, self.values[: len(left)])

    def _with(self, left: np.ndarray, values: np.ndarray) -> np.ndarray:
        return left * np.exp(values) if self.ratio else left + values


def effect_of(target: np.ndarray, features: np.ndarray, season: int, horizon: int) -> Effect:
    """The effect of covariates on a series.

    Args:
        target: (length,), NaN where missing.
        features: (covariates, length + horizon), NaN where missing in the past.
        season: steps of the season; 1 where there is none.
        horizon: steps to forecast.
    """
    length = len(target)
    scaled, begun = _scaled(features, length)
    # Where they are known of the end alone, what comes before teaches nothing of them, but would be learnt from.
    for first in (0, begun) if begun > length // 2 else (0,):
        seen = target[first:]
        lag = season if np.isfinite(seen).sum() >= 3 * season + _LEAST_ROWS else 1
        found = []
        for ratio in (False, True) if Support.of(seen).nonnegative else (False,):
            weights, gain = _told(_logarithms(seen) if ratio else seen, scaled[:, first:], lag)
            if gain:
                effect = Effect(np.nan_to_num(scaled.T @ weights), gain, ratio)
                found.append((_missed(effect, target, first, lag), effect))
        if found:
            return min(found, key=lambda one: one[0])[1]
    return Effect(np.zeros(length + horizon), 0.0)


def _logarithms(values: np.ndarray) -> np.ndarray:
    """Those of positive values; of zeros, as of days when a shop is closed, they say nothing."""
    return np.log(np.where(values > 0, values, np.nan))


def _missed(effect: Effect, target: np.ndarray, first: int, lag: int) -> float:
    """Mean absolute error of values `lag` steps ago, but with the covariates of now, of a series from `first` on."""
    made = replace(effect, values=effect.values[lag : len(target)]).joined(effect.without(target)[None, :-lag])[0]
    return float(np.nanmean(np.abs(target[lag:] - made)[first:]))


def _told(target: np.ndarray, scaled: np.ndarray, lag: int) -> tuple[np.ndarray, float]:
    """Weights of covariates (k,), and by which share they lower the error of parts that were not learnt from."""
    length, nothing = len(target), (np.zeros(len(scaled)), 0.0)
    rows = np.column_stack([target, scaled[:, :length].T])
    changes = rows[lag:] - rows[:-lag]
    spread = np.nanstd(changes[:, 1:], axis=0) if len(changes) else np.zeros(len(scaled))
    moving = spread > 1e-9
    changes = changes[:, np.r_[True, moving]]
    whole = np.flatnonzero(np.isfinite(changes).all(axis=1))
    if not moving.any() or len(whole) < _LEAST_ROWS + _ROWS_EACH * moving.sum():
        return nothing
    found, memory = _fit(changes)
    gain = _gain(_fresh(changes, memory), lag)
    if not gain:
        return nothing
    weights = np.zeros(len(scaled))
    weights[moving] = found
    return weights, gain


def _scaled(features: np.ndarray, length: int) -> tuple[np.ndarray, int]:
    """Those covariates that change, each by its past: of mean 0 and deviation 1, held within reach of it, and on
    straight lines where they are missing; and the step from which on all of them are known."""
    made, begun = [], 0
    for row in features:
        known = np.isfinite(row)
        past = row[:length][known[:length]]
        if not past.size or np.ptp(past) <= 1e-12 * np.abs(past).max():
            continue
        held = (np.clip(row, *reach_of(past)) - past.mean()) / past.std()
        made.append(bridged_line(np.where(known, held, np.nan)))
        begun = max(begun, int(known.argmax()))
    return np.array(made).reshape(len(made), features.shape[1]), begun


def reach_of(past: np.ndarray) -> tuple[float, float]:
    """The least and the most that a covariate counts as, by its known past (n,), n at least 1."""
    slack = _REACH * float(np.ptp(past))
    return float(past.min()) - slack, float(past.max()) + slack


def _gain(rows: np.ndarray, lag: int) -> float:
    """By which share the error of rows (steps, 1 + k) falls, each part's by a regression on the others; 0 if unsure.
    Rows nearer to a part than the lag of their changes share values with it, and are not learnt from."""
    error, fall = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    whole = np.flatnonzero(np.isfinite(rows).all(axis=1))
    if len(whole) < _LEAST_ROWS:
        return 0.0
    for part in np.array_split(whole, _PARTS):
        others = rows.copy()
        others[max(part[0] - lag, 0) : part[-1] + 1 + lag] = np.nan
        learnt = _known(others)
        weights = _robust(learnt)
        error[part] = _errors(rows[part], learnt, 0 * weights)
        fall[part] = error[part] - _errors(rows[part], learnt, weights)
    mean, size = float(np.nanmean(fall)), float(np.nanmean(error))
    moved = np.abs(rows[:, 1:]).max(axis=1) > 1e-9
    enough = mean >= _LEAST_GAIN * size or np.nansum(fall[moved]) >= _LEAST_WHERE_MOVED * np.nansum(error[moved])
    return mean / size if enough and mean > _CERTAINTY * _deviation(fall, lag) else 0.0


def _errors(rows: np.ndarray, learnt: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Absolute errors of a regression in rows (n, 1 + k), its constant from those that it has learnt of, if any."""
    line = np.r_[1.0, -weights]
    return np.abs(rows @ line - (np.median(learnt @ line) if len(learnt) else 0.0))


def _deviation(values: np.ndarray, lag: int) -> float:
    """Of the mean of values (steps,), NaN where missing, of which those `lag` steps apart share a shock."""
    away = values - np.nanmean(values)
    count = np.isfinite(away).sum()
    shared = max(float(np.nansum(away[lag:] * away[:-lag])), 0.0)
    return float(np.sqrt(np.nansum(away**2) + 2 * shared) / count)


def _fit(changes: np.ndarray) -> tuple[np.ndarray, float]:
    """The regression of the first column on the others, in what the step before does not tell: weights (k,), and the
    share of a step's residual in the next."""
    memory = 0.0
    for _ in range(2):
        weights = _robust(_known(_fresh(changes, memory)))
        memory = _memory(changes[:, 0] - changes[:, 1:] @ weights)
    return _robust(_known(_fresh(changes, memory))), memory


def _known(rows: np.ndarray) -> np.ndarray:
    """Those without a missing value."""
    return rows[np.isfinite(rows).all(axis=1)]


def _fresh(changes: np.ndarray, memory: float) -> np.ndarray:
    """Rows without what the row before tells."""
    return changes[1:] - memory * changes[:-1]


def _memory(left: np.ndarray) -> float:
    """Correlation of residuals with those before, outliers cut off."""
    left = left - np.nanmedian(left)
    limit = 4.0 * np.nanmedian(np.abs(left))
    left = np.clip(left, -limit, limit) if limit > 0 else left
    one, other = left[:-1], left[1:]
    both = np.isfinite(one) & np.isfinite(other)
    power = float((one[both] ** 2).sum())
    return float(np.clip((one[both] * other[both]).sum() / power, -0.9, 0.95)) if power > 0 else 0.0


def _robust(rows: np.ndarray) -> np.ndarray:
    """Weights (k,) by Huber's weights of the rows; all 0 where nothing can be told."""
    count, width = len(rows), rows.shape[1] - 1
    trust, weights = np.ones(count), np.zeros(width)
    if count < width + 3:
        return weights
    for _ in range(_ROUNDS):
        moved = rows - np.average(rows, axis=0, weights=trust)
        root = np.sqrt(trust)[:, None]
        weights = _ridge(moved[:, 1:] * root, moved[:, 0] * root[:, 0])
        left = moved[:, 0] - moved[:, 1:] @ weights
        scale = 1.4826 * float(np.median(np.abs(left - np.median(left))))
        if scale <= 0:
            break
        trust = np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(left), 1e-300))
    return weights


def _ridge(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Weights with the penalty that generalised cross-validation chooses."""
    count = len(inputs)
    spread = np.sqrt((inputs**2).mean(axis=0))
    inputs = inputs / np.where(spread > 0, spread, 1.0)
    left, sizes, right = np.linalg.svd(inputs, full_matrices=False)
    told = left.T @ outputs
    best, chosen = np.inf, np.zeros(inputs.shape[1])
    for penalty in _PENALTIES * count:
        kept = sizes**2 / (sizes**2 + penalty)
        error = float(((outputs - left @ (kept * told)) ** 2).sum())
        score = error / max(count - 1 - kept.sum(), 1e-9) ** 2
        if score < best:
            best, chosen = score, right.T @ (kept / np.maximum(sizes, 1e-300) * told)
    return chosen / np.where(spread > 0, spread, 1.0)


def known_lags(past: np.ndarray, length: int, season: int, horizon: int) -> np.ndarray:
    """Features of a series and its horizon that past-only covariates make.

    Args:
        past: (covariates, at least length); what lies beyond the series' end is not looked at.
        length: of the series.
        season, horizon: in steps.

    Returns:
        (lags · covariates, length + horizon), NaN before the covariates begin.
    """
    lags = dict.fromkeys((horizon, -(-horizon // season) * season))
    made = np.full((len(lags), len(past), length + horizon), np.nan)
    for row, lag in enumerate(lags):
        kept = max(0, min(length, length + horizon - lag))  # 0: the series is shorter than the lag reaches
        made[row, :, lag : lag + kept] = past[:, :kept]
    return made.reshape(-1, length + horizon)


Tells = Callable[[Entry, str], Effect | None]
"""What is known to act on an entry of a name; None where nothing is."""


def remembered(tells: Tells) -> Tells:
    """The same, which looks once where it is asked of an entry twice in a row."""
    seen: list[Any] = []
    effect: Effect | None = None

    def again(entry: Entry, name: str) -> Effect | None:
        nonlocal seen, effect
        fields = [entry.get(field) for field in ("target", "start", DYNAMIC, PAST)]
        if not seen or any(one is not other for one, other in zip(fields, seen, strict=True)):
            seen, effect = fields, tells(entry, name)
        return effect

    return again


def predicted_around(
    predict: Make[SampleForecast], dataset: Iterable[Entry], num_samples: int, tells: Tells
) -> Iterator[tuple[Entry, SampleForecast, Effect | None]]:
    """Forecast what effects leave of each series, and add them.

    Args:
        predict: forecasts the residuals, entry by entry, in order.
        dataset: entries; covariates of those with an effect that is used are not handed on.
        num_samples: of each forecast.
        tells: the effect of each, such as `effect_on`.

    Yields:
        The entry, its forecast, and the effect, where it is used.
    """

    def residuals() -> Iterator[tuple[Entry, tuple[Entry, Effect | None]]]:
        for name, entry in named_entries(dataset):
            effect = tells(entry, name)
            if effect is None or not effect.gain > 0:
                yield entry, (entry, None)
                continue
            left = {**entry, "target": effect.without(target_of(entry, name)), DYNAMIC: None, PAST: None}
            yield left, (entry, effect)

    for made, (entry, effect) in made_of(predict, residuals(), num_samples):
        if effect is not None:
            samples = effect.joined(made.samples).astype(made.samples.dtype)
            made = SampleForecast(samples, start_date=made.start_date, item_id=made.item_id, info=made.info)
        yield entry, made, effect


def effect_on(entry: Mapping[str, Any], name: str, season: int, horizon: int) -> Effect | None:
    """The effect of an entry's covariates; None where it has none.

    Args:
        entry: with "feat_dynamic_real" (k, length + horizon), of which the future is known, or with
            "past_feat_dynamic_real" (k, length), of which it is not.
        name: of it, for errors.
        season: steps of the season; 1 where there is none.
        horizon: steps to forecast.

    Raises:
        DataError: covariates that do not reach over the horizon, or miss a value there.
    """
    if entry.get(DYNAMIC) is None and entry.get(PAST) is None:
        return None
    target, parts = target_of(entry, name), []
    if entry.get(DYNAMIC) is not None:
        parts.append(_future(entry[DYNAMIC], target, name, horizon))
    if entry.get(PAST) is not None:
        past = _features(entry[PAST], target, name, PAST)
        if past.shape[1] < len(target):
            raise DataError(f"series {name!r}: {PAST} covers {past.shape[1]} of its {len(target)} steps; give all")
        parts.append(known_lags(past, len(target), season, horizon))
    return effect_of(target, np.concatenate(parts), season, horizon)


def _features(values: Any, target: np.ndarray, name: str, field: str) -> np.ndarray:
    features = np.asarray(values, dtype=np.float64)
    if target.ndim != 1 or features.ndim != 2:
        raise DataError(
            f"series {name!r}: a target of shape {target.shape} with {field} of shape {features.shape}; a regression "
            "on covariates takes (length,) and (covariates, steps)"
        )
    return features


def _future(values: Any, target: np.ndarray, name: str, horizon: int) -> np.ndarray:
    """Covariates that are known for the horizon, (k, length + horizon)."""
    features, needed = _features(values, target, name, DYNAMIC), len(target) + horizon
    ahead = features[:, len(target) : needed]
    if features.shape[1] < needed or not np.isfinite(ahead).all():
        found = f"covers {features.shape[1]} steps" if features.shape[1] < needed else "misses values"
        raise DataError(
            f"series {name!r}: {DYNAMIC} {found}, and {needed} are needed ({len(target)} of the series and {horizon} "
            "to forecast)"
        )
    return features[:, :needed]
