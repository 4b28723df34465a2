"""What can be said of how a model is sampled before it is: draws that would all be equal, settings without effect,
steps too few for the sampler. Found by running the sampler itself on data predictions that are made up."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields, replace

import torch

from shared.samplers.gaussian import knowing
from shared.samplers.laws import Spectrum
from shared.samplers.trial import Trial
from shared.sde import SDE
from speech.inference.sampling import sample_around
from speech.model.config import SamplingConfig, has_own_schedule
from speech.model.model import SpeechModel

_LANES = 64
_MOST_STEPS = 100

_OF_SAMPLERS = ("sampler", "steps", "schedule", "t_end", "reverse_starting_point", "network_time")
"""Settings of the calls of one network."""

_UNSTABLE = 5.0
"""Of predictions of ±1 a state may hold this many times what the process' path holds. On the bundled models, results
stay right up to 4."""

_COARSE = 1.0
"""Of a data prediction that never changes, every lane should come to that prediction; beyond this error, relative to
it, what the sampler returns owes more to its steps than to the network."""


class SettingWarning(UserWarning):
    """Settings of an enhancer that have no effect, or that cannot come to a good end."""


def _tried(sde: SDE, sampling: SamplingConfig, seed: int, constant: bool = False) -> Trial:
    adaptive = sampling.sampler == "ode"  # its steps would follow every jump of the predictions
    trial = Trial(sde, constant=constant or adaptive)
    # The trial's states have one frequency; any law serves there.
    sampling = replace(sampling, sampler=knowing(sampling.sampler, lambda: Spectrum((1.0,)), always=True))
    anchor = torch.zeros(_LANES, 1, 1, 1, dtype=torch.complex64)
    trial.look(sample_around(trial, sde, anchor, sampling, torch.Generator().manual_seed(seed)).x, torch.zeros(1))
    return trial


def is_deterministic(sde: SDE, sampling: SamplingConfig) -> bool:
    """Whether results do not depend on the seed: no noise comes to what the network is shown, nor to the end."""
    one, other = (_tried(sde, sampling, seed).states for seed in (0, 1))
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def growth(sde: SDE, sampling: SamplingConfig) -> float:
    """The largest state, as a multiple of what the process' path holds, that a sampler makes of predictions of ±1.

    A sampler whose arithmetic is stable at these steps stays near 1; one that is not multiplies the network's errors.
    """
    return _tried(sde, sampling, 0).growth


def error(sde: SDE, sampling: SamplingConfig) -> float:
    """How far a sampler ends from a data prediction that never changes, at the worst of its lanes, relative to it.

    Where the sampler stops before clean data (t_end), the noise that the path holds there is no error. The exponential
    integrators are exact here; Euler's and Heun's methods are not, save for a single step from a bridge's end, which
    the core takes by the exact one.
    """
    return _tried(sde, sampling, 0, constant=True).miss(sampling.t_end or 0.0)


def of_stability(sde: SDE, sampling: SamplingConfig) -> str | None:
    """What to say of a sampler that is unstable, or far from its aim, at so few steps; None where it is neither."""
    what = None if sampling.sampler == "ode" else _failing(sde, sampling)
    if what is None:
        return None
    enough = (
        f"at least {steps} steps"
        for steps in range(sampling.steps + 1, _MOST_STEPS)
        if isinstance(sampling.schedule, str) and _failing(sde, replace(sampling, steps=steps)) is None
    )
    remedy = next(enough, "more steps")
    count = "1 step" if sampling.steps == 1 else f"{sampling.steps} steps"
    return (
        f"sampler {sampling.sampler!r} at {count} is {what} on {type(sde).__name__}: take {remedy}, "
        "or ode1 or sde1, which are stable at any number"
    )


def _failing(sde: SDE, sampling: SamplingConfig) -> str | None:
    if growth(sde, sampling) > _UNSTABLE:
        return "unstable"
    return "too coarse" if error(sde, sampling) > _COARSE else None


def without_effect(
    model: SpeechModel, sampling: SamplingConfig, given: Sequence[str], deterministic: bool
) -> str | None:
    """What to say of settings that have no effect; None where all have one.

    Args:
        model: the model.
        sampling: how it is sampled.
        given: names of arguments that the user gave beside `sampling`: "steps", "seed", "draws", "peak".
        deterministic: see `is_deterministic`.
    """
    own, usual = model.config.sampling, SamplingConfig()
    changed = [
        each.name
        for each in fields(sampling)
        if getattr(sampling, each.name) not in (getattr(own, each.name), getattr(usual, each.name))
    ]
    unused: dict[str, str] = {}
    if has_own_schedule(sampling.sampler):
        unused["schedule"] = f"sampler {sampling.sampler!r} has a schedule of its own"
    if sampling.sampler == "ode":
        unused["steps"] = "sampler 'ode' chooses its own steps"
    if model.frame_multiple == 1:
        unused["frame_padding"] = "the network takes any number of frames"
    if model.config.frontend.normalize == "not":
        unused["peak"] = "the model does not normalise levels"
    if deterministic:
        unused |= dict.fromkeys(("seed", "draws"), "the model as sampled here is deterministic: every draw is the same")
    idle = [name for name in dict.fromkeys((*given, *changed)) if name in unused]
    if not idle:
        return None
    reasons = "; ".join(dict.fromkeys(unused[name] for name in idle))
    return f"{', '.join(idle)}: without effect; {reasons}"


def beside_companion(own: SamplingConfig, asked: SamplingConfig, beside: SamplingConfig) -> str | None:
    """What to say of how a model is to be sampled where its companion, which is sampled by its own settings, is not;
    None where there is nothing.

    Args:
        own: the model's settings.
        asked: those that it is sampled by.
        beside: the companion's.
    """
    named = [
        name
        for name in _OF_SAMPLERS
        if getattr(asked, name) not in (getattr(own, name), getattr(beside, name))  # whoever asks for the same gets it
    ]
    if not named:
        return None
    its = ", ".join(f"{name}={getattr(beside, name)!r}" for name in named)
    return f"quality='best': {', '.join(named)}: of the model alone; its companion is sampled by its own, {its}"


def warn(text: str | None, stacklevel: int = 3) -> None:
    """Say it, where there is something to say."""
    if text is not None:
        warnings.warn(text, SettingWarning, stacklevel=stacklevel)
