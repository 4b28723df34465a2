"""How likely a model finds the windows of a series: exact log density, or a cheap bound that tells where.

A model gives the density of a window in its own units, after scaling by the window's context. Both are reported:

    log p(series units | location, scale) = log p(network units) − Σ log scale + Σ log dz/dx,

the sums over the values of the window, the last where the model transforms them: −Σ log x for z = log x. The scale is
taken as given: as it is computed from the window itself, the left side is a density of windows of that scale, not over
all series.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from shared.checks import Checked, Count, Finite, Portion, Several
from shared.console.notes import tell
from shared.divergence import Trace
from shared.elbo import elbo
from shared.errors import ConfigError, DataError
from shared.guidance import DenoiserFunction
from shared.likelihood import estimate_log_likelihood
from shared.random import make_generator, randn
from shared.sde import SDE
from tsdiff.data.entries import Entry, Series, named_entries
from tsdiff.data.frequency import shifted
from tsdiff.data.named import by_names
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.sampling.drawing import for_each_draw
from tsdiff.windows.conditioning import Windows, cut_with_lags
from tsdiff.windows.series import observed_series

Method = Literal["ode", "elbo"]
_FIRST_KNOWN = 8
"""Steps of a series that are known before the first one that is scored given the others."""


@dataclass(frozen=True)
class LikelihoodSettings(Checked):
    """How windows are scored.

    Args:
        method: "ode", the log density by the probability-flow ODE, or "elbo", a lower bound of it that needs no
            derivative of the network and comes step by step (`shared.elbo`).
        stride: steps from one window to the next; None takes the prediction length for "elbo", and lays windows side by
            side for "ode", which costs more. The last window ends where the series does.
        trace: of "ode": "exact" (one backward pass a value of the window), "hutchinson", or "auto": exact up to 32.
        probes: of "hutchinson", at least 2, so that the result's standard error is known. All windows share them: what
            chance adds is then nearly the same for all, and cancels where windows are compared.
        steps: of "ode": Runge–Kutta steps, four network calls each.
        levels: of "elbo": noise levels, two network calls each, for each draw.
        draws: of "elbo": noise at each level, at least 2, shared by all windows as the probes are.
        log_snr_end: log-SNR that counts as clean data: values are known to a standard deviation of e^{-log_snr_end} in
            network units. None takes the smallest noise that the model was trained with.
        max_missing: share of missing values above which a window is left out.
        seed: of probes and noise.
        batch_rows: windows that go through the network together; bounds memory, does not change results.

    Raises:
        ConfigError: a value out of its range.
    """

    method: Method = "ode"
    stride: Count | None = None
    trace: Trace = "auto"
    probes: Several = 8
    steps: Count = 16
    levels: Count = 16
    draws: Several = 2
    log_snr_end: Finite | None = None
    max_missing: Portion = 0.25
    seed: int = 0
    batch_rows: Count = 256


@dataclass(frozen=True)
class WindowLikelihoods:
    """The scored windows of one series. `np.asarray` of it is `log_likelihood`.

    Attributes:
        item_id: of the series.
        start: of the series.
        first: (windows,) position of each window's first step; negative where a short series was padded in front.
        length: steps of a window.
        log_likelihood: (windows,) nats, in the series' units; a lower bound with method "elbo".
        network_log_likelihood: (windows,) nats, in the network's units, where windows of any level compare.
        standard_error: (windows,) nats, of either, from probes or noise draws; 0 with an exact trace.
        missing: (windows,) share of missing values, which were filled as in training, and count as if they had been
            observed by "ode", while "elbo" leaves them out.
        steps: (windows, length) nats in the network's units that each step contributes, over its channels, NaN where it
            is missing; None with method "ode", which tells of the window only.
        skipped: positions of windows that were left out, for too many missing values.
        scored: steps at the end of each window that all this is of, given those before them: of a model with an anchor
            prediction_length, or half of a series that is shorter than two of these. None: all of them.
    """

    item_id: str
    start: pd.Period
    first: np.ndarray
    length: int
    log_likelihood: np.ndarray
    network_log_likelihood: np.ndarray
    standard_error: np.ndarray
    missing: np.ndarray
    steps: np.ndarray | None
    skipped: np.ndarray
    scored: int | None = None

    @property
    def first_scored(self) -> np.ndarray:
        """(windows,) position of the first step that each value is of: `first` where windows are scored as wholes."""
        return self.first + self.length - (self.length if self.scored is None else self.scored)

    def __len__(self) -> int:
        return len(self.first)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.log_likelihood, dtype=dtype)

    def frame(self) -> pd.DataFrame:
        """One row a window: item_id, start (pd.Period) of the steps that are scored, log_likelihood,
        network_log_likelihood, standard_error, missing."""
        return pd.DataFrame(
            {
                "item_id": self.item_id,
                "start": [shifted(self.start, int(first)) for first in self.first_scored],
                "log_likelihood": self.log_likelihood,
                "network_log_likelihood": self.network_log_likelihood,
                "standard_error": self.standard_error,
                "missing": self.missing,
            }
        )


def likelihood_settings(settings: LikelihoodSettings | None, changes: Mapping[str, Any]) -> LikelihoodSettings:
    """Settings, the usual ones where there are none, with some of their fields changed.

    Raises:
        ConfigError: what are no such settings, a field that there is not, or a value out of its range.
    """
    if not isinstance(settings, LikelihoodSettings | None):
        raise ConfigError(f"settings={settings!r}: need LikelihoodSettings(), or None")
    known = [one.name for one in fields(LikelihoodSettings)]
    for name, value in changes.items():
        if name not in known:
            raise ConfigError(f"{name}={value!r}: no such setting; there are {', '.join(known)}")
    return replace(settings or LikelihoodSettings(), **changes)


def window_log_likelihoods(
    model: TSDiff, dataset: Iterable[Entry], settings: LikelihoodSettings | None = None
) -> Iterator[WindowLikelihoods]:
    """Score the windows of each series, in order; entries are read as they are needed.

    A series shorter than a window is padded in front with missing values. A model with an anchor scores the last
    prediction_length steps of each window given those before; windows that overlap by the others are side by side.

    Args:
        model: trained.
        dataset: GluonTS entries; NaN is missing.
        settings: how.

    Raises:
        DataError: a series that cannot be used (`observed_series`) or whose likelihood is not finite.
        ConfigError: the process has no prior density, or a model that is not unconditional.
    """
    settings = settings or LikelihoodSettings()
    refuse_conditional(model)
    named = named_entries(by_names(dataset, [model]))
    read = (observed_series(entry, model.config, name) for name, entry in named)
    return (series_likelihoods(model, series, settings) for series in read)


def refuse_conditional(model: TSDiff) -> None:
    """Raise ConfigError if the model has no density of whole windows."""
    if not model.config.draws_whole:
        raise ConfigError(
            "a conditional model has no density of whole windows: its network is told the observed values; train one "
            "with conditional=False"
        )


def window_places(total: int, length: int, stride: int) -> np.ndarray:
    """First positions of windows that cover a series of `total` steps: every `stride`, and one that ends with it."""
    last = total - length
    if last <= 0:
        return np.array([last])
    places = np.arange(0, last + 1, stride)
    return places if places[-1] == last else np.append(places, last)


def series_likelihoods(model: TSDiff, series: Series, settings: LikelihoodSettings) -> WindowLikelihoods:
    """Score the windows of one series that holds observed values; see `window_log_likelihoods`."""
    config = model.config
    hidden = min(config.prediction_length, max(1, len(series) // 2)) if config.conditional else 0
    places = _places(len(series), config, settings, hidden)
    # Of a model with an anchor the last steps of each window are scored, given the others.
    parts = [cut_with_lags(series.values, int(first), config)[-hidden:] for first in places]
    missing = np.array([np.isnan(part).mean() for part in parts])
    kept, skipped = places[missing <= settings.max_missing], places[missing > settings.max_missing]
    if len(skipped):
        tell(
            f"series {series.name!r}: {len(skipped)} of {len(places)} windows of {config.length} steps miss more than "
            f"{settings.max_missing:.0%} of their values and are not scored (max_missing)"
        )
    scores = np.zeros((0, 3 + config.length))
    if len(kept):
        windows = [(series, int(first)) for first in kept]
        scores = for_each_draw(
            model, windows, 1, settings.batch_rows, lambda rows: _scored(model, rows.windows, settings, hidden), hidden
        )[:, 0]
    density, error, jacobian, steps = scores[:, 0], scores[:, 1], scores[:, 2], scores[:, 3:]
    bad = np.flatnonzero(~np.isfinite(density))
    if bad.size:
        raise DataError(
            f"series {series.name!r}: the likelihood of the window from step {kept[bad[0]]} is not finite; its values "
            "leave the range of single precision after scaling: rescale the series, or leave that stretch out"
        )
    return WindowLikelihoods(
        item_id=series.name,
        start=series.start,
        first=kept,
        length=config.length,
        log_likelihood=density + jacobian,
        network_log_likelihood=density,
        standard_error=error,
        missing=missing[missing <= settings.max_missing],
        steps=steps if settings.method == "elbo" else None,
        skipped=skipped,
        scored=hidden or None,
    )


def _places(total: int, config: TSDiffConfig, settings: LikelihoodSettings, hidden: int) -> np.ndarray:
    """First positions of the windows of a series. Where only their last steps are scored, those lie side by side, after
    the first few of the series, which nothing is known before."""
    if not hidden:
        usual = config.prediction_length if settings.method == "elbo" else config.length
        return window_places(total, config.length, settings.stride or usual)
    told = min(_FIRST_KNOWN, total - hidden)
    return window_places(total - told, hidden, settings.stride or hidden) + told + hidden - config.length


def _scored(model: TSDiff, windows: Windows, settings: LikelihoodSettings, hidden: int) -> np.ndarray:
    """log density in network units, its standard error, the log Jacobian to series units, and the steps' contributions:
    (windows, 3 + length); of the last `hidden` steps given the others, or of all for 0."""
    x0, counted = windows.bridged(model.config.gap_seasons), windows.observed.cpu().double()
    counted[:, : x0.shape[1] - hidden if hidden else 0] = 0
    t_end = model.sde.t_min if settings.log_snr_end is None else float(model.sde.time_of_log_snr(settings.log_snr_end))
    denoiser = partial(model, **model.read(windows.inputs))
    if settings.method == "elbo":
        shape = (settings.levels, 1, *x0.shape[1:])
        noise = [randn(shape, make_generator(settings.seed, "elbo", i), x0.dtype) for i in range(settings.draws)]
        with torch.inference_mode():
            elements = elbo(denoiser, model.sde, x0, torch.stack(noise).to(x0.device), t_end=t_end).elements.cpu()
        each = (elements * counted).flatten(2).sum(2)
        density, error = each.mean(0), each.std(0) / math.sqrt(len(each))
        own, seen = (part[..., : model.config.channels] for part in (elements.mean(0), counted))
        steps = torch.where(seen.amax(2) > 0, (own * seen).sum(2), math.nan)
    else:
        density, error = _exact(denoiser, model.sde, x0, settings, hidden, t_end)
        counted, steps = torch.zeros_like(counted), torch.full(x0.shape[:2], math.nan, dtype=torch.float64)
        counted[:, -hidden:] = 1
    jacobian = (windows.log_slope(x0) * counted).flatten(1).sum(1)
    return torch.cat([torch.stack([density, error, jacobian], dim=1), steps], dim=1).numpy()


def _exact(
    denoiser: DenoiserFunction, sde: SDE, x0: Tensor, settings: LikelihoodSettings, hidden: int, t_end: float
) -> tuple[Tensor, Tensor]:
    """log density of the last `hidden` steps of x0 (windows, length, channels) by the ODE, and its standard error:
    (windows,) both; 0 hides all."""
    moving = x0[:, -hidden:]
    shape = (1, *moving.shape[1:])
    probes = [randn(shape, make_generator(settings.seed, "probe", i)) for i in range(settings.probes)]
    # The state at t_end is α·x_0, so that the density is one of x_0 and not of its shrunken image.
    alpha, dims = float(sde.alpha(t_end)), moving[0].numel()

    def last_steps(x: Tensor, t: Tensor) -> Tensor:
        before = x.new_zeros(len(x), x0.shape[1] - x.shape[1], x.shape[2])
        return denoiser(torch.cat([before, x], dim=1), t)[:, -x.shape[1] :]

    with torch.inference_mode(False):
        result = estimate_log_likelihood(
            last_steps,
            sde,
            alpha * moving,
            trace=settings.trace,
            probes=torch.stack(probes).sign().to(x0.device),
            t_end=t_end,
            steps=settings.steps,
        )
    return result.value.cpu() + dims * math.log(alpha), result.standard_error.cpu()
