"""Every operation of Gaussian-process noise against the dense covariance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.noise import GaussianProcess, Kernel, OrnsteinUhlenbeck, Periodic, SquaredExponential, SumOfKernels
from shared.noise.factors import scan
from shared.random import make_generator

PLACES = 37
IRREGULAR = torch.rand(PLACES, generator=make_generator("times"), dtype=torch.float64).add(0.05).cumsum(0)
KERNELS = [
    OrnsteinUhlenbeck(7.0),
    SquaredExponential(3.0),
    Periodic(12.0),
    SumOfKernels((OrnsteinUhlenbeck(20.0), Periodic(24.0)), (1.0, 2.0)),
]


def covariance(kernel: Kernel, white: float, times: Tensor) -> Tensor:
    distance = (times[:, None] - times).abs()
    return (1 - white) * kernel.correlation(distance) + white * torch.eye(len(times), dtype=torch.float64)


@pytest.mark.parametrize("times", [None, IRREGULAR], ids=["steps", "irregular"])
@pytest.mark.parametrize("white", [0.1, 0.01])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.kind)
def test_operations_are_those_of_the_dense_covariance(kernel: Kernel, white: float, times: Tensor | None) -> None:
    noise = GaussianProcess(kernel, white)
    noise = noise if times is None else noise.at(times)
    dense = covariance(kernel, white, torch.arange(PLACES).double() if times is None else times)
    lower = torch.linalg.cholesky(dense)
    values = torch.randn(3, PLACES, 2, generator=make_generator("values"), dtype=torch.float64)
    torch.testing.assert_close(noise.covariance(PLACES), dense)
    torch.testing.assert_close(noise.colour(values), lower @ values)
    torch.testing.assert_close(noise.whiten(noise.colour(values)), values)
    torch.testing.assert_close(noise.covary(values), dense @ values)
    torch.testing.assert_close(noise.solve(dense @ values), values)
    expected = 2 * torch.linalg.slogdet(dense).logabsdet  # of two columns
    torch.testing.assert_close(noise.log_det(values.shape), expected.expand(3))


def test_without_a_white_part_the_recursion_is_an_autoregression() -> None:
    noise, white = GaussianProcess(OrnsteinUhlenbeck(5.0), white=0.0), torch.randn(2, 50, 1, dtype=torch.float64)
    made, a = noise.colour(white), torch.exp(torch.tensor(-0.2, dtype=torch.float64))
    torch.testing.assert_close(made[:, 1:], a * made[:, :-1] + (1 - a * a).sqrt() * white[:, 1:])


@pytest.mark.parametrize("kernel", KERNELS[:2], ids=lambda kernel: kernel.kind)
def test_items_may_have_times_of_their_own(kernel: Kernel) -> None:
    times = torch.stack([IRREGULAR, 2 * IRREGULAR + 1])
    values = torch.randn(2, PLACES, 1, generator=make_generator("own"), dtype=torch.float64)
    noise = GaussianProcess(kernel, 0.05)
    together = noise.at(times)
    assert noise.at(times.numpy()) == noise.at(times.tolist()) == together
    for item in range(2):
        alone = noise.at(times[item])
        one = values[item : item + 1]
        for name in ("colour", "whiten", "covary", "solve"):
            torch.testing.assert_close(getattr(together, name)(values)[item : item + 1], getattr(alone, name)(one))
        torch.testing.assert_close(together.log_det(values.shape)[item], alone.log_det(one.shape)[0])


@pytest.mark.parametrize("places", [1, 2, 3, 8, 13])
def test_a_scan_is_its_recursion(places: int) -> None:
    decay, values = torch.rand(1, places, 1, dtype=torch.float64), torch.randn(2, places, 3, dtype=torch.float64)
    held, expected = torch.zeros(2, 3, dtype=torch.float64), []
    for i in range(places):
        held = decay[:, i] * held + values[:, i]
        expected.append(held)
    torch.testing.assert_close(scan(decay, values), torch.stack(expected, dim=1))


@pytest.mark.slow
def test_ornstein_uhlenbeck_noise_needs_no_matrix() -> None:
    # A matrix of 20,000² would take 3.2 GB.
    noise, values = GaussianProcess(OrnsteinUhlenbeck(100.0)), torch.randn(1, 20_000, 1, dtype=torch.float64)
    torch.testing.assert_close(noise.solve(noise.covary(values)), values)
    assert torch.isfinite(noise.log_det(values.shape)).all()


def test_the_axis_may_be_any_and_values_complex() -> None:
    values = torch.randn(2, 3, PLACES, 2, dtype=torch.complex128)
    along = GaussianProcess(SquaredExponential(2.0), axis=2)
    plain = GaussianProcess(SquaredExponential(2.0))
    torch.testing.assert_close(along.colour(values), plain.colour(values.movedim(2, 1)).movedim(1, 2))
    torch.testing.assert_close(along.colour(values).imag, along.colour(values.imag))
    assert along.log_diagonal(values.shape).shape == (1, 1, PLACES, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OrnsteinUhlenbeck(0.0), "length_scale=0.0"),
        (lambda: GaussianProcess(OrnsteinUhlenbeck(1.0), white=1.5), r"white=1\.5"),
        (lambda: GaussianProcess(OrnsteinUhlenbeck(1.0), axis=0), "axis=0"),
        (lambda: GaussianProcess(OrnsteinUhlenbeck(1.0)).at([0.0, 2.0, 2.0]), "rise"),
        (lambda: SumOfKernels(()), r"need one or more values$"),
        (lambda: SumOfKernels((OrnsteinUhlenbeck(1.0),), (1.0, 2.0)), "give one each"),
        (lambda: GaussianProcess("ou"), "length_scale: it is missing, and has no default"),
        (lambda: SumOfKernels((OrnsteinUhlenbeck(1.0),), (-1.0,)), r"weights=\(-1\.0,\)"),
        (lambda: GaussianProcess(SquaredExponential(9.0), white=0.0).covariance(60), "larger white part"),
        (lambda: GaussianProcess(Periodic(9.0)).at([0.0, 1.0]).covariance(3), r"noise\.at\(times\)"),
        (lambda: GaussianProcess(Periodic(9.0), axis=2).draw((3, 4)), "no such axis"),
    ],
)
def test_impossible_settings_name_value_and_remedy(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
