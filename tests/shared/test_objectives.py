"""Training objectives against losses known in closed form."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.objectives import DiffusionLoss, TimeDistribution, TimeSampler, Weighting, weight
from shared.predictions import Denoiser, NetworkOutput
from shared.random import make_generator, randn
from shared.sde import OUVESDE, SBVESDE, SDE, VESDE, VPSDE, FlowSDE, ResfusionSDE
from tests.processes import ANCHORED, BRIDGES, all_sdes

OUTPUTS = get_args(NetworkOutput)
WEIGHTINGS = get_args(Weighting)
KINDS = get_args(TimeDistribution)


class Flawed(nn.Module):
    """Gives the target plus the error that makes x̂_0 wrong by `error(t)` (up to its sign)."""

    def __init__(self, x0: Tensor, noise: Tensor, y: Tensor | None, error: Callable[[Tensor], Tensor]):
        super().__init__()
        self.x0, self.noise, self.y, self.error = x0, noise, y, error
        self.denoiser: list[Denoiser] = []

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        denoiser = self.denoiser[0]
        if denoiser.output == "edm":
            t = denoiser.sde.time_of_log_snr(-4 * t)
        state = denoiser.sde.perturb(self.x0, t, self.noise, self.y)
        flaw = self.error(t) * denoiser.data_error_scale(t)
        return denoiser.target(self.x0, state, self.noise, t, self.y) + flaw.reshape(-1, *[1] * (x.ndim - 1))


def flawed(
    sde: SDE,
    output: NetworkOutput,
    error: Callable[[Tensor], Tensor],
    batch: int = 64,
    y: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[Denoiser, Tensor, Tensor, Tensor | None]:
    """A denoiser with a known error, and the data, noise and anchor that it knows."""
    generator = make_generator("flawed")
    x0, noise = randn((batch, 2, 3), generator, dtype=dtype), randn((batch, 2, 3), generator, dtype=dtype)
    anchor = None if y is None else torch.full_like(x0, y)
    network = Flawed(x0, noise, anchor, error)
    denoiser = Denoiser(network, sde, output, sigma_data=0.7)
    # In a list, so that the network does not hold the denoiser that holds it as a submodule.
    network.denoiser.append(denoiser)
    return denoiser, x0, noise, anchor


# Weights. --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@all_sdes(others_slow=True)
def test_every_output_has_the_same_weighted_loss(name: str, sde: SDE, weighting: Weighting) -> None:
    """A known error in x̂_0 costs w(t)·error², in whatever form the network predicts."""
    times = TimeSampler(t_min=0.02)
    y = 0.4 if name in ANCHORED else None
    t = times.sample(sde, 64, make_generator("t"))
    expected = weight(weighting, sde, t, sigma_data=0.7) * (0.3 + t).square()
    loss = DiffusionLoss(weighting, times)
    for output in OUTPUTS:
        denoiser, x0, noise, anchor = flawed(sde, output, lambda t: 0.3 + t, y=y)
        value = loss(denoiser, x0, anchor, generator=make_generator("t"), noise=noise)
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("output", OUTPUTS)
def test_no_weighting_is_plain_regression(output: NetworkOutput) -> None:
    sde = VPSDE()
    denoiser, x0, noise, _ = flawed(sde, output, lambda t: 0.1 / denoiser.data_error_scale(t))
    plain = DiffusionLoss(None)(denoiser, x0, noise=noise, generator=make_generator(0))
    torch.testing.assert_close(plain, torch.full_like(plain, 0.01), rtol=1e-8, atol=0)
    weighted = DiffusionLoss(output)(denoiser, x0, noise=noise, generator=make_generator(0))
    torch.testing.assert_close(weighted, plain, rtol=1e-8, atol=0)


def test_weights_are_those_of_the_papers() -> None:
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    vp = VPSDE()
    snr = (2 * vp.log_snr(t)).exp()
    torch.testing.assert_close(weight("noise", vp, t), snr)
    torch.testing.assert_close(weight("sigma2", vp, t), snr)
    torch.testing.assert_close(weight("velocity", vp, t), snr + 1)  # Salimans and Ho 2022, §4
    torch.testing.assert_close(weight("min_snr", vp, t, gamma=2.0), snr.clamp_max(2.0))
    ve = VESDE()
    sigma = ve.sigma(t)
    torch.testing.assert_close(weight("edm", ve, t, 0.5), (sigma**2 + 0.25) / (sigma * 0.5) ** 2)
    torch.testing.assert_close(weight("likelihood", ve, t), 0.5 * ve.diffusion(t) ** 2 / sigma**4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_an_ignorant_network_pays_the_variance_of_its_target(dtype: torch.dtype) -> None:
    class Zero(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(x)

    x0 = torch.zeros(2000, 8, dtype=dtype)
    loss = DiffusionLoss()(Denoiser(Zero(), VPSDE(), "noise"), x0, generator=make_generator(1))
    assert loss.shape == (2000,)
    assert loss.dtype == torch.float32
    assert float(loss.mean()) == pytest.approx(1, rel=0.04)


# The likelihood bound. -------------------------------------------------------------------------------------------


@all_sdes()
def test_importance_sampling_keeps_the_expectation_and_lowers_the_variance(name: str, sde: SDE) -> None:
    """A constant error c in the noise makes the bound ∫ −λ̇ c² dt, which uniform log-SNR estimates without variance."""
    low, high, batch = 0.05, sde.T, 5_000
    if name in ("flow", "resfusion", *BRIDGES):
        high -= 1e-3  # where uniform log-SNR starts, since the bridge's own is infinite at its end
    else:
        assert math.isfinite(float(sde.log_snr(high)))

    def error(t: Tensor) -> Tensor:
        return 0.2 * sde.sigma(t) / sde.alpha(t)

    denoiser, x0, noise, _ = flawed(sde, "noise", error, batch)
    expected = 0.04 * float(sde.log_snr(low) - sde.log_snr(high)) / (high - low)
    estimates = {
        kind: DiffusionLoss("likelihood", TimeSampler(kind, low, stratified=False), unbiased=True)(
            denoiser, x0, noise=noise, generator=make_generator("bound")
        )
        for kind in ("uniform", "log_snr")
    }
    assert float(estimates["log_snr"].mean()) == pytest.approx(expected, rel=1e-6)
    assert float(estimates["log_snr"].std()) < 1e-6 * expected
    uniform = estimates["uniform"]
    if name in BRIDGES:  # leave out what importance sampling does not cover
        t = TimeSampler("uniform", low, stratified=False).sample(sde, batch, make_generator("bound"))
        uniform = torch.where(t < high, uniform, 0)
    margin = 5 * float(uniform.std()) / math.sqrt(batch) + 2e-3 * expected
    assert float(uniform.mean()) == pytest.approx(expected, abs=margin)
    if name not in ("ve", "fouve"):  # whose log-SNR falls evenly in t, so that the two are the same
        assert float(uniform.std()) > 1e-3 * expected


@pytest.mark.parametrize("sde", [VPSDE(), OUVESDE(), SBVESDE()], ids=["vp", "ouve", "sbve"])
def test_log_normal_times_are_unbiased_too(sde: SDE) -> None:
    denoiser, x0, noise, _ = flawed(sde, "data", lambda t: 0.5 + t, 100_000)
    estimate = {
        kind: DiffusionLoss("data", TimeSampler(kind, 0.05, std=3.0), unbiased=True)(
            denoiser, x0, noise=noise, generator=make_generator("normal")
        )
        for kind in ("uniform", "log_normal")
    }
    margin = 5 * float(estimate["log_normal"].std()) / math.sqrt(100_000) + 3e-3
    assert float(estimate["log_normal"].mean()) == pytest.approx(float(estimate["uniform"].mean()), abs=margin)


@pytest.mark.parametrize("settings", [{}, {"weighting": "noise"}, {"unbiased": True}], ids=str)
def test_a_scale_multiplies_the_loss(settings: dict[str, Any]) -> None:
    denoiser, x0, noise, _ = flawed(VPSDE(), "data", lambda t: 0.5 + t, 8)
    one, three = (
        DiffusionLoss(scale=scale, **settings)(denoiser, x0, noise=noise, generator=make_generator("scale"))
        for scale in (1.0, 3.0)
    )
    torch.testing.assert_close(three, 3 * one)


# Times. ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@all_sdes()
def test_times_follow_their_density(name: str, sde: SDE, kind: TimeDistribution) -> None:
    """The integral of the density up to a time is the share of the draws below it."""
    count = 3_000
    times = TimeSampler(kind, t_min=0.02)
    t = times.sample(sde, count, make_generator("times")).sort().values
    assert float(t[0]) >= 0.02
    assert float(t[-1]) <= sde.T
    share = torch.cumulative_trapezoid(times.density(sde, t), t)
    expected = torch.arange(1, count, dtype=torch.float64) / count
    torch.testing.assert_close(share, expected, rtol=0, atol=8e-3)


def test_log_normal_times_are_normal_in_log_sigma() -> None:
    sde = VESDE(0.001, 100.0)
    t = TimeSampler("log_normal").sample(sde, 20_000, make_generator(0))
    logs = sde.sigma(t).log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=0.02)
    assert float(logs.std()) == pytest.approx(1.2, rel=0.02)


def test_stratified_times_fill_every_slice_in_random_order() -> None:
    t = TimeSampler(t_min=1e-5).sample(VPSDE(), 100, make_generator(2))
    assert torch.equal((t.sort().values * 100).floor().long(), torch.arange(100))
    assert not torch.equal(t, t.sort().values)
    plain = TimeSampler(t_min=1e-5, stratified=False).sample(VPSDE(), 100, make_generator(2))
    assert len((plain * 100).floor().unique()) < 90


def test_default_times_start_at_the_smallest_of_the_process() -> None:
    for sde in (VPSDE(), OUVESDE()):
        t = TimeSampler().sample(sde, 1000, make_generator(3))
        assert float(t.min()) >= sde.t_min
        density = TimeSampler().density(sde, t)
        torch.testing.assert_close(density, torch.full_like(density, 1 / (1 - sde.t_min)))


# The call. -------------------------------------------------------------------------------------------------------


def test_the_same_generator_gives_the_same_loss() -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(Affine(), VPSDE(), "noise")
    x0 = torch.randn(8, 3)
    first, second = (DiffusionLoss()(denoiser, x0, generator=make_generator(5)) for _ in range(2))
    assert torch.equal(first, second)


class Affine(nn.Module):
    """A network that looks at state and time."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.gain * x + t.reshape(-1, *[1] * (x.ndim - 1))


