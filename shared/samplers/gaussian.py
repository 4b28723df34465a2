"""What the data's mean and covariance alone give: a start further down the path, and an integrator exact in them.

At high noise the score of any data is nearly that of the Gaussian law of their mean and covariance, whose
probability-flow map is known (`shared.samplers.laws`). With u = r/α, κ = σ/α, z = u − m, D_G the law's data prediction
and e = D − D_G, in each direction of variance v

    z_t = P(κ_s)·z_s + ∫ P(κ(λ))·e(λ) dλ,   P(κ) = √((v + κ_t²)/(v + κ²)).

The Gaussian part is exact in any step; the integrator extrapolates e alone. In the step to clean data, at κ = 0, e is
taken to fall as the law's posterior variance does. v = 0 is the multistep method of the core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from shared.checks import Checked, Finite
from shared.errors import ConfigError
from shared.samplers.denoising import DenoisingMCMC
from shared.samplers.exponential import Exponential
from shared.samplers.laws import Law, LawSetting
from shared.samplers.level import known_law
from shared.samplers.run import Node, Run, is_clean
from shared.sde.base import SDE

_NODES, _SHARES = np.polynomial.legendre.leggauss(24)


@dataclass(frozen=True)
class GaussianExponential(Checked):
    """The second-order multistep integrator that is exact in the data's Gaussian part; deterministic.

    Args:
        gaussian: the law of x_0 − y; None is the model's own, where a model draws that knows one.
        teleport: log-SNR to which the start is taken by the law's flow, without a call; steps of the grid before it are
            left out, and a grid that is made from a number of steps has all of them behind it. −1.5 is off by about
            2e-3 on mixtures. At or before the grid's start it does nothing; None is no teleport.
        denoise: end with one more data prediction.

    Raises:
        ConfigError: (from the run) no law, a grid that begins at a bridge's end, or ends before the teleport does.
    """

    gaussian: LawSetting | None = None
    teleport: Finite | None = None
    denoise: bool = False
    kind: Literal["gaussian"] = field(default="gaussian", repr=False)

    def first_step(self, sde: SDE, start: float) -> float:
        """The time at which the steps of a grid from `start` begin, behind the teleport."""
        return start if self.teleport is None else min(start, float(sde.time_of_log_snr(self.teleport)))

    def __call__(self, run: Run) -> None:
        """Run over the grid."""
        law: Law = known_law(self.gaussian, "the Gaussian integrator")
        nodes, x = run.single(), run.x
        run.sde.require_white("the Gaussian integrator", "ode2")
        if nodes[0].sigma == 0:
            raise ConfigError(
                "the Gaussian integrator from a bridge's end: all states are one there; take ode2, which starts with "
                "noise, or start a little before, with x_start and t_start"
            )
        if self.teleport is not None and self.teleport > nodes[0].log_snr:
            start = Node.at(run.sde, self.first_step(run.sde, nodes[0].t))
            later = [node for node in nodes if node.log_snr > start.log_snr + 1e-9]
            if not later:
                raise ConfigError(f"teleport={self.teleport}: the steps end before this log-SNR; choose a lower one")
            x = run.anchored(law.teleported(run.residual(x), nodes[0], start))
            nodes = [start, *later]
        before: tuple[float, Tensor] | None = None
        for now, after in pairwise(nodes):
            r = run.residual(x)
            d = run.data_residual(x, (now,))
            error = d - law.denoised(r, now)
            ahead = self._step(law, now, after, r, error, before)
            x = run.finish_step(run.anchored(ahead), (now,), (after,))
            before = (now.log_snr, error) if math.isfinite(now.log_snr) else None
        if self.denoise:
            run.denoise_final()

    def _step(
        self, law: Law, now: Node, after: Node, r: Tensor, error: Tensor, before: tuple[float, Tensor] | None
    ) -> Tensor:
        if is_clean(after) and now.alpha == 0:
            return error + law.denoised(r, now)
        ahead = law.teleported(r, now, after)
        if is_clean(after):
            return ahead + law.applied(lambda v: _to_clean(v, now.sigma / now.alpha), error)
        if math.isinf(now.log_snr):
            return ahead + after.alpha * law.applied(lambda v: _from_nothing(v, after.sigma / after.alpha), error)
        h = after.log_snr - now.log_snr
        change = law.applied(lambda v: _integral(v, now, after, 0), error)
        if before is not None:
            gap = now.log_snr - before[0]
            slope = (error - before[1]) * (min(1.0, 2 * gap / h) / gap)
            change = change + law.applied(lambda v: _integral(v, now, after, 1), slope)
        return ahead + after.alpha * change


def _from_nothing(v: Tensor, kappa: float) -> Tensor:
    """∫ P dλ from −∞, of variances v: √(v + κ²)/√v·asinh(√v/κ)."""
    whole = torch.asinh(v.sqrt() / kappa) / v.sqrt().clamp_min(1e-12) * (v + kappa**2).sqrt()
    return torch.where(v > 0, whole, torch.ones_like(v))


def _to_clean(v: Tensor, kappa: float) -> Tensor:
    """∫ P·e/e_s dλ to clean data, of variances v, for an e that falls as the law's posterior variance v κ²/(v + κ²)."""
    whole = v + kappa**2
    return (1 - (v / whole).sqrt()) * whole / kappa**2


def _integral(v: Tensor, now: Node, after: Node, power: int) -> Tensor:
    """∫ P·(λ − λ_s)^power dλ of variances v, shaped like them, by Gauss–Legendre nodes."""
    h = after.log_snr - now.log_snr
    places, shares = (torch.from_numpy(0.5 * h * part).to(v) for part in (_NODES + 1, _SHARES))
    kappa = torch.exp(-(now.log_snr + places))
    end = math.exp(-after.log_snr)
    ratios = ((v[..., None] + end**2) / (v[..., None] + kappa.square())).sqrt()
    return (ratios * shares * places**power).sum(-1)


def knowing(method: Any, law: Callable[[], Law], always: bool = False) -> Any:
    """A method that is told the law it needs; one that needs none, or has its own, as it is.

    Args:
        method: of sampling, or its name.
        law: gives it; called only where it is needed.
        always: whether it takes the place of the method's own.
    """
    if isinstance(method, GaussianExponential) and (always or method.gaussian is None):
        return replace(method, gaussian=law())
    if isinstance(method, DenoisingMCMC) and (always or method.law is None):
        return replace(method, law=law())
    if isinstance(method, Exponential) and method.shift is not None and (always or method.shift.law is None):
        return replace(method, shift=replace(method.shift, law=law()))
    return method
