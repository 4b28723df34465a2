"""Gaps of frames, filled by a predictor that fills those of GluonTS entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from shared.checks import Chance, checked
from shared.errors import ConfigError
from tsdiff.data import to_timestamps
from tsdiff.data.clocks import tell_changes_at_gaps
from tsdiff.data.entries import Entry
from tsdiff.data.known import Names, tell_unused
from tsdiff.faces.frames import FrameCalls
from tsdiff.faces.keywords import check_sampling
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.decisions import taken_for
from tsdiff.tasks.imputation.filling import TABLE_LEVELS as IMPUTED_LEVELS
from tsdiff.tasks.imputation.filling import Imputation
from tsdiff.tasks.suited import Suited


class GapCalls(FrameCalls):
    """The call that fills gaps of a frame, of a predictor with `impute`."""

    if TYPE_CHECKING:

        @property
        def sampling(self) -> Sampling: ...

        def impute(self, dataset: Iterable[Entry], num_samples: int = 100) -> Iterator[Imputation]: ...

    def impute_df(
        self,
        df: pd.DataFrame,
        *,
        id_column: str | None = None,
        timestamp_column: str | None = None,
        target: str | None = None,
        item_id: str | None = None,
        timestamp: str | None = None,
        freq: str | None = None,
        quantile_levels: Sequence[float] = IMPUTED_LEVELS,
        num_samples: int = 100,
        nonnegative: bool = True,
        counts: bool = True,
        **sampling: Any,
    ) -> pd.DataFrame:
        """Fill the gaps of every series of a frame: missing rows, NaN and infinities.

        A model of all frequencies adapts itself to the frame's frequency.

        Args:
            df: see `predict_df`; a warning tells where clocks change near a gap of hours.
            id_column, timestamp_column, target, freq: see `predict_df`.
            item_id, timestamp: id_column and timestamp_column by their old names.
            quantile_levels: the columns of the result.
            num_samples: draws behind the quantiles.
            nonnegative: draws of series of which no observed value is below 0 are not, either.
            counts: those of whole numbers from 0 are whole, and zeros as frequent as around the gaps.
            sampling: other fields of `Sampling` to change: seed, maximum, ….

        Returns:
            A long frame, see `tsdiff.tasks.imputation.Imputation.to_frame`; "item_id", "timestamp" and "value" are
            named as in `df`, with its ids in their dtype and its time zone. Its `attrs` tell how many series were taken
            for "nonnegative" and for "counts".

        Raises:
            ConfigError: a model of several channels or covariates, or a setting that cannot be.
            DataError: see `series_from_frame`.
        """
        check_sampling(sampling, of_frames=True)
        checked(tuple[Chance, ...], quantile_levels=quantile_levels)
        if self.config.dynamic_features:
            raise ConfigError(
                f"this model takes {self.config.dynamic_features} covariates, which impute_df does not; call `impute` "
                "with GluonTS entries that have them as feat_dynamic_real (tsdiff.data.load_dataset(df, dynamic=[…]))"
            )
        self._check_covariates(0, self.prediction_length)
        id_column = item_id if id_column is None else id_column
        names = Names(id_column, timestamp if timestamp_column is None else timestamp_column, target).of(df)
        series = self._read(df, names, freq)
        tell_unused(df, names, (), "gaps are filled by what is known of the series themselves")
        tell_changes_at_gaps(series.origin, series)
        predictor = self._reaching(series.freq, self.prediction_length)
        predictor = predictor.with_sampling(nonnegative=nonnegative, counts=counts, **sampling)
        frames = [made.to_frame(quantile_levels) for made in predictor.impute(series, num_samples)]
        whole = pd.concat(frames, ignore_index=True)
        whole["timestamp"] = to_timestamps(whole["timestamp"], series.stamp)
        table = series.origin.restored(whole)
        found = taken_for([Suited.of(entry["target"], predictor.sampling) for entry in series])
        table.attrs.update({name: found[name] for name in ("nonnegative", "counts")})
        return table
