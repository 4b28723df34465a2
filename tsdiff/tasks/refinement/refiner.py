"""Refinement of base forecasts by an unconditional model's energy (Kollovieh et al. 2023, §4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import torch
from gluonts.model.forecast import Forecast, SampleForecast
from torch import Tensor

from shared.console.notes import tell
from shared.errors import ConfigError
from shared.samplers.mcmc import (
    Evaluation,
    Hamiltonian,
    Kernel,
    Langevin,
    Underdamped,
    critical_friction,
    simulate,
)
from tsdiff.data.entries import Entry, named_entries
from tsdiff.data.named import by_names
from tsdiff.model.model import TSDiff
from tsdiff.sampling.drawing import Rows, as_forecast, for_each_draw, quantile_levels, refuse_unfinite
from tsdiff.tasks.refinement.base import BaseForecast, base_paths, matched
from tsdiff.tasks.refinement.config import RefineConfig
from tsdiff.tasks.refinement.energy import BasePrior, DenoisingEnergy, Levels, ScoreForce, with_lags
from tsdiff.windows.conditioning import Windows, forecast_place
from tsdiff.windows.gaps import bridge
from tsdiff.windows.series import observed_series
from tsdiff.windows.short import ShortSeries

_HARDLY = 0.01
"""Share of accepted steps below which nothing is refined."""
_FOLLOWED = 0.3
"""λ of "quantile" whose slope steps follow even past the base forecast, which gives point forecasts some width. What λ
has beyond ends there; it would throw values the farther, the larger it is."""


class Refiner:
    """Refines base forecasts.

    Observed values of the context are held; the horizon, which starts at the base forecast, and missing values of the
    context, which start on a straight line between their neighbours, move. The whole window makes the model's energy;
    the prior counts the horizon, where there is a base forecast, and nothing else.

    Args:
        model: trained.
        config: how to refine.

    Raises:
        ConfigError: the model's noise has a colour; or what is no model, or no configuration.
    """

    def __init__(self, model: TSDiff, config: RefineConfig | None = None):
        if not isinstance(model, TSDiff):
            raise ConfigError(f"model={model!r}: need a TSDiff, such as a predictor's .model; or call predictor.refine")
        if model.sde.noise is not None:
            raise ConfigError(f"refinement by a model with {model.sde.noise}: its energy is of white noise; take one")
        if not isinstance(config, RefineConfig | None):
            raise ConfigError(f"config={config!r}: need a RefineConfig, such as RefineConfig(steps=20), or None")
        self.model = model.eval().requires_grad_(False)
        self.config = config or RefineConfig()
        self.levels = Levels.at(model.sde, self.config.log_snrs)
        self.nfe = 0
        """Network calls of the last batch that each of its samples took."""
        self.acceptance = math.nan
        """Share of accepted steps in the last batch; 1 for methods that do not reject."""

    def refine(self, forecasts: Iterable[Forecast], dataset: Iterable[Entry]) -> Iterator[SampleForecast]:
        """One refined forecast for each base forecast, in order; both are read as they are needed.

        Args:
            forecasts: of any GluonTS forecaster: samples (any number, one too) or quantiles.
            dataset: the series that they forecast, each up to its forecast's start.

        Yields:
            SampleForecast, samples (num_samples, prediction_length), with channels last where there are several.

        Raises:
            DataError: forecasts and series differ in number, item, start or horizon; a forecast that is not finite;
                a series that the model cannot forecast; a refinement that leaves single precision.
        """
        config = self.model.config
        at_once = max(1, self.config.batch_rows // self.config.num_samples)
        short = ShortSeries(config)
        named = named_entries(by_names(dataset, [self.model]))
        read = (observed_series(e, config, name, config.prediction_length) for name, e in named)
        pairs = matched(forecasts, read, config.prediction_length)
        accepted: list[float] = []
        while group := list(islice(pairs, at_once)):
            for base, samples in zip(group, self._refined(group), strict=True):
                short.see(base.series.name, len(base.series))
                yield as_forecast(base.series, samples)
            accepted.append(self.acceptance)
        short.tell()
        if accepted and max(accepted) < _HARDLY:
            tell(
                f"method={self.config.method!r} has accepted hardly any of its steps, and leaves the forecasts as they "
                "came; take another method, or in Python a smaller step_size"
            )

    def _refined(self, group: list[BaseForecast]) -> np.ndarray:
        """Samples (items, num_samples, prediction_length, channels) in the series' units."""
        settings, config = self.config, self.model.config
        by_quantile = settings.prior == "quantile"
        paths = np.stack([base_paths(base, settings.num_samples, by_quantile, config.channels) for base in group])
        keys = [("refine", f"{base.series.name} {base.series.end}") for base in group]

        def work(rows: Rows) -> np.ndarray:
            start = self._starts(rows.windows, paths[rows.items, rows.draws])
            with torch.no_grad():
                windows = self._run(rows.windows, start, rows.draws, rows.generators(settings.seed, keys))
            return rows.windows.to_series(windows[:, config.context_length :].cpu().numpy())

        places = [forecast_place(base.series, config) for base in group]
        drawn = for_each_draw(self.model, places, settings.num_samples, settings.batch_rows, work)
        refuse_unfinite(
            drawn,
            [f"refined forecast of series {base.series.name!r}" for base in group],
            "lower log_snr, step_size or prior_scale, or rescale the series if its values are near the limit of single "
            "precision",
        )
        return drawn

    def _starts(self, windows: Windows, paths: np.ndarray) -> Tensor:
        """Where each sample starts, (rows, length, channels), network units: observed values, the base forecast in the
        horizon, and straight lines over what is missing."""
        config = self.model.config
        if config.transform is not None:
            config.transform.check(paths.reshape(-1, config.channels), "of the base forecast")
        seen = torch.where(windows.observed > 0, windows.values, math.nan)[..., : config.channels].cpu().numpy()
        seen[:, config.context_length :] = windows.to_network(paths)
        return torch.from_numpy(bridge(seen)[0]).to(windows.values)

    def _run(self, windows: Windows, start: Tensor, draws: np.ndarray, generators: list[torch.Generator]) -> Tensor:
        """Refined windows (rows, length, channels) in network units."""
        settings, config = self.config, self.model.config
        free = 1 - windows.observed[..., : config.channels]
        horizon = torch.zeros_like(free)
        horizon[:, config.context_length :] = 1
        levels = torch.from_numpy(quantile_levels(settings.num_samples)[draws]).to(start)
        prior = BasePrior(start, horizon, settings.prior, settings.prior_scale, levels)
        model_energy = self._model_energy(windows, free, generators)
        kernel = self._kernel(model_energy.stiffness + prior.stiffness)
        priors, after_step = [prior], None
        if settings.prior == "quantile" and settings.prior_scale > _FOLLOWED and not kernel.adjusted:
            rest = replace(prior, scale=settings.prior_scale - _FOLLOWED)
            priors = [replace(prior, scale=_FOLLOWED)]
            if isinstance(kernel, Langevin):
                after_step = partial(rest.drawn, step=kernel.step_size)
            elif isinstance(kernel, Underdamped):
                priors.append(replace(rest, sharpest=1 / kernel.step_size**2))

        def potential(x: Tensor) -> Evaluation:
            energy, force = model_energy(x)
            for one in priors:
                distance, pull = one(x)
                energy = None if energy is None or distance is None else energy + distance
                force = force + pull
            return Evaluation(energy, force)

        result = simulate(
            kernel,
            potential,
            start,
            settings.steps,
            generators,
            (lambda step: model_energy.redraw() if step else None) if settings.redraw else None,
            free,
            after_step=after_step,
        )
        x = result.x
        if isinstance(model_energy, ScoreForce) and settings.method != "most_likely":
            x = torch.where(free > 0, model_energy.without_noise(x, min(settings.temperature, 1.0)), x)
        self.nfe, self.acceptance = model_energy.calls, float(result.acceptance.mean())
        return x

    def _model_energy(
        self, windows: Windows, free: Tensor, generators: list[torch.Generator]
    ) -> DenoisingEnergy | ScoreForce:
        """−log p_θ of the windows, or its gradient."""
        settings, config, model = self.config, self.model.config, self.model
        # Missing values of the history, which do not move, are bridged.
        lagged = windows.bridged()[..., config.channels :] if config.lags else windows.values[..., config.channels :]
        whole = (lambda x: with_lags(x, lagged, config.lags)) if config.lags else None
        denoiser = partial(model, **model.read(windows.inputs))
        if settings.chosen_energy == "denoising":
            shape = windows.values.shape
            return DenoisingEnergy(denoiser, model.sde, self.levels, shape, generators, model.device, whole)
        carried = 0.0 if settings.method == "most_likely" else min(settings.temperature, 1.0)
        carries = carried * (free if whole is None else with_lags(free, torch.zeros_like(lagged), config.lags))
        return ScoreForce(denoiser, model.sde, settings.log_snrs[-1], (1 - carries).sqrt(), generators, whole)

    def _kernel(self, stiffness: float) -> Kernel:
        """The method's kernel, its step size in units of the stiffest direction."""
        settings = self.config
        decay, swing = settings.step_size / stiffness, settings.step_size / math.sqrt(stiffness)
        temperature = settings.temperature
        if settings.method == "most_likely":
            return Langevin(decay, temperature=0.0)
        if settings.method in ("langevin", "mala"):
            return Langevin(decay, temperature, adjusted=settings.method == "mala")
        if settings.method == "hmc":
            return Hamiltonian(swing, settings.leapfrog_steps, temperature=temperature)
        if settings.method == "critically_damped":
            return Underdamped(swing, critical_friction(), temperature=temperature)
        return Underdamped(swing, settings.friction * math.sqrt(stiffness), temperature=temperature)
