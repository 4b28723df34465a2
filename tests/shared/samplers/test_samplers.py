"""Samplers: orders on Gaussian data, the laws that they reach, what they refuse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError, SamplingError
from shared.random import make_generator, randn
from shared.samplers import Exponential, Method, sample, time_grid
from shared.sde import SBVESDE, SDE, VESDE, VPSDE
from tests.processes import ANCHORED, BRIDGES, DISTINCT, SDES, all_sdes
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
