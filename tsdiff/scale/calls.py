"""The calls: forecast, fill and score series by the million."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Unpack

from shared.checks import Count, Level, checked
from shared.errors import ConfigError, DataError
from shared.scale import Report, Unit, run
from shared.scale.run import Where
from shared.scale.units import named_for_workers
from tsdiff.data import normalise_freq
from tsdiff.data.entries import Entry, entries_of, named_entries
from tsdiff.data.known import Names
from tsdiff.evaluation.metrics import TABLE_LEVELS
from tsdiff.model.model import BUNDLED
from tsdiff.predictor import TSDiffPredictor
from tsdiff.scale.units import Address, Part, Tables, entry_units
from tsdiff.scale.work import Forecasting, Imputing, Scoring, SeriesWork, freq_of
from tsdiff.tasks.anomaly.scores import DEFAULT_SCORING
from tsdiff.tasks.imputation.filling import TABLE_LEVELS as IMPUTED_LEVELS
from tsdiff.tasks.likelihood import LikelihoodSettings

Source = Address | Iterable[Entry]
_FEWEST, _MOST = 32, 1024
"""Series of a unit."""


def forecast(
    data: Source,
    output: Address,
    *,
    model: Address = "default",
    prediction_length: int | None = None,
    freq: str | None = None,
    columns: Names | None = None,
    quantile_levels: Sequence[float] = TABLE_LEVELS,
    num_samples: int = 100,
    sampling: Mapping[str, Any] | None = None,
    device: str = "cpu",
    size: int | None = None,
    **where: Unpack[Where],
) -> Report:
    """Forecast many series into a folder of Parquet files.

    What is finished stays: a job that was stopped, by whatever, goes on by the same call. The results are the same bits
    for any number of workers, on Ray or in this process, whatever dies meanwhile. Where the series of a file come in
    the order of their ids, they are those of `TSDiffPredictor.predict_df` of that file on one thread; otherwise those
    differ in the last digits of single precision, by which series are drawn together.

    Args:
        data: a folder of partitioned Parquet of long frames (`tsdiff.scale.units.Tables`), here or wherever fsspec
            reads; or GluonTS entries, which are read as they are needed.
        output: folder for the results, part-000000.parquet and so on, a file a unit; `pandas.read_parquet(output)`
            reads all of them. All workers have to see it under this name. `_failed.csv` in it lists series that failed.
        model: folder, bundled name or hub id of a `TSDiffPredictor`, which each worker loads.
        prediction_length: steps to forecast; None takes the model's, which one of all frequencies has none of.
        freq: in any pandas spelling; None takes the model's, or that of the first series.
        columns: of long frames: id_column, timestamp_column, target; None finds them.
        quantile_levels: the columns of the result.
        num_samples: samples behind the quantiles.
        sampling: fields of `Sampling` to change: seed, batch_rows, ….
        device: of each worker: "cpu", or "cuda", of which each takes one.
        size: series of a unit; None takes as many as are drawn together, 32 at least.
        where: engine, workers, address, progress: see `shared.scale.run.run`.

    Returns:
        What became of it, with the series that failed and why.

    Raises:
        ConfigError: a setting that cannot be, other settings than those of the results in `output`, a cluster that
            cannot be reached.
        DataError: no data there, a series in two files, or other data than the results in `output` are of.
        CheckpointError: no such model.
        MissingPackageError: without the extra "scale".
    """
    found = _Found(data, model, prediction_length, freq, columns, ahead=True)
    work = Forecasting(
        **found.settings(device, num_samples, sampling),
        quantile_levels=tuple(checked(tuple[Level, ...], quantile_levels=quantile_levels)),
    )
    return found.run(work, output, size, "forecasting", where)


def impute(
    data: Source,
    output: Address,
    *,
    model: Address = "default",
    prediction_length: int | None = None,
    freq: str | None = None,
    columns: Names | None = None,
    quantile_levels: Sequence[float] = IMPUTED_LEVELS,
    num_samples: int = 100,
    sampling: Mapping[str, Any] | None = None,
    device: str = "cpu",
    size: int | None = None,
    **where: Unpack[Where],
) -> Report:
    """Fill the gaps of many series, into a folder of Parquet files of all their values as
    `TSDiffPredictor.impute_df` gives them; arguments, result and errors as of `forecast`. prediction_length is the
    horizon that a model of all frequencies is `adapted` for, and None its longest."""
    found = _Found(data, model, prediction_length, freq, columns, ahead=False)
    work = Imputing(
        **found.settings(device, num_samples, sampling),
        quantile_levels=tuple(checked(tuple[Level, ...], quantile_levels=quantile_levels)),
    )
    return found.run(work, output, size, "filling gaps", where)


def anomaly(
    data: Source,
    output: Address,
    *,
    model: Address = "default",
    prediction_length: int | None = None,
    freq: str | None = None,
    columns: Names | None = None,
    scoring: LikelihoodSettings = DEFAULT_SCORING,
    quantile: float = 0.995,
    device: str = "cpu",
    size: int | None = None,
    **where: Unpack[Where],
) -> Report:
    """Score every step of many series, into a folder of Parquet files: id, time, "value", "score", "threshold" and
    "anomaly" (`tsdiff.tasks.anomaly.scores.anomalies_to_frame`); a series' threshold is the `quantile` of its own
    scores. Other arguments, result and errors as of `forecast`, prediction_length as of `impute`; windows lie that far
    apart."""
    found = _Found(data, model, prediction_length, freq, columns, ahead=False)
    work = Scoring(**found.settings(device), scoring=scoring, quantile=checked(Level, quantile=quantile))
    return found.run(work, output, size, "scoring", where)


class _Found:
    """Where the series come from, and of which frequency they and the model are."""

    def __init__(
        self,
        data: Source,
        model: Address,
        steps: int | None,
        freq: str | None,
        columns: Names | None,
        ahead: bool = False,
    ):
        if isinstance(model, TSDiffPredictor):
            raise ConfigError("model: each worker loads it; save this one (save_pretrained) and give the folder")
        model = named_for_workers(model, BUNDLED)
        predictor = TSDiffPredictor.from_pretrained(model)
        steps = checked(Count | None, prediction_length=steps)
        if steps is None and ahead and predictor.config.awaits_freq:
            raise ConfigError("say how many steps to forecast: prediction_length=24, say")
        self._model, self._steps = model, steps or predictor.prediction_length
        self._rows = predictor.sampling.batch_rows
        if isinstance(data, (str, os.PathLike)):
            tables = Tables(data, columns or Names())
            self._names: Names | None = tables.names
            self._units: Callable[[int], Iterator[Unit]] = tables.units
            first: dict[str, Part] = next((unit.payload.parts() for unit in tables.units(1) if unit.payload), {})
        else:
            entries = entries_of(data)
            head = list(islice(entries, 1))
            self._names, self._units = None, partial(entry_units, chain(head, entries))
            first = {name: {**entry, "item_id": name} for name, entry in named_entries(head)}
        self._freq = _freq(model, predictor, freq, first, self._names)

    def settings(self, device: str, num_samples: int = 1, sampling: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What every work has."""
        rows = (sampling or {}).get("batch_rows", self._rows)
        self._together = max(1, rows // checked(Count, num_samples=num_samples))
        return {
            "model": self._model,
            "device": device,
            "freq": self._freq,
            "prediction_length": self._steps,
            "names": self._names,
            "num_samples": num_samples,
            "sampling": dict(sampling or {}),
        }

    def run(self, work: SeriesWork, output: Address, size: int | None, description: str, where: Where) -> Report:
        """Do it."""
        size = checked(Count | None, size=size) or min(self._together * -(-_FEWEST // self._together), _MOST)
        gpus = 1.0 if work.device.startswith("cuda") else 0.0
        return run(work, self._units(size), Path(output), gpus=gpus, description=description, **where)


def _freq(
    model: str, predictor: TSDiffPredictor, given: str | None, first: Mapping[str, Part], names: Names | None
) -> str:
    """The frequency: of the model, as it is given, or of the first series."""
    if not predictor.config.awaits_freq:
        if given is not None and normalise_freq(given) != predictor.freq:
            raise ConfigError(
                f"freq={given!r}: {model} forecasts {predictor.freq!r}; leave it out, or take another model"
            )
        return predictor.freq
    if given is not None:
        return normalise_freq(given)
    if not first:
        raise DataError("the data holds no series, or none that can be read")
    try:
        return freq_of(next(iter(first.values())), names)
    except DataError as error:
        raise DataError(f"the frequency is taken from the first series: {error}") from error
