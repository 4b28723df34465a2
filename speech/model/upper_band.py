"""A small network for what lies above a 16 kHz model's band: gains for bands up to 20 kHz, frame by frame.

It hears three signals at the recording's rate: what the recording has above the model's band, what it has below, and
what the model made of that. Of each it sees the energies of bands in frames of 8 ms every 4 ms. Frames that short
follow the onsets of fricatives, most of what speech has up there: with gains per band that know the speech, SI-SDR
above 8.5 kHz is .5 to .7 dB better than with frames of 32 ms.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.checks import Checked, Count, NonNegative
from shared.files.checkpoint import open_checkpoint, resolve, save_checkpoint
from speech.audio.bands import MODEL_RATE
from speech.model.model import BUNDLED, halved

FORMAT, VERSION = "speech upper band", 1
Values = NDArray[np.float32]
HOP_SECONDS = 0.004
_TOP_HZ, _LOW_TOP_HZ, _LOW_BOTTOM_HZ = 20000.0, 7600.0, 250.0
_FIRST_HZ, _RESIDUE_HZ = 8200.0, 7000.0
FLOOR = 1e-12
"""Power of a bin, −120 dB of full scale, below which energies count as of this."""

_MIDDLE_DB, _SPAN_DB = -80.0, 20.0
_SILENT_DB = -85.0
"""Where no band is louder there is silence that no recording has by itself: a gate's, or that of joined parts."""

_COPIED_BINS, _COPIED_FROM = 32, 36
"""Of the frames' bins, of 125 Hz: what is copied upwards at once, and how far at least. Even, so that copies of frames
that overlap fit together."""

_NEAR = 3
"""Copies are made flat by the mean power of bins fewer than so many away."""

_COPIED_GAIN = 4.0
"""Of the amplitudes of copies, so that gains up to 1 reach levels above theirs."""

_HIGHEST = 4
"""Bands below 8 kHz, from 5 kHz on, in which the model's gain is measured."""


