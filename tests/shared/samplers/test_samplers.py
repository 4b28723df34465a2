"""Samplers: orders on Gaussian data, identities with the published update rules, counts, hooks, randomness."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shared.errors import ConfigError, SamplingError
from shared.guidance import DenoiserFunction, Guidance
from shared.predictions import Denoiser, NetworkOutput, PathPoint
from shared.random import make_generator, randn
from shared.samplers import Exponential, Method, Run, Schedule, StepInfo, sample, time_grid
from shared.sde import BBEDSDE, OUVESDE, SBVESDE, SDE, VESDE, VPSDE, DiscreteVPSDE, FlowSDE, linear_betas
from tests.conftest import ANCHORED, BRIDGES, DISTINCT, SDES, all_sdes
from tests.shared.gaussian import GaussianData

F64 = torch.float64
METHODS = tuple(name for name in get_args(Method) if name != "map")  # which takes a map: tests/shared/flow_maps
DETERMINISTIC = ("ode1", "ode2", "ode3", "euler", "heun", "rk45")

VARIANTS: dict[str, dict[str, Any]] = {
    **{method: {"method": method} for method in METHODS if method != "pc"},
    "ode2, eta 0.5": {"method": "ode2", "eta": 0.5},
    **{
        f"pc, {predictor}, {corrector}": {"method": "pc", "predictor": predictor, "corrector": corrector}
        for predictor in ("reverse_diffusion", "euler_maruyama", "ancestral", "none")
        for corrector in ("ald", "langevin", "none")
        if (predictor, corrector) != ("none", "none")
    },
}
"""Options of every method, and every pair of predictor and corrector."""

MOVING = {
    label: options
    for label, options in VARIANTS.items()
    if options.get("predictor") != "none" and options["method"] != "evodiff"
}
"""Those that follow the process by themselves; correctors alone only hold a marginal. EVODiff is only nearly consistent
(`test_evodiff.py`)."""


def gaussian(name: str, scale: float = 0.8) -> GaussianData:
    """N(0.7, scale²) data for a process of `SDES`, around an anchor of 0.5 where it has one."""
    return GaussianData(SDES[name], 0.7, scale, torch.full((1, 1), 0.5, dtype=F64) if name in ANCHORED else None)


def spread_out(data: GaussianData, t: float, shape: tuple[int, ...]) -> Tensor:
    """States of which the samplers' error is not accidentally small: one and a half deviations either side."""
    mean, variance = data.marginal(t)
    points = torch.linspace(-1.5, 1.5, math.prod(shape), dtype=F64).reshape(shape)
    return mean + variance.sqrt() * points


def bent(x: Tensor, t: Tensor) -> Tensor:
    """A data prediction that is linear in nothing, for identities."""
    return torch.tanh(1.3 * x) + 0.3 * torch.cos(5 * t).reshape(-1, *[1] * (x.ndim - 1)) * x**2


# Convergence. ----------------------------------------------------------------------------------------------------


def order_of(name: str, method: Method) -> float:
    """Slope of log error over log steps, between the two finest grids."""
    sde, data = SDES[name], gaussian(name)
    if method == "heun":
        # 0.8 of the time range in multiples of 80 steps: the knots of the 100-step tables are points of the grid.
        start, end, grids = 0.9, 0.1, (80, 160)
    else:
        start = min(0.95 * sde.T, float(sde.time_of_log_snr(-1.0)))
        end, grids = (
            float(sde.time_of_log_snr(2.5)),
            {"ode1": (50, 100), "ode2": (30, 60), "ode3": (120, 240)}[method],
        )
    x = spread_out(data, start, (1, 4))
    exact = data.flow(x, start, end)
    errors = []
    for steps in grids:
        result = sample(
            data.denoiser,
            sde,
            y=None if data.y is None else data.y.expand_as(x),
            method=method,
            steps=steps,
            schedule="uniform" if method == "heun" else "log_snr",
            x_start=x,
            t_start=start,
            t_end=end,
        )
        errors.append(float((result.x - exact).abs().max()))
    return math.log2(errors[0] / errors[1])


def orders() -> Iterator[object]:
    for name in SDES:
        for method, order in (("ode1", 1), ("ode2", 2), ("ode3", 3), ("heun", 2)):
            few = name in DISTINCT or method == "ode2"
            yield pytest.param(name, method, order, id=f"{name}-{method}", marks=() if few else pytest.mark.slow)


