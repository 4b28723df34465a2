"""What trains the network for the upper band: mixtures at 48 kHz with what the bundled models made of them, and the loss.

Mixtures are made once and kept, for the models' results cost more than the small network's training. Speech and noise
are kept apart, so that every batch can have other spectra of both above 8 kHz: other voices, microphones and noises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shared.checks import Checked, Count, Finite, Positive
from shared.files.io import atomic_path
from shared.random import derive_seed
from shared.training.batches import Batch
from speech.audio.bands import MODEL_RATE
from speech.audio.resampling import resample
from speech.data.clips import Clip, Waveform
from speech.data.config import MixConfig
from speech.data.degrade import change_speed, needed_for
from speech.data.levels import power
from speech.data.mixing import Mixer, Mixture
from speech.enhancer import Enhancer
from speech.model.upper_band import Bands, UpperBandConfig, UpperBandNetwork

RATE = 48000
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

_SPEECH_SPEED = (0.75, 1.3)
_LOWER_RATES = (22050.0, 24000.0, 32000.0, 40000.0)


@dataclass(frozen=True)
class UpperBandLoss(Checked):
    """The loss of each mixture, of what lies above 8 kHz: how far the error is below the speech, in dB, and how far the
    levels of the bands are from the speech's, in dB.

    Args:
        error, levels: their weights.
        range_db: levels this far below the recording's loudest bin count as of this.
    """

    error: Finite = 0.1
    levels: Finite = 0.1
    range_db: Positive = 80.0

    def __call__(self, network: UpperBandNetwork, x0: Tensor, y: Tensor, **given: object) -> Tensor:
        """(batch,) of speech `x0` and mixture `y`, both complex (batch, frames, bins) above the model's band; `mask`
        (batch, 1, bins) and `condition` are those of `UpperBandSource`."""
        mask, condition = given["mask"], given["condition"]
        assert isinstance(mask, Tensor) and isinstance(condition, dict)
        bands = Bands.of(network.config, RATE)
        gains, _ = network(condition["features"])
        estimate = gains @ bands.gains * y * mask
        clean, noisy = x0 * mask, y * mask
        wrong, right, all_of_it = (each.abs().square().sum((1, 2)) for each in (estimate - clean, clean, noisy))
        some = 1e-3 * all_of_it + 1e-12
        error = 10 * torch.log10((wrong + some) / (right + some))
        shares = bands.gains * mask
        counted = (shares.sum(-1) > 0.5 * (bands.gains * self._above()).sum(-1)).float()
        floor = condition["loudest"][:, None, None] * 10 ** (-self.range_db / 10) + 1e-12
        levels = [
            10 * torch.log10(each.abs().square() @ shares.mT / shares.sum(-1).clamp_min(1e-6).unsqueeze(1) + floor)
            for each in (estimate, clean)
        ]
        apart = ((levels[0] - levels[1]).abs() * counted.unsqueeze(1)).mean(1).sum(-1) / counted.sum(-1).clamp_min(1)
        return self.error * error + self.levels * apart


    @staticmethod
    def _above() -> Tensor:
        """1 for bins above the model's band."""
        return (torch.fft.rfftfreq(2 * Bands.of(UpperBandConfig(), RATE).hop, 1 / RATE) > MODEL_RATE / 2).float()


def with_speed(clip: Clip, rng: np.random.Generator, samples: int) -> tuple[Waveform, float]:
    """A part of a recording of speech, slower and lower or faster and higher, and the Hz up to which it is real."""
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
    return change_speed(part, speed, samples), min(_REAL_HZ, 0.95 * _REAL_HZ * min(speed, 1.0) + 1000)


def without_lower(wave: Waveform) -> tuple[Waveform, Waveform]:
    """What a waveform at 48 kHz has above a 16 kHz model's band, and what below."""
    lower = resample(resample(wave, RATE, MODEL_RATE), MODEL_RATE, RATE, length=len(wave))
    return wave - lower, lower


