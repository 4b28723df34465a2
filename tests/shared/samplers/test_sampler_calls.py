"""Calls that samplers make: true counts, hooks of guidance, gradients, trajectories, callbacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError, SamplingError
from shared.guidance import DenoiserFunction, Guidance
from shared.random import make_generator
from shared.samplers import Exponential, Method, Sampler, StepInfo, sample, time_grid
from shared.sde import SDE, VPSDE, DiscreteVPSDE
from tests.processes import ANCHORED, all_sdes
from tests.shared.samplers.test_published_steps import TABLE
from tests.shared.samplers.test_samplers import F64, METHODS, VARIANTS, bent

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


# What cannot be used is told. ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        # At whole numbers the first call was told t = 0 or 1, whatever the time was.
        ({"x_start": torch.ones(2, 3, dtype=torch.long)}, "x_start of torch.int64: .* such as x_start.float()"),
        ({"x_start": np.ones((2, 3))}, "x_start of the type ndarray: need a tensor"),
        ({"x_start": torch.tensor(1.0)}, "x_start without axes"),
        ({"y": np.ones((2, 3))}, "anchor y of the type ndarray: need a tensor"),
        ({"shape": ()}, r"shape=\(\): .* the batch first"),
        ({"shape": 3}, "shape=3: .* the batch first"),
        ({"shape": (-1, 3)}, r"shape=\(-1, 3\)"),
        ({"shape": (2, 3), "dtype": torch.int64}, "dtype=torch.int64: .* such as torch.float32"),
        ({"shape": (2, 3), "generator": np.random.default_rng(0)}, r"generator=Generator\(PCG64\).*torch.Generator"),
        ({"shape": (2, 3), "sde": VPSDE}, r"sde=.*an object such as VPSDE\(\)"),
        ({"shape": (2, 3), "sde": "vp"}, "sde='vp': need a process"),
        ({"shape": (2, 3), "denoiser": lambda x, t: (x, t)}, "the denoiser returned the type tuple"),
        ({"shape": (2, 3), "method": Exponential}, r"method <class .*Exponential'> is a class: give an object, Expon"),
        ({"shape": (2, 3), "guidance": Guidance}, "guidance=<class .*: need an object of a class .* derives from Guid"),
    ],
    ids=range(14),
)
def test_what_cannot_be_sampled_with_is_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        sample(**{"denoiser": Counter(), "sde": VPSDE(), **given})


@pytest.mark.parametrize("method", [lambda run: None, lambda run: run.data(run.x, run.nodes[0])])
def test_a_method_that_does_not_go_to_the_end_gives_no_sample(method: Sampler) -> None:
    with pytest.raises(SamplingError, match=r"ended at t=1, not at 0.001: .* to run.finish_step"):
        sample(Counter(), VPSDE(), (2, 3), method=method)


@pytest.mark.parametrize("given", [None, torch.zeros(2, 1)], ids=["nothing", "another shape"])
@pytest.mark.parametrize("hook", ["predict", "after_step"])
def test_guidance_that_gives_no_state_is_named(hook: str, given: Tensor | None) -> None:
    """A prediction of one number an item would be stretched to it."""
    guidance = type("Given", (Guidance,), {hook: lambda *_: given})()
    with pytest.raises(ConfigError, match=f"the guidance's {hook} returned"):
        sample(lambda x, t: x / 2, VPSDE(), (2, 3), guidance=guidance)
