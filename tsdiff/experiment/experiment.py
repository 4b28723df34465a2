"""One training and evaluation as a typed YAML file: data, model, training, sampling, tuning, hardware, seeds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import MinLen

from shared.checks import DISTINCT, Checked, Count, Natural
from shared.errors import ConfigError, DataError
from shared.experiment import Hardware, HardwareSettings, read_settings
from shared.files.settings import merged, plain, write_yaml
from shared.flow_maps import FlowMapSetting
from shared.objectives import DiffusionLoss
from shared.training.config import TrainingConfig
from tsdiff.data import EMBEDDED, SeriesSet, embedded_series, load_dataset, split
from tsdiff.data.benchmarks import PAPER_SETS, load_paper_set
from tsdiff.data.windows import WindowSplit
from tsdiff.estimator import DEFAULT_LOSS, DEFAULT_TRAINING, TSDiffEstimator
from tsdiff.evaluation.tuning import TuningGrid
from tsdiff.experiment.presets import PRESETS, ModelSettings, preset_for
from tsdiff.sampling.settings import Sampling

CONFIGS = Path(__file__).parents[1] / "configs"
"""Settings that come with the package, by name: our own for the paper's sets, and in published/ the paper's."""


@dataclass(frozen=True)
class DataSettings(Checked):
    """The series, and what is held out.

    Args:
        name: a set of the paper (`tsdiff.data.benchmarks`), an embedded one, or whatever `load_dataset` takes: a table,
            a folder, a set of GluonTS.
        folder: where named sets lie, each in a folder of its name; None downloads them.
        prediction_length: steps to forecast; None takes that of a set that tells it.
        test_windows: rolling windows at the end of each series; those of the paper's sets are given.
        validation_windows: windows before those, on which sampling is tuned; they are not trained on.
        freq, target, item_id, timestamp, dynamic, static: of a table, see `load_dataset`.
    """

    name: str = "pjm_hourly"
    folder: str | None = None
    prediction_length: Count | None = None
    test_windows: Count | None = None
    validation_windows: Natural = 0
    freq: str | None = None
    target: str = "target"
    item_id: str | None = None
    timestamp: str | None = None
    dynamic: tuple[str, ...] = ()
    static: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment(Checked):
    """Everything that a run depends on.

    Args:
        preset: a set of `tsdiff.experiment.presets` or of the paper, whose settings are then the defaults of model,
            loss, training and sampling.
        loss: the objective.
        flow_map, start_from: of a flow map, see `TSDiffEstimator`.
        tuning: what is tried on the validation windows, if there are any.
        seeds: each trains a model of its own and draws its own samples.
        samples: of each forecast.
    """

    preset: str | None = None
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    loss: DiffusionLoss = DEFAULT_LOSS
    flow_map: FlowMapSetting | None = None
    start_from: str | None = None
    training: TrainingConfig = DEFAULT_TRAINING
    sampling: Sampling = field(default_factory=Sampling)
    tuning: TuningGrid = field(default_factory=TuningGrid)
    hardware: HardwareSettings = field(default_factory=lambda: HardwareSettings(threads=1))
    seeds: Annotated[tuple[int, ...], MinLen(1), DISTINCT] = (0,)
    samples: Count = 100

    def estimator(self, data: ExperimentData, seed: int) -> TSDiffEstimator:
        """The estimator of one seed."""
        layout, freq = data.series.layout, data.series.freq
        return TSDiffEstimator(
            freq,
            data.prediction_length,
            **self.model.settings(freq),
            channels=max(layout.channels, 1),
            dynamic_features=layout.dynamic,
            static_features=layout.reals,
            categories=data.series.cardinalities,
            loss=self.loss,
            flow_map=self.flow_map,
            start_from=self.start_from,
            training=replace(self.training, seed=seed),
            sampling=replace(self.sampling, seed=seed),
            device=self.hardware.device,
        )

    def fit_options(self) -> dict[str, Any]:
        """What `TSDiffEstimator.train` hands on to Lightning."""
        devices = {} if self.hardware.devices == 1 else {"devices": self.hardware.devices}  # one is `device` itself
        return {"strategy": self.hardware.strategy, "num_nodes": self.hardware.nodes, **devices}


@dataclass(frozen=True)
class ExperimentData:
    """Series and split of an experiment.

    Attributes:
        series: what may be trained on, validation windows included; never a value of a test window.
        split: training part, test pairs, and validation pairs if asked for.
        prediction_length: steps to forecast.
    """

    series: SeriesSet
    split: WindowSplit
    prediction_length: int


def load_experiment_data(
    settings: DataSettings, vocabulary: Mapping[str, Sequence[str]] | None = None
) -> ExperimentData:
    """Read and split the data of an experiment.

    Args:
        settings: which, and what is held out.
        vocabulary: what the codes of a table's static categories stand for, see `load_dataset`.

    Raises:
        ConfigError: prediction_length is neither given nor known, or does not fit a known set.
        DataError: see `load_dataset` and `split`; or no value of the test windows, or of those for validation, is
            observed.
    """
    if settings.name in PAPER_SETS:
        known = PAPER_SETS[settings.name]
        wanted = (settings.prediction_length, settings.test_windows)
        if wanted not in ((None, None), (known.prediction_length, known.windows), (known.prediction_length, None)):
            raise ConfigError(
                f"{settings.name} forecasts {known.prediction_length} steps in {known.windows} windows; leave out"
                " prediction_length and test_windows"
            )
        paper = load_paper_set(settings.name, settings.folder)
        return _with_validation(paper.train, paper.test, known.prediction_length, settings.validation_windows)
    horizon, windows = settings.prediction_length, settings.test_windows
    if settings.name in EMBEDDED:
        info = EMBEDDED[settings.name]
        series = embedded_series(settings.name)
        horizon, windows = horizon or info.prediction_length, windows or info.windows
    else:
        if horizon is None:
            raise ConfigError(f"data.prediction_length is needed for {settings.name}: how many steps to forecast")
        series = load_dataset(
            settings.name,
            freq=settings.freq,
            target=settings.target,
            item_id=settings.item_id,
            timestamp=settings.timestamp,
            dynamic=settings.dynamic,
            static=settings.static,
            vocabulary=vocabulary,
            folder=settings.folder,
        )
    parts = split(series, horizon, windows or 1)
    before = replace(series, entries=list(parts.train), skipped=series.skipped | parts.skipped)
    return _with_validation(before, parts.test, horizon, settings.validation_windows)


def _with_validation(series: SeriesSet, test: Any, horizon: int, windows: int) -> ExperimentData:
    _refuse_unobserved(test, "test")
    if not windows:
        return ExperimentData(series, WindowSplit(series, test, {}, before_test=series), horizon)
    parts = split(series, horizon, windows)
    _refuse_unobserved(parts.test, "validation")
    made = WindowSplit(parts.train, test, parts.skipped, parts.test, series)
    return ExperimentData(series, made, horizon)


def _refuse_unobserved(windows: Any, what: str) -> None:
    """Raise DataError, before a training, if no window holds an observed value to be scored on."""
    if all(np.isnan(label["target"]).all() for label in windows.label):
        raise DataError(
            f"the {what} windows, cut off the end of each series, hold no observed value; cut off what is missing "
            f"there, or hold out more by data.{what}_windows"
        )


def read_experiment(
    path: str | os.PathLike[str] | None, changes: Sequence[str] = (), hardware: Hardware | None = None
) -> Experiment:
    """An experiment from a YAML file; what the file leaves out keeps its default.

    Args:
        path: the file, or the name of one of `CONFIGS`; None takes the embedded data with their preset.
        changes: "section.name=value" each, the value as YAML: what to change after reading.
        hardware: a preset of `HARDWARE`, taken after the file and before the changes.

    Raises:
        ConfigError: the file cannot be read; a name that there is not, or a value that does not fit.
    """
    return read_settings(
        Experiment,
        path,
        changes,
        hardware,
        bundled=CONFIGS,
        defaults=lambda given: merged(plain(Experiment()), _preset(given.get("preset"))),
        otherwise={"preset": "pjm_hourly", "data": {"validation_windows": 1}},
    )


def write_experiment(experiment: Experiment) -> str:
    """The YAML of an experiment; `read_experiment` gives the same back."""
    return write_yaml(experiment)


def _preset(name: object) -> dict[str, Any]:
    """The settings of a preset, by section."""
    if name is None:
        return {}
    if name in PAPER_SETS:
        preset = preset_for(str(name), PAPER_SETS[str(name)].freq)
    elif name in PRESETS:
        preset = PRESETS[str(name)]
    else:
        raise ConfigError(f"preset: {name!r} is not one of {', '.join({**PRESETS, **PAPER_SETS})}")
    made = Experiment(model=preset.model, loss=preset.loss, training=preset.training, sampling=preset.sampling())
    values = plain(made)
    return {section: values[section] for section in ("model", "loss", "training", "sampling")}
