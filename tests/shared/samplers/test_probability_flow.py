"""The probability-flow predictor: Euler's method, the published half steps, its order, and what it does not take."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator
from shared.samplers import sample
from shared.sde import OUVESDE, SBVESDE, SDE, VESDE, VPSDE, DiscreteVPSDE, linear_betas
from tests.processes import ANCHORED, all_sdes
from tests.shared.samplers.test_published_steps import start_state
from tests.shared.samplers.test_samplers import bent, gaussian, spread_out

F64 = torch.float64
FLOW: dict[str, Any] = {"method": "pc", "probability_flow": True}
ALONE = {**FLOW, "corrector": "none"}


@all_sdes()
def test_without_a_corrector_it_is_eulers_method(name: str, sde: SDE) -> None:
    y = start_state() if name in ANCHORED else None
    grid = {"y": y, "x_start": start_state() + 0.3, "t_start": 0.9, "t_end": 0.1, "steps": 16, "schedule": "uniform"}
    wanted = sample(bent, sde, method="euler", **grid)
    predictors = ["euler_maruyama", *(["reverse_diffusion"] if sde.discretization == "euler" else [])]
    for predictor in predictors:
        found = sample(bent, sde, predictor=predictor, generator=make_generator(1), **ALONE, **grid)
        torch.testing.assert_close(found.x, wanted.x, rtol=1e-10, atol=1e-10)
        assert found.nfe == wanted.nfe == 16


@pytest.mark.parametrize("exploding", [False, True], ids=["vp", "ve"])
def test_reverse_diffusion_takes_half_the_score_and_no_noise(exploding: bool) -> None:
    """Song et al. 2021, Appendix D.4: x_i = x_{i+1} − f_{i+1} + ½G²s, with the forward steps of Appendix E."""
    table = linear_betas(100, 1e-4, 0.1)
    sde: SDE = VESDE() if exploding else DiscreteVPSDE(table)
    steps, x = list(range(30, 20, -1)), start_state()
    for now, after in pairwise(steps):
        t = torch.full((len(x),), now / 100, dtype=F64)
        if exploding:
            variance, ahead = ((0.01 * 5000 ** (step / 100)) ** 2 for step in (now, after))
            x = x + 0.5 * (variance - ahead) * (bent(x, t) - x) / variance
        else:
            beta, bar = float(table[now - 1]), math.prod(1 - float(b) for b in table[:now])
            score = (math.sqrt(bar) * bent(x, t) - x) / (1 - bar)
            x = (2 - math.sqrt(1 - beta)) * x + 0.5 * beta * score
    found = sample(bent, sde, x_start=start_state(), schedule=torch.tensor(steps, dtype=F64) / 100, **ALONE)
    torch.testing.assert_close(found.x, x, rtol=0, atol=1e-8)


def test_on_ouve_with_annealed_langevin_it_is_sgmses_reverse_ode_step() -> None:
    """Richter et al. 2023, with the drift of their reverse process where it is asked for the probability flow."""
    theta, low, high, snr, steps = 1.5, 0.05, 0.5, 0.5, 6
    ratio = math.log(high / low)
    y, x, generator = start_state(), start_state() + 0.2, make_generator(3)
    for t, after in pairwise(torch.linspace(1, 0.03, steps + 1, dtype=F64).tolist()):
        decay = math.exp(-theta * t)
        std = math.sqrt(low**2 * (math.exp(2 * ratio * t) - decay**2) * ratio / (theta + ratio))

        def score(x: Tensor, t: float = t, decay: float = decay, std: float = std) -> Tensor:
            x0 = bent(x, torch.full((len(x),), t, dtype=F64))
            return -(x - (decay * x0 + (1 - decay) * y)) / std**2

        size = 2 * (snr * std) ** 2
        x = x + size * score(x) + math.sqrt(2 * size) * torch.randn(x.shape, generator=generator, dtype=F64)
        g = low * (high / low) ** t * math.sqrt(2 * ratio)
        x = x - (theta * (y - x) - 0.5 * g**2 * score(x)) * (t - after)
    for denoise in (False, True):  # the last step has no noise either way
        found = sample(
            bent,
            OUVESDE(theta, low, high),
            y=y,
            x_start=y + 0.2,
            t_start=1.0,
            steps=steps,
            schedule="uniform",
            snr=snr,
            denoise=denoise,
            generator=make_generator(3),
            **FLOW,
        )
        torch.testing.assert_close(found.x, x, rtol=0, atol=1e-10)


@all_sdes(others_slow=True)
def test_it_converges_to_the_flow_of_gaussian_data(name: str, sde: SDE) -> None:
    data = gaussian(name)
    start, end = 0.9, 0.1  # in multiples of 80 steps, so that the knots of the 100-step tables are points of the grid
    x = spread_out(data, start, (1, 4))
    errors = []
    for steps in (80, 160):
        grid = {"x_start": x, "t_start": start, "t_end": end, "steps": steps, "schedule": "uniform"}
        found = sample(data.denoiser, sde, y=None if data.y is None else data.y.expand_as(x), **ALONE, **grid)
        errors.append(float((found.x - data.flow(x, start, end)).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"predictor": "ancestral"}, "predictor='ancestral'"),
        ({"predictor": "none"}, "predictor='none'"),
        ({"method": "ode2"}, "method 'ode2'"),
        ({"method": "sde1"}, "method 'sde1'"),
    ],
)
def test_what_follows_no_flow_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sample(bent, VPSDE(), shape=(2, 3), **{**FLOW, **options})


def test_the_end_of_a_bridge_is_refused_and_a_start_before_it_is_not() -> None:
    y = start_state()
    with pytest.raises(ConfigError, match="end of a bridge"):
        sample(bent, SBVESDE(), y=y, **FLOW)
    assert torch.isfinite(sample(bent, SBVESDE(), y=y, x_start=y, t_start=0.9, **FLOW).x).all()
