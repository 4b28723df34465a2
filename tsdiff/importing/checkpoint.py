"""TSDiff models that the published training scripts saved.

The scripts (Kollovieh et al. 2023) save the state dict of their module, or a Lightning checkpoint around it. Names and
shapes there tell the sizes of the network; what they do not tell comes from the script's configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

from torch import Tensor

from shared.console.notes import tell
from shared.errors import ConfigError, counted
from tsdiff.data.benchmarks import PUBLISHED_LAGS
from tsdiff.importing.files import read_settings, read_state
from tsdiff.importing.scaler import Scaler, without_scaler
from tsdiff.importing.settings import IGNORED, USED, Settings, Shapes
from tsdiff.importing.weights import loaded, noise_error
from tsdiff.model.backbones import S4Config
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.windows.calendar import calendar_width


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
    none. Without use_features an unconditional network's feature inputs are kept for `predict_noise` alone.

    A TSDiff-Cond (model="conditional", or features that only it has) sees the published lags of the series, its
    observed values and which they are; it forecasts without guidance, as published with `Sampling(method="ddpm")`.

    Windows are scaled as published, by "mean" (GluonTS's MeanScaler, with the numbers in its buffers) or not at all
    ("none", its NOPScaler). A default scale of 0, which every published run has, means that a context without any
    value but zeros takes the scale of the batch, here of the series that are forecast together: the one case in which
    a forecast depends on what else is forecast.

    The training windows' statistics are unknown: center 0 and spread 1, as published; `top_variance` is the context's
    length, the variance that the level alone has after mean scaling, which keeps guidance on the stable side.

    Args:
        path: what `torch.save` made of the state dict of the module or of its backbone, or a Lightning checkpoint;
            one that was saved before the network's first call too, of which the kernels have no length yet.
        config: the YAML that a published script reads, the `results.yaml` or `hparams.yaml` that it writes, or a
            mapping of settings (freq, context_length, prediction_length, normalization, use_lags, use_features,
            init_skip, timesteps, diffusion_scheduler, dropout, conjugates, model, noise_observed).

    Returns:
        A TSDiff with an `S4Backbone`, without calendar, that predicts noise; in evaluation mode.

    Raises:
        CheckpointError: the file is missing or damaged, holds more than tensors and plain values, or has keys that
            are missing, unknown, of the wrong shape or not finite; the message names them.
        ConfigError: a setting that cannot be used or contradicts the weights.
    """
    state, hyper = read_state(Path(path))
    settings = Settings({**hyper, **read_settings(config, USED, IGNORED)}, str(path))
    shapes = Shapes.of(state, str(path))
    model = _build(state, shapes, settings, str(path))
    if settings.assumed:
        tell(f"{path}: assumed {', '.join(settings.assumed)}; give `config` to say otherwise")
    return model


def _build(state: Mapping[str, Tensor], shapes: Shapes, settings: Settings, origin: str) -> TSDiff:
    conditional = settings.conditional(shapes)
    if conditional:
        _check_conditional(shapes, settings, origin)
    lags, features = settings.flag("use_lags"), settings.flag("use_features")
    if lags is not None and lags != (shapes.lags(conditional) > 0):
        raise ConfigError(
            f"use_lags={lags}, but the network of {origin} has {counted(shapes.channels, 'channel')} "
            f"and {counted(shapes.features, 'feature')}"
        )
    if features and not shapes.features:
        raise ConfigError(f"use_features=True, but the network of {origin} takes no features")
    scaler, state = Scaler.of(state, settings), without_scaler(state)
    freq = settings.freq(shapes, shapes.lags(conditional))
    context, prediction = settings.lengths(freq, shapes.horizon)
    skip, pairs = settings.flag("init_skip"), settings.flag("conjugates")
    known = _lags(freq, shapes.lags(conditional), origin)
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
        sde=settings.table(),
        output="noise",
        conditional=conditional,
        external_features=0 if conditional else shapes.features,
        lags=() if conditional else known,
        known_lags=known if conditional else (),
        **asdict(scaler),
    )
    if features:
        config = _with_features(config, shapes, settings, origin)
    if skip is None or pairs is None:
        config = _by_noise(config, state, settings, skip, pairs, origin)
    return loaded(config, state, origin)


def _by_noise(
    config: TSDiffConfig,
    state: Mapping[str, Tensor],
    settings: Settings,
    skip: bool | None,
    pairs: bool | None,
    origin: str,
) -> TSDiffConfig:
    """The configuration whose network predicts noise best, of those that nothing else tells apart (None)."""
    errors = {
        (s, p): noise_error(loaded(_with(config, s, p), state, origin))
        for s, p in product((True, False) if skip is None else (skip,), (False, True) if pairs is None else (pairs,))
    }
    best_skip = min(errors, key=lambda key: errors[key])[0]
    if pairs is None:
        better = errors[best_skip, True] < 0.5 * min(1.0, errors[best_skip, False])
        pairs = bool(settings.assume("conjugates", better))
    if skip is None:
        settings.assume("init_skip", best_skip)
    return _with(config, best_skip, pairs)


def _check_conditional(shapes: Shapes, settings: Settings, origin: str) -> None:
    """Refuse what cannot be a TSDiff-Cond, or is sampled in a way that ours are not."""
    if shapes.channels != 1 or shapes.lags(True) < 0:
        raise ConfigError(
            f"model='conditional', but the network of {origin} has {counted(shapes.channels, 'channel')} and "
            f"{counted(shapes.features, 'feature')}"
            "; a TSDiff-Cond has one channel, and features for the observed values and which they are"
        )
    if settings.flag("use_features"):
        raise ConfigError(
            "use_features=True cannot be used with TSDiff-Cond, nor can the published code build it; take False"
        )
    if settings.flag("noise_observed") is False:
        raise ConfigError(
            "noise_observed=False: windows are noised as a whole, as in published runs; such a model cannot be imported"
        )


def _lags(freq: str, count: int, origin: str) -> tuple[int, ...]:
    """The published lags of a frequency, if the network has inputs for them."""
    if not count:
        return ()
    lags = PUBLISHED_LAGS.get(freq, ())
    if len(lags) != count:
        raise ConfigError(
            f"the network of {origin} has {count} lags, the published ones of freq={freq!r} are "
            f"{len(lags)}; give the frequency that it was trained with in `config`"
        )
    return lags


def _with_features(config: TSDiffConfig, shapes: Shapes, settings: Settings, origin: str) -> TSDiffConfig:
    """The settings of a model that was trained with features: what each of them is, in the published order."""
    described = replace(
        config,
        calendar="gluonts",
        scale_feature=True,
        categories=shapes.categories or (1,),
        static_features=settings.count("num_feat_static_real", least=0) or 1,
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
