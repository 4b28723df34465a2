"""The calls: forecast, fill and score series by the million."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Unpack

from shared.checks import Count, Level, checked
from shared.console.notes import tell
from shared.errors import ConfigError, DataError
from shared.scale import Report, Unit, run
from shared.scale.places import Folder, folder_of
from shared.scale.run import Where
from shared.scale.units import named_for_workers
from tsdiff.data import normalise_freq
from tsdiff.data.entries import Entry, named_entries
from tsdiff.data.known import Names, listed, unused_columns
from tsdiff.data.named import by_names
from tsdiff.data.tables import UNREADABLE
from tsdiff.evaluation.metrics import TABLE_LEVELS
from tsdiff.model.model import BUNDLED
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling
from tsdiff.scale.entries import entry_units
from tsdiff.scale.units import Address, Part, Tables
from tsdiff.scale.work import Forecasting, Imputing, Scoring, SeriesWork, freq_of
from tsdiff.tasks.anomaly.scores import ScoringSettings
from tsdiff.tasks.imputation.filling import TABLE_LEVELS as IMPUTED_LEVELS

Source = Address | Iterable[Entry]
_FEWEST, _MOST = 32, 1024
"""Series of a unit."""


class Common(Where, total=False):
    """What all calls take besides engine, workers, address and progress, of which `shared.scale.run.run` tells.

    Attributes:
        model: folder, bundled name or hub id of a `TSDiffPredictor`, which each worker loads ["default"].
        prediction_length: steps to forecast; of the other calls the horizon that a model of all frequencies is
            `adapted` for. Left out, the model's.
        freq: in any pandas spelling. Left out, the model's, or that of the first series.
        columns: of long frames: id_column, timestamp_column, target; those left out are found by their usual names.
        device: of each worker: "cpu", or "cuda", of which each takes one ["cpu"].
        size: series of a unit [as many as are drawn together, 32 at least].
    """

    model: Address
    prediction_length: int | None
    freq: str | None
    columns: Names
    device: str
    size: int | None


class Drawn(Common, total=False):
    """What calls take that draw.

    Attributes:
        num_samples: draws of each value [100].
        sampling: fields of `Sampling` to change: seed, batch_rows, ….
    """

    num_samples: int
    sampling: Mapping[str, Any]


def forecast(
    data: Source,
    output: Address,
    *,
    future: Address | None = None,
    past_covariates: Sequence[str] = (),
    quantile_levels: Sequence[float] = TABLE_LEVELS,
    **common: Unpack[Drawn],
) -> Report:
    """Forecast many series into a folder of Parquet files.

    What is finished stays: a job that was stopped, by whatever, goes on by the same call. The results are the same bits
    for any number of workers, on Ray or in this process, whatever dies meanwhile. Where the series of a file come in
    the order of their ids, they are those of `TSDiffPredictor.predict_df` of that file on one thread; otherwise those
    differ in the last digits of single precision, by which series are drawn together.

    Args:
        data: a folder of partitioned Parquet of long frames (`tsdiff.scale.units.Tables`), here or wherever fsspec
            reads; or GluonTS entries, which are read as they are needed.
        output: folder for the results, or an address that fsspec writes to, such as s3://bucket/forecasts:
            part-000000.parquet and so on, a file a unit; `pandas.read_parquet(output)` reads all of them. All workers
            have to see it under this name. `_failed.csv` in it lists series that failed.
        future: Parquet of covariates that are known for the prediction_length steps after each series: ids, times, and
            columns that `data` has too (`tsdiff.scale.units.Future`); what they are for, see
            `TSDiffPredictor.predict_df`, of whose future_df they are the rows. Entries bring theirs themselves.
        past_covariates: columns, or one column, of `data` of which the future is not known.
        quantile_levels: the columns of the result.
        common: see `Common` and `Drawn`; engine, workers, address, progress: see `shared.scale.run.run`.

    Returns:
        What became of it, with the series that failed and why.

    Raises:
        ConfigError: a setting that cannot be, other settings than those of the results in `output`, a cluster that
            cannot be reached; `output` lies in the data, or they in it.
        DataError: no data there, a series in two files, or other data than the results in `output` are of.
        CheckpointError: no such model.
        MissingPackageError: without the extra "scale".
    """
    past = tuple(listed(past_covariates))
    job = _Job(data, output, common, ahead=True, past=past, future=future)
    levels = tuple(checked(tuple[Level, ...], quantile_levels=quantile_levels))
    return job.run("forecasting", Forecasting(**job.settings, quantile_levels=levels, past_covariates=past))


def impute(
    data: Source, output: Address, *, quantile_levels: Sequence[float] = IMPUTED_LEVELS, **common: Unpack[Drawn]
) -> Report:
    """Fill the gaps of many series, into a folder of Parquet files of all their values, as
    `TSDiffPredictor.impute_df` gives them; arguments, result and errors as of `forecast`."""
    job = _Job(data, output, common)
    levels = tuple(checked(tuple[Level, ...], quantile_levels=quantile_levels))
    return job.run("filling gaps", Imputing(**job.settings, quantile_levels=levels))


def anomaly(
    data: Source,
    output: Address,
    *,
    scoring: ScoringSettings | None = None,
    quantile: float = 0.995,
    **common: Unpack[Common],
) -> Report:
    """Score every step of many series, into a folder of Parquet files: id, time, value, "score", "threshold" and
    "anomaly" (`tsdiff.tasks.anomaly.scores.anomalies_to_frame`); a series' threshold is the `quantile` of its own
    scores. Nothing is drawn for it. Other arguments, result and errors as of `forecast`."""
    job = _Job(data, output, common, draws=False)
    return job.run("scoring", Scoring(**job.settings, scoring=scoring, quantile=checked(Level, quantile=quantile)))


class _Job:
    """Where the series come from, of which frequency they and the model are, and where and how they are worked."""

    def __init__(
        self,
        data: Source,
        output: Address,
        common: Common,
        ahead: bool = False,
        draws: bool = True,
        past: Sequence[str] = (),
        future: Address | None = None,
    ):
        given: dict[str, Any] = dict(common)
        _check_options(given, draws)
        model, freq = given.pop("model", "default"), given.pop("freq", None)
        if isinstance(model, TSDiffPredictor):
            raise ConfigError("model: each worker loads it; save this one (save_pretrained) and give the folder")
        model = named_for_workers(model, BUNDLED)
        predictor = TSDiffPredictor.from_pretrained(model)
        steps = checked(Count | None, prediction_length=given.pop("prediction_length", None))
        if steps is None and ahead and predictor.config.awaits_freq:
            raise ConfigError("say how many steps to forecast: prediction_length=24, say")
        columns = given.pop("columns", None) or Names()
        if not isinstance(columns, Names):
            raise ConfigError(f'columns={columns!r}: give tsdiff.scale.Names(target="sold"), say')
        self._output, self._rows = folder_of(output), predictor.sampling.batch_rows
        self._size = checked(Count | None, size=given.pop("size", None))
        if isinstance(data, (str, os.PathLike)):
            for read in (data, future):
                _refuse_among(self._output, read)
            tables = Tables(data, columns, past, future)
            if ahead and tables.unused:
                tell(
                    f"{unused_columns(tables.unused)}; what is known of the future goes into future (--future-data), "
                    "too, what is not into past_covariates (--past-covariate)"
                )
            names: Names | None = tables.names
            self._units: Callable[[int], Iterator[Unit]] = tables.units
            first: Callable[[], dict[str, Part]] = partial(_first_of, tables)
        else:
            if future is not None or past:
                raise ConfigError("future and past_covariates are of Parquet; entries have feat_dynamic_real")
            entries = by_names(data, [predictor])
            head = list(islice(entries, 1))
            names, self._units = None, partial(entry_units, chain(head, entries))
            first = partial(dict, ((name, {**entry, "item_id": name}) for name, entry in named_entries(head)))
        self.settings: dict[str, Any] = {
            "model": model,
            "device": given.pop("device", "cpu"),
            "freq": _freq(model, predictor, freq, first, names),
            "prediction_length": steps or predictor.prediction_length,
            "names": names,
            "num_samples": checked(Count, num_samples=given.pop("num_samples", 100)),
            "sampling": dict(given.pop("sampling", None) or {}),
        }
        self._where = given

    def run(self, description: str, work: SeriesWork) -> Report:
        """Do it."""
        gpus = 1.0 if work.device.startswith("cuda") else 0.0
        together = max(1, work.sampling.get("batch_rows", self._rows) // work.num_samples)
        units = self._units(self._size or min(together * -(-_FEWEST // together), _MOST))
        return run(work, units, self._output, gpus=gpus, description=description, **self._where)


def _check_options(given: Mapping[str, Any], draws: bool) -> None:
    """Refuse what a call does not take, and tell where settings of the sampling go, if it draws."""
    known = sorted((Drawn if draws else Common).__annotations__)
    for name, value in given.items():
        if draws and name in Sampling.__dataclass_fields__:
            raise ConfigError(
                f'{name}={value!r}: settings of the sampling go together, sampling={{"{name}": {value!r}}}'
            )
        if name not in known:
            raise ConfigError(f"{name}={value!r}: this call has no such option; there are {', '.join(known)}")


def _refuse_among(output: Folder, read: Address | None) -> None:
    """Refuse to write where is read: results would take the place of data, or be read as such by the next run.

    Raises:
        ConfigError: the folder for the results is that of the data, lies in it, or has it in it.
    """
    if read is None:
        return
    places = [os.path.realpath(one) if isinstance(one, Path) else str(one) for one in (output, folder_of(read))]
    inner, outer = (f"{place.rstrip('/')}/" for place in sorted(places, key=len, reverse=True))
    if inner.startswith(outer):
        raise ConfigError(
            f"{output}, where the results go, and {read}, which is read, lie in one another: results would be taken "
            "for data, or overwrite them; choose another folder for the results"
        )


def _first_of(tables: Tables) -> dict[str, Part]:
    """The first series that can be read, by its name; none where there is none."""
    for unit in tables.units(1):
        if unit.items:
            with suppress(*UNREADABLE):
                return unit.payload.parts()
    return {}


def _freq(
    model: str,
    predictor: TSDiffPredictor,
    given: str | None,
    first: Callable[[], Mapping[str, Part]],
    names: Names | None,
) -> str:
    """The frequency: of the model, as it is given, or of the first series, which is read for that alone."""
    if not predictor.config.awaits_freq:
        if given is not None and normalise_freq(given) != predictor.freq:
            raise ConfigError(
                f"freq={given!r}: {model} forecasts {predictor.freq!r}; leave it out, or take another model"
            )
        return predictor.freq
    if given is not None:
        return normalise_freq(given)
    found = first()
    if not found:
        raise DataError("the data holds no series, or none that can be read")
    try:
        return freq_of(next(iter(found.values())), names)
    except DataError as error:
        raise DataError(
            f"the frequency is taken from the first series, unless freq (--freq) gives it: {error}"
        ) from error
