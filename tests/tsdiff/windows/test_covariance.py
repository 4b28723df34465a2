"""Guidance with the denoiser's covariance, on jointly Gaussian windows: the exact posterior, and each route to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import laplace_asymmetric
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import Guidance
from shared.random import make_generator
from shared.samplers import Method, sample
from tsdiff.model.config import paper_sde
from tsdiff.model.times import call_times
from tsdiff.sampling.guidance import ScalarGuidance, TraceGuidance, TweedieGuidance
from tsdiff.sampling.known_covariance import KernelGuidance, WindowGuidance
from tsdiff.windows.covariance import ObservedCovariance, WindowCovariance

LENGTH, CHANNELS, CONTEXT, ROWS, TRUST = 6, 2, 8, 6000, 0.02
N = LENGTH * CHANNELS
SDE = paper_sde()


def series_covariance() -> Tensor:
    """Two channels, each autoregressive, that move together: (N, N), windows flattened with channels last."""
    places = torch.arange(LENGTH, dtype=torch.float64)
    across = torch.tensor([[1.0, 0.6], [0.6, 1.5]], dtype=torch.float64)
    return torch.kron(0.8 ** (places[:, None] - places).abs(), across)


SIGMA = series_covariance()
SEEN = torch.arange(N) < CONTEXT
VALUES = torch.linspace(-1, 1.5, N, dtype=torch.float64) * SEEN


def known(covariance: Tensor = SIGMA) -> WindowCovariance:
    """The covariance in full rank."""
    values, vectors = torch.linalg.eigh(covariance)
    return WindowCovariance(vectors.flip(1), values.flip(0), 1e-8)


def exact_denoiser(x: Tensor, t: Tensor) -> Tensor:
    """E[x_0 | x_t]."""
    a, s = SDE.alpha(t[:1].double()), SDE.sigma(t[:1].double())
    gain = a * SIGMA @ torch.linalg.inv(a**2 * SIGMA + s**2 * torch.eye(N, dtype=torch.float64))
    return (x.flatten(1) @ gain.T).reshape(x.shape)


def window(values: Tensor, rows: int) -> Tensor:
    return values.reshape(1, LENGTH, CHANNELS).expand(rows, -1, -1)


def exact_posterior(x: Tensor, t: float) -> Tensor:
    """E[x_0 | x_t, y] from the joint Gaussian of all three, for x (rows, N)."""
    a, s = float(SDE.alpha(t)), float(SDE.sigma(t))
    eye = torch.eye(N, dtype=torch.float64)
    look = torch.cat([a * eye, eye[SEEN]])
    noise = torch.diag(torch.cat([torch.full((N,), s**2), torch.full((int(SEEN.sum()),), TRUST**2)]).double())
    gain = SIGMA @ look.T @ torch.linalg.inv(look @ SIGMA @ look.T + noise)
    return torch.cat([x, VALUES[SEEN].expand(len(x), -1)], dim=1) @ gain.T


def conditional() -> tuple[Tensor, Tensor]:
    """Mean and covariance of a window given its observed values."""
    inner = SIGMA[SEEN][:, SEEN] + TRUST**2 * torch.eye(int(SEEN.sum()), dtype=torch.float64)
    gain = SIGMA[:, SEEN] @ torch.linalg.inv(inner)
    return gain @ VALUES[SEEN], SIGMA - gain @ SIGMA[SEEN]


def guides(rows: int) -> dict[str, Guidance]:
    """Every way to guide with the squared error."""
    common = (window(VALUES, rows), window(SEEN.double(), rows))
    trust = {"observation_std": TRUST}
    guided: dict[str, Guidance] = {
        f"tweedie {k}": TweedieGuidance(*common, **trust, products=k) for k in (1, 2, 3, CONTEXT)
    }
    top = float(torch.linalg.eigvalsh(SIGMA)[-1])
    return guided | {
        "window": WindowGuidance(*common, **trust, covariance=known()),
        "trace": TraceGuidance(*common, **trust),
        "scalar": ScalarGuidance(*common, **trust, top_variance=top),
    }


def draw(guide: Guidance | None, method: Method, steps: int, rows: int = ROWS) -> Tensor:
    """Windows (rows, N)."""
    result = sample(
        exact_denoiser,
        SDE,
        (rows, LENGTH, CHANNELS),
        method=method,
        schedule=call_times(SDE, steps, 4.5),
        guidance=guide,
        generator=make_generator(0, "noise"),
        dtype=torch.float64,
    )
    return result.x.flatten(1)


# --- the covariance ----------------------------------------------------------------------------------------


def test_the_covariance_of_windows_is_the_sample_covariance():
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(300, 4, 2)) @ np.array([[1.0, 0.5], [0.0, 2.0]]) + 3.0
    found = WindowCovariance.of(windows)
    dense = found.directions @ torch.diag(found.variances) @ found.directions.T
    np.testing.assert_allclose(dense, np.cov(windows.reshape(300, -1).T, bias=True), atol=1e-12)
    assert found.n == 8


@pytest.mark.parametrize("count", [40, 6])
def test_what_is_not_kept_becomes_one_variance_with_the_same_total(count):
    windows = np.random.default_rng(0).normal(size=(count, 12, 1)) * np.linspace(1, 3, 12)[:, None]
    found = WindowCovariance.of(windows, rank=4)
    total = np.var(windows.reshape(count, -1), axis=0).sum()
    assert found.directions.shape == (12, 4)
    assert float(found.variances.sum()) + 8 * found.rest == pytest.approx(total, rel=1e-9)
    torch.testing.assert_close(found.directions.T @ found.directions, torch.eye(4, dtype=torch.float64))


def dense(of: WindowCovariance) -> Tensor:
    return (of.directions * (of.variances - of.rest)) @ of.directions.T + of.rest * torch.eye(of.n).double()


@pytest.mark.parametrize("rank", [4, N])
def test_windows_of_any_level_vary_together_in_each_channel_besides(rank):
    values, vectors = torch.linalg.eigh(SIGMA)
    of = WindowCovariance(vectors[:, -rank:], values[-rank:], 0.1 if rank < N else 1e-8)
    level = torch.eye(CHANNELS).double().repeat(LENGTH, 1)
    torch.testing.assert_close(dense(of.of_any_level(CHANNELS)), dense(of) + level @ level.T)
    copies = torch.ones(N, N).double()  # one channel and a lagged copy of it, which have one level
    torch.testing.assert_close(dense(of.of_any_level(1)), dense(of) + copies)


@pytest.mark.parametrize(
    ("gap", "known_level"), [(slice(14, 15), False), (slice(10, 16), False), (slice(24, 30), True)]
)
def test_a_gap_in_the_context_is_not_filled_by_what_its_scaling_takes_for_granted(gap, known_level):
    length, context, trust = 30, 24, 0.01
    places = torch.arange(length, dtype=torch.float64)
    series = 0.9 ** (places[:, None] - places).abs()

    def relative_to(seen: Tensor) -> Tensor:
        """What takes the mean of these steps of the context off a series."""
        mean = seen * (places < context)
        return torch.eye(length).double() - (mean / mean.sum()).expand(length, -1)

    seen = torch.ones(length).double()
    seen[gap] = 0
    trained, own = (step @ series @ step.T for step in map(relative_to, (torch.ones(length), seen)))
    values = relative_to(seen) @ (places.sin() + places / 10)
    some = seen > 0
    inner = own[some][:, some] + trust**2 * torch.eye(int(some.sum())).double()
    exact = own[:, some] @ torch.linalg.solve(inner, values[some])
    rows = values.reshape(1, length, 1), seen.reshape(1, length, 1)
    steps = {"free": (0, context), "fixed": (0, 0)}
    found = {
        name: WindowGuidance(*rows, observation_std=trust, covariance=known(trained), fixed_by=by).predict(
            lambda x, t: torch.zeros_like(x), torch.zeros(1, length, 1).double(), torch.full((1,), SDE.T), SDE
        )[0, ~some, 0]
        for name, by in steps.items()
    }
    torch.testing.assert_close(found["free"], exact[~some], atol=0.02, rtol=0)
    assert (float((found["fixed"] - exact[~some]).abs().max()) < 0.02) == known_level


def test_constant_windows_have_a_covariance_too():
    found = WindowCovariance.of(np.ones((10, 5, 1)))
    assert found.rest > 0
    assert bool((found.variances >= found.rest).all())


def test_one_window_tells_no_covariance():
    with pytest.raises(ConfigError, match="1 windows tell no covariance"):
        WindowCovariance.of(np.zeros((1, 4, 1)))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_update_is_that_of_the_dense_formula(data):
    rank, rows = data.draw(st.integers(1, N)), data.draw(st.integers(1, 4))
    masks = data.draw(st.lists(st.lists(st.booleans(), min_size=N, max_size=N), min_size=rows, max_size=rows))
    trust, log_snr = data.draw(st.floats(0.01, 1.0)), data.draw(st.floats(-4, 4))
    full = known()
    covariance = WindowCovariance(full.directions[:, :rank], full.variances[:rank], 0.05)
    observed = torch.tensor(masks).double()
    error = torch.randn(rows, N, dtype=torch.float64, generator=make_generator(1)) * observed
    alpha, sigma = np.sqrt(1 / (1 + np.exp(-2 * log_snr))), np.sqrt(1 / (1 + np.exp(2 * log_snr)))
    u, eye = covariance.directions, torch.eye(N, dtype=torch.float64)
    dense = u @ torch.diag(covariance.variances) @ u.T + 0.05 * (eye - u @ u.T)
    clean = torch.linalg.inv(torch.linalg.inv(dense) + (alpha / sigma) ** 2 * eye)
    wanted = torch.zeros(rows, N, dtype=torch.float64)
    for row, mask in enumerate(torch.tensor(masks)):
        inner = clean[mask][:, mask] + trust**2 * torch.eye(int(mask.sum()), dtype=torch.float64)
        wanted[row] = clean[:, mask] @ torch.linalg.solve(inner, error[row, mask])
    shape = (rows, LENGTH, CHANNELS)
    found = ObservedCovariance(covariance, observed.reshape(shape)).update(error.reshape(shape), alpha, sigma, trust)
    torch.testing.assert_close(found.flatten(1), wanted, rtol=1e-7, atol=1e-9)


def test_windows_of_another_size_are_refused():
    with pytest.raises(ConfigError, match="windows of 5 values, but the covariance is of 12"):
        ObservedCovariance(known(), torch.ones(1, 5, 1))


# --- one call ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("name", ["window", f"tweedie {CONTEXT}"])
def test_the_guided_prediction_is_the_exact_posterior_mean(name, time):
    x = torch.randn(5, N, dtype=torch.float64, generator=make_generator(2))
    t = torch.full((5,), time, dtype=torch.float64)
    found = guides(5)[name].predict(exact_denoiser, x.reshape(5, LENGTH, CHANNELS), t, SDE)
    torch.testing.assert_close(found.flatten(1), exact_posterior(x, time), rtol=1e-5, atol=1e-5)
    assert not found.requires_grad


def test_every_further_product_of_the_jacobian_comes_closer_and_all_are_closer_than_one_variance():
    x = torch.randn(200, N, dtype=torch.float64, generator=make_generator(2))
    t = torch.full((200,), 0.4, dtype=torch.float64)
    wanted = exact_posterior(x, 0.4)
    error = {
        name: float((guide.predict(exact_denoiser, x.reshape(-1, LENGTH, CHANNELS), t, SDE).flatten(1) - wanted).norm())
        for name, guide in guides(200).items()
    }
    assert error["scalar"] > error["tweedie 1"] > error["tweedie 2"] > error["tweedie 3"] > error[f"tweedie {CONTEXT}"]
    assert error["window"] < 1e-6


WAYS: dict[str, Callable[..., Guidance]] = {
    "window": lambda *common: WindowGuidance(*common, covariance=known()),
    "tweedie": lambda *common: TweedieGuidance(*common, products=1),
    "tweedie, three products": lambda *common: TweedieGuidance(*common, products=3),
    "trace": TraceGuidance,
    "scalar": lambda *common: ScalarGuidance(*common, top_variance=3.0),
    "kernels": lambda *common: KernelGuidance(*common, season=0.0),
    "kernels, half": lambda *common: KernelGuidance(*common, season=0.0, kernel_share=0.5),
}


@pytest.mark.parametrize("energy", ["mse", "quantile"])
@pytest.mark.parametrize("way", WAYS)
def test_the_scale_is_the_share_of_the_way(way, energy):
    channels = 1 if way.startswith("kernels") else CHANNELS
    shape = (3, N // channels, channels)
    x = torch.randn(*shape, dtype=torch.float64, generator=make_generator(2))
    t = torch.full((3,), 0.5, dtype=torch.float64)
    values, observed = (part.reshape(1, *shape[1:]).expand(shape) for part in (VALUES, SEEN.double()))
    quantiles = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    none, half, whole, double = (
        WAYS[way](values, observed, energy, quantiles, scale, TRUST).predict(exact_denoiser, x, t, SDE)
        for scale in (1e-9, 0.5, 1.0, 2.0)
    )
    assert float((whole - none).norm()) > 0.1
    torch.testing.assert_close(half - none, 0.5 * (whole - none), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(double - none, 2 * (whole - none), rtol=1e-6, atol=1e-8)


def test_the_quantile_energy_moves_observed_values_by_the_mean_of_laplace_noise_of_that_spread():
    levels = torch.tensor([0.05, 0.3, 0.5, 0.9], dtype=torch.float64)
    t = torch.full((4,), 0.5, dtype=torch.float64)
    x = torch.randn(4, LENGTH, CHANNELS, dtype=torch.float64, generator=make_generator(3))
    observed = window(SEEN.double(), 4)
    made = WindowGuidance(window(VALUES, 4), observed, "quantile", levels, 1.0, 0.3, covariance=known())
    for row, level in enumerate(levels.tolist()):
        # exp(−ρ_q(y − x)) is scipy's asymmetric Laplace with κ = √(q/(1 − q)), up to its scale.
        noise = laplace_asymmetric(np.sqrt(level / (1 - level)))
        mean = 0.3 * noise.mean() / noise.std()
        moved = WindowGuidance(window(VALUES - mean, 1), observed[:1], "mse", None, 1.0, 0.3, covariance=known())
        torch.testing.assert_close(
            made.predict(exact_denoiser, x, t, SDE)[row],
            moved.predict(exact_denoiser, x[row : row + 1], t[:1], SDE)[0],
        )


# --- whole samples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "steps"), [("ode2", 16), ("sde2", 48)])
def test_few_calls_give_the_exact_conditional_distribution(method, steps):
    windows = draw(guides(ROWS)["window"], method, steps)
    mean, covariance = conditional()
    error = (windows.mean(0) - mean).abs().max()
    assert error < 0.05
    assert (torch.cov(windows.T) - covariance).abs().max() < 0.08  # of variances up to 1.5, of 6000 samples


def test_the_window_covariance_is_closer_to_the_truth_than_one_product_and_than_one_variance():
    mean, covariance = conditional()
    errors = {}
    for name in ("scalar", "trace", "tweedie 1", "tweedie 3", "window"):
        windows = draw(guides(ROWS)[name], "ode2", 16)
        errors[name] = float((windows.mean(0) - mean).norm() + (torch.cov(windows.T) - covariance).norm())
    # 0.14, 0.15, 0.51 and 0.85, with the trace 0.45, of which the sampler's own error at 16 calls is about 0.1.
    assert errors["window"] < errors["tweedie 3"] < 0.5 * errors["tweedie 1"]
    assert errors["trace"] < errors["tweedie 1"] < errors["scalar"]


ROBUST = {name: WAYS[name] for name in ("window", "tweedie, three products", "trace", "scalar")}


@pytest.mark.parametrize("way", ROBUST)
def test_an_outlier_moves_robust_samples_little_and_where_there_is_none_they_are_the_usual_ones(way):
    rows, place, last = 400, 6, slice(CONTEXT, N)
    values = VALUES.clone()
    values[place] += 15.0

    def mean(energy: str, given: Tensor) -> Tensor:
        guide = ROBUST[way](window(given, rows), window(SEEN.double(), rows), energy, None, 1.0, TRUST)
        return draw(guide, "ode2", 24, rows).mean(0)[last]

    usual = mean("mse", VALUES)
    assert (mean("robust", VALUES) - usual).abs().max() < 0.03
    moved, kept = (float((mean(energy, values) - usual).norm()) for energy in ("mse", "robust"))
    assert moved > 5
    assert kept < 0.15 * moved


@pytest.mark.parametrize("way", ROBUST)
def test_beyond_three_deviations_the_robust_pull_falls_with_the_distance(way):
    t = torch.full((1,), 0.5, dtype=torch.float64)
    state = torch.zeros(1, LENGTH, CHANNELS, dtype=torch.float64)  # whose prediction is 0
    a, s = float(SDE.alpha(t)), float(SDE.sigma(t))
    deviation = (s**2 / (a**2 + s**2) + TRUST**2) ** 0.5
    pulls = []
    for size in (2.9, 3.1, 6.2, 12.4):
        seen = torch.zeros(N, dtype=torch.float64)
        seen[3] = 1.0
        guide = ROBUST[way](window(seen * size * deviation, 1), window(seen, 1), "robust", None, 1.0, TRUST)
        pulls.append(float(guide.predict(exact_denoiser, state, t, SDE).flatten()[3]))
    assert pulls[1:] == pytest.approx([pulls[0] * 9 / (2.9 * size) for size in (3.1, 6.2, 12.4)], rel=1e-6)


def test_one_number_from_the_trace_is_exact_where_all_directions_vary_alike():
    shape = (2, LENGTH, CHANNELS)
    x = torch.randn(*shape, dtype=torch.float64, generator=make_generator(2))
    t = torch.full((2,), 0.4, dtype=torch.float64)
    a, s = float(SDE.alpha(t[:1])), float(SDE.sigma(t[:1]))
    values, observed = window(VALUES, 2), window(SEEN.double(), 2)
    guide = TraceGuidance(values, observed, observation_std=TRUST)
    found = guide.predict(lambda x, t: a * 1.5 / (a**2 * 1.5 + s**2) * x, x, t, SDE)
    noisy, seen = s**2 / a**2, TRUST**2
    # Of independent values the posterior mean weighs prior, state and observation by their precisions.
    precision = 1 / 1.5 + 1 / noisy + observed / seen
    torch.testing.assert_close(found, (x / a / noisy + observed * values / seen) / precision, rtol=0, atol=1e-9)


def test_rows_with_different_observed_values_do_not_meet():
    masks = [SEEN.double(), torch.zeros(N).double(), torch.ones(N).double()]
    shape = (len(masks), LENGTH, CHANNELS)
    together = WindowGuidance(
        window(VALUES, 3), torch.stack(masks).reshape(shape), observation_std=TRUST, covariance=known()
    )
    x = torch.randn(*shape, dtype=torch.float64, generator=make_generator(4))
    t = torch.full((3,), 0.5, dtype=torch.float64)
    found = together.predict(exact_denoiser, x, t, SDE)
    for row, mask in enumerate(masks):
        alone = WindowGuidance(window(VALUES, 1), window(mask, 1), observation_std=TRUST, covariance=known())
        torch.testing.assert_close(found[row], alone.predict(exact_denoiser, x[row : row + 1], t[:1], SDE)[0])
    torch.testing.assert_close(found[1], exact_denoiser(x, t)[1])  # nothing observed, nothing moved


def test_no_product_is_no_guidance():
    x = torch.zeros(1, 2, 1)
    with pytest.raises(ConfigError, match="products=0"):
        TweedieGuidance(x, x, products=0)
