"""Times of samplers: grids, times of one's own, starts and ends where alpha is zero, a start for each item."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.predictions import Denoiser, NetworkOutput, PathPoint
from shared.random import make_generator, randn
from shared.samplers import Exponential, Run, Schedule, sample, time_grid
from shared.sde import OUVESDE, SBVESDE, SDE, VPSDE, FlowSDE
from tests.processes import ANCHORED, SDES, all_sdes
from tests.shared.gaussian import GaussianData
from tests.shared.samplers.test_published_steps import start_state
from tests.shared.samplers.test_sampler_calls import Counter
from tests.shared.samplers.test_samplers import F64, bent

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


def test_times_that_are_a_list_are_asked_for_as_a_tensor() -> None:
    with pytest.raises(ConfigError, match=r"give the times as a tensor, torch\.tensor\(times\)"):
        sample(lambda x, t: x, VPSDE(), (2, 3), schedule=[1.0, 0.5, 0.0])  # type: ignore[arg-type]


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
