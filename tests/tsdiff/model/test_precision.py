"""Backbones in bfloat16, in inference mode and compiled."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from tsdiff.estimator import TSDiffEstimator
from tsdiff.model.backbones import PatchedS4D, S4Backbone, S4Config, S4DConfig

LENGTH = 24
S4 = S4Config(width=16, blocks=2, state=16, step_embedding=16)
S4D = S4DConfig(patch=4, width=16, blocks=2, state=8)


def network(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    x = torch.randn(8, LENGTH, 1)
    if name == "s4":
        return S4Backbone(S4, LENGTH), (x, torch.arange(8))
    made = PatchedS4D(S4D, LENGTH)
    nn.init.normal_(made.output.weight, std=0.1)  # starts at zero
    return made, (x, torch.linspace(-3, 3, 8))


def gradient(model: nn.Module, output: Tensor) -> Tensor:
    model.zero_grad()
    output.float().square().sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("name", ["s4", "s4d"])
def test_bfloat16_is_near(name: str) -> None:
    model, inputs = network(name)
    exact = model(*inputs)
    expected = gradient(model, exact)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(*inputs)
    found = gradient(model, low)
    assert (low.float() - exact).norm() < 0.03 * exact.norm()
    assert torch.cosine_similarity(found, expected, dim=0) > 0.99


@pytest.mark.parametrize("backbone", [S4, S4D])
def test_training_in_bfloat16(backbone: S4Config | S4DConfig) -> None:
    rng = np.random.default_rng(0)
    series = [{"start": pd.Period("2024-01-01", "h"), "target": 5 + rng.normal(size=80)} for _ in range(3)]
    estimator = TSDiffEstimator("h", 4, 20, backbone=backbone, batch_size=4)
    still, exact, low = (
        estimator.with_training(max_steps=3, **changes).train(series, progress=False)
        for changes in ({"learning_rate": 1e-12}, {"learning_rate": 1e-3}, {"precision": "bf16-mixed"})
    )
    start, to, near = (nn.utils.parameters_to_vector(each.model.denoiser.parameters()) for each in (still, exact, low))
    assert (near - to).norm() < 0.15 * (to - start).norm()
    one, other = (next(each.with_sampling(steps=3).predict(series[:1], 2)).samples for each in (exact, low))
    np.testing.assert_allclose(other, one, atol=5e-3)


@pytest.mark.parametrize("name", ["s4", "s4d"])
def test_inference_mode_gives_the_same(name: str) -> None:
    model, inputs = network(name)
    model.eval()
    with torch.inference_mode():
        first, second = model(*inputs), model(*inputs)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(model.requires_grad_(False)(*inputs), first.clone())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s4", "s4d"])
def test_compiled_gives_the_same(name: str) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    model, inputs = network(name)
    compiled, expected = torch.compile(model), model(*inputs)
    try:
        found = compiled(*inputs)
        slopes = gradient(model, found)
    except AssertionError as error:
        if "_fft_r2c" not in str(error):
            raise
        pytest.xfail("torch's compiler lays out the FFT otherwise than the library of this processor does")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(slopes, gradient(model, expected), rtol=1e-3, atol=1e-4)
