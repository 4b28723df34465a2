"""The published samplers: their equations written out, what the published code gave, and identities."""

from __future__ import annotations

import math
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator
from shared.samplers import sample
from shared.sde import VPSDE
from tests.golden import tsdiff_cases as cases
from tests.golden.store import Golden
from tsdiff.model.config import paper_sde
from tsdiff.sampling.published import (
    AncestralGuidance,
    DDIMGuidance,
    PublishedGuidance,
    posterior_variance,
    table_times,
)
from tsdiff.sampling.settings import SkipType

GOLDEN = Golden(cases.PATH)
SDE = paper_sde()
BETAS = torch.tensor(SDE.betas, dtype=torch.float64)
KEPT = torch.cumprod(1 - BETAS, 0)
LENGTH, ROWS = 10, 7
MASK = (torch.arange(LENGTH) < 6).double().reshape(1, LENGTH, 1).expand(ROWS, -1, -1)
VALUES = torch.linspace(-1, 2, LENGTH, dtype=torch.float64).reshape(1, LENGTH, 1).expand(ROWS, -1, -1)
LEVELS = (torch.arange(ROWS, dtype=torch.float64) + 1) / (ROWS + 1)
WEIGHT = torch.randn(LENGTH, LENGTH, dtype=torch.float64, generator=make_generator(9)) / math.sqrt(LENGTH)


def noise_of(x: Tensor, step: int) -> Tensor:
    """A network that predicts noise."""
    return torch.tanh(WEIGHT @ x + 0.01 * step) + 0.5 * x


def denoiser(x: Tensor, t: Tensor) -> Tensor:
    """Its data prediction."""
    step = round(float(SDE.step_of_time(t[0].double())))
    return clean_of(x, step, noise_of(x, step))


def clean_of(x: Tensor, step: int, noise: Tensor) -> Tensor:
    return (x - (1 - KEPT[step]).sqrt() * noise) / KEPT[step].sqrt()


def energy(x: Tensor, step: int, kind: str) -> Tensor:
    error = (VALUES - clean_of(x, step, noise_of(x, step)))[MASK == 1]
    if kind == "mse":
        return error.square().sum()
    q = LEVELS.reshape(-1, 1, 1).expand_as(MASK)[MASK == 1]
    return torch.maximum(q * error, (q - 1) * error).sum()


def descent(x: Tensor, step: int, kind: str) -> Tensor:
    state = x.clone().requires_grad_(True)
    return -torch.autograd.grad(energy(state, step, kind), state)[0]


def written_ddpm(kind: str, scale: float) -> Tensor:
    """Algorithm 1 of the paper, line by line, on the global random state."""
    x = torch.randn(ROWS, LENGTH, 1, dtype=torch.float64)
    for step in range(99, -1, -1):
        before = KEPT[step - 1] if step else torch.tensor(1.0, dtype=torch.float64)
        variance = BETAS[step] * (1 - before) / (1 - KEPT[step])
        x = (x - BETAS[step] / (1 - KEPT[step]).sqrt() * noise_of(x, step)) / (1 - BETAS[step]).sqrt()
        if step:
            x = x + variance.sqrt() * torch.randn_like(x)
        x = x + scale * variance * descent(x, step, kind)
    return x


def written_ddim(kind: str, scale: float, eta: float, steps: list[int]) -> Tensor:
    """The generalised DDIM step with a moved noise estimate, on the global random state."""
    x = torch.randn(ROWS, LENGTH, 1, dtype=torch.float64)
    for step, following in zip(steps[::-1], [*steps[-2::-1], -1], strict=True):
        after = KEPT[following] if following >= 0 else torch.tensor(1.0, dtype=torch.float64)
        noise = noise_of(x, step) - (1 - KEPT[step]).sqrt() * scale * descent(x, step, kind)
        spread = eta * ((1 - KEPT[step] / after) * (1 - after) / (1 - KEPT[step])).sqrt()
        x = after.sqrt() * clean_of(x, step, noise) + (1 - after - spread**2).sqrt() * noise
        if eta and following >= 0:
            x = x + spread * torch.randn_like(x)
    return x


def drawn(guidance: PublishedGuidance | None, method: Any, times: Tensor, eta: float | None = None) -> Tensor:
    """The core's sampler on the global random state."""
    torch.manual_seed(0)
    shape = (ROWS, LENGTH, 1)
    return sample(
        denoiser, SDE, shape, method=method, schedule=times, eta=eta, guidance=guidance, dtype=torch.float64
    ).x


