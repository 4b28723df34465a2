"""The backbones through `torch.compile`, forwards and backwards: graphs are made and run as they are.

The same with generated code, which takes minutes to compile, is the slow test of `test_precision.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.tsdiff.model.test_precision import gradient, network
from tests.tsdiff.test_saved import random_predictor
from tsdiff import TSDiffPredictor


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


@pytest.mark.parametrize("part", ["denoiser.network", "denoiser.network.backbone"])
def test_a_forecaster_whose_network_is_compiled_is_saved_as_the_one_that_is_not(part: str, tmp_path: Path) -> None:
    predictor = random_predictor()
    plain = predictor.model.state_dict()
    holder, name = predictor.model.get_submodule(part.rpartition(".")[0]), part.rpartition(".")[2]
    setattr(holder, name, torch.compile(getattr(holder, name), backend="eager"))
    predictor.serialize(tmp_path / "model")
    again = TSDiffPredictor.from_pretrained(tmp_path / "model").model.state_dict()
    assert again.keys() == plain.keys()
    assert all(torch.equal(again[key], plain[key]) for key in plain)
