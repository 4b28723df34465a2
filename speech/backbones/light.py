"""A small network for spectrograms that runs on a CPU, many times faster than the sound lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.errors import ConfigError


@dataclass(frozen=True)
class LightConfig:
    """Size of a `LightBackbone`.

    Args:
        width: channels of the bands in the middle of the network.
        edge_width: channels of the finer bands around it.
        patch: frequency bins of a fine band; a middle band has two fine ones.
        blocks: residual blocks in the middle.
        dilations: of the blocks along time, in turn, in frames.
        mixed: channels of each band that a block hands to the mixing of all bands; 0 for none.
        mixing_width: hidden units of that mixing.
        embedding: units of the embedding of the time of the process.
        causal: see no frame after the one that is estimated; lets the network run by `step`.
    """

    width: int = 64
    edge_width: int = 32
    patch: int = 4
    blocks: int = 8
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    mixed: int = 8
    mixing_width: int = 256
    embedding: int = 128
    causal: bool = False
    kind: Literal["light"] = "light"

    def __post_init__(self) -> None:
        for name in ("width", "edge_width", "patch", "blocks", "mixing_width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: need at least 1")
        if self.mixed < 0:
            raise ConfigError(f"mixed={self.mixed}: need at least 0")
        if not self.dilations or min(self.dilations) < 1:
            raise ConfigError(f"dilations={self.dilations}: need at least one, each at least 1")
        if self.embedding < 2 or self.embedding % 2:
            raise ConfigError(f"embedding={self.embedding}: need an even number from 2")