@dataclass(frozen=True)
class UpperBandConfig(Checked):
    """What the network is.

    Args:
        upper: bands above 8 kHz, in which it hears and has gains, evenly on the mel scale up to 20 kHz; what is higher
            gets the last one's gain.
        lower: bands below, in which it hears.
        widths: of its layers: the first, the memory, the last but one.
        share: power of the model's gain in the upper part of its band, by which all gains are multiplied besides.
    """

    upper: Count = 24
    lower: Count = 16
    widths: tuple[Count, Count, Count] = (80, 112, 64)
    share: NonNegative = 0.25

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
        inner, memory, outer = config.widths
        self.inner = nn.Linear(config.upper + 2 * config.lower, inner)
        self.memory = nn.GRU(inner, memory, batch_first=True)
        self.outer = nn.Linear(inner + memory, outer)
        self.gains = nn.Linear(outer, config.upper)

    @property
    def network(self) -> nn.Module:
        """Itself: what training may compile."""
        return self

    def forward(self, features: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gains of the next frames.

        Args:
            features: (batch, frames, features) of `Bands.features`.
            memory: what it remembers of the frames before; None of the first.

        Returns:
            Gains of amplitudes from 0 to 1, (batch, frames, upper), and what it remembers then.
        """
        logits, memory = self.logits(features, memory)
        return self.opened(logits, features), memory

    def logits(self, features: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What gains are made of, from −∞ (closed) to ∞, (batch, frames, upper), and the memory; see `forward`."""
        seen = torch.relu(self.inner(features))
        heard, memory = self.memory(seen, memory)
        return self.gains(torch.relu(self.outer(torch.cat([seen, heard], dim=-1)))), memory

    def opened(self, logits: Tensor, features: Tensor) -> Tensor:
        """The gains of logits, (batch, frames, upper); they follow the model's below as far as `share` says."""
        below = 10 ** (features[..., -_HIGHEST:] * (_SPAN_DB / 20))
        return torch.sigmoid(logits) * below.mean(dim=-1, keepdim=True).clamp(max=1.0) ** self.config.share

    def running(self) -> RunningNetwork:
        """The network without PyTorch, whose calls take longer than the sums of a few frames."""
        weights = {name: np.ascontiguousarray(value.numpy(force=True).T) for name, value in self.state_dict().items()}
        return RunningNetwork(weights, self.config.share)

    def save_pretrained(self, folder: str | PathLike[str], *, half: bool = False) -> None:
        """Write `config.json` and `model.safetensors` to `folder`, each atomically; `half`: weights in float16."""
        state = self.state_dict()
        state = {name: halved(value) for name, value in state.items()} if half else state
        save_checkpoint(folder, FORMAT, VERSION, asdict(self.config), state)

    @classmethod
    def from_pretrained(cls, path_or_name: str | PathLike[str] = "upper_band") -> UpperBandNetwork:
        """The network in a folder, or the bundled one; on the CPU, for evaluation.

        Raises:
            CheckpointError: there is none, or its files are damaged or of another kind.
        """
        saved = open_checkpoint(resolve(path_or_name, BUNDLED, FORMAT), FORMAT, VERSION)
        config = saved.settings(UpperBandConfig)
        return saved.restore(lambda: cls(config))


class RunningNetwork:
    """What `UpperBandNetwork.forward` computes, in NumPy.

    Args:
        weights: by their names there, matrices transposed.
        share: of the configuration.
    """

    def __init__(self, weights: dict[str, Values], share: float):
        self._weights, self._share = weights, share

    def __call__(
        self, features: Values, memory: Values | None = None, passed_over: NDArray[np.bool_] | None = None
    ) -> tuple[Values, Values]:
        """See `UpperBandNetwork.forward`; the memory is (batch, memory), and is left as it is in frames (batch, frames)
        that are `passed_over`."""
        seen = np.maximum(self._linear("inner", features), 0)
        of_seen = seen @ self._weights["memory.weight_ih_l0"] + self._weights["memory.bias_ih_l0"]
        recurrent, bias = self._weights["memory.weight_hh_l0"], self._weights["memory.bias_hh_l0"]
        width = len(recurrent)
        state = np.zeros((len(features), width), np.float32) if memory is None else memory
        heard = np.empty((*features.shape[:2], width), np.float32)
        for frame in range(features.shape[1]):  # the gated recurrent unit of torch.nn.GRU
            new, old = of_seen[:, frame], state @ recurrent + bias
            reset, keep = np.split(_sigmoid(new[:, : 2 * width] + old[:, : 2 * width]), 2, axis=1)
            candidate = np.tanh(new[:, 2 * width :] + reset * old[:, 2 * width :])
            keep = keep if passed_over is None else np.maximum(keep, passed_over[:, frame, None])
            state = candidate + keep * (state - candidate)
            heard[:, frame] = state
        inner = np.maximum(self._linear("outer", np.concatenate([seen, heard], axis=-1)), 0)
        below = 10 ** (features[..., -_HIGHEST:] * np.float32(_SPAN_DB / 20))
        share = np.minimum(below.mean(axis=-1, keepdims=True), 1) ** np.float32(self._share)
        return _sigmoid(self._linear("gains", inner)) * share, state

    def _linear(self, name: str, x: Values) -> Values:
        return x @ self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _sigmoid(x: Values) -> Values:
    return np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))


@lru_cache(maxsize=2)
def bundled_upper_band(name: str = "upper_band") -> RunningNetwork:
    """A network that ships, read once: "upper_band", or "extension" with gains for copies (`Bands.copied`)."""
    return UpperBandNetwork.from_pretrained(name).running()


