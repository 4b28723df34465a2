"""GluonTS's names of an estimator's settings: taken where the meaning is the same, else refused with ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

import numpy as np

from shared.checks import Count, checked, require
from shared.errors import ConfigError
from shared.training.config import TrainingConfig
from tsdiff.model.backbones import S4DConfig
from tsdiff.sampling.settings import Sampling

_EPOCHS, _BATCHES = 100, 50
"""GluonTS's own defaults of epochs, and of batches in one."""

_SETTINGS = {
    "num_feat_dynamic_real": "dynamic_features",
    "num_feat_static_real": "static_features",
    "cardinality": "categories",
    "lags_seq": "lags",
}
_TRAINING = {"lr": "learning_rate", "weight_decay": "weight_decay"}
_TRAINER = {"max_steps": "max_steps", "gradient_clip_val": "gradient_clip"}
_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_DEVICES = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda", "auto": "auto"}

_INSTEAD = {
    "num_parallel_samples": "predict(dataset, num_samples=…)",
    "num_layers": "backbone=S4DConfig(blocks=…)",
    "hidden_size": "backbone=S4DConfig(width=…)",
    "dropout_rate": "backbone=S4DConfig(dropout=…)",
    "max_epochs": 'trainer_kwargs={"max_epochs": …}, or TSDiffEstimator(…).with_training(max_steps=…)',
    "epochs": "TSDiffEstimator(…).with_training(max_steps=…)",
    "time_features": 'calendar="gluonts"',
    "patience": "TSDiffEstimator(…).with_training(decay=…)",
    "distr_output": "nothing: samples come from the diffusion itself; leave it out",
    "imputation_method": "nothing: missing values need none; leave it out",
    "default_scale": "nothing: leave it out",
    "lead_time": "nothing: forecasts start with the step after the series; leave it out",
    "embedding_dimension": "nothing: the network chooses it; leave it out",
    "train_sampler": "scale_power=… and horizon_weight=…",
    "validation_sampler": "train(dataset, validation_data, tuning=…)",
}
_INSTEAD_OF_TRAINER = {
    "callbacks": "train(dataset, callbacks=[…])",
    "logger": "train(dataset, logger=…)",
    "devices": "train(dataset, devices=…)",
    "strategy": "train(dataset, strategy=…)",
    "num_nodes": "train(dataset, num_nodes=…)",
    "enable_progress_bar": "train(dataset, progress=…)",
    "default_root_dir": "train(dataset, folder=…)",
    "enable_checkpointing": "train(dataset, folder=…)",
    "accumulate_grad_batches": "TSDiffEstimator(…).with_training(accumulate=…), or batch_size=…",
}
_OF_FRAMES = {
    "h": "prediction_length",
    "horizon": "prediction_length",
    "fh": "prediction_length",
    "id_col": "id_column",
    "item_id": "id_column",
    "time_col": "timestamp_column",
    "timestamp": "timestamp_column",
    "target_col": "target",
    "level": "quantile_levels",
    "levels": "quantile_levels",
    "quantiles": "quantile_levels",
    "n_windows": "windows",
    "step_size": "step",
    "samples": "num_samples",
    "X_df": "future_df",
    "futr_df": "future_df",
}
"""What other forecasters call options of `predict_df` and its kin, and ours."""
SCALINGS: Mapping[Any, str] = {True: "mean", "std": "standard"}
"""GluonTS's names of scalings, and ours."""


@dataclass(frozen=True)
class Translated:
    """GluonTS's keywords by our names: arguments of the estimator, fields of the training and of the sampling."""

    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)


def translated(keywords: Mapping[str, Any], own: tuple[str, ...], given: Mapping[str, Any]) -> Translated:
    """Keywords that the estimator does not know, as GluonTS means them.

    Args:
        keywords: by GluonTS's names; not changed.
        own: the estimator's names.
        given: what GluonTS has names for too, by ours; empty or 0 where it is not given.

    Raises:
        ConfigError: one that means nothing here, with the name to use instead, or one that says something else than
            what is given by our name.
    """
    made = Translated()
    for name, value in keywords.items():
        if name in _SETTINGS:
            if value is not None:  # GluonTS's default of lags_seq and cardinality
                made.settings[_SETTINGS[name]] = _sizes(value) if name == "cardinality" else value
        elif name in _TRAINING:
            made.training[_TRAINING[name]] = value
        elif name == "nonnegative_pred_samples":
            made.sampling["nonnegative"] = value
        elif name == "trainer_kwargs":
            require(isinstance(value or {}, Mapping), "need a dict of Lightning's settings", trainer_kwargs=value)
            _translate_trainer(value or {}, made)
        elif name not in ("num_batches_per_epoch", "num_feat_static_cat"):
            raise ConfigError(f"{name}={value!r}: {_instead_of(name, own)}")
    for name, ours in _SETTINGS.items():
        theirs = made.settings.get(ours)
        if theirs is not None and np.any(given[ours]) and not np.array_equal(given[ours], theirs):
            raise ConfigError(f"{name}={keywords[name]!r} and {ours}={given[ours]!r}: one thing; give {ours} alone")
    if "num_feat_static_cat" in keywords:
        _check_categories(keywords["num_feat_static_cat"], len(made.settings.get("categories", given["categories"])))
    steps = _steps(keywords)
    if steps is not None:
        made.training["max_steps"] = steps
    return made


