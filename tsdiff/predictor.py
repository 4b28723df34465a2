"""A trained TSDiff as a GluonTS predictor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gluonts.model.forecast import Forecast, SampleForecast

from shared.checks import Count, checked
from shared.console.notes import tell
from shared.errors import ConfigError
from shared.files.checkpoint import WEIGHTS, resolve, unchanged
from shared.random import derive_seed
from shared.training.memory import keep_large_blocks
from tsdiff.data import normalise_freq
from tsdiff.data.entries import Entry, Series, named_entries
from tsdiff.data.named import by_names
from tsdiff.faces.calls import ModelCalls
from tsdiff.faces.doors import told_left_out
from tsdiff.faces.keywords import check_sampling
from tsdiff.faces.saved import (
    read_horizon,
    read_names,
    read_sampling,
    refuse_several,
    replacing,
    write_kind,
    write_settings,
)
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import BUNDLED, FORMAT, TSDiff
from tsdiff.sampling.bounds import told_bounds
from tsdiff.sampling.continued import continued
from tsdiff.sampling.drawing import (
    Rows,
    as_forecast,
    draw_windows,
    finished,
    for_each_draw,
    quantile_levels,
    refuse_unfinite,
)
from tsdiff.sampling.settings import OF_GUIDANCE, Sampling
from tsdiff.tasks.imputation.filling import Imputation, impute_series
from tsdiff.tasks.likelihood import LikelihoodSettings, WindowLikelihoods, likelihood_settings, window_log_likelihoods
from tsdiff.tasks.refinement import RefineConfig, Refiner
from tsdiff.tasks.suited import PLAIN, suited, suited_gaps, telling
from tsdiff.windows.changed import Changed
from tsdiff.windows.conditioning import Windows, forecast_place
from tsdiff.windows.series import observed_series, recent_part, refuse_empty, unadapted
from tsdiff.windows.short import ShortSeries
from tsdiff.windows.source import WindowSource


class TSDiffPredictor(ModelCalls):
    """Forecasts by observation self-guidance of an unconditional model.

    On a CPU a forecast tells the process to keep its freed memory (`shared.training.memory.keep_large_blocks`),
    which is faster.

    Args:
        model: trained.
        sampling: how to draw.
        device: where to compute; None means where the model is.
        prediction_length: steps to forecast. Where they are more than the model draws at once, the draws of one piece
            are the history of the next; where they are fewer, they are the first that it draws. A model that was
            adapted from one of all frequencies draws as many as are wanted, up to its reach. None takes the model's.
    """

    @property
    def config(self) -> TSDiffConfig:
        """What the model is."""
        return self.model.config

    @property
    def freq(self) -> str:
        """Frequency of the series."""
        return self.model.config.freq

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """The columns of a table that were its covariates in training, in their order; none where that is not known."""
        return self.model.covariate_names

    @property
    def static_names(self) -> tuple[str, ...]:
        """The columns that were its static numbers in training, likewise."""
        return self.model.static_names

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """The values that the codes of its static categories stood for in training, by column, where that is known."""
        return self.model.vocabulary

    def with_sampling(self, **changes: Any) -> TSDiffPredictor:
        """The same model, sampled differently; takes the fields of `Sampling`.

        A note tells of a guidance, and what belongs to it, for a model that is told the past and takes none.

        Raises:
            ConfigError: a name that is none of theirs, or a value out of range.
        """
        check_sampling(changes)
        sampling = replace(self.sampling, **changes)
        idle = [name for name in OF_GUIDANCE if getattr(sampling, name) != getattr(self.sampling, name)]
        if self.config.conditional and idle:
            tell(f"the model is told the past and takes no guidance; left out: {', '.join(idle)}")
        return TSDiffPredictor(self.model, sampling, prediction_length=self.prediction_length)

    def adapted(self, freq: str, prediction_length: int) -> TSDiffPredictor:
        """The forecaster of one frequency and horizon, from a model of all frequencies such as the bundled "default".

        Args:
            freq: of the series, in any pandas spelling.
            prediction_length: steps to forecast; those beyond the model's reach are drawn piece by piece.

        Raises:
            ConfigError: a model of one other frequency.
            DataError: an unknown frequency.
        """
        prediction_length, freq = checked(Count, prediction_length=prediction_length), normalise_freq(freq)
        if freq == self.freq:
            return self.with_horizon(prediction_length)
        model = self.model.adapted(freq, min(prediction_length, self.model.config.prediction_length))
        return TSDiffPredictor(model, self.sampling, prediction_length=prediction_length)

    def measure_covariance(
        self, dataset: Iterable[Entry], windows: int = 2048, rng: np.random.Generator | None = None
    ) -> TSDiffPredictor:
        """Measure the covariance of the windows of training series, which guidance with covariance="window" needs.

        Trained models come with it; this is for imported ones. The model is changed in place.

        Args:
            dataset: the series.
            windows: that are drawn.
            rng: draws them; None takes one of the sampling's seed.

        Raises:
            DataError: see `tsdiff.windows.source.WindowSource`.
        """
        source = WindowSource(by_names(dataset, [self]), self.model.config)
        source.statistics = self.model.statistics
        rng = rng or np.random.default_rng(derive_seed(self.sampling.seed, "covariance"))
        self.model.statistics = replace(source.statistics, covariance=source.measure_covariance(rng, windows))
        return self

    def predict(self, dataset: Iterable[Entry], num_samples: int = 100, **kwargs: Any) -> Iterator[SampleForecast]:
        """One forecast for each entry, in order, of the prediction_length steps after its end.

        NaN in the history is missing. A history shorter than the context, or than a lag, is padded with missing
        values, of which a warning tells at the end. Entries are read as they are needed, and memory does not grow with
        their number.

        Args:
            dataset: GluonTS entries ("start" pd.Period, "target" (length,), or (channels, length) for a model of
                several channels, optionally "item_id"; where the model takes them "feat_dynamic_real"
                (k, length + prediction_length), "feat_static_real", "feat_static_cat").
            num_samples: samples of each forecast.

        Yields:
            SampleForecast, samples (num_samples, prediction_length), with channels last where there are several.

        Raises:
            ConfigError: num_samples < 1, or an unknown keyword.
            DataError: an entry without any observed value, of another frequency, or not one-dimensional.
        """
        if kwargs:
            raise ConfigError(
                f"predict does not take {', '.join(kwargs)}, only num_samples; sampling settings go to `with_sampling`"
            )
        num_samples = checked(Count, num_samples=num_samples)
        entries = told_bounds(told_left_out(dataset, [self]), self.sampling)
        regress = self.sampling.covariates and not self.model.config.dynamic_features
        if (regress or self.sampling.counts or self.sampling.calendar_days) and not self.model.config.awaits_freq:
            return self._suited(entries, num_samples, regress)
        return self._forecasts(entries, num_samples)

    def _suited(self, dataset: Iterable[Entry], num_samples: int, regress: bool) -> Iterator[SampleForecast]:
        plain, horizon = self.with_sampling(**PLAIN), self.prediction_length
        told = self.model.config.dynamic_features > 0
        for made in suited(plain._forecasts, dataset, num_samples, self.sampling, self.freq, horizon, regress, told):
            self.nfe = plain.nfe
            yield made

    def _forecasts(self, dataset: Iterable[Entry], num_samples: int) -> Iterator[SampleForecast]:
        config, ahead = self.model.config, self.prediction_length
        if self.model.device.type == "cpu":
            keep_large_blocks()
        in_pieces = ahead > config.prediction_length
        if in_pieces and config.dynamic_features:
            raise ConfigError(f"prediction_length={ahead} is beyond the model's {config.prediction_length} steps")
        short = ShortSeries(config)
        for group in self._groups(dataset, num_samples, horizon=ahead):
            if not in_pieces:
                group = [recent_part(series, config) for series in group]
                for series in group:
                    short.see(series.name, len(series))
                group = [series.with_covariates_held(config.prediction_length - ahead) for series in group]
            changed: list[Changed] = []
            drawn = (self._beyond if in_pieces else self._draw)(group, num_samples, changed=changed)
            for place, (series, samples) in enumerate(zip(group, drawn, strict=True)):
                info = telling(series.info, changed[place]) if changed else series.info
                yield as_forecast(replace(series, info=info), samples[:, :ahead])
        short.tell()

    def _beyond(self, group: list[Series], num_samples: int, changed: list[Changed]) -> Iterable[np.ndarray]:
        """Samples beyond the model's reach: of a model with an anchor from its own draws, piece after piece; of others
        the steps to come are a gap, which is filled window after window."""
        ahead, length = self.prediction_length, self.model.config.length
        if self.model.config.scaling == "anchor":
            return continued(partial(self._draw, changed=changed), group, num_samples, ahead)
        told = [series.since(max(0, len(series) - length)) for series in group]
        for series in told:
            refuse_empty(series)
        made = impute_series(self.model, self.sampling, [series.with_gap(ahead) for series in told], num_samples)
        return (one.paths[:, -ahead:] for one in made)

    def _groups(self, dataset: Iterable[Entry], num_samples: int, horizon: int = 0) -> Iterator[list[Series]]:
        """Series, as many at once as fill batch_rows."""
        read = (observed_series(entry, self.model.config, name, horizon) for name, entry in named_entries(dataset))
        while group := list(islice(read, max(1, self.sampling.batch_rows // num_samples))):
            yield group

    def _draw(
        self,
        group: Sequence[Series],
        num_samples: int,
        keys: Sequence[tuple[object, ...]] | None = None,
        *,
        changed: list[Changed],
    ) -> np.ndarray:
        """Samples (series, num_samples, prediction_length, channels) in the series' units; keys tell apart what goes on
        from one series in several ways. What was done to the histories, if the model has an anchor, is added to
        `changed`."""
        model, levels = self.model, quantile_levels(num_samples)
        names = [f"{series.name} {series.end}" for series in group]
        keys = [(name, *key) for name, key in zip(names, keys or [()] * len(names), strict=True)]

        def work(rows: Rows) -> np.ndarray:
            generators, ahead = rows.generators(self.sampling.seed, keys), model.config.context_length
            drawn, self.nfe = draw_windows(model, self.sampling, rows.windows, levels[rows.draws], generators, ahead)
            return drawn

        def finish(windows: Windows, drawn: np.ndarray) -> np.ndarray:
            changed.extend(windows.changed)
            return finished(windows, drawn, self.sampling, ahead=True)

        places = [forecast_place(series, model.config) for series in group]
        drawn = for_each_draw(model, places, num_samples, self.sampling.batch_rows, work, finish=finish, ahead=True)
        refuse_unfinite(drawn, [f"forecast of series {name}" for name in names])
        return drawn

    def impute(self, dataset: Iterable[Entry], num_samples: int = 100) -> Iterator[Imputation]:
        """Fill the missing values (NaN) of each series, wherever they lie, with draws given what is observed around.

        Where `counts` of the sampling says so, draws of series that are not below 0 are such as their values are: whole
        where those are, with the share of zeros of what lies around (`tsdiff.sampling.zeros.within_gaps`).

        Args:
            dataset: GluonTS entries, see `predict`. Dynamic features are needed for the series' own steps only.
            num_samples: draws of each missing value.

        Yields:
            One `tsdiff.tasks.imputation.Imputation` an entry, in order; one without gaps comes back as it is.

        Raises:
            ConfigError: num_samples < 1.
            DataError: an entry without any observed value, of another frequency, or of another shape.
        """
        num_samples = checked(Count, num_samples=num_samples)
        entries = told_bounds(by_names(dataset, [self]), self.sampling)
        if not self.sampling.counts or self.model.config.awaits_freq:
            return self._imputations(entries, num_samples)
        plain = self.with_sampling(**PLAIN)._imputations
        told = self.model.config.dynamic_features > 0
        return suited_gaps(plain, entries, num_samples, self.sampling, self.freq, told)

    def _imputations(self, dataset: Iterable[Entry], num_samples: int) -> Iterator[Imputation]:
        short = ShortSeries(self.model.config, self.model.config.length)
        for group in self._groups(dataset, num_samples):
            for series in group:
                short.see(series.name, len(series))
            yield from impute_series(self.model, self.sampling, group, num_samples)
        short.tell()

    def log_likelihood(
        self, dataset: Iterable[Entry], settings: LikelihoodSettings | None = None, **changes: Any
    ) -> list[WindowLikelihoods]:
        """How likely the model finds the windows of each series, in nats.

        Args:
            dataset: GluonTS entries, see `predict`. Dynamic features are needed for the series' own steps only.
            settings: how windows are cut and scored; None takes the exact density by the probability-flow ODE.
            changes: fields of `LikelihoodSettings` to change, such as method="elbo" or stride=24.

        Returns:
            One `tsdiff.tasks.likelihood.WindowLikelihoods` an entry, in order: the windows' first steps, and their
            log-likelihoods in the series' units and in the network's.

        Raises:
            ConfigError: a setting out of its range, or a conditional model.
            DataError: an entry without any observed value, or whose likelihood is not finite.
        """
        return list(window_log_likelihoods(self.model, dataset, likelihood_settings(settings, changes)))

    def refine(
        self, forecasts: Iterable[Forecast], dataset: Iterable[Entry], config: RefineConfig | None = None
    ) -> Iterator[SampleForecast]:
        """Refine the forecasts of any other forecaster by the model's energy; see
        `tsdiff.tasks.refinement.Refiner.refine`. Where `counts` of the sampling says so, as of the bundled model,
        samples of series that are not below 0 are such as their values are, as those of `predict`.

        Args:
            forecasts: GluonTS forecasts, one for each entry, in order.
            dataset: the entries, up to their forecast's start.
            config: how.

        Yields:
            SampleForecast, see `predict`.

        Raises:
            DataError: forecasts and entries do not fit together, or one cannot be used.
        """
        if self.model.config.awaits_freq:
            raise unadapted("h")
        refiner = Refiner(self.model, config)
        if not self.sampling.counts:
            return refiner.refine(forecasts, dataset)

        def refined(entries: Iterable[Entry], num_samples: int) -> Iterator[SampleForecast]:
            return refiner.refine(forecasts, entries)

        count, steps = refiner.config.num_samples, self.model.config.prediction_length
        own = replace(self.sampling, calendar_days=False)  # which are the base forecast's to know
        return suited(refined, dataset, count, own, self.freq, steps, regress=False, told=True)

    def serialize(self, path: str | os.PathLike[str]) -> None:
        """Write all that forecasts depend on into the folder `path`: model, sampling settings and horizon. They take
        the place of a forecaster that is there when all is written; what is stopped just then is refused on reading."""
        with replacing(Path(path)) as made:
            self.model.save_pretrained(made)
            write_kind(made, self)
            write_settings(made, self.sampling, self.prediction_length, self.model)

    @classmethod
    def deserialize(
        cls, path: str | os.PathLike[str], device: str | torch.device | None = None, **kwargs: Any
    ) -> TSDiffPredictor:
        """The predictor that `serialize` wrote.

        Raises:
            CheckpointError: damaged, of another version, or with settings that do not fit.
        """
        return cls.from_pretrained(Path(path), device=device)

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | os.PathLike[str],
        sampling: Sampling | None = None,
        device: str | torch.device | None = None,
        custom: Sequence[type] = (),
    ) -> TSDiffPredictor:
        """A predictor from a model's folder, bundled name or hub id, as `serialize` left it.

        A bundled name goes before a folder of that name here, which is "./name".

        `TSDiffPredictor.from_pretrained("default").adapted("h", 24)` forecasts without training.

        Args:
            path_or_name: a folder that holds a model alone takes the default sampling, and the model's horizon.
            sampling: instead of the folder's; `with_sampling` changes single settings of those.
            device: where to compute.
            custom: classes of your own that its settings name by `kind`; see docs/extending.md.

        Raises:
            CheckpointError: see `TSDiff.from_pretrained`; settings beside the model that are damaged.
        """
        folder = resolve(path_or_name, BUNDLED, FORMAT)
        refuse_several(folder)
        with unchanged(folder / WEIGHTS):
            model = TSDiff.from_pretrained(folder, custom)
            read_names(folder, model)
            found, steps = sampling or read_sampling(folder, custom), read_horizon(folder)
        return cls(model, found, device, steps)