@dataclass(frozen=True)
class Bands:
    """Frames and bands at one rate, in float32.

    Attributes:
        sample_rate: Hz.
        hop: samples from a frame to the next; a frame is twice as long.
        window: (2·hop,), whose squares, a hop apart, add to 1.
        gains: what the bins share in the gains of the bands above, (upper, bins): triangles that add to 1.
        upper, lower: mean powers of the bands above and below, of powers of bins, (bins, bands).
        copies: those of the bands above, of powers of copies' bins, which go up to 20 kHz at any rate.
    """

    sample_rate: int
    hop: int
    window: Values
    gains: Values
    upper: Values
    lower: Values
    copies: Values

    @classmethod
    def of(cls, config: UpperBandConfig, sample_rate: int) -> Bands:
        """Those of signals at this rate, in Hz."""
        hop = max(1, round(HOP_SECONDS * sample_rate))
        frequencies = np.fft.rfftfreq(2 * hop, 1 / sample_rate)
        gains = _triangles(frequencies, config.centres)
        lower = _triangles(frequencies, _evenly_heard(_LOW_BOTTOM_HZ, _LOW_TOP_HZ, config.lower))
        window = np.sin(np.pi * np.arange(2 * hop) / (2 * hop)).astype(np.float32)
        upper = _means(gains * (frequencies >= _RESIDUE_HZ))
        below = _means(lower * (frequencies <= MODEL_RATE / 2))
        each = sample_rate / (2 * hop)
        of_copies = each * np.arange(max(len(frequencies), math.ceil(_TOP_HZ / each)))
        copies = _means(_triangles(of_copies, config.centres) * (of_copies >= _RESIDUE_HZ))
        return cls(sample_rate, hop, window, gains, upper, below, copies)

    def spectra(self, frames: Values) -> NDArray[np.complex64]:
        """Spectra (..., bins) of frames (..., 2·hop), so that white noise has its mean square in every bin."""
        return np.fft.rfft(frames * (self.window / np.float32(self.hop**0.5))).astype(np.complex64, copy=False)

    def copied(self, spectra: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Of spectra (..., bins) what lies at 3.5 to 7.5 kHz, at 8 to 12, 12 to 16 and 16 to 20 kHz, flat and louder;
        up to 20 kHz at any rate, with more bins than the spectra below 40 kHz.

        Flat, for where a recording ends below 7.5 kHz what it has is louder than what a model adds, and each copy would
        begin with a bright stripe.
        """
        each = self.sample_rate / (2 * self.hop)
        bins = np.arange(math.ceil(MODEL_RATE / 2 / each), math.ceil(_TOP_HZ / each))
        made = np.zeros((*spectra.shape[:-1], len(self.copies)), spectra.dtype)
        down = _COPIED_FROM + (bins - bins[:1]) // _COPIED_BINS * _COPIED_BINS
        first = int(bins[0]) - _COPIED_FROM
        source = spectra[..., first : first + _COPIED_BINS]
        power = source.real**2 + source.imag**2
        place = np.arange(_COPIED_BINS)
        near = np.abs(np.subtract.outer(place, place)) < _NEAR
        around = power @ (near / near.sum(axis=0)).astype(np.float32)
        flat = source * np.sqrt(power.mean(axis=-1, keepdims=True) / (around + np.float32(FLOOR)))
        made[..., bins] = flat[..., bins - down - first] * np.float32(_COPIED_GAIN)
        return made

    def waves(self, spectra: NDArray[np.complex64]) -> Values:
        """Frames (..., 2·hop) of spectra, to be laid a hop apart and added."""
        frames = np.fft.irfft(spectra, 2 * self.hop).astype(np.float32, copy=False)
        return frames * (self.window * np.float32(self.hop**0.5))

    def features(self, upper: Values, lower: Values, enhanced: Values) -> Values:
        """What the network sees, (..., features), of powers (..., bins) as in `seen`."""
        return self.seen(upper @ self.upper, lower @ self.lower, enhanced @ self.lower)

    @staticmethod
    def seen(upper: Values, lower: Values, enhanced: Values) -> Values:
        """What the network sees, (..., features): levels of bands, and below the model's gains.

        Args:
            upper, lower, enhanced: mean powers (..., bands) of the recording above the model's band, of that below, and
                of what the model made of it.
        """
        decibels = 10 * np.log10(np.concatenate([upper, lower, enhanced], axis=-1) + np.float32(FLOOR))
        levels = upper.shape[-1] + lower.shape[-1]
        gains = decibels[..., levels:] - decibels[..., upper.shape[-1] : levels]
        decibels[..., :levels] -= _MIDDLE_DB
        decibels[..., levels:] = np.clip(gains, -40, 10)
        return (decibels / np.float32(_SPAN_DB)).astype(np.float32, copy=False)


def are_silent(features: Values) -> NDArray[np.bool_]:
    """In which frames of `Bands.features` (..., features) there is silence."""
    config = UpperBandConfig()
    heard = features[..., : config.upper + config.lower]
    return heard.max(axis=-1) < (_SILENT_DB - _MIDDLE_DB) / _SPAN_DB


def _means(shares: Values) -> Values:
    """From shares (bands, bins) the weights (bins, bands) of means; 0 where no bin is in a band."""
    means = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-6)
    return np.ascontiguousarray(means.T, np.float32)


def _evenly_heard(first: float, last: float, count: int) -> np.ndarray:
    """Frequencies in Hz that are even steps apart on the mel scale."""
    mel = np.linspace(np.log1p(first / 700), np.log1p(last / 700), count)
    return 700 * np.expm1(mel)


def _triangles(frequencies: np.ndarray, centres: np.ndarray) -> Values:
    """What bins at these frequencies share in bands with these centres, (bands, bins); beyond the ends all."""
    return np.stack([np.interp(frequencies, centres, row) for row in np.eye(len(centres))]).astype(np.float32)
