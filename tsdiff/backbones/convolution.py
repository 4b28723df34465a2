"""Circular convolution by real FFTs, forward and backward.

Autograd's own gradient of a real FFT is a complex one of the whole length, several times as dear; the gradients of a
convolution are correlations, which need real transforms alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def convolve(x: Tensor, taps: Tensor | None, spectrum: Tensor, points: int) -> Tensor:
    """Each channel's series convolved on a circle of `points` with the channel's taps, cut to the series' length.

    Args:
        x: (channels, batch, length).
        taps: (channels, points), where they are to get gradients; else None.
        spectrum: their transfer function, rfft(taps) (channels, points // 2 + 1), without gradients.
        points: of the circle.

    Returns:
        (channels, batch, length).
    """
    if torch.is_grad_enabled() and (taps is not None or x.requires_grad):
        out, _ = _Convolution.apply(x, taps, spectrum, points)
        return out
    return _by_autograd(x, spectrum, points)


def _by_autograd(x: Tensor, spectrum: Tensor, points: int) -> Tensor:
    waves = torch.fft.rfft(x, n=points) * spectrum[:, None]
    return torch.fft.irfft(waves, n=points)[..., : x.shape[2]]


class _Convolution(torch.autograd.Function):
    """Also returns the transform of x, which the gradient of the taps needs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, taps: Tensor | None, spectrum: Tensor, points: int) -> tuple[Tensor, Tensor]:
        waves = torch.fft.rfft(x, n=points)
        return torch.fft.irfft(waves * spectrum[:, None], n=points)[..., : x.shape[2]], waves

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, taps, spectrum, ctx.points = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, taps, spectrum, None if taps is None else output[1])
        ctx.save_for_forward(x, taps, spectrum)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor | None, ...]:
        x, taps, spectrum, waves = ctx.saved_tensors
        if torch.is_grad_enabled():  # for gradients of gradients
            if taps is None:
                return convolve(grad, None, spectrum.conj(), ctx.points), None, None, None
            out = _by_autograd(x, torch.fft.rfft(taps), ctx.points)
            return *torch.autograd.grad(out, (x, taps), grad, create_graph=True), None, None
        back = torch.fft.rfft(grad, n=ctx.points)
        of_x = torch.fft.irfft(back * spectrum.conj_physical()[:, None], n=ctx.points)[..., : x.shape[2]]
        if waves is None:
            return of_x, None, None, None
        correlation = back.conj_physical_().mul_(waves).sum(1).conj_physical_()
        return of_x, torch.fft.irfft(correlation, n=ctx.points), None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dtaps: Tensor | None, *_: None) -> tuple[Tensor, None]:
        x, _taps, spectrum = ctx.saved_tensors
        parts = [] if dx is None else [_by_autograd(dx, spectrum, ctx.points)]
        if dtaps is not None:
            parts.append(_by_autograd(x, torch.fft.rfft(dtaps), ctx.points))
        return sum(parts[1:], parts[0]), None
