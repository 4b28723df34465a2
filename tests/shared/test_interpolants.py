"""Interpolants of Gaussians and of mixtures, whose two predictions are known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.interpolants import Interpolant
from shared.random import make_generator, randn
from shared.samplers import sample
from shared.sde import FlowSDE

F64 = torch.float64
M0, M1, S0, S1 = -1.0, 2.0, 0.3, 1.5


class Mixed:
    """Both predictions where x_0 and x_1 are independent mixtures, (share, mean, deviation) each, on a line."""

    def __init__(self, interpolant: Interpolant, first=((1.0, M0, S0),), second=((1.0, M1, S1),)):
        self.interpolant = interpolant
        pairs = itertools.product(first, second)
        columns = zip(*((p * q, m0, s0, m1, s1) for (p, m0, s0), (q, m1, s1) in pairs), strict=True)
        self.shares, self.m0, self.s0, self.m1, self.s1 = (torch.tensor(column, dtype=F64) for column in columns)

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.double()[:, None]
        gamma = self.interpolant.gamma(t)
        v0, v1 = self.s0**2, self.s1**2
        variance = (1 - t) ** 2 * v0 + t**2 * v1 + gamma**2
        far = x.double() - (1 - t) * self.m0 - t * self.m1
        shares = (self.shares.log() - far.square() / (2 * variance) - variance.log() / 2).softmax(1)
        v = self.m1 - self.m0 + (t * v1 - (1 - t) * v0) / variance * far
        return tuple((shares * part).sum(1, keepdim=True).to(x) for part in (v, gamma / variance * far))


BULGES = [Interpolant(0.8, "root"), Interpolant(2.0, "parabola"), Interpolant(0.7, "sine"), Interpolant(0.0)]
IDS = ["root", "parabola", "sine", "none"]


@pytest.mark.parametrize(
    ("interpolant", "forward"),
    [
        # One of them tells the way back, too.
        pytest.param(bulge, way, id=f"{name}-{way}", marks=() if way or name == "root" else pytest.mark.slow)
        for bulge, name in zip(BULGES, IDS, strict=True)
        for way in (True, False)
    ],
)
def test_the_ode_of_gaussians_keeps_deviations_in_second_order(interpolant: Interpolant, forward: bool) -> None:
    x = torch.tensor([[-1.0], [0.5], [3.0]], dtype=F64)
    (m, s), (n, r) = ((M0, S0), (M1, S1)) if forward else ((M1, S1), (M0, S0))
    wanted = n + r / s * (x - m)
    ends = {"start": 0.0, "end": 1.0} if forward else {}
    errors = {
        (order, steps): float(
            (interpolant.transport(Mixed(interpolant), x, steps, order=order, **ends) - wanted).abs().max()
        )
        for order, steps in itertools.product((1, 2), (160, 320))
    }
    assert errors[2, 320] < min(errors[1, 320], 0.002)
    assert math.log2(errors[2, 160] / errors[2, 320]) > 1.7
    assert 0.8 < math.log2(errors[1, 160] / errors[1, 320]) < 1.3


@pytest.mark.parametrize("interpolant", BULGES[:3], ids=IDS[:3])
@pytest.mark.parametrize(
    ("noise", "end"),
    [
        *((noise, end) for noise, end in itertools.product((0.2, 1.0), (0.0, 0.4, 1.0))),
        (3.0, 0.4),
        *(pytest.param(3.0, end, marks=pytest.mark.slow) for end in (0.0, 1.0)),
    ],
)
def test_any_noise_keeps_the_marginals(interpolant: Interpolant, noise: float, end: float) -> None:
    start = 0.0 if end == 1.0 else 1.0
    draws = randn((4000, 1), make_generator("start"), dtype=F64)
    x = (M1 + S1 * draws) if start else (M0 + S0 * draws)
    given = {
        "steps": 100 if noise <= 1 else 400,
        "start": start,
        "end": end,
        "noise": noise,
        "generator": make_generator("w"),
    }
    found = interpolant.transport(Mixed(interpolant), x, **given)
    gamma = float(interpolant.gamma(torch.tensor(end, dtype=F64)))
    std = math.sqrt((1 - end) ** 2 * S0**2 + end**2 * S1**2 + gamma**2)
    assert float(found.mean()) == pytest.approx((1 - end) * M0 + end * M1, abs=0.08 * std)
    assert float(found.std()) == pytest.approx(std, rel=0.06)
    correlation = float(torch.corrcoef(torch.cat([x, found], 1).T)[0, 1])
    assert correlation < 0.999  # noise forgets where an item came from


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_one_mixture_becomes_the_other(noise: float) -> None:
    interpolant = Interpolant(0.5)
    law = Mixed(interpolant, ((0.7, -1.0, 0.1), (0.3, 1.0, 0.1)), ((0.5, -2.0, 0.2), (0.5, 2.0, 0.2)))
    signs = 2.0 * (torch.arange(4000) % 2)[:, None].double() - 1
    x = 2 * signs + 0.2 * randn((4000, 1), make_generator("x"), dtype=F64)
    found = interpolant.transport(law, x, 60, noise=noise, generator=make_generator("w"))
    assert float((found < 0).double().mean()) == pytest.approx(0.7, abs=0.04)
    assert float(found[found < 0].std()) == pytest.approx(0.1, rel=0.15)


def test_without_noise_and_towards_noise_it_is_flow_matching() -> None:
    interpolant, sde = Interpolant(0.0), FlowSDE()
    law = Mixed(interpolant, ((1.0, M0, S0),), ((1.0, 0.0, 1.0),))
    x, steps = randn((5, 1), make_generator("x"), dtype=F64), 8
    times = torch.sin(torch.linspace(math.pi / 2, 0, steps + 1, dtype=F64)).square()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return x - t[:, None] * law(x, t)[0]

    flow = sample(denoise, sde, x_start=x, method="euler", schedule=times).x
    torch.testing.assert_close(interpolant.transport(law, x, steps, order=1), flow, rtol=0, atol=1e-12)


def test_the_loss_is_least_at_the_conditional_means_and_learns_them() -> None:
    interpolant, generator = Interpolant(1.0), make_generator("ends")
    law = Mixed(interpolant)
    x0 = M0 + S0 * randn((20000, 1), generator, dtype=F64)
    x1 = M1 + S1 * randn((20000, 1), generator, dtype=F64)
    best = interpolant.loss(law, x0, x1, make_generator("loss"))
    for off in ((0.3, 0.0), (0.0, 0.3)):
        moved = interpolant.loss(
            lambda x, t, off=off: tuple(a + b for a, b in zip(law(x, t), off, strict=True)),
            x0,
            x1,
            make_generator("loss"),
        )
        assert float(moved - best) == pytest.approx(0.09, abs=0.02)
    assert float(interpolant.loss(law, x0, x1)) == pytest.approx(float(best), rel=0.05)  # of torch's own numbers


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 2))

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        both = self.layers(torch.cat([x, t[:, None].to(x)], 1))
        return both[:, :1], both[:, 1:]


@pytest.mark.slow
def test_a_network_that_is_trained_carries_one_set_to_the_other() -> None:
    torch.manual_seed(0)
    interpolant, network, generator = Interpolant(1.0), Heads(), make_generator("train")
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(300):
        ends = (m + s * randn((128, 1), generator) for m, s in ((M0, S0), (M1, S1)))
        optimiser.zero_grad()
        interpolant.loss(network, *ends, generator).backward()
        optimiser.step()
    x = M1 + S1 * randn((2000, 1), generator)
    for noise in (0.0, 1.0):
        found = interpolant.transport(network, x, 30, noise=noise, generator=generator)
        assert float(found.mean()) == pytest.approx(M0, abs=0.15)
        assert float(found.std()) == pytest.approx(S0, abs=0.12)


def test_items_have_their_own_noise() -> None:
    interpolant, x = Interpolant(), randn((3, 1), make_generator("x"), dtype=F64)

    def moved(rows: list[int]) -> Tensor:
        each = [make_generator("item", row) for row in rows]
        return interpolant.transport(Mixed(interpolant), x[rows], 5, noise=1.0, generator=each)

    torch.testing.assert_close(moved([0, 1, 2])[1:], moved([1, 2]))


def test_complex_states_keep_their_kind() -> None:
    interpolant = Interpolant()
    z = torch.zeros(4, 2, dtype=torch.complex64)
    found = interpolant.transport(lambda x, t: (x, x), z, 3, noise=1.0, generator=make_generator("c"))
    assert found.dtype == torch.complex64
    assert interpolant.loss(lambda x, t: (x, x), z, z + 1, make_generator("c")).dtype == torch.float32


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda: Interpolant(-1.0), "scale"),
        (lambda: Interpolant(bulge="brownian"), "root, parabola, sine"),
        (lambda: Interpolant(0.0).transport(Mixed(Interpolant(0.0)), torch.zeros(2, 1), noise=1.0), "noise=0"),
        (lambda: Interpolant().transport(Mixed(Interpolant()), torch.zeros(2, 1), start=0.0), "1 to 0"),
        (lambda: Interpolant().transport(Mixed(Interpolant()), torch.zeros(2, 1), end=-0.1), "end"),
        (lambda: Interpolant().transport(lambda x, t: (x, x[:1]), torch.zeros(2, 1)), "both shaped like the state"),
        (lambda: Interpolant().transport(lambda x, t: (x / 0, x), torch.zeros(2, 1)), "not finite"),
        (lambda: Interpolant().loss(Mixed(Interpolant()), torch.zeros(2, 1), torch.zeros(3, 1)), "as many of one"),
        (lambda: Interpolant().loss(lambda x, t: x, torch.zeros(2, 1), torch.zeros(2, 1)), "type Tensor: it gives two"),
        (
            lambda: Interpolant().loss(Mixed(Interpolant()), torch.zeros(2, 1).long(), torch.zeros(2, 1).long()),
            r"items x0 of torch.int64: need real or complex numbers, such as x0.float\(\)",
        ),
    ],
)
def test_what_it_cannot_do_names_what_to_take(act, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        act()
