"""The backbones through `torch.compile`, forwards and backwards: graphs are made and run as they are.

The same with generated code, which takes minutes to compile, is the slow test of `test_precision.py`.
"""

from __future__ import annotations

import pytest
import torch

from tests.tsdiff.model.test_precision import gradient, network


@pytest.mark.slow
@pytest.mark.parametrize(("name", "whole"), [("s4", False), ("s4d", True)])
def test_graphs_give_the_same_values_and_gradients(name: str, whole: bool) -> None:
    """S4D is one graph; S4 breaks at its convolution, whose forward derivatives of its own cannot be traced."""
    torch.compiler.reset()
    model, inputs = network(name)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=whole)
    expected, found = model(*inputs), compiled(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient(model, found), gradient(model, expected), rtol=1e-4, atol=1e-6)
