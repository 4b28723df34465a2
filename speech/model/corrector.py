"""The sampler "pc": its settings, and how they are given beside its name, or were in files of before."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Le

from shared.checks import Natural
from shared.errors import ConfigError
from shared.samplers import PredictorCorrector

T = TypeVar("T")
BESIDE = ("corrector", "corrector_steps", "snr", "probability_flow")
"""Settings of "pc" that may be given beside its name."""


@dataclass(frozen=True)
class PublishedPC(PredictorCorrector):
    """Predictor–corrector as published for SGMSE+, which "pc" stands for: the steps are uniform in time, and the last
    one goes to 0 without noise.

    Args:
        corrector_steps: at most 100.
    """

    corrector_steps: Annotated[Natural, Le(100)] = 1
    denoise: bool = True
    kind: Literal["pc"] = "pc"  # type: ignore[assignment]


def is_pc(sampler: Any) -> bool:
    """Whether a sampler is "pc", by its name, as settings, or as a mapping of them."""
    kind = sampler.get("kind") if isinstance(sampler, Mapping) else sampler
    return isinstance(kind, PublishedPC) or (isinstance(kind, str) and kind == "pc")


def with_settings_of_pc(sampler: Any, given: Mapping[str, Any]) -> Any:
    """The sampler "pc" with some of its settings changed; as its name, where it is what that stands for.

    Raises:
        ConfigError: something is given, and the sampler is another.
    """
    if not given:
        return sampler
    if not is_pc(sampler):
        raise ConfigError(refusal(sampler, given))
    if isinstance(sampler, Mapping):
        return {**sampler, **given}
    made = replace(sampler if isinstance(sampler, PublishedPC) else PublishedPC(), **given)
    return "pc" if made == PublishedPC() else made


def refusal(sampler: Any, given: Mapping[str, Any]) -> str:
    """What to say of settings of "pc" beside another sampler."""
    named = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return f"sampler {sampler!r} takes no {named}: leave that out, or take sampler 'pc', which has such settings"


def taking_settings_of_pc(cls: type[T]) -> type[T]:
    """A dataclass with a first field `sampler` that takes settings of "pc" as keywords besides, for that sampler."""
    made = cls.__init__

    @functools.wraps(made)
    def taken(self: T, sampler: Any = "pc", *others: Any, **named: Any) -> None:
        given = {name: named.pop(name) for name in BESIDE if name in named}
        made(self, with_settings_of_pc(sampler, given), *others, **named)  # type: ignore[call-arg]

    cls.__init__ = taken  # type: ignore[method-assign,assignment]
    return cls


def moved(given: Any) -> Any:
    """Settings of sampling as files hold them, those of "pc" moved from beside the sampler into it; it is said.

    Beside another sampler they had no effect, and are left out, without a word where they are what every model was
    saved with.

    Raises:
        ConfigError: a value out of range, or a probability flow of another sampler, which never was taken.
    """
    old = {name: given[name] for name in BESIDE if name in given} if isinstance(given, Mapping) else {}
    if not old:
        return given
    rest = {name: value for name, value in given.items() if name not in old}
    sampler = rest.get("sampler", "pc")
    if is_pc(sampler):
        rest["sampler"], more = with_settings_of_pc(sampler, old), ""
    elif old.get("probability_flow") is True:
        raise ConfigError(refusal(sampler, {"probability_flow": True}))
    elif all(value == getattr(PublishedPC(), name) for name, value in old.items()):
        return rest
    else:
        more = f"; beside sampler {sampler!r} it has no effect, and is left out"
    said = ", ".join(f"{name}: {value}" for name, value in old.items())
    warnings.warn(f"{said} is written sampler: {{kind: pc, {said}}} now{more}", FutureWarning, stacklevel=2)
    return rest
