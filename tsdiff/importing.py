"""TSDiff models that the published training script saved.

The script (Kollovieh et al. 2023) saves the state dict of its module, or a Lightning checkpoint around it. Names and
shapes there tell the sizes of the network; what they do not tell comes from the script's configuration.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from shared.errors import CheckpointError, ConfigError
from shared.sde import DiscreteVPSDE, cosine_betas, linear_betas, sde_to_config
from tsdiff.backbones import S4Backbone, S4Config
from tsdiff.calendar import calendar_width
from tsdiff.config import TSDiffConfig
from tsdiff.data.frequency import base_freq, normalise_freq
from tsdiff.model import PointInputs, TSDiff
from tsdiff.windows import Statistics

_TOP = {"input_init.0": "input", "time_init.0": "level.0", "time_init.2": "level.2"}
_TOP |= {"out_linear.0": "head", "out_linear.2": "output"}
_LAYERS = {
    "s4block.norm": "norm",
    "s4block.layer.output_linear": "mix",
    "time_linear": "step",
    "feature_encoder": "feature_input",
    "out_linear1": "to_stream",
    "out_linear2": "to_skip",
}
_KERNEL = {
    "D": "direct",
    "kernel.kernel.C": "readout",
    "kernel.kernel.B": "gain",
    "kernel.kernel.P": "low_rank",
    "kernel.kernel.log_dt": "log_step",
    "kernel.kernel.inv_w_real": "log_decay",
    "kernel.kernel.w_imag": "frequency",
    "kernel.kernel.L": "horizon",
}

# What the script's configurations and the hyperparameters of its module hold.
_SETTINGS = {"freq", "context_length", "prediction_length", "normalization", "use_lags", "use_features", "init_skip"}
_SETTINGS |= {"timesteps", "diffusion_scheduler", "diffusion_config", "backbone_parameters", "dropout", "conjugates"}
_SETTINGS |= {"num_feat_static_real"}
_IGNORED = {"model", "dataset", "lr", "gradient_clip_val", "max_epochs", "num_batches_per_epoch", "batch_size"}
_IGNORED |= {"num_samples", "sampler", "sampler_params", "use_validation_set", "eval_every", "device", "setup"}
_IGNORED |= {"guidance", "missing_data_configs", "do_final_eval", "num_feat_dynamic_real", "num_feat_static_cat"}
_IGNORED |= {"cardinalities"}
# What shapes tell.
_IGNORED |= {"input_dim", "hidden_dim", "output_dim", "step_emb", "num_residual_blocks", "residual_block"}
_DROPOUTS = {"dropout": 0.1, "dropout02": 0.2, "dropout03": 0.3}

_EMBEDDER = "embedder."
# Feature inputs beyond those of the clock: scale, static category, static number, age.
_OTHER_FEATURES = 4
_HORIZONS = {"h": 24, "D": 30, "B": 30}
PUBLISHED_LAGS = {"h": tuple(24 * days for days in (1, 2, 3, 4, 5, 6, 7, 14, 21, 28))}
PUBLISHED_LAGS |= {freq: tuple(range(30, 361, 30)) for freq in ("D", "B")}
_CLOCKS = {4: "h", 3: "D"}


class _Inert:
    """Stands for a function of the published code that a checkpoint names; it does nothing."""

    def __init__(self, *_: Any) -> None: ...


class _Linear(_Inert):
    """In the place of the linear schedule."""


class _Cosine(_Inert):
    """In the place of the cosine schedule."""


_STAND_INS = [
    (_Linear, "uncond_ts_diff.utils.linear_beta_schedule"),
    (_Cosine, "uncond_ts_diff.utils.cosine_beta_schedule"),
]


def import_checkpoint(
    path: str | os.PathLike[str], config: str | os.PathLike[str] | Mapping[str, Any] | None = None
) -> TSDiff:
    """A published TSDiff with its weights. Only tensors and plain values are read: code in the file does not run.

    Width, blocks, state, step embedding, channels and features follow from the shapes. The rest comes from `config`,
    then from a Lightning checkpoint's hyperparameters, then from what the shapes suggest or the published
    configurations have in common, of which a warning tells. Two settings leave no trace in shapes and are found by a
    test where they are not given: at the table's last step a window is nearly pure noise, which a trained network
    gives back, so that

    - `init_skip` (add the input to the output) is what gives it back best;
    - `conjugates` (see `S4Config`) is set where that at least halves the error. The published code differs from
      itself here: with KeOps or its CUDA extension it sums over both members of each conjugate pair of states,
      without them over one. An undecided case, such as untrained weights, is taken as the published code computes
      it on a plain CPU: over one.

    A model that was trained with features (use_features) sees the window's log-scale, embedded categories, static
    numbers, GluonTS's time features, the series' age and dynamic numbers, in this order; entries to forecast need
    "feat_static_cat" and "feat_static_real", which the published transforms set to [0] and [0.0] where a data set has
    none. Without use_features the network's feature inputs are kept for `predict_noise` alone.

    The training windows' statistics are unknown: center 0 and spread 1, as published; `top_variance` is the context's
    length, the variance that the level alone has after mean scaling, which keeps guidance on the stable side.

    Args:
        path: what `torch.save` made of the module's state dict, or a Lightning checkpoint.
        config: the script's YAML, or a mapping of its settings (freq, context_length, prediction_length,
            normalization, use_lags, use_features, init_skip, timesteps, diffusion_scheduler, dropout, conjugates).

    Returns:
        A TSDiff with an `S4Backbone`, without calendar, that predicts noise; in evaluation mode.

    Raises:
        CheckpointError: the file is missing or damaged, holds more than tensors and plain values, or has keys that
            are missing, unknown, of the wrong shape or not finite; the message names them.
        ConfigError: a setting that cannot be used or contradicts the weights.
    """
    state, hyper = _read(Path(path))
    settings = _Settings({**hyper, **_given(config)}, str(path))
    shapes = _Shapes.of(state, str(path))
    model = _build(state, shapes, settings, str(path))
    if settings.assumed:
        warnings.warn(f"{path}: assumed {', '.join(settings.assumed)}; give `config` to say otherwise", stacklevel=2)
    return model


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict of the backbone and the hyperparameters, by torch's restricted reader."""
    try:
        with torch.serialization.safe_globals(_STAND_INS):  # type: ignore[arg-type]
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}") from error
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise CheckpointError(
            f"{path} is damaged, or holds more than tensors and plain values and is not read ({reason}); "
            "save the module's state_dict() alone"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); it may be truncated: copy it again") from error
    hyper: Any = {}
    if isinstance(content, Mapping) and "state_dict" in content:
        content, hyper = content["state_dict"], content.get("hyper_parameters") or {}
    if not isinstance(content, Mapping) or not isinstance(hyper, Mapping):
        raise CheckpointError(f"{path} holds no state dict")
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(f"{path}: {', '.join(others[:5])} are not tensors; save the module's state_dict() alone")
    state = {str(k).removeprefix("backbone."): v for k, v in content.items()}
    return state, {str(name): value for name, value in hyper.items()}


