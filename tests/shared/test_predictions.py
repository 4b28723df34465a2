"""Conversions between what networks predict, and the denoiser that a network and its output make."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import jvp

from shared.errors import ConfigError
from shared.predictions import Denoiser, EDMScales, NetworkOutput, PathPoint, Prediction
from shared.random import make_generator, randn
from shared.sde import SBVESDE, SDE, VPSDE, FlowSDE, ResfusionSDE
from tests.processes import ANCHORED, SDES, all_sdes
from tests.shared.gaussian import GaussianData

KINDS = get_args(Prediction)
OUTPUTS = get_args(NetworkOutput)


def some_state(sde: SDE, t: Tensor, seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clean data, anchor, noise and the state that they make, (batch, 2, 3)."""
    generator = make_generator("predictions", seed)
    x0, y, noise = (randn((len(t), 2, 3), generator, dtype=dtype) for _ in range(3))
    return x0, y, noise, sde.perturb(x0, t, noise, y)


class Exact(nn.Module):
    """The network that predicts `output` without error for Gaussian data; with "edm", from what EDM hands it."""

    def __init__(self, data: GaussianData, output: NetworkOutput, sigma_data: float):
        super().__init__()
        self.data, self.output, self.sigma_data = data, output, sigma_data

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        sde, y = self.data.sde, self.data.y
        if self.output != "edm":
            return PathPoint.at(sde, t).from_data(self.output, self.data.denoiser(x, t), x, y)
        t = sde.time_of_log_snr(-4 * t)  # the time that c_noise = −λ/4 stands for
        scales = EDMScales.at(PathPoint.at(sde, t), self.sigma_data)
        skip, out, scale = (value.reshape(-1, 1) for value in (scales.skip, scales.out, scales.input))
        r = x / scale
        anchor = 0 if y is None else y
        return (self.data.denoiser(r + anchor, t) - anchor - skip * r) / out


# Conversions. ----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(SDES)),
    kind=st.sampled_from(KINDS),
    t=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float64, torch.complex128]),
)
def test_round_trips(name: str, kind: Prediction, t: float, seed: int, dtype: torch.dtype) -> None:
    sde = SDES[name]
    times = torch.full((2,), t, dtype=torch.float64)
    x0, y, _, x = some_state(sde, times, seed, dtype)
    point = PathPoint.at(sde, times)
    for anchor in (None, y):
        back = point.to_data(kind, point.from_data(kind, x0, x, anchor), x, anchor)
        torch.testing.assert_close(back, x0, rtol=0, atol=1e-8)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(SDES)),
    source=st.sampled_from(KINDS),
    goal=st.sampled_from(KINDS),
    t=st.floats(0.01, 0.99),
    dtype=st.sampled_from([torch.float64, torch.complex128]),
)
def test_targets_agree_with_conversions(
    name: str, source: Prediction, goal: Prediction, t: float, dtype: torch.dtype
) -> None:
    sde = SDES[name]
    times = torch.full((2,), t, dtype=torch.float64)
    x0, y, noise, x = some_state(sde, times, 1, dtype)
    point = PathPoint.at(sde, times)
    data = point.to_data(source, point.target(source, x0, noise, y), x, y)
    torch.testing.assert_close(data, x0, rtol=0, atol=1e-8)
    converted, target = point.from_data(goal, data, x, y), point.target(goal, x0, noise, y)
    scale = 1 + float(target.abs().max()) + float(point.data_error_scale(goal).max())
    torch.testing.assert_close(converted / scale, target / scale, rtol=0, atol=1e-8)


@all_sdes()
def test_data_error_scale_is_the_slope_of_the_conversion(name: str, sde: SDE) -> None:
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    x0, y, _, x = some_state(sde, t, 2, torch.float64)
    point = PathPoint.at(sde, t)
    for kind in KINDS:
        change = point.from_data(kind, x0 + 1.0, x, y) - point.from_data(kind, x0, x, y)
        torch.testing.assert_close(change[:, 0, 0].abs(), point.data_error_scale(kind), rtol=1e-8, atol=1e-10)


