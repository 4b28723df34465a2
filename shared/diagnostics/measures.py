"""What a learnt score is measured by: whether it is a gradient, and whether it moves with the noise as a density's.

Sources: Horvat and Pfister 2024 (arXiv 2402.03845) for the asymmetry and for what it does not say; "Are we really
learning the score function?" (arXiv 2509.00336) for loops; Lai et al. 2023, "FP-Diffusion", for the Fokker–Planck
residual. All is in the coordinates of `shared.diagnostics.field`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.checks import Count, Positive, Several, checked
from shared.diagnostics.field import ScoreField, inner
from shared.divergence import EXACT_UP_TO, dimensions
from shared.errors import ConfigError
from shared.guidance import DenoiserFunction
from shared.random import Generators, randn_like
from shared.sde.base import SDE

_SPAN = 0.02
"""Steps in log κ by which the score's change with the noise is measured."""


@dataclass(frozen=True)
class Asymmetry:
    """How far a Jacobian J is from its transpose, item by item: E‖Jv − Jᵀv‖²/(4 E‖Jv‖²), from 0 to 1.

    Attributes:
        score: (batch,), of the score's. Where the noise is large it is small for any network, since J is then nearly
            −1/κ².
        data: (batch,), of the data prediction's, which has no such part.
    """

    score: Tensor
    data: Tensor


def asymmetry(field: ScoreField, u: Tensor, probes: int = 4, generator: Generators = None) -> Asymmetry:
    """The asymmetry of the Jacobians at u (batch, …), by one product forwards and one backwards for each probe.

    An exact score is a gradient, whose Jacobian is symmetric. The converse is no defect by itself: a part that is no
    gradient can leave all densities and samples as they are (gauge freedom).

    Raises:
        ConfigError: fewer than one probe.
    """
    odd, of_score, of_data = (torch.zeros(len(u), dtype=torch.float64, device=u.device) for _ in range(3))
    for _ in range(checked(Count, probes=probes)):
        v = _signs(u, generator)
        forward, back = field.products(u, v)
        odd += inner(forward - back, forward - back)
        of_score += inner(forward - v, forward - v)
        of_data += inner(forward, forward)
    return Asymmetry(_ratio(odd, 4 * of_score), _ratio(odd, 4 * of_data))


@dataclass(frozen=True)
class LoopIntegral:
    """The work of a field along a circle.

    Attributes:
        work: (batch,): ∮ s·du.
        path: (batch,): ∮ |s·du|, which the work is at most.
    """

    work: Tensor
    path: Tensor

    @property
    def relative(self) -> Tensor:
        """|work|/path, (batch,), from 0, of a gradient, to 1."""
        return _ratio(self.work.abs(), self.path)


def loop_integral(
    field: ScoreField, u: Tensor, a: Tensor, b: Tensor, radius: float | None = None, points: int = 16
) -> LoopIntegral:
    """The integral of the score along a circle around u in the plane of a and b, all (batch, …), by `points` calls.

    It is 0 for every gradient, and π·radius²·bᵀ(J − Jᵀ)a for a linear field.

    Args:
        field, u: where.
        a, b: directions, which are made orthonormal here.
        radius: in the coordinates of the data; None takes κ, as far as noise reaches in one direction.
        points: of the circle, evenly spread, for which the trapezoid rule converges exponentially.

    Raises:
        ConfigError: a radius or a number of points that is out of range, or directions that are parallel or 0.
    """
    checked(Several, points=points)
    radius = math.sqrt(field.variance) if radius is None else checked(Positive, radius=radius)
    a = a / _norm(a)
    across = b - _as(inner(a, b), a) * a
    if not bool((_norm(across) > 1e-6 * _norm(b)).all()):  # of parallel ones rounding is left; of zeros, 0 or NaN
        raise ConfigError("directions of a loop that are 0, or parallel: give two that span a plane")
    b = across / _norm(across)
    work, path = (torch.zeros(len(u), dtype=torch.float64, device=u.device) for _ in range(2))
    for angle in torch.arange(points, dtype=torch.float64) * (2 * math.pi / points):
        cos, sin = math.cos(angle), math.sin(angle)
        with torch.no_grad():
            along = inner(field.score(u + radius * (cos * a + sin * b)), cos * b - sin * a)
        work += along
        path += along.abs()
    length = 2 * math.pi * radius / points
    return LoopIntegral(length * work, length * path)


