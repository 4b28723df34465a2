"""The settings of a TSDiff model and of how it is sampled."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Discriminator, Tag

from shared.errors import ConfigError
from shared.predictions import NetworkOutput
from shared.samplers import MOST_STEPS, Method
from shared.sde import DiscreteVPSDE, linear_betas, sde_to_config
from shared.settings import whole_number
from tsdiff.backbones import S4Config, S4DConfig
from tsdiff.data.frequency import base_freq, candidate_seasons, normalise_freq

Scaling = Literal["mean", "standard", "last", "none"]
Calendar = Literal["none", "waves", "gluonts", "season"]
Energy = Literal["mse", "quantile"]
Covariance = Literal["window", "tweedie", "scalar", "kernels"]
SamplingMethod = Literal[Method, "ddpm", "ddim"]
SkipType = Literal["uniform", "quadratic"]

# How many seasons of context serve well where nothing is said: two weeks of hours, twelve of days, …
_CONTEXT = {"s": 720, "min": 720, "h": 336, "D": 84, "B": 60, "W": 52, "M": 48, "Q": 20, "Y": 12}
_LONGEST_PATCH = 48
_COUNTS = (
    "prediction_length",
    "context_length",
    "channels",
    "dynamic_features",
    "static_features",
    "external_features",
)
# No shape of a saved model tells these, and memory goes with them: a damaged file must not ask for any amount.
_LONGEST, _LARGEST, _LONGEST_LAG = 1 << 17, 1 << 19, 1 << 20
_MOST_ROWS = 1 << 16
ANY_FREQ = "any"
"""The frequency of a model of all frequencies; `TSDiff.adapted` gives it one, and a horizon up to its longest."""


def _backbone_kind(value: Any) -> str:
    """Which backbone a value or its JSON describes; models saved before there were two have no `kind`."""
    return value.get("kind", "s4d") if isinstance(value, dict) else getattr(value, "kind", "")


BackboneConfig = Annotated[
    Annotated[S4DConfig, Tag("s4d")] | Annotated[S4Config, Tag("s4")], Discriminator(_backbone_kind)
]


def paper_sde() -> DiscreteVPSDE:
    """TSDiff's table: 100 steps, betas linear from 1e-4 to 0.1 (Kollovieh et al. 2023, appendix B)."""
    return DiscreteVPSDE(linear_betas(100, 1e-4, 0.1))


