"""How a model shows itself."""

from __future__ import annotations

from torch import nn

from tsdiff.model.config import TSDiffConfig


class ShortName:
    """A line instead of torch's page of layers, which `print(model.denoiser)` still shows."""

    config: TSDiffConfig

    def __repr__(self) -> str:
        assert isinstance(self, nn.Module)
        config, weights = self.config, sum(one.numel() for one in self.parameters())
        freq = "any frequency" if config.awaits_freq else repr(config.freq)
        channels = f" of {config.channels} channels" if config.channels > 1 else ""
        steps = f"{config.context_length} + {config.prediction_length} steps{channels}"
        return f"{type(self).__name__}({freq}, {steps}, {type(config.backbone).__name__}, {weights:,} weights)"
