"""The optimisers of a training: AdamW, and Muon."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from shared.training.config import TrainingConfig

_BETAS = (0.9, 0.99)
"""AdamW's."""
_MOMENTUM = 0.95
_QUINTIC = (3.4445, -4.7750, 2.0315)
"""a + b s² + c s⁴, which moves singular values s towards 1; those of Jordan et al."""
_ITERATIONS = 5
_LEAST_SIDE = 16
"""A matrix with fewer rows or columns has too few directions to balance."""


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices with the same singular vectors and singular values near 1 (.7 to 1.2), by Newton and Schulz' iteration.

    Args:
        matrices: (number, rows, columns).
    """
    turned = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if turned else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if turned else x


class Muon(torch.optim.AdamW):
    """Matrices take steps along their momentum made orthogonal, all other parameters those of AdamW.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". The size of a step is that of Liu et
    al. 2025, "Muon is scalable for LLM training", equation 4, with which learning rates and decays of AdamW serve.
    torch's own refuses kernels of convolutions; here one is the matrix (out, in · kernel).

    Args:
        parameters: AdamW's groups.
        matrices: those of the parameters that take orthogonal steps.
        lr: peak rate, of both kinds of steps.
    """

    def __init__(self, parameters: list[dict[str, Any]], matrices: Iterable[nn.Parameter], *, lr: float):
        super().__init__(parameters, lr=lr, betas=_BETAS)
        self._matrices = set(matrices)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; `closure` gives the loss, whose gradients it leaves."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        shapes: dict[torch.Size, list[tuple[nn.Parameter, dict[str, Any]]]] = defaultdict(list)
        gradients = {}
        for group in self.param_groups:
            for p in group["params"]:
                if p in self._matrices and p.grad is not None:
                    shapes[p.flatten(1).shape].append((p, group))
                    gradients[p] = p.grad
        for alike in shapes.values():
            self._move(alike)
        for p in gradients:
            p.grad = None  # AdamW passes over it
        super().step()
        for p, gradient in gradients.items():
            p.grad = gradient
        return loss

    def _move(self, alike: list[tuple[nn.Parameter, dict[str, Any]]]) -> None:
        """Matrices of one shape, together."""
        directions = []
        for p, _ in alike:
            assert p.grad is not None
            state = self.state[p]
            if not state:
                state.update(step=torch.tensor(0.0), momentum=torch.zeros_like(p))  # AdamW looks for a step, too
            state["step"] += 1
            momentum = state["momentum"]
            momentum.lerp_(p.grad, 1 - _MOMENTUM)
            directions.append(p.grad.lerp(momentum, _MOMENTUM).flatten(1))
        steps = orthogonalised(torch.stack(directions).float())
        size = 0.2 * max(steps.shape[1:]) ** 0.5
        for (p, group), step in zip(alike, steps, strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.sub_(step.view_as(p), alpha=group["lr"] * size)


def optimiser_of(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The configured optimiser of a network's parameters; those of one axis, biases and gains, never decay.

    Muon turns linear layers and convolutions without groups of at least 16 rows and columns.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.optimizer == "muon":
        return Muon(groups, _matrices(network), lr=config.learning_rate)
    fused = config.precision == "32-true"  # Lightning clips no gradients for a fused optimiser in mixed ones
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=_BETAS, fused=fused)


def _matrices(network: nn.Module) -> set[nn.Parameter]:
    weights = set()
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d) and getattr(layer, "groups", 1) == 1:
            weight = layer.weight
            if isinstance(weight, nn.Parameter) and min(weight.flatten(1).shape) >= _LEAST_SIDE:
                weights.add(weight)
    return weights
