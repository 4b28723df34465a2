"""Fine-tuning a sampler of few steps on its own states: correcting the reverse process.

In training a network sees states that are made of clean data. A sampler of few steps shows it others, the results of
its own earlier steps, and their errors add up. Here the steps are taken as they will be, without gradient, and the last
one is trained: its estimate is compared with the clean recording, as spectrogram and as waveform (Lay et al. 2024,
"Single and few-step diffusion for generative speech enhancement", §III).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from shared.checks import Checked
from shared.errors import ConfigError
from shared.predictions import Denoiser
from speech.inference.sampling import sample_around
from speech.model.config import SamplingConfig


@dataclass(frozen=True)
class Rollout(Checked):
    """The sampler whose last step is trained.

    Args:
        sampling: the sampler with its steps; one that ends with its last data prediction, as "ode1", "ode2", "sde1",
            "sde2" and "map" do unless `t_end` is given.
    """

    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig("ode1", steps=2))

    def estimate(self, denoiser: Denoiser, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the sampler ends with, (batch, ...), with the gradient of its last call.

        Args:
            denoiser: the network.
            y: noisy spectrograms, (batch, ...).
            generator: of the noise.

        Raises:
            ConfigError: the sampler does not suit the process, or ends with something else than a data prediction.
        """
        last: dict[str, Tensor] = {}
        made = y

        def remembered(x: Tensor, t: Tensor, **told: Tensor) -> Tensor:
            nonlocal last, made
            last = {"x": x, "t": t, **told}
            made = denoiser(**last, y=y)
            return made

        with torch.no_grad():
            result = sample_around(remembered, denoiser.sde, y, self.sampling, generator)
        if not torch.allclose(result.x, made, rtol=1e-3, atol=1e-5):
            raise ConfigError(
                f"rollout with sampler {self.sampling.sampler!r}, t_end={self.sampling.t_end}: its result is not its "
                "last data prediction, which is what is trained; take ode1, ode2, sde1, sde2 or map, without t_end"
            )
        return denoiser(**last, y=y)
