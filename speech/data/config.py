"""How noisy speech is made: the settings, and presets of them by task."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np

from shared.errors import ConfigError
from speech.data import degrade

Range = tuple[float, float]
SnrDistribution = Literal["uniform", "normal"]
SnrOver = Literal["active", "whole"]

_CHANCES = (
    *("clean", "silence", "babble", "synthetic", "filtered", "swelling", "rumble"),
    *("reverb", "clipped", "limited", "coded", "lossy"),
)
_RANGES = ("snr_db", "gain_db", "clip_db", "low_hz", "high_hz", "loss", "noise_speed", "noise_tilt", "rumble_db")


@dataclass(frozen=True)
class MixConfig:
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
        restore_band: the target keeps the whole band; otherwise it loses what the input loses.
        coded: chance that the input is encoded and decoded.
        codecs: which codecs.
        lossy: chance that packets of the input are lost.
        loss: range of the share of packets.
    """

    sample_rate: int = 16000
    seconds: float = 2.04
    batch_size: int = 16
    snr_db: Range = (-5.0, 20.0)
    snr_distribution: SnrDistribution = "uniform"
    snr_over: SnrOver = "active"
    noises: int = 2
    clean: float = 0.02
    silence: float = 0.02
    babble: float = 0.1
    synthetic: float = 0.05
    noise_speed: Range = (1.0, 1.0)
    filtered: float = 0.3
    swelling: float = 0.0
    noise_tilt: Range = (0.0, 0.0)
    rumble: float = 0.0
    rumble_db: Range = (-15.0, 15.0)
    speech_low_cut: float = 0.0
    reverb: float = 0.2
    early_ms: float | None = 50.0
    level_db: float | None = -26.0
    gain_db: Range = (-12.0, 8.0)
    clipped: float = 0.02
    clip_db: Range = (1.0, 12.0)
    limited: float = 0.0
    low_hz: Range = (0.0, 0.0)
    high_hz: Range = (3400.0, 7600.0)
    restore_band: bool = False
    coded: float = 0.0
    codecs: tuple[degrade.Codec, ...] = ("mulaw", "alaw", "gsm", "adpcm", "mp3", "vorbis", "opus")
    lossy: float = 0.0
    loss: Range = (0.01, 0.2)

    def __post_init__(self) -> None:
        for name in _CHANCES:
            self._check(0 <= getattr(self, name) <= 1, name, "a chance, from 0 to 1")
        for name in _RANGES:
            low, high = getattr(self, name)
            self._check(bool(np.isfinite([low, high]).all()) and low <= high, name, "a finite range, low <= high")
        self._check(self.snr_distribution in get_args(SnrDistribution), "snr_distribution", "'uniform' or 'normal'")
        self._check(self.snr_over in get_args(SnrOver), "snr_over", "'active' or 'whole'")
        self._check(self.clean + self.silence <= 1, "silence", "at most 1 with `clean`")
        self._check(self.sample_rate > 0, "sample_rate", "a positive rate in Hz")
        self._check(self.seconds * self.sample_rate >= 1, "seconds", "a positive length")
        self._check(self.batch_size >= 1, "batch_size", "at least one item")
        self._check(self.noises >= 0, "noises", "none or more")
        self._check(self.silence == 0 or self.noises >= 1, "silence", "0 where noises=0, for nothing would be heard")
        self._check(self.early_ms is None or self.early_ms >= 0, "early_ms", "None, or at least 0")
        self._check(self.clip_db[0] >= 0, "clip_db", "dB below the peak, at least 0")
        top = self.sample_rate / 2
        self._check(0 <= self.speech_low_cut < top, "speech_low_cut", f"Hz from 0 to below {top:g}")
        slow, fast = self.noise_speed
        self._check(0.25 <= slow <= fast <= 4, "noise_speed", "factors from 0.25 to 4")
        self._check(0 <= self.low_hz[1] < self.high_hz[0], "low_hz", "below high_hz")
        self._check(self.loss[0] >= 0 and self.loss[1] < 1, "loss", "shares below 1")
        self._check(set(self.codecs) <= set(degrade.CODECS), "codecs", f"of {degrade.CODECS}")
        self._check(self.coded == 0 or bool(self.codecs), "codecs", "at least one")

    def _check(self, good: bool, name: str, need: str) -> None:
        if not good:
            raise ConfigError(f"{name}={getattr(self, name)}: need {need}")

    @property
    def samples(self) -> int:
        """Length of a crop in samples."""
        return round(self.seconds * self.sample_rate)


PRESETS: dict[str, MixConfig] = {
    "denoise": MixConfig(),
    "dereverb": MixConfig(reverb=1.0, early_ms=0.0, noises=0, clean=0.0, silence=0.0, clipped=0.0),
    "bandwidth": MixConfig(
        reverb=0.0,
        noises=0,
        clean=0.02,
        silence=0.0,
        clipped=0.0,
        limited=1.0,
        high_hz=(1000.0, 7000.0),
        restore_band=True,
    ),
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