def asymmetric_plane(field: ScoreField, u: Tensor, generator: Generators = None) -> tuple[Tensor, Tensor]:
    """A random direction a, and (J − Jᵀ)a, towards which the field turns most; random too where that is 0."""
    a = randn_like(u, generator)
    forward, back = field.products(u, a)
    turn, other = forward - back, randn_like(u, generator)
    return a, torch.where(_norm(turn) > 1e-7 * _norm(forward), turn, other)


@dataclass(frozen=True)
class FokkerPlanck:
    """How far the score's change with the noise is from what its own divergence tells.

    Attributes:
        squared: (batch,): ‖κ∂_κ s − κ²∇(div s + ‖s‖²)‖². Estimated from probes it is unbiased, and may be below 0.
        change: (batch,): ‖κ∂_κ s‖².
    """

    squared: Tensor
    change: Tensor

    @property
    def relative(self) -> float:
        """Root of the ratio of the sums over the batch, at least 0; 0 for an exact score."""
        return math.sqrt(max(0.0, float(self.squared.sum() / self.change.sum())))


def fokker_planck(
    denoiser: DenoiserFunction,
    sde: SDE,
    x0: Tensor,
    t: float,
    y: Tensor | None = None,
    *,
    noise: Tensor,
    probes: int = 4,
    generator: Generators = None,
) -> FokkerPlanck:
    """The residual of the Fokker–Planck equation, ∂_κ s = κ∇(div s + ‖s‖²), at noisy data (Lai et al. 2023).

    The divergence is exact up to 32 dimensions. Beyond, each probe gives an estimate of the residual, and products of
    different ones its unbiased square; with few probes in many dimensions that is rough. The network is differentiated
    twice.

    Args:
        denoiser, sde, y: as `ScoreField` takes them.
        x0: data (batch, ...).
        t: the time.
        noise: white, shaped like `x0`: the residual is taken at x_0 with this noise.
        probes: at least 2, where the divergence is not exact.
        generator: of the probes.

    Raises:
        ConfigError: fewer than two probes, or a time at an end of the path.
    """
    checked(Several, probes=probes)
    field = ScoreField(denoiser, sde, t, x0, y)
    u = field.noisy(x0, noise)
    change = _change_with_noise(field, u)
    if dimensions(x0) <= EXACT_UP_TO:
        basis = torch.eye(u.shape[1:].numel(), dtype=u.dtype, device=u.device).reshape(-1, 1, *u.shape[1:])
        left = change - field.variance * _gradient_of_energy(field, u, [v.expand_as(u) for v in basis])
        return FokkerPlanck(inner(left, left), inner(change, change))
    signs = [_signs(u, generator) for _ in range(probes)]
    each = [change - field.variance * _gradient_of_energy(field, u, [v]) for v in signs]
    total = torch.stack(each).sum(0)
    pairs = inner(total, total) - torch.stack([inner(one, one) for one in each]).sum(0)
    return FokkerPlanck(pairs / (probes * (probes - 1)), inner(change, change))


def _change_with_noise(field: ScoreField, u: Tensor) -> Tensor:
    """∂s/∂log κ at u, by central differences of fourth order. As of time, networks know none of κ."""
    found = torch.zeros_like(u)
    for weight, step in ((8, 1), (-8, -1), (-1, 2), (1, -2)):
        t = float(field.sde.time_of_log_snr(field.node.log_snr - step * _SPAN))
        with torch.no_grad():
            found += weight / (12 * _SPAN) * field.at(t).score(u)
    return found


@torch.inference_mode(False)  # derivatives are taken, whatever mode the caller is in
def _gradient_of_energy(field: ScoreField, u: Tensor, directions: list[Tensor]) -> Tensor:
    """∇(Σ vᵀJv + ‖s‖²) over the directions v."""
    with torch.enable_grad():
        leaf = u.detach().clone().requires_grad_(True)
        score = field.score(leaf)
        energy = score.square().sum()
        for v in directions:
            (product,) = torch.autograd.grad(score, leaf, v, create_graph=True)
            energy = energy + (product * v.clone()).sum()
        (gradient,) = torch.autograd.grad(energy, leaf)
    return gradient


def _signs(like: Tensor, generator: Generators) -> Tensor:
    return randn_like(like, generator).sign()


def _norm(values: Tensor) -> Tensor:
    return _as(inner(values, values).sqrt(), values)


def _as(each: Tensor, like: Tensor) -> Tensor:
    """(batch,) in the dtype of `like` (batch, …), so that it multiplies it."""
    return each.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part/whole, 0 where both are."""
    return torch.where(whole > 0, part / whole.clamp_min(1e-300), torch.zeros_like(whole))
