"""What a refinement cannot know beforehand: the representative noise level, and what a validation window favours."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice, product

import numpy as np
import torch
from gluonts.model.forecast import Forecast, SampleForecast

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from shared.random import make_generator, randn
from shared.sde import DiscreteVPSDE
from tsdiff.data.entries import Entry, named_entries
from tsdiff.data.named import by_names
from tsdiff.evaluation.metrics import evaluate
from tsdiff.evaluation.pairs import Pair
from tsdiff.model.model import TSDiff
from tsdiff.tasks.refinement.config import ADJUSTED, Energy, RefineConfig
from tsdiff.tasks.refinement.refiner import Refiner
from tsdiff.windows.conditioning import Windows
from tsdiff.windows.series import observed_series

Refine = Callable[[Iterable[Forecast], Iterable[Entry], RefineConfig], Iterable[SampleForecast]]

TOLERANCE = 0.05
"""Share of the lowest CRPS by which others are nearly as low."""

_MOST_MEASURED = 64


def representative_log_snr(model: TSDiff, dataset: Iterable[Entry]) -> float:
    """The noise level whose denoising loss is nearest to the mean over all levels (Kollovieh et al. 2023, §4).

    Args:
        model: trained.
        dataset: training series; the last window of each of the first 64 is measured, with one noise at all levels.

    Returns:
        log(α/σ).

    Raises:
        DataError: no series, or none with an observed value in its last window.
    """
    config = model.config
    named = islice(named_entries(by_names(dataset, [model])), _MOST_MEASURED)
    series = [observed_series(entry, config, name) for name, entry in named]
    if not series:
        raise DataError("there is no series to measure the loss on")
    last = Windows.of([(one, len(one) - config.length) for one in series], config, model.statistics)
    last = last.rows(np.arange(len(last)), model.device)
    if not last.observed.any():
        raise DataError("no last window holds an observed value to measure the loss on; leave out the missing ends")
    noise = randn(last.values.shape, make_generator(0, "representative"), device=model.device)
    sde = model.sde
    if isinstance(sde, DiscreteVPSDE):
        times = sde.time_of_step(torch.arange(len(sde))).double()
    else:
        times = torch.linspace(sde.t_min, sde.T, 100, dtype=torch.float64)
    losses = []
    for t in times:
        alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
        at = t.to(noise).expand(len(last))
        with torch.no_grad():
            x0 = model(alpha * last.values + sigma * noise, at, **last.inputs)
        error = (alpha / sigma) ** 2 * (last.values - x0).square() * last.observed
        losses.append(float(error.sum() / last.observed.sum()))
    nearest = int(np.abs(np.array(losses) - np.mean(losses)).argmin())
    return float(sde.log_snr(times[nearest]))


def candidates(
    config: RefineConfig | None = None,
    log_snrs: Sequence[float] = (-0.75, -0.25, 0.25, 0.75),
    prior_scales: Sequence[float] = (0.03, 0.1, 0.3, 1.0),
    energies: Sequence[Energy] = ("score", "denoising"),
) -> list[RefineConfig]:
    """A configuration at every noise level and strength of the prior, with each energy that the method can use."""
    base = config or RefineConfig()
    usable = [energy for energy in energies if energy == "denoising" or base.method not in ADJUSTED]
    return [
        replace(base, energy=energy, log_snrs=(level,), prior_scale=scale)
        for energy, level, scale in product(usable, log_snrs, prior_scales)
    ]


def choose_refinement(
    model: TSDiff,
    forecasts: Iterable[Forecast],
    pairs: Iterable[Pair],
    configs: Sequence[RefineConfig] | None = None,
    tolerance: float = TOLERANCE,
    refine: Refine | None = None,
) -> tuple[RefineConfig, dict[RefineConfig, float]]:
    """The configuration that changes the base forecasts of validation windows least, of those whose CRPS is nearly the
    lowest: windows are few, and where they do not tell configurations apart the base forecast deserves the doubt.

    Args:
        model: trained, best without the validation windows: on windows that it has learnt by heart it looks better
            than it is.
        forecasts: the base forecaster's, one for each pair, in order.
        pairs: (input entry, label entry) of windows that are not those of the test.
        configs: to choose from; None takes `candidates()`.
        tolerance: relative to the lowest CRPS; 0 takes the lowest.
        refine: the way that they are to be refined, such as a predictor's `refine`, whose samples are such as the
            series' values are; None takes `Refiner.refine` of the model.

    Returns:
        The chosen one, and the CRPS of each.

    Raises:
        ConfigError: tolerance < 0, or no configurations.
        DataError: every actual value is 0; see also `Refiner.refine` and `tsdiff.evaluation.metrics.evaluate`.
    """
    chosen_from = candidates() if configs is None else configs
    if not tolerance >= 0 or not chosen_from:
        raise ConfigError(f"tolerance={tolerance}, {len(chosen_from)} configurations: need 0 or more, and at least one")
    base, windows = list(forecasts), list(pairs)
    inputs = [past for past, _ in windows]
    scores: dict[RefineConfig, float] = {}
    changes: dict[RefineConfig, float] = {}
    for config in chosen_from:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)  # of trials; the refinement that is chosen tells its own
            made = Refiner(model, config).refine(base, inputs) if refine is None else refine(base, inputs, config)
            refined = list(made)
        scores[config] = evaluate(refined, windows).crps
        moved = (np.abs(new.quantile(0.5) - old.quantile(0.5)).sum() for new, old in zip(refined, base, strict=True))
        changes[config] = float(sum(moved))
    lowest = min(scores.values())
    if math.isnan(lowest):
        raise DataError("every actual value of the validation windows is 0, so no CRPS is defined; give other windows")
    good = [config for config, crps in scores.items() if crps <= (1 + tolerance) * lowest]
    return min(good, key=changes.__getitem__), scores
