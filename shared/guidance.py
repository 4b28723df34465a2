"""The two places where a method may steer a sampler: on the data prediction, and after a step."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from shared.sde.base import SDE

DenoiserFunction = Callable[[Tensor, Tensor], Tensor]
"""(x (batch, ...), t (batch,)) → x̂_0 (batch, ...)."""


class Guidance:
    """Does nothing; subclasses override one or both hooks.

    Both are handed the sampler's own counting denoiser, so that calls they make are in the result's `nfe`.
    """

    def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
        """x̂_0 (batch, ...) at state x (batch, ...), times t (batch,); here one calls the denoiser."""
        return denoiser(x, t)

    def after_step(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, t_next: Tensor, sde: SDE) -> Tensor:
        """The state to go on from, after the step t → t_next led to x."""
        return x
