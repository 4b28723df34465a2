"""EVODiff: what it costs, what it is invariant to, where it is exact, and where it is worth having."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction, Guidance
from shared.random import make_generator, randn
from shared.samplers import EVODiff, sample, time_grid
from shared.samplers.run import Node
from shared.sde import OUVESDE, SBVESDE, SDE, VPSDE, FlowSDE
from tests.shared.gaussian import GaussianData
from tests.shared.mixture import Mixture

F64 = torch.float64
BOTH = pytest.mark.parametrize("sde", [VPSDE(), OUVESDE()], ids=["vp", "ouve"])


def bent(x: Tensor, t: Tensor) -> Tensor:
    return 0.7 * torch.tanh(1.3 * x) + 0.2


def written_out(sde: SDE, x: Tensor, times: Tensor) -> Tensor:
    """The method, equation by equation, in κ."""
    nodes = [Node.at(sde, float(t)) for t in times]
    kappa = [node.sigma / node.alpha for node in nodes]

    def proj(a: Tensor, b: Tensor) -> Tensor:
        return ((a * b).sum(1) / (b * b).sum(1)).clamp(-2, 2)[:, None]

    d1, d0 = torch.zeros_like(x), bent(x, times[:1])
    for i in range(len(nodes) - 1):
        s0, st = nodes[i].sigma, nodes[i + 1].sigma
        hw = 1 / kappa[i + 1] - 1 / kappa[i]
        euler = st / s0 * x + st * hw * d0
        if i == len(nodes) - 2:
            return euler
        if i == 0:
            x, d1, d0 = euler, d0, bent(euler, times[1:2])
            continue
        q = math.log(kappa[i - 1] / kappa[i]) / math.log(kappa[i] / kappa[i + 1])
        tau = (kappa[i + 1] + kappa[-1]) / (kappa[0] + kappa[-1])
        wt = (1 - tau**2) / 2
        bal = math.sqrt((st / s0) / (s0 / nodes[i - 1].sigma))
        b1 = (1 - wt) * bal + wt * proj(d0, d1)
        first = d0 - b1 * d1
        ri = (torch.sigmoid(b1.abs() / 4) * q).clamp(q / 4, 1.5 * q)
        probe = euler + st * hw / (2 * ri) * first
        dt = bent(probe, times[i + 1 : i + 2])
        second = dt - ((1 - wt) * bal + wt * proj(dt, d0)) * d0
        bp, bn = first / (q * hw), q * second / hw
        eta = torch.sigmoid((proj(bn + bp, bn - bp) / 2).abs()) / 2
        b = -(eta / q) * first + (1 - eta) * q * second
        zeta = torch.sigmoid((proj(probe - euler - st * hw * b / (2 * ri), first) / (hw * st)).abs() - 0.5)
        x, d1, d0 = euler + st * hw * b / (2 * zeta), d0, dt
    return x


def test_it_is_the_published_method() -> None:
    sde = VPSDE()
    times, x = time_grid(sde, 7, "uniform"), randn((5, 6), make_generator("x"), dtype=F64)
    found = sample(bent, sde, x_start=x, method="evodiff", schedule=times)
    torch.testing.assert_close(found.x, written_out(sde, x, times), rtol=0, atol=1e-12)


@BOTH
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_it_asks_once_a_step(sde: SDE, steps: int) -> None:
    y = torch.zeros(2, 5) if sde == OUVESDE() else None
    assert sample(bent, sde, (2, 5), y=y, method="evodiff", steps=steps).nfe == steps
    assert sample(bent, sde, (2, 5), y=y, method="evodiff", steps=steps, denoise=True).nfe == steps + 1


@BOTH
def test_states_and_predictions_may_have_any_scale(sde: SDE) -> None:
    y = torch.zeros(4, 5, dtype=F64) if sde == OUVESDE() else None
    x = randn((4, 5), make_generator("x"), dtype=F64)
    once = sample(bent, sde, y=y, x_start=x, method="evodiff", steps=6).x
    scaled = sample(lambda x, t: 3 * bent(x / 3, t), sde, y=y, x_start=3 * x, method="evodiff", steps=6).x
    torch.testing.assert_close(scaled, 3 * once, rtol=0, atol=1e-11)


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_predictions_that_stay_the_same_give_no_nan(value: float) -> None:
    found = sample(lambda x, t: torch.full_like(x, value), VPSDE(), (3, 4), method="evodiff", steps=8)
    assert bool(torch.isfinite(found.x).all())


def test_a_constant_is_exact_only_where_the_grid_is_even_in_log_sigma() -> None:
    sde = OUVESDE()
    sigmas = torch.linspace(math.log(float(sde.sigma(1.0))), math.log(float(sde.sigma(0.03))), 9, dtype=F64).exp()
    lo, hi = torch.zeros(9, dtype=F64), torch.ones(9, dtype=F64)
    for _ in range(80):
        mid = (lo + hi) / 2
        above = sde.sigma(mid) > sigmas
        lo, hi = torch.where(above, lo, mid), torch.where(above, mid, hi)
    y, x = torch.zeros(2, 3, dtype=F64), torch.ones(2, 3, dtype=F64)
    even, log_snr = hi, time_grid(sde, 8)

    def miss(times: Tensor) -> float:
        now, after = (Node.at(sde, float(t)) for t in times[[0, -1]])
        exact = after.sigma / now.sigma * x + (after.alpha - after.sigma / now.sigma * now.alpha) * 0.7
        found = sample(lambda x, t: torch.full_like(x, 0.7), sde, y=y, x_start=x, method="evodiff", schedule=times)
        return float((found.x - exact).abs().max())

    assert miss(even) < 1e-9
    assert miss(log_snr) > 1e-4


def test_it_comes_nearer_than_ode2_at_five_calls_and_not_at_twenty() -> None:
    sde, mixture = VPSDE(), Mixture()
    x = randn((256, 16), make_generator("start"), dtype=F64)
    denoise = mixture.denoiser(sde)
    fine = sample(denoise, sde, x_start=x, method="ode3", steps=300).x

    def error(method: str, calls: int) -> float:
        found = sample(denoise, sde, x_start=x, method=method, steps=calls)
        return float((found.x - fine).square().mean(1).sqrt().median())

    assert error("evodiff", 5) < 0.95 * error("ode2", 5)
    assert error("evodiff", 20) > error("ode2", 20)
    # About first order: the published method is not consistent to the second.
    assert error("evodiff", 20) / error("evodiff", 40) < 3.0


@pytest.mark.parametrize("sde", [FlowSDE(), SBVESDE()], ids=["flow", "sbve"])
def test_ends_of_the_path_are_steps_of_first_order(sde: SDE) -> None:
    y = torch.full((1, 4_000), 0.5, dtype=F64) if sde == SBVESDE() else None
    data = GaussianData(sde, 0.7, 0.8, y)
    shape = None if y is not None else (1, 4_000)
    found = sample(data.denoiser, sde, shape, y=y, dtype=F64, method="evodiff", steps=40, generator=make_generator("z"))
    assert float(found.x.std()) == pytest.approx(0.8, abs=0.05)


class Moves(Guidance):
    def after_step(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, t_next: Tensor, sde: SDE) -> Tensor:
        return 1.01 * x


def test_guidance_that_moves_states_is_refused() -> None:
    with pytest.raises(ConfigError, match="take ode2"):
        sample(bent, VPSDE(), (2, 3), method=EVODiff(), guidance=Moves())
