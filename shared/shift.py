"""Paths β·y + α·x_0 + σ·ε with a known y, as paths around y: the state is only shifted.

With x the state of such a path, x − (α + β − 1)·y is the state of y + α(x_0 − y) + σ·ε, of which the toolkit's
samplers, objectives and likelihoods know. Resfusion, the bridges of DBIM and I2SB, and interpolants with a known end
are of this kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from shared.guidance import DenoiserFunction
from shared.sde import SDE, VPBridgeSDE
from shared.sde.base import expand


@dataclass(frozen=True)
class KnownShift:
    """Translates between a published state and the toolkit's.

    Args:
        sde: the path around y, with the published α and σ.
        beta: the published weight of y, (batch,) times → (batch,).
    """

    sde: SDE
    beta: Callable[[Tensor], Tensor]

    def _excess(self, t: Tensor, x: Tensor) -> Tensor:
        times = t.double()
        return expand(self.sde.alpha(times) + self.beta(times) - 1, x)

    def from_published(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The state (batch, ...) of `sde` that the published state x is, at times t (batch,)."""
        return x - self._excess(t, x) * y

    def to_published(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The published state (batch, ...) that the state x of `sde` is, at times t (batch,)."""
        return x + self._excess(t, x) * y

    def denoiser(self, published: DenoiserFunction, y: Tensor) -> DenoiserFunction:
        """A data prediction at published states as one at states of `sde`, for `shared.samplers.sample(…, y=y)`."""
        return lambda x, t: published(self.to_published(x, t, y), t)


def resfusion_shift(sde: SDE) -> KnownShift:
    """Resfusion's own state, c·x_0 + (1 − c)(y − x_0) + √(1 − c²)·ε: β = 1 − c, with c = (1 + α)/2."""
    return KnownShift(sde, lambda t: (1 - sde.alpha(t)) / 2)


def dbim_shift(sde: VPBridgeSDE) -> KnownShift:
    """The state of DDBM's and DBIM's bridges of VP, a·y + b·x_0 + c·ε with b = α, c = σ (Zheng et al. 2025, eq. 5).

    After it, DBIM's samplers are the core's: its first-order update with ρ = η·c_t√(1 − e^{−2h}) is `Exponential(1,
    eta=η)`, its higher orders are `ode2` and `ode3`, and its booting noise is the step out of the bridge's end. Their
    bridges of VE, and I2SB's, have a + b = 1 and need no shift.
    """
    return KnownShift(sde, sde.anchor_weight)


def data_from_resnoise(value: Tensor, x: Tensor, y: Tensor, kept: float, kept_next: float) -> Tensor:
    """x̂_0 (batch, ...) from Resfusion's target "resnoise" for the step of a table from `kept` = c_s to `kept_next`.

    The target is ε + (1 − √q)√(1 − c_s²)/(1 − q)·(y − x_0) with q = c_s²/c_next² (Shi et al. 2024); with it DDPM's
    update of the published state x holds as it stands.

    Args:
        value: the network's output.
        x: the published state.
        y: the noisy data.
        kept, kept_next: c at the state and after the step, c_next > c_s.
    """
    ratio = (kept / kept_next) ** 2
    spread = (1 - kept**2) ** 0.5
    weight = (1 - ratio**0.5) * spread / (1 - ratio)
    # x = (2c − 1)x_0 + (1 − c)y + spread·ε, and value = ε + weight·(y − x_0): two linear equations for x_0.
    return (x - (1 - kept) * y - spread * (value - weight * y)) / (2 * kept - 1 + spread * weight)
