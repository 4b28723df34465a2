"""The light network, of the models that ship, is one graph for `torch.compile`, forwards and backwards."""

from __future__ import annotations

import pytest
import torch

from tests.speech.model.test_light import network, spectrograms


@pytest.mark.slow
def test_one_graph_gives_the_same_values_and_gradients() -> None:
    torch.compiler.reset()
    model = network()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    x, y = spectrograms(2)
    t = torch.tensor([0.3, 0.8])
    expected = model(x, y, t)
    found = compiled(x, y, t)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    gradients = []
    for output in (expected, found):
        model.zero_grad()
        output.abs().square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert gradients[0]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