def _given(config: str | os.PathLike[str] | Mapping[str, Any] | None) -> dict[str, Any]:
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        try:
            config = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"the configuration {config} cannot be read: {error}") from error
        if not isinstance(config, Mapping):
            raise ConfigError("the configuration is not a mapping of settings")
    unknown = [str(name) for name in config if name not in _SETTINGS | _IGNORED]
    if unknown:
        raise ConfigError(f"unknown settings {', '.join(unknown)}; known: {', '.join(sorted(_SETTINGS))}")
    return dict(config)


@dataclass(frozen=True)
class _Shapes:
    """What the weights tell.

    Attributes:
        network: its sizes.
        channels: of the window: the series and its lagged copies.
        features: that the network takes at every point.
        categories: that are embedded: how many values each takes.
        horizon: length that the kernels were made for, 0 where they never were.
    """

    network: S4Config
    channels: int
    features: int
    categories: tuple[int, ...]
    horizon: int

    @classmethod
    def of(cls, state: Mapping[str, Tensor], origin: str) -> _Shapes:
        first = "residual_blocks.0.s4block.layer.kernel.kernel"
        dims = {"input_init.0.weight": 2, "time_init.0.weight": 2, f"{first}.C": 4, f"{first}.L": 0}
        problems = [f"missing key {name!r}" for name in dims if name not in state]
        problems += [
            f"key {name!r} has shape {tuple(state[name].shape)}, of {n} dimensions in the published model"
            for name, n in dims.items()
            if name in state and state[name].ndim != n
        ]
        if problems:
            raise CheckpointError(f"{origin} is no published TSDiff: {'; '.join(problems)}")
        blocks = {int(found[1]) for name in state if (found := re.match(r"residual_blocks\.(\d+)\.", name))}
        width, channels = state["input_init.0.weight"].shape
        encoder = state.get("residual_blocks.0.feature_encoder.weight")
        network = S4Config(
            width=width,
            blocks=len(blocks),
            state=2 * state[f"{first}.C"].shape[2],
            step_embedding=state["time_init.0.weight"].shape[1],
        )
        features = encoder.shape[1] if encoder is not None and encoder.ndim == 3 else 0
        sizes = {name: len(state[name]) for name in sorted(state) if name.startswith(_EMBEDDER)}
        return cls(network, channels, features, tuple(sizes.values()), int(state[f"{first}.L"]))


