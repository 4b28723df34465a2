"""Training through `torch.compile` in its quick form: the graphs are made and differentiated, and run as they are.

The same with generated code, which takes half a minute to compile, is the slow test of `test_training.py`.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch._dynamo.utils import counters

from shared.training.module import fit
from tests.shared.training.test_training import Points, make_module


@pytest.mark.slow
def test_training_through_compiled_graphs_gives_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # else half a minute of C++
    torch.compiler.reset()
    counters.clear()
    plain, compiled = make_module(dropout=0.0, max_steps=5), make_module(dropout=0.0, max_steps=5, compile=True)
    fit(plain, Points(), progress=False)
    assert counters["frames"]["ok"] == 0
    fit(compiled, Points(), progress=False)
    assert counters["frames"]["ok"] > 0
    for (name, value), other in zip(compiled.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(value, other, msg=name, rtol=1e-5, atol=1e-6)
    assert compiled.denoiser.network._compiled_call_impl is None
