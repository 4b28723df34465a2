"""What every baseline shares: the job, the settings' interface, and a predictor that yields samples."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from itertools import islice

import numpy as np
import torch
from gluonts.model.forecast import Forecast, SampleForecast
from gluonts.model.predictor import Predictor
from gluonts.torch.model.forecast import DistributionForecast

from shared.checks import Checked, Count, Duration, checked
from shared.errors import ConfigError, DataError
from shared.random import derive_seed
from tsdiff.data import Entry
from tsdiff.data.frequency import quiet
from tsdiff.windows.gaps import bridge

DEFAULT_STEPS, STEPS_PER_EPOCH = 2000, 50
CHUNK = 32  # entries forecast at once: bounds memory, and with the seed decides the draws


@dataclass(frozen=True)
class TrainingJob(Checked):
    """What to train for; the arguments of `train_baseline`."""

    freq: str
    prediction_length: Count
    context_length: Count | None = None
    num_samples: Count = 100
    cpu_minutes: Duration | None = None
    max_steps: Count | None = None
    seed: int = 0

    @property
    def steps(self) -> int:
        """Optimiser steps at most; −1 is no limit, where time is one."""
        return self.max_steps or (-1 if self.cpu_minutes is not None else DEFAULT_STEPS)


class SamplePredictor(Predictor):
    """Turns the forecasts of any GluonTS predictor into samples, reproducibly.

    Draws depend on the seed and on the order of the entries, not on the caller's random state, which is left as it was.

    Args:
        inner: gives samples, a distribution or quantiles. A single sample is a point forecast and is repeated.
        num_samples: where `predict` names no other number.
        seed: of the draws.
    """

    def __init__(self, inner: Predictor, num_samples: int = 100, seed: int = 0):
        super().__init__(prediction_length=inner.prediction_length, lead_time=inner.lead_time)
        self.inner, self.num_samples, self.seed = inner, num_samples, seed

    def predict(self, dataset: Iterable[Entry], num_samples: int | None = None, **kwargs: object) -> Iterator[Forecast]:
        """One SampleForecast, samples (num_samples, prediction_length), for each entry in order.

        Raises:
            ConfigError: num_samples < 1, or an unknown keyword.
            DataError: a history without an observed value, or a forecast that is not finite.
        """
        if kwargs:
            raise ConfigError(f"predict does not take {', '.join(kwargs)}")
        count = self.num_samples if num_samples is None else num_samples
        checked(Count, num_samples=count)
        return self._forecasts(dataset, count)

    def _forecasts(self, dataset: Iterable[Entry], count: int) -> Iterator[SampleForecast]:
        entries = enumerate(dataset)
        taken = signature(self.inner.predict).parameters.values()
        knows = any(one.name == "num_samples" or one.kind is one.VAR_KEYWORD for one in taken)
        options = {"num_samples": count} if knows else {}
        for chunk, group in enumerate(iter(lambda: list(islice(entries, CHUNK)), [])):
            for place, entry in group:
                if np.isnan(np.asarray(entry["target"], dtype=np.float64)).all():
                    name = entry.get("item_id", place)
                    raise DataError(f"series {name!r} holds no observed value; leave it out, or give some history")
            # A list, not a generator: GluonTS's torch predictors keep gradients off and we keep the random state
            # until they are exhausted, and neither is the caller's business between two forecasts.
            with quiet(), seeded(derive_seed(self.seed, "predict", chunk)):
                found = list(self.inner.predict([entry for _, entry in group], **options))
                drawn = [_as_samples(forecast, count) for forecast in found]
            yield from drawn


def _as_samples(forecast: Forecast, count: int) -> SampleForecast:
    """`count` samples of a forecast.

    A distribution is drawn from, step by step independently where it is so; quantiles are read at evenly spaced
    levels, which gives each step its distribution.
    """
    if isinstance(forecast, SampleForecast):
        samples = np.asarray(forecast.samples)
        if len(samples) == 1:
            samples = np.repeat(samples, count, axis=0)
    elif isinstance(forecast, DistributionForecast):
        samples = forecast.to_sample_forecast(count).samples
    else:
        samples = np.stack([forecast.quantile((k + 0.5) / count) for k in range(count)])
    if not np.isfinite(samples).all():
        raise DataError(
            f"the forecast of series {forecast.item_id!r} from {forecast.start_date} is not finite; look at its "
            "values, or lower the learning rate"
        )
    return SampleForecast(samples, forecast.start_date, item_id=forecast.item_id, info=forecast.info)


def filled(rows: np.ndarray) -> np.ndarray:
    """Rows (n, length) with NaN replaced by straight lines, flat at the ends; each holds an observed value."""
    return bridge(rows[..., None])[0][..., 0]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators (torch's, NumPy's, Python's), which GluonTS draws from; restore them afterwards."""
    before_numpy, before_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before_numpy)  # noqa: NPY002
            random.setstate(before_python)