class _Settings:
    """The settings that are given, and a list of those that were not."""

    def __init__(self, values: Mapping[str, Any], origin: str):
        self.values, self.origin, self.assumed = values, origin, list[str]()

    def flag(self, name: str) -> bool | None:
        """A yes or no, None where it is not given."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f"{name}={value!r}: give true or false")
        return value

    def count(self, name: str) -> int | None:
        """A positive whole number, None where it is not given."""
        value = self.values.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"{name}={value!r}: give a whole number from 1")
        return value

    def assume(self, name: str, value: Any) -> Any:
        """A default, remembered for the warning."""
        self.assumed.append(f"{name}={value!r}")
        return value

    def dropout(self) -> float:
        """Of the network, which matters only if it is trained further."""
        sizes = self.values.get("backbone_parameters")
        by_name = _DROPOUTS.get(str(self.values.get("diffusion_config", "")).split("_")[-1], 0.0)
        return float(self.values.get("dropout", sizes.get("dropout", 0.0) if isinstance(sizes, Mapping) else by_name))

    def table(self) -> DiscreteVPSDE:
        """The diffusion table: 100 linear steps unless said otherwise."""
        steps, schedule = self.count("timesteps") or 100, self.values.get("diffusion_scheduler", "linear")
        name = schedule if isinstance(schedule, str) else getattr(schedule, "__name__", repr(schedule))
        if "linear" in name.lower():
            return DiscreteVPSDE(linear_betas(steps, 1e-4, 0.1))
        if "cosine" in name.lower():
            return DiscreteVPSDE([max(beta, 1e-4) for beta in cosine_betas(steps, beta_max=0.9999)])
        raise ConfigError(f"diffusion_scheduler={name!r}: known are linear and cosine")

    def freq(self, shapes: _Shapes) -> str:
        """Frequency: given, or that of the lags, or that whose clock has as many hands as there are features."""
        if self.values.get("freq") is not None:
            return normalise_freq(str(self.values["freq"]))
        by_lags = next((freq for freq, lags in PUBLISHED_LAGS.items() if len(lags) == shapes.channels - 1), None)
        guess = by_lags or _CLOCKS.get(shapes.features - _OTHER_FEATURES, "h")
        return self.assume("freq", guess)

    def lengths(self, freq: str, horizon: int) -> tuple[int, int]:
        """Context and prediction length: given, or such that their sum is what the kernels were made for."""
        context, prediction = self.count("context_length"), self.count("prediction_length")
        if prediction is None and context is not None and horizon > context:
            prediction = self.assume("prediction_length", horizon - context)
        if prediction is None:
            prediction = self.assume("prediction_length", _HORIZONS.get(base_freq(freq), 24))
        if context is None:
            if horizon <= prediction:
                raise ConfigError(
                    f"the kernels of {self.origin} do not tell the length of its windows; give context_length and "
                    "prediction_length in `config`"
                )
            context = self.assume("context_length", horizon - prediction)
        return context, prediction


def _build(state: Mapping[str, Tensor], shapes: _Shapes, settings: _Settings, origin: str) -> TSDiff:
    lags, features = settings.flag("use_lags"), settings.flag("use_features")
    if lags is not None and lags != (shapes.channels > 1):
        raise ConfigError(f"use_lags={lags}, but the network of {origin} has {shapes.channels} channels")
    if features and not shapes.features:
        raise ConfigError(f"use_features=True, but the network of {origin} takes no features")
    normalization = settings.values.get("normalization") or settings.assume("normalization", "mean")
    if normalization != "mean":
        raise ConfigError(f"normalization={normalization!r} cannot be used here; windows are scaled by 'mean'")
    freq = settings.freq(shapes)
    context, prediction = settings.lengths(freq, shapes.horizon)
    skip, pairs = settings.flag("init_skip"), settings.flag("conjugates")
    network = replace(
        shapes.network,
        dropout=settings.dropout(),
        input_skip=bool(skip),
        conjugates=bool(pairs),
    )
    config = TSDiffConfig(
        freq=freq,
        prediction_length=prediction,
        context_length=context,
        calendar="none",
        backbone=network,
        sde=sde_to_config(settings.table()),
        output="noise",
        lags=_lags(freq, shapes, origin),
        external_features=shapes.features,
    )
    if features:
        config = _with_features(config, shapes, settings, origin)
    model = _loaded(config, state, origin)
    if skip is None or pairs is None:
        errors = {
            (s, p): _noise_error(_loaded(_with(config, s, p), state, origin))
            for s, p in product(
                (True, False) if skip is None else (skip,), (False, True) if pairs is None else (pairs,)
            )
        }
        best_skip = min(errors, key=lambda key: errors[key])[0]
        best_pairs = pairs
        if pairs is None:
            best_pairs = settings.assume(
                "conjugates", errors[best_skip, True] < 0.5 * min(1.0, errors[best_skip, False])
            )
        if skip is None:
            settings.assume("init_skip", best_skip)
        model = _loaded(_with(config, best_skip, bool(best_pairs)), state, origin)
    return model


def _lags(freq: str, shapes: _Shapes, origin: str) -> tuple[int, ...]:
    """The published lags of a frequency, if the network has channels for them."""
    if shapes.channels == 1:
        return ()
    lags = PUBLISHED_LAGS.get(freq, ())
    if len(lags) != shapes.channels - 1:
        raise ConfigError(
            f"the network of {origin} has {shapes.channels - 1} lags, the published ones of freq={freq!r} are "
            f"{len(lags)}; give the frequency that it was trained with in `config`"
        )
    return lags


def _with_features(config: TSDiffConfig, shapes: _Shapes, settings: _Settings, origin: str) -> TSDiffConfig:
    """The settings of a model that was trained with features: what each of them is, in the published order."""
    described = replace(
        config,
        calendar="gluonts",
        scale_feature=True,
        categories=shapes.categories or (1,),
        static_features=settings.count("num_feat_static_real") or 1,
        external_features=0,
    )
    embedded = sum(min(50, (size + 1) // 2) for size in described.categories)
    known = 1 + embedded + described.static_features + calendar_width(config.freq, "gluonts")
    if known > shapes.features:
        raise ConfigError(
            f"the network of {origin} takes {shapes.features} features, but scale, categories, static numbers and "
            f"clock of {config.freq!r} alone are {known}; give the data's freq and num_feat_static_real in `config`"
        )
    return replace(described, dynamic_features=shapes.features - known)


def _with(config: TSDiffConfig, skip: bool, conjugates: bool) -> TSDiffConfig:
    assert isinstance(config.backbone, S4Config)
    return replace(config, backbone=replace(config.backbone, input_skip=skip, conjugates=conjugates))


def _loaded(config: TSDiffConfig, state: Mapping[str, Tensor], origin: str) -> TSDiff:
    """A model with the published weights."""
    with torch.random.fork_rng(devices=[]):  # weights that are drawn only to be replaced leave no trace
        model = TSDiff(config, Statistics(top_variance=float(config.context_length)))
    backbone = model.denoiser.network.backbone
    assert isinstance(backbone, S4Backbone)
    own, names = backbone.state_dict(), _names(len(backbone.blocks))
    inputs = model.denoiser.network.inputs
    assert isinstance(inputs, PointInputs)
    embedded = {name: value for name, value in state.items() if name.startswith(_EMBEDDER)}
    state = {name: value for name, value in state.items() if name not in embedded}
    if inputs.embedder is not None:
        _load_embedder(inputs.embedder, embedded, origin)
    problems = [f"missing key {name!r}" for name, target in names.items() if target in own and name not in state]
    problems += [f"unknown key {name!r}" for name in state if name not in names]
    converted: dict[str, Tensor] = {}
    for name, target in names.items():
        if target not in own or name not in state:
            continue  # the last block's way to the stream leads nowhere, and is not kept
        value, like = state[name], own[target]
        if _squeezed(value) != _squeezed(like):
            problems.append(f"key {name!r} has shape {tuple(value.shape)}, which is no form of {tuple(like.shape)}")
        elif not bool(torch.isfinite(value).all()):
            problems.append(f"key {name!r} holds values that are not finite")
        else:
            converted[target] = value.to(like.dtype).reshape(like.shape)
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{origin} does not fit the published layout: {'; '.join(problems[:5])}{more}")
    backbone.load_state_dict(converted)
    backbone.truncate(config.length)  # the published code does this at its first call
    return model.eval()


def _load_embedder(embedder: nn.Module, embedded: Mapping[str, Tensor], origin: str) -> None:
    """Give the embedding of categories its published weights."""
    try:
        embedder.load_state_dict({name.removeprefix(_EMBEDDER): value for name, value in embedded.items()})
    except RuntimeError as error:
        raise CheckpointError(
            f"{origin} was trained with features, but its embedding of categories is missing or of another shape; "
            f"save the whole module's state_dict() ({str(error).splitlines()[-1].strip()})"
        ) from error


def _names(blocks: int) -> dict[str, str]:
    """Our names of the published ones."""
    names = {f"{old}.{part}": f"{new}.{part}" for old, new in _TOP.items() for part in ("weight", "bias")}
    for i in range(blocks):
        block, mine = f"residual_blocks.{i}", f"blocks.{i}"
        for old, new in _LAYERS.items():
            names |= {f"{block}.{old}.{part}": f"{mine}.{new}.{part}" for part in ("weight", "bias")}
        names |= {f"{block}.s4block.layer.{old}": f"{mine}.convolution.{new}" for old, new in _KERNEL.items()}
    return names


def _squeezed(value: Tensor) -> tuple[int, ...]:
    return tuple(size for size in value.shape if size != 1)


@torch.no_grad()
def _noise_error(model: TSDiff) -> float:
    """Mean square error of the noise that the model sees in pure noise at the table's last step."""
    assert isinstance(model.sde, DiscreteVPSDE)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, model.config.length, model.config.network_channels, generator=generator)
    step = torch.full((len(x),), len(model.sde) - 1)
    return float((model.predict_noise(x, step) - x).square().mean())
