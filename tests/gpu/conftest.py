"""Where the tests marked gpu run, and in what precision."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """That of --gpu-device; float32 is computed as such there, where convolutions on a GPU by default drop bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return request.config.getoption("--gpu-device")
