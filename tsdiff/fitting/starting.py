"""The model that a training starts from: a new one, or one with another's weights."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from shared.errors import ConfigError
from shared.files.checkpoint import resolve
from shared.flow_maps import FlowMapSetting
from shared.flow_maps.start import apart, as_map, check_map, start_map
from shared.random import derive_seed
from tsdiff.data.named import table_of
from tsdiff.data.origin import Origin
from tsdiff.faces.saved import read_names
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import BUNDLED, FORMAT, TSDiff
from tsdiff.windows.source import WindowSource


def name_inputs(model: TSDiff, data: Any) -> None:
    """Tell a model what the table that its series came from, if it was one, called covariates and categories; not where
    the series have others besides, which were added to them. What it knows already, as of the model that its training
    started from, stays, and values after those that it knows are added."""
    table, config = table_of(data), model.config
    origin, vocabulary = getattr(table, "origin", None), getattr(table, "vocabulary", None)
    if isinstance(origin, Origin):
        if not model.covariate_names and len(origin.dynamic) == config.dynamic_features:
            model.covariate_names = origin.dynamic
        if not model.static_names and len(origin.reals) == config.static_features:
            model.static_names = origin.reals
    if isinstance(vocabulary, dict) and len(vocabulary) == len(config.categories):
        found = {str(name): tuple(words) for name, words in vocabulary.items()}
        known = model.vocabulary or found
        pairs = zip(known.items(), found.values(), strict=True)
        model.vocabulary = {name: max(words, more, key=len) for (name, words), more in pairs}


def new_model(
    config: TSDiffConfig, source: WindowSource, seed: int, start_from: str | None, flow_map: FlowMapSetting | None
) -> TSDiff:
    """The model that a training starts from; the source is given its statistics.

    Args:
        config, seed: of the model.
        source: windows to learn from.
        start_from: bundled name or folder of a model whose weights and statistics it takes over.
        flow_map: what it is to become, if a map.

    Raises:
        ConfigError: `start_from` is of other settings.
    """
    source.measure(np.random.default_rng(derive_seed(seed, "statistics")))
    start = None if start_from is None else _model_like(config, start_from)
    if start is not None:
        source.statistics = start.statistics
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        model = TSDiff(config, source.statistics)
    if start is not None:
        start_map(model, start.state_dict())
        model.covariate_names, model.static_names = start.covariate_names, start.static_names
        model.vocabulary = dict(start.vocabulary)
    check_map(model.denoiser, flow_map)
    return model


def model_of(name: str, config: TSDiffConfig) -> TSDiff:
    """The model of that name, bundled or a folder, and what it knows of its inputs' names; `config` may have classes of
    one's own.

    Raises:
        CheckpointError: see `TSDiff.from_pretrained` and `read_names`.
    """
    folder = resolve(name, BUNDLED, FORMAT)
    found = TSDiff.from_pretrained(folder, (type(config.backbone), type(config.sde)))
    read_names(folder, found)
    return found


def _model_like(config: TSDiffConfig, name: str) -> TSDiff:
    backbone: Any = config.backbone
    found = model_of(name, config)
    saved = found.config
    if getattr(backbone, "span", False):
        saved = replace(saved, backbone=as_map(saved.backbone))
    # Another patch makes another context, so that the backbone is the one to tell of.
    for part in sorted((field.name for field in fields(saved)), key=lambda part: part != "backbone"):
        theirs, ours = (getattr(one, part) for one in (saved, config))
        if theirs != ours:
            raise ConfigError(
                f"start_from={name!r} has {part} {apart(theirs, ours)}, the settings say {apart(ours, theirs)}; "
                "give what that model has"
            )
    return found
