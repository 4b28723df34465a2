"""A speech model: front end, process, backbone, and what the backbone's output means."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.files.checkpoint import CONFIG, WEIGHTS, open_checkpoint, replacing, resolve, save_checkpoint
from shared.precision import check_default
from shared.predictions import Denoiser
from shared.sde import SDE
from speech.model.config import FramePadding, SpeechConfig
from speech.model.frontend import FrontEnd

FORMAT, VERSION = "speech", 1
BUNDLED = Path(__file__).parents[1] / "pretrained"


class SpeechModel(nn.Module):
    """A conditional diffusion model of clean speech spectrograms x given noisy ones y.

    Args:
        config: what the model is.
        backbone: a network to use instead of a fresh one that the configuration describes: a module
            (x_t, y, t) → complex like x_t. Recordings get a multiple of its attribute `frame_multiple` of frames, where
            it has one.

    Attributes:
        config: the same.
        frontend: waveforms to spectrograms and back.
        sde: the process.
        backbone: the network.
        denoiser: the same network as the core's data prediction, called as denoiser(x_t, t, y).
        folder: where it was loaded from, if it was.
        custom: classes of one's own that it was loaded with.
    """

    denoiser: Denoiser

    def __init__(self, config: SpeechConfig, backbone: nn.Module | None = None):
        super().__init__()
        check_default()
        self.config = config
        self.folder: Path | None = None
        self.custom: tuple[type, ...] = ()
        self.frontend = FrontEnd(config.frontend)
        self.sde: SDE = config.sde
        self.backbone = backbone or config.backbone.build(config.frontend, self.sde)
        # Past `nn.Module`'s register, for weights are saved once, and named by the backbone.
        self.__dict__["denoiser"] = Denoiser(self.backbone, self.sde, config.parameterisation)

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
        return int(getattr(self.backbone, "frame_multiple", 1))

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
        return self.denoiser.value(x_t, t, y)

    def denoise(self, x_t: Tensor, y: Tensor, t: Tensor, r: Tensor | None = None) -> Tensor:
        """The data prediction x̂_0, whatever the network predicts; arguments and shape as in `forward`. Of a flow map,
        its mean on the way to times r (batch,), where these are given.

        Raises:
            ConfigError: at the end of a bridge, from a network that predicts the score.
            DataError: as `forward`.
        """
        return self.denoiser(x_t, t, y, r)

    def pad_frames(self, spectrogram: Tensor, mode: FramePadding = "zero", frames: int = 0) -> Tensor:
        """The spectrogram continued to a multiple of `frame_multiple` frames, by zeros or mirrored; then by zeros to
        `frames`.

        Too short to be mirrored that far, it is continued by zeros. `speech.inference.segments` does this with
        recordings; the network's calls and samplers take the frames that they are given.
        """
        missing = -spectrogram.shape[-1] % self.frame_multiple
        frames = max(frames, spectrogram.shape[-1] + missing)
        if mode == "reflect" and 0 < missing < spectrogram.shape[-1]:
            spectrogram = torch.cat([spectrogram, spectrogram[..., -missing - 1 : -1].flip(-1)], dim=-1)
        missing = frames - spectrogram.shape[-1]
        return nn.functional.pad(spectrogram, (0, missing)) if missing else spectrogram

    def save_pretrained(self, folder: str | os.PathLike[str], *, half: bool = False) -> None:
        """Write `config.json` and `model.safetensors` to `folder`, each atomically. A companion that lies in the folder
        that the model was loaded from is copied along; model and companion take the place of others that are there
        when both are written, and what is stopped just then is refused on reading.

        Args:
            folder: made if need be.
            half: weights in float16, in half the space; they are read as float32, and off by 5e-4 of each at most, or
                3e-8 where that is more. A tensor with values that float16 cannot hold, beyond 65504, stays in float32.
                The companion's stay as they are.
        """
        state = self.state_dict()
        if half:
            state = {name: halved(value) for name, value in state.items()}
        companion = self._companion_files(Path(folder))
        if not companion:
            save_checkpoint(folder, FORMAT, VERSION, asdict(self.config), state)
            return
        with replacing(folder) as made:
            save_checkpoint(made, FORMAT, VERSION, asdict(self.config), state)
            for name, file in companion.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, made / name)

    def _companion_files(self, folder: Path) -> dict[Path, Path]:
        """The files of a companion that lies within this model's folder, by their names in another one; none where
        there is no such companion, or that folder is its own."""
        if self.config.companion is None or self.folder is None:
            return {}
        name = Path(os.path.normpath(self.config.companion.model))
        own, there = self.folder / name, folder / name
        if name == Path() or name.is_absolute() or ".." in name.parts or own.resolve() == there.resolve():
            return {}
        return {name / file: own / file for file in (CONFIG, WEIGHTS) if (own / file).is_file()}

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | os.PathLike[str] = "default", custom: Sequence[type] = ()
    ) -> SpeechModel:
        """The model in a folder, of a bundled name, or of a hub id; on the CPU, for evaluation.

        A bundled name goes before a folder of that name here, which is "./name".

        Args:
            path_or_name: which model.
            custom: classes of your own that its settings name by `kind` (processes, backbones).

        Raises:
            CheckpointError: no such model, or its files are damaged or of another kind.
        """
        folder = resolve(path_or_name, BUNDLED, FORMAT)
        saved = open_checkpoint(folder, FORMAT, VERSION)
        config = saved.settings(SpeechConfig, custom)
        model = saved.restore(lambda: cls(config))
        model.folder, model.custom = folder, tuple(custom)
        return model


def halved(value: Tensor) -> Tensor:
    """In float16, where it is in float32 and fits."""
    half = value.half()
    return half if value.dtype == torch.float32 and bool((half.isfinite() | ~value.isfinite()).all()) else value
