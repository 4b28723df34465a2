"""Convolution by real FFTs, forward and backward.

Autograd's own gradient of a real FFT is a complex one of the whole length, several times as dear; the gradients of a
convolution are correlations, which need real transforms alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def convolve(x: Tensor, taps: Tensor | None, spectrum: Tensor, points: int) -> Tensor:
    """Each channel's series convolved on a circle of `points` with the channel's taps, cut to the series' length.

    Args:
        x: (channels, batch, length).
        taps: (channels, points), where they are to get gradients; else None.
        spectrum: their transfer function, rfft(taps) (channels, points // 2 + 1), without gradients.
        points: of the circle, at least length.

    Returns:
        (channels, batch, length).
    """
    padded = F.pad(x, (0, points - x.shape[2]))
    if torch.is_grad_enabled() and (taps is not None or x.requires_grad):
        circle, _ = _Circular.apply(padded, taps, spectrum)
    else:
        circle = _circular(padded, spectrum)
    return circle[..., : x.shape[2]]


def _circular(x: Tensor, spectrum: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(x) * spectrum[:, None], n=x.shape[2])


class _Circular(torch.autograd.Function):
    """Circular convolution, and the transform of x, which the gradient of the taps needs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, taps: Tensor | None, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        waves = torch.fft.rfft(x)
        return torch.fft.irfft(waves * spectrum[:, None], n=x.shape[2]), waves

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, taps, spectrum = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        # The padded x is kept for gradients of gradients alone; it is a view of nothing else that would be kept.
        ctx.save_for_backward(None if taps is None else x, taps, spectrum, None if taps is None else output[1])
        ctx.save_for_forward(x, taps, spectrum)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None
        x, taps, spectrum, waves = ctx.saved_tensors
        if taps is None:
            return _Circular.apply(grad, None, spectrum.conj())[0], None, None
        if torch.is_grad_enabled():  # for gradients of gradients
            out = _circular(x, torch.fft.rfft(taps))
            return *torch.autograd.grad(out, (x, taps), grad, create_graph=True), None
        back = torch.fft.rfft(grad)
        of_x = torch.fft.irfft(back * spectrum.conj_physical()[:, None], n=grad.shape[2])
        correlation = back.conj_physical_().mul_(waves).sum(1).conj_physical_()
        return of_x, torch.fft.irfft(correlation, n=grad.shape[2]), None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dtaps: Tensor | None, *_: None) -> tuple[Tensor, None]:
        x, _taps, spectrum = ctx.saved_tensors
        parts = [] if dx is None else [_circular(dx, spectrum)]
        if dtaps is not None:
            parts.append(_circular(x, torch.fft.rfft(dtaps)))
        return sum(parts[1:], parts[0]), None