def check_sampling(changes: Mapping[str, Any], of_frames: bool = False) -> None:
    """Raise ConfigError for what is no field of `Sampling`; the message tells what may be meant.

    Args:
        changes: values by their names.
        of_frames: they were given to `predict_df` or its kin, among options of theirs.
    """
    known, others = [one.name for one in fields(Sampling)], _OF_FRAMES if of_frames else {}
    for name, value in changes.items():
        if name in known:
            continue
        close = get_close_matches(name, [*known, *others.values()], n=1)
        said = name if hasattr(value, "columns") else f"{name}={value!r}"  # a frame takes many lines
        if name in others:
            raise ConfigError(f"{said}: use {others[name]}=…")
        if name in others.values():
            raise ConfigError(f"{said}: this call has no such option; leave it out")
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise ConfigError(f"{said}: no such setting of the sampling; {meant}")


def check_training(changes: Mapping[str, Any]) -> None:
    """Raise ConfigError for what is no field of `TrainingConfig`; the message tells what may be meant."""
    known, others = [one.name for one in fields(TrainingConfig)], _TRAINING | _TRAINER
    for name, value in changes.items():
        if name not in known:
            close = others.get(name) or next(iter(get_close_matches(name, known, n=1)), None)
            meant = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
            raise ConfigError(f"{name}={value!r}: no such setting of the training; {meant}")


def _translate_trainer(trainer: Mapping[str, Any], made: Translated) -> None:
    for name, value in trainer.items():
        if name in _TRAINER:
            made.training[_TRAINER[name]] = value
        elif name == "precision":
            made.training[name] = _PRECISIONS.get(str(value), value)
        elif name == "accelerator" and value in _DEVICES:
            made.settings["device"] = _DEVICES[value]
        elif name != "max_epochs":
            instead = _INSTEAD_OF_TRAINER.get(name)
            what = f"use {instead}" if instead else "the estimator has no such setting; leave it out"
            raise ConfigError(f"trainer_kwargs: {name}={value!r}: {what}")


def as_tuple(values: Any) -> Any:
    """Several values as a tuple; what is not several stays as it is, and the settings refuse it by its name."""
    return tuple(values) if isinstance(values, Iterable) else values


def _steps(keywords: Mapping[str, Any]) -> int | None:
    """Steps of training: epochs times batches in one, as GluonTS counts them, where either is given."""
    trainer = keywords.get("trainer_kwargs") or {}
    epochs, batches = trainer.get("max_epochs"), keywords.get("num_batches_per_epoch")
    if epochs is None and batches is None:
        return None
    if "max_steps" in trainer:
        raise ConfigError(f"max_steps={trainer['max_steps']} and epochs: give one of them")
    epochs = checked(Count, max_epochs=_EPOCHS if epochs is None else epochs)
    return int(epochs * checked(Count, num_batches_per_epoch=_BATCHES if batches is None else batches))


def _sizes(cardinality: Any) -> tuple[Any, ...]:
    """Sizes of categories, whole numbers where they are: `PandasDataset.static_cardinalities` is an array of floats.

    Raises:
        ConfigError: no list of them.
    """
    require(
        np.ndim(cardinality) == 1, "need the number of values of each category, such as [3]", cardinality=cardinality
    )
    return tuple(
        int(size) if isinstance(size, float | np.floating) and size.is_integer() else size for size in cardinality
    )


def _check_categories(count: Any, known: int) -> None:
    if count != known:
        raise ConfigError(
            f"num_feat_static_cat={count!r}, but the sizes of {known} are given: use categories=(…), the number of "
            "values of each"
        )


def _instead_of(name: str, own: tuple[str, ...]) -> str:
    if name in _INSTEAD:
        return f"use {_INSTEAD[name]}"
    if name in {one.name for one in fields(TrainingConfig)}:
        return f"use TSDiffEstimator(…).with_training({name}=…), which leaves the rest as it is"
    for call, kind in (
        ("backbone=S4DConfig", S4DConfig),  # first: a width is more often meant to be the network's
        ("sampling=Sampling", Sampling),
    ):
        if name in {one.name for one in fields(kind)}:
            return f"use {call}({name}=…)"
    close = get_close_matches(name, own, n=1)
    return f"no such setting; did you mean {close[0]}?" if close else f"no such setting; there are {', '.join(own)}"
