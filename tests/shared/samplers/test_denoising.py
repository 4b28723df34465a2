"""Chains over states and noise levels against a mixture whose densities are known at every level."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import Guidance
from shared.noise import GaussianProcess, OrnsteinUhlenbeck
from shared.random import make_generator, randn
from shared.samplers import sample
from shared.samplers.denoising import DenoisingMCMC, effective_size
from shared.samplers.laws import Gaussian, Marginals, Spectrum
from shared.samplers.run import Node
from shared.sde import SBVESDE, SDE, VESDE, VPSDE, FlowSDE

F64 = torch.float64
SHARES, PLACES, WIDTH = torch.tensor([0.7, 0.3], dtype=F64), torch.tensor([-1.0, 1.0], dtype=F64), 0.1


class TwoModes(Marginals):
    """.7 N(−1, .1²) + .3 N(1, .1²) on a line."""

    def denoiser(self, sde: SDE):
        def denoise(x: Tensor, t: Tensor) -> Tensor:
            a, s = (part(t.double())[:, None] for part in (sde.alpha, sde.sigma))
            v = a**2 * WIDTH**2 + s**2
            far = x - a * PLACES
            shares = (SHARES.log() - far.square() / (2 * v)).softmax(1)
            return (shares * (PLACES + a * WIDTH**2 / v * far)).sum(1, keepdim=True)

        return denoise

    def log_densities(self, r: Tensor, nodes: list[Node]) -> Tensor:
        found = []
        for node in nodes:
            v = node.alpha**2 * WIDTH**2 + node.sigma**2
            far = r - node.alpha * PLACES
            found.append((SHARES.log() - far.square() / (2 * v) - 0.5 * math.log(2 * math.pi * v)).logsumexp(1))
        return torch.stack(found)


class Peaked(TwoModes):
    """A classifier's arg max: all chance is on the most probable level."""

    def log_densities(self, r: Tensor, nodes: list[Node]) -> Tensor:
        return 1e6 * super().log_densities(r, nodes)


SDE_ = VESDE(sigma_min=0.01, sigma_max=5.0)
RANGE = (-math.log(3.0), math.log(20.0))


def chained(law: TwoModes, outputs: int, chains: int = 200, **settings):
    """Outputs (outputs, chains), and the log-SNR (moves, chains) that the chains were at."""
    denoise, times = law.denoiser(SDE_), []

    def seen(x: Tensor, t: Tensor) -> Tensor:
        times.append(t)
        return denoise(x, t)

    result = sample(
        seen,
        SDE_,
        x_start=5.0 * randn((chains, 1), make_generator("start"), dtype=F64),
        method=DenoisingMCMC(law, outputs, log_snr=RANGE, **settings),
        steps=8,
        t_end=0.0,
        generator=make_generator("chains"),
        return_trajectory=True,
    )
    assert result.nfe == len(times)
    return result.trajectory[1:, :, 0], SDE_.log_snr(torch.stack(times[8:]))


def test_levels_are_drawn_evenly() -> None:
    _, levels = chained(TwoModes(), 12, descent=1, levels=16)
    histogram = torch.histc(levels, 4, *RANGE) / levels.numel()
    torch.testing.assert_close(histogram, torch.full_like(histogram, 0.25), atol=0.03, rtol=0)


def test_modes_keep_their_shares_and_widths() -> None:
    outputs, _ = chained(TwoModes(), 12, chains=150, levels=16)
    low = (outputs < 0).double()
    assert low.mean() == pytest.approx(0.7, abs=4 * 0.46 / math.sqrt(effective_size(low)))
    assert outputs[outputs < 0].std() == pytest.approx(WIDTH, rel=0.1)


@pytest.mark.slow
def test_states_that_are_chosen_for_being_clean_make_modes_too_even() -> None:
    outputs, _ = chained(TwoModes(), 12, chains=300, levels=16, cleanest=True)
    low = (outputs < 0).double()
    assert low.mean() < 0.7 - 3 * 0.46 / math.sqrt(effective_size(low))


def test_a_chain_that_takes_the_most_probable_level_freezes_where_it_is_clean() -> None:
    _, levels = chained(Peaked(), 8, chains=60, descent=1, levels=16)
    late = torch.histc(levels[50:], 4, *RANGE)
    assert late[-1] > 0.7 * late.sum()


def correlated() -> Gaussian:
    root = randn((3, 3), make_generator("root"), dtype=F64)
    return Gaussian.of_covariance(
        root @ root.T + 0.1 * torch.eye(3, dtype=F64), torch.tensor([1.0, -2.0, 0.5]).double()
    )


