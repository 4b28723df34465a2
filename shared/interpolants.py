"""Interpolants between two sets of data of which the network knows neither end: unpaired domains.

    x_t = (1 − t)·x_0 + t·x_1 + γ(t)·z,   z ~ N(0, I),   γ(0) = γ(1) = 0

(Albergo, Boffi and Vanden-Eijnden 2023, "Stochastic interpolants", §2). Where an end is known to the network, take the
processes of `shared.sde`, which need one prediction; here two are learnt together,

    v(x, t) = E[x_1 − x_0 | x_t = x],   ẑ(x, t) = E[z | x_t = x].

The drift of the paper is b = v + γ̇·ẑ and the score −ẑ/γ. In these two everything is finite at the ends, where γ̇ and
1/γ are not. For any ε(t) ≥ 0, dX = (b ± ε·score) dt + √(2ε) dW, with + forward and − backward in time, has the
interpolant's marginals. With ε = noise·γ²·(d/dt) logit(t)/2, Brownian motion's for noise = 1, a step is

    x_t = x_s + (t − s)·v + (ρ·γ_t − γ_s)·ẑ + γ_t·√(1 − ρ²)·ξ,   ρ = exp(−noise·|logit t − logit s|/2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from shared.checks import Chance, Checked, Count, NonNegative, checked
from shared.errors import ConfigError
from shared.random import Generators, device_of, randn_like
from shared.sde.base import expand
from shared.views import check_numbers

Predictions = tuple[Tensor, Tensor]
"""v and ẑ, both (batch, ...)."""
TwoHeads = Callable[[Tensor, Tensor], Predictions]
"""(x (batch, ...), t (batch,)) → v and ẑ, both shaped like x."""
Bulge = Literal["root", "parabola", "sine"]
"""The shape of γ over time, by name: √(t(1 − t)), t(1 − t), or sin²(πt)."""


@dataclass(frozen=True)
class Interpolant(Checked):
    """The straight path between two unknown ends, with noise in between.

    Args:
        scale: of γ. 0 is flow matching between the two sets (Liu et al. 2023), which is deterministic.
        bulge: γ/scale: "root" √(t(1 − t)), a Brownian bridge's; "parabola" t(1 − t); "sine" sin²(πt).

    Raises:
        ConfigError: a negative scale, or another name.
    """

    scale: NonNegative = 1.0
    bulge: Bulge = "root"
    kind: Literal["interpolant"] = field(default="interpolant", repr=False)

    def gamma(self, t: Tensor) -> Tensor:
        """γ(t), shaped like t."""
        inside = (t * (1 - t)).clamp_min(0)
        shapes = {"root": inside.sqrt(), "parabola": inside, "sine": torch.sin(math.pi * t).square()}
        return self.scale * shapes[self.bulge]

    def state(self, x0: Tensor, x1: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """x_t (batch, ...) from both ends and noise shaped like it, at times t (batch,)."""
        times = t.double()
        return expand(1 - times, x0) * x0 + expand(times, x0) * x1 + expand(self.gamma(times), x0) * z

    def loss(self, network: TwoHeads, x0: Tensor, x1: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Mean squared error of v and ẑ, at times drawn evenly and with both signs of the noise (§6.1).

        Args:
            network: see `TwoHeads`; it is called once, with twice the batch.
            x0, x1: items of either set (batch, ...), in any pairing.
            generator: of times and noise.

        Raises:
            ConfigError: items of different shapes, or such that the network's predictions have.
        """
        _check_ends(x0, x1)
        place = x0.device if generator is None else device_of(generator)
        count = len(x0)
        slices = torch.arange(count, dtype=torch.float64, device=place)
        t = (slices + torch.rand(count, generator=generator, dtype=torch.float64, device=place)) / count
        t, z = t[torch.randperm(count, generator=generator, device=place)].to(x0.device), randn_like(x0, generator)
        states = torch.cat([self.state(x0, x1, t, z), self.state(x0, x1, t, -z)])
        v, noise = _predicted(network, states, t.repeat(2))
        wrong = (v - (x1 - x0).repeat(2, *[1] * (x0.ndim - 1))).abs().square()
        return (wrong + (noise - torch.cat([z, -z])).abs().square()).mean()

    def transport(
        self,
        network: TwoHeads,
        x: Tensor,
        steps: int = 20,
        order: Literal[1, 2] = 2,
        start: float = 1.0,
        end: float = 0.0,
        noise: float = 0.0,
        generator: Generators = None,
    ) -> Tensor:
        """Take items of one set to the other, one call a step; either way, or part of it.

        Steps are equally long in θ, t = sin²θ, in which predictions are smooth up to the ends.

        Args:
            network: see `TwoHeads`.
            x: states (batch, ...) at `start`; items of the first set at 0, of the second at 1.
            steps: of the way.
            order: 1, Euler's method, or 2, by extrapolation from the step before; with noise it is of first order.
            start, end: times in [0, 1].
            noise: ε, as a share of Brownian motion's; 0 is the ODE, by which each item has one image.
            generator: one for the batch or one for each item.

        Returns:
            States (batch, ...) at `end`.

        Raises:
            ConfigError: values out of range, start = end, noise where γ is 0, or predictions that are not finite.
        """
        steps, start, end = checked(Count, steps=steps), checked(Chance, start=start), checked(Chance, end=end)
        noise, order = checked(NonNegative, noise=noise), checked(Literal[1, 2], order=order)
        if start == end:
            raise ConfigError(f"start={start}, end={end}: the same time; take 1 to 0, or 0 to 1")
        if noise and not self.scale:
            raise ConfigError(f"noise={noise} with scale=0: no noise, no score; take noise=0, or train with a scale")
        angles = torch.linspace(math.asin(math.sqrt(start)), math.asin(math.sqrt(end)), steps + 1, dtype=torch.float64)
        times = torch.sin(angles).square()
        before: Predictions | None = None
        with torch.no_grad():
            for now, after in pairwise(times):
                found = _predicted(network, x, now.to(x.device).expand(len(x)).to(x.real if x.is_complex() else x))
                v, z = found
                if before is not None and order == 2:
                    v, z = (1.5 * new - 0.5 * old for new, old in zip(found, before, strict=True))
                kept = math.exp(-0.5 * noise * abs(float(torch.logit(after) - torch.logit(now)))) if noise else 1.0
                here, there = float(self.gamma(now)), float(self.gamma(after))
                x = x + float(after - now) * v + (kept * there - here) * z
                if kept < 1:
                    x = x + there * math.sqrt(1 - kept**2) * randn_like(x, generator)
                before = found
        if not bool(torch.isfinite(x).all()):
            raise ConfigError("states that are not finite: look at what the network predicts near the ends")
        return x


def _check_ends(x0: Tensor, x1: Tensor) -> None:
    for name, end in (("items x0", x0), ("items x1", x1)):
        check_numbers(name, end)
    if x0.shape != x1.shape or not len(x0):
        raise ConfigError(
            f"items of shapes {tuple(x0.shape)} and {tuple(x1.shape)}: both ends need the same, of at least one item; "
            "bring both sets to one length, and draw as many of one as of the other"
        )


def _predicted(network: TwoHeads, x: Tensor, t: Tensor) -> Predictions:
    given = network(x, t)
    if not (isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(one, Tensor) for one in given)):
        raise ConfigError(
            f"the network returned the type {type(given).__name__}: it gives two tensors, v and the noise, both shaped "
            "like the state"
        )
    v, z = given
    if v.shape != x.shape or z.shape != x.shape:
        raise ConfigError(
            f"predictions of shapes {tuple(v.shape)} and {tuple(z.shape)} for states of {tuple(x.shape)}: the network "
            "gives v and the noise, both shaped like the state"
        )
    return v, z
