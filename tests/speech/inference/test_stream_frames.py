"""The frames of a stream are those of the whole recording, mirrored at its end, and no more."""

from __future__ import annotations

import pytest
import torch

from speech.inference.streaming import _Analysis
from speech.model.frontend import FrontEnd, FrontEndConfig, mirrored
from tests.speech.conftest import TINY_FRONT_END


@pytest.mark.parametrize("config", [TINY_FRONT_END, FrontEndConfig(n_fft=100, hop_length=40)])
@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_frames_come_as_from_the_whole(config: FrontEndConfig, block: int) -> None:
    for samples in (1, 5, 30, 31, 32, 33, 49, 50, 51, 52, 79, 80, 81, 160, 161):
        check(FrontEnd(config), samples, block)


def check(frontend: FrontEnd, samples: int, block: int) -> None:
    signal = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    analysis, parts = _Analysis(frontend, 2), []
    for start in range(0, samples, block):
        parts.append(analysis.push(signal[:, start : start + block], last=start + block >= samples))
    found = torch.cat([part for part in parts if part is not None], dim=-1)
    config = frontend.config
    count = config.frames(samples) + config.frames_beyond
    whole = frontend(mirrored(signal, samples + 2 * config.n_fft))
    assert found.shape[-1] == count, samples
    torch.testing.assert_close(found, whole[..., :count], rtol=1e-4, atol=1e-5, msg=f"{samples} samples")
