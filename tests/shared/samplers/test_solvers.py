"""The corrector, noise that is one path, and paths that are ours after a known shift."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction, Guidance
from shared.random import make_generator, randn
from shared.samplers import Exponential, sample, time_grid
from shared.samplers.brownian import BrownianNoise
from shared.sde import OUVESDE, SBVESDE, SDE, VPSDE, FlowSDE, ResfusionSDE, VPBridgeSDE
from shared.shift import KnownShift, data_from_resnoise, dbim_shift, resfusion_shift
from tests.processes import ANCHORED, SDES, all_sdes
from tests.shared.gaussian import GaussianData

F64 = torch.float64


def error(sde: SDE, method: Exponential, steps: int) -> float:
    """The largest error of seven states of Gaussian data, from T to 0.05."""
    y = torch.full((1, 7), 0.5, dtype=F64) if sde == OUVESDE() else None
    data = GaussianData(sde, 0.7, 0.8, y)
    mean, variance = data.marginal(sde.T)
    x = mean + variance.sqrt() * torch.linspace(-1.5, 1.5, 7, dtype=F64)[None]
    result = sample(data.denoiser, sde, y=y, x_start=x, method=method, steps=steps, t_end=0.05)
    assert result.nfe == steps + (method.order == 3)
    return float((result.x - data.flow(x, sde.T, 0.05)).abs().max())


@pytest.mark.parametrize("sde", [VPSDE(), OUVESDE()], ids=["vp", "ouve"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_corrector_raises_the_order_by_one_and_costs_no_call(sde: SDE, order: int) -> None:
    method = Exponential(order, corrector=True)
    coarse, fine = error(sde, method, 64), error(sde, method, 128)
    assert math.log2(coarse / fine) == pytest.approx(order + 1, abs=0.2)
    assert fine < error(sde, Exponential(order), 128) / 5


def test_the_corrector_keeps_stochastic_samples_stochastic() -> None:
    data = GaussianData(VPSDE(), 0.7, 0.8, None)
    x = randn((1, 20_000), make_generator("prior"), dtype=F64)
    method = Exponential(2, eta=1.0, corrector=True)
    result = sample(data.denoiser, data.sde, x_start=x, method=method, steps=30, generator=make_generator("noise"))
    assert float(result.x.mean()) == pytest.approx(0.7, abs=0.03)
    assert float(result.x.std()) == pytest.approx(0.8, abs=0.03)


class Moves(Guidance):
    def after_step(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, t_next: Tensor, sde: SDE) -> Tensor:
        return 1.01 * x


def test_the_corrector_is_refused_where_guidance_moves_states() -> None:
    with pytest.raises(ConfigError, match="take corrector=False"):
        sample(lambda x, t: x, VPSDE(), (2, 3), corrector=True, guidance=Moves())
    sample(lambda x, t: x, VPSDE(), (2, 3), corrector=True, guidance=Guidance())


def test_sde3_has_the_marginals() -> None:
    data = GaussianData(VPSDE(), 0.7, 0.8, None)
    x = randn((1, 20_000), make_generator("prior"), dtype=F64)
    result = sample(data.denoiser, data.sde, x_start=x, method="sde3", steps=40, generator=make_generator("noise"))
    assert float(result.x.std()) == pytest.approx(0.8, abs=0.03)


# Noise that is one path. -----------------------------------------------------------------------------------------


def bent(x: Tensor, t: Tensor) -> Tensor:
    return 0.8 * torch.tanh(1.3 * x)


def drawn(sde: SDE, steps: int, **settings: object) -> Tensor:
    method = Exponential(2, **{"eta": 1.0, "noise": "path", **settings})  # type: ignore[arg-type]
    y = 0.3 * torch.ones(4, 300, dtype=F64) if sde == OUVESDE() else None
    generators = [make_generator("path", i) for i in range(4)]
    shape = (4, 300) if y is None else None
    return sample(bent, sde, shape, y=y, dtype=F64, method=method, steps=steps, generator=generators).x


@pytest.mark.parametrize("sde", [pytest.param(VPSDE(), marks=pytest.mark.slow), OUVESDE()], ids=["vp", "ouve"])
def test_one_seed_is_one_sample_whatever_the_steps(sde: SDE) -> None:
    fine = drawn(sde, 512)
    errors = [float((drawn(sde, steps) - fine).square().mean().sqrt() / fine.std()) for steps in (16, 64, 256)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.05
    fresh = float((drawn(sde, 256, noise="fresh") - fine).square().mean().sqrt() / fine.std())
    assert fresh > 20 * errors[2]


def test_increments_are_white_and_of_unit_variance() -> None:
    levels = [-math.inf, -4.0, -1.0, -0.9, 2.5, 2.500001, 9.0]
    noise = BrownianNoise([1, 2, 3], torch.zeros(3, 20_000, dtype=F64))
    steps = [noise.between([a], [b]) for a, b in pairwise(levels)]
    table = torch.stack([step.flatten() for step in steps])
    torch.testing.assert_close(table @ table.T / table.shape[1], torch.eye(6, dtype=F64), rtol=0, atol=0.02)


def test_a_path_of_an_item_is_its_own_whatever_the_batch() -> None:
    like = torch.zeros(3, 50, dtype=F64)
    batch = BrownianNoise([5, 6, 7], like).between([-2.0], [0.5])
    alone = BrownianNoise([6], like[:1]).between([-2.0], [0.5])
    assert torch.equal(batch[1], alone[0])
    each = BrownianNoise([5, 6, 7], like).between([-2.0, -1.0, -3.0], [0.5, 0.0, 1.0])
    assert torch.equal(each[0], batch[0])
    assert not torch.equal(each[1], batch[1])


@pytest.mark.parametrize("sde", [SBVESDE(), VPBridgeSDE()], ids=["sbve", "vp_bridge"])
def test_a_deterministic_method_leaves_the_end_of_a_bridge_by_its_path(sde: SDE) -> None:
    y, method = torch.zeros(2, 3, dtype=F64), Exponential(2, noise="path")
    one, other = (sample(lambda x, t: 0.5 * x, sde, y=y, method=method, generator=make_generator(n)).x for n in (0, 1))
    assert bool(one.isfinite().all())
    assert float((one - other).abs().min()) > 0


@pytest.mark.parametrize("shape", [(2,), (0,), (0, 3)])
def test_paths_of_single_numbers_and_of_no_items(shape: tuple[int, ...]) -> None:
    assert sample(lambda x, t: 0.5 * x, VPSDE(), shape, method="sde2", noise="path").x.shape == shape


# Known shifts. ---------------------------------------------------------------------------------------------------


def test_resfusion_is_a_path_around_the_noisy_data_after_its_shift() -> None:
    sde, t = ResfusionSDE(), torch.tensor([0.2, 0.5, 0.9], dtype=F64)
    x0, y, noise = (randn((3, 6), make_generator("shift", name), dtype=F64) for name in ("x0", "y", "noise"))
    kept = sde.kept(t)[:, None]
    published = kept * x0 + (1 - kept) * (y - x0) + (1 - kept**2).sqrt() * noise
    shift = resfusion_shift(sde)
    ours = shift.from_published(published, t, y)
    torch.testing.assert_close(ours, sde.perturb(x0, t, noise, y), rtol=0, atol=1e-14)
    torch.testing.assert_close(shift.to_published(ours, t, y), published, rtol=0, atol=1e-14)


def test_resfusion_starts_where_nothing_of_the_data_is_left() -> None:
    sde = ResfusionSDE()
    assert float(sde.kept(torch.ones((), dtype=F64))) == pytest.approx(0.5, abs=1e-12)
    assert (float(sde.alpha(1.0)), float(sde.sigma(1.0))) == (0.0, pytest.approx(math.sqrt(0.75), abs=1e-12))


def test_the_target_resnoise_gives_the_data_back_and_makes_ddpms_update_the_posterior() -> None:
    x0, y, noise = (randn((3, 6), make_generator("resnoise", name), dtype=F64) for name in ("x0", "y", "noise"))
    kept, following = 0.6, 0.75
    ratio = (kept / following) ** 2
    spread = math.sqrt(1 - kept**2)
    x = kept * x0 + (1 - kept) * (y - x0) + spread * noise
    target = noise + (1 - math.sqrt(ratio)) * spread / (1 - ratio) * (y - x0)
    torch.testing.assert_close(data_from_resnoise(target, x, y, kept, following), x0, rtol=0, atol=1e-12)
    # DDPM's mean with that target is the mean of the posterior of the path that starts at c·x_0 + (1 − c)R.
    mean = (x - (1 - ratio) / spread * target) / math.sqrt(ratio)
    residual, ahead = y - x0, math.sqrt(1 - following**2)
    old = math.sqrt(ratio) * ahead**2 / spread**2
    clean = following * x0 + (1 - following) * residual
    exact = clean + old * (x - math.sqrt(ratio) * clean - (1 - math.sqrt(ratio)) * residual)
    torch.testing.assert_close(mean, exact, rtol=0, atol=1e-12)


def test_a_denoiser_of_published_states_samples_through_the_shift() -> None:
    sde = ResfusionSDE()
    y = torch.full((1, 4_000), 0.5, dtype=F64)
    data = GaussianData(sde, 0.7, 0.8, y)
    shift = KnownShift(sde, lambda t: (1 - sde.alpha(t)) / 2)

    def published(x: Tensor, t: Tensor) -> Tensor:
        return data.denoiser(shift.from_published(x, t, y), t)

    settings = {"y": y, "method": "ode2", "steps": 30, "generator": make_generator("start")}
    through = sample(shift.denoiser(published, y), sde, **settings)
    settings["generator"] = make_generator("start")
    torch.testing.assert_close(through.x, sample(data.denoiser, sde, **settings).x, rtol=0, atol=1e-9)
    assert float(through.x.std()) == pytest.approx(0.8, abs=0.03)


# DBIM's bridges. -------------------------------------------------------------------------------------------------


def published_bridge(t: float) -> tuple[float, float, float]:
    """a, b, c of DDBM's bridge of VP at time t (Zhou et al. 2024, Table 1), β = 0.1 + 2t."""

    def path(t: float) -> tuple[float, float]:
        alpha = math.exp(-0.5 * (0.1 * t + t * t))
        return alpha, 1 - alpha**2

    (alpha, variance), (end, whole) = path(t), path(1.0)
    share = end**2 / whole * variance / alpha**2
    return alpha / end * share, alpha * (1 - share), math.sqrt(variance * (1 - share))


