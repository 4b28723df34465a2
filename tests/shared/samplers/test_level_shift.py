"""Finding the noise level that states really have."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator, randn
from shared.samplers import Exponential, Run, sample, time_grid
from shared.samplers.laws import Gaussian, Law, Spectrum
from shared.samplers.level import LevelShift
from shared.samplers.run import Node
from shared.sde import SBVESDE, VPSDE

F64 = torch.float64
SIZE, COUNT = 96, 64


def autoregressive() -> Gaussian:
    """Windows of unit variance, of 96 steps, each .9 of the last and noise."""
    steps = torch.arange(SIZE, dtype=F64)
    return Gaussian.of_covariance(0.9 ** (steps[:, None] - steps).abs(), torch.zeros(SIZE, dtype=F64))


def drawn(law: Gaussian, node: Node, inflated: float) -> Tensor:
    noise = randn((COUNT, SIZE), make_generator("noise"), dtype=F64)
    clean = law.joined(law.variances.sqrt() * randn((COUNT, SIZE), make_generator("clean"), dtype=F64))
    return node.alpha * clean + inflated * node.sigma * noise


def found(law: Law, x: Tensor, level: float, **settings: Any) -> list[Node]:
    """The nodes that states x, thought to be at log-SNR `level`, are moved to."""
    sde = VPSDE()
    times = sde.time_of_log_snr(torch.tensor([level - 1.0, level, level + 1.0], dtype=F64))
    run = Run(lambda x, t: x, sde, x, None, times, None, None, None, False)
    return list(LevelShift(law, **settings).found(run, x, run.nodes[1], run.nodes[2]))


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("off", [-0.15, 0.0, 0.1])
def test_the_level_of_a_state_is_found(level: float, off: float) -> None:
    sde, law = VPSDE(), autoregressive()
    x = drawn(law, Node.at(sde, float(sde.time_of_log_snr(level + off))), 1.0)
    moved = found(law, x, level, pool=True, shrink=math.inf)
    assert len(moved) == 1
    assert moved[0].log_snr == pytest.approx(level + off, abs=0.03)


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_noise_that_is_inflated_is_found(level: float) -> None:
    """Such a state lies beside the path of VP, whose own variance is 1, so that the level is not that of the noise."""
    sde, law = VPSDE(), autoregressive()
    x = drawn(law, Node.at(sde, float(sde.time_of_log_snr(level))), 1.05)
    moved = found(law, x, level, pool=True, shrink=math.inf)[0].log_snr - level
    assert -3.0 * math.log(1.05) < moved < -0.8 * math.log(1.05)


def test_items_are_found_one_by_one_and_shrink_to_the_schedule() -> None:
    sde, law = VPSDE(), autoregressive()
    x = drawn(law, Node.at(sde, float(sde.time_of_log_snr(0.4))), 1.0)
    free, drawn_in = (
        torch.tensor([one.log_snr for one in found(law, x, 0.5, shrink=shrink)]) - 0.5 for shrink in (math.inf, 0.05)
    )
    assert len(free) == COUNT
    assert float(free.mean()) == pytest.approx(-0.1, abs=0.03)
    assert float(drawn_in.std()) < 0.5 * float(free.std())
    alone = found(law, x[3:4], 0.5, shrink=0.05)
    assert alone[0].log_snr - 0.5 == pytest.approx(float(drawn_in[3]), abs=1e-6)


def test_variances_over_an_item_would_not_tell() -> None:
    """What the published rule compares is 1 at any time of VP for data of unit variance."""
    sde, law = VPSDE(), autoregressive()
    for level in (-2.0, 0.0, 2.0):
        node = Node.at(sde, float(sde.time_of_log_snr(level)))
        assert float(drawn(law, node, 1.0).var()) == pytest.approx(1.0, abs=0.05)


def bent(x: Tensor, t: Tensor) -> Tensor:
    return 0.8 * torch.tanh(1.3 * x)


def test_no_window_is_the_plain_sampler_bit_for_bit() -> None:
    x = randn((3, SIZE), make_generator("x"), dtype=F64)
    for eta in (0.0, 1.0):
        plain, still = (
            sample(
                bent,
                VPSDE(),
                x_start=x,
                method=Exponential(2, eta=eta, shift=shift),
                steps=6,
                generator=make_generator(1),
            ).x
            for shift in (None, LevelShift(autoregressive(), window=0.0))
        )
        assert torch.equal(plain, still)


def test_it_runs_in_a_sampler_item_by_item() -> None:
    law, sde = autoregressive(), VPSDE()
    x = randn((3, SIZE), make_generator("x"), dtype=F64)

    def rough(x: Tensor, t: Tensor) -> Tensor:
        return 0.9 * law.denoised(x, Node.at(sde, float(t[0]))) if bool((t == t[0]).all()) else 0.9 * x

    method = Exponential(2, shift=LevelShift(law))
    both = sample(bent, sde, x_start=x, method=method, steps=6).x
    alone = sample(bent, sde, x_start=x[1:2], method=method, steps=6).x
    torch.testing.assert_close(both[1:2], alone, rtol=0, atol=1e-9)
    pooled = sample(rough, sde, x_start=x, method=Exponential(2, shift=LevelShift(law, pool=True)), steps=6)
    assert pooled.nfe == 6
    assert bool(torch.isfinite(pooled.x).all())


def test_log_densities_are_the_laws() -> None:
    law, sde = autoregressive(), VPSDE()
    node = Node.at(sde, 0.4)
    x = drawn(law, node, 1.0)[:5]
    steps = torch.arange(SIZE, dtype=F64)
    covariance = node.alpha**2 * 0.9 ** (steps[:, None] - steps).abs() + node.sigma**2 * torch.eye(SIZE, dtype=F64)
    exact = torch.distributions.MultivariateNormal(torch.zeros(SIZE, dtype=F64), covariance).log_prob(x)
    torch.testing.assert_close(law.log_densities(x, [node])[0], exact, rtol=1e-9, atol=1e-8)


def test_a_spectrum_has_complex_states() -> None:
    sde, law = VPSDE(), Spectrum((4.0, 1.0, 0.25))
    node = Node.at(sde, float(sde.time_of_log_snr(0.2)))
    spread = law.applied(torch.sqrt, randn((8, 3, 4_000), make_generator("c"), dtype=torch.complex128))
    noise = randn((8, 3, 4_000), make_generator("n"), dtype=torch.complex128)
    moved = found(law, node.alpha * spread + node.sigma * noise, 0.3, pool=True, shrink=math.inf)
    assert moved[0].log_snr == pytest.approx(0.2, abs=0.02)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="take one of them"):
        Exponential(2, corrector=True, shift=LevelShift())
    with pytest.raises(ConfigError, match=r"window=-1\.0: need"):
        LevelShift(window=-1.0)
    with pytest.raises(ConfigError, match=r"shrink=0\.0: need"):
        LevelShift(shrink=0.0)
    with pytest.raises(ConfigError, match="needs the Gaussian law"):
        sample(bent, VPSDE(), (2, 3), method=Exponential(2, shift=LevelShift()), steps=3)
    y = torch.zeros(2, SIZE, dtype=F64)
    shifted = sample(bent, SBVESDE(), y=y, method=Exponential(2, shift=LevelShift(autoregressive())), steps=4)
    assert bool(torch.isfinite(shifted.x).all())


def test_the_grid_is_kept() -> None:
    times = time_grid(VPSDE(), 4)
    method = Exponential(2, shift=LevelShift(autoregressive()))
    assert sample(bent, VPSDE(), (2, SIZE), dtype=F64, method=method, schedule=times).nfe == 4
