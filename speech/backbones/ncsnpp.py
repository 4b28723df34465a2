"""NCSN++ as the published speech enhancement models have it, the four variants one network with options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.errors import ConfigError


@dataclass(frozen=True)
class NCSNppConfig:
    """Settings of `NCSNpp`. The defaults are those of the journal paper (Richter et al. 2023): 65.6 M parameters.

    Names are those of the published code, so that its settings can be carried over.

    Attributes:
        kind: tells the backbones apart in a saved configuration.
        nf: channels at the first level.
        ch_mult: of each level, channels over nf; each level halves frequencies and frames.
        num_res_blocks: residual blocks of a level on the way down; there is one more on the way up.
        attn_resolutions: numbers of frequency bins at which levels have attention. The middle always has.
        image_size: frequency bins of the input, from which follows what levels attn_resolutions means.
        resblock_type: "biggan" resamples inside residual blocks, "ddpm" between them.
        resamp_with_conv: for "ddpm": convolve on resampling.
        nonlinearity: of all blocks.
        conditional: tell the network the time.
        fir: resample with `fir_kernel`; otherwise by repeating and averaging.
        fir_kernel: taps of the separable filter, scaled to sum 1.
        skip_rescale: divide sums of two branches by √2.
        progressive: how the output is gathered from the levels.
        progressive_input: how the input is given to the levels.
        progressive_combine: of "input_skip": add it, or concatenate.
        init_scale: of the last convolution of each block at the start; 0 means 1e-10.
        fourier_scale: standard deviation of the frequencies of the time embedding, which is of log t.
        dropout: probability inside residual blocks.
        centered: the input is centred at 0; otherwise it is in [0, 1] and is stretched to [−1, 1].
        divide_by_time: divide by t "before" or "after" the last 1×1 convolution, or not at all.

    Raises:
        ConfigError: a value that cannot be used.
    """

    kind: Literal["ncsnpp"] = "ncsnpp"
    nf: int = 128
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 2, 2, 2)
    num_res_blocks: int = 2
    attn_resolutions: tuple[int, ...] = (16,)
    image_size: int = 256
    resblock_type: Literal["biggan", "ddpm"] = "biggan"
    resamp_with_conv: bool = True
    nonlinearity: Literal["swish", "elu", "relu", "lrelu"] = "swish"
    conditional: bool = True
    fir: bool = True
    fir_kernel: tuple[float, ...] = (1, 3, 3, 1)
    skip_rescale: bool = True
    progressive: Literal["none", "output_skip", "residual"] = "output_skip"
    progressive_input: Literal["none", "input_skip", "residual"] = "input_skip"
    progressive_combine: Literal["sum", "cat"] = "sum"
    init_scale: float = 0.0
    fourier_scale: float = 16.0
    dropout: float = 0.0
    centered: bool = True
    divide_by_time: Literal["before", "after"] | None = "before"

    def __post_init__(self) -> None:
        if self.nf < 4 or self.nf % 4:
            raise ConfigError(f"nf={self.nf}: give a multiple of 4, such as 128")
        if not self.ch_mult or min(self.ch_mult) < 1:
            raise ConfigError(f"ch_mult={self.ch_mult}: give a whole number from 1 for each level")
        if self.num_res_blocks < 1:
            raise ConfigError(f"num_res_blocks={self.num_res_blocks}: give 1 or more")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout}: give a probability below 1")
        if self.fir and sum(self.fir_kernel) == 0:
            raise ConfigError(f"fir_kernel={self.fir_kernel}: its taps sum to 0; give a low-pass filter")


PUBLISHED: dict[str, NCSNppConfig] = {
    "ncsnpp": NCSNppConfig(),
    "ncsnpp_v2": NCSNppConfig(divide_by_time=None),
    "ncsnpp_48k": NCSNppConfig(
        attn_resolutions=(), progressive="none", progressive_input="none", divide_by_time="after"
    ),
}
"""The published variants by their names there."""
