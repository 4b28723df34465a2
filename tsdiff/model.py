"""TSDiff: an unconditional diffusion model of windows of a series, with its scaling and its process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from shared.checkpoint import dataclass_from, load_checkpoint, load_state, resolve, save_checkpoint
from shared.errors import CheckpointError, ConfigError
from shared.predictions import Denoiser, PathPoint
from shared.random import make_generator
from shared.samplers import Method, sample, time_grid
from shared.sde import SDE, DiscreteVPSDE, sde_from_config
from tsdiff.backbones import PatchedS4D, S4Backbone, S4Config
from tsdiff.calendar import calendar_features, calendar_width
from tsdiff.config import TSDiffConfig
from tsdiff.windows import Statistics

FORMAT, VERSION = "tsdiff", 1
BUNDLED = Path(__file__).parent / "pretrained"
_A_MONDAY = "2001-01-01"


class TSDiff(nn.Module):
    """Unconditional diffusion over windows of context_length + prediction_length steps (Kollovieh et al. 2023).

    Args:
        config: what the model is.
        statistics: of the training windows.
    """

    statistics_values: Tensor

    def __init__(self, config: TSDiffConfig, statistics: Statistics | None = None):
        super().__init__()
        self.config = config
        self.sde = sde_from_config(config.sde)
        self.denoiser = Denoiser(_network(config, self.sde), self.sde, config.output)
        values = list(asdict(statistics or Statistics()).values())
        self.register_buffer("statistics_values", torch.tensor(values, dtype=torch.float64))

    @property
    def statistics(self) -> Statistics:
        """Of the training windows."""
        return Statistics(*self.statistics_values.tolist())

    @statistics.setter
    def statistics(self, statistics: Statistics) -> None:
        self.statistics_values.copy_(torch.tensor(list(asdict(statistics).values()), dtype=torch.float64))

    @property
    def channels(self) -> int:
        """Of a window: the series, and its lagged copies if the model was trained with them."""
        return self.config.backbone.channels if isinstance(self.config.backbone, S4Config) else 1

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, x: Tensor, t: Tensor, features: Tensor | None = None) -> Tensor:
        """The data prediction x̂_0 at noisy windows x (batch, length, channels) and times t (batch,)."""
        return self.denoiser(x, t, **({} if features is None else {"features": features}))

    def predict_noise(self, x: Tensor, step: Tensor, features: Tensor | None = None) -> Tensor:
        """The noise in windows x (batch, length, channels) at 0-based steps (batch,) of the table.

        Args:
            features: what the model knows of every point, (batch or 1, length, k); see the backbone.

        Raises:
            ConfigError: the model's process is not a table, or a step is not in it.
        """
        if not isinstance(self.sde, DiscreteVPSDE):
            raise ConfigError(f"{type(self.sde).__name__} has no table of steps; call the model with a time instead")
        if step.numel() and not bool(((step >= 0) & (step < len(self.sde))).all()):
            raise ConfigError(f"steps {step.tolist()[:5]}: each must lie in 0 … {len(self.sde) - 1}")
        t = self.sde.time_of_step(step).to(x.device)
        if self.denoiser.output == "noise":
            return self.denoiser.predict(x, t, **({} if features is None else {"features": features}))
        return PathPoint.at(self.sde, t).from_data("noise", self(x, t.to(x.dtype), features), x)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        start: pd.Period | str = _A_MONDAY,
        seed: int = 0,
        method: Method = "sde2",
        steps: int = 20,
        log_snr_end: float = 3.5,
        scales: Sequence[float] | None = None,
    ) -> Tensor:
        """Draw windows without any condition.

        Args:
            n: how many.
            start: first time step of every window, for its calendar.
            seed: window i depends on (seed, i) alone.
            method, steps: of `shared.samplers.sample`.
            log_snr_end: log-SNR of the last network call.
            scales: one factor a window, in the series' units; 1 leaves them relative to the context's scale.

        Returns:
            (n, length, 1).

        Raises:
            ConfigError: n < 1, or not one scale a window.
        """
        if n < 1:
            raise ConfigError(f"n={n}: need at least one window")
        if scales is not None and len(scales) != n:
            raise ConfigError(f"{len(scales)} scales for {n} windows: give one each")
        features = self.calendar(pd.Period(start, freq=self.config.freq))
        generators = [make_generator(seed, "sample", i) for i in range(n)]
        self.eval()
        result = sample(
            lambda x, t: self(x, t, features),
            self.sde,
            (n, self.config.length, self.channels),
            method=method,
            steps=steps,
            schedule=call_times(self.sde, steps, log_snr_end),
            generator=generators,
            device=self.device,
        )
        windows = result.x[..., :1] * self.statistics.spread + self.statistics.center
        return windows if scales is None else windows * torch.tensor(scales, device=windows.device)[:, None, None]

    def calendar(self, start: pd.Period) -> Tensor | None:
        """Calendar features (1, length, k) of a window that starts at `start`, or None."""
        if not self.config.calendar:
            return None
        return torch.from_numpy(calendar_features(start, self.config.length))[None].to(self.device)

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors` into the folder `path`."""
        save_checkpoint(path, FORMAT, VERSION, asdict(self.config), self.state_dict())

    @classmethod
    def from_pretrained(cls, path_or_name: str | os.PathLike[str]) -> TSDiff:
        """A model from a folder, a bundled name or a hub id.

        Raises:
            CheckpointError: there is none, or it is damaged, of another version, or does not fit.
        """
        folder = resolve(path_or_name, BUNDLED)
        config, state = load_checkpoint(folder, FORMAT, VERSION)
        settings = dataclass_from(TSDiffConfig, config, str(folder))
        try:
            model = cls(settings)
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"settings in {folder} do not make a model: {error}") from error
        load_state(model, state, str(folder))
        return model.eval()


