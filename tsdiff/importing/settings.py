"""What a published checkpoint does not say in its weights, and what its shapes do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from shared.errors import CheckpointError, ConfigError
from shared.sde import DiscreteVPSDE, cosine_betas, linear_betas
from tsdiff.data.benchmarks import PUBLISHED_LAGS
from tsdiff.data.frequency import base_freq, normalise_freq
from tsdiff.model.backbones import S4Config

# What the script's configurations and the hyperparameters of its module hold.
USED = {"freq", "context_length", "prediction_length", "normalization", "use_lags", "use_features", "init_skip"}
USED |= {"timesteps", "diffusion_scheduler", "diffusion_config", "backbone_parameters", "dropout", "conjugates"}
USED |= {"num_feat_static_real", "model", "noise_observed"}
IGNORED = {"dataset", "lr", "gradient_clip_val", "max_epochs", "num_batches_per_epoch", "batch_size"}
IGNORED |= {"num_samples", "sampler", "sampler_params", "use_validation_set", "eval_every", "device", "setup"}
IGNORED |= {"guidance", "missing_data_configs", "do_final_eval", "num_feat_dynamic_real", "num_feat_static_cat"}
IGNORED |= {"cardinalities", "scale", "missing_scenario", "missing_values", "train_missing_scenario"}
# Of the scripts that use a checkpoint, and of the command line, which the results repeat.
IGNORED |= {"ckpt", "base_model", "base_model_params", "iterations", "refiner_configs", "scaling_type"}
IGNORED |= {"config", "out_dir"}
# What shapes tell.
IGNORED |= {"input_dim", "hidden_dim", "output_dim", "step_emb", "num_residual_blocks", "residual_block"}
_DROPOUTS = {"dropout": 0.1, "dropout02": 0.2, "dropout03": 0.3}

EMBEDDER = "embedder."
# Feature inputs of TSDiff-Cond beyond its lags: the observed values, and which they are.
_KNOWN = 2
# Feature inputs beyond those of the clock: scale, static category, static number, age.
_OTHER_FEATURES = 4
_HORIZONS = {"h": 24, "D": 30, "B": 30}
_WINDOWS = {"h": 360, "D": 390, "B": 390}
_SCHEDULES = {"linear", "linear_beta_schedule", "cosine", "cosine_beta_schedule"}
_CLOCKS = {4: "h", 3: "D"}


@dataclass(frozen=True)
class Shapes:
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

    def lags(self, conditional: bool) -> int:
        """How many lags the network sees: as further channels, or TSDiff-Cond's as features."""
        return self.features - _KNOWN if conditional else self.channels - 1

    @classmethod
    def of(cls, state: Mapping[str, Tensor], origin: str) -> Shapes:
        """The sizes of a published network.

        Args:
            state: its weights by their published names.
            origin: what messages call it.

        Raises:
            CheckpointError: a weight is missing, or has another number of dimensions.
        """
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
        blocks = {found[1] for name in state if (found := re.match(r"residual_blocks\.(\d+)\.", name))}
        width, channels = state["input_init.0.weight"].shape
        encoder = state.get("residual_blocks.0.feature_encoder.weight")
        network = S4Config(
            width=width,
            blocks=len(blocks),
            state=2 * state[f"{first}.C"].shape[2],
            step_embedding=state["time_init.0.weight"].shape[1],
        )
        features = encoder.shape[1] if encoder is not None and encoder.ndim == 3 else 0
        # The tenth comes after the ninth.
        embedders = sorted((name for name in state if name.startswith(EMBEDDER)), key=lambda name: (len(name), name))
        sizes = tuple(len(state[name]) if state[name].ndim else 0 for name in embedders)
        horizon = state[f"{first}.L"]
        if horizon.is_complex() or not 0 <= float(horizon) < float("inf"):
            raise CheckpointError(f"{origin}: {first}.L is {horizon.item()}, and no length; the file is damaged")
        return cls(network, channels, features, sizes, int(horizon))