def test_formulas_by_hand() -> None:
    """α = 0.6, σ = 0.8, x_0 = 2, ε = −1, y = 1."""
    point = PathPoint(*(torch.tensor([v], dtype=torch.float64) for v in (0.6, 0.8, 0.64 / 0.6)))
    x0, y, noise = (torch.tensor([[v]], dtype=torch.float64) for v in (2.0, 1.0, -1.0))
    expected = {"data": 2.0, "noise": -1.0, "score": 1.25, "velocity": 0.6 * -1 - 0.8 * 1}
    for kind, value in expected.items():
        assert float(point.target(kind, x0, noise, y)) == pytest.approx(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_no_division_by_a_vanished_sigma(t: float) -> None:
    point = PathPoint.at(SBVESDE(), torch.tensor([t]))
    x = torch.ones(1, 2)
    for kind in KINDS:
        assert bool(point.from_data(kind, x, x, x).isfinite().all())
        assert bool(point.data_error_scale(kind).isfinite().all())


# EDM's scales. ---------------------------------------------------------------------------------------------------


@all_sdes()
def test_edm_gives_unit_variances(name: str, sde: SDE) -> None:
    sigma_data, count = 0.6, 40_000
    for t in (0.02, 0.4, 0.9):
        times = torch.full((1,), t, dtype=torch.float64)
        generator = make_generator("edm", name)
        r0, noise = sigma_data * randn((1, count), generator).double(), randn((1, count), generator).double()
        y = torch.full_like(r0, 0.3) if name in ANCHORED else None
        x0 = r0 if y is None else r0 + y
        seen: list[Tensor] = []
        denoiser = Denoiser(recording(seen), sde, "edm", sigma_data)
        x = sde.perturb(x0, times, noise, y)
        denoiser(x, times, y)
        assert float(seen[0].var()) == pytest.approx(1, rel=0.03)
        assert float(seen[1]) == pytest.approx(-float(sde.log_snr(t)) / 4, rel=1e-9)
        assert float(denoiser.target(x0, x, noise, times, y).var()) == pytest.approx(1, rel=0.03)


def recording(seen: list[Tensor]) -> nn.Module:
    class Recorder(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.extend([x, t])
            return torch.zeros_like(x)

    return Recorder()


def test_edm_scales_are_those_of_the_paper() -> None:
    """Karras et al. 2022, Table 1, where α = 1."""
    sigma, sigma_data = torch.tensor([0.002, 0.5, 80.0], dtype=torch.float64), 0.5
    scales = EDMScales.at(PathPoint(torch.ones_like(sigma), sigma, sigma**2), sigma_data)
    total = sigma**2 + sigma_data**2
    torch.testing.assert_close(scales.skip, sigma_data**2 / total)
    torch.testing.assert_close(scales.out, sigma * sigma_data / total.sqrt())
    torch.testing.assert_close(scales.input, total.rsqrt())
    torch.testing.assert_close(scales.noise, sigma.log() / 4)


# The denoiser. ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", OUTPUTS)
@all_sdes()
def test_an_exact_network_makes_the_exact_denoiser(name: str, sde: SDE, output: NetworkOutput) -> None:
    t = torch.tensor([0.02, 0.3, 0.7, 0.97], dtype=torch.float64)
    _, y, _, x = (value[:, 0] for value in some_state(sde, t, 3, torch.float64))
    data = GaussianData(sde, 0.4, 0.7, y if name in ANCHORED else None)
    denoiser = Denoiser(Exact(data, output, 0.9), sde, output, sigma_data=0.9)
    torch.testing.assert_close(denoiser(x, t, data.y), data.denoiser(x, t), rtol=0, atol=1e-8)


@pytest.mark.parametrize("output", OUTPUTS)
@all_sdes()
def test_a_network_that_gives_its_target_denoises_perfectly(name: str, sde: SDE, output: NetworkOutput) -> None:
    t = torch.tensor([0.02, 0.3, 0.7, 0.97], dtype=torch.float64)
    x0, y, noise, x = some_state(sde, t, 4, torch.complex128)
    denoiser = Denoiser(nn.Identity(), sde, output, sigma_data=0.8)
    target = denoiser.target(x0, x, noise, t, y)
    denoiser.network = constant(target)
    torch.testing.assert_close(denoiser(x, t, y), x0, rtol=0, atol=1e-8)
    denoiser.network = constant(target + 1)
    error = (denoiser(x, t, y) - x0).abs()[:, 0, 0]
    torch.testing.assert_close(error, 1 / denoiser.data_error_scale(t), rtol=1e-6, atol=1e-9)


def constant(value: Tensor) -> nn.Module:
    class Constant(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return value

    return Constant()


def test_conditions_reach_the_network() -> None:
    class Doubling(nn.Module):
        def forward(self, x: Tensor, t: Tensor, *, factor: float) -> Tensor:
            return factor * x

    x = torch.randn(2, 3)
    assert torch.equal(Denoiser(Doubling(), VPSDE(), "data")(x, torch.full((2,), 0.5), factor=2.0), 2 * x)


def test_dtypes_stay() -> None:
    for dtype in (torch.float32, torch.float64, torch.complex64):
        x = torch.zeros(2, 3, dtype=dtype)
        for output in OUTPUTS:
            denoiser = Denoiser(recording([]), VPSDE(), output)
            assert denoiser(x, torch.full((2,), 0.5)).dtype == dtype


BAD: list[Callable[[], object]] = [
    lambda: Denoiser(nn.Identity(), VPSDE(), "epsilon"),  # type: ignore[arg-type]
    lambda: Denoiser(nn.Identity(), VPSDE(), "edm", sigma_data=0.0),
    lambda: Denoiser(nn.Identity(), VPSDE(), "edm", sigma_data=float("nan")),
    lambda: PathPoint.at(VPSDE(), torch.ones(1)).to_data("eps", torch.ones(1, 1), torch.ones(1, 1)),  # type: ignore[arg-type]
    lambda: PathPoint.at(VPSDE(), torch.ones(1)).from_data("eps", torch.ones(1, 1), torch.ones(1, 1)),  # type: ignore[arg-type]
    lambda: PathPoint.at(VPSDE(), torch.ones(1)).target("edm", torch.ones(1, 1), torch.ones(1, 1)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("build", BAD)
def test_bad_settings_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        build()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edm_at_the_end_of_a_bridge_takes_its_limits(dtype: torch.dtype) -> None:
    # Where α = σ = 0 the state is y: c_skip·r = 0, and c_out is sigma_data.
    class Ones(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            assert torch.isfinite(t).all()
            return torch.ones_like(x)

    y = torch.randn(2, 3, dtype=dtype)
    denoiser = Denoiser(Ones(), SBVESDE(), "edm", sigma_data=0.7)
    assert torch.allclose(denoiser(y, torch.ones(2, dtype=dtype), y), y + 0.7)


@pytest.mark.parametrize("output", ["noise", "score", "velocity"])
def test_other_outputs_are_refused_at_the_end_of_a_bridge(output: NetworkOutput) -> None:
    class Same(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return x

    y = torch.randn(2, 3)
    with pytest.raises(ConfigError, match="end of a bridge"):
        Denoiser(Same(), SBVESDE(), output)(y, torch.ones(2), y)


@pytest.mark.parametrize("sde", [FlowSDE(), FlowSDE(scale=0.3), ResfusionSDE()], ids=str)
def test_edms_scales_change_with_time_at_the_start_of_a_flow_as_just_after_it(sde: SDE) -> None:
    """Flow maps differentiate them."""

    def scales(t: Tensor) -> Tensor:
        found = EDMScales.at(PathPoint.at(sde, t), 0.7)
        return torch.stack([found.skip, found.out, found.input])

    one = torch.ones(1, dtype=torch.float64)
    values, rates = jvp(scales, (one,), (one,))
    after, expected = jvp(scales, (one - 1e-7,), (one,))
    torch.testing.assert_close(values, after, rtol=0, atol=1e-5)
    torch.testing.assert_close(rates, expected, rtol=1e-4, atol=1e-5)
