"""A path with noise L·ξ is the white one in the coordinates L⁻¹x: samplers, scores, densities and chains."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from shared.checks import checked
from shared.elbo import elbo
from shared.errors import ConfigError
from shared.likelihood import log_likelihood
from shared.noise import GaussianProcess, OrnsteinUhlenbeck, SquaredExponential
from shared.objectives import DiffusionLoss
from shared.predictions import Denoiser, PathPoint
from shared.random import make_generator, randn
from shared.samplers import METHODS, Exponential, PredictorCorrector, sample
from shared.samplers.gaussian import GaussianExponential
from shared.samplers.laws import Gaussian
from shared.samplers.level import LevelShift
from shared.samplers.mcmc import Evaluation, Hamiltonian, Langevin, Underdamped, simulate
from shared.sde import OUVESDE, SBVESDE, SDE, VPSDE, DiscreteVPSDE, FlowSDE, Process, linear_betas
from tests.shared.gaussian import GaussianData

PLACES = 12
NOISE = GaussianProcess(OrnsteinUhlenbeck(4.0), white=0.2)
SMOOTH = GaussianProcess(SquaredExponential(2.0), white=0.1)
DATA = GaussianProcess(SquaredExponential(3.0), white=0.1).covariance(PLACES)
SAMPLERS = {
    # EVODiff takes inner products, which are those of the data's coordinates; "map" takes a map.
    **{name: method for name, method in METHODS.items() if name not in ("evodiff", "map")},
    "path noise": Exponential(2, eta=1.0, noise="path"),
    "langevin": PredictorCorrector(corrector="langevin"),
    "ancestral": PredictorCorrector("ancestral"),
}


def twins(sde: SDE, noise: GaussianProcess) -> tuple[GaussianData, Callable[[Tensor, Tensor], Tensor]]:
    """Gaussian data in white coordinates, and its exact data prediction in the data's own."""
    half = noise.whiten(DATA[None].expand(1, -1, -1))[0]
    white = GaussianData(sde, 0.0, noise.whiten(half.T[None])[0])
    return white, lambda x, t: noise.colour(white.denoiser(noise.whiten(x), t))


PROCESSES = [VPSDE(), FlowSDE(), OUVESDE(), DiscreteVPSDE(linear_betas(50, 1e-3, 0.2))]


@pytest.mark.parametrize(
    ("sde", "noise"),
    [
        *(pytest.param(sde, NOISE, id=f"{sde.kind}-ou") for sde in PROCESSES),
        # Another colour is another matrix, whatever the process.
        *(
            pytest.param(sde, SMOOTH, id=f"{sde.kind}-smooth", marks=pytest.mark.slow if sde.kind != "vp" else ())
            for sde in PROCESSES
        ),
    ],
)
@pytest.mark.parametrize("name", SAMPLERS)
def test_sampling_is_the_white_one_in_other_coordinates(name: str, sde: SDE, noise: GaussianProcess) -> None:
    coloured = (
        dataclasses.replace(sde, noise=noise) if sde.kind != "discrete_vp" else DiscreteVPSDE(sde.betas, noise=noise)
    )
    white, denoiser = twins(sde, noise)
    settings = {"method": SAMPLERS[name], "steps": 5, "t_end": 0.05, "dtype": torch.float64}
    generators = [[make_generator(i) for i in range(3)] for _ in range(2)]
    found = sample(denoiser, coloured, (3, PLACES), generator=generators[0], **settings)
    expected = sample(white.denoiser, sde, (3, PLACES), generator=generators[1], **settings)
    # The adaptive solver's tolerance is of other coordinates.
    close = {"rtol": 1e-3, "atol": 1e-3} if name == "rk45" else {"rtol": 1e-8, "atol": 1e-9}
    torch.testing.assert_close(found.x, noise.colour(expected.x), **close)


def test_a_bridge_starts_with_noise_of_its_colour() -> None:
    y = torch.ones(2, PLACES, dtype=torch.float64)
    alpha, sigma = float(SBVESDE().alpha(0.3)), float(SBVESDE().sigma(0.3))
    draws = []
    for noise in (NOISE, None):
        settings = {"y": y, "steps": 1, "t_end": 0.3, "generator": make_generator(0)}
        end = sample(lambda x, t: torch.zeros_like(x), SBVESDE(noise=noise), **settings).x
        draws.append((end - (1 - alpha)) / sigma)
    torch.testing.assert_close(draws[0], NOISE.colour(draws[1]))


@pytest.mark.parametrize("kernel", [OrnsteinUhlenbeck(4.0), SquaredExponential(4.0)], ids=lambda kernel: kernel.kind)
@pytest.mark.parametrize("name", SAMPLERS)
def test_all_white_is_no_noise_setting_bit_for_bit(name: str, kernel) -> None:
    data = GaussianData(VPSDE(), 0.3, 0.7)
    runs = [
        sample(
            data.denoiser,
            VPSDE(noise=noise),
            (4, PLACES),
            method=SAMPLERS[name],
            steps=4,
            generator=[make_generator(i) for i in range(4)],
        )
        for noise in (None, GaussianProcess(kernel, white=1.0))
    ]
    if name == "rk45":
        torch.testing.assert_close(runs[0].x, runs[1].x)
    assert torch.equal(runs[0].x, runs[1].x)


