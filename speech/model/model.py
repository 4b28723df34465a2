"""A speech model: front end, process, backbone, and what the backbone's output means."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.files.checkpoint import dataclass_from, open_checkpoint, resolve, save_checkpoint
from shared.predictions import PathPoint
from shared.sde import SDE
from shared.sde.base import expand
from speech.model.backbones import build_backbone
from speech.model.config import FramePadding, Parameterisation, SpeechConfig
from speech.model.frontend import FrontEnd

FORMAT, VERSION = "speech", 1
BUNDLED = Path(__file__).parents[1] / "pretrained"
_SMALLEST_SIGMA = 1e-4
"""Where σ vanishes, at the end of a bridge, the scales of the published code take this."""


class SpeechModel(nn.Module):
    """A conditional diffusion model of clean speech spectrograms x given noisy ones y.

    Args:
        config: what the model is.
        backbone: a network to use instead of a fresh one that the configuration describes: a module
            (x_t, y, t) → complex like x_t, with an attribute `frame_multiple`, of which recordings get a multiple of
            frames.

    Attributes:
        config: the same.
        frontend: waveforms to spectrograms and back.
        sde: the process.
        backbone: the network.
    """

    def __init__(self, config: SpeechConfig, backbone: nn.Module | None = None):
        super().__init__()
        self.config = config
        self.frontend = FrontEnd(config.frontend)
        self.sde: SDE = config.sde
        self.backbone = backbone or build_backbone(config.backbone, config.frontend, self.sde)

    @property
    def network(self) -> nn.Module:
        """The backbone: what training may compile."""
        return self.backbone

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def frame_multiple(self) -> int:
        """Recordings are enhanced in multiples of this many frames."""
        multiple = self.backbone.frame_multiple
        assert isinstance(multiple, int)
        return multiple

    def forward(self, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """The score, or the data prediction where the configuration's output is "data": for an imported model, what the
        published forward returns.

        Args:
            x_t: states, complex (batch, 1, frequencies, frames).
            y: noisy spectrograms, shaped like `x_t`.
            t: times (batch,).

        Returns:
            Complex, shaped like `x_t`.

        Raises:
            DataError: frequencies or frames that the backbone does not take as they are; `pad_frames` continues frames.
        """
        scales = self.config.parameterisation
        sigma = self.sde.sigma(t.double()).clamp_min(_SMALLEST_SIGMA)
        c_in = _input_scale(scales, sigma)
        inputs = (x_t, y) if c_in is None else (expand(c_in, x_t) * x_t, expand(c_in, y) * y)
        output = self.backbone(*inputs, t)
        if scales.network_scaling is not None:
            output = output / expand(sigma if scales.network_scaling == "1/sigma" else t, x_t)
        if scales.sign < 0:
            output = -output
        if scales.output == "denoiser":
            return (output - x_t) / expand(sigma.square(), x_t)
        c_out, c_skip = _output_scale(scales, sigma), _skip_scale(scales, sigma)
        if c_out is not None:
            output = expand(c_out, x_t) * output
        return output if c_skip is None else expand(c_skip, x_t) * x_t + output

    def denoise(self, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """The data prediction x̂_0, whatever the network predicts; arguments and shape as in `forward`.

        Raises:
            ConfigError: at the end of a bridge, from a network that predicts the score.
            DataError: as `forward`.
        """
        return self.to_data(self(x_t, y, t), x_t, y, t)

    def to_data(self, output: Tensor, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """x̂_0 from what `forward` returned at (x_t, y, t)."""
        if self.config.parameterisation.output == "data":
            return output
        return PathPoint.at(self.sde, t).to_data("score", output, x_t, y)

    def pad_frames(self, spectrogram: Tensor, mode: FramePadding = "zero") -> Tensor:
        """The spectrogram continued to a multiple of `frame_multiple` frames, by zeros or mirrored.

        Too short to be mirrored that far, it is continued by zeros. `speech.inference.segments` does this with
        recordings; the network's calls and samplers take the frames that they are given.
        """
        missing = -spectrogram.shape[-1] % self.frame_multiple
        if missing == 0:
            return spectrogram
        if mode == "reflect" and missing < spectrogram.shape[-1]:
            return torch.cat([spectrogram, spectrogram[..., -missing - 1 : -1].flip(-1)], dim=-1)
        return nn.functional.pad(spectrogram, (0, missing))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors` to `folder`, each atomically."""
        save_checkpoint(folder, FORMAT, VERSION, self.config.to_dict(), self.state_dict())

    @classmethod
    def from_pretrained(cls, path_or_name: str | os.PathLike[str] = "default") -> SpeechModel:
        """The model in a folder, of a bundled name, or of a hub id; on the CPU, for evaluation.

        A bundled name goes before a folder of that name here, which is "./name".

        Raises:
            CheckpointError: no such model, or its files are damaged or of another kind.
        """
        folder = resolve(path_or_name, BUNDLED)
        saved = open_checkpoint(folder, FORMAT, VERSION)
        config = dataclass_from(SpeechConfig, saved.config, str(folder))
        return saved.restore(lambda: cls(config))


def _input_scale(scales: Parameterisation, sigma: Tensor) -> Tensor | None:
    if scales.c_in == "1":
        return None
    return (sigma.square() + scales.sigma_data**2).rsqrt()


def _output_scale(scales: Parameterisation, sigma: Tensor) -> Tensor | None:
    if scales.c_out == "1":
        return None
    if scales.c_out == "sigma":
        return sigma
    if scales.c_out == "1/sigma":
        return 1 / sigma
    return sigma * scales.sigma_data * (sigma.square() + scales.sigma_data**2).rsqrt()


def _skip_scale(scales: Parameterisation, sigma: Tensor) -> Tensor | None:
    if scales.c_skip == "0":
        return None
    return scales.sigma_data**2 / (sigma.square() + scales.sigma_data**2)
