"""The properties of a flow map, and the objectives made of them, on the closed-form map of Gaussian data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.checks import checked
from shared.errors import ConfigError, DataError
from shared.flow_maps import ConsistencyMap, LagrangianMap, MapLoss, MeanFlowMap, ShortcutMap
from shared.flow_maps.jumps import Times, along, share
from shared.flow_maps.objectives import FlowMapObjective, FlowMapSetting, joined
from shared.objectives import DiffusionLoss, TimeSampler
from shared.predictions import Denoiser
from shared.random import make_generator
from shared.sde import SDE, VPSDE, FlowSDE, ResfusionSDE
from shared.sde.base import expand
from tests.processes import SDES, all_sdes
from tests.shared.flow_maps.gaussian_map import F64, MEAN, VARIANCE, exact_map, jumps

TIGHT: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-8}
OBJECTIVES: dict[str, FlowMapObjective] = {
    "lagrangian": LagrangianMap(),
    "shortcut": ShortcutMap(),
    "drawn shortcut": ShortcutMap(middle=None),
    "mean flow": MeanFlowMap(),
    "improved mean flow": MeanFlowMap(improved=True),
}


def slope_along(function: Any, *pairs: tuple[Tensor, Tensor]) -> Tensor:
    """The derivative alone."""
    return along(function, *pairs)[1]


# The identities, stated in the state itself. ---------------------------------------------------------------------


@all_sdes()
def test_the_jump_goes_where_the_ode_goes(name: str, sde: SDE) -> None:
    """Deviations from the mean grow as the path's standard deviation does."""
    jump = jumps(sde)
    start, end = jump.start, jump.end
    assert jump.y is not None
    reached = start.jump(end, jump.x, jump.to(end), jump.y)
    before, after = ((at.alpha.square() * VARIANCE + at.sigma.square()).sqrt() for at in (start, end))
    deviation = jump.x - jump.y - expand(start.alpha, jump.x) * MEAN
    expected = jump.y + expand(end.alpha, jump.x) * MEAN + expand(after / before, jump.x) * deviation
    torch.testing.assert_close(reached, expected, **TIGHT)


@all_sdes()
def test_the_map_moves_with_its_end_as_the_ode_does(name: str, sde: SDE) -> None:
    jump = jumps(sde)

    def reached(r: Tensor) -> Tensor:
        end = Times.at(sde, r)
        return jump.start.jump(end, jump.x, jump.to(end), jump.y)

    r = jump.end.t
    x = reached(r)
    slope = jump.end.slope(x, jump.mean(x, r), jump.y)
    torch.testing.assert_close(slope_along(reached, (r, torch.ones_like(r))), slope, **TIGHT)


@all_sdes()
def test_the_map_does_not_change_along_the_ode(name: str, sde: SDE) -> None:
    """∂_t X + ∂_x X·v = 0, the Eulerian identity, of which MeanFlow's is another form."""
    jump = jumps(sde)

    def reached(x: Tensor, t: Tensor) -> Tensor:
        start = Times.at(sde, t)
        return start.jump(jump.end, x, jump.mean(x, t, jump.end.t), jump.y)

    t = jump.start.t
    slope = jump.start.slope(jump.x, jump.mean(jump.x, t), jump.y)
    change = slope_along(reached, (jump.x, slope), (t, torch.ones_like(t)))
    torch.testing.assert_close(change / slope.abs().amax(), torch.zeros_like(change), **TIGHT)


@all_sdes()
def test_two_jumps_are_one(name: str, sde: SDE) -> None:
    """The semigroup, and how the means of its parts make that of the whole."""
    jump = jumps(sde)
    start, end = jump.start, jump.end
    middle = Times.at(sde, 0.3 * start.t + 0.7 * end.t)
    between = start.jump(middle, jump.x, jump.to(middle), jump.y)
    twice = middle.jump(end, between, jump.mean(between, middle.t, end.t), jump.y)
    torch.testing.assert_close(twice, start.jump(end, jump.x, jump.to(end), jump.y), **TIGHT)
    torch.testing.assert_close(joined(jump, middle, jump.to(middle)), jump.to(end), **TIGHT)


def test_on_the_straight_path_it_is_the_mean_velocity() -> None:
    """u = v − (t − r)(v·∂_x u + ∂_t u), and u(t, r) = (1 − l)u(m, r) + l·u(t, m) at m = (1 − l)t + l·r."""
    jump = jumps(FlowSDE(), anchored=False)
    t, r = jump.start.t, jump.end.t

    def velocity(x: Tensor, t: Tensor, r: Tensor | None = None) -> Tensor:
        return (x - jump.mean(x, t, r)) / expand(t, x)

    def u(x: Tensor, t: Tensor) -> Tensor:
        return velocity(x, t, r)

    v = velocity(jump.x, t)
    change = slope_along(u, (jump.x, v), (t, torch.ones_like(t)))
    torch.testing.assert_close(u(jump.x, t), v - expand(t - r, jump.x) * change, **TIGHT)
    middle = 0.4 * t + 0.6 * r
    between = jump.x - expand(t - middle, jump.x) * velocity(jump.x, t, middle)
    both = 0.4 * velocity(between, middle, r) + 0.6 * velocity(jump.x, t, middle)
    torch.testing.assert_close(velocity(jump.x, t, r), both, **TIGHT)