@pytest.mark.parametrize(
    "noise", [NOISE, SMOOTH, NOISE.at(torch.arange(PLACES) ** 1.5)], ids=["ou", "smooth", "irregular"]
)
def test_an_item_does_not_depend_on_its_batch(noise: GaussianProcess) -> None:
    _, denoiser = twins(FlowSDE(), NOISE)

    def drawn(items: list[int]) -> Tensor:
        generators = [make_generator("item", i) for i in items]
        sde = FlowSDE(noise=noise)
        return sde.draw_noise((len(items), 40 if noise.times is None else PLACES, 2), generators, dtype=torch.float32)

    whole = drawn(list(range(7)))
    assert torch.equal(whole[4:5], drawn([4]))
    assert torch.equal(whole[2:5], drawn([2, 3, 4]))
    sampled = [
        sample(
            denoiser,
            FlowSDE(noise=NOISE),
            (len(items), PLACES),
            method="sde2",
            steps=4,
            generator=[make_generator(i) for i in items],
            dtype=torch.float64,
        ).x
        for items in ([0, 1, 2], [1])
    ]
    torch.testing.assert_close(sampled[0][1:2], sampled[1], rtol=1e-12, atol=1e-12)


def test_samples_of_gaussian_data_have_its_covariance() -> None:
    _, denoiser = twins(FlowSDE(), SMOOTH)
    # The map is linear: its action on the unit vectors of the start is all there is to know.
    start = SMOOTH.covariance(PLACES)
    end = sample(
        denoiser,
        FlowSDE(noise=SMOOTH),
        x_start=torch.eye(PLACES, dtype=torch.float64),
        t_start=1.0,
        steps=60,
        method="ode3",
    ).x
    torch.testing.assert_close(end.T @ start @ end, DATA, rtol=0, atol=1e-3)


def test_the_score_is_the_slope_of_the_log_density() -> None:
    sde = VPSDE(noise=NOISE)
    t = torch.full((3,), 0.4, dtype=torch.float64)
    alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
    total = alpha**2 * DATA + sigma**2 * NOISE.covariance(PLACES)
    x = torch.randn(3, PLACES, dtype=torch.float64, generator=make_generator("state"))
    _, denoiser = twins(VPSDE(), NOISE)
    point, x0 = PathPoint.at(sde, t), denoiser(x, t)
    score = point.from_data("score", x0, x)
    torch.testing.assert_close(score, -torch.linalg.solve(total, x.T).T)
    torch.testing.assert_close(point.to_data("score", score, x), x0)
    noise = sde.draw_noise(x.shape, make_generator("ε"), dtype=torch.float64)
    torch.testing.assert_close(point.target("score", x0, noise), -NOISE.solve(noise) / sigma)


@pytest.mark.slow
@pytest.mark.parametrize("sde", [FlowSDE(), VPSDE()], ids=lambda s: s.kind)
def test_the_likelihood_is_the_closed_form(sde: SDE) -> None:
    coloured, t_end = dataclasses.replace(sde, noise=NOISE), 1e-2
    white, denoiser = twins(sde, NOISE)
    x0 = torch.randn(4, PLACES, dtype=torch.float64, generator=make_generator("x0")) @ torch.linalg.cholesky(DATA).T
    found = log_likelihood(denoiser, coloured, x0, t_end=t_end, trace="exact", rtol=1e-6, atol=1e-6)
    alpha, sigma = float(sde.alpha(t_end)), float(sde.sigma(t_end))
    total = alpha**2 * DATA + sigma**2 * NOISE.covariance(PLACES)
    expected = torch.distributions.MultivariateNormal(torch.zeros(PLACES, dtype=torch.float64), total).log_prob(x0)
    # VP's prior is off by what is left of the data at the end.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 if sde.kind == "flow" else 0.1)
    twin = log_likelihood(white.denoiser, sde, NOISE.whiten(x0), t_end=t_end, trace="exact", rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, twin - 0.5 * NOISE.log_det(x0.shape), rtol=0, atol=1e-4)


def test_the_prior_has_the_density_of_its_draws() -> None:
    z = torch.randn(3, PLACES, 2, dtype=torch.float64)
    sde = VPSDE(noise=SMOOTH)
    each = torch.distributions.MultivariateNormal(torch.zeros(PLACES, dtype=torch.float64), SMOOTH.covariance(PLACES))
    torch.testing.assert_close(sde.prior_log_prob(z), each.log_prob(z.mT).sum(1))
    both = torch.complex(z[..., 0], z[..., 1])
    halves = torch.distributions.MultivariateNormal(each.mean, SMOOTH.covariance(PLACES) / 2)
    torch.testing.assert_close(sde.prior_log_prob(both), halves.log_prob(z.mT).sum(1))
    drawn = sde.prior_sample((4000, PLACES), make_generator("prior"), dtype=torch.float64)
    torch.testing.assert_close(drawn.T @ drawn / 4000, SMOOTH.covariance(PLACES), rtol=0, atol=0.1)