@pytest.mark.parametrize("shape", [(4, 8, 2), (4, 1, 1), (8, 1)])
def test_a_network_that_gives_another_shape_is_told_and_not_stretched(shape: tuple[int, ...]) -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.zeros(shape)

    told = f"network returned shape {shape} for a state of (4, 8, 1)"
    with pytest.raises(ConfigError, match=re.escape(told)):
        DiffusionLoss()(Denoiser(Other(), VPSDE()), torch.zeros(4, 8, 1))


def test_gradients_reach_the_network() -> None:
    denoiser, x0 = Denoiser(Affine(), VPSDE(), "velocity").double(), torch.randn(8, 3, dtype=torch.float64)
    (gain,) = denoiser.parameters()

    def loss(value: float) -> Tensor:
        gain.data.fill_(value)
        return DiffusionLoss("min_snr")(denoiser, x0, generator=torch.Generator().manual_seed(0)).mean()

    loss(0.5).backward()
    assert gain.grad is not None
    slope = (loss(0.51) - loss(0.49)).detach() / 0.02  # exact: the loss is a square in the gain
    torch.testing.assert_close(gain.grad, slope)
    assert float(slope.abs()) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_mask_leaves_elements_out(dtype: torch.dtype) -> None:
    denoiser, x0, noise, _ = flawed(VPSDE(), "noise", lambda t: t, dtype=dtype)
    spoiled, noise = x0.clone(), noise.clone()
    spoiled[..., 0] = 1e3
    mask = torch.ones(1, 1, 3)
    mask[..., 0] = 0

    def loss(data: Tensor, mask: Tensor | None) -> Tensor:
        return DiffusionLoss("data")(denoiser, data, noise=noise, mask=mask, generator=make_generator(0))

    clean = loss(x0, None)
    torch.testing.assert_close(loss(spoiled, mask), clean)
    # Only the ratio of the weights counts, however small they are.
    torch.testing.assert_close(loss(spoiled, 1e-3 * mask), clean, rtol=1e-5, atol=0)
    assert torch.equal(loss(x0, torch.zeros(64, 2, 3)), torch.zeros(64, dtype=torch.float64))


