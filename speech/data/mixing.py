"""Noisy speech made on the fly from clean speech, noise and impulse responses.

A batch depends on its generator alone. In the order of what happens to an item: a crop of speech; another voice; a
second talker; a random filter; a room, whose early part is the target; noises at an SNR; the level; lost bands;
clipping; coding; lost packets.

The SNR is that of the speech as the microphone hears it, room included, over the noise: the power of the speech while
it is active (`speech.data.levels.active_power`), unless the config says over the whole crop, and the power of the noise
over the whole crop.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shared.errors import ConfigError
from shared.training.batches import Batch
from speech.data import degrade
from speech.data.clips import Clip, Folders, Waveform, read_clips, tell_narrow
from speech.data.config import MixConfig
from speech.data.levels import active_power, noise_gain, power
from speech.data.noises import KINDS, REWORKED, coloured_noise, rumble, smooth
from speech.data.rooms import ImpulseResponse, RoomConfig, read_responses, reverberate, simulated_responses
from speech.data.voices import VOICES

_SWELL_DB = 4.0
"""Deviation of the level of a noise that swells, which wanders within half a second."""
_QUIETER_DB = 15.0
"""How much quieter a second talker is at most."""
SILENT_LEVEL_DB = -26.0
"""The level that noise is measured against where there is no speech and none is configured."""

Cache = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Mixture:
    """A mixture, its target, and what it is made of; all float32 (samples,).

    Attributes:
        clean: target.
        noisy: input.
        speech: the speech in the input as the microphone hears it, before bands, clipping and coding.
        noise: the noise in the input, likewise.
        snr_db: as drawn; infinite without noise, minus infinite without speech.
        made_of: names of noises, room and damages.
    """

    clean: Waveform
    noisy: Waveform
    speech: Waveform
    noise: Waveform
    snr_db: float
    made_of: tuple[str, ...]


class Mixer:
    """Makes one mixture from dry speech.

    Args:
        config: how.
        noises: recordings.
        rooms: impulse responses at the config's sample rate; needed where `reverb` is not 0.
        talkers: of babble, and who speak besides; without, there is neither.

    Raises:
        ConfigError: the config asks for what is not there.
    """

    def __init__(
        self,
        config: MixConfig,
        noises: Sequence[Clip] = (),
        rooms: Sequence[ImpulseResponse] = (),
        talkers: Sequence[Clip] = (),
    ):
        if config.noises and config.synthetic < 1 and not noises:
            raise ConfigError("no noise recordings: give a folder of noise, or set noises=0 or synthetic=1")
        if config.reverb and not rooms:
            raise ConfigError(
                f"reverb={config.reverb} without impulse responses: give a folder, simulate rooms, or set reverb=0"
            )
        self.config, self.noises, self.rooms, self.talkers = config, noises, rooms, talkers
        self._one_talker = len({clip.speaker for clip in talkers}) == 1

    def mix(self, dry: Waveform, rng: np.random.Generator, speaker: str = "") -> Mixture:
        """A mixture as long as `dry` (samples,); `speaker` does not take part in babble, nor is the second talker."""
        config = self.config
        made_of: list[str] = []
        kind = rng.random()
        is_clean, is_silence = kind < config.clean, config.clean <= kind < config.clean + config.silence
        as_it_came = dry
        dry = self._joined(self._revoiced(dry, rng, made_of), rng, speaker, made_of)
        if config.speech_low_cut:
            dry = degrade.band_limit(dry, config.sample_rate, config.speech_low_cut)
        if rng.random() < config.filtered:
            dry = degrade.random_filter(dry, rng)
        speech = target = dry
        if rng.random() < config.reverb and not is_clean:
            room = self.rooms[int(rng.integers(len(self.rooms)))]
            speech, target = reverberate(dry, room, config.early_ms)
            made_of.append(room.id)
        level = config.level_db
        usual = 10 ** ((SILENT_LEVEL_DB if level is None else level) / 10)
        reference = self._speech_power(speech) or usual
        gain = np.float32(10 ** (rng.uniform(*config.gain_db) / 20))
        if level is not None:
            gain *= np.float32(np.sqrt(usual / reference))
        snr = np.inf
        noise = np.zeros_like(speech)
        if config.noises and not is_clean:
            snr = self._draw_snr(rng)
            noise = self._noise(as_it_came, rng, speaker, made_of)
            noise = noise * np.float32(noise_gain(reference, power(noise), snr) * gain)
        speech, target = speech * gain, target * gain
        if is_silence or not speech.any():
            speech, target, snr = np.zeros_like(speech), np.zeros_like(target), -np.inf
        speech, noise, target = self._within_full_scale(speech, noise, target)
        noisy = speech + noise
        if not is_clean:
            noisy, target = self._damage(noisy, target, rng, made_of)
        else:
            target = noisy
        return Mixture(target, noisy, speech, noise, float(snr), tuple(made_of))

    def _speech_power(self, speech: Waveform) -> float:
        return active_power(speech, self.config.sample_rate) if self.config.snr_over == "active" else power(speech)

    def _draw_snr(self, rng: np.random.Generator) -> float:
        low, high = self.config.snr_db
        if self.config.snr_distribution == "uniform" or low == high:
            return float(rng.uniform(low, high))
        while True:
            value = float(rng.normal((low + high) / 2, (high - low) / 4))
            if low <= value <= high:
                return value

    def _noise(self, dry: Waveform, rng: np.random.Generator, speaker: str, made_of: list[str]) -> Waveform:
        """A sum of noises, not silent, as long as the speech that they are for."""
        length = len(dry)
        total = np.zeros(length, np.float32)
        count = 1 + int(rng.geometric(0.6) - 1) % self.config.noises
        for i in range(count):
            noise = self._one_noise(dry, rng, speaker, made_of)
            if rng.random() < self.config.filtered:
                noise = degrade.random_equaliser(noise, rng)
            if rng.random() < self.config.swelling:
                noise = noise * 10 ** (_SWELL_DB / 20 * smooth(length, rng, self.config.sample_rate // 2))
            slope = rng.uniform(*self.config.noise_tilt)
            if slope:
                noise = degrade.tilt(noise, slope)
            below = 0.0 if i == 0 else rng.uniform(0, 10)
            total += noise * np.float32(noise_gain(1.0, power(noise), below))
        if rng.random() < self.config.rumble:
            made_of.append("rumble")
            low, level = rumble(length, rng), rng.uniform(*self.config.rumble_db)
            total += low * np.float32(noise_gain(power(total), power(low), -level))
        return total

    def _one_noise(self, dry: Waveform, rng: np.random.Generator, speaker: str, made_of: list[str]) -> Waveform:
        length, kind = len(dry), rng.random()
        if kind < self.config.synthetic:
            name = str(rng.choice(list(KINDS)))
            noise = KINDS[name](length, rng)
            if noise.any():
                made_of.append(name)
                return noise
        elif kind < self.config.synthetic + self.config.babble and self.talkers:
            babble = self._babble(dry, rng, speaker)
            if power(babble) > 0:
                made_of.append("babble")
                return babble
        if self.noises:
            clip = self.noises[int(rng.integers(len(self.noises)))]
            speed = rng.uniform(*self.config.noise_speed)
            crop = noise_crop(clip, degrade.needed_for(length, speed), rng)
            if crop.any():
                made_of.append(clip.id)
                return self._reworked(degrade.change_speed(crop, speed, length), rng, made_of)
        made_of.append("coloured noise")
        return coloured_noise(length, rng)

    def _reworked(self, noise: Waveform, rng: np.random.Generator, made_of: list[str]) -> Waveform:
        """Another noise made of a recorded one, as often as asked; the same where nothing would be heard of it."""
        if not _drawn(self.config.reworked, rng):
            return noise
        way = str(rng.choice(list(REWORKED)))
        return _or_as_it_was(REWORKED[way](noise, rng), noise, way, made_of)

    def _revoiced(self, speech: Waveform, rng: np.random.Generator, made_of: list[str]) -> Waveform:
        """The same words in another voice, as often as asked."""
        if not _drawn(self.config.revoiced, rng):
            return speech
        way = str(rng.choice(list(VOICES)))
        return _or_as_it_was(VOICES[way](speech, self.config.sample_rate, rng), speech, way, made_of)

    def _joined(self, speech: Waveform, rng: np.random.Generator, speaker: str, made_of: list[str]) -> Waveform:
        """Speech that somebody else, where there is one, speaks to, as often as asked; both are in the target."""
        if not (_drawn(self.config.second_talker, rng) and self.talkers and speech.any()):
            return speech
        below, others = rng.uniform(0, _QUIETER_DB), [clip for clip in self.talkers if clip.speaker != speaker]
        if not others:
            return speech
        other = noise_crop(others[int(rng.integers(len(others)))], len(speech), rng)
        if not other.any():
            return speech
        made_of.append("a second talker")
        return speech + other * np.float32(noise_gain(power(speech), power(other), below))

    def _babble(self, dry: Waveform, rng: np.random.Generator, speaker: str) -> Waveform:
        total = np.zeros_like(dry)
        for index in rng.integers(len(self.talkers), size=rng.integers(3, 9)):
            clip = self.talkers[index]
            if clip.speaker != speaker or self._one_talker:
                other = noise_crop(clip, len(dry), rng)
                if not np.array_equal(other, dry):  # of one speaker's few recordings this may be the very same
                    total += other * np.float32(rng.uniform(0.3, 1) / np.sqrt(clip.power))
        return total

    @staticmethod
    def _within_full_scale(*parts: Waveform) -> tuple[Waveform, ...]:
        speech, noise, target = parts
        peak = max(float(np.abs(speech + noise).max(initial=0)), float(np.abs(target).max(initial=0)))
        if peak <= 0.99:
            return parts
        return tuple(part * np.float32(0.99 / peak) for part in parts)

    def _damage(
        self, noisy: Waveform, target: Waveform, rng: np.random.Generator, made_of: list[str]
    ) -> tuple[Waveform, Waveform]:
        config, rate = self.config, self.config.sample_rate
        if rng.random() < config.limited:
            low, high = rng.uniform(*config.low_hz), min(rng.uniform(*config.high_hz), rate / 2)
            order = int(rng.integers(4, 17))
            steep = bool(config.resampled) and rng.random() < config.resampled
            noisy = _lose_band(noisy, rate, low, high, order, steep)
            if not config.restore_band:
                target = _lose_band(target, rate, low, high, order, steep)
            made_of.append(f"{low:.0f}–{high:.0f} Hz")
        if rng.random() < config.clipped:
            below = rng.uniform(*config.clip_db)
            noisy = degrade.clip(noisy, float(10 ** (-below / 20)))
            made_of.append(f"clipped by {below:.1f} dB")
        if rng.random() < config.coded:
            codec = config.codecs[rng.integers(len(config.codecs))]
            noisy = degrade.encode(noisy, rate, codec, float(rng.random()))
            made_of.append(codec)
        if rng.random() < config.lossy:
            noisy = degrade.lose_packets(noisy, rate, rng, float(rng.uniform(*config.loss)))
            made_of.append("lost packets")
        return noisy, target


def _drawn(chance: float, rng: np.random.Generator) -> bool:
    """Whether chance has it; without a chance nothing is drawn, so that mixtures without it stay as they were."""
    return chance > 0 and rng.random() < chance


def _or_as_it_was(made: Waveform, original: Waveform, way: str, made_of: list[str]) -> Waveform:
    """What was made, and told; the original where nothing would be heard of it."""
    if not made.any():
        return original
    made_of.append(way)
    return made


def _lose_band(x: Waveform, sample_rate: int, low: float, high: float, order: int, steep: bool) -> Waveform:
    if not steep:
        return degrade.band_limit(x, sample_rate, low, high, order)
    x = degrade.reduce_rate(x, sample_rate, round(2 * high))
    return degrade.band_limit(x, sample_rate, low, order=order) if low else x


def noise_crop(clip: Clip, length: int, rng: np.random.Generator) -> Waveform:
    """`length` samples from a random place, short clips repeated; of four places the first that is not near silence."""
    for _ in range(4):
        if len(clip) >= length:
            crop = clip.read(int(rng.integers(len(clip) - length + 1)), length)
        else:
            start = int(rng.integers(len(clip)))
            repeated = np.tile(clip.samples, -(-(length + start) // len(clip)))[start : start + length]
            crop = repeated.astype(np.float32) * np.float32(1 / 32767)
        if power(crop) > clip.power * 1e-3:
            return crop
    return crop


class MixSource:
    """Batches of mixtures on the fly; a `shared.training.batches.BatchSource`.

    Speech files are drawn in proportion to their length, noises and rooms evenly. A file shorter than the crop is
    followed, after a pause, by others of the same speaker.

    Args:
        clean: folders of clean speech, or clips.
        noise: folders of noise, or clips.
        rooms: folders of impulse responses, or responses; None for none measured.
        config: how to mix.
        simulated_rooms: how many rooms to simulate besides.
        seed: of the simulated rooms.
        cache: folder in which decoded audio and simulated rooms are kept for the next time.

    Attributes:
        contents: the recordings that batches are made of, with their lengths.

    Raises:
        DataError: a folder or file cannot be read.
        ConfigError: the config asks for what is not there.
    """

    def __init__(
        self,
        clean: Folders | Sequence[Clip],
        noise: Folders | Sequence[Clip] = (),
        rooms: Folders | Sequence[ImpulseResponse] | None = None,
        config: MixConfig | None = None,
        *,
        simulated_rooms: int = 0,
        seed: int = 0,
        cache: Cache = None,
    ):
        self.config = config = config or MixConfig()
        self.clips = _clips(clean, config.sample_rate, cache)
        if not self.clips:
            raise ConfigError("no clean speech: give at least one folder, or clip")
        tell_narrow([(clip.id, clip.rate) for clip in self.clips], config.sample_rate)
        noises = _clips(noise, config.sample_rate, cache) if config.noises else []
        responses = as_responses(rooms, config.sample_rate) if config.reverb else []
        parts: dict[str, Sequence[Clip | ImpulseResponse]] = {"speech": self.clips, "noise": noises, "room": responses}
        self.contents = [f"{kind}: {one.id} {len(one.samples)}" for kind, part in parts.items() for one in part]
        if config.reverb and simulated_rooms:
            own = RoomConfig(sample_rate=config.sample_rate)
            responses = [*responses, *simulated_responses(simulated_rooms, seed, own, cache)]
        self.mixer = Mixer(config, noises, responses, self.clips if config.needs_talkers else ())
        lengths = np.array([len(clip) for clip in self.clips], dtype=np.float64)
        self._share = np.cumsum(lengths / lengths.sum())
        self._of_speaker: dict[str, list[Clip]] = {}
        for clip in self.clips:
            self._of_speaker.setdefault(clip.speaker, []).append(clip)

    def batch(self, rng: np.random.Generator) -> Batch:
        """Targets `x0` and inputs `y`, float32 (batch, samples)."""
        pairs = [self.item(np.random.default_rng(seed)) for seed in rng.integers(2**63, size=self.config.batch_size)]
        clean = torch.from_numpy(np.stack([mixture.clean for _, mixture in pairs]))
        noisy = torch.from_numpy(np.stack([mixture.noisy for _, mixture in pairs]))
        return Batch(clean, noisy, ids=[name for name, _ in pairs])

    def item(self, rng: np.random.Generator) -> tuple[str, Mixture]:
        """One mixture and its name."""
        clip = self.clips[min(int(np.searchsorted(self._share, rng.random())), len(self.clips) - 1)]
        mixture = self.mixer.mix(self._speech(clip, rng, self.config.samples), rng, clip.speaker)
        return f"{clip.id} at {mixture.snr_db:.1f} dB with {', '.join(mixture.made_of) or 'nothing'}", mixture

    def _speech(self, clip: Clip, rng: np.random.Generator, length: int) -> Waveform:
        """A crop of `length` samples, not all but silent where there is something else."""
        if len(clip) >= length:
            for _ in range(4):
                crop = clip.read(int(rng.integers(len(clip) - length + 1)), length)
                if power(crop) > clip.power * 0.03:
                    break
            return crop
        same = self._of_speaker[clip.speaker]
        parts = [clip.read()]
        total = len(clip)
        while total < length:
            pause = int(rng.uniform(0.05, 0.5) * self.config.sample_rate)
            following = same[rng.integers(len(same))]
            scale = np.float32(np.sqrt(clip.power / following.power))
            parts += [np.zeros(pause, np.float32), following.read() * scale]
            total += pause + len(following)
        joined = np.concatenate(parts)
        start = int(rng.integers(min(len(clip), total - length + 1)))
        return joined[start : start + length]


def _clips(source: Folders | Sequence[Clip], sample_rate: int, cache: Cache) -> list[Clip]:
    if isinstance(source, Sequence) and not isinstance(source, str) and all(isinstance(item, Clip) for item in source):
        return list(source)  # type: ignore[arg-type]
    return read_clips(source, sample_rate, cache=cache)  # type: ignore[arg-type]


def as_responses(source: Folders | Sequence[ImpulseResponse] | None, sample_rate: int) -> list[ImpulseResponse]:
    """Rooms at `sample_rate` Hz: those given, or read from folders; none of None."""
    if source is None:
        return []
    if isinstance(source, Sequence) and not isinstance(source, str):
        given = [item for item in source if isinstance(item, ImpulseResponse)]
        if len(given) == len(source):
            return given
    return read_responses(source, sample_rate)  # type: ignore[arg-type]