@pytest.mark.parametrize("kind", ["mse", "quantile"])
@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_ddpm_is_the_published_algorithm(kind, scale):
    found = drawn(AncestralGuidance(VALUES, MASK, kind, LEVELS, scale), "sde1", table_times(SDE))
    torch.manual_seed(0)
    torch.testing.assert_close(found, written_ddpm(kind, scale), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ["mse", "quantile"])
@pytest.mark.parametrize(
    ("skip", "skip_type", "eta"), [(5, "uniform", 0.0), (4, "quadratic", 0.6), (1, "uniform", 1.0)]
)
def test_ddim_is_the_published_step(kind, skip: int, skip_type: SkipType, eta):
    times = table_times(SDE, skip, skip_type)
    found = drawn(DDIMGuidance(VALUES, MASK, kind, LEVELS, 0.3), "ode1", times, eta)
    steps = [round(float(SDE.step_of_time(t))) for t in times.flip(0)[1:]]
    torch.manual_seed(0)
    torch.testing.assert_close(found, written_ddim(kind, 0.3, eta, steps), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", list(cases.ENERGIES))
def test_the_published_code_gives_the_same(kind, monkeypatch: pytest.MonkeyPatch):
    """The same network, values and noise as `tests/golden/make_tsdiff.py` gave the published samplers."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        step = round(float(SDE.step_of_time(t[0].double())))
        return clean_of(x, step, cases.noise_of(x, step))

    def run(guide: PublishedGuidance, method: Any, times: Tensor, eta: float | None = None) -> Tensor:
        numbers = count()
        monkeypatch.setattr("torch.randn", lambda *shape, **_: cases.guided_noise(next(numbers)))
        shape = (cases.ROWS, cases.LENGTH, 1)
        return sample(
            network, SDE, shape, method=method, schedule=times, eta=eta, guidance=guide, dtype=torch.float64
        ).x

    def same(found: Tensor, name: str) -> None:
        torch.testing.assert_close(found, torch.from_numpy(GOLDEN.array(name)), rtol=1e-9, atol=1e-9)

    levels = (torch.arange(cases.ROWS, dtype=torch.float64) + 1) / (cases.ROWS + 1)
    target = (cases.VALUES, cases.MASK, kind, levels)
    same(run(AncestralGuidance(*target, cases.DDPM_SCALES[kind]), "sde1", table_times(SDE)), f"ddpm/{kind}")
    for skip, skip_type, eta in cases.DDIM:
        guide, times = DDIMGuidance(*target, cases.DDIM_SCALES[kind]), table_times(SDE, skip, skip_type)
        same(run(guide, "ode1", times, eta), f"ddim/{kind}/{skip}/{skip_type}/{eta}")


@pytest.mark.parametrize(("guide", "method"), [(AncestralGuidance, "sde1"), (DDIMGuidance, "ode1")])
def test_without_strength_the_core_is_left_alone(guide, method):
    found = drawn(guide(VALUES, MASK, "mse", None, 0.0), method, table_times(SDE))
    torch.testing.assert_close(found, drawn(None, method, table_times(SDE)), rtol=0, atol=0)


def test_the_steps_variance_is_that_of_the_table():
    for step in (99, 50, 1):
        t, t_next = float(SDE.time_of_step(step)), float(SDE.time_of_step(step - 1))
        wanted = float(BETAS[step] * (1 - KEPT[step - 1]) / (1 - KEPT[step]))
        assert posterior_variance(SDE, t, t_next) == pytest.approx(wanted, rel=1e-9)
    assert posterior_variance(SDE, float(SDE.time_of_step(0)), 0.0) == 0.0


def test_skips_leave_the_first_step_in():
    uniform, quadratic = table_times(SDE, 5), table_times(SDE, 5, "quadratic")
    np.testing.assert_allclose(uniform[:2], [0.96, 0.91], atol=1e-12)
    assert len(uniform) == 21
    assert 15 <= len(quadratic) <= 21
    for times in (uniform, quadratic):
        assert float(times[-2]) == pytest.approx(0.01)
        assert float(times[-1]) == 0.0
    assert len(table_times(SDE)) == 101


def test_what_the_published_samplers_cannot_do_is_refused():
    with pytest.raises(ConfigError, match="VPSDE has none"):
        table_times(VPSDE())
    with pytest.raises(ConfigError, match="skip=101"):
        table_times(SDE, 101)
    with pytest.raises(ConfigError, match="quantile level of each sample"):
        DDIMGuidance(VALUES, MASK, "quantile", None, 1.0)
