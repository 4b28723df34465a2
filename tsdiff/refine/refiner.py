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
from shared.mcmc import (
    Evaluation,
    Hamiltonian,
    Kernel,
    Langevin,
    Underdamped,
    critical_friction,
    simulate,
)
from shared.random import make_generator
from tsdiff.model import TSDiff
from tsdiff.refine.base import BaseForecast, base_paths, matched, sample_levels
from tsdiff.refine.config import RefineConfig
from tsdiff.refine.energy import BasePrior, DenoisingEnergy, Levels
from tsdiff.windows import Conditioning, Entry, bridge, conditioning


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
            SampleForecast, samples (num_samples, prediction_length).

        Raises:
            DataError: forecasts and series differ in number, item, start or horizon; a forecast that is not finite;
                a series that the model cannot forecast; a refinement that leaves single precision.
        """
        at_once = max(1, self.config.batch_rows // self.config.num_samples)
        pairs = matched(forecasts, dataset, self.model.config.prediction_length)
        while group := list(islice(pairs, at_once)):
            for base, samples in zip(group, self._refined(group), strict=True):
                yield SampleForecast(
                    samples, start_date=base.start, item_id=base.entry.get("item_id"), info=base.entry.get("info")
                )

    def _refined(self, group: list[BaseForecast]) -> np.ndarray:
        """Samples (items, num_samples, prediction_length) in the series' units, batch_rows at a time."""
        settings, model = self.config, self.model
        inputs = [conditioning(base.entry, model.config, model.statistics, base.name) for base in group]
        paths = [base_paths(base, settings.num_samples, settings.prior == "quantile") for base in group]
        starts = np.stack([_network_paths(c, path) for c, path in zip(inputs, paths, strict=True)])
        rows = [(item, draw) for item in range(len(group)) for draw in range(settings.num_samples)]
        out = np.empty((len(group), settings.num_samples, model.config.prediction_length))
        for first in range(0, len(rows), settings.batch_rows):
            chunk = rows[first : first + settings.batch_rows]
            items, draws = (np.array(column) for column in zip(*chunk, strict=True))
            names = [f"{group[item].name} {group[item].start}" for item in items]
            generators = [
                make_generator(settings.seed, "refine", name, int(draw)) for name, draw in zip(names, draws, strict=True)
            ]
            windows = self._chains(inputs, torch.from_numpy(items), starts[items, draws], draws, generators)
            horizon = windows[:, -model.config.prediction_length :, 0].double().cpu().numpy()
            for row, (item, draw) in zip(horizon, chunk, strict=True):
                out[item, draw] = row * inputs[item].scale + inputs[item].loc
        samples = out.astype(np.float32)
        for base, drawn in zip(group, samples, strict=True):
            if not np.isfinite(drawn).all():
                raise DataError(
                    f"the refined forecast of series {base.name!r} is not finite: lower step_size or prior_scale, or "
                    "rescale the series if its values are near the limit of single precision"
                )
        return samples

    def _chains(
        self,
        inputs: list[Conditioning],
        items: Tensor,
        starts: np.ndarray,
        draws: np.ndarray,
        generators: list[torch.Generator],
    ) -> Tensor:
        """Refined windows (rows, length, channels) in network units; row i belongs to inputs[items[i]]."""
        settings, device = self.config, self.model.device
        values = torch.stack([c.values for c in inputs])[items][..., None].to(device)
        observed = torch.stack([c.observed for c in inputs])[items][..., None].to(device)
        known = [c.features for c in inputs if c.features is not None]
        features = torch.stack(known)[items].to(device) if known else None
        free = 1 - observed
        base = torch.from_numpy(starts.astype(np.float32)).to(device)
        horizon = torch.zeros_like(free)
        horizon[:, -self.model.config.prediction_length :] = 1
        prior = BasePrior(
            base,
            horizon * free,
            settings.prior,
            settings.prior_scale,
            torch.from_numpy(sample_levels(settings.num_samples)[draws].astype(np.float32)).to(device),
        )
        energy = DenoisingEnergy(
            lambda x, t: self.model(x, t, features),
            self.model.sde,
            self.levels,
            values.shape,
            generators,
            device,
        )

        def potential(x: Tensor) -> Evaluation:
            (bound, force), (distance, pull) = energy(x), prior(x)
            return Evaluation(bound + distance, force + pull)

        result = simulate(
            self._kernel(self.levels.stiffness + prior.stiffness),
            potential,
            torch.where(observed > 0, values, base),
            settings.steps,
            generators,
            free,
            before_step=(lambda step: energy.redraw() if step else None) if settings.redraw else None,
        )
        self.nfe, self.acceptance = energy.calls, float(result.acceptance.mean())
        return result.x

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


def _network_paths(window: Conditioning, paths: np.ndarray) -> np.ndarray:
    """Where each sample starts, (samples, length, channels), network units: observed values, the base forecast in the
    horizon, and straight lines over what is missing."""
    values = torch.where(window.observed > 0, window.values, math.nan).double().numpy()
    windows = np.repeat(values[None], len(paths), axis=0)
    windows[:, -paths.shape[1] :] = (paths - window.loc) / window.scale
    return bridge(windows)[0][..., None]
