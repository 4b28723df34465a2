"""TSDiff: an unconditional diffusion model of windows of a series, with its scaling and its process."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from shared.checks import Count, checked
from shared.errors import ConfigError
from shared.files.checkpoint import open_checkpoint, replacing, resolve, save_checkpoint
from shared.precision import check_default
from shared.predictions import Denoiser, PathPoint
from shared.random import make_generator
from shared.samplers import (
    Exponential,
    FlowMap,
    Method,
    Sampler,
    SampleResult,
    method_from,
    sample,
)
from shared.samplers.gaussian import knowing
from shared.samplers.laws import Law
from shared.samplers.schedules import times_of
from shared.sde import SDE, DiscreteVPSDE
from tsdiff.data.entries import Entry
from tsdiff.model import beside
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.naming import ShortName
from tsdiff.model.network import Network
from tsdiff.model.times import call_times
from tsdiff.windows.anchored import residuals
from tsdiff.windows.conditioning import Windows, inputs_of
from tsdiff.windows.covariance import RANK, WindowCovariance
from tsdiff.windows.inputs import regression_mean
from tsdiff.windows.scales import Statistics
from tsdiff.windows.series import suited_series
from tsdiff.windows.weighing import TunedWeighing, Weighing

FORMAT, VERSION = "tsdiff", 2
BUNDLED = Path(__file__).parents[1] / "pretrained"
_MEASURED = ("covariance_directions", "covariance_variances")
_LATER = (
    *(f"weighing.{layer}.weight" for layer in ("ago", "tilted", "late", "newer", "newest")),
    "weighing.share",
)
"""What the weighing of models that were saved before lacks."""
_A_MONDAY = "2001-01-01"


class TSDiff(ShortName, nn.Module):
    """Unconditional diffusion over windows of context_length + prediction_length steps (Kollovieh et al. 2023).

    Args:
        config: what the model is.
        statistics: of the training windows.

    Attributes:
        weighing: of the simple forecasts that anchors are made of, where the model has one of its own, as a fine-tuned
            one; None for the bundled one.
        covariate_names: of the columns of a table that its dynamic features were in training, in their order; empty
            where that is not known.
        static_names: of the columns that its static numbers were, likewise.
        vocabulary: the values that the codes 0, 1, … of its static categories stood for, by column; empty where that is
            not known.
    """

    statistics_values: Tensor
    feature_values: Tensor
    covariance_directions: Tensor
    covariance_variances: Tensor

    def __init__(self, config: TSDiffConfig, statistics: Statistics | None = None):
        super().__init__()
        check_default()
        self.config = config
        self.sde: SDE = config.path
        self.denoiser = Denoiser(Network(config), self.sde, config.output)
        self.weighing: Weighing | None = None
        self.covariate_names: tuple[str, ...] = ()
        self.static_names: tuple[str, ...] = ()
        self.vocabulary: dict[str, tuple[str, ...]] = {}
        features = config.static_features + config.dynamic_features
        self.register_buffer("statistics_values", torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64))
        self.register_buffer("feature_values", torch.tensor([[0.0], [1.0]], dtype=torch.float64).repeat(1, features))
        size = config.length * config.network_channels
        # Variances of the directions, then of the rest; all 0 where they are unknown.
        self.register_buffer("covariance_directions", torch.zeros(size, min(RANK, size)))
        self.register_buffer("covariance_variances", torch.zeros(min(RANK, size) + 1, dtype=torch.float64))
        if statistics is not None:
            self.statistics = statistics

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a model that was pickled before it was told what its inputs are called, these names are not known."""
        super().__setstate__({"covariate_names": (), "static_names": (), "vocabulary": {}, **state})

    @property
    def statistics(self) -> Statistics:
        """Of the training windows."""
        center, spread = self.feature_values.tolist()
        inner, width, top = self.statistics_values.tolist()
        variances, rest = self.covariance_variances[:-1], float(self.covariance_variances[-1])
        covariance = WindowCovariance(self.covariance_directions, variances, rest) if rest > 0 else None
        return Statistics(inner, width, top, tuple(center), tuple(spread), covariance, self.weighing)

    @statistics.setter
    def statistics(self, statistics: Statistics) -> None:
        values = [statistics.center, statistics.spread, statistics.top_variance]
        self.statistics_values.copy_(torch.tensor(values, dtype=torch.float64))
        known = torch.tensor([statistics.feature_center, statistics.feature_spread], dtype=torch.float64)
        if known.numel():
            self.feature_values.copy_(known)
        covariance = statistics.covariance
        if covariance is None:
            self.covariance_variances.zero_()
        else:
            self.covariance_directions.copy_(covariance.directions)
            self.covariance_variances[:-1] = covariance.variances
            self.covariance_variances[-1] = covariance.rest

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def adapted(self, freq: str, prediction_length: int) -> TSDiff:
        """This model of all frequencies for one of them and one horizon; the weights are shared, not copied, and its
        statistics and weighing are its own.

        Args:
            freq: normalised frequency of the series; one that was adapted already stays with its own.
            prediction_length: steps to forecast, at most `config.prediction_length`, or `config.reach` of one that was
                adapted already; the window's others are context.

        Raises:
            ConfigError: a model of one other frequency, or a horizon that is out of reach.
        """
        prediction_length = checked(Count, prediction_length=prediction_length)
        config = self.config
        if config.freq == freq and config.prediction_length == prediction_length:
            return self
        if not config.awaits_freq and (config.reach is None or config.freq != freq):
            raise ConfigError(
                f"this model forecasts {config.prediction_length} steps of {config.freq!r}, not {prediction_length} of "
                f"{freq!r}; train one for them, or take a model of all frequencies (the bundled 'default')"
            )
        reach = config.reach or config.prediction_length
        if prediction_length > reach:
            raise ConfigError(
                f"prediction_length={prediction_length}: this model reaches 1 … {reach} steps at once; a "
                "TSDiffPredictor goes further piece by piece"
            )
        other = copy.copy(self)
        other._modules = dict(self._modules)  # so that a weighing of its own stays its own
        other._buffers = {name: None if part is None else part.clone() for name, part in self._buffers.items()}
        other.config = replace(
            config,
            freq=freq,
            prediction_length=prediction_length,
            context_length=config.length - prediction_length,
            reach=reach,
        )
        return other

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, r: Tensor | None = None, **inputs: Any) -> Tensor:
        """The data prediction x̂_0 at noisy windows x (batch, length, network_channels) and times t (batch,).

        Args:
            x: windows.
            t: times.
            y: anchor of a model that starts from a regression, shaped like x; None takes it from the inputs.
            r: of a flow map: times (batch,) to which a step leads, for which it gives the mean of x̂_0 on the way.
            inputs: what the network takes besides, as `tsdiff.windows.conditioning.Windows.inputs` has it:
                "features" (batch or 1, length, k), "categories" (batch, n), "known" (batch, length, `known_width`).
        """
        return self.denoiser(x, t, self.anchor(inputs) if y is None else y, r, **inputs)

    def anchor(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """The mean that sampling of a window with these inputs starts around; None means 0."""
        return None if self.config.start is None else regression_mean(self.config, inputs["known"])

    def predict_noise(self, x: Tensor, step: Tensor, features: Tensor | None = None, **inputs: Tensor) -> Tensor:
        """The noise in windows x (batch, length, network_channels) at 0-based steps (batch,) of the table.

        Args:
            x: windows.
            step: places in the table.
            features: known of every point, (batch or 1, length, k).
            inputs: see `forward`.

        Raises:
            ConfigError: the model's process is not a table, or a step is not in it.
        """
        if not isinstance(self.sde, DiscreteVPSDE):
            raise ConfigError(f"{type(self.sde).__name__} has no table of steps; call the model with a time instead")
        if step.numel() and not bool(((step >= 0) & (step < len(self.sde))).all()):
            raise ConfigError(f"steps {step.tolist()[:5]}: each must lie in 0 … {len(self.sde) - 1}")
        if features is not None:
            inputs["features"] = features
        t = self.sde.time_of_step(step).to(x.device)
        if self.denoiser.output == "noise":
            return self.denoiser.predict(x, t, **inputs)
        return PathPoint.at(self.sde, t).from_data("noise", self(x, t.to(x.dtype), **inputs), x)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        start: pd.Period | str = _A_MONDAY,
        like: Entry | None = None,
        seed: int = 0,
        method: Method | Sampler = "sde2",
        steps: int = 20,
        log_snr_end: float = 3.5,
        schedule: Sequence[float] | None = None,
        scales: Sequence[float] | None = None,
    ) -> Tensor:
        """Draw windows without any condition.

        Args:
            n: how many.
            start: first time step of every window, for its calendar.
            like: an entry whose "feat_static_real", "feat_static_cat" and "feat_dynamic_real" (k, length) the windows
                have, for models that take them.
            seed: window i depends on (seed, i) alone.
            method, steps: of `shared.samplers.sample`.
            log_snr_end: log-SNR of the last network call.
            schedule: times of the calls and of the end instead, steps + 1 of them.
            scales: one factor a window, in the series' units, or those of its transform; 1 leaves them relative to the
                context's scale.

        Returns:
            (n, length, channels).

        Raises:
            ConfigError: n < 1, not one positive scale a window, or a conditional model, which has nothing to go by.
            DataError: `like` lacks what the model takes.
        """
        n = checked(Count, n=n)
        if not self.config.draws_whole:
            raise ConfigError("a conditional model only forecasts; train one with conditional=False to draw windows")
        if self.config.awaits_freq:
            raise ConfigError("a model of all frequencies draws windows of one; take model.adapted(freq, steps).sample")
        factors = np.ones(n) if scales is None else np.asarray(scales, dtype=np.float64)
        if factors.shape != (n,) or not (np.isfinite(factors) & (factors > 0)).all():
            raise ConfigError(f"{len(factors)} scales for {n} windows: give one positive number each")
        inputs = self._unconditional_inputs(pd.Period(start, freq=self.config.freq), like, factors)
        generators = [make_generator(seed, "sample", i) for i in range(n)]
        found = knowing(method_from(method), self.law)
        if schedule is None:
            times = call_times(self.sde, steps, log_snr_end, found)
        else:
            times = torch.tensor(times_of(schedule, steps), dtype=torch.float64)
        drawn = self.eval().draw(inputs, generators, times, method=found).x
        windows = drawn[..., : self.config.channels] * self.statistics.spread + self.statistics.center
        if self.config.scaling == "anchor":
            windows = residuals(windows)
        windows = windows * torch.from_numpy(factors).to(windows)[:, None, None]
        if self.config.transform is None:
            return windows
        return torch.from_numpy(self.config.untransformed(windows.double().cpu().numpy())).to(windows)

    def law(self) -> Law:
        """The Gaussian law of the training windows, for the samplers that go by it.

        Raises:
            ConfigError: their covariance is not known.
        """
        covariance = self.statistics.covariance
        if covariance is None:
            raise ConfigError(
                "the model does not know the covariance of its training windows, which this sampler goes by: call "
                "`predictor.measure_covariance(dataset)` with the training series, or take ode2"
            )
        return covariance.law(self.config.length)

    def draw(
        self,
        inputs: Mapping[str, Tensor],
        generators: Sequence[torch.Generator],
        times: Tensor,
        first: int = 0,
        temperature: float = 1.0,
        **options: Any,
    ) -> SampleResult:
        """Windows (batch, length, network_channels) in the network's units, one for each generator.

        Args:
            inputs: see `forward`.
            generators: of the noise, one a window.
            times: of the network calls, and 0, see `call_times`.
            first: step from which on windows are asked for; what comes before it may be left out.
            temperature: deviation of the noise at the start, by the process' own.
            options: of `shared.samplers.sample`: method, guidance, ….
        """
        anchor, read = self.anchor(inputs), self.read(inputs, first)
        shape = (len(generators), self.config.length, self.config.network_channels)
        denoise = partial(self, y=anchor, **read)
        given: dict[str, Any] = {"schedule": times, "generator": list(generators), **options}
        kind = next(self.parameters()).dtype  # which torch's default need not be
        start = self.sde.prior_sample(shape if anchor is None else anchor, list(generators), kind, self.device)
        if temperature != 1:
            start = torch.lerp(torch.zeros_like(start) if anchor is None else anchor, start, temperature)
        memory = read.get("memory")
        if memory is None or anchor is not None or not self._alone(**options):
            return sample(denoise, self.sde, y=anchor, x_start=start, **given)
        points = memory.points
        result = sample(denoise, self.sde, x_start=start[:, points], **given)
        return replace(result, x=torch.zeros_like(start).index_copy(1, points, result.x))

    def _alone(self, method: Method | Sampler = "ode2", guidance: object = None, **others: Any) -> bool:
        """Whether the wanted points can be drawn by themselves: all is done to each point alone, and noise is only at
        the start, so that they come out as in the whole window, of which they are a small part."""
        found = method_from(method)
        quiet = isinstance(found, Exponential) and found.eta == 0 and found.shift is None
        quiet = quiet or (isinstance(found, FlowMap) and not found.denoise)
        return quiet and guidance is None and self.sde.noise is None and not others

    @torch.no_grad()
    def read(self, inputs: Mapping[str, Any], first: int = 0) -> Mapping[str, Any]:
        """Inputs (see `forward`) with what is the same for every state and time worked out once, for windows from step
        `first` on; it has no gradient."""
        network = self.denoiser.network
        return network.read(inputs, first) if isinstance(network, Network) else inputs

    def _unconditional_inputs(self, start: pd.Period, like: Entry | None, scales: np.ndarray) -> dict[str, Tensor]:
        """The network's inputs for windows of which nothing is observed but what is known of every step."""
        config, nothing = self.config, np.full((self.config.channels, self.config.length), np.nan)
        series = suited_series({**(like or {}), "start": start, "target": nothing}, config, "like")
        if config.scaling == "anchor":
            inputs = Windows.of([(series, 0)] * len(scales), config, self.statistics).inputs
        else:
            sizes = np.repeat(scales[:, None], config.channels, axis=1)
            inputs = inputs_of([(series, 0)] * len(scales), config, self.statistics, sizes)
        return {name: part.to(self.device) for name, part in inputs.items()}

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors` into the folder `path`, in the place of a forecaster that is
        there, whose sampling and horizon go with its model; `TSDiffPredictor.serialize` writes these, too."""
        folder = Path(path)
        others = [name for name in beside.ALL if (folder / name).exists()]
        parts = partial(beside.parts_of, folder)
        with replacing(folder, others=others, parts=parts) if others else nullcontext(folder) as made:
            save_checkpoint(made, FORMAT, VERSION, asdict(self.config), self.state_dict())

    @classmethod
    def from_pretrained(cls, path_or_name: str | os.PathLike[str], custom: Sequence[type] = ()) -> TSDiff:
        """A model from a folder, a bundled name or a hub id; a bundled name goes before a folder, which is "./name".

        Args:
            path_or_name: of the model.
            custom: classes of your own that its settings name by `kind` (processes, backbones).

        Raises:
            CheckpointError: there is none, or it is damaged, of another version, or does not fit.
        """
        folder = resolve(path_or_name, BUNDLED, FORMAT)
        saved = open_checkpoint(folder, FORMAT, VERSION)
        config = saved.settings(TSDiffConfig, custom)

        def build() -> TSDiff:
            model = cls(config)
            if config.scaling == "anchor" and any(name.startswith("weighing.") for name in saved.shapes):
                tuned = any(name.startswith("weighing.before.") for name in saved.shapes)
                model.weighing = TunedWeighing() if tuned else Weighing()
            return model

        # Models that were saved before these were measured, or were there, lack them.
        return saved.restore(build, optional=(*_MEASURED, *_LATER))