@dataclass(frozen=True)
class TSDiffConfig:
    """What a TSDiff model is.

    Args:
        freq: normalised pandas frequency of the series; "any" of a model of all (`ANY_FREQ`).
        prediction_length: steps to forecast; the most of them for a model of all frequencies.
        context_length: steps before them that a window holds; a window has at most 131,072 steps and 524,288 values.
        scaling: windows are divided by the mean absolute value of their context ("mean", the paper's), or brought to
            zero mean and unit deviation of it ("standard"), or taken relative to its last value, in units of its mean
            absolute change from one value to the next ("last", for random walks), or left as they are ("none");
            missing values are left out. What the forecast of a window of almost no spread is scaled by,
            `tsdiff.scales.without_level` says.
        calendar: what the network sees of each step's place in time: "waves", sines and cosines of its place in the
            day, week or year; "gluonts", GluonTS's time features and the logarithm of the series' age, as published;
            "season", the same columns for all frequencies (`tsdiff.calendar.calendar_features`), where the network is
            also told which steps lie before the series and sees nothing there.
        backbone: sizes of the network: the patched S4D, or the published S4, which needs a process that is a table.
        sde: the diffusion process, as `shared.sde.sde_to_config` writes it.
        output: what the network predicts.
        channels: dimensions of the series; targets are (length,) for one, (channels, length) for more.
        lags: the window's channels also hold the series this many steps before, diffused with it, as published.
        dynamic_features: rows of "feat_dynamic_real", known for the horizon too.
        static_features: length of "feat_static_real".
        categories: how many values each "feat_static_cat" takes; each is embedded.
        scale_feature: whether the network sees the logarithm of the window's scale.
        conditional: TSDiff-Cond: the network sees the observed values and which they are (Kollovieh et al. 2023, §5).
        known_lags: a conditional network is also told the series this many steps before, scaled like the window, 0
            where it is not known. Imported TSDiff-Cond models have them; other conditional models take `lags`.
        external_features: features that the network takes from its callers alone. Imported models that were trained
            without features have them; forecasts give none.
        default_scale: with "mean", the scale of a context that holds no value but zeros. None takes that of the whole
            series, 0 that of all windows which are drawn or trained on together, as published (GluonTS's MeanScaler).
        minimum_scale: no scale is smaller.
    """

    freq: str
    prediction_length: int
    context_length: int
    scaling: Scaling = "mean"
    calendar: Calendar = "waves"
    backbone: BackboneConfig = field(default_factory=S4DConfig)
    sde: dict[str, Any] = field(default_factory=lambda: sde_to_config(paper_sde()))
    output: NetworkOutput = "velocity"
    channels: int = 1
    lags: tuple[int, ...] = ()
    dynamic_features: int = 0
    static_features: int = 0
    categories: tuple[int, ...] = ()
    scale_feature: bool = False
    conditional: bool = False
    known_lags: tuple[int, ...] = ()
    external_features: int = 0
    default_scale: float | None = None
    minimum_scale: float = sys.float_info.min

    def __post_init__(self) -> None:
        if self.freq == ANY_FREQ:
            if self.calendar not in ("season", "none"):
                raise ConfigError(f"calendar={self.calendar!r} needs one frequency; with freq='any' take 'season'")
        elif normalise_freq(self.freq) != self.freq:
            raise ConfigError(f"freq={self.freq!r}: write it as {normalise_freq(self.freq)!r}")
        for name in _COUNTS:
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        for name in ("lags", "known_lags", "categories"):
            object.__setattr__(self, name, tuple(whole_number(name, value) for value in getattr(self, name)))
        if self.prediction_length < 1:
            raise ConfigError(f"prediction_length={self.prediction_length}: need at least one step to forecast")
        if self.context_length < 1:
            raise ConfigError(f"context_length={self.context_length}: need at least one step of context")
        if self.scaling not in get_args(Scaling):
            raise ConfigError(f"scaling={self.scaling!r}: choose one of {', '.join(get_args(Scaling))}")
        if self.calendar not in get_args(Calendar):
            raise ConfigError(f"calendar={self.calendar!r}: choose one of {', '.join(get_args(Calendar))}")
        if self.channels < 1:
            raise ConfigError(f"channels={self.channels}: a series has at least one")
        if self.length > _LONGEST or self.length * self.network_channels > _LARGEST:
            raise ConfigError(
                f"windows of context_length + prediction_length = {self.length} steps and {self.network_channels} "
                f"channels (those of lags counted): need at most {_LONGEST} steps, and {_LARGEST} values"
            )
        for name in ("dynamic_features", "static_features", "external_features"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}: need 0 or more")
        for name in ("lags", "known_lags"):
            lags = getattr(self, name)
            if any(not 1 <= lag <= _LONGEST_LAG for lag in lags) or len(set(lags)) < len(lags):
                raise ConfigError(f"{name}={lags}: need different numbers of steps, each from 1 to {_LONGEST_LAG}")
        if self.default_scale is not None and not (self.scaling == "mean" and 0 <= self.default_scale < math.inf):
            raise ConfigError(f"default_scale={self.default_scale}: need a number from 0, and scaling='mean'")
        if not 0 < self.minimum_scale < math.inf:
            raise ConfigError(f"minimum_scale={self.minimum_scale}: need a positive number")
        if self.known_lags and not self.conditional:
            raise ConfigError(f"known_lags={self.known_lags}: only a conditional network is told them")
        if any(size < 1 for size in self.categories):
            raise ConfigError(f"categories={self.categories}: each takes at least one value")
        if self.length % self.backbone.patch:
            raise ConfigError(
                f"context_length + prediction_length = {self.length} is not a multiple of the patch, "
                f"{self.backbone.patch}; `fitting_context` gives a context that fits"
            )

    @property
    def length(self) -> int:
        """Steps in a window: context and horizon."""
        return self.context_length + self.prediction_length

    @property
    def network_channels(self) -> int:
        """Channels of a window: the series', then those of each lag."""
        return self.channels * (1 + len(self.lags))


