"""Convolution kernels of state spaces that are diagonal plus low rank: the mathematics of S4.

S4 (Gu et al. 2022, "Efficiently modeling long sequences with structured state spaces") maps u to y by

    x' = A x + B u,   y = C x,   A = Λ − P P*,

with Λ diagonal. The bilinear rule with step Δ (eq. 3) gives Ā = (I − ΔA/2)⁻¹(I + ΔA/2), B̄ = (I − ΔA/2)⁻¹ΔB and the
kernel K_j = C Āʲ B̄ (eq. 5). States come in conjugate pairs, of which one member is kept, so that K is real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class DPLR:
    """A state space of every channel, one member of each conjugate pair.

    Attributes:
        pole: diagonal of Λ, (channels, pairs), complex with negative real part.
        low_rank: P, (channels, pairs), complex.
        input: B, (channels, pairs), complex.
        step: Δ, (channels,).
    """

    pole: Tensor
    low_rank: Tensor
    input: Tensor
    step: Tensor


def hippo_legs(state: int) -> DPLR:
    """HiPPO-LegS of `state` dimensions as normal plus low rank, for one channel with Δ = 1 (float64).

    A[n, k] = −√((2n+1)(2k+1)) for n > k, −(n+1) on the diagonal, 0 above it; B[n] = √(2n+1) (Gu et al. 2022, eq. 2).
    With P[n] = √(n + ½), A + P Pᵀ is −½ I plus a skew-symmetric matrix (appendix C.1), hence diagonalised by a unitary
    matrix, in whose basis Λ, P and B are returned.
    """
    n = torch.arange(state, dtype=torch.float64)
    root = (2 * n + 1).sqrt()
    low_rank = (n + 0.5).sqrt()
    skew = -0.5 * torch.outer(root, root)
    skew = skew.tril(-1) - skew.tril(-1).T
    frequency, basis = torch.linalg.eigh(-1j * skew)  # ascending and symmetric about 0
    half = basis[:, : state // 2].conj().T
    pole = torch.complex(torch.full((state // 2,), -0.5, dtype=torch.float64), frequency[: state // 2])
    complexes = torch.stack([low_rank, root]).to(half.dtype)
    low_rank, gain = complexes @ half.T
    return DPLR(pole[None], low_rank[None], gain[None], torch.ones(1, dtype=torch.float64))


def discretise(system: DPLR) -> tuple[Tensor, Tensor]:
    """Dense Ā (channels, state, state) and B̄ (channels, state) of the bilinear rule; both members of each pair."""
    pole, low_rank, gain = (_both(value) for value in (system.pole, system.low_rank, system.input))
    half = 0.5 * system.step[:, None, None]
    scaled = half * (torch.diag_embed(pole) - low_rank[:, :, None] * low_rank.conj()[:, None, :])
    identity = torch.eye(pole.shape[1], dtype=pole.dtype, device=pole.device)
    columns = torch.cat([identity + scaled, (2 * half * gain[:, :, None]).to(pole.dtype)], dim=2)
    solved = torch.linalg.solve(identity - scaled, columns)
    return solved[..., :-1], solved[..., -1]


def truncated(readout: Tensor, system: DPLR, length: int) -> Tensor:
    """C̃ = C(I − Ā^length), whose generating function is that of the kernel cut after `length` steps (algorithm 1).

    Args:
        readout: C of each output, (outputs, channels, pairs), complex.
    """
    return readout - _advanced(readout, system, length)


def doubled(readout: Tensor, system: DPLR, length: int) -> Tensor:
    """C̃ for twice `length` from C̃ for `length`: C(I − Ā^2L) = C(I − Ā^L)(I + Ā^L)."""
    return readout + _advanced(readout, system, length)


def _advanced(readout: Tensor, system: DPLR, length: int) -> Tensor:
    """C Ā^length, in the precision of the system."""
    power = torch.linalg.matrix_power(discretise(system)[0], length)
    both = _both(readout.to(power.dtype)).transpose(0, 1)
    return (both @ power)[..., : readout.shape[-1]].transpose(0, 1).to(readout.dtype)


def kernel(readout: Tensor, system: DPLR, length: int, conjugates: bool = True) -> Tensor:
    """The kernel of `length` steps, by its generating function at the roots of unity ω = e^{−iθ} (§3.2, appendix C.3).

    K̂(ω) = 2/(1+ω) · C̃ [z/Δ − A]⁻¹ B with z = 2(1−ω)/(1+ω), and by Woodbury with sums R(C, B) = Δ Σ_n C_n B_n/(z − ΔΛ_n)

        C̃ [z/Δ − A]⁻¹ B = R(C̃, B) − R(C̃, P) R(P*, B) / (1 + R(P*, P)).

    With c = cos(θ/2) and R = 2c·S nothing is divided by zero at ω = −1: K̂ = 2e^{iθ/2}(S₀₀ − 2c S₀₁S₁₀/(1 + 2c S₁₁)).

    Args:
        readout: C̃ of each output for this length, (outputs, channels, pairs), complex.
        system: the state spaces.
        length: of the kernel.
        conjugates: sum over both members of each pair. False sums over the stored one, see `S4Config`.

    Returns:
        (outputs, channels, length), real.
    """
    half_angle = torch.arange(length // 2 + 1, dtype=torch.float64, device=readout.device) * (math.pi / length)
    real = system.step.dtype
    sine, cosine = half_angle.sin().to(real), half_angle.cos().to(real)
    left = torch.cat([readout, system.low_rank.conj()[None]]).transpose(0, 1)
    right = torch.stack([system.input, system.low_rank], dim=1)
    outputs, channels, pairs = readout.shape
    products = (left[:, :, None] * right[:, None]).reshape(channels, -1, pairs) * system.step[:, None, None]
    scaled = system.pole * system.step[:, None]
    sums = (_pair_sums if conjugates else _single_sums)(products, scaled, sine, cosine)
    sums = sums.view(channels, outputs + 1, 2, -1)
    (direct, through), (back, loop) = (sums[:, :outputs].unbind(2), sums[:, outputs:].unbind(2))
    response = direct - 2 * cosine * through * back / (1 + 2 * cosine * loop)
    phase = torch.polar(torch.full_like(half_angle, 2.0), half_angle).to(response.dtype)
    return torch.fft.irfft(phase * response, n=length).transpose(0, 1)


def _pair_sums(products: Tensor, pole: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """S = Σ_n v_n/(2c(z − λ_n)) + its conjugate partner, (channels, k, frequencies), in real arithmetic.

    The two terms have the common denominator x + iy, x = 4(c²|λ|² − 4s²), y = −16 s c Re λ, and the numerator
    8 s i Re v − 4 c Re(v λ̄), where s = sin(θ/2).

    Args:
        products: v, (channels, k, pairs).
        pole: λ = ΔΛ, (channels, pairs).
    """
    numerators = torch.cat([products.real, (products * pole.conj()[:, None]).real], dim=1)
    summed, _ = _Quotients.apply(numerators, pole.abs(), pole.real, sine, cosine)
    (flow_x, flow_y), (level_x, level_y) = (half.chunk(2, dim=-1) for half in summed.chunk(2, dim=1))
    rise, fall = 8 * sine, 4 * cosine
    return torch.complex(rise * flow_y - fall * level_x, rise * flow_x + fall * level_y)


class _Quotients(torch.autograd.Function):
    """Σ_n r_n/(x_n + iy_n) for real r, as the real part beside the negated imaginary part; x, y as in `_pair_sums`.

    By hand, because pairs × frequencies is where a kernel's cost lies, and autograd takes many times as many passes.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(numerators: Tensor, size: Tensor, real: Tensor, sine: Tensor, cosine: Tensor) -> tuple[Tensor, Tensor]:
        """numerators (channels, k, pairs), |λ| and Re λ (channels, pairs) → (channels, k, 2·frequencies), and 1/q."""
        scaled = size[..., None] * cosine
        x = (scaled - 2 * sine).mul_(scaled + 2 * sine).mul_(4)
        y = real[..., None] * (-16 * sine * cosine)
        weight = x.square().addcmul_(y, y).reciprocal_()
        inverse = torch.cat([x.mul_(weight), y.mul_(weight)], dim=-1)
        return numerators @ inverse, inverse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        numerators, size, _, sine, cosine = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(numerators, size, sine, cosine, output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None, None
        numerators, size, sine, cosine, inverse = ctx.saved_tensors
        # With q = x + iy, 1/q = a − ib and the gradient (g, h) of (a, b): that of q is −(g − ih)(a + ib)².
        a, b = inverse.chunk(2, dim=-1)
        g, h = (numerators.mT @ grad).chunk(2, dim=-1)
        real, imaginary = a.square().addcmul_(b, b, value=-1), (a * b).mul_(2)
        of_x = (g * real).addcmul_(h, imaginary).neg_()
        of_y = (h * real).addcmul_(g, imaginary, value=-1)
        of_size = 8 * size * (of_x @ cosine.square())
        return grad @ inverse.mT, of_size, of_y @ (-16 * sine * cosine), None, None


def _single_sums(products: Tensor, pole: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """S = Σ_n v_n/(2c(z − λ_n)) over the stored members only; shapes as in `_pair_sums`."""
    real = -2 * pole.real[..., None] * cosine
    imaginary = 4 * sine - 2 * pole.imag[..., None] * cosine
    return products @ torch.complex(real, imaginary).reciprocal()


def _both(half: Tensor) -> Tensor:
    """Both members of each conjugate pair, along the last dimension."""
    return torch.cat([half, half.conj()], dim=-1)
