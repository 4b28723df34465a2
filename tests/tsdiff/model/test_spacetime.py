"""SpaceTime's layer: its kernel, its roots, closed-loop forecasts, and the network that it makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator
from tests.tsdiff.conftest import sines, tiny_estimator
from tsdiff import TSDiffPredictor
from tsdiff.model.backbones import SpaceTimeConfig
from tsdiff.model.backbones.companion import (
    closed_loop,
    companion,
    damped,
    kernel,
    log_radius,
    restored,
    truncated,
    within,
)
from tsdiff.model.backbones.spacetime import CompanionConvolution, preparing_kernels


def spaces(size: int, count: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """p with roots inside the unit circle, b and c."""
    generator = make_generator("spaces", size)
    parts = torch.randn(3, count, size, dtype=torch.float64, generator=generator)
    return within(parts[0], 0.97), parts[1], parts[2]


def naive(last: Tensor, gain: Tensor, readout: Tensor, length: int) -> Tensor:
    """cᵀ Aᵏ b, one step after the other."""
    matrix, state, made = companion(last), gain, []
    for _ in range(length):
        made.append((readout * state).sum(-1))
        state = (matrix @ state[..., None])[..., 0]
    return torch.stack(made, dim=-1)


@pytest.mark.parametrize("length", [5, 24, 97, 256])
@pytest.mark.parametrize("size", [2, 4, 16, 64])
def test_the_kernel_is_that_of_the_recursion(size: int, length: int) -> None:
    given = spaces(size)
    torch.testing.assert_close(kernel(*given, length), naive(*given, length), rtol=1e-10, atol=1e-10)


def test_roots_on_the_unit_circle_are_no_trouble() -> None:
    # A season of 4 that never fades, whose roots are 4th roots of 1, in a window of 12.
    last = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    gain, readout = torch.eye(4, dtype=torch.float64)[0], torch.arange(1.0, 5.0, dtype=torch.float64)
    torch.testing.assert_close(kernel(last, gain, readout, 12), readout.repeat(3))


def test_damping_scales_the_kernel() -> None:
    given = spaces(8)
    expected = naive(*given, 20) * 0.9 ** torch.arange(20, dtype=torch.float64)
    torch.testing.assert_close(naive(*damped(*given, 0.9), 20), expected)


def test_a_truncated_readout_can_be_restored() -> None:
    last, _, readout = spaces(8)
    torch.testing.assert_close(restored(last, truncated(last, readout, 30), 30), readout)


def test_roots_are_shrunk_together_and_only_where_they_are_outside() -> None:
    wild = 3 * torch.randn(5, 12, dtype=torch.float64, generator=make_generator("wild"))
    roots = torch.linalg.eigvals(companion(wild)).abs().amax(1)
    torch.testing.assert_close(log_radius(wild), roots.log(), rtol=0, atol=2e-3)
    held = torch.linalg.eigvals(companion(within(wild)))
    assert (held.abs() <= 1 + 1e-9).all()
    shrunk = torch.linalg.eigvals(companion(wild)) / torch.exp(log_radius(wild))[:, None]
    torch.testing.assert_close(held.abs().sort(dim=1).values, shrunk.abs().sort(dim=1).values)
    # |p|₁ = 2.24, which the published bound forbids; its roots are 0.8, twice.
    allowed = torch.tensor([-0.64, 1.6], dtype=torch.float64)
    torch.testing.assert_close(log_radius(allowed).exp(), torch.tensor(0.8, dtype=torch.float64), rtol=2e-3, atol=0)
    assert torch.equal(within(allowed), allowed)
    assert log_radius(torch.zeros(4)) == -torch.inf


def test_closed_loop_forecasts_are_those_of_an_autoregression() -> None:
    weights, history = (1.6, -0.64), [0.3, -1.0, 0.7, 2.0]
    expected = list(history)
    for _ in range(50):
        expected.append(weights[0] * expected[-1] + weights[1] * expected[-2])
    unit = torch.eye(4, dtype=torch.float64)[0]
    feedback = torch.tensor([*weights, 0.0, 0.0], dtype=torch.float64)
    found = closed_loop(unit, unit, feedback, torch.tensor(history[::-1], dtype=torch.float64), 50)
    torch.testing.assert_close(found, torch.tensor(expected[4:], dtype=torch.float64), rtol=0, atol=1e-14)


def test_a_layer_is_the_convolution_with_its_spaces_kernels() -> None:
    layer = CompanionConvolution(3, 6, 20, prepared=1)
    ahead, behind = naive(*layer.spaces(), 20)
    ahead[0] = preparing_kernels(1, 20)[0]
    x = torch.randn(3, 2, 20)
    expected = layer.direct[:, None, None] * x
    for i in range(20):
        expected[..., i] += (x[..., : i + 1].flip(-1) * ahead[:, None, : i + 1]).sum(-1).float()
        expected[..., i] += (x[..., i + 1 :] * behind[:, None, : 19 - i]).sum(-1).float()
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="of 20"):
        layer(x[..., :10])


def test_the_first_block_takes_differences_and_moving_averages_off() -> None:
    kernels = preparing_kernels(10, 30)
    line = torch.arange(30.0)
    ends = [(kernels[row].flip(0) * line).sum() for row in range(10)]
    torch.testing.assert_close(torch.stack(ends[:6]), torch.tensor([1.0, 0.0, 0.0, 0.0, 0.5, 1.5]))
    torch.testing.assert_close(kernels.sum(1), torch.zeros(10), rtol=0, atol=1e-6)
    assert torch.equal(kernels[8], kernels[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"state": 1}, "state=1"),
        ({"state": 300}, "state=300"),
        ({"width": 512, "state": 64}, "width · state²"),
        ({"prepared": 65}, "prepared=65"),
        ({"dropout": 1.0}, "dropout=1"),
        ({"patch": 0}, "patch=0"),
    ],
)
def test_impossible_sizes_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpaceTimeConfig(**settings)


@pytest.mark.parametrize("conditional", [pytest.param(False, marks=pytest.mark.slow), True])
def test_it_is_a_backbone_of_any_model(tmp_path, conditional: bool) -> None:
    backbone = {"kind": "spacetime", "width": 8, "blocks": 2, "state": 4, "prepared": 4}
    predictor = tiny_estimator(steps=30, backbone=SpaceTimeConfig(**backbone), conditional=conditional).train(
        sines(), progress=False
    )
    found = next(predictor.predict(sines(), 3)).samples
    assert np.isfinite(found).all()
    predictor.serialize(tmp_path)
    again = TSDiffPredictor.deserialize(tmp_path)
    assert again.model.config.backbone == SpaceTimeConfig(**backbone)
    np.testing.assert_array_equal(next(again.predict(sines(), 3)).samples, found)


@pytest.mark.slow
def test_training_lowers_the_loss_and_every_weight_learns() -> None:
    torch.manual_seed(0)
    network = SpaceTimeConfig(width=16, blocks=2, state=8).build(48, 1, 0)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    t = torch.arange(48.0)
    losses = []
    for _ in range(60):
        clean = torch.sin(2 * torch.pi * (t / 12 + torch.rand(16, 1)))[..., None]
        x = clean + torch.randn_like(clean)
        loss = (network(x, torch.zeros(16)) - clean).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())