@dataclass(frozen=True)
class Sampling:
    """How forecasts are drawn.

    Args:
        guidance: energy of observation self-guidance: "mse" (Gaussian likelihood of the observed values) or
            "quantile" (each sample is drawn to its own quantile of them).
        covariance: how far an observed value moves the others: as far as in the training windows ("window", which
            costs no gradient of the network), as the network's Jacobian says ("tweedie"), or along it with one
            variance for all ("scalar"), or as far as in the Gaussian process that explains the observed values best
            among a fixed family ("kernels"); see `tsdiff.guidance`. None takes "window" where the model knows the
            covariance of its training windows, "kernels" where it is a model of all frequencies, and else "scalar".
        scale: strength of the guidance; 1 is the likelihood's own. With "scalar" it overshoots and diverges at about 3.
        observation_std: standard deviation that an observed value is trusted to, in scaled units; None takes
            0.02 with "mse" and 0.1 with "quantile", where it also widens the intervals.
        kernel_share: with "kernels", share of the Gaussian process in the data prediction; the rest is the network's.
        method: of `shared.samplers.sample`; or as published, "ddpm", "ddim" (`tsdiff.published`), where `scale` is
            the published one, and `covariance`, `observation_std`, `steps` and `log_snr_end` have no part.
        steps: network calls of a multistep method, up to 10,000.
        log_snr_end: log-SNR of the last call; the result is the data prediction there.
        eta: share of fresh noise, from 0 to 1; None takes the method's own: 1 for "sde1", "sde2", "ddpm", else 0.
        skip: of "ddim": of the table's steps every skip-th is used.
        skip_type: of "ddim": "uniform" or "quadratic".
        minimum: samples below it are raised to it, in the series' own units: 0 for counts and amounts; None for none.
        nonnegative: windows of which no observed value is below 0 get no sample below 0, as for counts and amounts.
        seed: of the samples; an item's samples depend on it, the item's name and time, and nothing else.
        batch_rows: samples that go through the network together, up to 65,536; bounds memory, does not change results,
            but for windows without a scale in a model whose `default_scale` is 0.
    """

    guidance: Energy = "mse"
    covariance: Covariance | None = None
    scale: float = 1.0
    observation_std: float | None = None
    kernel_share: float = 0.0
    method: SamplingMethod = "sde2"
    steps: int = 16
    log_snr_end: float = 2.5
    eta: float | None = None
    skip: int = 1
    skip_type: SkipType = "uniform"
    minimum: float | None = None
    nonnegative: bool = False
    seed: int = 0
    batch_rows: int = 512

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str | None, ...]] = {
            "guidance": get_args(Energy),
            "covariance": (*get_args(Covariance), None),
            "method": get_args(SamplingMethod),
            "skip_type": get_args(SkipType),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                listed = ", ".join(str(choice) for choice in known)
                raise ConfigError(f"{name}={getattr(self, name)!r}: choose one of {listed}")
        for name in ("scale", "observation_std"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"{name}={value}: need a number that is 0 or more")
        if not 0 <= self.kernel_share <= 1:
            raise ConfigError(f"kernel_share={self.kernel_share}: a share lies between 0 and 1")
        if self.minimum is not None and not math.isfinite(self.minimum):
            raise ConfigError(f"minimum={self.minimum}: need a finite number, or None for no limit")
        if not math.isfinite(self.log_snr_end):
            raise ConfigError(f"log_snr_end={self.log_snr_end}: need a finite number")
        if self.eta is not None and not 0 <= self.eta <= 1:
            raise ConfigError(f"eta={self.eta}: the share of fresh noise lies between 0 and 1")
        for name in ("steps", "skip", "batch_rows", "seed"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        for name, most in (("steps", MOST_STEPS), ("skip", MOST_STEPS), ("batch_rows", _MOST_ROWS)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"{name}={getattr(self, name)}: need 1 to {most}")

    @property
    def trust(self) -> float:
        """The standard deviation that an observed value is trusted to."""
        return _TRUST[self.guidance] if self.observation_std is None else self.observation_std


_TRUST: dict[Energy, float] = {"mse": 0.02, "quantile": 0.1}


def compute_device(name: str | torch.device) -> torch.device:
    """The device of that name, after a look whether it can be used here; "auto" takes a GPU where there is one.

    Raises:
        ConfigError: unknown, not on this machine, or without double precision, which the processes need.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"device {str(name)!r} cannot be used here ({reason}); use cpu") from error
    return device


def default_patch(freq: str) -> int:
    """Points in a token for a normalised frequency: its primary season, or 8 where that is too long."""
    season = candidate_seasons(freq)[0]
    if season > _LONGEST_PATCH:
        return 4 if base_freq(freq) == "W" else 8
    return season


def fitting_context(freq: str, prediction_length: int, patch: int, context_length: int | None = None) -> int:
    """The smallest context of at least `context_length` (default: by frequency) whose window is whole patches."""
    if context_length is not None and context_length < 1:
        raise ConfigError(f"context_length={context_length}: need at least one step of context")
    wanted = context_length or max(_CONTEXT.get(base_freq(freq), 64), 2 * prediction_length)
    return wanted + -(wanted + prediction_length) % patch
