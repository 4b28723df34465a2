"""Convolution kernels of state spaces with a companion matrix: the mathematics of SpaceTime (Zhang et al. 2023).

    x_n = A x_{n−1} + b u_n,   y_n = cᵀ x_n,   A = S + p e_dᵀ,

with S the shift of states by one place and p the last column, so that z^d = Σ p_i z^i has the eigenvalues of A as
roots: autoregressions and moving averages are such spaces. The kernel is K_k = cᵀ Aᵏ b. All arguments are (..., d).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_SQUARINGS = 14


def companion(last: Tensor) -> Tensor:
    """A from p (..., d): (..., d, d)."""
    size = last.shape[-1]
    shift = torch.diag_embed(torch.ones(size - 1, dtype=last.dtype, device=last.device), offset=-1)
    return shift + F.pad(last[..., None], (size - 1, 0))


@torch.no_grad()
def log_radius(last: Tensor) -> Tensor:
    """log of the largest modulus of an eigenvalue, (...); −∞ for the shift alone.

    By Gelfand's formula at A^(2^14), which is too large by at most a part in a hundred, for roots that coincide.
    """
    power, log_norm = companion(last.double()), torch.zeros(last.shape[:-1], dtype=torch.float64, device=last.device)
    for _ in range(_SQUARINGS):
        power = power @ power
        size = power.flatten(-2).norm(dim=-1)
        log_norm = 2 * log_norm + size.log()
        power = power / size.clamp_min(1e-300)[..., None, None]
    return (log_norm / 2**_SQUARINGS).to(last.dtype)


def within(last: Tensor, radius: float = 1.0) -> Tensor:
    """p whose roots are those of `last`, shrunk by one factor so that none is beyond `radius`.

    Shrinking the roots by r multiplies p_i by r^{d−i}. Where they are inside already, p is as it was: bounding |p|₁ by
    1, as published, would forbid most autoregressions, such as (1.6, −0.64), whose roots are 0.8.
    """
    excess = (log_radius(last) - math.log(radius)).clamp_min(0)
    return last * torch.exp(-excess[..., None] * _powers(last).flip(-1).add(1))


def damped(last: Tensor, gain: Tensor, readout: Tensor, factor: float) -> tuple[Tensor, Tensor, Tensor]:
    """The companion space whose kernel is factorᵏ·K_k, by a similarity of factor·A."""
    places = _powers(last)
    up = factor**places
    return last * factor ** places.flip(-1).add(1), gain / up, readout * up


def truncated(last: Tensor, readout: Tensor, length: int) -> Tensor:
    """c̃ᵀ = cᵀ(I − A^length), with which the kernel of `length` steps is that of a circle."""
    power = torch.linalg.matrix_power(companion(last), length)
    return readout - (readout[..., None, :] @ power)[..., 0, :]


def restored(last: Tensor, cut: Tensor, length: int) -> Tensor:
    """The readout c of which `cut` is the truncated one."""
    power = torch.linalg.matrix_power(companion(last), length)
    eye = torch.eye(last.shape[-1], dtype=last.dtype, device=last.device)
    return torch.linalg.solve((eye - power).mT, cut)


def kernel(last: Tensor, gain: Tensor, readout: Tensor, length: int) -> Tensor:
    """K_k = cᵀ Aᵏ b for k < length, (..., length)."""
    factor = damping(length, last.shape[-1])
    last, gain, readout = damped(last, gain, readout, factor)
    return undamped(circle_kernel(last, gain, truncated(last, readout, length), length), factor)


def damping(length: int, size: int) -> float:
    """A factor that takes roots on the unit circle off it, and is undone over `length` steps or d = `size` states at
    the cost of e² in rounding."""
    return math.exp(-2 / max(length, size))


def undamped(values: Tensor, factor: float) -> Tensor:
    """A damped kernel (..., length) divided by factorᵏ."""
    return values / factor ** torch.arange(values.shape[-1], dtype=values.dtype, device=values.device)


def circle_kernel(last: Tensor, gain: Tensor, cut: Tensor, length: int) -> Tensor:
    """The kernel of `length` steps from the truncated readout, in O((d + length) log(d + length)).

    With w = e^{−2πij/length} and F(f, g) = Σ_k wᵏ fᵀ Sᵏ g, Woodbury's identity gives its transform
    F(c̃, b) + w F(c̃, p) F(e_d, b)/(1 − w F(e_d, p)). No root may be a length-th root of 1.

    Returns:
        (..., length).
    """
    through, back = _shifts(cut, last, length), _reversed(last, length)
    angle = torch.arange(length // 2 + 1, dtype=last.dtype, device=last.device) * (-2 * math.pi / length)
    turn = torch.polar(torch.ones_like(angle), angle)
    spectrum = _shifts(cut, gain, length) + turn * through * _reversed(gain, length) / (1 - turn * back)
    return torch.fft.irfft(spectrum, n=length)


def closed_loop(gain: Tensor, readout: Tensor, feedback: Tensor, state: Tensor, steps: int) -> Tensor:
    """Forecasts y_{n+j} = cᵀ(S + b Kᵀ)ʲ x_n, j = 1 … steps, (..., steps): what comes next is fed back as input.

    With b and c the first unit vector, x_n holds the last d inputs, the latest first, and K the coefficients of an
    autoregression.

    Args:
        gain, readout, feedback: b, c and K, (..., d).
        state: x_n, (..., d).
        steps: how far.
    """
    made = []
    for _ in range(steps):
        coming = (feedback * state).sum(-1, keepdim=True)
        state = F.pad(state[..., :-1], (1, 0)) + gain * coming
        made.append((readout * state).sum(-1))
    return torch.stack(made, dim=-1)


def _powers(like: Tensor) -> Tensor:
    return torch.arange(like.shape[-1], dtype=like.dtype, device=like.device)


def _shifts(left: Tensor, right: Tensor, length: int) -> Tensor:
    """The transform of fᵀ Sᵏ g, k < d, on a circle of `length`: (..., length // 2 + 1), complex."""
    size = left.shape[-1]
    waves = torch.fft.rfft(left, n=2 * size) * torch.fft.rfft(right, n=2 * size).conj()
    return _folded(torch.fft.irfft(waves, n=2 * size)[..., :size], length)


def _reversed(values: Tensor, length: int) -> Tensor:
    """The transform of e_dᵀ Sᵏ g = g_{d−1−k}."""
    return _folded(values.flip(-1), length)


def _folded(values: Tensor, length: int) -> Tensor:
    laps = -(-values.shape[-1] // length)
    padded = F.pad(values, (0, laps * length - values.shape[-1]))
    return torch.fft.rfft(padded.unflatten(-1, (laps, length)).sum(-2))
