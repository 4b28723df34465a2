"""Grids that are searched for a model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator, randn
from shared.samplers import EVODiff, Exponential, GaussianExponential, PredictorCorrector, Sampler, sample, time_grid
from shared.samplers.laws import Gaussian
from shared.samplers.schedules import times_of
from shared.samplers.search import search_grid
from shared.sde import OUVESDE, SBVESDE, SDE, VPSDE, FlowSDE
from tests.shared.mixture import Mixture

F64 = torch.float64
MIXTURE = Mixture()
SDE2 = Exponential(2, eta=1.0, noise="path")


def states(name: str, count: int) -> Tensor:
    return randn((count, 16), make_generator("search", name), dtype=F64)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [Exponential(2), EVODiff(), pytest.param(SDE2, marks=pytest.mark.slow)],
    ids=["ode2", "evodiff", "sde2"],
)
def test_a_searched_grid_is_nearer_on_other_starts(method: Sampler) -> None:
    sde = VPSDE()
    denoise = MIXTURE.denoiser(sde)
    noisy = method == SDE2
    found = search_grid(denoise, sde, states("seen", 12 if noisy else 48), 6, method=method, fine=60, most_runs=50)
    assert len(found.times) == 7
    assert found.runs <= 50
    assert found.error < 0.75 * found.before
    others = states("others", 12 if noisy else 200)

    def reached(one: Sampler | str, times: Tensor) -> Tensor:
        generator = make_generator("noise")
        return sample(denoise, sde, x_start=others, method=one, schedule=times, generator=generator).x

    exact = reached(method if noisy else "ode3", time_grid(sde, 60 if noisy else 200))

    def error(times: Tensor) -> float:
        return float((reached(method, times) - exact).square().mean(1).sqrt().mean())

    assert error(torch.tensor(found.times, dtype=F64)) < 0.8 * error(time_grid(sde, 6))


def test_a_given_grid_keeps_its_ends_and_may_end_in_clean_data() -> None:
    sde, y = OUVESDE(), states("y", 16)
    first = torch.tensor([1.0, 0.6, 0.3, 0.1, 0.0], dtype=F64)
    found = search_grid(
        MIXTURE.denoiser(sde, y), sde, y + 0.3 * states("x", 16), 4, y, first=first, fine=60, most_runs=30
    )
    assert (found.times[0], found.times[-1], found.schedule) == (1.0, 0.0, "given")
    assert found.error <= found.before
    assert times_of(found.times, 4) == found.times


def test_from_either_side_the_search_comes_to_the_same_step() -> None:
    """The one that ends in clean data, whose own log-SNR is infinite."""
    denoise, x = MIXTURE.denoiser(FlowSDE()), states("x", 16)
    early, late = (
        search_grid(denoise, FlowSDE(), x, 2, first=torch.tensor([1.0, at, 0.0], dtype=F64), fine=60, most_runs=20)
        for at in (0.9, 0.4)
    )
    assert early.times[1] == pytest.approx(late.times[1], abs=0.06)
    assert early.error == pytest.approx(late.error, rel=0.02)


@pytest.mark.parametrize("sde", [FlowSDE(), SBVESDE()], ids=["flow", "sbve"])
def test_ends_of_the_path_can_be_searched(sde: SDE) -> None:
    y = states("y", 16) if sde == SBVESDE() else None
    x = states("x", 16) if y is None else y
    again = [search_grid(MIXTURE.denoiser(sde, y), sde, x, 5, y, fine=60, most_runs=20) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0].error <= again[0].before


def test_a_teleports_steps_stay_behind_it() -> None:
    sde = VPSDE()
    method = GaussianExponential(Gaussian.of(MIXTURE.draw(2_000), 16), -1.0)
    found = search_grid(
        MIXTURE.denoiser(sde),
        sde,
        states("x", 32),
        4,
        method=method,
        fine=100,
        most_runs=30,
    )
    assert all(float(sde.log_snr(t)) >= -1.0 for t in found.times[1:])


def test_no_more_runs_than_were_asked_for() -> None:
    denoise, calls = MIXTURE.denoiser(VPSDE()), list[int]()

    def counted(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        calls[-1] += 1
        return denoise(x, t)

    for most in (1, 3, 6):
        calls.append(0)
        assert search_grid(counted, VPSDE(), states("x", 4), 3, fine=20, most_runs=most).runs == most
    assert (calls[1] - calls[0], calls[2] - calls[1]) == (2 * 3, 3 * 3)  # the steps of the further runs


def test_what_is_not_told_by_its_steps_is_refused() -> None:
    for method in (Exponential(2, eta=0.5), PredictorCorrector(), "rk45"):
        with pytest.raises(ConfigError, match="take"):
            search_grid(lambda x, t: x, VPSDE(), states("x", 4), 4, method=method)
    with pytest.raises(ConfigError, match="steps=1"):
        search_grid(lambda x, t: x, VPSDE(), states("x", 4), 1)
