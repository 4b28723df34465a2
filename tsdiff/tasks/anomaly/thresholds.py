"""What a score of a series is compared with: a threshold from ordinary data, or the scores that came before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from shared.checks import Count, Level, checked
from shared.console.notes import tell
from shared.errors import ConfigError, DataError, first_few
from tsdiff.tasks.anomaly.scored import ENOUGH, SeriesScores

_ABOVE, _TAIL, _SPARED = 10, 30, 4.0
"""Scores above a quantile that tell it; of fewer it goes by so many of the largest, none of which counts for more than
so many usual ones."""


@dataclass(frozen=True)
class Thresholds:
    """Scores above which a step counts as anomalous.

    Attributes:
        quantile: of the scores of ordinary data that they are.
        overall: over all series, for a series that was not among them.
        items: of each series, by its id; kept as text, whatever ids the frame has.
    """

    quantile: float
    overall: float
    items: Mapping[Any, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", {str(item): limit for item, limit in self.items.items()})

    def of(self, item_id: Any) -> float:
        """The threshold of a series, by its id in the frame or as text."""
        return self.items.get(str(item_id), self.overall)

    def exceeded(self, result: SeriesScores) -> np.ndarray:
        """Whether the score of each step is above the threshold of its series, (length,); not where there is none."""
        return np.nan_to_num(result.score, nan=-np.inf) > self.of(result.item_id)


def listed_scores(scores: Any) -> list[SeriesScores]:
    """Scores of several series as a list.

    Raises:
        ConfigError: those of one series by itself, or something else.
    """
    if isinstance(scores, SeriesScores):
        raise ConfigError(f"scores of the series {scores.item_id!r} by itself: give a list, [scores]")
    made = list(scores) if isinstance(scores, Iterable) else [scores]
    for one in made:
        if not isinstance(one, SeriesScores):
            raise ConfigError(f"scores hold {type(one).__name__}: need what anomaly_scores gives")
    return made


def checked_thresholds(thresholds: Any) -> Thresholds:
    """Thresholds, if they are some.

    Raises:
        ConfigError: they are none.
    """
    if not isinstance(thresholds, Thresholds):
        raise ConfigError(
            f"thresholds={thresholds!r}: need those of fit_thresholds(scores); one number for all series is "
            "Thresholds(0.995, number, {})"
        )
    return thresholds


def fit_thresholds(scores: Iterable[SeriesScores], quantile: float = 0.995, later: bool = False) -> Thresholds:
    """Thresholds from the scores of data that is taken to be ordinary, such as the training data.

    Args:
        scores: of the data; those with the same item_id, as of rolling windows, are of one series.
        quantile: of the scores of each series, and of all.
        later: the thresholds are for steps that follow these in the same series, not for these themselves. Then scores
            of steps before two seasons were known, which are smaller, are left out where a hundred others remain; make
            them `SeriesScores.comparable` for where they do not. And where fewer than ten scores lie above a quantile,
            it is told by the thirty largest, whose excesses are taken for exponential, as logarithms of chances are,
            with the error that so few leave: the largest of a hundred is no limit for the next hundred.

    Raises:
        ConfigError: a quantile outside (0, 1), or what are no scores.
        DataError: no score at all.
    """
    checked(Level, quantile=quantile)
    parts: dict[str, list[np.ndarray]] = {}
    for one in listed_scores(scores):
        parts.setdefault(one.item_id, []).append(_telling(one, later))
    items = {item: found for item, each in parts.items() if (found := np.concatenate(each)).size}
    if not items:
        raise DataError("there is no score to take a threshold from; give series that can be scored")
    if alone := [item for item, values in items.items() if len(values) == 1]:
        named = first_few([repr(item) for item in alone], 1)
        tell(
            f"series {named}: a threshold from one score is that score, which half of what is ordinary lies "
            "above; give longer series"
        )
    limit = _limit if later else lambda values, level: float(np.quantile(values, level))
    overall = limit(np.concatenate(list(items.values())), quantile)
    return Thresholds(quantile, overall, {item: limit(values, quantile) for item, values in items.items()})


def _telling(one: SeriesScores, later: bool) -> np.ndarray:
    """The scores that a threshold is taken from, (n,)."""
    settled = one.settled()
    return settled if later and len(settled) >= ENOUGH else one.score[np.isfinite(one.score)]


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
    return [one.with_score(_surprise(one.score, history, recent, learning)) for one in listed_scores(scores)]


def _surprise(score: np.ndarray, history: int, recent: int, learning: int) -> np.ndarray:
    series = pd.Series(score)
    before, lately = series.rolling(history, min_periods=learning), series.rolling(recent, min_periods=1)
    away, deviation = (lately.mean() - before.mean()).to_numpy(), before.std().to_numpy()
    unit = np.divide(away, deviation, out=np.zeros_like(away), where=deviation > 0)
    tail = -torch.special.log_ndtr(torch.from_numpy(-unit))
    return np.where(np.isnan(score) | np.isnan(deviation), np.nan, tail.numpy())
