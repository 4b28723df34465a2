"""DCUNet, the complex-valued U-Net of the first score-based enhancement paper, as published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.errors import ConfigError

Architecture = Literal["DCUNet-10", "DCUNet-16", "DCUNet-20", "DilDCUNet-v2"]


@dataclass(frozen=True)
class DCUNetConfig:
    """Settings of `DCUNet`. The defaults are those of the published training script.

    Attributes:
        kind: tells the backbones apart in a saved configuration.
        architecture: kernel sizes, strides and widths of the levels; "DilDCUNet-v2" is that of Welker et al. 2022.
        time_embedding: "gfp", random Fourier features; "ds", those of DiffWave; None, no time is seen.
        time_embedding_complex: features are complex exponentials in place of sines and cosines.
        temb_layers_global: layers over the embedding that all blocks share.
        temb_layers_local: layers over it in each block.
        temb_activation: between these layers.
        fix_length: what is done where the frames less one are no multiple of the strides: zeros are added at the end,
            frames are cut there, or it is an error.
        norm_type: "bN", batch norm of real and imaginary part each; "CbN", complex batch norm that whitens both.
        activation: of the blocks, on real and imaginary part each.
        embed_dim: width of the time embedding.

    Raises:
        ConfigError: a value that cannot be used.
    """

    kind: Literal["dcunet"] = "dcunet"
    architecture: Architecture = "DilDCUNet-v2"
    time_embedding: Literal["gfp", "ds"] | None = "gfp"
    time_embedding_complex: bool = False
    temb_layers_global: int = 1
    temb_layers_local: int = 1
    temb_activation: Literal["silu", "relu", "leaky_relu"] = "silu"
    fix_length: Literal["pad", "trim"] | None = "pad"
    norm_type: Literal["bN", "CbN"] = "bN"
    activation: Literal["silu", "relu", "leaky_relu"] = "leaky_relu"
    embed_dim: int = 128

    def __post_init__(self) -> None:
        if self.embed_dim < 2 or self.embed_dim % 2:
            raise ConfigError(f"embed_dim={self.embed_dim}: give an even number")
        if self.temb_layers_global < 0 or self.temb_layers_local < 1:
            raise ConfigError(
                f"temb_layers_global={self.temb_layers_global}, temb_layers_local={self.temb_layers_local}: give at "
                "least 0 and 1"
            )
