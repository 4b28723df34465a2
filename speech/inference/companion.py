"""The model that is averaged with another at quality "best": found, and sampled as that one is."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from shared.errors import CheckpointError, ConfigError
from speech.model.config import Companion, SamplingConfig
from speech.model.model import SpeechModel

Quality = Literal["standard", "best"]
"""A model by itself, or averaged with its companion, at the cost of both."""


def companion_of(model: SpeechModel, sampling: SamplingConfig) -> tuple[SpeechModel, SamplingConfig, Companion]:
    """A model's companion, how it is sampled, and what is said of it.

    It is sampled by its own settings, but that it fades in as the model does, which knows what comes after the first
    frames, and for what is asked of the model beyond its own: the precision, and by how much more or less is taken away
    (`suppression`).

    Raises:
        CheckpointError: there is no such model, or it cannot be read.
        ConfigError: the model names none, itself, or one that cannot hear what it hears.
    """
    named = model.config.companion
    if named is None:
        raise ConfigError(
            "quality='best': this model names no companion to be averaged with (`companion` of its settings; the "
            "bundled default has one); leave it out"
        )
    beside = _loaded(model, named)
    mine, its = model.config.frontend, beside.config.frontend
    if (mine.sample_rate, mine.hop_length) != (its.sample_rate, its.hop_length):
        raise ConfigError(
            f"companion {named.model!r} hears {its.sample_rate} Hz in hops of {its.hop_length}, its model "
            f"{mine.sample_rate} Hz in hops of {mine.hop_length}; name one that hears the same"
        )
    own, given = model.config.sampling, beside.config.sampling
    stronger = sampling.suppression / own.suppression if own.suppression else 1.0
    precision = sampling.precision if sampling.precision != own.precision else given.precision
    given = replace(given, suppression=given.suppression * stronger, precision=precision, fade_in=sampling.fade_in)
    return beside.to(model.device).eval(), given, named


def _loaded(model: SpeechModel, named: Companion) -> SpeechModel:
    """The companion, of the model's own folder or else wherever models are found."""
    within = None if model.folder is None else model.folder / named.model
    place = within if within is not None and within.is_dir() else named.model
    try:
        beside = SpeechModel.from_pretrained(place, model.custom)
    except CheckpointError as error:
        raise CheckpointError(
            f"quality='best': the companion that this model's settings name, {named.model!r}, cannot be loaded: "
            f"{error}. Put it there, or leave the quality out"
        ) from error
    if model.folder is not None and beside.folder is not None and model.folder.resolve() == beside.folder.resolve():
        raise ConfigError(
            f"quality='best': companion {named.model!r} is the model itself, whose mean with itself is what it gives "
            "alone; name a network that was trained apart, or leave the quality out"
        )
    return beside
