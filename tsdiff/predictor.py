"""A trained TSDiff as a GluonTS predictor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor
from torch import Tensor

from shared.checkpoint import dataclass_from, resolve
from shared.errors import CheckpointError, ConfigError, DataError
from shared.io import write_json
from shared.random import make_generator
from shared.samplers import sample
from tsdiff.backbones import S4Config
from tsdiff.calendar import shifted
from tsdiff.config import Sampling, compute_device
from tsdiff.data import series_from_frame
from tsdiff.evaluation import forecasts_to_frame
from tsdiff.guidance import ObservationGuidance
from tsdiff.model import BUNDLED, TSDiff, call_times
from tsdiff.windows import Conditioning, Entry, conditioning

_SAMPLING = "sampling.json"


class TSDiffPredictor(Predictor):
    """Forecasts by observation self-guidance of an unconditional model.

    Args:
        model: trained.
        sampling: how to draw.
        device: where to compute; None means where the model is.

    Raises:
        ConfigError: the model was trained with lagged copies of the series, or features of its caller's.
    """

    def __init__(self, model: TSDiff, sampling: Sampling | None = None, device: str | torch.device | None = None):
        super().__init__(prediction_length=model.config.prediction_length)
        if model.channels > 1:
            raise ConfigError(
                f"the model sees {model.channels - 1} lagged copies of the series; forecasts need a model without lags"
            )
        if isinstance(model.config.backbone, S4Config) and model.config.backbone.features_required:
            raise ConfigError(
                "the model was trained with features of its caller's; forecasts need a model without them"
            )
        self.model = model.to(None if device is None else compute_device(device)).eval().requires_grad_(False)
        self.sampling = sampling or Sampling()
        self.nfe = 0
        """Network calls that each sample of the last `predict` took."""

    @property
    def freq(self) -> str:
        """Frequency of the series."""
        return self.model.config.freq

    def with_sampling(self, **changes: Any) -> TSDiffPredictor:
        """The same model, sampled differently; takes the fields of `Sampling`."""
        return TSDiffPredictor(self.model, replace(self.sampling, **changes))

    def predict(self, dataset: Iterable[Entry], num_samples: int = 100, **kwargs: Any) -> Iterator[SampleForecast]:
        """One forecast for each entry, in order, of the prediction_length steps after its end.

        NaN in the history is missing. A history shorter than the context is padded with missing values. Entries are
        read as they are needed, and memory does not grow with their number.

        Args:
            dataset: GluonTS entries ("start" pd.Period, "target" (length,), optionally "item_id").
            num_samples: samples of each forecast.

        Yields:
            SampleForecast, samples (num_samples, prediction_length).

        Raises:
            ConfigError: num_samples < 1, or an unknown keyword.
            DataError: an entry without any observed value, of another frequency, or not one-dimensional.
        """
        if kwargs:
            raise ConfigError(f"predict does not take {', '.join(kwargs)}; sampling settings go to `with_sampling`")
        if num_samples < 1:
            raise ConfigError(f"num_samples={num_samples}: need at least one")
        return self._forecasts(dataset, num_samples)

    def _forecasts(self, dataset: Iterable[Entry], num_samples: int) -> Iterator[SampleForecast]:
        at_once = max(1, self.sampling.batch_rows // num_samples)
        numbered = enumerate(dataset)
        while group := list(islice(numbered, at_once)):
            entries = [entry for _, entry in group]
            names = [str(entry.get("item_id", place)) for place, entry in group]
            config, statistics = self.model.config, self.model.statistics
            inputs = [conditioning(e, config, statistics, name) for e, name in zip(entries, names, strict=True)]
            ends = [shifted(entry["start"], len(entry["target"])) for entry in entries]
            samples = self._draw(inputs, [f"{n} {end}" for n, end in zip(names, ends, strict=True)], num_samples)
            for entry, end, drawn in zip(entries, ends, samples, strict=True):
                yield SampleForecast(drawn, start_date=end, item_id=entry.get("item_id"), info=entry.get("info"))

    def _draw(self, inputs: list[Conditioning], names: list[str], num_samples: int) -> list[np.ndarray]:
        """Samples (num_samples, prediction_length) of each input, in the series' units, batch_rows at a time."""
        rows = [(item, draw) for item in range(len(inputs)) for draw in range(num_samples)]
        levels = (np.arange(num_samples) + 1) / (num_samples + 1)
        out = np.empty((len(inputs), num_samples, self.prediction_length), dtype=np.float32)
        for first in range(0, len(rows), self.sampling.batch_rows):
            chunk = rows[first : first + self.sampling.batch_rows]
            items = torch.tensor([item for item, _ in chunk])
            generators = [make_generator(self.sampling.seed, names[item], draw) for item, draw in chunk]
            quantiles = torch.tensor([levels[draw] for _, draw in chunk], dtype=torch.float32)
            with torch.inference_mode(False):  # guidance differentiates, whatever mode the caller is in
                windows = self._sample_windows(inputs, items, quantiles, generators)
            horizon = windows[:, -self.prediction_length :].double().numpy()
            for (item, draw), row in zip(chunk, horizon, strict=True):
                out[item, draw] = row * inputs[item].scale + inputs[item].loc
        if not np.isfinite(out).all():
            bad = names[int(np.flatnonzero(~np.isfinite(out).all(axis=(1, 2)))[0])]
            raise DataError(
                f"the forecast of series {bad} is not finite: its values leave the range of single precision, or the "
                "guidance is too strong; rescale the series or lower `scale`"
            )
        return list(out)

    def _sample_windows(
        self, inputs: list[Conditioning], items: Tensor, quantiles: Tensor, generators: list[torch.Generator]
    ) -> Tensor:
        """Whole windows (rows, length) in network units, on the CPU; row i is conditioned on inputs[items[i]]."""
        device, settings, model = self.model.device, self.sampling, self.model
        values = torch.stack([c.values for c in inputs])[items][..., None].to(device)
        observed = torch.stack([c.observed for c in inputs])[items][..., None].to(device)
        known = [c.features for c in inputs if c.features is not None]
        features = torch.stack(known)[items].to(device) if known else None
        guidance = ObservationGuidance(
            values,
            observed,
            settings.guidance,
            quantiles.to(device),
            settings.scale,
            settings.observation_std,
            model.statistics.top_variance,
        )
        result = sample(
            lambda x, t: model(x, t, features),
            model.sde,
            tuple(values.shape),
            method=settings.method,
            steps=settings.steps,
            schedule=call_times(model.sde, settings.steps, settings.log_snr_end),
            generator=generators,
            guidance=guidance,
            device=device,
        )
        self.nfe = result.nfe
        return result.x[..., 0].cpu()

    def forecast_df(
        self,
        df: pd.DataFrame,
        *,
        target: str = "target",
        item_id: str | None = None,
        timestamp: str | None = None,
        num_samples: int = 100,
        quantile_levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95),
    ) -> pd.DataFrame:
        """Forecast every series of a long-format frame.

        Args:
            df: one row a value; gaps, NaN and infinities are missing, any order of rows.
            target, item_id, timestamp: columns; found by their usual names when absent (`series_from_frame`).
            num_samples: samples behind the quantiles.
            quantile_levels: the columns of the result.

        Returns:
            A long frame: item_id, timestamp, mean, and one column a level ("0.5").

        Raises:
            DataError: see `series_from_frame`.
        """
        series = series_from_frame(df, target=target, item_id=item_id, timestamp=timestamp, freq=self.freq)
        return forecasts_to_frame(self.predict(series, num_samples), quantile_levels, series.stamp)

    def serialize(self, path: Path) -> None:
        """Write the model and the sampling settings into the folder `path`."""
        Path(path).mkdir(parents=True, exist_ok=True)
        super().serialize(path)
        self.model.save_pretrained(path)
        write_json(Path(path) / _SAMPLING, asdict(self.sampling))

    @classmethod
    def deserialize(cls, path: Path, device: str | torch.device | None = None, **kwargs: Any) -> TSDiffPredictor:
        """The predictor that `serialize` wrote.

        Raises:
            CheckpointError: damaged, of another version, or with settings that do not fit.
        """
        return cls.from_pretrained(path, device=device)

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path, sampling: Sampling | None = None, device: str | torch.device | None = None
    ) -> TSDiffPredictor:
        """A predictor from a model's folder, bundled name or hub id; a folder may hold its sampling settings too.

        Raises:
            CheckpointError: see `TSDiff.from_pretrained`.
        """
        folder = resolve(path_or_name, BUNDLED)
        model = TSDiff.from_pretrained(folder)
        beside = folder / _SAMPLING
        if sampling is None and beside.is_file():
            sampling = _read_sampling(beside)
        return cls(model, sampling, device)


def _read_sampling(path: Path) -> Sampling:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); delete it to use the defaults") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object; delete it to use the defaults")
    return dataclass_from(Sampling, values, str(path))