@pytest.mark.parametrize("sde", [VPSDE(), FlowSDE(), SBVESDE()], ids=["vp", "flow", "bridge"])
def test_gaussian_data_come_out_with_their_law_around_any_anchor(sde: SDE) -> None:
    law, y = correlated(), None if sde == VPSDE() else torch.tensor([[0.3, 0.0, -1.0]], dtype=F64).expand(1000, 3)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        r = x if y is None else x - y
        each = torch.empty_like(r)
        for time in t.unique():
            each[t == time] = law.denoised(r[t == time], Node.at(sde, min(float(time), 1 - 1e-9)))
        return each if y is None else y + each

    x_start = randn((1000, 3), make_generator("s"), dtype=F64) if y is None else None
    method = DenoisingMCMC(law, levels=8, skip=6, log_snr=(-0.5, 1.0))
    result = sample(denoise, sde, y=y, x_start=x_start, method=method, steps=12, generator=make_generator("g"))
    assert result.nfe == 12 + 6 + 4
    r = result.x if y is None else result.x - y
    torch.testing.assert_close(r.mean(0), law.mean, atol=0.25, rtol=0)
    wanted = law.applied(lambda v: v, torch.eye(3, dtype=F64))
    torch.testing.assert_close(r.T.cov(), wanted, atol=0.22 * float(wanted.max()), rtol=0)


def test_an_item_depends_on_its_own_generator_alone() -> None:
    law = TwoModes()
    x = randn((3, 1), make_generator("few"), dtype=F64)

    def drawn(rows: list[int]) -> Tensor:
        each = [make_generator("item", row) for row in rows]
        method = DenoisingMCMC(law, levels=8)
        return sample(law.denoiser(SDE_), SDE_, x_start=x[rows], method=method, steps=4, generator=each).x

    torch.testing.assert_close(drawn([0, 1, 2])[1:], drawn([1, 2]))


def test_spectrograms_have_chains_too() -> None:
    law, sde = Spectrum((0.5, 2.0)), SBVESDE()
    y = torch.zeros(500, 2, 1, dtype=torch.complex128)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        a, s = (part(t.double())[:, None, None] for part in (sde.alpha, sde.sigma))
        v = torch.tensor([[0.5], [2.0]], dtype=F64)
        return torch.where(a > 0, a * v / (a**2 * v + s**2).clamp_min(1e-30), 0.0) * x

    x = sample(denoise, sde, y=y, method=DenoisingMCMC(law, levels=8), steps=8, generator=make_generator("c")).x
    torch.testing.assert_close(x.abs().square().mean((0, 2)), torch.tensor([0.5, 2.0]).double(), atol=0, rtol=0.25)


def test_effective_size_of_an_autoregression() -> None:
    noise, values = randn((4000, 5), make_generator("ar"), dtype=F64), [torch.zeros(5, dtype=F64)]
    for one in noise:
        values.append(0.8 * values[-1] + one)
    assert effective_size(torch.stack(values)) == pytest.approx(20000 * 0.2 / 1.8, rel=0.15)
    with pytest.raises(ConfigError, match="at least 4"):
        effective_size(torch.ones(3, 2))


class Moving(Guidance):
    def after_step(self, denoiser, x, t, t_next, sde):
        return x


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"method": DenoisingMCMC()}, "Gaussian law"),
        ({"method": DenoisingMCMC(TwoModes(), log_snr=(-9.0, 1.0))}, "choose levels within"),
        ({"method": DenoisingMCMC(TwoModes()), "guidance": Moving()}, "take sde2"),
        ({"sde": SDE_.with_noise(GaussianProcess(OrnsteinUhlenbeck(1.0)))}, "noise=None"),
    ],
)
def test_what_it_cannot_do_names_what_to_take(given, told: str) -> None:
    law = TwoModes()
    asked = {"sde": SDE_, "method": DenoisingMCMC(law), **given}
    with pytest.raises(ConfigError, match=told):
        sample(law.denoiser(SDE_), x_start=torch.zeros(2, 1, dtype=F64), steps=4, **asked)


def test_steps_without_two_levels_of_noise_are_refused() -> None:
    for steps, found in ((1, 0), (2, 1)):
        with pytest.raises(ConfigError, match=f"these steps have {found}: take more"):
            sample(lambda x, t: x, FlowSDE(), (2, 1), method=DenoisingMCMC(TwoModes()), steps=steps)


def test_settings_are_checked() -> None:
    for wrong in ({"step": 4.0}, {"levels": 1}, {"outputs": 0}, {"log_snr": (1.0, 0.0)}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            DenoisingMCMC(TwoModes(), **wrong)


@pytest.mark.parametrize("shape", [(100,), (8, 16, 6)])
def test_an_effective_size_is_of_one_number_of_each_output(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"need one of each, \(outputs, chains\), such as samples\[..., 0\]"):
        effective_size(torch.randn(shape))
    with pytest.raises(ConfigError, match="values of the type list: need a tensor"):
        effective_size([[1.0, 2.0]])  # type: ignore[arg-type]
