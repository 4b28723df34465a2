"""Intrinsic dimensions: five of twenty, two and eight, by three estimates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from shared.diagnostics import flipd, lidl, score_spectrum
from shared.diagnostics.field import ScoreField, inner
from shared.errors import ConfigError
from shared.random import make_generator, randn
from shared.sde import OUVESDE, SBVESDE, SDE, VESDE, VPSDE, FlowSDE
from tests.shared.gaussian import GaussianData
from tests.shared.mixture import F64

INSIDE, WHOLE = 5, 20
KAPPA = 0.03


def basis() -> Tensor:
    """Five orthonormal directions of twenty, (20, 5)."""
    return torch.linalg.qr(randn((WHOLE, INSIDE), make_generator("basis"), dtype=F64))[0]


def subspace(sde: SDE, y: Tensor | None = None) -> tuple[GaussianData, Tensor]:
    x0 = randn((6, INSIDE), make_generator("inside"), dtype=F64) @ basis().T
    return GaussianData(sde, 0.0 if y is None else y, basis() @ basis().T, y), x0 if y is None else y + x0


def at(sde: SDE, kappa: float) -> float:
    return float(sde.time_of_log_snr(-math.log(kappa)))


@pytest.mark.parametrize("sde", [VPSDE(), VESDE(), FlowSDE(), OUVESDE(), SBVESDE()], ids=lambda s: type(s).__name__)
def test_flipd_counts_the_dimensions_of_a_subspace(sde: SDE) -> None:
    y = randn((1, WHOLE), make_generator("y"), dtype=F64).expand(6, -1) if isinstance(sde, OUVESDE | SBVESDE) else None
    data, x0 = subspace(sde, y)
    t = at(sde, KAPPA)
    found = flipd(data.denoiser, sde, x0, t, y, trace="exact")
    torch.testing.assert_close(found.value, torch.full((6,), 5.0, dtype=F64), rtol=0, atol=0.03)
    assert bool((found.standard_error == 0).all())
    # At a noisy state the same formula counts all dimensions, which is the trap.
    field = ScoreField(data.denoiser, sde, t, x0, y)
    u = field.noisy(x0, randn(x0.shape, make_generator("noise"), dtype=F64))
    left = inner(field.data(u) - u, field.data(u) - u) / field.variance
    assert float(INSIDE + left.mean()) == pytest.approx(WHOLE, abs=5)


def test_flipd_of_single_numbers_and_of_no_items() -> None:
    data, x0 = GaussianData(VPSDE(), 0.0, 0.8), torch.linspace(-1, 1, 3, dtype=F64)
    alone, wide = (flipd(data.denoiser, VPSDE(), x, 0.01) for x in (x0, x0[:, None]))
    torch.testing.assert_close(alone.value, wide.value)
    for none in (x0[:0], x0[:0, None]):
        assert flipd(data.denoiser, VPSDE(), none, 0.01).value.shape == (0,)


def test_flipd_by_probes_is_unbiased_and_knows_its_error() -> None:
    sde = VPSDE()
    data, x0 = subspace(sde)
    found = flipd(data.denoiser, sde, x0, at(sde, KAPPA), trace="hutchinson", probes=400, generator=make_generator("p"))
    assert float(found.standard_error.max()) < 0.3
    assert bool(((found.value - 5).abs() < 4 * found.standard_error).all())


def test_flipd_tells_the_parts_of_a_mixture_apart() -> None:
    # Two dimensions around one centre, eight around another, .001 in all others.
    sde, kappa = VPSDE(), 0.05
    means = torch.zeros(2, 12, dtype=F64)
    means[1] += 6
    variances = torch.full((2, 12), 1e-6, dtype=F64)
    variances[0, :2], variances[1, :8] = 1.0, 1.0

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
        spread = alpha**2 * variances + sigma**2
        far = x[:, None] - alpha * means
        shares = (-0.5 * (far.square() / spread + spread.log()).sum(-1)).softmax(-1)
        return (shares[..., None] * (means + alpha * variances / spread * far)).sum(1)

    noise = randn((2, 12), make_generator("noise"), dtype=F64)
    found = flipd(denoise, sde, means + variances.sqrt() * noise, at(sde, kappa), trace="exact")
    torch.testing.assert_close(found.value, torch.tensor([2.0, 8.0], dtype=F64), rtol=0, atol=0.05)


@pytest.mark.slow
def test_lidl_is_the_slope_of_the_density() -> None:
    sde = VPSDE()
    data, x0 = subspace(sde)
    times = [at(sde, kappa) for kappa in (0.02, 0.03, 0.045)]
    found = lidl(data.denoiser, sde, x0, times, trace="exact", rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.value, torch.full((6,), 5.0, dtype=F64), rtol=0, atol=0.02)
    assert float(found.standard_error.max()) < 0.02


def test_the_spectrum_has_its_gap_at_the_normal_dimensions() -> None:
    sde = VPSDE()
    data, x0 = subspace(sde)
    found = score_spectrum(data.denoiser, sde, x0, at(sde, KAPPA), generator=make_generator("s"))
    assert found.dimension.tolist() == [INSIDE] * 6
    assert float(found.gap.min()) > 0.4
    normal = found.values[:, : WHOLE - INSIDE]  # about 1, spread as singular values of noise are
    assert 0.4 < float(normal.min()) < float(normal.max()) < 1.6
    for scale, dimension in ((1.0, WHOLE), (1e-6, 0)):
        ends = GaussianData(sde, 0.0, scale).denoiser
        found = score_spectrum(ends, sde, scale * x0, at(sde, KAPPA), generator=make_generator("s"))
        assert found.dimension.tolist() == [dimension] * 6


def test_complex_data_count_twice() -> None:
    sde = VPSDE()

    def denoise(x: Tensor, t: Tensor) -> Tensor:  # the first three of four fill their plane, the last is 0
        alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
        inside = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=F64)
        return alpha / (alpha**2 + sigma**2) * inside * x

    x0 = torch.view_as_complex(randn((3, 4, 2), make_generator("x"), dtype=F64))
    x0[:, 3] = 0
    found = flipd(denoise, sde, x0, at(sde, KAPPA), trace="exact")
    torch.testing.assert_close(found.value, torch.full((3,), 6.0, dtype=F64), rtol=0, atol=0.05)


def test_refusals_name_what_to_take_instead() -> None:
    x = torch.zeros(2, 6, dtype=F64)
    with pytest.raises(ConfigError, match="take flipd"):
        lidl(lambda x, t: x, SBVESDE(), x, [0.1, 0.2], x)
    with pytest.raises(ConfigError, match="two levels"):
        lidl(lambda x, t: x, VPSDE(), x, [0.1])
    with pytest.raises(ConfigError, match="at least as many copies"):
        score_spectrum(lambda x, t: x, VPSDE(), x, 0.1, copies=5)
    with pytest.raises(ConfigError, match="take flipd"):
        score_spectrum(lambda x, t: x, VPSDE(), torch.zeros(1, 5000), 0.1)