@pytest.mark.parametrize(("name", "method", "order"), [*orders()])
def test_convergence_order(name: str, method: Method, order: int) -> None:
    assert order_of(name, method) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("method", ["sde1", "sde2"])
@all_sdes(others_slow=True)
def test_weak_error_falls_to_the_monte_carlo_error(name: str, sde: SDE, method: Method) -> None:
    data, count, end = gaussian(name), 40_000, 0.05
    x, y = prior(data, count)
    mean, variance = data.reverse_transition(x, sde.T, end)
    expected_mean, expected_variance = float(mean.mean()), float(variance) + float(mean.var())
    errors = []
    for steps in (3, 100):
        result = sample(
            data.denoiser,
            sde,
            y=y,
            method=method,
            steps=steps,
            x_start=x,
            t_end=end,
            generator=make_generator("weak", name, steps),
        )
        errors.append((abs(float(result.x.mean()) - expected_mean), abs(float(result.x.var()) - expected_variance)))
    noise = math.sqrt(expected_variance / count), expected_variance * math.sqrt(2 / count)
    for coarse, fine, unit in zip(*errors, noise, strict=True):
        # sde1 is of first order, so at 100 steps it may still be off by what a first-order method is.
        assert fine < 4 * unit + (0.25 * coarse if method == "sde1" else 0.05 * coarse)
        assert fine < max(coarse, 4 * unit)


def prior(data: GaussianData, count: int) -> tuple[Tensor, Tensor | None]:
    """`count` draws from the process' own prior, (1, count), and the anchor."""
    y = None if data.y is None else data.y.expand(1, count)
    generator = make_generator("prior")
    return data.sde.prior_sample((1, count) if y is None else y, generator, dtype=F64), y


PAIRS = (("reverse_diffusion", "ald"), ("ancestral", "langevin"), ("euler_maruyama", "none"))
"""Of predictors and correctors, each once; what the others of a process would tell is slow, but for VP."""


def reaching() -> Iterator[object]:
    for name, sde in SDES.items():
        for label, options in MOVING.items():
            pair = (options.get("predictor"), options.get("corrector"))
            if name in ("vp", "ouve", "sbve"):
                few = name == "vp" or pair == (None, None) or pair in PAIRS
            elif name in DISTINCT:  # deterministic methods follow the exact flow above
                few = options["method"] not in DETERMINISTIC or "eta" in options or pair in PAIRS
            else:
                few = options["method"] == "sde2" or pair == PAIRS[0]
            yield pytest.param(name, sde, options, id=f"{name}-{label}", marks=() if few else pytest.mark.slow)


@pytest.mark.parametrize(("name", "sde", "options"), [*reaching()])
def test_gaussian_data_are_reached_from_the_prior(name: str, sde: SDE, options: dict[str, Any]) -> None:
    """Mean and standard deviation end where the exact reverse process takes the prior (which, for OUVE and OUVP, is
    not quite the forward process' own end; correctors forget that)."""
    data, count = gaussian(name), 5_000
    x, y = prior(data, count)
    steps = {"euler": 250, "ode1": 150, "sde1": 150, "pc": 150}.get(options["method"], 40)
    times = time_grid(sde, steps)
    options = {**({"snr": 0.1} if options["method"] == "pc" else {}), **options}
    result = sample(
        data.denoiser,
        sde,
        y=y,
        x_start=x,
        schedule=times,
        generator=make_generator("reach", name),
        **options,
    )
    end = float(times[-1])
    booted = name in BRIDGES and options["method"] != "pc"
    if options["method"] in DETERMINISTIC and not booted:
        exact = data.flow(x, sde.T, end)
        mean, std = float(exact.mean()), float(exact.std())
    elif options["method"] == "pc" and options["corrector"] != "none":
        mean, std = float(data.marginal(end)[0]), float(data.marginal(end)[1].sqrt())
    else:  # the step out of a bridge's end adds noise whatever the method, and what follows keeps the marginals
        start, variance = data.reverse_transition(x, sde.T, end)
        mean, std = float(start.mean()), float((variance + start.var()).sqrt())
    assert float(result.x.mean()) == pytest.approx(mean, abs=0.04)
    assert float(result.x.std()) == pytest.approx(std, abs=0.08 if options["method"] == "euler" else 0.04)


