"""Making a module from settings that a file states, with no more memory and layers than the file's tensors justify."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from shared.errors import CheckpointError

_SPARE_NUMBERS, _SPARE_CALLS = 1 << 25, 200
"""What is allowed besides: buffers that are not saved, such as windows, and what older files lack."""
_TIMES = 8
"""Layers make some tensors only to take their place: each tensor of the file may be made so many times."""


class Budget(TorchFunctionMode):
    """Within it, tensors are made only up to a number of them and of their elements, counted before memory is taken.

    Damaged settings ask for a layer of any width, or for a million layers; both would take gigabytes or minutes before
    names and shapes can be compared with the file's.

    Args:
        shapes: of the file's tensors.
        origin: of the settings, for the message.

    Raises:
        CheckpointError: from the call that would exceed it.
    """

    def __init__(self, shapes: Sequence[Sequence[int]], origin: str):
        super().__init__()
        self.origin, self.stored = origin, sum(math.prod(shape) for shape in shapes)
        self.calls, self.numbers = _TIMES * len(shapes) + _SPARE_CALLS, _TIMES * self.stored + _SPARE_NUMBERS
        self.tensors = len(shapes)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        size = _SIZES.get(func)
        if size is not None:
            self.calls -= 1
            self.numbers -= size(*args, **kwargs)
            if self.calls < 0 or self.numbers < 0:
                raise CheckpointError(
                    f"settings in {self.origin} make a larger model than its {self.tensors} tensors of {self.stored} "
                    "numbers: file and settings do not belong together; copy or train the model again"
                )
        return func(*args, **kwargs)


def _of_size(*size: Any, **kwargs: Any) -> int:
    """Elements of f(2, 3), f((2, 3)) or f(size=(2, 3))."""
    shape = kwargs.get("size", size[0] if size and isinstance(size[0], (tuple, list)) else size)
    return math.prod(int(side) for side in shape)


def _of_new(tensor: Tensor, *size: Any, **kwargs: Any) -> int:
    return _of_size(*size, **kwargs)


def _repeated(tensor: Tensor, *size: Any, **kwargs: Any) -> int:
    return tensor.numel() * _of_size(*size, **({"size": kwargs["repeats"]} if "repeats" in kwargs else {}))


_SIZES: dict[Callable[..., Any], Callable[..., int]] = {
    **dict.fromkeys((torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn), _of_size),
    **dict.fromkeys((Tensor.new_empty, Tensor.new_zeros, Tensor.new_ones), _of_new),
    torch.full: lambda size, *_, **__: _of_size(size),
    torch.eye: lambda n, m=None, **_: n * (n if m is None else m),
    torch.linspace: lambda start, end, steps, **_: steps,
    torch.logspace: lambda start, end, steps, *_, **__: steps,
    torch.arange: lambda *bounds, **_: int(max(abs(float(bound)) for bound in bounds)),
    torch.hann_window: lambda length, *_, **__: length,
    Tensor.repeat: _repeated,
}
"""How many elements a call will make, for the functions that layers make tensors with."""