class Settings:
    """The settings that are given, and a list of those that were not (`assumed`)."""

    def __init__(self, values: Mapping[str, Any], origin: str):
        self.values, self.origin, self.assumed = values, origin, list[str]()

    def flag(self, name: str) -> bool | None:
        """A yes or no, None where it is not given."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f"{name}={value!r}: give true or false")
        return value

    def count(self, name: str, least: int = 1) -> int | None:
        """A whole number, None where it is not given."""
        value = self.values.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ConfigError(f"{name}={value!r}: give a whole number from {least}")
        return value

    def assume(self, name: str, value: Any) -> Any:
        """A default, remembered for the warning."""
        self.assumed.append(f"{name}={value!r}")
        return value

    def dropout(self) -> float:
        """Of the network, which matters only if it is trained further."""
        sizes = self.values.get("backbone_parameters")
        by_name = _DROPOUTS.get(str(self.values.get("diffusion_config", "")).split("_")[-1], 0.0)
        value = self.values.get("dropout", sizes.get("dropout", 0.0) if isinstance(sizes, Mapping) else by_name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"dropout={value!r}: give a share below 1")
        return float(value)

    def table(self) -> DiscreteVPSDE:
        """The diffusion table: 100 linear steps unless said otherwise."""
        steps, given = self.count("timesteps") or 100, self.values.get("diffusion_scheduler", "linear")
        name = str(getattr(given, "__name__", given))
        kind = name.removeprefix("uncond_ts_diff.utils.")
        if kind not in _SCHEDULES:
            raise ConfigError(f"diffusion_scheduler={name!r}: known are linear and cosine; give one in `config`")
        if kind.startswith("linear"):
            return DiscreteVPSDE(linear_betas(steps, 1e-4, 0.1))
        return DiscreteVPSDE([max(beta, 1e-4) for beta in cosine_betas(steps, beta_max=0.9999)])

    def conditional(self, shapes: Shapes) -> bool:
        """Whether it is a TSDiff-Cond: said, or one channel and the features that published ones have."""
        said = self.values.get("model")
        if said not in (None, "conditional", "unconditional"):
            raise ConfigError(f"model={said!r}: give conditional or unconditional")
        if said is not None or "noise_observed" in self.values:
            return said != "unconditional"
        widths = {_KNOWN, *(_KNOWN + len(lags) for lags in PUBLISHED_LAGS.values())}
        return shapes.channels == 1 and shapes.features in widths and self.assume("model", "conditional") is not None

    def freq(self, shapes: Shapes, lags: int) -> str:
        """Frequency: given, or that of the lags, or that whose clock has as many hands as there are features."""
        if self.values.get("freq") is not None:
            return normalise_freq(str(self.values["freq"]))
        by_lags = next((freq for freq, known in PUBLISHED_LAGS.items() if len(known) == lags), None)
        guess = by_lags or _CLOCKS.get(shapes.features - _OTHER_FEATURES, "h")
        return self.assume("freq", guess)

    def lengths(self, freq: str, horizon: int) -> tuple[int, int]:
        """Context and prediction length: given, or such that their sum is what the kernels were made for; of kernels
        that were made for none, the window that all published runs of the frequency have."""
        context, prediction = self.count("context_length"), self.count("prediction_length")
        if prediction is None and context is not None and horizon > context:
            prediction = self.assume("prediction_length", horizon - context)
        if prediction is None:
            prediction = self.assume("prediction_length", _HORIZONS.get(base_freq(freq), 24))
        if context is None:
            horizon = horizon or _WINDOWS.get(freq, 0)
            if horizon <= prediction:
                raise ConfigError(
                    f"the kernels of {self.origin} do not tell the length of its windows; give context_length and "
                    "prediction_length in `config`"
                )
            context = self.assume("context_length", horizon - prediction)
        return context, prediction
