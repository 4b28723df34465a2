"""The teleport and the integrator that are exact where data are Gaussian, and better where they are not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator, randn
from shared.samplers import Exponential, Sampler, sample, time_grid
from shared.samplers.gaussian import GaussianExponential
from shared.samplers.laws import Gaussian, Spectrum
from shared.samplers.level import LevelShift
from shared.samplers.run import Node
from shared.sde import OUVESDE, SBVESDE, SDE, VPSDE, FlowSDE
from tests.shared.mixture import Mixture

F64 = torch.float64
SIZE = 12
PROCESSES = [VPSDE(), OUVESDE(), FlowSDE()]


def correlated(rank: int = 4) -> Gaussian:
    directions = torch.linalg.qr(randn((SIZE, rank), make_generator("directions"), dtype=F64))[0].T
    return Gaussian(
        randn((SIZE,), make_generator("mean"), dtype=F64), directions, torch.linspace(0.2, 2.0, rank, dtype=F64)
    )


def exact(gaussian: Gaussian, sde: SDE, y: Tensor | None):
    def denoise(x: Tensor, t: Tensor) -> Tensor:
        node = Node.at(sde, float(t[0]))
        return (0 if y is None else y) + gaussian.denoised(x if y is None else x - y, node)

    return denoise


def start(sde: SDE) -> tuple[Tensor, Tensor | None]:
    y = randn((6, SIZE), make_generator("y"), dtype=F64) if sde == OUVESDE() else None
    x = float(sde.sigma(sde.T)) * randn((6, SIZE), make_generator("x"), dtype=F64)
    return (x if y is None else x + y), y


@pytest.mark.parametrize("sde", PROCESSES, ids=["vp", "ouve", "flow"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("end", [0.02, 0.0])
def test_gaussian_data_are_exact_in_any_number_of_steps(sde: SDE, steps: int, end: float) -> None:
    if sde == FlowSDE() and end == 0 and steps == 1:
        return  # out of nothing into clean data the step is the prediction
    gaussian = correlated()
    x, y = start(sde)
    result = sample(
        exact(gaussian, sde, y), sde, y=y, x_start=x, method=GaussianExponential(gaussian), steps=steps, t_end=end
    )
    r = x if y is None else x - y
    wanted = gaussian.teleported(r, Node.at(sde, sde.T), Node.at(sde, end))
    torch.testing.assert_close(result.x if y is None else result.x - y, wanted, rtol=0, atol=1e-10)
    assert result.nfe == steps


@pytest.mark.parametrize("sde", PROCESSES, ids=["vp", "ouve", "flow"])
def test_the_map_is_the_probability_flows(sde: SDE) -> None:
    gaussian = correlated()
    x, y = start(sde)
    result = sample(exact(gaussian, sde, y), sde, y=y, x_start=x, method="rk45", rtol=1e-9, atol=1e-9, t_end=0.05)
    r = x if y is None else x - y
    wanted = gaussian.teleported(r, Node.at(sde, sde.T), Node.at(sde, 0.05))
    torch.testing.assert_close(result.x if y is None else result.x - y, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sde", PROCESSES, ids=["vp", "ouve", "flow"])
def test_without_directions_it_is_ode2(sde: SDE) -> None:
    nothing = Gaussian(torch.zeros(SIZE, dtype=F64), torch.zeros(0, SIZE, dtype=F64), torch.zeros(0, dtype=F64))
    x, y = start(sde)

    def bent(x: Tensor, t: Tensor) -> Tensor:
        return 0.7 * torch.tanh(1.3 * x)

    settings = {"y": y, "x_start": x, "steps": 9, "t_end": 0.05}
    ours = sample(bent, sde, method=GaussianExponential(nothing), **settings)
    torch.testing.assert_close(ours.x, sample(bent, sde, method="ode2", **settings).x, rtol=0, atol=1e-10)


def test_on_a_mixture_few_calls_come_nearer_with_the_teleport() -> None:
    sde, mixture = VPSDE(), Mixture()
    gaussian = Gaussian.of(mixture.draw(4_000), 15)
    x = randn((256, 16), make_generator("start"), dtype=F64)
    denoise = mixture.denoiser(sde)
    fine = sample(denoise, sde, x_start=x, method="ode3", steps=300).x

    def error(method: object, calls: int, **settings: object) -> float:
        found = sample(denoise, sde, x_start=x, method=method, steps=calls, **settings)
        return float((found.x - fine).square().mean(1).sqrt().median() / fine.std())

    ode2 = error("ode2", 10)
    grid = torch.cat([torch.ones(1, dtype=F64), time_grid(sde, 10, t_start=float(sde.time_of_log_snr(-1.5)))[1:]])
    found = sample(denoise, sde, x_start=x, method=GaussianExponential(gaussian, -1.5), schedule=grid)
    assert found.nfe == 10
    ours = float((found.x - fine).square().mean(1).sqrt().median() / fine.std())
    assert ours < 0.5 * ode2


def test_mean_and_covariance_of_data() -> None:
    truth = correlated()
    draws = truth.mean + truth.joined(truth.variances.sqrt() * randn((20_000, 4), make_generator("draws"), dtype=F64))
    found = Gaussian.of(draws, 4)
    torch.testing.assert_close(found.mean, truth.mean, rtol=0, atol=0.03)
    torch.testing.assert_close(found.variances.sort().values, truth.variances, rtol=0.05, atol=0)


def test_what_cannot_be_is_refused() -> None:
    gaussian = correlated()
    with pytest.raises(ConfigError, match="need at least 1, and more items"):
        Gaussian.of(torch.randn(4, 3), 4)
    with pytest.raises(ConfigError, match="variances down to -1"):
        Gaussian(torch.zeros(2), torch.eye(2), torch.tensor([1.0, -1.0]))
    with pytest.raises(ConfigError, match="need \\(rank, \\*item\\)"):
        Gaussian(torch.zeros(2), torch.eye(3), torch.ones(3))
    y = torch.zeros(2, SIZE, dtype=F64)
    with pytest.raises(ConfigError, match="bridge's end"):
        sample(lambda x, t: x, SBVESDE(), y=y, method=GaussianExponential(gaussian))
    method, times = GaussianExponential(gaussian, 50.0), time_grid(VPSDE(), 3, t_end=0.5)
    with pytest.raises(ConfigError, match="the steps end before"):
        sample(lambda x, t: x, VPSDE(), (2, SIZE), dtype=F64, method=method, schedule=times)
    with pytest.raises(ConfigError, match="needs the Gaussian law"):
        sample(lambda x, t: x, VPSDE(), (2, SIZE), method=GaussianExponential(), steps=2)
    with pytest.raises(ConfigError, match="not symmetric"):
        Gaussian.of_covariance(torch.tensor([[1.0, 0.5], [0.0, 1.0]]), torch.zeros(2))
    with pytest.raises(ConfigError, match="positive semi-definite"):
        Gaussian.of_covariance(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.zeros(2))
    with pytest.raises(ConfigError, match="take Spectrum"):
        Gaussian.of(torch.zeros(4, 3, dtype=torch.complex64), 1)
    with pytest.raises(ConfigError, match="not all finite"):
        Gaussian.of(torch.full((5, 3), math.nan), 2)
    with pytest.raises(ConfigError, match="data of the type ndarray: need a tensor"):
        Gaussian.of(torch.randn(5, 3).numpy(), 2)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a spectrum of 3 frequencies, states of 2"):
        Spectrum((1.0, 2.0, 3.0)).applied(torch.sqrt, torch.ones(1, 2, 4))
    with pytest.raises(ConfigError, match="no residuals"):
        Spectrum.of(torch.zeros(0, 3, 4))
    with pytest.raises(ConfigError, match="variances"):
        Spectrum(())


@pytest.mark.parametrize("item", [(7,), (3,), (6, 1), (2, 3)])
@pytest.mark.parametrize("method", [GaussianExponential, lambda law: Exponential(2, shift=LevelShift(law))])
def test_a_law_of_other_items_is_told(item: tuple[int, ...], method: Callable[[Gaussian], Sampler]) -> None:
    law = Gaussian.of(randn((20, 6), make_generator("law")), 2)
    with pytest.raises(ConfigError, match=r"a law of items of shape \(6,\), states of \(.*: estimate it on"):
        sample(lambda x, t: 0.5 * x, VPSDE(), (4, *item), method=method(law), steps=4)


def test_a_teleport_before_the_start_does_nothing_and_steps_lie_behind_it() -> None:
    gaussian, sde = correlated(), VPSDE()
    x, _ = start(sde)

    def bent(x: Tensor, t: Tensor) -> Tensor:
        return 0.7 * torch.tanh(1.3 * x)

    plain = sample(bent, sde, x_start=x, method=GaussianExponential(gaussian), steps=5)
    before = sample(bent, sde, x_start=x, method=GaussianExponential(gaussian, -9.0), steps=5)
    assert torch.equal(plain.x, before.x)
    behind = sample(bent, sde, x_start=x, method=GaussianExponential(gaussian, -1.5), steps=5, return_trajectory=True)
    assert behind.nfe == 5
    assert behind.times is not None
    assert float(sde.log_snr(behind.times)[1]) > -1.0


def test_a_spectrum_is_exact_in_complex_residuals() -> None:
    sde, law = OUVESDE(), Spectrum.of(randn((3, 4, 50), make_generator("r"), dtype=torch.complex128))
    y = randn((2, 4, 5), make_generator("y"), dtype=torch.complex128)
    x = y + float(sde.sigma(1.0)) * randn((2, 4, 5), make_generator("x"), dtype=torch.complex128)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return y + law.denoised(x - y, Node.at(sde, float(t[0])))

    found = sample(denoise, sde, y=y, x_start=x, method=GaussianExponential(law), steps=1, t_end=0.03)
    exact = sample(denoise, sde, y=y, x_start=x, method="ode3", steps=300, t_end=0.03)
    torch.testing.assert_close(found.x, exact.x, rtol=0, atol=1e-6)
