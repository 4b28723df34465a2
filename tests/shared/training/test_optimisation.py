"""What one optimiser step does: gradients clipped to their norm, decay on matrices only, averages of the weights."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.training.batches import Batch
from shared.training.module import DiffusionModule, TrainingConfig, fit

CLIP = 0.5


class Line(nn.Module):
    """A matrix, a vector and a gain of one number, as networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(3, 2)
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * self.network(x)


class Ones:
    def batch(self, rng: np.random.Generator) -> Batch:
        return Batch(torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)))


class Squares:
    """The mean square of what the network gives, times `scale`."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, network: nn.Module, x0: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.scale * network(x0).square().mean(dim=1)


class GradientNorms(L.Callback):
    """Of the gradients that the step has just used."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        squares = [float(p.grad.double().square().sum()) for p in module.parameters() if p.grad is not None]
        self.norms.append(math.sqrt(sum(squares)))


def trained(scale: float, *callbacks: L.Callback, **changes: Any) -> tuple[Line, DiffusionModule]:
    """The network before and after training with a constant rate of 0.1."""
    torch.manual_seed(0)
    network, before = Line(), Line()
    before.load_state_dict(network.state_dict())
    settings = {"learning_rate": 0.1, "decay": "constant", "warmup": 0.0, **changes}
    module = DiffusionModule(network, Squares(scale), TrainingConfig(**settings))  # type: ignore[arg-type]
    fit(module, Ones(), progress=False, callbacks=callbacks)
    return before, module


def test_gradients_are_clipped_to_the_norm_asked_for() -> None:
    clipped, whole = GradientNorms(), GradientNorms()
    trained(100.0, clipped, max_steps=3, gradient_clip=CLIP)
    trained(100.0, whole, max_steps=3, gradient_clip=0.0)
    assert clipped.norms == pytest.approx([CLIP] * 3, rel=1e-4)
    assert min(whole.norms) > 10 * CLIP


def test_small_gradients_are_not_clipped() -> None:
    with_limit, without = GradientNorms(), GradientNorms()
    trained(1e-3, with_limit, max_steps=3, gradient_clip=CLIP)
    trained(1e-3, without, max_steps=3, gradient_clip=0.0)
    assert max(without.norms) < CLIP
    assert with_limit.norms == without.norms


def test_weight_decay_shrinks_matrices_and_nothing_else() -> None:
    """Where the loss says nothing, AdamW multiplies by 1 − rate · decay at each step (Loshchilov & Hutter 2019)."""
    before, module = trained(0.0, max_steps=2, weight_decay=0.5)
    after = module.denoiser
    torch.testing.assert_close(after.network.weight, before.network.weight * (1 - 0.1 * 0.5) ** 2)
    assert torch.equal(after.network.bias, before.network.bias)
    assert torch.equal(after.gain, before.gain)


def test_no_weight_decay_leaves_all_as_it_is() -> None:
    before, module = trained(0.0, max_steps=2)
    for own, other in zip(module.denoiser.parameters(), before.parameters(), strict=True):
        assert torch.equal(own, other)


class Weights(L.Callback):
    """The trained weight after each step."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        self.seen.append(module.denoiser.network.weight.detach().clone())


def test_the_averaged_weights_are_the_averages_of_all_steps() -> None:
    weights = Weights()
    _, module = trained(1.0, weights, max_steps=6, ema_decay=0.9)
    average = weights.seen[0]
    for n, weight in enumerate(weights.seen):
        decay = min(0.9, (1 + n) / (10 + n))
        average = weight if n == 0 else decay * average + (1 - decay) * weight
    torch.testing.assert_close(module.ema_denoiser.network.weight, average)
    assert not torch.allclose(module.denoiser.network.weight, average, atol=1e-2)