class Mixtures:
    """Mixtures on disk, in parts that are made one by one.

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
        self._folder, self._speech, self._models, self._count, self._seed = folder, speech, models, count, seed
        self._mixer, self._bands = Mixer(mix, noises), Bands.of(UpperBandConfig(), RATE)

    def part(self, place: int) -> dict[str, np.ndarray]:
        """A part, made if it is not there: "speech" and "noise" above the model's band (count, samples), half precision;
        energies of the recording below it and of what the models made of that, "lower" (count, frames, bins) and
        "enhanced" (count, models, frames, bins); "loudest" power of a bin of the speech, and "edge", the Hz up to which
        it is real, (count,)."""
        path = self._folder / f"part-{place:03d}.npz"
        if not path.is_file():
            made = [self._one(np.random.default_rng(derive_seed(self._seed, place, n))) for n in range(self._count)]
            whole = {name: np.stack([each[name] for each in made]) for name in made[0]}
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **whole)  # type: ignore[arg-type]
        return dict(np.load(path))

    def _one(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        dry, edge = with_speed(self._speech[int(rng.integers(len(self._speech)))], rng, self._mixer.config.samples)
        mixture: Mixture = self._mixer.mix(dry, rng)
        (speech, low_speech), (noise, low_noise) = without_lower(mixture.speech), without_lower(mixture.noise)
        low = resample(mixture.speech + mixture.noise, RATE, MODEL_RATE)
        made = [resample(each.enhance(low, MODEL_RATE), MODEL_RATE, RATE, length=len(dry)) for each in self._models]
        powers = [self._powers(torch.from_numpy(wave.astype(np.float32))) for wave in (low_speech + low_noise, *made)]
        scale = 1.0 / max(1e-9, float(np.abs(speech).max()), float(np.abs(noise).max()))
        return {
            "speech": (speech * scale).astype(np.float16),
            "noise": (noise * scale).astype(np.float16),
            "scale": np.float32(scale),
            "lower": powers[0].numpy(),
            "enhanced": torch.stack(powers[1:]).numpy(),
            "loudest": np.float32(self._powers(torch.from_numpy(low_speech)).max()),
            "edge": np.float32(edge),
        }

    def _powers(self, wave: Tensor) -> Tensor:
        bins = self._bands.gains.shape[1] // 3 + 2
        return spectra(self._bands, wave).abs().square()[:, :bins]


def spectra(bands: Bands, waves: Tensor) -> Tensor:
    """Complex (..., frames, bins) of waveforms (..., samples), the first frame ending with the first hop."""
    return bands.spectra(torch.nn.functional.pad(waves, (bands.hop, bands.hop)).unfold(-1, 2 * bands.hop, bands.hop))


class UpperBandSource:
    """Batches of kept mixtures, each with other levels and spectra; a `shared.training.batches.BatchSource`.

    Args:
        parts: of `Mixtures`.
        batch_size: mixtures in a batch.
        plain: leave them as they are, for validation.
    """

    def __init__(self, parts: Sequence[dict[str, np.ndarray]], batch_size: Count = 16, plain: bool = False):
        self._parts, self._size, self._plain = parts, batch_size, plain
        self._bands = Bands.of(UpperBandConfig(), RATE)
        self._hz = torch.fft.rfftfreq(2 * self._bands.hop, 1 / RATE)

    def batch(self, rng: np.random.Generator) -> Batch:
        """Spectra of speech `x0` and mixture `y`, complex (batch, frames, bins); `mask` (batch, 1, bins), 1 where the
        speech is real; "features" (batch, frames, features) and "loudest" (batch,)."""
        items = []
        for _ in range(self._size):
            part = self._parts[int(rng.integers(len(self._parts)))]
            items.append(self.item(part, int(rng.integers(len(part["edge"]))), rng))
        return collated(items)

    def all(self) -> Iterator[Batch]:
        """All mixtures, part by part."""
        for part in self._parts:
            rng = np.random.default_rng(0)
            yield collated([self.item(part, place, rng) for place in range(len(part["edge"]))])

    def item(self, part: dict[str, np.ndarray], place: int, rng: np.random.Generator) -> Batch:
        """One mixture, as a batch of it."""
        scale, edge = float(part["scale"][place]), float(part["edge"][place])
        waves = [torch.from_numpy(part[name][place].astype(np.float32) / scale) for name in ("speech", "noise")]
        clean, noise = (spectra(self._bands, wave) for wave in waves)
        model = 0 if self._plain else int(rng.integers(part["enhanced"].shape[1]))
        lower, enhanced = (torch.from_numpy(each) for each in (part["lower"][place], part["enhanced"][place, model]))
        loudest = torch.tensor(float(part["loudest"][place]))
        if not self._plain:
            clean, noise = clean * self._curve(rng, 4.0), noise * self._curve(rng, 6.0)
            if rng.random() < 0.1:
                noise = noise * 10 ** (-rng.uniform(20, 60) / 20)
            if rng.random() < 0.15:
                edge = min(edge, float(rng.choice(_LOWER_RATES)) / 2)
                clean, noise = clean * (self._hz < edge), noise * (self._hz < edge)
            gain = 10 ** (rng.uniform(-25, 5) / 20)
            clean, noise = clean * gain, noise * gain
            lower, enhanced, loudest = (each * gain**2 for each in (lower, enhanced, loudest))
        noisy = clean + noise
        missing = noisy.shape[-1] - lower.shape[-1]
        lower, enhanced = (torch.nn.functional.pad(each, (0, missing)) for each in (lower, enhanced))
        features = self._bands.features(noisy.abs().square(), lower, enhanced)
        mask = ((self._hz < edge) & (self._hz > MODEL_RATE / 2)).float()
        return Batch(clean, noisy, mask[None], {"features": features, "loudest": loudest})

    def _curve(self, rng: np.random.Generator, spread_db: float) -> Tensor:
        """Gains (bins,) of a random smooth curve above 8 kHz."""
        knots = rng.normal(0, spread_db) + np.cumsum(rng.normal(0, spread_db / 2, 4))
        decibels = np.interp(self._hz.numpy(), np.linspace(MODEL_RATE / 2, _REAL_HZ, 4), knots)
        return torch.from_numpy(10 ** (decibels / 20)).float()


def collated(items: Sequence[Batch]) -> Batch:
    """A batch of single mixtures."""
    first = items[0]
    assert first.y is not None and first.mask is not None
    condition = {name: torch.stack([each.condition[name] for each in items]) for name in first.condition}
    fields = {name: torch.stack([getattr(each, name) for each in items]) for name in ("x0", "y", "mask")}
    return replace(first, condition=condition, **fields)
