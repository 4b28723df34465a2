"""Asymmetry, loops and the Fokker–Planck residual, of exact scores and of ones with a planted rotation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from shared.diagnostics import (
    FokkerPlanck,
    ScoreField,
    asymmetric_plane,
    asymmetry,
    fokker_planck,
    loop_integral,
)
from shared.errors import ConfigError
from shared.noise import GaussianProcess, OrnsteinUhlenbeck, StudentT
from shared.random import make_generator, randn
from shared.sde import OUVESDE, SBVESDE, SDE, VPSDE
from tests.shared.diagnostics.fields import turned
from tests.shared.gaussian import GaussianData
from tests.shared.mixture import F64, SIZE, Mixture

MIXTURE = Mixture()
PROCESSES = (VPSDE(), OUVESDE(), SBVESDE())


def draw(name: str, *shape: int) -> Tensor:
    return randn(shape, make_generator(name), dtype=F64)


def at(sde: SDE, kappa: float) -> float:
    return float(sde.time_of_log_snr(-math.log(kappa)))


def mixture_field(sde: SDE, kappa: float, strength: float = 0.0) -> tuple[ScoreField, Tensor]:
    x0, y = MIXTURE.draw(6), draw("anchor", 6, SIZE)
    field = ScoreField(turned(MIXTURE.denoiser(sde, y), sde, 0.0), sde, at(sde, kappa), x0, y)
    if strength:
        around = turned(MIXTURE.denoiser(sde), sde, strength)
        field = ScoreField(lambda x, t: y + around(x - y, t), sde, at(sde, kappa), x0, y)
    return field, field.noisy(x0 + y, draw("noise", 6, SIZE))


@pytest.mark.parametrize("sde", PROCESSES, ids=lambda sde: type(sde).__name__)
def test_noisy_data_has_the_coordinates_of_the_state_of_the_process(sde: SDE) -> None:
    x0, y, noise = draw("data", 6, SIZE), draw("anchor", 6, SIZE), draw("noise", 6, SIZE)
    field = ScoreField(lambda x, t: x, sde, at(sde, 0.7), x0, y)
    alpha, sigma = field.node.alpha, field.node.sigma
    state = y + alpha * (x0 - y) + sigma * noise
    torch.testing.assert_close(field.noisy(x0, noise), field.coordinates(state))


@pytest.mark.parametrize("sde", PROCESSES, ids=lambda sde: type(sde).__name__)
def test_an_exact_score_is_a_gradient(sde: SDE) -> None:
    field, u = mixture_field(sde, 0.7)
    found = asymmetry(field, u, 2, make_generator("probes"))
    assert float(found.score.max()) < 1e-25
    assert float(found.data.max()) < 1e-25
    loop = loop_integral(field, u, *asymmetric_plane(field, u, make_generator("plane")), radius=0.1, points=32)
    assert float(loop.relative.max()) < 1e-6
    assert bool((loop.path > 0).all())


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_asymmetry_of_a_planted_rotation(strength: float) -> None:
    # J = −1/(c + κ²) + strength·B with BᵀB = 1, so that every probe of signs gives the exact ratio.
    sde, kappa, scale = VPSDE(), 0.6, 0.8
    denoise = turned(GaussianData(sde, 0.0, scale).denoiser, sde, strength)
    field = ScoreField(denoise, sde, at(sde, kappa), draw("x", 3, 8))
    found = asymmetry(field, field.coordinates(draw("x", 3, 8)), 1, make_generator("probes"))
    diagonal = 1 / (scale**2 + kappa**2)
    torch.testing.assert_close(found.score, torch.full((3,), strength**2 / (diagonal**2 + strength**2), dtype=F64))
    diagonal = scale**2 * diagonal
    odd = (strength * kappa**2) ** 2
    torch.testing.assert_close(found.data, torch.full((3,), odd / (diagonal**2 + odd), dtype=F64))


@pytest.mark.parametrize("sde", PROCESSES, ids=lambda sde: type(sde).__name__)
def test_the_work_along_a_circle_is_that_of_the_planted_part(sde: SDE) -> None:
    # The mixture's part is a gradient and does no work; that of the rotation is π·q²·bᵀ(J − Jᵀ)a = 2π·strength·q².
    field, u = mixture_field(sde, 0.7, strength=0.3)
    a, b = torch.zeros_like(u), torch.zeros_like(u)
    a[:, 4], b[:, 4], b[:, 5] = 2.0, 1.0, 3.0  # are made orthonormal: the plane of the fifth and the sixth
    found = loop_integral(field, u, a, b, radius=0.2, points=32)
    torch.testing.assert_close(found.work, torch.full((6,), 2 * math.pi * 0.3 * 0.04, dtype=F64), rtol=1e-5, atol=0)


def test_the_asymmetric_plane_is_where_a_field_turns() -> None:
    sde, kappa = VPSDE(), 0.6
    denoise = turned(GaussianData(sde, 0.0, 0.8).denoiser, sde, 0.5)
    field = ScoreField(denoise, sde, at(sde, kappa), draw("x", 3, 8))
    centre = torch.zeros(3, 8, dtype=F64)
    found = loop_integral(field, centre, *asymmetric_plane(field, centre, make_generator("a")))
    torch.testing.assert_close(found.work.abs(), torch.full((3,), 2 * math.pi * 0.5 * kappa**2, dtype=F64))
    torch.testing.assert_close(found.relative, torch.ones(3, dtype=F64))  # around the centre all of it is rotation


@pytest.mark.parametrize("sde", PROCESSES, ids=lambda sde: type(sde).__name__)
def test_an_exact_score_moves_as_its_density_does(sde: SDE) -> None:
    x0, y = MIXTURE.draw(6), draw("anchor", 6, SIZE)
    for kappa in (1.0, 0.3):
        found = fokker_planck(MIXTURE.denoiser(sde, y), sde, x0 + y, at(sde, kappa), y, noise=draw("noise", 6, SIZE))
        assert found.relative < 1e-4, kappa  # what is left is of the differences in time, of fourth order


@pytest.mark.parametrize("size", [8, 40])
def test_the_residual_of_a_planted_rotation(size: int) -> None:
    # It leaves κ∂_κ s and div s as they are, and adds 2·strength²·u to ∇‖s‖²: the ratio is strength²·(c + κ²)².
    sde, kappa, scale = VPSDE(), 0.6, 0.8
    x0 = scale * draw("data", 5, size)
    denoise = turned(GaussianData(sde, 0.0, scale).denoiser, sde, 0.4)
    settings = {"noise": draw("noise", 5, size), "probes": 2, "generator": make_generator("probes")}
    found = fokker_planck(denoise, sde, x0, at(sde, kappa), **settings)
    assert found.relative == pytest.approx(0.16 * (scale**2 + kappa**2) ** 2, rel=1e-4)


def test_probes_give_the_square_of_the_residual_without_bias() -> None:
    sde, kappa = VPSDE(), 0.5

    def denoise(x: Tensor, t: Tensor) -> Tensor:  # two modes in 40 dimensions, where the trace is not exact
        alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
        spread = alpha**2 * 0.09 + sigma**2
        share = (2 * alpha * 0.4 * x.sum(1, keepdim=True) / spread).sigmoid()
        mean = 0.4 * (2 * share - 1)
        return mean + alpha * 0.09 / spread * (x - alpha * mean)

    x0 = 0.1 * draw("data", 64, 40)  # between the modes, where the divergence changes
    found = fokker_planck(
        denoise, sde, x0, at(sde, kappa), noise=draw("noise", 64, 40), probes=4, generator=make_generator("probes")
    )
    each = found.squared / found.change.mean()
    assert float(each.abs().mean()) > 1e-4  # probes are rough, item by item
    assert abs(float(each.mean())) < 4 * float(each.std()) / 8


def test_an_estimate_below_zero_counts_as_none() -> None:
    assert FokkerPlanck(torch.tensor([-1.0, 0.5]), torch.ones(2)).relative == 0.0
    assert FokkerPlanck(torch.tensor([1.0, 7.0]), torch.tensor([1.0, 1.0])).relative == 2.0


def test_with_coloured_noise_the_score_is_a_gradient_in_white_coordinates() -> None:
    noise = GaussianProcess(OrnsteinUhlenbeck(0.3), white=0.3)
    sde = VPSDE(noise=noise)
    spread = torch.diag(torch.linspace(0.2, 2.0, 6, dtype=F64))
    unit = torch.eye(6, dtype=F64)[..., None]
    colour = noise.covary(unit)[..., 0]

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
        gain = alpha * spread @ torch.linalg.inv(alpha**2 * spread + sigma**2 * colour)
        return torch.einsum("ij,bjc->bic", gain, x)

    field = ScoreField(denoise, sde, 0.4, draw("x", 4, 6, 1))
    u = field.coordinates(draw("x", 4, 6, 1))
    assert float(asymmetry(field, u, 2, make_generator("probes")).score.max()) < 1e-24
    plain = ScoreField(denoise, VPSDE(), 0.4, draw("x", 4, 6, 1))
    assert float(asymmetry(plain, u, 2, make_generator("probes")).score.min()) > 1e-7
    found = fokker_planck(denoise, sde, draw("x", 4, 6, 1), 0.4, noise=draw("n", 4, 6, 1))
    assert found.relative < 1e-4


def test_complex_states_count_as_pairs_of_real_ones() -> None:
    sde = OUVESDE()
    x0 = torch.view_as_complex(draw("x", 4, 5, 2))
    y = torch.view_as_complex(draw("y", 4, 5, 2))

    def denoise(x: Tensor, t: Tensor) -> Tensor:  # E|r_0|² = 1, so that half of it is in each part
        alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
        return y + alpha / (alpha**2 + sigma**2) * (x - y)

    noise = torch.view_as_complex(draw("n", 4, 5, 2) / math.sqrt(2))
    field = ScoreField(denoise, sde, 0.4, x0, y)
    u = field.noisy(x0, noise)
    torch.testing.assert_close(field.score(u), -u / (0.5 + field.variance))
    assert float(asymmetry(field, u, 1).score.max()) < 1e-25
    assert fokker_planck(denoise, sde, x0, 0.4, y, noise=noise).relative < 1e-4

    def twisted(x: Tensor, t: Tensor) -> Tensor:  # i·x turns each number: the same rotation as of real pairs
        alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
        return denoise(x, t) + 0.2j * (x - y) * (sigma / alpha) ** 2 / 2 / alpha

    other = ScoreField(twisted, sde, 0.4, x0, y)
    diagonal = 1 / (0.5 + other.variance)
    expected = torch.full((4,), 0.04 / (diagonal**2 + 0.04), dtype=F64)
    torch.testing.assert_close(asymmetry(other, u, 1).score, expected)


def test_what_cannot_be_measured_is_refused_with_a_remedy() -> None:
    x = draw("x", 2, 4)
    for sde, t in ((VPSDE(), 0.0), (SBVESDE(), 1.0)):
        with pytest.raises(ConfigError, match="take a time inside the path"):
            ScoreField(lambda x, t: x, sde, t, x)
    with pytest.raises(ConfigError, match="sampling_errors"):
        ScoreField(lambda x, t: x, VPSDE(noise=StudentT(4.0)), 0.5, x)
    field = ScoreField(lambda x, t: x / 2, VPSDE(), 0.5, x)
    with pytest.raises(ConfigError, match="span a plane"):
        loop_integral(field, x, x, 2 * x)
    rough = draw("rough", *x.shape)  # of whose projection rounding is left
    with pytest.raises(ConfigError, match="span a plane"):
        loop_integral(field, x, rough, -3 * rough)
    with pytest.raises(ConfigError, match="radius"):
        loop_integral(field, x, x, x.flip(1), radius=0.0)
    with pytest.raises(ConfigError, match="probes"):
        asymmetry(field, x, 0)
    with pytest.raises(ConfigError, match="probes"):
        fokker_planck(lambda x, t: x / 2, VPSDE(), x, 0.5, noise=x, probes=1)