def test_the_bridge_of_vp_is_the_published_one() -> None:
    sde = VPBridgeSDE()
    for t in (0.05, 0.4, 0.9, 0.999):
        a, b, c = published_bridge(t)
        time = torch.tensor(t, dtype=F64)
        found = [float(part) for part in (sde.anchor_weight(time), sde.alpha(t), sde.sigma(t))]
        assert found == pytest.approx([a, b, c], rel=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_dbims_update_is_the_cores_first_order_step_after_the_shift(eta: float) -> None:
    """Zheng et al. 2025, eq. 8, with ρ = η c_t√(1 − e^{−2h}) and the published states."""
    sde, shift = VPBridgeSDE(), dbim_shift(VPBridgeSDE())
    y, x = (randn((3, 6), make_generator("dbim", name), dtype=F64) for name in ("y", "x"))

    def published(x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x) + 0.3 * t[:, None]

    times = torch.tensor([0.9, 0.5, 0.1], dtype=F64)
    generator, state = make_generator("rho"), x
    for now, after in pairwise(times):
        (a0, b0, c0), (a1, b1, c1) = published_bridge(float(now)), published_bridge(float(after))
        rho = eta * c1 * math.sqrt(1 - (b0 * c1 / (b1 * c0)) ** 2)
        x0 = published(state, now.expand(3))
        noise = randn((3, 6), generator, dtype=F64)
        state = a1 * y + b1 * x0 + math.sqrt(c1**2 - rho**2) / c0 * (state - a0 * y - b0 * x0) + rho * noise
    start = shift.from_published(x, times[:1].expand(3), y)
    ours = sample(
        shift.denoiser(published, y),
        sde,
        y=y,
        x_start=start,
        method=Exponential(1, eta=eta),
        schedule=times,
        generator=make_generator("rho"),
    )
    back = shift.to_published(ours.x, times[-1:].expand(3), y)
    torch.testing.assert_close(back, state, rtol=0, atol=1e-10)


@all_sdes()
def test_any_grid_serves_the_corrector(name: str, sde: SDE) -> None:
    y = torch.full((1, 2_000), 0.5, dtype=F64) if name in ANCHORED else None
    data = GaussianData(SDES[name], 0.7, 0.8, y)
    for schedule in ("log_snr", "uniform"):
        errors = []
        for corrector in (False, True):
            result = sample(
                data.denoiser,
                sde,
                (1, 2_000) if y is None else None,
                y=y,
                dtype=F64,
                method=Exponential(2, corrector=corrector),
                schedule=time_grid(sde, 20, schedule),
                generator=make_generator("grid"),
            )
            errors.append(abs(float(result.x.std()) - 0.8))
        assert errors[1] < 1.2 * errors[0] + 0.02


# The adaptive solver. --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sde", [FlowSDE(), VPSDE(), SBVESDE()], ids=str)
def test_steps_do_not_matter_to_the_adaptive_solver(sde: SDE) -> None:
    """To clean data, too, of which one step was the mean, and ten that are even in t left out a tenth of the way."""
    x = torch.randn(64, 2, dtype=torch.float64, generator=make_generator("rk45"))
    y = torch.zeros_like(x)
    data = GaussianData(sde, 0.4, 0.6)
    start = 1.0 if sde.prior_std else 0.9
    common = {"y": y, "x_start": x, "t_start": start, "t_end": 0.0, "method": "rk45", "rtol": 1e-8, "atol": 1e-8}
    found = [
        sample(data.denoiser, sde, steps=steps, schedule=schedule, **common)
        for steps, schedule in ((1, "log_snr"), (2, "log_snr"), (10, "uniform"), (10, "log_snr"))
    ]
    for one in found:
        assert torch.equal(one.x, found[0].x)
        assert one.nfe == found[0].nfe
    torch.testing.assert_close(found[0].x, data.flow(x, start, 0.0), rtol=0, atol=2e-2)
