"""Hand-written gradients against numerical ones and against autograd's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tsdiff.model.backbones import S4Backbone, S4Config
from tsdiff.model.backbones.channels import normalise
from tsdiff.model.backbones.convolution import convolve
from tsdiff.model.backbones.dplr import _Quotients

POINTS = 12


def learnt(x: Tensor, taps: Tensor) -> Tensor:
    return convolve(x, taps, torch.fft.rfft(taps.detach()), POINTS)


def series_and_taps() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x, taps = torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(2, POINTS, dtype=torch.float64)
    return x.requires_grad_(True), taps.requires_grad_(True)


def test_convolution_has_the_gradients_of_its_definition() -> None:
    x, taps = series_and_taps()
    lags = (torch.arange(5)[:, None] - torch.arange(5)) % POINTS
    by_hand = torch.einsum("cij,cbj->cbi", taps[:, lags], x)
    torch.testing.assert_close(learnt(x, taps), by_hand)
    cotangent = torch.randn_like(by_hand)
    for mine, theirs in zip(
        torch.autograd.grad(learnt(x, taps), (x, taps), cotangent),
        torch.autograd.grad(by_hand, (x, taps), cotangent),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_convolution_numerically() -> None:
    x, taps = series_and_taps()
    assert torch.autograd.gradcheck(learnt, (x, taps), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(learnt, (x, taps))
    spectrum = torch.fft.rfft(taps.detach())
    assert torch.autograd.gradcheck(lambda x: convolve(x, None, spectrum, POINTS), (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: convolve(x, None, spectrum, POINTS), (x,))


def test_sums_of_quotients_numerically() -> None:
    torch.manual_seed(0)
    numerators = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    size = (torch.rand(2, 4, dtype=torch.float64) + 0.5).requires_grad_(True)
    real = (-torch.rand(2, 4, dtype=torch.float64) - 0.5).requires_grad_(True)
    angle = torch.linspace(0.1, 1.4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda *v: _Quotients.apply(*v, angle.sin(), angle.cos())[0], (numerators, size, real)
    )


def test_norm_over_the_leading_dimension() -> None:
    torch.manual_seed(0)
    layer = torch.nn.LayerNorm(6).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = (3 + torch.randn(6, 2, 5, dtype=torch.float64)).requires_grad_(True)
    inputs = (x, layer.weight, layer.bias)
    mine, theirs = normalise(layer, x), layer(x.movedim(0, -1)).movedim(-1, 0)
    torch.testing.assert_close(mine, theirs)
    cotangent = torch.randn_like(x)
    for one, other in zip(
        torch.autograd.grad(mine, inputs, cotangent), torch.autograd.grad(theirs, inputs, cotangent), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(("conjugates", "blocks"), [(True, 1), (False, 1), (True, 2)])
def test_network_numerically(conjugates: bool, blocks: int) -> None:
    torch.manual_seed(0)
    config = S4Config(width=3, blocks=blocks, state=4, step_embedding=4, conjugates=conjugates)
    network = S4Backbone(config, 6).double().train()
    x, step = torch.randn(2, 6, 1, dtype=torch.float64, requires_grad=True), torch.tensor([1, 7])
    names, weights = zip(*network.named_parameters(), strict=True)

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(network, dict(zip(names, values, strict=True)), (x, step))

    assert torch.autograd.gradcheck(call, (x, *weights))


def test_directional_derivative_of_a_frozen_network() -> None:
    """Forward mode and vmap, which guidance with a covariance and likelihoods may use."""
    torch.manual_seed(0)
    network = (
        S4Backbone(S4Config(width=4, blocks=2, state=4, step_embedding=4), 6).double().eval().requires_grad_(False)
    )
    x, step = torch.randn(2, 6, 1, dtype=torch.float64), torch.tensor([3, 3])
    directions = torch.randn(4, *x.shape, dtype=torch.float64)
    forward = [torch.func.jvp(lambda x: network(x, step), (x,), (v,))[1] for v in directions]
    for v, derivative in zip(directions, forward, strict=True):
        near = (network(x + 1e-6 * v, step) - network(x - 1e-6 * v, step)) / 2e-6
        torch.testing.assert_close(derivative, near, rtol=1e-5, atol=1e-7)
    _, pullback = torch.func.vjp(lambda x: network(x, step), x)
    (together,) = torch.func.vmap(pullback)(directions)
    for v, pulled in zip(directions, together, strict=True):
        torch.testing.assert_close(pulled, pullback(v)[0])
