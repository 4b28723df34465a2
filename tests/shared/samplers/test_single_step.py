"""Predictions inside a step, and UniPC's weights of two of them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator, randn
from shared.samplers import Exponential, sample, time_grid
from shared.samplers.exponential import Slope
from shared.samplers.run import Node
from shared.sde import OUVESDE, SBVESDE, SDE, VPSDE, FlowSDE
from tests.shared.gaussian import GaussianData

F64 = torch.float64
BOTH = pytest.mark.parametrize("sde", [VPSDE(), OUVESDE()], ids=["vp", "ouve"])
SLOPES = pytest.mark.parametrize("slope", ["exact", "bh1", "bh2"])


def error(sde: SDE, method: Exponential, steps: int, calls: int) -> float:
    """The largest error of seven states of Gaussian data, from T to 0.05."""
    y = torch.full((1, 7), 0.5, dtype=F64) if sde == OUVESDE() else None
    data = GaussianData(sde, 0.7, 0.8, y)
    mean, variance = data.marginal(sde.T)
    x = mean + variance.sqrt() * torch.linspace(-1.5, 1.5, 7, dtype=F64)[None]
    result = sample(data.denoiser, sde, y=y, x_start=x, method=method, steps=steps, t_end=0.05)
    assert result.nfe == calls
    return float((result.x - data.flow(x, sde.T, 0.05)).abs().max())


@BOTH
@pytest.mark.parametrize("order", [1, 2, 3])
def test_single_steps_have_their_order(sde: SDE, order: Literal[1, 2, 3]) -> None:
    method = Exponential(order, single=True)
    coarse, fine = (error(sde, method, steps, steps * order) for steps in (64, 128))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)


@BOTH
@SLOPES
@pytest.mark.parametrize("single", [False, True], ids=["multistep", "single"])
def test_all_slopes_are_of_second_order(sde: SDE, slope: Slope, single: bool) -> None:
    method = Exponential(2, single=single, slope=slope)
    coarse, fine = (error(sde, method, steps, steps * (1 + single)) for steps in (64, 128))
    assert math.log2(coarse / fine) == pytest.approx(2, abs=0.2)


@SLOPES
def test_the_corrector_of_order_one_takes_the_slope_too(slope: Slope) -> None:
    method = Exponential(1, slope=slope, corrector=True)
    coarse, fine = (error(VPSDE(), method, steps, steps) for steps in (64, 128))
    assert math.log2(coarse / fine) == pytest.approx(2, abs=0.2)


def bent(x: Tensor, t: Tensor) -> Tensor:
    return 0.8 * torch.tanh(1.3 * x) + 0.3 * torch.cos(5 * t)[:, None]


def nodes_of(sde: SDE, times: Tensor) -> list[Node]:
    return [Node.at(sde, float(t)) for t in times]


@pytest.mark.parametrize("slope", ["bh1", "bh2"])
def test_they_are_unipcs(slope: Slope) -> None:
    """UniPC of order 2 with both of its B(h) (Zhao et al. 2023, eq. 9 and Appendix D), written out with hh = −h."""
    sde = VPSDE()
    times, x0 = time_grid(sde, 5), randn((3, 6), make_generator("x"), dtype=F64)
    nodes = nodes_of(sde, times)
    at = [torch.full((3,), node.t, dtype=F64) for node in nodes]
    x, found = x0, [bent(x0, at[0])]
    for i in range(5):
        now, after = nodes[i], nodes[i + 1]
        h = after.log_snr - now.log_snr
        base = after.sigma / now.sigma * x - after.alpha * math.expm1(-h) * found[0]
        big = -h if slope == "bh1" else math.expm1(-h)
        if i:
            r = (nodes[i - 1].log_snr - now.log_snr) / h
            base = base - after.alpha * big * 0.5 * (found[1] - found[0]) / r
        x = base
        found = [bent(x, at[i + 1]), found[0]]
    ours = sample(bent, sde, x_start=x0, method=Exponential(2, slope=slope), schedule=times).x
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-12)


def test_a_single_step_of_order_two_is_the_published_one() -> None:
    """DPM-Solver++(2S) (Lu et al. 2022, algorithm 1): (1 − 1/2r)D_s + 1/(2r)·D_u with r = ½ is D_u alone."""
    sde = VPSDE()
    times, x = time_grid(sde, 4), randn((3, 6), make_generator("x"), dtype=F64)
    ours = sample(bent, sde, x_start=x, method=Exponential(2, single=True, slope="bh2"), schedule=times).x
    nodes = nodes_of(sde, times)
    for now, after in pairwise(nodes):
        h = after.log_snr - now.log_snr
        middle = Node.at(sde, float(sde.time_of_log_snr(now.log_snr + h / 2)))
        d = bent(x, torch.full((3,), now.t, dtype=F64))
        u = middle.sigma / now.sigma * x - middle.alpha * math.expm1(-h / 2) * d
        d = bent(u, torch.full((3,), middle.t, dtype=F64))
        x = after.sigma / now.sigma * x - after.alpha * math.expm1(-h) * d
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-11)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("sde", [FlowSDE(), SBVESDE()], ids=["flow", "sbve"])
def test_steps_at_ends_ask_once(sde: SDE, order: Literal[1, 2, 3]) -> None:
    y = torch.full((1, 4_000), 0.5, dtype=F64) if sde == SBVESDE() else None
    data = GaussianData(sde, 0.7, 0.8, y)
    times = torch.cat([time_grid(sde, 15, t_end=0.05), torch.zeros(1, dtype=F64)])
    shape = None if y is not None else (1, 4_000)
    method = Exponential(order, single=True)
    found = sample(
        data.denoiser, sde, shape, y=y, dtype=F64, method=method, schedule=times, generator=make_generator("z")
    )
    assert found.nfe == 2 + 14 * order
    assert bool(torch.isfinite(found.x).all())


def test_items_may_have_times_of_their_own() -> None:
    sde, x = VPSDE(), randn((2, 6), make_generator("x"), dtype=F64)
    grids = torch.stack([time_grid(sde, 5), time_grid(sde, 5, "uniform")], 1)
    method = Exponential(3, single=True)
    both = sample(bent, sde, x_start=x, method=method, schedule=grids).x
    for item in (0, 1):
        alone = sample(bent, sde, x_start=x[item : item + 1], method=method, schedule=grids[:, item]).x
        torch.testing.assert_close(both[item : item + 1], alone, rtol=0, atol=1e-12)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="a single-step method is deterministic"):
        Exponential(2, single=True, eta=1.0)
    with pytest.raises(ConfigError, match="too rough for a higher order"):
        Exponential(2, single=True, corrector=True)
    with pytest.raises(ConfigError, match="slope='bh3': choose one of exact, bh1, bh2"):
        Exponential(2, slope="bh3")  # type: ignore[arg-type]