@pytest.mark.parametrize("corrector", ["ald", "langevin"])
@all_sdes(others_slow=True)
def test_correctors_alone_settle_on_the_marginal(name: str, sde: SDE, corrector: str) -> None:
    data, t = gaussian(name), 0.5
    mean, variance = data.marginal(t)
    x = mean + variance.sqrt() * (0.5 + 1.4 * randn((1, 5_000), make_generator("settle"), dtype=F64))
    # ALD's step is in units of σ, not of the state's deviation, so where σ is small it takes more of them.
    snr = 0.15 if corrector == "langevin" else 0.15 * float(variance.sqrt() / sde.sigma(t))
    result = sample(
        data.denoiser,
        sde,
        y=None if data.y is None else data.y.expand_as(x),
        x_start=x,
        method="pc",
        predictor="none",
        corrector=corrector,  # type: ignore[arg-type]
        snr=snr,
        schedule=torch.linspace(t, t - 1e-6, 150, dtype=F64),
        generator=make_generator("settle", name),
    )
    std = float(variance.sqrt())
    assert float(result.x.mean()) == pytest.approx(float(mean), abs=0.05 * std)
    assert float(result.x.std()) == pytest.approx(std, rel=0.05)


@all_sdes(others_slow=True)
def test_adaptive_solver_meets_its_tolerance(name: str, sde: SDE) -> None:
    data = gaussian(name)
    start, end = 0.95 * sde.T, 0.05
    x = spread_out(data, start, (2, 3))
    y = None if data.y is None else data.y.expand_as(x)
    errors = []
    for tolerance in (1e-4, 1e-8):
        result = sample(
            data.denoiser, sde, y=y, method="rk45", x_start=x, t_start=start, t_end=end, rtol=tolerance, atol=tolerance
        )
        errors.append(float((result.x - data.flow(x, start, end)).abs().max()))
    assert errors[0] < 5e-3
    assert errors[1] < 1e-6


def test_full_covariance() -> None:
    covariance = torch.tensor([[1.0, 0.6, 0.0], [0.6, 0.8, -0.2], [0.0, -0.2, 0.3]], dtype=F64)
    sde = VPSDE()
    data = GaussianData(sde, torch.tensor([0.5, -1.0, 2.0], dtype=F64), covariance)
    result = sample(data.denoiser, sde, (10_000, 3), method="ode3", steps=20, generator=make_generator(0), dtype=F64)
    mean, expected = data.marginal(sde.t_end)
    torch.testing.assert_close(result.x.mean(0), mean.reshape(-1), rtol=0, atol=0.05)
    torch.testing.assert_close(torch.cov(result.x.T), expected, rtol=0, atol=0.05)


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


# Calls of the network. -------------------------------------------------------------------------------------------