def test_the_bound_is_the_white_one_in_other_coordinates() -> None:
    white, denoiser = twins(VPSDE(), NOISE)
    x0 = torch.randn(2, PLACES, dtype=torch.float64, generator=make_generator("bound"))
    draws = randn((2, 6, 1, PLACES), make_generator("draws"), dtype=torch.float64)
    found = elbo(denoiser, VPSDE(noise=NOISE), x0, draws)
    twin = elbo(white.denoiser, VPSDE(), NOISE.whiten(x0), draws)
    torch.testing.assert_close(found.value, twin.value - 0.5 * NOISE.log_det(x0.shape))
    torch.testing.assert_close(found.elements[:, :, 3], twin.elements[:, :, 3] - NOISE.log_diagonal(x0.shape)[0, 3])


@pytest.mark.parametrize(
    "kernel",
    [Langevin(0.1), Langevin(0.1, adjusted=True), Hamiltonian(0.2), Underdamped(0.1)],
    ids=lambda k: type(k).__name__,
)
def test_chains_run_in_white_coordinates(kernel) -> None:
    precision = torch.linalg.inv(DATA)

    def energy(x: Tensor) -> Evaluation:
        slope = x @ precision
        return Evaluation(0.5 * (slope * x).sum(1), slope)

    def inside(z: Tensor) -> Evaluation:
        value, slope = energy(NOISE.colour(z))
        return Evaluation(value, slope @ torch.linalg.cholesky(NOISE.covariance(PLACES)))

    x = torch.randn(3, PLACES, dtype=torch.float64, generator=make_generator("chain"))
    generators = [[make_generator(i) for i in range(3)] for _ in range(2)]
    found = simulate(kernel, energy, x, 5, generators[0], noise=NOISE)
    expected = simulate(kernel, inside, NOISE.whiten(x), 5, generators[1])
    torch.testing.assert_close(found.x, NOISE.colour(expected.x))
    torch.testing.assert_close(found.acceptance, expected.acceptance)
    with pytest.raises(ConfigError, match="noise=None"):
        simulate(kernel, energy, x, 1, noise=NOISE, free=torch.ones_like(x))


def test_training_draws_the_noise_of_the_process() -> None:
    class Half(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 0.5 * x

    sde, x0 = FlowSDE(noise=NOISE), torch.randn(5, PLACES, dtype=torch.float64)
    loss = DiffusionLoss()
    found = loss(Denoiser(Half(), sde, "velocity"), x0, generator=make_generator("loss"))
    generator = make_generator("loss")
    t = loss.times.sample(sde, 5, generator)[:, None]
    noise = NOISE.draw(x0.shape, generator, dtype=torch.float64)
    error = 0.5 * ((1 - t) * x0 + t * noise) - ((1 - t) * noise - t * x0)
    torch.testing.assert_close(found, error.square().mean(1))


@pytest.mark.parametrize(
    "sde",
    [FlowSDE(noise=NOISE.at([0.0, 1.0, 3.5])), DiscreteVPSDE(linear_betas(5), noise=NOISE)],
    ids=["flow", "table"],
)
def test_a_process_and_its_noise_go_through_json(sde: SDE) -> None:
    again = checked(Process, sde=json.loads(json.dumps(dataclasses.asdict(sde))))
    assert again == sde
    assert hash(again) == hash(sde)
    assert again != sde.with_noise(None)
    assert isinstance(again.noise, GaussianProcess)


def test_noise_may_be_told_by_its_kind() -> None:
    short = checked(
        Process,
        sde={"kind": "flow", "noise": {"kind": "gaussian_process", "kernel": {"kind": "ou", "length_scale": 3}}},
    )
    assert short == FlowSDE(noise=GaussianProcess(OrnsteinUhlenbeck(3.0)))
    with pytest.raises(ConfigError, match="gaussian_process, student_t"):
        checked(Process, sde={"kind": "flow", "noise": "pink"})
    with pytest.raises(ConfigError, match="gaussian_process, student_t"):
        DiscreteVPSDE(linear_betas(5), noise="pink")  # type: ignore[arg-type]


def test_what_goes_by_white_noise_says_so() -> None:
    law = Gaussian(torch.zeros(PLACES), torch.eye(PLACES)[:2], torch.ones(2))
    for method, instead in (
        (GaussianExponential(law), "take ode2"),
        (Exponential(shift=LevelShift(law)), "shift=None"),
    ):
        with pytest.raises(ConfigError, match=instead):
            sample(lambda x, t: x, VPSDE(noise=NOISE), (1, PLACES), method=method, steps=3)
