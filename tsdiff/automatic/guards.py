"""The simple forecasters beside which a model has to prove itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from gluonts.model.forecast import SampleForecast

from shared.checks import Checked, Count
from tsdiff.baselines.ets import AutoETSPredictor
from tsdiff.baselines.seasonal import SeasonalPathsPredictor
from tsdiff.data import candidate_seasons
from tsdiff.data.entries import Entry, named_entries, read_series
from tsdiff.sampling.shuffle import shuffled

MOST_SEASON = 400
"""Steps of the longest season that the naive tries."""


@dataclass(frozen=True)
class Guard(Checked):
    """A simple forecaster of univariate series, whose samples are paths.

    Args:
        kind: "naive", `SeasonalPathsPredictor`; "auto_ets", `AutoETSPredictor`, whose samples, which are quantiles of
            single steps, get the dependence of the naive's paths (`tsdiff.sampling.shuffle`).
        freq: of the series, normalised.
        prediction_length: steps to forecast.
        seed: of the draws.
        max_history: steps of a series that AutoETS is fitted to.
    """

    kind: Literal["naive", "auto_ets"]
    freq: str
    prediction_length: Count
    seed: int = 0
    max_history: Count = 1000

    def with_horizon(self, prediction_length: int) -> Guard:
        """The same, for another number of steps."""
        return replace(self, prediction_length=prediction_length)

    def predict(self, dataset: Iterable[Entry], num_samples: int = 100) -> Iterator[SampleForecast]:
        """One forecast for each entry, in order.

        Raises:
            MissingPackageError: AutoETS without the package `statsforecast`.
            DataError: an entry of another frequency, whose season would be another.
        """
        dataset = self._of_freq(dataset)
        seasons = [season for season in candidate_seasons(self.freq) if season <= MOST_SEASON]
        naive = SeasonalPathsPredictor(self.prediction_length, seasons, self.seed)
        if self.kind == "naive":
            return naive.predict(dataset, num_samples)
        ets = AutoETSPredictor(self.prediction_length, seasons[0], self.max_history)
        return self._ordered(ets, naive, dataset, num_samples)

    def _of_freq(self, dataset: Iterable[Entry]) -> Iterator[Entry]:
        for name, entry in named_entries(dataset):
            yield {**entry, "start": read_series(entry, name, self.freq, ()).start}

    @staticmethod
    def _ordered(
        ets: AutoETSPredictor, naive: SeasonalPathsPredictor, dataset: Iterable[Entry], num_samples: int
    ) -> Iterator[SampleForecast]:
        for place, entry in enumerate(dataset):
            named: dict[str, Any] = {"item_id": str(place), **entry}
            (made,), (paths,) = (list(one.predict([named], num_samples)) for one in (ets, naive))
            samples = shuffled(made.samples, paths.samples)
            yield SampleForecast(samples, made.start_date, item_id=entry.get("item_id"), info=entry.get("info"))
