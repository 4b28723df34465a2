"""Tiny models and sounds that the tests of the package share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from shared.sde import SDE
from speech.model.backbones import LightConfig
from speech.model.config import Parameterisation, SamplingConfig, SpeechConfig
from speech.model.frontend import FrontEndConfig
from speech.model.model import SpeechModel
from tests.golden.sgmse_cases import FILE
from tests.golden.store import Golden

TINY_FRONT_END = FrontEndConfig(n_fft=62, hop_length=16)
TINY_LIGHT = LightConfig(width=8, edge_width=4, blocks=1, dilations=(1,), mixed=2, mixing_width=8, embedding=8)


class LinearBackbone(nn.Module):
    """A complex linear map of state and anchor across frequencies, and its own dependence on time."""

    frame_multiple = 4

    def __init__(self, frequencies: int):
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        maps = torch.randn(2, frequencies, frequencies, 2, generator=generator) / frequencies
        self.maps = nn.Parameter(maps)

    def forward(self, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        of_x, of_y = torch.view_as_complex(self.maps)
        turn = torch.cos(2 * t)[:, None, None, None]
        return of_x @ x_t * turn + of_y @ y * (1 - turn)


@pytest.fixture(scope="session")
def golden() -> Golden:
    """The numbers that the published SGMSE+ code gave."""
    return Golden(FILE)


LinearModel = Callable[..., SpeechModel]


@pytest.fixture
def linear_model() -> LinearModel:
    """Makes a model of tiny spectrograms whose network is a `LinearBackbone`."""

    def make(
        sde: SDE, parameterisation: Parameterisation | None = None, sampling: SamplingConfig | None = None
    ) -> SpeechModel:
        config = SpeechConfig(
            TINY_LIGHT,
            TINY_FRONT_END,
            sde,
            parameterisation or Parameterisation(),
            sampling or SamplingConfig(),
        )
        return SpeechModel(config, LinearBackbone(TINY_FRONT_END.frequencies)).eval()

    return make
