"""How noisy speech is made: the settings, and presets of them by task."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

from annotated_types import Ge, Le

from shared.checks import RISING, Chance, Checked, Count, Finite, Natural, NonNegative, Portion, Positive
from shared.errors import ConfigError
from speech.data import degrade

Range = Annotated[tuple[Finite, Finite], RISING]
Levels = Annotated[tuple[NonNegative, NonNegative], RISING]
Factor = Annotated[float, Ge(0.25), Le(4)]
SnrDistribution = Literal["uniform", "normal"]


@dataclass(frozen=True)
class MixConfig(Checked):
    """How noisy speech is made.

    Args:
        sample_rate: Hz.
        seconds: length of a crop; 2.04 s are 256 frames of the 16 kHz front end.
        batch_size: items in a batch.
        snr_db: range of signal-to-noise ratios.
        snr_distribution: "uniform" in the range, or "normal" about its middle with a quarter of it as deviation, drawn
            again while outside.
        snr_over: speech power "active" or of the "whole" crop.
        noises: at most so many at once, each at most 10 dB below the first; one is most likely.
        clean: chance of an input that is its target: no noise and no damage.
        silence: chance of an input of noise alone, whose target is silence.
        babble: chance that a noise is made of 3 to 8 other talkers.
        synthetic: chance that a noise is made by formula (`speech.data.noises`).
        noise_speed: range of factors by which noise is played faster, and higher. (Speech is not: what resampling takes
            from its highest band, a network learns to take away.)
        reworked: chance that another noise is made of a recorded one (`speech.data.noises.REWORKED`).
        revoiced: chance that speech is whispered, sung or drawn out (`speech.data.voices.VOICES`).
        second_talker: chance that somebody else speaks at the same time, up to 15 dB quieter, whom the target has too.
        filtered: chance that speech is filtered by a random low-order filter, and noise by a random equaliser.
        swelling: chance that the level of a noise rises and falls.
        noise_tilt: range of slopes laid over the spectrum of a noise, dB an octave.
        rumble: chance of a low-frequency noise (`speech.data.noises.rumble`) besides: collected recordings have often
            been filtered and lack it, what an enhancer hears has not.
        rumble_db: range of its level over that of the other noises.
        speech_low_cut: Hz, below which speech is cut off before mixing: recordings taken for clean have rumble, which
            the target would keep. 0 leaves them as they are.
        reverb: chance of a room.
        early_ms: what of a room's response after the direct path is in the target; 0 the direct path alone, None all.
        level_db: active level of the speech before the gain, of full scale; None leaves it as recorded.
        gain_db: range of gains on input and target alike. Both are scaled down if a peak would exceed full scale.
        clipped: chance that the input is clipped.
        clip_db: range of how far below its peak.
        limited: chance of lost bands.
        low_hz: range of lower edges.
        high_hz: range of upper edges.
        resampled: chance that the upper edge of a lost band is a converter's, steep, not a filter's.
        restore_band: the target keeps the whole band; otherwise it loses what the input loses.
        coded: chance that the input is encoded and decoded.
        codecs: which codecs.
        lossy: chance that packets of the input are lost.
        loss: range of the share of packets.
    """

    sample_rate: Count = 16000
    seconds: Positive = 2.04
    batch_size: Count = 16
    snr_db: Range = (-5.0, 20.0)
    snr_distribution: SnrDistribution = "uniform"
    snr_over: Literal["active", "whole"] = "active"
    noises: Natural = 2
    clean: Chance = 0.02
    silence: Chance = 0.02
    babble: Chance = 0.1
    synthetic: Chance = 0.05
    noise_speed: Annotated[tuple[Factor, Factor], RISING] = (1.0, 1.0)
    reworked: Chance = 0.0
    revoiced: Chance = 0.0
    second_talker: Chance = 0.0
    filtered: Chance = 0.3
    swelling: Chance = 0.0
    noise_tilt: Range = (0.0, 0.0)
    rumble: Chance = 0.0
    rumble_db: Range = (-15.0, 15.0)
    speech_low_cut: NonNegative = 0.0
    reverb: Chance = 0.2
    early_ms: NonNegative | None = 50.0
    level_db: Finite | None = -26.0
    gain_db: Range = (-12.0, 8.0)
    clipped: Chance = 0.02
    clip_db: Levels = (1.0, 12.0)
    limited: Chance = 0.0
    low_hz: Levels = (0.0, 0.0)
    high_hz: Range = (3400.0, 7600.0)
    resampled: Chance = 0.0
    restore_band: bool = False
    coded: Chance = 0.0
    codecs: tuple[degrade.Codec, ...] = ("mulaw", "alaw", "gsm", "adpcm", "mp3", "vorbis", "opus")
    lossy: Chance = 0.0
    loss: Annotated[tuple[Portion, Portion], RISING] = (0.01, 0.2)

    def _related(self) -> None:
        self._require(self.clean + self.silence <= 1, "clean silence", "need at most 1 together")
        self._require(self.silence == 0 or self.noises >= 1, "silence noises", "need noise, or nothing would be heard")
        self._require(self.seconds * self.sample_rate >= 1, "seconds sample_rate", "need at least one sample")
        self._require(
            self.speech_low_cut < self.sample_rate / 2, "speech_low_cut sample_rate", "need less than half the rate"
        )
        self._require(self.low_hz[1] < self.high_hz[0], "low_hz high_hz", "need low below high")
        self._require(self.coded == 0 or self.codecs, "coded codecs", "need at least one codec")

    @property
    def needs_talkers(self) -> bool:
        """Whether others than the speaker of an item are heard."""
        return self.babble > 0 or self.second_talker > 0

    @property
    def samples(self) -> int:
        """Length of a crop in samples."""
        return round(self.seconds * self.sample_rate)


_NO_NOISE = MixConfig(noises=0, silence=0.0, clipped=0.0)
PRESETS: dict[str, MixConfig] = {
    "denoise": MixConfig(),
    "dereverb": replace(_NO_NOISE, reverb=1.0, early_ms=0.0, clean=0.0),
    "bandwidth": replace(_NO_NOISE, reverb=0.0, limited=1.0, high_hz=(1000.0, 7000.0), restore_band=True),
}
"""Tasks by name; `preset` takes one with settings changed."""


def preset(name: str, **changes: object) -> MixConfig:
    """A task's config with some settings changed.

    Raises:
        ConfigError: there is no such task or setting.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}: choose from {', '.join(PRESETS)}")
    known = {field.name for field in fields(MixConfig)}
    if unknown := sorted(set(changes) - known):
        raise ConfigError(f"no setting {unknown[0]!r}: choose from {', '.join(sorted(known))}")
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]
