"""One forward pass of every kind of network on a GPU, beside the CPU's in float32."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from speech.model.backbones.ncsnpp import NCSNpp, NCSNppConfig
from tests.gpu.ways import Way, apart, every_way
from tests.speech.model import test_light as light
from tests.tsdiff.conftest import sines, tiny_estimator
from tests.tsdiff.model.test_context import config, lively
from tests.tsdiff.pretraining.test_anchored import source
from tsdiff import TSDiff
from tsdiff.model.backbones import S4Config, SpaceTimeConfig
from tsdiff.windows.source import WindowSource

pytestmark = pytest.mark.gpu

Made = tuple[nn.Module, dict[str, Any]]
SMALL_NCSNPP = NCSNppConfig(nf=16, ch_mult=(1, 2), attn_resolutions=(32,), image_size=64, init_scale=1.0)


def _spectrograms(network: nn.Module, bins: int, frames: int) -> Made:
    x, y = light.spectrograms(3, bins, frames)
    return network, {"x_t": x, "y": y, "t": torch.tensor([0.2, 0.5, 0.9])}


def _series(**settings: Any) -> Made:
    estimator = tiny_estimator(**settings)
    windows = WindowSource(sines(), estimator.config, 8)
    batch = windows.batch(np.random.default_rng(0))
    model = lively(TSDiff(estimator.config, windows.statistics))
    return model.denoiser, {"x": batch.x0, "t": torch.linspace(0.1, 0.9, 8), **batch.condition}


def _context() -> Made:
    batch = source().batch(np.random.default_rng(0))
    t = torch.linspace(0.1, 0.9, len(batch.x0))
    return lively(TSDiff(config())).denoiser, {"x": batch.x0, "t": t, **batch.condition}


NETWORKS: dict[str, Callable[[], Made]] = {
    "light": lambda: _spectrograms(light.network(), light.BINS, 32),
    "ncsnpp": lambda: _spectrograms(NCSNpp(SMALL_NCSNPP), SMALL_NCSNPP.image_size, 32),
    "s4d": _series,
    "s4": lambda: _series(backbone=S4Config()),
    "spacetime": lambda: _series(backbone=SpaceTimeConfig()),
    "context": _context,
}


def moved(inputs: dict[str, Any], device: str) -> dict[str, Any]:
    """The inputs on another device."""
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}


@every_way
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_it_gives_on_the_cpu(name: str, way: Way, device: str) -> None:
    torch.manual_seed(0)
    network, inputs = NETWORKS[name]()
    with torch.no_grad():
        wanted = network.eval()(**inputs)
        other = copy.deepcopy(network).to(device)
        if way.compiled:
            torch.compiler.reset()
            other.compile()
        with way.autocast(device):
            found = other(**moved(inputs, device))
    assert found.device.type == torch.device(device).type
    assert apart(found, wanted) < way.error
