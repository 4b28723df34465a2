"""The anomaly scores of one series: what is scored, when, and which of the scores compare."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from tsdiff.data import Stamp, to_timestamps
from tsdiff.data.frequency import quiet, shifted
from tsdiff.data.origin import Zone

ENOUGH = 100
"""Scores since two seasons are known that are enough for a threshold without those before."""


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
        labels: the ids of that frame in their own dtype, by the names of its series; None where it had none.
    """

    item_id: str
    start: pd.Period
    target: np.ndarray
    score: np.ndarray
    stamp: Stamp = "start"
    zone: Zone = field(default_factory=Zone)
    early: np.ndarray | None = None
    labels: pd.Series | None = field(default=None, compare=False, repr=False)

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
        if self.early is None or self.before(-last).settled().size >= ENOUGH:
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