BAD: list[Callable[[], object]] = [
    lambda: weight("snr", VPSDE(), torch.ones(1)),  # type: ignore[arg-type]
    lambda: TimeSampler("gaussian"),  # type: ignore[arg-type]
    lambda: TimeSampler("log_normal", std=0.0),
    lambda: DiffusionLoss("min_snr", gamma=-1.0),
    lambda: TimeSampler(t_min=0.0).sample(VPSDE(), 4),
    lambda: TimeSampler(t_min=1.5).sample(VPSDE(), 4),
    lambda: TimeSampler("log_normal", mean=50.0).sample(VPSDE(), 4),
    lambda: TimeSampler().sample(VPSDE(), 4, 3),  # type: ignore[arg-type]
    lambda: DiffusionLoss("epsilon")(Denoiser(Affine(), VPSDE()), torch.randn(2, 3)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("build", BAD)
def test_bad_settings_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        build()


@pytest.mark.parametrize("sde", [FlowSDE(), ResfusionSDE(), SBVESDE(), VPSDE()])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("weighting", [None, *WEIGHTINGS])
def test_items_at_the_start_cost_something_finite_or_are_refused(
    sde: SDE, output: NetworkOutput, weighting: Weighting | None
) -> None:
    denoiser, x0, noise, y = flawed(sde, output, torch.ones_like, y=0.0)
    loss = DiffusionLoss(weighting, start_share=1.0)
    finite = {None} if output in ("noise", "score") else {None, *WEIGHTINGS} - {"likelihood"}
    bridge = isinstance(sde, SBVESDE)
    if isinstance(sde, VPSDE) or (
        output in ("data", "edm") and weighting in (None, "data") if bridge else weighting in finite
    ):
        assert torch.isfinite(loss(denoiser, x0, y, noise=noise)).all()
    else:
        with pytest.raises(ConfigError, match="no score at its end" if bridge else "take another weighting"):
            loss(denoiser, x0, y, noise=noise)
