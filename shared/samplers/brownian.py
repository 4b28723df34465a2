"""Noise that is one path whatever steps are taken: the increments of a Brownian motion in the clock c = e^{2λ}.

A step from s to t takes (B(c_t) − B(c_s))/√(c_t − c_s) for fresh noise, so that one seed gives one sample, to the error
of the steps, at 8 steps or at 1000 (as torchsde's Brownian intervals and diffrax's virtual trees do for k-diffusion's
clock σ). u(λ) = B(e^{2λ})/e^λ is stationary of unit variance with correlation e^{−|Δλ|}; it is drawn where it is asked
for by bisection in λ, each half from a seed of its own (Li et al. 2020, "Scalable gradients for SDEs").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from shared.random import make_generator, randn_like

_LOW, _HIGH, _DEPTH = -20.0, 20.0, 13
"""Range of log-SNR, and how often it is halved; within the last piece one draw serves."""


class BrownianNoise:
    """Increments for a batch, each item's from a seed of its own.

    Args:
        seeds: of the items.
        like: the state (batch, ...), for shape, dtype and device.
    """

    def __init__(self, seeds: Sequence[int], like: Tensor):
        self._like = like
        self._paths = [_Path(seed, like[item]) for item, seed in enumerate(seeds)]

    def between(self, now: Sequence[float], after: Sequence[float]) -> Tensor:
        """Unit noise (batch, ...) of the step from the log-SNR `now` to `after`, one for all items or one of each."""
        each = (path.between(now[i % len(now)], after[i % len(after)]) for i, path in enumerate(self._paths))
        return torch.stack(list(each)) if self._paths else torch.empty_like(self._like)


class _Path:
    """u(λ) of one item; what the last question needed is kept for the next."""

    def __init__(self, seed: int, like: Tensor):
        self._seed, self._like = seed, like
        self._kept: dict[tuple[int, int], Tensor] = {}
        self._last: tuple[float, Tensor] | None = None

    def between(self, now: float, after: float) -> Tensor:
        if math.isinf(now):
            return self.at(after)
        past = math.exp(now - after)
        before = self.at(now)
        return (self.at(after) - past * before) / math.sqrt(1 - past**2)

    def at(self, log_snr: float) -> Tensor:
        """u(λ); λ beyond the range counts as its end."""
        level = min(max(log_snr, _LOW), _HIGH)
        if self._last is not None and self._last[0] == level:  # where the step before this one ended
            return self._last[1]
        low, high, place = _LOW, _HIGH, 0
        used: dict[tuple[int, int], Tensor] = {}
        left = self._node(used, (0, 0), None, None, math.inf, math.inf)
        right = self._node(used, (0, 1), left, None, high - low, math.inf)
        for depth in range(1, _DEPTH):
            middle = (low + high) / 2
            between = self._node(used, (depth, place), left, right, middle - low, high - middle)
            if level < middle:
                high, right, place = middle, between, 2 * place
            else:
                low, left, place = middle, between, 2 * place + 1
        self._kept = used
        self._last = level, _bridge(left, right, level - low, high - level, self._draw((_DEPTH, place)))
        return self._last[1]

    def _node(
        self,
        used: dict[tuple[int, int], Tensor],
        key: tuple[int, int],
        left: Tensor | None,
        right: Tensor | None,
        before: float,
        after: float,
    ) -> Tensor:
        found = self._kept.get(key)
        used[key] = _bridge(left, right, before, after, self._draw(key)) if found is None else found
        return used[key]

    def _draw(self, key: tuple[int, int]) -> Tensor:
        generator = make_generator(self._seed, "brownian", *key, device=self._like.device)
        return randn_like(self._like, generator)


def _bridge(left: Tensor | None, right: Tensor | None, before: float, after: float, noise: Tensor) -> Tensor:
    """u at a place `before` after `left` and `after` before `right`; None is infinitely far."""
    p, q = math.exp(-before), math.exp(-after)
    whole = 1 - (p * q) ** 2
    if whole == 0:  # both ends are this place
        return noise if left is None else left
    value = math.sqrt((1 - p * p) * (1 - q * q) / whole) * noise
    if left is not None:
        value = value + (p * (1 - q * q) / whole) * left
    return value if right is None else value + (q * (1 - p * p) / whole) * right
