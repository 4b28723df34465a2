"""One number for the covariance of clean data given noisy ones, where it is known."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from shared.guidance import random_signs, scalar_variance
from shared.random import make_generator, randn
from shared.samplers.run import Node
from shared.sde import OUVESDE, SDE, VPSDE
from tests.shared.gaussian import GaussianData

F64 = torch.float64
SIZE = 5
BOTH = pytest.mark.parametrize("sde", [VPSDE(), OUVESDE()], ids=["vp", "ouve"])


def covariance() -> Tensor:
    factor = randn((SIZE, SIZE), make_generator("factor"), dtype=F64)
    return factor @ factor.T / SIZE + 0.2 * torch.eye(SIZE, dtype=F64)


def found(sde: SDE, scale: Tensor | float, probes: Tensor, t: float) -> tuple[Tensor, Tensor]:
    y = torch.full((1, SIZE), 0.5, dtype=F64) if sde == OUVESDE() else None
    data, node = GaussianData(sde, 0.3, scale, y), Node.at(sde, t)
    state = randn(probes.shape, make_generator("state"), dtype=F64).requires_grad_(True)
    x0 = data.denoiser(state, torch.full((len(probes),), t, dtype=F64))
    return scalar_variance(x0, state, probes, node.alpha, node.sigma)


@BOTH
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seen", [SIZE, 3])
def test_the_traces_are_those_of_the_posterior_covariance(sde: SDE, t: float, seen: int) -> None:
    """Over all 2^n probes their mean is the expectation."""
    mask = (torch.arange(SIZE) < seen).to(F64)
    probes = torch.tensor(list(product((-1.0, 1.0), repeat=SIZE)), dtype=F64) * mask
    mean, square = found(sde, covariance(), probes, t)
    node = Node.at(sde, t)
    exact = torch.linalg.inv(
        torch.linalg.inv(covariance()) + (node.alpha / node.sigma) ** 2 * torch.eye(SIZE, dtype=F64)
    )
    inner = exact[:seen, :seen]
    assert float(mean.mean()) == pytest.approx(float(inner.trace()) / seen, rel=1e-9)
    assert float(square.mean()) == pytest.approx(float((inner @ inner).trace()) / seen, rel=1e-9)


@BOTH
def test_one_probe_is_exact_where_all_directions_vary_alike(sde: SDE) -> None:
    probe = random_signs(torch.empty(2, SIZE, dtype=F64), "probe")
    assert torch.equal(probe[0], probe[1])
    assert set(probe.flatten().tolist()) == {-1.0, 1.0}
    mean, square = found(sde, 0.8, probe, 0.4)
    node = Node.at(sde, 0.4)
    exact = 1 / (1 / 0.64 + (node.alpha / node.sigma) ** 2)
    assert mean.tolist() == pytest.approx([exact] * 2)
    assert square.tolist() == pytest.approx([exact**2] * 2)


def test_a_probe_of_nothing_is_0() -> None:
    mean, square = found(VPSDE(), 0.8, torch.zeros(2, SIZE, dtype=F64), 0.4)
    assert not mean.any()
    assert not square.any()
