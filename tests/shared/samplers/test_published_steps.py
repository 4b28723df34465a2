"""Steps of samplers against the update rules that their papers print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from shared.random import make_generator, randn
from shared.samplers import Exponential, Method, sample, time_grid
from shared.sde import OUVESDE, SBVESDE, SDE, VESDE, DiscreteVPSDE, linear_betas
from tests.processes import ANCHORED, BRIDGES, all_sdes
from tests.shared.samplers.test_samplers import F64, bent

# Identities with the published samplers, written here from their papers. -----------------------------------------

TABLE = linear_betas(100, 1e-4, 0.1)


CUMULATIVE = torch.cumprod(1 - torch.tensor(TABLE, dtype=F64), 0)


def ddim(x: Tensor, steps: Sequence[int], eta: float, generator: torch.Generator) -> Tensor:
    """Song et al. 2021 (DDIM), eq. 12 and 16, over the 1-based table steps, down to clean data."""
    bar = {n: float(CUMULATIVE[n - 1]) for n in steps} | {0: 1.0}
    for now, after in zip(steps, [*steps[1:], 0], strict=True):
        x0 = bent(x, torch.full((len(x),), now / 100, dtype=F64))
        epsilon = (x - math.sqrt(bar[now]) * x0) / math.sqrt(1 - bar[now])
        spread = eta * math.sqrt((1 - bar[after]) / (1 - bar[now])) * math.sqrt(1 - bar[now] / bar[after])
        x = math.sqrt(bar[after]) * x0 + math.sqrt(1 - bar[after] - spread**2) * epsilon
        if after > 0 and eta > 0:
            x = x + spread * torch.randn(x.shape, generator=generator, dtype=F64)
    return x


def ddpm(x: Tensor, generator: torch.Generator) -> Tensor:
    """Ho et al. 2020, eq. 6, 7 and Algorithm 2, with variance β̃, over the whole table."""
    for n in range(100, 0, -1):
        beta, bar, before = TABLE[n - 1], float(CUMULATIVE[n - 1]), float(CUMULATIVE[n - 2]) if n > 1 else 1.0
        x0 = bent(x, torch.full((len(x),), n / 100, dtype=F64))
        x = (math.sqrt(before) * beta * x0 + math.sqrt(1 - beta) * (1 - before) * x) / (1 - bar)
        if n > 1:
            variance = (1 - before) / (1 - bar) * beta
            x = x + math.sqrt(variance) * torch.randn(x.shape, generator=generator, dtype=F64)
    return x


def start_state(shape: tuple[int, ...] = (3, 5)) -> Tensor:
    return randn(shape, make_generator("identity"), dtype=F64)


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.7, 1.0])
def test_ode1_on_a_table_is_ddim(eta: float) -> None:
    steps = [100, 83, 60, 59, 30, 12, 4, 1]
    times = torch.tensor([*steps, 0], dtype=F64) / 100
    result = sample(
        bent,
        DiscreteVPSDE(TABLE),
        x_start=start_state(),
        method="ode1",
        eta=eta,
        schedule=times,
        generator=make_generator(7),
    )
    torch.testing.assert_close(result.x, ddim(start_state(), steps, eta, make_generator(7)), rtol=0, atol=1e-10)


def test_sde1_on_a_table_is_ddpm() -> None:
    times = torch.arange(100, -1, -1, dtype=F64) / 100
    expected = ddpm(start_state(), make_generator(8))
    for options in ({"method": "sde1"}, {"method": "ode1", "eta": 1.0}, PC_ANCESTRAL):
        result = sample(
            bent,
            DiscreteVPSDE(TABLE),
            x_start=start_state(),
            schedule=times,
            generator=make_generator(8),
            **options,  # type: ignore[arg-type]
        )
        torch.testing.assert_close(result.x, expected, rtol=0, atol=1e-10)


PC_ANCESTRAL = {"method": "pc", "predictor": "ancestral", "corrector": "none"}


@pytest.mark.parametrize("stochastic", [False, True], ids=["ode", "sde"])
def test_first_order_steps_on_the_bridge_are_the_published_ones(stochastic: bool) -> None:
    """Jukić et al. 2024, eq. 13–16, without the small constants that their code adds to denominators."""
    k, c, steps = 2.6, 0.4, 12
    y, generator = start_state(), make_generator(9)

    def forward(t: float) -> float:
        return c * (k ** (2 * t) - 1) / (2 * math.log(k))

    total, x = forward(1.0), y
    times = torch.linspace(1.0, 1e-4, steps + 1, dtype=F64).tolist()
    for s, t in pairwise(times):
        x0 = bent(x, torch.full((len(x),), s, dtype=F64))
        vs, vt = forward(s), forward(t)
        if stochastic:
            x = vt / vs * x + (1 - vt / vs) * x0
            x = x + math.sqrt(vt * (1 - vt / vs)) * torch.randn(x.shape, generator=generator, dtype=F64)
        elif s == 1.0:
            # The weights of x and y have limits only together, at x = y.
            x = (total - vt) / total * x0 + vt / total * y
        else:
            bs, bt = total - vs, total - vt
            x_weight = math.sqrt(vt * bt / (vs * bs))
            x0_weight = (bt - math.sqrt(bs * vt * bt / vs)) / total
            y_weight = (vt - math.sqrt(vs * vt * bt / bs)) / total
            x = x_weight * x + x0_weight * x0 + y_weight * y
    result = sample(
        bent,
        SBVESDE(k, c),
        y=y,
        method="sde1" if stochastic else Exponential(1, boot=False),
        steps=steps,
        schedule="uniform",
        generator=make_generator(9),
    )
    torch.testing.assert_close(result.x, x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", ["ode2", "sde2"])
@all_sdes(skip=BRIDGES)
def test_second_order_is_the_multistep_formula(name: str, sde: SDE, method: Method) -> None:
    """DESIGN.md: the first-order step plus a multiple of Δ = (D − D_prev)·h/h_prev."""
    y = start_state((2, 3)) if name in ANCHORED else None
    x, anchor = start_state((2, 3)), 0 if y is None else y
    times = time_grid(sde, 7, t_start=0.9, t_end=0.1)
    result = sample(bent, sde, y=y, method=method, x_start=x, schedule=times, generator=make_generator(10))
    generator, previous = make_generator(10), None
    for s, t in pairwise(times.tolist()):
        a, sigma, ratio = float(sde.alpha(t)), float(sde.sigma(t)), float(sde.sigma(t) / sde.sigma(s))
        h = float(sde.log_snr(t) - sde.log_snr(s))
        d = bent(x, torch.full((len(x),), s, dtype=F64)) - anchor
        delta = torch.zeros_like(d) if previous is None else (d - previous[0]) * h / previous[1]
        if method == "ode2":
            r = ratio * (x - anchor) + a * (1 - math.exp(-h)) * d + a * ((math.exp(-h) - 1) / h + 1) * delta
        else:
            fresh = 1 - math.exp(-2 * h)
            r = ratio * math.exp(-h) * (x - anchor) + a * fresh * d + a * (1 - fresh / (2 * h)) * delta
            r = r + sigma * math.sqrt(fresh) * torch.randn(x.shape, generator=generator, dtype=F64)
        x, previous = anchor + r, (d, h)
    torch.testing.assert_close(result.x, x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("denoise", [False, True])
def test_predictor_corrector_on_ouve_is_that_of_sgmse(denoise: bool) -> None:
    """Richter et al. 2023: annealed Langevin, then reverse diffusion, at each time of a uniform grid."""
    theta, low, high, snr, steps = 1.5, 0.05, 0.5, 0.5, 9
    ratio = math.log(high / low)
    y, generator = start_state(), make_generator(11)
    x = y + math.sqrt(low**2 * (high**2 / low**2 - math.exp(-2 * theta)) * ratio / (theta + ratio)) * torch.randn(
        y.shape, generator=generator, dtype=F64
    )
    times = torch.linspace(1, 0.03, steps + 1, dtype=F64).tolist()
    for i, (t, after) in enumerate(pairwise(times)):
        decay = math.exp(-theta * t)
        std = math.sqrt(low**2 * (math.exp(2 * ratio * t) - decay**2) * ratio / (theta + ratio))

        def score(x: Tensor, t: float = t, decay: float = decay, std: float = std) -> Tensor:
            x0 = bent(x, torch.full((len(x),), t, dtype=F64))
            return -(x - (decay * x0 + (1 - decay) * y)) / std**2

        size = (snr * std) ** 2 * 2
        x = x + size * score(x) + math.sqrt(2 * size) * torch.randn(x.shape, generator=generator, dtype=F64)
        dt, g = t - after, low * (high / low) ** t * math.sqrt(2 * ratio)
        x = x - (theta * (y - x) - g**2 * score(x)) * dt
        if not (denoise and i == steps - 1):
            x = x + g * math.sqrt(dt) * torch.randn(x.shape, generator=generator, dtype=F64)
    result = sample(
        bent,
        OUVESDE(theta, low, high),
        y=y,
        method="pc",
        steps=steps,
        schedule="uniform",
        snr=snr,
        denoise=denoise,
        generator=make_generator(11),
    )
    torch.testing.assert_close(result.x, x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("exploding", [False, True], ids=["vp", "ve"])
def test_reverse_diffusion_is_that_of_song(exploding: bool) -> None:
    """Song et al. 2021, appendices E and G: the reverse diffusion and the Langevin corrector (Algorithms 2 to 5)."""
    sde: SDE = VESDE() if exploding else DiscreteVPSDE(TABLE)
    steps, snr = list(range(30, 20, -1)), 0.2
    times, x, generator = torch.tensor(steps, dtype=F64) / 100, start_state(), make_generator(12)
    for now, after in pairwise(steps):
        t = now / 100

        def score(x: Tensor, t: float = t, now: int = now) -> Tensor:
            bar = 1.0 if exploding else float(CUMULATIVE[now - 1])
            variance = (0.01 * 5000**t) ** 2 if exploding else 1 - bar
            return (math.sqrt(bar) * bent(x, torch.full((len(x),), t, dtype=F64)) - x) / variance

        noise, slope = torch.randn(x.shape, generator=generator, dtype=F64), score(x)
        size = 2 * (snr * noise.norm(dim=1) / slope.norm(dim=1))[:, None] ** 2
        x = x + size * slope + (2 * size).sqrt() * noise
        if exploding:
            gap = (0.01 * 5000**t) ** 2 - (0.01 * 5000 ** (after / 100)) ** 2
            x = x + gap * score(x) + math.sqrt(gap) * torch.randn(x.shape, generator=generator, dtype=F64)
        else:
            beta = TABLE[now - 1]
            x = (2 - math.sqrt(1 - beta)) * x + beta * score(x)
            x = x + math.sqrt(beta) * torch.randn(x.shape, generator=generator, dtype=F64)
    result = sample(
        bent,
        sde,
        x_start=start_state(),
        method="pc",
        corrector="langevin",
        snr=snr,
        schedule=times,
        generator=make_generator(12),
    )
    torch.testing.assert_close(result.x, x, rtol=0, atol=1e-8)
