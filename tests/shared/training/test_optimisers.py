"""Muon beside torch's own, which takes matrices alone; what it does to other parameters; going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.errors import CheckpointError
from shared.training.batches import Batch
from shared.training.config import TrainingConfig
from shared.training.module import DiffusionModule, fit
from shared.training.optimisers import optimiser_of, orthogonalised

RATE, DECAY = 0.02, 0.1


class Layers(nn.Module):
    """A convolution, a wide and a tall matrix, one that is too small, and what is no matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv1d(4, 24, 5), nn.Linear(12, 40), nn.Linear(40, 32), nn.Linear(32, 3))
        self.table = nn.Parameter(torch.randn(20, 30))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * self.table.mean()


def layers(seed: int = 0) -> Layers:
    torch.manual_seed(seed)
    return Layers()


def descend(network: nn.Module, optimiser: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimiser.zero_grad()
        network(torch.randn(8, 4, 16, generator=generator)).square().mean().backward()
        optimiser.step()


def config(**changes: Any) -> TrainingConfig:
    return TrainingConfig(optimizer="muon", learning_rate=RATE, weight_decay=DECAY, **changes)


@pytest.mark.parametrize("shape", [(3, 16, 40), (2, 40, 16), (1, 24, 24)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = orthogonalised(matrices)
    values = torch.linalg.svdvals(turned)
    assert values.min() > 0.5
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    between = left.mT @ turned @ right.mT
    rest = between - torch.diag_embed(between.diagonal(dim1=1, dim2=2))
    assert rest.abs().max() < 1e-10


def test_matrices_move_as_by_the_optimiser_of_torch() -> None:
    muon = getattr(torch.optim, "Muon", None)
    if muon is None:
        pytest.skip("this torch has no Muon of its own")
    torch.manual_seed(0)
    ours, theirs = nn.Linear(40, 24, bias=False), nn.Linear(40, 24, bias=False)
    theirs.load_state_dict(ours.state_dict())
    start = ours.weight.detach().clone()
    own = optimiser_of(ours, config())
    other = muon(theirs.parameters(), lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        x = torch.randn(8, 40, generator=generator)
        for network, optimiser in ((ours, own), (theirs, other)):
            optimiser.zero_grad()
            (network(x) - 1).square().mean().backward()
            optimiser.step()
    apart = torch.linalg.norm(ours.weight - theirs.weight)
    assert apart < 0.1 * torch.linalg.norm(ours.weight - start)  # torch's iteration has the eight bits of bfloat16


def test_a_convolution_moves_as_the_matrix_that_it_is() -> None:
    torch.manual_seed(0)
    convolution, linear = nn.Conv1d(4, 24, 5, bias=False), nn.Linear(20, 24, bias=False)
    linear.weight.data.copy_(convolution.weight.flatten(1))
    x = torch.randn(6, 4, 5)
    for network, given in ((convolution, x), (linear, x.flatten(1))):
        optimiser = optimiser_of(network, config())
        for _ in range(3):
            optimiser.zero_grad()
            network(given).square().mean().backward()
            optimiser.step()
    torch.testing.assert_close(convolution.weight.flatten(1), linear.weight)


def test_all_else_moves_as_by_adamw() -> None:
    """A single step: the next ones' gradients differ where the matrices do."""
    one, other = layers(), layers()
    descend(one, optimiser_of(one, config()), 1)
    descend(other, optimiser_of(other, TrainingConfig(learning_rate=RATE, weight_decay=DECAY)), 1)
    before = layers()
    matrices = {
        "network.0.weight",
        "network.2.weight",
    }  # of the others one side is less than 16, or they are no layers'
    for name, parameter in one.named_parameters():
        same = torch.allclose(parameter, other.get_parameter(name), atol=1e-7)
        assert same != (name in matrices), name
        assert not torch.equal(parameter, before.get_parameter(name)), name


class Noise:
    def batch(self, rng: np.random.Generator) -> Batch:
        return Batch(torch.from_numpy(rng.normal(size=(8, 4, 16)).astype(np.float32)))


def squares(network: nn.Module, x0: Tensor, *_: Any, **__: Any) -> Tensor:
    return network(x0).square().mean(dim=(1, 2))


def trained(folder: Path | None, steps: int, **changes: Any) -> DiffusionModule[Layers]:
    module = DiffusionModule(layers(), squares, config(max_steps=8, decay="constant", **changes))
    module.config.__dict__["max_steps"] = steps
    fit(module, Noise(), folder, progress=False)
    return module


def test_a_training_that_went_on_is_the_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole = trained(None, 8)
    trained(tmp_path, 3)
    resumed = trained(tmp_path, 8)
    for own, other in zip(resumed.denoiser.parameters(), whole.denoiser.parameters(), strict=True):
        assert torch.equal(own, other)


def test_the_state_of_another_optimiser_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, 3)
    other = DiffusionModule(layers(), squares, TrainingConfig(max_steps=8, learning_rate=RATE))
    with pytest.raises(CheckpointError, match="begun with 'muon'"):
        fit(other, Noise(), tmp_path, progress=False)
