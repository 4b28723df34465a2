"""The sampler of flow maps, on the closed-form map of Gaussian data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.predictions import Denoiser
from shared.random import make_generator
from shared.samplers import FlowMap, Run, sample
from shared.samplers.schedules import inside_start
from shared.sde import SBVESDE, SDE, VPSDE, FlowSDE
from shared.sde.base import anchored
from tests.processes import ANCHORED, BRIDGES, all_sdes
from tests.shared.flow_maps.gaussian_map import F64, MEAN, VARIANCE, GaussianMap, exact_map
from tests.shared.gaussian import GaussianData


def anchor(name: str, count: int = 4) -> Tensor | None:
    return torch.randn(count, 3, dtype=F64, generator=make_generator("y")) if name in ANCHORED else None


@pytest.mark.parametrize("steps", [1, 2, 4])
@all_sdes()
def test_an_exact_map_comes_where_the_ode_comes_in_any_number_of_steps(name: str, sde: SDE, steps: int) -> None:
    y, start = anchor(name), inside_start(sde) if name != "flow" and name != "resfusion" else 0.99
    x = torch.randn(4, 3, dtype=F64, generator=make_generator("x"))
    # The Gaussian's mean is 0.4 off the anchor.
    data = GaussianData(sde, MEAN if y is None else y + MEAN, VARIANCE**0.5, y)
    result = sample(exact_map(sde, y), sde, y=y, x_start=x, t_start=start, t_end=0.1, method="map", steps=steps)
    torch.testing.assert_close(result.x, data.flow(x, start, 0.1), rtol=1e-8, atol=1e-8)
    assert result.nfe == steps
    assert result.times is None


def test_steps_are_equally_long_and_a_schedule_may_be_given() -> None:
    run: dict[str, Any] = {"shape": (2, 3), "method": "map", "steps": 4, "return_trajectory": True, "dtype": F64}
    times = sample(exact_map(VPSDE()), VPSDE(), **run).times
    assert times is not None
    torch.testing.assert_close(times, torch.linspace(1, VPSDE().t_end, 5, dtype=F64))
    other = sample(exact_map(VPSDE()), VPSDE(), schedule="log_snr", **run).times
    assert other is not None
    assert not torch.allclose(times, other)


@pytest.mark.parametrize("steps", [1, 2])
def test_samples_from_a_bridge_differ_by_their_noise(steps: int) -> None:
    """The spread that a start at the anchor and noise leaves is that of the data, but for what α is there."""
    sde, count = SBVESDE(), 20_000
    y = torch.full((count, 1), 0.3, dtype=F64)
    drawn = sample(exact_map(sde, y), sde, y=y, method="map", steps=steps, t_end=0.0, generator=make_generator("map"))
    assert drawn.nfe == steps
    assert float(drawn.x.std()) == pytest.approx(VARIANCE**0.5, rel=0.03)
    assert float(drawn.x.mean()) == pytest.approx(0.3 + MEAN, abs=0.12)
    plain = sample(lambda x, t, r: x + 0.4, sde, y=y, method=FlowMap(boot=False), steps=1, t_end=0.0)
    torch.testing.assert_close(plain.x, y + 0.4)


def test_a_map_of_a_bridge_must_end_below_its_start() -> None:
    sde = SBVESDE()
    with pytest.raises(ConfigError, match=r"starts at 0\.98"):
        sample(exact_map(sde), sde, y=torch.zeros(2, 3), method="map", steps=1, t_end=0.99)


@all_sdes(skip=BRIDGES)
def test_an_item_does_not_depend_on_its_batch(name: str, sde: SDE) -> None:
    torch.manual_seed(0)

    class Network(nn.Module):
        takes_span = True

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3).double()

        def forward(self, x: Tensor, t: Tensor, span: Tensor | None = None) -> Tensor:
            assert span is not None
            linear = (x[:, None] * self.layer.weight).sum(-1)  # a product's rounding may depend on the batch
            return torch.tanh(linear + self.layer.bias + t[:, None] - span[:, None])

    denoiser = Denoiser(Network(), sde, "data")
    y = anchor(name)
    options: dict[str, Any] = {"method": "map", "steps": 2, "dtype": F64}
    together = sample(denoiser, sde, (4, 3), y, generator=[make_generator("item", i) for i in range(4)], **options).x
    for i in range(4):
        part = None if y is None else y[i : i + 1]
        alone = sample(denoiser, sde, (1, 3), part, generator=[make_generator("item", i)], **options).x
        assert torch.equal(alone, together[i : i + 1])


def test_the_other_samplers_use_the_map_at_its_diagonal() -> None:
    data = GaussianData(VPSDE(), MEAN, VARIANCE**0.5, None)
    x = torch.randn(4, 3, dtype=F64, generator=make_generator("x"))
    for method in ("ode2", "euler"):
        found = sample(exact_map(VPSDE()), VPSDE(), x_start=x, method=method, steps=5).x
        expected = sample(data.denoiser, VPSDE(), x_start=x, method=method, steps=5).x
        torch.testing.assert_close(found, expected)


def test_what_is_no_map_is_refused_with_the_remedy() -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return x

    models: tuple[Any, ...] = (lambda x, t: x, Denoiser(Plain(), VPSDE(), "data"), Plain())
    for model in models:
        with pytest.raises(ConfigError, match=r"no flow map.*ode2.*span=True"):
            sample(model, VPSDE(), (2, 3), method="map")


def test_guidance_steers_a_map_too() -> None:
    """It is handed a function of state and time, as always, which leads to the step's own end."""
    seen: list[tuple[float, float]] = []

    class Watched(GaussianMap):
        def forward(self, x: Tensor, t: Tensor, span: Tensor | None = None) -> Tensor:
            assert span is not None
            seen.append((round(float(t[0]), 6), round(float((t - span)[0]), 6)))
            return super().forward(x, t, span)

    from shared.guidance import Guidance

    class Pushed(Guidance):
        def predict(self, denoiser: Any, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
            return denoiser(x, t) + 1.0

    sde = FlowSDE()
    x = torch.randn(4, 3, dtype=F64, generator=make_generator("x"))
    denoiser = Denoiser(Watched(sde), sde, "data")
    options: dict[str, Any] = {"x_start": x, "t_start": 0.9, "t_end": 0.0, "method": "map", "steps": 2}
    pushed = sample(denoiser, sde, guidance=Pushed(), **options).x
    assert seen == [(0.9, 0.45), (0.45, 0.0)]
    assert float((pushed - sample(denoiser, sde, **options).x).mean()) > 1


def test_a_users_own_map_may_be_a_function() -> None:
    def jump(run: Run) -> None:
        for now, after in zip(run.nodes, run.nodes[1:], strict=False):
            mean = run.mean_residual(run.x, now, after)
            run.finish_step(anchored(mean, run.y), now, after)

    found = sample(lambda x, t, r: torch.full_like(x, float(r[0])), VPSDE(), (2, 3), method=jump, steps=1, t_end=0.25)
    torch.testing.assert_close(found.x, torch.full((2, 3), 0.25))
