"""Calls of a predictor of one model: on which weights and where it computes, fine-tuning."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
import torch

from shared.checks import Count, Positive, checked
from shared.devices import compute_device
from shared.errors import ConfigError
from tsdiff.data import load_dataset
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import freq_of
from tsdiff.data.known import Names, tell_unused
from tsdiff.faces.gaps import GapCalls
from tsdiff.model.model import TSDiff
from tsdiff.sampling.settings import Sampling

if TYPE_CHECKING:
    from tsdiff.pretraining.finetuning import FineTuning


class ModelCalls(GapCalls):
    """Calls of a predictor that has one model; `TSDiffPredictor` tells the arguments."""

    sampling: Sampling

    if TYPE_CHECKING:

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
        usual = vars(Sampling())
        changed = [f"{name}={value!r}" for name, value in vars(self.sampling).items() if value != usual[name]]
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
