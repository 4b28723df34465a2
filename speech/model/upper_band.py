"""A small network for what lies above a 16 kHz model's band: gains for bands up to 20 kHz, frame by frame.

It hears three signals at the recording's rate: what the recording has above the model's band, what it has below, and
what the model made of that. Of each it sees the energies of bands in frames of 8 ms every 4 ms. Frames that short
follow the onsets of fricatives, most of what speech has up there: with gains per band that know the speech, SI-SDR
above 8.5 kHz is .5 to .7 dB better than with frames of 32 ms.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn

from shared.checks import Checked, Count
from shared.files.checkpoint import open_checkpoint, resolve, save_checkpoint
from speech.audio.bands import MODEL_RATE
from speech.model.model import BUNDLED, SpeechModel

FORMAT, VERSION = "speech upper band", 1
_TRAINED_WITH = ("default", "causal")
"""The bundled models whose results it heard in training."""

HOP_SECONDS = 0.004
_TOP_HZ, _LOW_TOP_HZ, _LOW_BOTTOM_HZ = 20000.0, 7600.0, 250.0
_FIRST_HZ, _RESIDUE_HZ = 8200.0, 7000.0
FLOOR = 1e-12
"""Power of a bin, −120 dB of full scale, below which energies count as of this."""

_MIDDLE_DB, _SPAN_DB = -80.0, 20.0


@dataclass(frozen=True)
class UpperBandConfig(Checked):
    """What the network is.

    Args:
        upper: bands above 8 kHz, in which it hears and has gains, evenly on the mel scale up to 20 kHz; what is higher
            gets the last one's gain.
        lower: bands below, in which it hears.
        inner, memory, outer: widths of its layers.
    """

    upper: Count = 24
    lower: Count = 16
    inner: Count = 80
    memory: Count = 112
    outer: Count = 64

    @property
    def centres(self) -> np.ndarray:
        """Of the bands above 8 kHz, in Hz, (upper,)."""
        return _evenly_heard(_FIRST_HZ, _TOP_HZ, self.upper)


class UpperBandNetwork(nn.Module):
    """Gains of what lies above the model's band; causal, so that it serves files and streams.

    Args:
        config: what it is.
    """

    def __init__(self, config: UpperBandConfig = UpperBandConfig()):
        super().__init__()
        self.config = config
        self.inner = nn.Linear(config.upper + 2 * config.lower, config.inner)
        self.memory = nn.GRU(config.inner, config.memory, batch_first=True)
        self.outer = nn.Linear(config.inner + config.memory, config.outer)
        self.gains = nn.Linear(config.outer, config.upper)

    @property
    def network(self) -> nn.Module:
        """Itself: what training may compile."""
        return self

    def forward(self, features: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gains of the next frames.

        Args:
            features: (batch, frames, features) of `band_features`.
            memory: what it remembers of the frames before; None of the first.

        Returns:
            Gains of amplitudes from 0 to 1, (batch, frames, upper), and what it remembers then.
        """
        seen = torch.relu(self.inner(features))
        heard, memory = self.memory(seen, memory)
        gains: Tensor = torch.sigmoid(self.gains(torch.relu(self.outer(torch.cat([seen, heard], dim=-1)))))
        return gains, memory

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors` to `folder`, each atomically."""
        save_checkpoint(folder, FORMAT, VERSION, asdict(self.config), self.state_dict())

    @classmethod
    def from_pretrained(cls, path_or_name: str | PathLike[str] = "upper_band") -> UpperBandNetwork:
        """The network in a folder, or the bundled one; on the CPU, for evaluation.

        Raises:
            CheckpointError: there is none, or its files are damaged or of another kind.
        """
        saved = open_checkpoint(resolve(path_or_name, BUNDLED), FORMAT, VERSION)
        config = saved.settings(UpperBandConfig)
        return saved.restore(lambda: cls(config))


@lru_cache(maxsize=1)
def bundled_upper_band() -> UpperBandNetwork:
    """The network that ships, read once."""
    return UpperBandNetwork.from_pretrained("upper_band").requires_grad_(False)


def is_continued(model: SpeechModel) -> bool:
    """Whether this is a model whose results the network that ships heard in training."""
    return model.folder is not None and model.folder.parent == BUNDLED and model.folder.name in _TRAINED_WITH


@dataclass(frozen=True)
class Bands:
    """Frames and bands at one rate.

    Attributes:
        hop: samples from a frame to the next; a frame is twice as long.
        window: (2·hop,), whose squares, a hop apart, add to 1.
        gains: what the bins share in the gains of the bands above, (upper, bins): triangles that add to 1.
        upper, lower: mean powers of the bands above and below, of powers of bins, (bins, bands).
    """

    hop: int
    window: Tensor
    gains: Tensor
    upper: Tensor
    lower: Tensor

    @classmethod
    def of(cls, config: UpperBandConfig, sample_rate: int) -> Bands:
        """Those of signals at this rate, in Hz."""
        hop = max(1, round(HOP_SECONDS * sample_rate))
        frequencies = np.fft.rfftfreq(2 * hop, 1 / sample_rate)
        gains = _triangles(frequencies, config.centres)
        upper = gains * torch.from_numpy(frequencies >= _RESIDUE_HZ)
        lower = _triangles(frequencies, _evenly_heard(_LOW_BOTTOM_HZ, _LOW_TOP_HZ, config.lower))
        lower *= torch.from_numpy(frequencies <= MODEL_RATE / 2)
        return cls(hop, torch.hann_window(2 * hop).sqrt(), gains, _means(upper), _means(lower))

    def spectra(self, frames: Tensor) -> Tensor:
        """Spectra (..., bins) of frames (..., 2·hop), so that white noise has its mean square in every bin."""
        return torch.fft.rfft(frames * self.window) / self.hop**0.5

    def waves(self, spectra: Tensor) -> Tensor:
        """Frames (..., 2·hop) of spectra, to be laid a hop apart and added."""
        return torch.fft.irfft(spectra, 2 * self.hop) * (self.window * self.hop**0.5)

    def features(self, upper: Tensor, lower: Tensor, enhanced: Tensor) -> Tensor:
        """What the network sees, (..., features), of powers (..., bins) as in `seen`."""
        return self.seen(upper @ self.upper, lower @ self.lower, enhanced @ self.lower)

    @staticmethod
    def seen(upper: Tensor, lower: Tensor, enhanced: Tensor) -> Tensor:
        """What the network sees, (..., features): levels of bands, and below the model's gains.

        Args:
            upper, lower, enhanced: mean powers (..., bands) of the recording above the model's band, of that below, and
                of what the model made of it.
        """
        sizes = [each.shape[-1] for each in (upper, lower, enhanced)]
        high, low, made = (10 * torch.log10(torch.cat([upper, lower, enhanced], dim=-1) + FLOOR)).split(sizes, -1)
        levels = (torch.cat([high, low], dim=-1) - _MIDDLE_DB) / _SPAN_DB
        return torch.cat([levels, (made - low).clamp(-40, 10) / _SPAN_DB], dim=-1)


def _means(shares: Tensor) -> Tensor:
    """From shares (bands, bins) the weights (bins, bands) of means; 0 where no bin is in a band."""
    return (shares / shares.sum(dim=1, keepdim=True).clamp_min(1e-6)).T.contiguous()


def _evenly_heard(first: float, last: float, count: int) -> np.ndarray:
    """Frequencies in Hz that are even steps apart on the mel scale."""
    mel = np.linspace(np.log1p(first / 700), np.log1p(last / 700), count)
    return 700 * np.expm1(mel)


def _triangles(frequencies: np.ndarray, centres: np.ndarray) -> Tensor:
    """What bins at these frequencies share in bands with these centres, (bands, bins); beyond the ends all."""
    shares = [np.interp(frequencies, centres, row) for row in np.eye(len(centres))]
    return torch.from_numpy(np.stack(shares).astype(np.float32))