class _LevelNetwork(nn.Module):
    """Gives the backbone the log-SNR where the core gives the time."""

    def __init__(self, backbone: PatchedS4D, sde: SDE):
        super().__init__()
        self.backbone, self.sde = backbone, sde

    def forward(self, x: Tensor, t: Tensor, features: Tensor | None = None) -> Tensor:
        log_snr = self.sde.log_snr(t.double()).clamp(-20.0, 20.0)
        return self.backbone(x, log_snr.to(x.dtype), features)


class _StepNetwork(nn.Module):
    """Gives the backbone the table's step where the core gives the time."""

    def __init__(self, backbone: S4Backbone, sde: DiscreteVPSDE):
        super().__init__()
        self.backbone, self.sde = backbone, sde

    def forward(self, x: Tensor, t: Tensor, features: Tensor | None = None) -> Tensor:
        return self.backbone(x, self.sde.step_of_time(t.double()).clamp_min(0.0), features)


def _network(config: TSDiffConfig, sde: SDE) -> nn.Module:
    calendar = calendar_width(config.freq) if config.calendar else 0
    if not isinstance(config.backbone, S4Config):
        return _LevelNetwork(PatchedS4D(config.backbone, config.length, channels=1, features=calendar), sde)
    if not isinstance(sde, DiscreteVPSDE):
        raise ConfigError(f"the S4 backbone needs a table of steps (DiscreteVPSDE), not {type(sde).__name__}")
    return _StepNetwork(S4Backbone(config.backbone, config.length, calendar + config.backbone.features), sde)


def call_times(sde: SDE, steps: int, log_snr_end: float) -> Tensor:
    """Times of `steps` network calls, uniform in log-SNR from T to `log_snr_end`, and 0: (steps + 1,).

    The last step is to clean data, which is the data prediction of the last call.
    """
    last = float(sde.time_of_log_snr(log_snr_end))
    if steps == 1:
        return torch.tensor([sde.T, 0.0], dtype=torch.float64)
    return torch.cat([time_grid(sde, steps - 1, "log_snr", t_end=last), torch.zeros(1, dtype=torch.float64)])