class Counter:
    """A denoiser that counts its calls and keeps the times."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.times.append(float(t[0]))
        return 0.5 * x

    @property
    def calls(self) -> int:
        return len(self.times)


EXPECTED_CALLS = {
    "evodiff": 6,
    "ode1": 6,
    "ode2": 6,
    "ode3": 7,
    "sde1": 6,
    "sde2": 6,
    "sde3": 7,
    "euler": 6,
    "heun": 12,
    "pc": 12,
}


@pytest.mark.parametrize("method", METHODS)
@all_sdes(others_slow=True)
def test_nfe_is_the_true_count(name: str, sde: SDE, method: Method) -> None:
    y = torch.zeros(2, 3) if name in ANCHORED else None
    counter = Counter()
    result = sample(counter, sde, (2, 3), y=y, method=method, steps=6, t_start=0.9, x_start=torch.ones(2, 3))
    assert result.nfe == counter.calls
    # A table ends at clean data: Heun's last step then needs no second call.
    if method != "rk45":
        assert counter.calls == EXPECTED_CALLS[method] - (method == "heun" and sde.t_end == 0)
    else:
        assert counter.calls > 6
    assert max(counter.times) <= 0.9 + 1e-6
    assert min(counter.times) >= max(sde.t_end - 1e-6, 0)


def test_nfe_with_corrections_and_a_last_prediction() -> None:
    for corrections in (0, 1, 3):
        result = sample(Counter(), VPSDE(), (1, 2), method="pc", steps=5, corrector_steps=corrections)
        assert result.nfe == 5 * (1 + corrections)
    assert sample(Counter(), VPSDE(), (1, 2), method="pc", steps=5, corrector="none").nfe == 5
    assert sample(Counter(), VPSDE(), (1, 2), steps=5, denoise=True).nfe == 6
    assert sample(Counter(), DiscreteVPSDE(TABLE), (1, 2), steps=5, denoise=True).nfe == 5


@pytest.mark.parametrize(
    "options", [pytest.param(options, id=label) for label, options in VARIANTS.items() if label != "evodiff"]
)
def test_guidance_hooks_are_called_and_counted(options: dict[str, Any]) -> None:
    class Doubling(Guidance):
        """Two calls a prediction, one more after a step."""

        predictions = steps = 0

        def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
            self.predictions += 1
            return 0.5 * (denoiser(x, t) + denoiser(x, t))

        def after_step(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, t_next: Tensor, sde: SDE) -> Tensor:
            self.steps += 1
            assert t.shape == t_next.shape == (2,)
            assert bool((t_next < t).all())
            denoiser(x, t_next)
            return x

    guidance, counter = Doubling(), Counter()
    result = sample(counter, VPSDE(), (2, 3), steps=4, guidance=guidance, generator=make_generator(0), **options)
    plain = sample(Counter(), VPSDE(), (2, 3), steps=4, generator=make_generator(0), **options)
    assert guidance.steps == (1 if options["method"] == "rk45" else 4)
    assert guidance.predictions == plain.nfe
    assert result.nfe == counter.calls == 2 * guidance.predictions + guidance.steps
    torch.testing.assert_close(result.x, plain.x)


def test_guidance_steers() -> None:
    class Pull(Guidance):
        def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
            return torch.full_like(x, 3.0)

    class Pin(Guidance):
        def after_step(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, t_next: Tensor, sde: SDE) -> Tensor:
            return torch.full_like(x, -2.0)

    pulled = sample(Counter(), VPSDE(), (2, 3), guidance=Pull())
    torch.testing.assert_close(pulled.x, torch.full((2, 3), 3.0), rtol=0, atol=0.2)
    assert pulled.nfe == 0
    assert torch.equal(sample(Counter(), VPSDE(), (2, 3), guidance=Pin()).x, torch.full((2, 3), -2.0))


def test_gradients_are_not_recorded_unless_guidance_asks() -> None:
    class Gradient(Guidance):
        def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                x0 = denoiser(x, t)
                (slope,) = torch.autograd.grad(x0.square().sum(), x)
            return x0.detach() - 0.1 * slope

    weight = torch.tensor(0.5, requires_grad=True)
    for guidance in (None, Gradient()):
        assert not sample(lambda x, t: weight * x, VPSDE(), (1, 2), guidance=guidance).x.requires_grad


# Trajectories, callbacks. ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_trajectory(options: dict[str, Any]) -> None:
    x = torch.randn(2, 3, dtype=F64)
    result = sample(bent, VPSDE(), x_start=x, steps=4, return_trajectory=True, **options)
    points = 2 if options["method"] == "rk45" else 5
    assert result.trajectory is not None
    assert result.times is not None
    assert result.trajectory.shape == (points, 2, 3)
    assert torch.equal(result.trajectory[0], x)
    assert torch.equal(result.trajectory[-1], result.x)
    grid = time_grid(VPSDE(), 4)
    torch.testing.assert_close(result.times, grid if points == 5 else grid[[0, -1]])
    assert result.t == float(grid[-1])
    assert not result.stopped
    assert sample(bent, VPSDE(), x_start=x, steps=4, **options).trajectory is None


def test_callback_sees_every_step_and_may_stop() -> None:
    seen: list[StepInfo] = []

    def watch(info: StepInfo) -> bool:
        seen.append(info)
        return info.index == 3

    result = sample(Counter(), VPSDE(), (2, 3), steps=8, method="ode2", callback=watch, return_trajectory=True)
    assert result.stopped
    assert [info.index for info in seen] == [1, 2, 3]
    assert {info.steps for info in seen} == {8}
    assert [info.nfe for info in seen] == [1, 2, 3]
    assert result.nfe == 3
    assert result.t == seen[-1].t == pytest.approx(float(time_grid(VPSDE(), 8)[3]))
    assert torch.equal(result.x, seen[-1].x)
    assert result.trajectory is not None
    assert len(result.trajectory) == 4
    assert all(info.x0 is not None for info in seen)
    assert not sample(Counter(), VPSDE(), (2, 3), callback=lambda info: None).stopped


# Randomness. -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, options, id=f"{name}-{label}", marks=() if name == "vp" or plain else pytest.mark.slow)
        for name in ("vp", "ouve", "sbve")
        for label, options in VARIANTS.items()
        for plain in [options["method"] not in ("pc", "rk45")]
    ],
)
def test_an_item_does_not_depend_on_its_batch(name: str, options: dict[str, Any]) -> None:
    sde, data = SDES[name], gaussian(name)
    anchors = torch.linspace(-1, 1, 10, dtype=F64).reshape(5, 2)

    def run(items: list[int]) -> Tensor:
        y = anchors[items] if name in ANCHORED else None
        denoiser = GaussianData(sde, data.mean, data.scale, y).denoiser
        generators = [make_generator("item", i) for i in items]
        # The adaptive solver shares its step size within a batch, so it agrees to its tolerance only.
        tolerances = {"rtol": 1e-6, "atol": 1e-6} if options["method"] == "rk45" else {}
        shape = (len(items), 2)
        return sample(denoiser, sde, shape, y=y, steps=5, generator=generators, dtype=F64, **tolerances, **options).x

    whole = run([0, 1, 2, 3, 4])
    margin = 1e-5 if options["method"] == "rk45" else 1e-12
    for chunks in ([[0, 1], [2, 3, 4]], [[0], [1], [2], [3], [4]], [[4, 2], [0, 3, 1]]):
        pieces = torch.cat([run(chunk) for chunk in chunks])
        order = [i for chunk in chunks for i in chunk]
        torch.testing.assert_close(pieces, whole[order], rtol=0, atol=margin)
    assert torch.equal(run([0, 1, 2, 3, 4]), whole)


def test_one_generator_for_the_batch_repeats_too() -> None:
    first, second, other = (
        sample(bent, VPSDE(), (3, 2), method="sde2", generator=make_generator(seed)).x for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_wrong_number_of_generators() -> None:
    with pytest.raises(ConfigError, match="2 generators for a batch of 3"):
        sample(bent, VPSDE(), (3, 2), generator=[make_generator(0), make_generator(1)])


# Complex data, dtypes, starts. -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["ode1", "ode2", "ode3", "euler", "heun", pytest.param("rk45", marks=pytest.mark.slow)]
)
@all_sdes(others_slow=True)
def test_complex_data_is_two_real_parts(name: str, sde: SDE, method: Method) -> None:
    data = gaussian(name)
    x = torch.complex(spread_out(data, 0.9, (1, 3)), -spread_out(data, 0.9, (1, 3)))
    anchored = data.y is not None
    y = torch.full_like(x, 0.5 + 0.5j) if anchored else None

    def run(state: Tensor, anchor: Tensor | None) -> Tensor:
        denoiser = GaussianData(sde, 0.0, 0.8, anchor).denoiser
        options: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6} if method == "rk45" else {}
        return sample(denoiser, sde, y=anchor, method=method, steps=12, x_start=state, t_start=0.9, **options).x

    whole = run(x, y)
    parts = (
        run(x.real.clone(), None if y is None else y.real.clone()),
        run(x.imag.clone(), None if y is None else y.imag),
    )
    torch.testing.assert_close(whole, torch.complex(*parts), rtol=0, atol=1e-4 if method == "rk45" else 1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {**({"snr": 0.1} if v["method"] == "pc" else {}), **v}
        for v in MOVING.values()
        if v["method"] not in DETERMINISTIC or v.get("eta")
    ],
    ids=str,
)
def test_complex_noise_has_unit_power(options: dict[str, Any]) -> None:
    """Stochastic methods on complex data of E|x_0|² = 0.8² end with that power, evenly in both parts."""
    data = GaussianData(VPSDE(), 0.0, 0.8)
    result = sample(
        data.denoiser, VPSDE(), (1, 5_000), steps=200, generator=make_generator(3), dtype=torch.complex64, **options
    )
    assert float(result.x.abs().square().mean().sqrt()) == pytest.approx(0.8, abs=0.04)
    assert float(result.x.real.std()) == pytest.approx(float(result.x.imag.std()), rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_dtype_is_kept(options: dict[str, Any], dtype: torch.dtype) -> None:
    for sde in (VPSDE(), SBVESDE(), DiscreteVPSDE(TABLE)):
        y = torch.ones(2, 3, dtype=dtype)
        times: list[torch.dtype] = []

        def halve(x: Tensor, t: Tensor, seen: list[torch.dtype] = times) -> Tensor:
            seen.append(t.dtype)
            return 0.5 * x

        result = sample(halve, sde, y=y, steps=3, return_trajectory=True, **options)
        assert set(times) == {torch.empty(0, dtype=dtype).real.dtype}
        assert result.x.dtype == dtype
        assert bool(torch.view_as_real(result.x).isfinite().all() if dtype.is_complex else result.x.isfinite().all())


def test_shapes() -> None:
    for shape in ((2,), (2, 3), (2, 1, 4, 5), (0,), (0, 3)):
        for method in METHODS:
            assert sample(lambda x, t: 0.5 * x, VPSDE(), shape, method=method, steps=4).x.shape == shape


@pytest.mark.parametrize("sde", [VPSDE(), OUVESDE(), SBVESDE()], ids=["vp", "ouve", "sbve"])
def test_the_adaptive_solver_takes_complex_states_that_do_not_move(sde: SDE) -> None:
    """As in digital silence, where the prediction is the anchor itself."""
    y = torch.zeros(2, 3, dtype=torch.complex128)
    result = sample(lambda x, t: 0 * x, sde, y=y, method="rk45", generator=make_generator("still"))
    assert float(result.x.abs().max()) < 5 * float(sde.sigma(sde.t_end))


def test_the_start_is_not_changed_in_place() -> None:
    start, y = torch.ones(2, 3), torch.zeros(2, 3)
    for options in VARIANTS.values():
        sample(lambda x, t: 0.5 * x, OUVESDE(), y=y, x_start=start, steps=2, **options)
    assert torch.equal(start, torch.ones(2, 3))
    assert torch.equal(y, torch.zeros(2, 3))


def test_denoise_ends_with_a_data_prediction() -> None:
    result = sample(lambda x, t: torch.full_like(x, 4.0), BBEDSDE(), y=torch.zeros(2, 3), steps=3, denoise=True)
    assert torch.equal(result.x, torch.full((2, 3), 4.0))


# Schedules. ------------------------------------------------------------------------------------------------------

SCHEDULES = get_args(Schedule)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(SDES)),
    schedule=st.sampled_from(SCHEDULES),
    steps=st.integers(1, 60),
    t_start=st.none() | st.floats(0.6, 1.0),
    t_end=st.none() | st.sampled_from([0.0, 1e-4, 0.03, 0.2, 0.55]),
    rho=st.floats(1.0, 12.0),
)
def test_grids_fall_between_their_ends(
    name: str, schedule: Schedule, steps: int, t_start: float | None, t_end: float | None, rho: float
) -> None:
    sde = SDES[name]
    times = time_grid(sde, steps, schedule, t_start, t_end, rho)
    assert times.dtype == F64
    assert times.shape == (steps + 1,)
    assert float(times[0]) == pytest.approx(sde.T if t_start is None else t_start, abs=1e-15)
    assert float(times[-1]) == pytest.approx(sde.t_end if t_end is None else t_end, abs=1e-15)
    assert bool((times.diff() < 0).all())


def test_grids_are_uniform_in_what_they_say() -> None:
    sde, ends = VPSDE(), {"t_start": 0.9, "t_end": 0.1}
    functions: dict[Schedule, Callable[[Tensor], Tensor]] = {
        "uniform": lambda t: t,
        "quadratic": lambda t: t.sqrt(),
        "log_snr": sde.log_snr,
        "edm": lambda t: (-sde.log_snr(t) / 7).exp(),
    }
    for schedule, function in functions.items():
        gaps = function(time_grid(sde, 9, schedule, **ends)).diff()
        torch.testing.assert_close(gaps, gaps.mean().expand_as(gaps), rtol=1e-9, atol=0)


def test_own_times_are_used_as_they_are() -> None:
    times = torch.tensor([1.0, 0.7, 0.2, 0.01])
    counter = Counter()
    result = sample(counter, VPSDE(), (1, 2), schedule=times, method="ode1")
    assert counter.times == pytest.approx([1.0, 0.7, 0.2])
    assert result.t == pytest.approx(0.01)


# The ends of paths. ----------------------------------------------------------------------------------------------

MODES = torch.tensor([-1.0, 1.2], dtype=F64)
SHARES = torch.tensor([0.3, 0.7], dtype=F64)


@pytest.mark.parametrize("method", ["ode1", "ode2", "ode3", "euler", "heun", "rk45", "sde1", "sde2"])
def test_out_of_a_bridge_both_modes_are_drawn(method: str) -> None:
    """x_0 − y in two points, .3 and .7 (METHODS.md, 16): without noise in the first step there is one sample."""
    sde, y, count = SBVESDE(), 0.4, 4_000

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        a, s = sde.alpha(t)[:, None], sde.sigma(t)[:, None].clamp_min(1e-9)
        far = ((x - y)[..., None] - a[..., None] * MODES) / s[..., None]
        shares = (SHARES.log() - 0.5 * far.square()).softmax(-1)
        return y + (shares * MODES).sum(-1)

    anchor = torch.full((1, count), y, dtype=F64)
    result = sample(denoiser, sde, y=anchor, method=method, steps=60, generator=make_generator("modes", method))
    high = (result.x > y + 0.1).double().mean()
    assert float(high) == pytest.approx(0.7, abs=0.06)
    assert float(result.x.std()) == pytest.approx(2.2 * math.sqrt(0.21), abs=0.08)
    published = Exponential(1, boot=False)
    assert float(sample(denoiser, sde, y=anchor, method=published, steps=60).x.std()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("output", ["velocity", "data", "edm"])
def test_networks_of_a_flow_are_asked_where_alpha_is_zero(output: NetworkOutput) -> None:
    data = GaussianData(FlowSDE(), 0.0, 0.8, None)

    class Network(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            if output != "edm":
                return PathPoint.at(data.sde, t).from_data(output, data.denoiser(x, t), x)
            return torch.zeros_like(x)  # what EDM's network gives for centred Gaussian data of deviation sigma_data

    denoiser = Denoiser(Network(), data.sde, output, sigma_data=0.8)
    x = randn((3, 2_000), make_generator("flow"), dtype=F64)
    torch.testing.assert_close(denoiser(x, torch.ones(3, dtype=F64)), torch.zeros_like(x), rtol=0, atol=1e-12)
    result = sample(denoiser, data.sde, x_start=x, method="ode2", steps=60)
    torch.testing.assert_close(result.x, data.flow(x, 1.0, 0.0), rtol=0, atol=2e-2)


def test_noise_and_score_say_nothing_where_alpha_is_zero() -> None:
    point = PathPoint.at(FlowSDE(), torch.ones(1))
    for kind in ("noise", "score"):
        with pytest.raises(ConfigError, match=f"a prediction of {kind} says nothing"):
            point.to_data(kind, torch.zeros(1, 2), torch.zeros(1, 2))  # type: ignore[arg-type]


# Times of each item, and methods of a user's own. ----------------------------------------------------------------


def item_generators(count: int) -> list[torch.Generator]:
    return [make_generator("item", i) for i in range(count)]


@pytest.mark.parametrize("method", ["ode1", "ode2", "sde1", "sde2", Exponential(2, eta=0.3)], ids=str)
@all_sdes(others_slow=True)
def test_each_item_may_have_times_of_its_own(name: str, sde: SDE, method: str | Exponential) -> None:
    y = start_state((3, 4)) if name in ANCHORED else None
    grids = [time_grid(sde, 5), time_grid(sde, 5, "uniform"), time_grid(sde, 5, t_start=0.6)]
    x = start_state((3, 4))
    common = {"method": method, "return_trajectory": True}
    together = sample(bent, sde, y=y, x_start=x, schedule=torch.stack(grids, 1), generator=item_generators(3), **common)
    for item, grid in enumerate(grids):
        anchor = None if y is None else y[item : item + 1]
        alone = sample(
            bent,
            sde,
            y=anchor,
            x_start=x[item : item + 1],
            schedule=grid,
            generator=item_generators(3)[item : item + 1],
            **common,
        )
        assert together.trajectory is not None
        assert alone.trajectory is not None
        torch.testing.assert_close(together.trajectory[:, item], alone.trajectory[:, 0], rtol=0, atol=1e-10)
    assert together.nfe == 5


@pytest.mark.parametrize("method", ["pc", "euler", "rk45"])
def test_other_methods_take_times_for_all(method: str) -> None:
    times = torch.stack([time_grid(VPSDE(), 4), time_grid(VPSDE(), 4, "uniform")], 1)
    with pytest.raises(ConfigError, match="only the exponential integrators"):
        sample(bent, VPSDE(), (2, 3), method=method, schedule=times)


def test_a_method_may_be_the_users_own() -> None:
    def halves(run: Run) -> None:
        """DDIM, written by hand."""
        for (now,), (after,) in pairwise(run.nodes):
            d = run.data_residual(run.x, (now,))
            r = after.sigma / now.sigma * (run.residual(run.x) - now.alpha * d) + after.alpha * d
            run.finish_step(run.anchored(r), (now,), (after,))

    x = start_state((2, 3))
    mine = sample(bent, OUVESDE(), y=x, x_start=x, method=halves, steps=4)
    torch.testing.assert_close(mine.x, sample(bent, OUVESDE(), y=x, x_start=x, method="ode1", steps=4).x)
    assert mine.nfe == 4
    with pytest.raises(ConfigError, match=r"takes no eta=0\.5; it takes no settings"):
        sample(bent, OUVESDE(), y=x, method=halves, eta=0.5)


# Refusals. -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [{"steps": 40}, {"schedule": torch.linspace(0.3, 0, 41, dtype=torch.float64)}])
def test_a_late_start_without_a_state_has_the_noise_of_its_time(late: dict[str, Any]) -> None:
    def first(sde: SDE, **options: Any) -> Tensor:
        settings = {"t_start": 0.3, "generator": make_generator(0), "return_trajectory": True, **late, **options}
        return sample(bent, sde, **settings).trajectory[0]  # type: ignore[index]

    sde = VESDE()  # whose prior has 340 times the noise
    assert float(first(sde, shape=(400, 20)).std()) == pytest.approx(float(sde.sigma(0.3)), rel=0.05)
    y = torch.full((400, 20), 7.0)
    bridge = first(SBVESDE(), y=y) - y  # whose prior has none
    assert float(bridge.std()) == pytest.approx(float(SBVESDE().sigma(0.3)), rel=0.05)
    with pytest.raises(ConfigError, match="starts from the anchor"):
        first(SBVESDE(), shape=(2, 3))


BAD: dict[str, dict[str, Any]] = {
    "method": {"method": "ddim"},
    "schedule": {"schedule": "cosine"},
    "predictor": {"method": "pc", "predictor": "euler"},
    "corrector": {"method": "pc", "corrector": "mala"},
    "steps": {"steps": 0},
    "eta": {"eta": math.inf},
    "negative eta": {"eta": -0.1},
    "corrector_steps": {"method": "pc", "corrector_steps": -1},
    "snr": {"method": "pc", "snr": 0.0},
    "t_end after t_start": {"t_end": 0.5, "t_start": 0.4},
    "t_start": {"t_start": 1.2},
    "t_end": {"t_end": -0.1},
    "rising times": {"schedule": torch.tensor([0.1, 0.5])},
    "one time": {"schedule": torch.tensor([0.5])},
    "times outside": {"schedule": torch.tensor([1.5, 0.5])},
    "another start than the times": {"schedule": torch.tensor([0.9, 0.5]), "t_start": 0.8},
    "another end than the times": {"schedule": torch.tensor([0.9, 0.5]), "t_end": 0.1},
    "times of other items": {"schedule": torch.linspace(1, 0, 5)[:, None].expand(5, 3)},
    "device": {"device": "cud"},
    "shape against y": {"y": torch.zeros(3, 3)},
    "shape against x_start": {"x_start": torch.zeros(2, 2)},
    "no shape": {"shape": None},
    "y of other items than x_start": {"y": torch.zeros(3, 3), "x_start": torch.zeros(2, 3)},
    "y of whole numbers": {"y": torch.zeros(2, 3, dtype=torch.long)},
    "a seed for a generator": {"generator": 3},
}


@pytest.mark.parametrize("options", BAD.values(), ids=BAD.keys())
def test_bad_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        sample(bent, VPSDE(), **{"shape": (2, 3), **options})


def test_refusals_tell_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"'ddim'.*ode2"):
        sample(bent, VPSDE(), (2, 3), method="ddim")
    with pytest.raises(ConfigError, match=r"method 'euler' takes no snr=9; it takes order, denoise"):
        sample(bent, VPSDE(), (2, 3), method="euler", snr=9)
    with pytest.raises(ConfigError, match=r"Exponential' takes no snr=9; it takes order, eta"):
        sample(bent, VPSDE(), (2, 3), method=Exponential(2), snr=9)


def test_a_bridge_needs_its_anchor() -> None:
    with pytest.raises(ConfigError, match="anchor"):
        sample(bent, SBVESDE(), (2, 3))


def test_the_adaptive_solver_tells_of_predictions_that_are_not_finite() -> None:
    with pytest.raises(SamplingError, match="see that data and predictions are finite, raise rtol"):
        sample(lambda x, t: x * math.nan, VPSDE(), (2, 3), method="rk45")


def test_a_denoiser_of_the_wrong_shape_is_named() -> None:
    with pytest.raises(ConfigError, match=r"\(2, 1\).*\(2, 3\)"):
        sample(lambda x, t: x[:, :1], VPSDE(), (2, 3))
