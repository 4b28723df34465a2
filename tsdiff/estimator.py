"""Training TSDiff as a GluonTS estimator."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.estimator import Estimator

from shared.checks import Count, Finite, Positive, checked
from shared.devices import compute_device, hardware
from shared.errors import ConfigError
from shared.flow_maps import FlowMapSetting, MapLoss
from shared.flow_maps.objectives import FlowMapObjective
from shared.flow_maps.start import frozen_copy
from shared.objectives import DiffusionLoss, TimeSampler
from shared.predictions import NetworkOutput
from shared.random import derive_seed
from shared.sde import SDE
from shared.training.config import TrainingConfig
from shared.training.timing import Pace
from tsdiff.data import HeldBack, held_back, normalise_freq
from tsdiff.data.entries import Entry
from tsdiff.data.known import Names, listed, series_to_learn
from tsdiff.data.named import by_names
from tsdiff.data.store import SPOOL_ABOVE
from tsdiff.data.unused import told_unused
from tsdiff.evaluation.tuning import TuningGrid, tune
from tsdiff.faces.keywords import SCALINGS, as_tuple, check_training, translated
from tsdiff.faces.serde import register
from tsdiff.fitting.chosen import choose_settings, left_open
from tsdiff.fitting.options import check_options, unused
from tsdiff.fitting.starting import model_of, name_inputs, new_model
from tsdiff.model.backbones import S4Config, S4DConfig, SpaceTimeConfig
from tsdiff.model.config import TSDiffConfig, default_patch, paper_sde, patch_of
from tsdiff.model.model import TSDiff
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.drawing import check_drawing
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.config import Calendar, Scaling, fitting_context
from tsdiff.windows.missing import MissingContext
from tsdiff.windows.source import TrainingSeries, WindowSource, training_series
from tsdiff.windows.transforms import TransformSetting

register()

DEFAULT_TRAINING = TrainingConfig(
    max_steps=7000, learning_rate=5e-3, weight_decay=1e-2, gradient_clip=1.0, ema_decay=0.999
)
HELD_OUT = 32
"""About how many windows are held back."""
DEFAULT_LOSS = DiffusionLoss(times=TimeSampler("log_normal", mean=-0.5, std=1.2))


class TSDiffEstimator(Estimator):
    """Trains an unconditional diffusion model on windows of a dataset, and gives a forecaster.

    Args:
        freq: frequency of the series, in any pandas spelling.
        prediction_length: steps to forecast.
        context_length: steps before them that the model sees; None chooses by frequency and by the lengths of the
            series. It is lengthened to whole patches.
        scaling: see `TSDiffConfig`; None chooses by the series.
        calendar, output, channels, lags, dynamic_features, static_features, categories: see `TSDiffConfig`.
        scale_feature, conditional, transform, regression: see `TSDiffConfig`.
        missing: values of the context that a conditional model is trained to do without.
        backbone: sizes of the network; None takes the default with the frequency's season, or a part of it, as patch,
            and dropout where values are few.
        sde: the process; None takes TSDiff's 100-step table.
        loss: the objective; None takes regression of the network's output with log(σ/α) drawn from N(−0.5, 1.2²).
        flow_map: what a flow map's jumps are trained by besides, for a backbone with span=True: "lagrangian",
            "shortcut", "mean_flow", "consistency", or settings of one (`shared.flow_maps`); None trains no map.
        start_from: folder or name of a trained model, like this one or what this map is a map of, to start from: its
            weights and statistics are taken over.
        training: how to train; None takes steps by the amount of data, and keeps the weights that forecast best the
            last windows of some series, which are held back from the training.
        batch_size: windows in a batch.
        scale_power, horizon_weight: see `WindowSource`.
        sampling: how the forecaster draws.
        device: "cpu", "cuda" or "auto", which takes a GPU where there is one.
        from_data: which of "scaling", "context_length", "backbone" and "max_steps" are chosen from the series that
            `train` is given (`tsdiff.fitting.chosen`); what is given besides is then no more than a start. None
            chooses those that are not given; () takes defaults that depend on the frequency alone.
        gluonts: GluonTS's names of settings that mean the same: lr, weight_decay, num_batches_per_epoch, trainer_kwargs
            (max_epochs, max_steps, gradient_clip_val, precision, accelerator), lags_seq, cardinality,
            num_feat_dynamic_real, num_feat_static_real, num_feat_static_cat, nonnegative_pred_samples. They replace
            what `training` and `sampling` say.

    Two estimators are equal if their settings are; `gluonts.core.serde` writes and reads them.

    Raises:
        ConfigError, DataError: a setting that cannot be used, an unknown frequency, a name that there is not.
    """

    def __init__(
        self,
        freq: str,
        prediction_length: int,
        context_length: int | None = None,
        *,
        scaling: Scaling | None = None,
        calendar: Calendar = "waves",
        output: NetworkOutput = "velocity",
        channels: int = 1,
        lags: Sequence[int] = (),
        dynamic_features: int = 0,
        static_features: int = 0,
        categories: Sequence[int] = (),
        scale_feature: bool = False,
        conditional: bool = False,
        transform: TransformSetting | None = None,
        regression: float | None = None,
        missing: MissingContext | None = None,
        backbone: S4DConfig | S4Config | SpaceTimeConfig | None = None,
        sde: SDE | None = None,
        loss: DiffusionLoss | None = None,
        flow_map: FlowMapObjective | str | None = None,
        start_from: str | os.PathLike[str] | None = None,
        training: TrainingConfig | None = None,
        batch_size: int = 32,
        scale_power: float = 0.0,
        horizon_weight: float = 1.0,
        sampling: Sampling | None = None,
        device: str = "cpu",
        from_data: str | Sequence[str] | None = None,
        **gluonts: Any,
    ):
        super().__init__()
        open_steps = training is None
        if gluonts:
            ours: dict[str, Any] = {"dynamic_features": dynamic_features, "static_features": static_features}
            ours |= {"categories": categories, "lags": lags, "device": device}
            theirs = translated(gluonts, self._own_names(), ours)
            open_steps = open_steps and "max_steps" not in theirs.training
            training = replace(training or DEFAULT_TRAINING, **theirs.training)
            sampling = replace(sampling or Sampling(), **theirs.sampling)
            ours |= theirs.settings
            dynamic_features, static_features = ours["dynamic_features"], ours["static_features"]
            categories, lags, device = ours["categories"], ours["lags"], ours["device"]
        prediction_length, batch_size = checked(Count, prediction_length=prediction_length, batch_size=batch_size)
        context_length = checked(Count | None, context_length=context_length)
        scale_power = checked(Finite, scale_power=scale_power)
        horizon_weight = checked(Positive, horizon_weight=horizon_weight)
        freq = normalise_freq(freq)
        left = {"scaling": scaling is None, "context_length": context_length is None, "backbone": backbone is None}
        self.from_data = left_open(from_data, {**left, "max_steps": open_steps}, start_from is not None)
        if scaling is None:
            scaling = "mean" if transform is None else "standard"
        backbone = backbone or S4DConfig(patch=default_patch(freq))
        self.config = TSDiffConfig(
            freq=freq,
            prediction_length=prediction_length,
            context_length=fitting_context(freq, prediction_length, patch_of(backbone), context_length),
            scaling=SCALINGS.get(scaling, scaling),  # type: ignore[arg-type]
            calendar=calendar,
            backbone=backbone,
            sde=sde or paper_sde(),
            output=output,
            channels=channels,
            lags=as_tuple(lags),
            dynamic_features=dynamic_features,
            static_features=static_features,
            categories=as_tuple(categories),
            scale_feature=scale_feature,
            conditional=conditional,
            transform=transform,
            regression=regression,
        )
        if missing is not None and not conditional:
            raise ConfigError("missing: only a conditional model (conditional=True) is trained to do without values")
        self.missing = missing
        self.loss = loss or DEFAULT_LOSS
        self.flow_map: FlowMapObjective | None = checked(FlowMapSetting | None, flow_map=flow_map)
        self.start_from = None if start_from is None else os.fspath(start_from)
        self.training = training or DEFAULT_TRAINING
        self.batch_size, self.scale_power, self.horizon_weight = batch_size, scale_power, horizon_weight
        self.sampling = sampling or Sampling()
        self.device = str(compute_device(device))

    @property
    def prediction_length(self) -> int:
        """Steps to forecast, which GluonTS asks an estimator for."""
        return self.config.prediction_length

    @property
    def __init_passed_kwargs__(self) -> dict[str, Any]:
        """The settings, by which GluonTS writes an estimator and compares two."""
        places = (vars(self), vars(self.config))
        return {name: next(place[name] for place in places if name in place) for name in self._own_names()}

    @classmethod
    def _own_names(cls) -> tuple[str, ...]:
        """The settings by our names, each of which the estimator or its `config` has."""
        return tuple(inspect.signature(cls.__init__).parameters)[1:-1]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__init_passed_kwargs__ == self.__init_passed_kwargs__

    def __repr__(self) -> str:
        own, config = inspect.signature(type(self).__init__).parameters, self.config
        given = self.__init_passed_kwargs__
        simple = [name for name in given if own[name].default not in (None, inspect.Parameter.empty)]
        changed = [f", {name}={given[name]!r}" for name in simple if given[name] != own[name].default]
        return (
            f"{type(self).__name__}({config.freq!r}, {config.context_length} + {config.prediction_length} steps, "
            f"{type(config.backbone).__name__}, {self.training.max_steps} steps of training{''.join(changed)})"
        )

    def __hash__(self) -> int:
        return hash((self.config.freq, self.config.prediction_length, self.training))

    def train(
        self,
        training_data: Iterable[Entry],
        validation_data: Iterable[Entry] | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        resume: bool = True,
        progress: bool = True,
        tuning: TuningGrid | None = None,
        spool_above: int | None = SPOOL_ABOVE,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        hold_out: bool | None = None,
        **fit_options: Any,
    ) -> TSDiffPredictor:
        """Train on a GluonTS dataset.

        Args:
            training_data: entries; NaN is missing. They are read once, one by one.
            validation_data: entries whose last prediction_length steps are not part of `training_data`; the guidance
                is tuned on these steps after the training (`tsdiff.evaluation.tuning.tune`). None keeps the sampling as
                it is.
            folder: where the training state is kept, so that an interrupted training goes on; None keeps none.
            resume: go on from the state in `folder`.
            progress: show a progress bar.
            spool_above: bytes of values from which the series go to a file, in `folder` if there is one, instead of
                memory; None never, 0 always (`tsdiff.data.SeriesStore`).
            tuning: what to try on the validation data; None takes `TuningGrid()`.
            shuffle_buffer_length, cache_data: GluonTS's; they change nothing, for windows are drawn at random from all
                series, which are read once.
            hold_out: whether last windows of some series are held back and choose the weights, and how wide forecasts
                are drawn (`Sampling.width`); None: where the steps are chosen from the data.
            fit_options: `shared.training.module.fit`'s accelerator, devices, strategy, num_nodes, callbacks, logger.

        Returns:
            A predictor with the averaged weights.

        Raises:
            ConfigError: an unknown keyword, or a way to draw forecasts that the model does not know.
            DataError: no observed value, or what is no GluonTS dataset.
            TrainingError: the loss is not finite.
            CheckpointError: the state in `folder` is of other series or settings; pass resume=False.
        """
        check_options(fit_options)
        self.check_drawing(None if validation_data is None else tuning or TuningGrid())
        start = [] if self.start_from is None else [model_of(self.start_from, self.config)]
        entries = told_unused(by_names(training_data, start, learning=True), unused(self.config))
        store = training_series(entries, self.config, spool_above=spool_above, folder=folder)
        chosen = self._settled(store)
        seed, rule = chosen.training.seed, "max_steps" in self.from_data if hold_out is None else hold_out
        rng = np.random.default_rng(derive_seed(seed, "held out"))
        held = held_back(store, chosen.config.prediction_length, HELD_OUT, rng) if rule else None
        source = chosen._source(store, held)
        model = chosen._new_model(source)
        from shared.training.module import DiffusionModule, fit  # loads Lightning, for seconds

        module = DiffusionModule(model.denoiser, chosen._objective(model), chosen.training)
        looks, same = [], []
        if held is not None:
            from tsdiff.fitting.held_out import HeldOut

            looks = [HeldOut(model, held.windows, chosen.sampling, chosen.training.max_steps)]
        if folder is not None:
            from tsdiff.fitting.same import SameTraining

            same = [SameTraining(store, {**vars(chosen), "hold_out": held is not None}, chosen.training)]
        fit(
            module,
            source,
            folder,
            resume=resume,
            progress=progress,
            description="training TSDiff",
            **{**hardware(self.device), **fit_options, "callbacks": [*fit_options.get("callbacks", ()), *looks, *same]},
        )
        store.close()
        name_inputs(model, training_data)
        best = next((look.weights for look in looks), None)
        model.denoiser.load_state_dict(best or module.ema_denoiser.state_dict())
        predictor = TSDiffPredictor(model, self.sampling, self.device)
        if held is not None:
            from tsdiff.fitting.widths import with_fitted_width

            predictor = with_fitted_width(predictor, held.windows)
        if validation_data is None:
            return predictor
        return tune(predictor, validation_data, grid=tuning, seed=seed, progress=progress).predictor

    def check_drawing(self, tuning: TuningGrid | None = None) -> None:
        """Whether the model can be drawn from as `sampling` says, and as a tuning is to try: before a training, which
        may take hours.

        Raises:
            ConfigError: it cannot, as by method="map" from what is no flow map.
        """
        tried = [] if tuning is None else tuning.settings(self.sampling, not self.config.conditional)
        for sampling in (self.sampling, *tried):
            check_drawing(sampling, self.config, self.flow_map is not None)

    def settled(self, data: Iterable[Entry]) -> TSDiffEstimator:
        """The estimator with all settings that `train` on these series takes; none is left open."""
        return self._settled(training_series(data, self.config))

    def _settled(self, store: TrainingSeries) -> TSDiffEstimator:
        made = copy.copy(self)
        made.from_data = ()
        if not self.from_data:
            return made
        rng = np.random.default_rng(derive_seed(self.training.seed, "settings"))
        chosen = choose_settings(store, self.config.prediction_length, rng)
        chosen.warn()
        made.config = chosen.of(self.config, self.from_data)
        if "max_steps" in self.from_data:
            made.training = chosen.training(self.training)
        return made

    def _source(self, store: TrainingSeries, held: HeldBack | None = None) -> WindowSource:
        return WindowSource(
            store, self.config, self.batch_size, self.missing, self.scale_power, self.horizon_weight, held=held
        )

    def pace(self, data: Iterable[Entry]) -> Pace:
        """How fast `train` is on GluonTS entries, and how many steps it takes."""
        store = training_series(data, self.config)
        chosen = self._settled(store)
        source = chosen._source(store)
        model = chosen._new_model(source)
        from shared.training.module import DiffusionModule, fit  # loads Lightning, for seconds

        objective = chosen._objective(model)

        def run(steps: int) -> None:
            training = replace(chosen.training, max_steps=steps)
            fit(DiffusionModule(copy.deepcopy(model.denoiser), objective, training), source, progress=False)

        return Pace.of(run, chosen.training.max_steps)

    def fit(
        self,
        df: pd.DataFrame,
        *,
        covariates: Sequence[str] = (),
        id_column: str | None = None,
        timestamp_column: str | None = None,
        target: str | None = None,
        **options: Any,
    ) -> TSDiffPredictor:
        """`train` on the series of a frame.

        Args:
            df: long or wide, see `TSDiffPredictor.predict_df`; warnings tell what was repaired or left out.
            covariates: columns, or one column, that are known in the future, as many as dynamic_features.
            id_column, timestamp_column, target: None finds them by their usual names.
            options: of `train`.

        Raises:
            ConfigError: other covariates than the model takes.
            DataError: see `series_from_frame`.
        """
        columns = listed(covariates)
        if len(columns) != self.config.dynamic_features:
            raise ConfigError(
                f"{len(columns)} covariates for dynamic_features={self.config.dynamic_features}: name the columns "
                "with covariates=…, and make the estimator with as many dynamic_features"
            )
        series = series_to_learn(df, Names(id_column, timestamp_column, target), self.config.freq, columns)
        return self.train(series, **options)

    def _new_model(self, source: WindowSource) -> TSDiff:
        return new_model(self.config, source, self.training.seed, self.start_from, self.flow_map)

    def _objective(self, model: TSDiff) -> DiffusionLoss | MapLoss:
        if self.flow_map is None:
            return self.loss
        distilled = self.flow_map.needs_teacher and self.start_from is not None
        return MapLoss(self.loss, self.flow_map, frozen_copy(model.denoiser) if distilled else None)

    def with_training(self, **changes: Any) -> TSDiffEstimator:
        """Change fields of the `TrainingConfig`, in place; returns the estimator. max_steps is then as given."""
        check_training(changes)
        self.training = replace(self.training, **changes)
        self.from_data = tuple(name for name in self.from_data if name not in changes)
        return self
