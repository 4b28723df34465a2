"""Every bundled network of speech as a flow map's: what it is at first, and its derivatives along a direction."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from shared.errors import ConfigError
from shared.random import make_generator
from shared.sde import OUVESDE
from speech.model.backbones import DCUNetConfig, LightConfig, NCSNppConfig
from speech.model.frontend import FrontEndConfig
from tests.shared.flow_maps.directions import awaken, check_directions

SMALL = FrontEndConfig(n_fft=62, hop_length=16)
SMALL_LIGHT: dict[str, Any] = {"width": 8, "edge_width": 4, "blocks": 2, "mixed": 2, "mixing_width": 8, "embedding": 8}
CONFIGS: dict[str, Any] = {
    "light": (LightConfig(**SMALL_LIGHT, span=True), SMALL),
    "causal": (LightConfig(**SMALL_LIGHT, causal=True, span=True), SMALL),
    "ncsnpp": (
        NCSNppConfig(nf=4, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(16,), image_size=32, span=True),
        SMALL,
    ),
    "ncsnpp 48k": (
        NCSNppConfig(
            nf=4,
            ch_mult=(1, 2),
            num_res_blocks=1,
            attn_resolutions=(),
            progressive="none",
            progressive_input="none",
            resblock_type="ddpm",
            span=True,
        ),
        SMALL,
    ),
    "dcunet": (
        DCUNetConfig(architecture="DCUNet-10", embed_dim=8, activation="silu", span=True),
        FrontEndConfig(n_fft=128, hop_length=32),
    ),
    "dcunet, whitened": (
        DCUNetConfig(architecture="DCUNet-10", embed_dim=8, activation="silu", norm_type="CbN", span=True),
        FrontEndConfig(n_fft=128, hop_length=32),
    ),
}


def spectrograms(frontend: FrontEndConfig, dtype: torch.dtype) -> torch.Tensor:
    """States and noisy ones, (2, batch, 1, frequencies, frames)."""
    shape = (2, 2, 1, frontend.frequencies, 17 if frontend.n_fft == 128 else 16)
    return 0.2 * torch.randn(shape, dtype=dtype, generator=make_generator("spectrograms"))


@pytest.mark.parametrize(
    ("config", "frontend"),
    [
        pytest.param(*both, id=name, marks=pytest.mark.slow if name in ("ncsnpp 48k", "dcunet, whitened") else ())
        for name, both in CONFIGS.items()
    ],
)
def test_derivatives_along_a_direction(config: Any, frontend: FrontEndConfig) -> None:
    torch.manual_seed(0)
    network = config.build(frontend, OUVESDE()).double()
    awaken(network)
    x, y = spectrograms(frontend, torch.complex128)
    t, span = torch.tensor([[0.8, 0.5], [0.3, 0.1]], dtype=torch.float64)
    check_directions(network, lambda x, t, span: network(x, y, t, span), x, t, span)


@pytest.mark.parametrize(("config", "frontend"), CONFIGS.values(), ids=CONFIGS)
def test_a_map_begins_as_the_network_it_starts_from(config: Any, frontend: FrontEndConfig) -> None:
    torch.manual_seed(0)
    network = config.build(frontend, OUVESDE()).eval()
    assert network.takes_span
    x, y = spectrograms(frontend, torch.complex64)
    t, span = torch.tensor([[0.8, 0.5], [0.3, 0.1]])
    with torch.no_grad():
        torch.testing.assert_close(network(x, y, t, span), network(x, y, t), rtol=0, atol=0)


def test_a_network_that_is_told_no_time_is_no_map() -> None:
    with pytest.raises(ConfigError, match="span=True, time_embedding=None"):
        DCUNetConfig(time_embedding=None, span=True)
