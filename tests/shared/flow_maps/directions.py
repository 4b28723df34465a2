"""Checks of derivatives along a direction of times and state, for networks of both domains."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from shared.flow_maps.jumps import along
from shared.random import make_generator

Called = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A network on (x, t, span)."""


def awaken(network: nn.Module) -> None:
    """Give every weight a value, those that start at zero too."""
    generator = make_generator("weights")
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))


def check_directions(network: nn.Module, called: Called, x: Tensor, t: Tensor, span: Tensor) -> None:
    """The derivative along a direction is that of differences, with and without gradients; and it has a gradient."""
    move = torch.randn(x.shape, generator=make_generator("move"), dtype=x.dtype)
    one = torch.ones_like(t)
    whole, of_span = ((x, move), (t, one), (span, one)), ((span, one),)
    step = 1e-6
    with torch.no_grad():
        ahead, behind = (called(x + s * move, t + s, span + s) for s in (step, -step))
        expected = (ahead - behind) / (2 * step)
        _, silent = along(called, *whole)
        _, in_span = along(lambda span: called(x, t, span), *of_span)
        ahead, behind = (called(x, t, span + s) for s in (step, -step))
    size = float(expected.abs().amax())
    torch.testing.assert_close(silent, expected, rtol=0, atol=1e-5 * size)
    torch.testing.assert_close(in_span, (ahead - behind) / (2 * step), rtol=0, atol=1e-5 * size)
    for function, pairs, expected in (
        (called, whole, silent),
        (lambda span: called(x, t, span), of_span, in_span),
    ):
        network.zero_grad()
        _, change = along(function, *pairs)
        torch.testing.assert_close(change.detach(), expected, rtol=1e-6, atol=1e-6 * size)
        change.abs().square().sum().backward()
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0
