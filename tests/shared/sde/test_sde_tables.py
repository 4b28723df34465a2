"""Processes by a table of noise levels: exact at its points, smooth between."""

from __future__ import annotations

import math

import pytest
import torch

from shared.sde import (
    VPSDE,
    DiscreteVPSDE,
    cosine_betas,
    linear_betas,
)
from tests.shared.sde.test_sde import drift_rate

# The discrete table. ---------------------------------------------------------------------------------------------

TABLES = {
    "tsdiff": linear_betas(100, 1e-4, 0.1),
    "ddpm": linear_betas(1000),
    "cosine": cosine_betas(50),
    "single": (0.3,),
    "two": (0.1, 0.4),
    "ragged": (0.01, 0.3, 0.02, 0.5, 0.001),
}


@pytest.mark.parametrize("betas", TABLES.values(), ids=TABLES.keys())
def test_table_is_exact_at_its_points(betas: tuple[float, ...]) -> None:
    sde = DiscreteVPSDE(betas)
    alpha2 = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)
    t = sde.time_of_step(torch.arange(len(sde)))
    torch.testing.assert_close(sde.alpha(t).square(), alpha2, rtol=1e-12, atol=0)
    torch.testing.assert_close(sde.sigma(t).square(), 1 - alpha2, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(sde.step_of_time(t), torch.arange(len(sde)).double(), rtol=0, atol=1e-9)
    assert float(sde.alpha(0.0)) == 1.0
    assert float(sde.sigma(0.0)) == 0.0


@pytest.mark.parametrize("betas", TABLES.values(), ids=TABLES.keys())
def test_table_is_monotone_with_continuous_coefficients(betas: tuple[float, ...]) -> None:
    sde = DiscreteVPSDE(betas)
    t = torch.linspace(0, 1, 7 * len(sde) + 1, dtype=torch.float64)
    assert bool((sde.alpha(t).diff() < 0).all())
    assert bool((sde.log_snr(t).diff() < 0).all())
    knots = torch.arange(1, len(sde), dtype=torch.float64) / len(sde)
    left, right = sde.diffusion(knots - 1e-9), sde.diffusion(knots + 1e-9)
    scale = sde.diffusion(t).max()
    torch.testing.assert_close(left / scale, right / scale, rtol=0, atol=1e-3)
    rates = drift_rate(sde, knots - 1e-9), drift_rate(sde, knots + 1e-9)
    torch.testing.assert_close(rates[0] / scale**2, rates[1] / scale**2, rtol=0, atol=1e-5)


def test_table_constructors() -> None:
    linear = linear_betas(1000)
    assert (linear[0], linear[-1]) == pytest.approx((1e-4, 0.02))
    cosine = cosine_betas(1000)
    assert max(cosine) == 0.999
    # Nichol and Dhariwal, eq. 17, before the clipping sets in.
    squared = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert float(DiscreteVPSDE(cosine).alpha(0.5)) ** 2 == pytest.approx(squared, rel=1e-10)
    assert DiscreteVPSDE(torch.tensor(linear, dtype=torch.float64)) == DiscreteVPSDE(list(linear))


def test_table_of_ddpm_is_close_to_the_continuous_process() -> None:
    t = torch.linspace(0.05, 1, 50, dtype=torch.float64)
    torch.testing.assert_close(DiscreteVPSDE(linear_betas(1000)).alpha(t), VPSDE().alpha(t), rtol=0.06, atol=2e-3)
