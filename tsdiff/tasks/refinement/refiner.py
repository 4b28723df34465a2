"""Refinement of base forecasts by an unconditional model's energy (Kollovieh et al. 2023, §4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from gluonts.model.forecast import Forecast, SampleForecast
from torch import Tensor

from shared.errors import DataError
from shared.random import make_generator
from shared.samplers.mcmc import (
    Evaluation,
    Hamiltonian,
    Kernel,
    Langevin,
    Underdamped,
    critical_friction,
    simulate,
)
from tsdiff.model.model import TSDiff
from tsdiff.sampling.drawing import quantile_levels
from tsdiff.tasks.refinement.base import BaseForecast, base_paths, matched
from tsdiff.tasks.refinement.config import RefineConfig
from tsdiff.tasks.refinement.energy import BasePrior, DenoisingEnergy, Levels, ScoreForce, with_lags
from tsdiff.windows.conditioning import Conditioning, Conditions, bridge, conditionings
from tsdiff.windows.entries import Entry
from tsdiff.windows.short import ShortSeries


class Refiner:
    """Refines base forecasts.

    Observed values of the context are held; the horizon, which starts at the base forecast, and missing values of the
    context, which start on a straight line between their neighbours, move. The whole window makes the model's energy;
    the prior counts the horizon, where there is a base forecast, and nothing else.

    Args:
        model: trained.
        config: how to refine.
    """

    def __init__(self, model: TSDiff, config: RefineConfig | None = None):
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
        at_once = max(1, self.config.batch_rows // self.config.num_samples)
        short = ShortSeries(self.model.config)
        pairs = matched(forecasts, dataset, self.model.config.prediction_length)
        while group := list(islice(pairs, at_once)):
            for base, samples in zip(group, self._refined(group), strict=True):
                short.see(base.name, np.shape(base.entry["target"])[-1])
                yield SampleForecast(
                    samples, start_date=base.start, item_id=base.entry.get("item_id"), info=base.entry.get("info")
                )
        short.tell()

    def _refined(self, group: list[BaseForecast]) -> np.ndarray:
        """Samples (items, num_samples, prediction_length), or with channels last where there are several, in the
        series' units; batch_rows at a time."""
        settings, config = self.config, self.model.config
        inputs = conditionings([(base.name, base.entry) for base in group], config, self.model.statistics)
        starts = np.stack([self._starts(base, window) for base, window in zip(group, inputs, strict=True)])
        rows = [(item, draw) for item in range(len(group)) for draw in range(settings.num_samples)]
        out = np.empty((len(group), settings.num_samples, config.prediction_length, config.channels))
        for first in range(0, len(rows), settings.batch_rows):
            chunk = rows[first : first + settings.batch_rows]
            items, draws = (np.array(column) for column in zip(*chunk, strict=True))
            generators = [
                make_generator(settings.seed, "refine", f"{group[item].name} {group[item].start}", draw)
                for item, draw in chunk
            ]
            conditions = Conditions.stack(inputs, config, torch.from_numpy(items), self.model.device)
            windows = self._chains(conditions, starts[items, draws], draws, generators)
            for (item, draw), row in zip(chunk, windows[:, config.context_length :].cpu().numpy(), strict=True):
                out[item, draw] = inputs[item].to_series(row)
        for base, drawn in zip(group, out, strict=True):
            if not np.isfinite(drawn).all():
                raise DataError(
                    f"the refined forecast of series {base.name!r} is not finite: lower step_size or prior_scale, or "
                    "rescale the series if its values are near the limit of single precision"
                )
        return out if config.channels > 1 else out[..., 0]

    def _starts(self, base: BaseForecast, window: Conditioning) -> np.ndarray:
        """Where each sample starts, (num_samples, length, channels), network units: observed values, the base forecast
        in the horizon, and straight lines over what is missing."""
        settings, config = self.config, self.model.config
        paths = base_paths(base, settings.num_samples, settings.prior == "quantile", config.channels)
        seen = torch.where(window.observed > 0, window.values, math.nan)[:, : config.channels].numpy()
        starts = np.repeat(seen[None], settings.num_samples, axis=0)
        starts[:, config.context_length :] = window.to_network(paths)
        return bridge(starts)[0]

    def _chains(
        self, conditions: Conditions, starts: np.ndarray, draws: np.ndarray, generators: list[torch.Generator]
    ) -> Tensor:
        """Refined windows (rows, length, channels) in network units."""
        with torch.inference_mode(False), torch.no_grad():  # the energy differentiates, whatever mode the caller is in
            return self._run(conditions, starts, draws, generators)

    def _run(
        self, conditions: Conditions, starts: np.ndarray, draws: np.ndarray, generators: list[torch.Generator]
    ) -> Tensor:
        settings, config, device = self.config, self.model.config, self.model.device
        start = torch.from_numpy(starts).to(device)
        free = 1 - conditions.observed[..., : config.channels]
        horizon = torch.zeros_like(free)
        horizon[:, config.context_length :] = 1
        levels = torch.from_numpy(quantile_levels(settings.num_samples)[draws]).to(start)
        prior = BasePrior(start, horizon, settings.prior, settings.prior_scale, levels)
        model_energy = self._model_energy(conditions, free, generators)

        def potential(x: Tensor) -> Evaluation:
            (bound, force), (distance, pull) = model_energy(x), prior(x)
            together = None if bound is None or distance is None else bound + distance
            return Evaluation(together, force + pull)

        result = simulate(
            self._kernel(model_energy.stiffness + prior.stiffness),
            potential,
            start,
            settings.steps,
            generators,
            free,
            before_step=(lambda step: model_energy.redraw() if step else None) if settings.redraw else None,
        )
        x = result.x
        if isinstance(model_energy, ScoreForce) and settings.method != "most_likely":
            x = torch.where(free > 0, model_energy.without_noise(x, min(settings.temperature, 1.0)), x)
        self.nfe, self.acceptance = model_energy.calls, float(result.acceptance.mean())
        return x

    def _model_energy(
        self, conditions: Conditions, free: Tensor, generators: list[torch.Generator]
    ) -> DenoisingEnergy | ScoreForce:
        """−log p_θ of the windows, or its gradient."""
        settings, config, model = self.config, self.model.config, self.model
        lagged = conditions.values[..., config.channels :]
        if config.lags:  # missing values of the history, which do not move, are bridged
            seen = torch.where(conditions.observed > 0, conditions.values, math.nan)[..., config.channels :]
            lagged = torch.from_numpy(bridge(seen.cpu().numpy())[0]).to(model.device)
        windows = (lambda x: with_lags(x, lagged, config.lags)) if config.lags else None

        def denoiser(x: Tensor, t: Tensor) -> Tensor:
            return model(x, t, **conditions.inputs)

        if settings.chosen_energy == "denoising":
            shape = conditions.values.shape
            return DenoisingEnergy(denoiser, model.sde, self.levels, shape, generators, model.device, windows)
        carried = 0.0 if settings.method == "most_likely" else min(settings.temperature, 1.0)
        carries = carried * (free if windows is None else with_lags(free, torch.zeros_like(lagged), config.lags))
        return ScoreForce(denoiser, model.sde, settings.log_snrs[-1], (1 - carries).sqrt(), generators, windows)

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
