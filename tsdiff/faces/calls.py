"""Calls of a predictor of one model: on which weights and where it computes, fine-tuning, gaps of frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch

from shared.checks import Chance, Count, Positive, checked
from shared.devices import compute_device
from shared.errors import ConfigError
from tsdiff.data import load_dataset, to_timestamps
from tsdiff.data.clocks import tell_changes_at_gaps
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import freq_of
from tsdiff.data.known import Names, tell_unused
from tsdiff.faces.frames import FrameCalls
from tsdiff.faces.keywords import check_sampling
from tsdiff.model.model import TSDiff
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.imputation.filling import TABLE_LEVELS as IMPUTED_LEVELS
from tsdiff.tasks.imputation.filling import Imputation
from tsdiff.tasks.suited import Suited, taken_for

if TYPE_CHECKING:
    from tsdiff.pretraining.finetuning import FineTuning


class ModelCalls(FrameCalls):
    """Calls of a predictor that has one model; `TSDiffPredictor` tells the arguments."""

    sampling: Sampling

    if TYPE_CHECKING:

        def impute(self, dataset: Iterable[Entry], num_samples: int = 100) -> Iterator[Imputation]: ...

        def measure_covariance(
            self, dataset: Iterable[Entry], windows: int = 2048, rng: np.random.Generator | None = None
        ) -> Self: ...

        def serialize(self, path: str | os.PathLike[str]) -> None: ...

    def __init__(
        self,
        model: TSDiff,
        sampling: Sampling | None = None,
        device: str | torch.device | None = None,
        prediction_length: int | None = None,
    ):
        steps = model.config.prediction_length if prediction_length is None else prediction_length
        super().__init__(prediction_length=checked(Count, prediction_length=steps))
        if reach := model.config.reach:
            model = model.adapted(model.config.freq, min(steps, reach))
        self.model = model.to(None if device is None else compute_device(device)).eval().requires_grad_(False)
        self.sampling = sampling or Sampling()
        self.nfe = 0
        """Network calls that each sample of the last `predict` took."""

    def __repr__(self) -> str:
        changed = [f"{n}={v!r}" for n, v in vars(self.sampling).items() if v != vars(Sampling())[n]]
        sampling = f", sampling: {', '.join(changed)}" if changed else ""
        what = "any horizon" if self.config.awaits_freq else f"{self.prediction_length} steps of {self.freq!r}"
        return f"{type(self).__name__}({what}, {self.model!r}{sampling})"

    def to(self, device: str | torch.device) -> Self:
        """The predictor on another device: "cpu", "cuda", "cuda:1" or "auto". Its model is moved there, not copied.

        Raises:
            ConfigError: there is no such device.
        """
        return type(self)(self.model, self.sampling, device, self.prediction_length)

    def with_model(self, model: TSDiff) -> Self:
        """Another model of the same frequency, sampled the same way, as many steps ahead."""
        return type(self)(model, self.sampling, prediction_length=self.prediction_length)

    def with_horizon(self, prediction_length: int) -> Self:
        """The same for another number of steps; see `prediction_length`."""
        return type(self)(self.model, self.sampling, prediction_length=prediction_length)

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """`serialize`: model, sampling settings and horizon, for `from_pretrained` and the commands' --model."""
        self.serialize(path)

    def fine_tune(
        self,
        data: pd.DataFrame | Iterable[Entry],
        minutes: float = 5.0,
        *,
        prediction_length: int | None = None,
        freq: str | None = None,
        id_column: str | None = None,
        timestamp_column: str | None = None,
        target: str | None = None,
        settings: FineTuning | None = None,
        progress: bool = True,
    ) -> Self:
        """Train a copy of a model of all frequencies on some series, where that helps to forecast them.

        Args:
            data: a frame, see `predict_df`, or GluonTS entries.
            minutes: of CPU time for it all.
            prediction_length: steps to forecast; None takes the predictor's.
            freq: in any pandas spelling; None takes the predictor's, or that of the data.
            id_column, timestamp_column, target: of a frame.
            settings: in place of `minutes` (`tsdiff.pretraining.finetuning`, which also tells what was tried).
            progress: show a bar.

        Returns:
            A predictor of the series' frequency and that horizon; this one is left as it is.

        Raises:
            ConfigError: no positive minutes, a model that was not made for several frequencies, or no horizon.
            DataError: no series holds an observed value.
        """
        from tsdiff.pretraining.finetuning import FineTuning, fine_tune  # loads Lightning

        if settings is None:
            settings = FineTuning(cpu_minutes=checked(Positive, minutes=minutes), seed=self.sampling.seed)
        steps = checked(Count | None, prediction_length=prediction_length)
        if steps is None and self.config.awaits_freq:
            raise ConfigError("say how many steps to forecast: fine_tune(data, prediction_length=24), say")
        if isinstance(data, pd.DataFrame):
            names = Names(id_column, timestamp_column, target).of(data)
            entries: Sequence[Entry] = self._read(data, names, freq)
            tell_unused(data, names, (), "covariates help a fine-tuned model when it forecasts, by a regression")
        else:
            entries = load_dataset(data, freq=freq)
        found = freq_of(entries[0]["start"])
        adapted = self.adapted(found, self.prediction_length if steps is None else steps)
        return fine_tune(adapted, entries, settings, progress=progress).predictor

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
        table.attrs.update(taken_for([Suited.of(entry["target"], predictor.sampling) for entry in series]))
        return table
