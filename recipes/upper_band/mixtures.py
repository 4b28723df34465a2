"""What trains the network for the upper band: mixtures at 48 kHz, what the bundled models made of them, and the loss.

Mixtures are made once and kept: energies of bands, which is all that gains of bands change, of speech and noise apart,
and what both have in common. So every batch can have other spectra of both above 8 kHz: other voices, microphones and
noises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Le
from numpy.typing import NDArray
from torch import Tensor

from shared.checks import Checked, Finite, NonNegative, Positive
from shared.training.batches import Batch
from speech.audio.bands import MODEL_RATE
from speech.audio.resampling import resample
from speech.data.clips import Clip, Waveform
from speech.data.config import MixConfig
from speech.data.degrade import change_speed, needed_for
from speech.data.levels import power
from speech.data.mixing import Mixer
from speech.enhancer import Enhancer
from speech.model.upper_band import FLOOR, Bands, UpperBandConfig, UpperBandNetwork

from .kept import RATE, KeptParts, Part, PartSource, power_of, told

MIX = MixConfig(
    sample_rate=RATE,
    seconds=3.0,
    snr_db=(-5.0, 25.0),
    noises=3,
    clean=0.08,
    silence=0.03,
    babble=0.0,
    synthetic=0.35,
    filtered=0.5,
    swelling=0.2,
    noise_speed=(0.7, 2.5),
    noise_tilt=(-4.0, 1.0),
    rumble=0.3,
    reverb=0.0,
    clipped=0.0,
    gain_db=(-15.0, 8.0),
)
"""Of noises at up to 2.5 times their speed, those recorded at 16 kHz reach 20 kHz too."""

_REAL_HZ = 20000.0
"""Up to here the speech is as it was recorded; above, its coding has emptied the pauses."""

_SATURATED = 5.0
"""Logits of gains of −.06 dB, beyond which they hardly change."""

_SPEECH_SPEED = (0.75, 1.3)
_LOWER_RATES = (22050.0, 24000.0, 32000.0, 40000.0)


@dataclass(frozen=True)
class UpperBandLoss(Checked):
    """The loss of each mixture, of what lies above 8 kHz: the error's level against the speech's, and how far levels of
    bands are from the speech's, both in dB.

    Args:
        error, levels: their weights.
        range_db: levels this far below the recording's loudest bin count as of this.
        louder: weight of what levels are above the speech's, 2 less that of what they are below; 1: alike. Where noise
            and fricatives look alike gains for levels in the middle leave noise in pauses, which is heard first; 1.5
            is for the lower quarter of the levels that may be (Koenker and Bassett 1978, "Regression quantiles").
        saturation: weight of the squares of what logits exceed 5 by, of either sign. Most mixtures have little noise
            above 8 kHz, so that training first opens all gains; without this they end where they no longer change.
    """

    error: Finite = 0.1
    levels: Finite = 0.1
    range_db: Positive = 80.0
    louder: Annotated[NonNegative, Le(2.0)] = 1.5
    saturation: NonNegative = 0.1

    def __call__(self, network: UpperBandNetwork, x0: Tensor, y: Tensor | None = None, **given: object) -> Tensor:
        """(batch,) of energies `x0` (batch, parts, frames, bands); `condition` as of `UpperBandSource`."""
        condition = given["condition"]
        assert isinstance(condition, dict)
        logits, _ = network.logits(condition["features"])
        beyond = (logits.abs() - _SATURATED).clamp_min(0).square().mean((1, 2))
        return self.of_gains(network.opened(logits, condition["features"]), x0, condition) + self.saturation * beyond

    def of_gains(self, gains: Tensor, x0: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """(batch,) of gains (batch, frames, bands), whatever they are from."""
        speech, noise, common = x0.unbind(1)
        mixture = (speech + noise + common).clamp_min(0)
        wrong = (gains - 1).square() * speech + gains.square() * noise + gains * (gains - 1) * common
        some = 1e-3 * mixture.sum((1, 2)) + 1e-12
        error = 10 * torch.log10((wrong.sum((1, 2)).clamp_min(0) + some) / (speech.sum((1, 2)) + some))
        made = gains.square() * mixture
        apart = levels_apart(made, speech, condition["bins"], condition["loudest"], self.range_db, self.louder)
        return self.error * error + self.levels * apart


def levels_apart(
    made: Tensor, wanted: Tensor, bins: Tensor, loudest: Tensor, range_db: float, louder: float = 1.0
) -> Tensor:
    """How far levels of bands are apart, in dB: the mean magnitude over frames and bands, (batch,).

    Args:
        made, wanted: energies (batch, frames, bands).
        bins: how many bins are in each band, (batch, bands); bands of none do not count.
        loudest: power of a bin of the speech, (batch,).
        range_db: levels this far below it count as of this.
        louder: weight of levels that are too high, 2 less that of those that are too low.
    """
    counted = (bins > 0).float()
    floor = loudest[:, None, None] * 10 ** (-range_db / 10) + FLOOR
    levels = [10 * torch.log10(each / bins.clamp_min(1e-6).unsqueeze(1) + floor) for each in (made, wanted)]
    apart = levels[0] - levels[1]
    apart = torch.maximum(louder * apart, (louder - 2) * apart)
    return (apart.mean(1) * counted).sum(-1) / counted.sum(-1).clamp_min(1)


def with_speed(clip: Clip, rng: np.random.Generator, samples: int, edge: float = _REAL_HZ) -> tuple[Waveform, float]:
    """A part of a recording of speech, slower and lower or faster and higher, and the Hz up to which it is real; as
    the recording is up to `edge` Hz."""
    speed = rng.uniform(*_SPEECH_SPEED)
    needed = needed_for(samples, speed)
    wave = clip.read()
    while len(wave) < needed:
        wave = np.concatenate([wave, clip.read()])
    for _ in range(4):
        start = int(rng.integers(len(wave) - needed + 1))
        part = wave[start : start + needed]
        if power(part) > 0.03 * clip.power:
            break
    return change_speed(part, speed, samples), edge * min(speed, 1.0)


def parted(wave: Waveform) -> tuple[Waveform, Waveform]:
    """What a waveform at 48 kHz has above a 16 kHz model's band, and what below."""
    lower = resample(resample(wave, RATE, MODEL_RATE), MODEL_RATE, RATE, length=len(wave))
    return wave - lower, lower