@all_sdes()
def test_shares_of_the_way_are_in_alpha_over_sigma(name: str, sde: SDE) -> None:
    times = torch.tensor([[0.9], [0.5], [0.2]], dtype=F64)
    start, middle, end = (sde.alpha(t) / sde.sigma(t) for t in times)
    found = share(*(sde.log_snr(t) for t in times))
    torch.testing.assert_close(found, (end - middle) / (end - start), **TIGHT)
    assert float(share(*(sde.log_snr(t) for t in times[[0, 0, 0]]))) == 0


# The objectives. -------------------------------------------------------------------------------------------------


def exact_maps() -> Iterator[object]:
    """Every process with every objective."""
    for name, sde in SDES.items():
        for label, objective in OBJECTIVES.items():
            yield pytest.param(sde, objective, id=f"{name}-{label}")


@pytest.mark.parametrize(("sde", "objective"), list(exact_maps()))
def test_the_exact_map_makes_no_error(sde: SDE, objective: FlowMapObjective) -> None:
    """MeanFlow's error is none on average over x_0 given x; being linear in x_0 here, it is none at its mean."""
    jump = jumps(sde)
    error, times = objective.error(jump, make_generator("middle"), None)
    assert bool(torch.isin(times, torch.cat([jump.start.t, jump.end.t])).all())
    torch.testing.assert_close(error, torch.zeros_like(error), **TIGHT)
    loss = DiffusionLoss("noise").of_error(jump.denoiser, error, times)
    (slope,) = torch.autograd.grad(loss.mean(), tuple(jump.denoiser.parameters()))
    assert abs(float(slope)) < 1e-8


@pytest.mark.parametrize("sde", [FlowSDE(), FlowSDE(scale=0.3), ResfusionSDE(), VPSDE()], ids=str)
def test_mean_flow_of_jumps_from_where_sampling_starts(sde: SDE) -> None:
    """There α may be 0, and still has a derivative."""
    jump = jumps(sde)
    start = Times.at(sde, torch.ones_like(jump.start.t))
    moved = replace(jump, start=start, x0=jump.denoiser(jump.x, start.t, jump.y).detach())
    error, _ = MeanFlowMap().error(moved, None, None)
    torch.testing.assert_close(error, torch.zeros_like(error), **TIGHT)


@pytest.mark.parametrize("objective", [*OBJECTIVES.values(), ConsistencyMap()], ids=[*OBJECTIVES, "consistency"])
def test_a_map_that_is_none_is_led_to_be_one(objective: FlowMapObjective) -> None:
    """Exact for x̂_0, but with jumps that are off by a factor in the span: every objective tells in which direction."""
    jump = jumps(FlowSDE(), count=2000, anchored=False)

    class Stretched(torch.nn.Module):
        takes_span = True

        def __init__(self) -> None:
            super().__init__()
            self.stretch = torch.nn.Parameter(torch.tensor(0.7, dtype=F64))

        def forward(self, x: Tensor, t: Tensor, span: Tensor | None = None) -> Tensor:
            return exact.network(x, t, None if span is None else self.stretch * span)

    exact, network = exact_map(FlowSDE()), Stretched()
    wrong = replace(jump, denoiser=Denoiser(network, FlowSDE(), "data"))
    error, times = objective.error(wrong, make_generator("middle"), exact)
    loss = DiffusionLoss("velocity").of_error(wrong.denoiser, error, times).mean()
    (slope,) = torch.autograd.grad(loss, network.stretch)
    assert loss.item() > 1e-5
    assert slope.item() < -1e-5


@pytest.mark.parametrize("name", ["vp", "flow"])
def test_the_teacher_is_distilled(name: str) -> None:
    """The error of the exact map vanishes with the cube of the teacher's step, which is of second order."""
    sde = {"vp": VPSDE(), "flow": FlowSDE()}[name]
    jump, errors = jumps(sde, low=0.2, high=0.8), []
    far = jump.start.t - jump.end.t > 0.3  # a short jump's mean is as wrong as the teacher's, to second order
    for step in (0.08, 0.04, 0.02):
        error, _ = ConsistencyMap(step=step).error(jump, None, jump.denoiser)
        errors.append(error[far].abs().mean().item())
    assert errors[0] < 1e-2
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.4)
    assert errors[1] / errors[2] == pytest.approx(8, rel=0.4)


# Batches. --------------------------------------------------------------------------------------------------------


def test_the_shares_of_a_batch_are_kept_on_average() -> None:
    objective, generator = LagrangianMap(diagonal=0.7), make_generator("shares")
    for batch in (1, 4, 32):
        counts = torch.tensor([objective.jumps(batch, generator) for _ in range(4000)], dtype=F64)
        assert float(counts.mean()) == pytest.approx(0.3 * batch, rel=0.06)
        assert float(counts.max() - counts.min()) <= 1
    assert LagrangianMap(diagonal=1.0).jumps(10, generator) == 0


