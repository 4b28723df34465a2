"""From waveforms to compressed complex spectrograms and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from shared.checks import Checked, Count, Positive, Share
from shared.errors import ConfigError

Window = Literal["hann", "sqrthann"]
Transform = Literal["exponent", "log", "none"]
Normalisation = Literal["noisy", "clean", "not"]

# No shape of a saved model tells these, and memory goes with them: a damaged file must not ask for any amount.
_HIGHEST_RATE = 768_000
_LONGEST_WINDOW = 1 << 16
_MOST_FRAMES = 64
"""Frames that a sample may lie in."""


@dataclass(frozen=True)
class FrontEndConfig(Checked):
    """Short-time Fourier transform and amplitude compression (Richter et al. 2023, "SGMSE+", eq. 16).

    Args:
        sample_rate: of the audio, in Hz, up to 768,000.
        n_fft: samples of the window and of the transform, 4 to 65,536 and even; n_fft/2 + 1 frequencies.
        hop_length: samples between frames, from a 64th of n_fft to half of it.
        window: periodic, "hann" or its square root.
        transform: of the magnitude a, at the same phase: "exponent" factor·a^exponent, "log" factor·log(1 + a),
            "none" a.
        exponent, factor: of the transform.
        normalize: what peak waveforms are divided by in training: of the "noisy" one, the "clean" one, or "not".

    Raises:
        ConfigError: a value that cannot be used.
    """

    sample_rate: Annotated[Count, Le(_HIGHEST_RATE)] = 16000
    n_fft: Annotated[int, Ge(4), Le(_LONGEST_WINDOW)] = 510
    hop_length: Count = 128
    window: Window = "hann"
    transform: Transform = "exponent"
    exponent: Share = 0.5
    factor: Positive = 0.15
    normalize: Normalisation = "noisy"

    def _related(self) -> None:
        self._require(self.n_fft % 2 == 0, "n_fft", "need an even number")  # or windows have no middle sample
        met = self.n_fft / _MOST_FRAMES <= self.hop_length <= self.n_fft // 2
        self._require(
            met, "hop_length n_fft", f"need a hop of at most half the window, and at least a {_MOST_FRAMES}th"
        )

    @property
    def frequencies(self) -> int:
        """Number of frequencies of a spectrogram."""
        return self.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """Number of frames of `samples` samples; a recording shorter than half a window has as many as half a one."""
        return 1 + max(samples, self.n_fft // 2 + 1) // self.hop_length

    @property
    def frames_beyond(self) -> int:
        """How many frames beyond a recording's own would reach back into it, if it went on.

        Without them what follows the last frame's centre lies in the tails of too few windows, which the inverse
        divides by, so that an estimate's errors grow into clicks.
        """
        return -(-(self.n_fft // 2) // self.hop_length)

    def samples(self, frames: int) -> int:
        """The least number of samples that has `frames` frames, for frames that begin beyond half a window."""
        return (frames - 1) * self.hop_length


FRONT_ENDS: dict[str, FrontEndConfig] = {
    "16k": FrontEndConfig(),
    "48k": FrontEndConfig(sample_rate=48000, n_fft=1534, hop_length=384, exponent=0.667, factor=0.065),
}
"""The published settings: SGMSE+ at 16 kHz (Richter et al. 2023) and at 48 kHz (Richter et al. 2024, "EARS")."""


class FrontEnd(nn.Module):
    """Waveforms (batch, samples) to complex spectrograms (batch, 1, frequencies, frames), and the exact inverse.

    Frames are centred (the waveform is mirrored at its ends), as in the published code. Waveforms are not normalised
    here; see `scale`.

    Args:
        config: the settings.
    """

    window: Tensor

    def __init__(self, config: FrontEndConfig = FRONT_ENDS["16k"]):
        super().__init__()
        self.config = config
        window = torch.hann_window(config.n_fft, periodic=True)
        self.register_buffer("window", window.sqrt() if config.window == "sqrthann" else window, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """The compressed spectrogram (batch, 1, frequencies, frames) of waveforms (batch, samples), at `sample_rate`.

        A waveform too short to be mirrored (fewer than n_fft/2 + 1 samples) is followed by zeros up to that.

        Raises:
            ConfigError: not two-dimensional, or no samples.
        """
        if waveform.ndim != 2 or waveform.shape[-1] == 0:
            raise ConfigError(f"a waveform of shape {tuple(waveform.shape)}: need (batch, samples) with some samples")
        short = self.config.n_fft // 2 + 1 - waveform.shape[-1]
        if short > 0:
            waveform = nn.functional.pad(waveform, (0, short))
        stft = torch.stft(
            waveform,
            self.config.n_fft,
            self.config.hop_length,
            window=self.window.to(waveform.dtype),
            center=True,
            return_complex=True,
        )
        return self.compress(stft).unsqueeze(1)

    def inverse(self, spectrogram: Tensor, length: int) -> Tensor:
        """Waveforms (batch, length) from compressed spectrograms (batch, 1, frequencies, frames).

        Raises:
            ConfigError: not one channel, or fewer frames than `length` samples have.
        """
        if spectrogram.ndim != 4 or spectrogram.shape[1] != 1:
            raise ConfigError(
                f"a spectrogram of shape {tuple(spectrogram.shape)}: need (batch, 1, frequencies, frames)"
            )
        needed = self.config.frames(length)
        if length < 1 or spectrogram.shape[-1] < needed:
            raise ConfigError(f"{length} samples need {needed} frames, the spectrogram has {spectrogram.shape[-1]}")
        return torch.istft(
            self.expand(spectrogram.squeeze(1)),
            self.config.n_fft,
            self.config.hop_length,
            window=self.window.to(spectrogram.real.dtype),
            center=True,
            length=length,
        )

    def compress(self, stft: Tensor) -> Tensor:
        """The magnitude's transform, of any shape; zero stays zero, and its gradient is finite."""
        transform, exponent = self.config.transform, self.config.exponent
        if transform == "none":
            return stft
        if transform == "exponent" and exponent == 1:
            return stft * self.config.factor
        magnitude = _nonzero(stft.abs())
        if transform == "log":
            return stft * (torch.log1p(magnitude) / magnitude * self.config.factor)
        return stft * (magnitude.pow(exponent - 1) * self.config.factor)

    def expand(self, spectrogram: Tensor) -> Tensor:
        """The inverse of `compress`."""
        transform, exponent = self.config.transform, self.config.exponent
        if transform == "none":
            return spectrogram
        scaled = spectrogram / self.config.factor
        if transform == "exponent" and exponent == 1:
            return scaled
        magnitude = scaled.abs()
        if transform == "log":
            magnitude = _nonzero(magnitude)
            return scaled * (torch.expm1(magnitude) / magnitude)
        if exponent == 0.5:
            return scaled * magnitude
        return scaled * torch.where(
            magnitude > 0, _nonzero(magnitude).pow(1 / exponent - 1), torch.zeros_like(magnitude)
        )

    def amplified(self, spectrogram: Tensor, gains: Tensor) -> Tensor:
        """Compressed spectrograms (batch, 1, frequencies, frames) of waveforms whose frames have these gains on
        amplitudes, (batch, frames)."""
        gains, config = gains[:, None, None], self.config
        if config.transform == "log":
            return torch.where(gains == 1, spectrogram, self.compress(self.expand(spectrogram) * gains))
        return spectrogram * (gains**config.exponent if config.transform == "exponent" else gains)

    def scale(self, noisy: Tensor, clean: Tensor | None = None) -> Tensor:
        """What waveforms (batch, samples) are divided by before and multiplied with after, (batch, 1): the peak of the
        noisy (or clean) one, as the configuration says; 1 for a silent one.

        Raises:
            ConfigError: the configuration normalises by the clean waveform, and it is not given.
        """
        if self.config.normalize == "not":
            return torch.ones_like(noisy[:, :1])
        reference = noisy if self.config.normalize == "noisy" else clean
        if reference is None:
            raise ConfigError('normalize="clean" needs the clean waveform; only training has it')
        return _nonzero(reference.abs().amax(dim=-1, keepdim=True))


def mirrored(waveform: Tensor, samples: int) -> Tensor:
    """A waveform (..., n) continued backwards from its last sample, then forwards from its first, and so on, to
    (..., samples); `samples` at least n, which is at least 1."""
    last = waveform.shape[-1] - 1
    place = torch.arange(samples, device=waveform.device) % max(1, 2 * last)
    return waveform[..., torch.minimum(place, 2 * last - place)]


def _nonzero(value: Tensor) -> Tensor:
    return torch.where(value > 0, value, torch.ones_like(value))