class Mixtures(KeptParts):
    """Mixtures on disk, in parts that are made one by one.

    A part has, of mean powers of bands as the network hears them, "heard" (count, parts, frames, upper), "lower"
    (count, frames, lower), and of the models' results "enhanced" (count, models, frames, lower); "energies" (count,
    parts, frames, upper) of the bins at which the speech is real, and "bins" (count, upper), how many these are; and
    "loudest" (count,), the power of a bin of the speech.

    Args:
        folder: where they are kept.
        speech, noises: recordings at 48 kHz.
        models: what enhances the lower band.
        count: of mixtures in a part.
        mix: how to mix.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        folder: Path,
        speech: Sequence[Clip],
        noises: Sequence[Clip],
        models: Sequence[Enhancer],
        count: int = 40,
        mix: MixConfig = MIX,
        seed: int = 0,
    ):
        super().__init__(folder, count, seed, [repr(mix), *told([*speech, *noises], *models)])
        self._speech, self._models, self._mixer = speech, models, Mixer(mix, noises)

    def _one(self, rng: np.random.Generator) -> Part:
        dry, edge = with_speed(self._speech[int(rng.integers(len(self._speech)))], rng, self._mixer.config.samples)
        mixture = self._mixer.mix(dry, rng)
        (speech, low_speech), (noise, low_noise) = parted(mixture.speech), parted(mixture.noise)
        low = resample(mixture.speech + mixture.noise, RATE, MODEL_RATE)
        made = [resample(each.enhance(low, MODEL_RATE), MODEL_RATE, RATE, length=len(dry)) for each in self._models]
        lower, *enhanced = (self._powers(wave) @ self._bands.lower for wave in (low_speech + low_noise, *made))
        return {
            **of_bands(self._bands, self._spectra(speech), self._spectra(noise), edge),
            "lower": lower,
            "enhanced": np.stack(enhanced),
            "loudest": np.array(self._powers(low_speech).max()),
        }

    def _powers(self, wave: Waveform) -> Waveform:
        return power_of(self._spectra(wave))


def of_bands(bands: Bands, speech: NDArray[np.complex64], noise: NDArray[np.complex64], edge: float) -> Part:
    """Of `Mixtures.part` "heard", "energies" and "bins", of spectra (frames, bins); speech is real up to `edge` Hz."""
    powers = np.stack([power_of(speech), power_of(noise), 2 * (speech * noise.conj()).real])
    shares, bins = true_bands(bands, edge)
    return {"heard": powers @ bands.upper, "energies": powers @ shares.T, "bins": bins}


def true_bands(bands: Bands, edge: float) -> tuple[Waveform, Waveform]:
    """What bins from 8 kHz to `edge` Hz share in the bands, (upper, bins), 0 in bands of which half is missing; and how
    many bins are in each, (upper,)."""
    hz = np.fft.rfftfreq(2 * bands.hop, 1 / RATE)
    shares = bands.gains * ((hz > MODEL_RATE / 2) & (hz < edge))
    whole = (bands.gains * ((hz > MODEL_RATE / 2) & (hz < _REAL_HZ))).sum(axis=1)
    is_there = shares.sum(axis=1) > 0.5 * whole
    return shares * is_there[:, None], shares.sum(axis=1) * is_there


class UpperBandSource(PartSource):
    """Batches of kept mixtures, each with other levels and spectra; a `shared.training.batches.BatchSource`.

    Args:
        parts: of `Mixtures`.
        batch_size: mixtures in a batch.
        frames: of a mixture that are taken.
    """

    _centres = UpperBandConfig().centres

    def _plain(self, part: Part, place: int) -> Batch:
        """With the first model's result."""
        return self._made(part, place, 0, slice(None))

    def _item(self, part: Part, rng: np.random.Generator) -> Batch:
        place, model = int(rng.integers(len(part["bins"]))), int(rng.integers(part["enhanced"].shape[1]))
        frames = self._crop(part, rng)
        gain = rng.uniform(-25, 5)
        speech, noise = gain + self._curve(rng, 4.0), gain + self._curve(rng, 6.0)
        if rng.random() < 0.1:
            noise -= rng.uniform(20, 60)
        top = float(rng.choice(_LOWER_RATES)) / 2 if rng.random() < 0.15 else np.inf
        curves = np.where(self._centres < top, np.stack([speech, noise]), -np.inf)
        return self._made(part, place, model, frames, curves, gain)

    def _made(
        self, part: Part, place: int, model: int, frames: slice, curves: np.ndarray | None = None, gain: float = 0.0
    ) -> Batch:
        """One mixture, its speech and noise with gains in dB (2, upper) above 8 kHz, all below with `gain`."""
        change = np.zeros((2, len(self._centres))) if curves is None else curves
        powers = (10 ** (np.stack([*change, change.mean(0)]) / 10)).astype(np.float32)
        below = np.float32(10 ** (gain / 10))
        heard, energies = (part[name][place][:, frames] * powers[:, None] for name in ("heard", "energies"))
        lower, enhanced = (each[frames] * below for each in (part["lower"][place], part["enhanced"][place, model]))
        given = {
            "features": Bands.seen(np.maximum(heard.sum(0), 0), lower, enhanced),
            "bins": part["bins"][place] * (powers[0] > 0),
            "loudest": part["loudest"][place] * below,
        }
        return Batch(torch.from_numpy(energies), condition={name: torch.tensor(each) for name, each in given.items()})

    def _curve(self, rng: np.random.Generator, spread_db: float) -> np.ndarray:
        """Gains in dB (upper,) of a random smooth curve."""
        knots = rng.normal(0, spread_db) + np.cumsum(rng.normal(0, spread_db / 2, 4))
        return np.interp(self._centres, np.linspace(MODEL_RATE / 2, _REAL_HZ, 4), knots)