def test_the_first_items_are_those_of_the_plain_loss() -> None:
    sde = VPSDE()
    x0, noise = torch.randn(2, 8, 3, dtype=F64, generator=make_generator("data"))
    mask = torch.ones_like(x0)
    mask[:, 1:] = 0
    denoiser, plain = exact_map(sde), DiffusionLoss()
    seen: list[int] = []

    def terms(estimate: Tensor) -> Tensor:
        seen.append(len(estimate))
        return torch.full((len(estimate),), 5.0, dtype=F64)

    loss = MapLoss(plain, LagrangianMap(diagonal=0.5))
    found = loss(denoiser, x0, None, mask, make_generator("loss"), noise=noise, condition={}, terms=terms)
    assert found.shape == (8,)
    assert seen == [4]
    generator = make_generator("loss")
    torch.rand((), generator=generator, dtype=F64)  # which decides on the share
    expected = plain(denoiser, x0[:4], None, mask[:4], generator, noise[:4], {}, terms)
    torch.testing.assert_close(found[:4], expected)
    assert float(found[4:].max()) < 1e-15


def test_a_mask_of_fewer_axes_is_that_of_every_item() -> None:
    """Also where its first axis is as long as the batch."""
    x0 = torch.randn(4, 3, 4, dtype=F64, generator=make_generator("data"))
    mask = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=F64)
    loss = MapLoss(DiffusionLoss(weighting="data"), LagrangianMap(diagonal=0.5))
    short, whole = (
        loss(exact_map(VPSDE()), x0, mask=one, generator=make_generator("loss")) for one in (mask, mask.expand(4, 3, 4))
    )
    torch.testing.assert_close(short, whole)


@pytest.mark.parametrize("batch", [1, 6])
def test_a_batch_may_be_all_jumps(batch: int) -> None:
    """The exact map makes no error in them; as a plain loss they cost what noise hides."""
    x0 = torch.randn(batch, 3, dtype=F64, generator=make_generator("data"))
    loss = MapLoss(DiffusionLoss(), LagrangianMap(diagonal=1e-9))
    with torch.no_grad():
        made = loss(exact_map(VPSDE()), x0, generator=make_generator("loss"))
    assert float(made.max()) < 1e-15


def test_jumps_lie_between_the_start_and_the_end() -> None:
    t, r = LagrangianMap(start_share=0.4).ends(VPSDE(), 2000, make_generator("ends"))
    assert bool((t >= r).all())
    assert float((t == 1).double().mean()) == pytest.approx(0.4, abs=0.05)
    assert float(r.min()) >= VPSDE().t_min
    normal = LagrangianMap(times=TimeSampler("log_normal", mean=-0.4, std=1.0), start_share=0.0)
    t, r = normal.ends(FlowSDE(), 2000, make_generator("ends"))
    assert float(t.median()) < 0.65


@pytest.mark.parametrize("loss", [DiffusionLoss(), MapLoss(DiffusionLoss(), LagrangianMap())])
@pytest.mark.parametrize(
    ("x0", "beside", "said"),
    [
        (torch.zeros(0, 3), {}, r"x0 of shape \(0, 3\): need \(batch, ...\), one item or more"),
        (torch.zeros(()), {}, r"x0 of shape \(\): need"),
        (torch.zeros(2, 3, dtype=torch.int64), {}, r"x0 of torch.int64: .*x0.float\(\)"),
        (np.zeros((2, 3)), {}, "x0 of ndarray: need a tensor"),
        (torch.zeros(2, 3), {"y": torch.zeros(3, 3)}, r"y of shape \(3, 3\): need that of x0, \(2, 3\)"),
        (torch.zeros(2, 3), {"noise": torch.zeros(3)}, r"noise of shape \(3,\): need that of x0"),
    ],
)
def test_what_is_no_batch_is_refused(loss: DiffusionLoss | MapLoss, x0: Any, beside: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        loss(exact_map(VPSDE()), x0, **beside)


@pytest.mark.parametrize(
    ("objective", "error"),
    [
        ({"kind": "lagrangian", "diagonal": 0.0}, "diagonal=0.0"),
        ({"kind": "lagrangian", "start_share": 1.5}, "start_share=1.5"),
        ({"kind": "shortcut", "middle": 1.0}, "middle=1.0"),
        ({"kind": "consistency", "step": 0.0}, "step=0.0"),
        ({"kind": "mean_flow", "power": 2.0}, "power=2.0"),
        ("eulerian", "lagrangian, shortcut, mean_flow, consistency"),
    ],
)
def test_bad_settings_are_refused(objective: Any, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        checked(FlowMapSetting, flow_map=objective)


def test_what_cannot_be_trained_is_refused_with_the_remedy() -> None:
    assert checked(FlowMapSetting, flow_map="shortcut") == ShortcutMap()
    with pytest.raises(ConfigError, match="start_from"):
        MapLoss(DiffusionLoss(), ConsistencyMap())

    class Plain(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return x

    with pytest.raises(ConfigError, match="span=True"):
        MapLoss(DiffusionLoss(), LagrangianMap())(Denoiser(Plain(), VPSDE(), "data"), torch.zeros(2, 3))
