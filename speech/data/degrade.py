"""What recording and transmission do to a waveform: clipping, lost bands, coding, lost packets.

Every function takes and returns a float waveform (samples,) of full scale 1 and its sample rate in Hz; where chance is
involved it comes from the generator given. The output is aligned with the input and as long.
"""

from __future__ import annotations

import io
from typing import Literal, get_args

import numpy as np
import scipy.fft
import soundfile
import soxr
from numpy.typing import NDArray

from shared.checks import Chance, Share, checked
from shared.errors import ConfigError
from speech.audio.resampling import fit_length
from speech.data.clips import Waveform

Codec = Literal["mulaw", "alaw", "gsm", "adpcm", "mp3", "vorbis", "opus"]
CODECS: tuple[Codec, ...] = get_args(Codec)

_NARROW_BAND_HZ = 8000


def clip(x: Waveform, level: float) -> Waveform:
    """Limit to ±level·max|x|: hard clipping, `level` in (0, 1].

    Raises:
        ConfigError: the level is not in (0, 1].
    """
    checked(Share, level=level)
    peak = np.float32(np.abs(x).max(initial=0) * level)
    return np.clip(x, -peak, peak)


def band_limit(x: Waveform, sample_rate: int, low: float = 0.0, high: float | None = None, order: int = 8) -> Waveform:
    """Keep `low` to `high` Hz, without delay: Butterworth magnitudes of `order` (−3 dB at the edges), zero phase.

    Raises:
        ConfigError: the band is empty or not within 0 to half the sample rate.
    """
    top = sample_rate / 2 if high is None else high
    if not 0 <= low < top <= sample_rate / 2:
        raise ConfigError(f"band {low}–{top} Hz at {sample_rate} Hz: need 0 <= low < high <= {sample_rate / 2}")
    size = scipy.fft.next_fast_len(len(x) + round(0.05 * sample_rate), real=True)
    spectrum = scipy.fft.rfft(x, size)
    return scipy.fft.irfft(spectrum * _band(size, sample_rate, low, top, order), size)[: len(x)].astype(np.float32)


def _band(size: int, sample_rate: int, low: float, high: float, order: int) -> NDArray[np.float32]:
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    gain = np.ones_like(frequency)
    if high < sample_rate / 2:
        gain /= np.sqrt(1 + (frequency / high) ** (2 * order))
    if low > 0:
        gain /= np.sqrt(1 + (low / np.maximum(frequency, 1e-3 * low)) ** (2 * order))
    return gain.astype(np.float32)


def reduce_rate(x: Waveform, sample_rate: int, rate: int) -> Waveform:
    """What is left after sampling at `rate` Hz and back: nothing above rate/2, and a converter's steep edge."""
    if rate >= sample_rate:
        return x
    return fit_length(soxr.resample(soxr.resample(x, sample_rate, rate), rate, sample_rate), len(x))


def random_filter(x: Waveform, rng: np.random.Generator) -> Waveform:
    """Filter by (1 + r₁z⁻¹ + r₂z⁻²)/(1 + r₃z⁻¹ + r₄z⁻²), r uniform in ±3/8: other microphones and distances.

    The augmentation of Valin, "A hybrid DSP/deep learning approach to real-time full-band speech enhancement" (2018).
    """
    from scipy.signal import lfilter

    r = rng.uniform(-0.375, 0.375, 4).astype(np.float32)
    one = np.float32(1)
    return lfilter(np.array([one, r[0], r[1]]), np.array([one, r[2], r[3]]), x).astype(np.float32)


def random_equaliser(x: Waveform, rng: np.random.Generator) -> Waveform:
    """Filter with zero phase by a smooth curve: gains of a deviation of 6 dB at every octave, lines between."""
    size = scipy.fft.next_fast_len(len(x), real=True)
    octave = np.log2(np.maximum(np.arange(size // 2 + 1, dtype=np.float32), 1) * (256 / size) + 1)
    gains = rng.normal(0, 6.0, 9)
    curve = 10 ** (np.interp(octave, np.arange(9), gains) / 20)
    return scipy.fft.irfft(scipy.fft.rfft(x, size) * curve.astype(np.float32), size)[: len(x)].astype(np.float32)


def tilt(x: Waveform, slope_db: float) -> Waveform:
    """Filter with zero phase by a slope of `slope_db` an octave; flat below a 500th of half the sample rate."""
    size = scipy.fft.next_fast_len(len(x), real=True)
    octave = np.log2(np.maximum(np.arange(size // 2 + 1, dtype=np.float32) * (2 / size), 1 / 500))
    curve = 10 ** (np.float32(slope_db / 20) * octave)
    return scipy.fft.irfft(scipy.fft.rfft(x, size) * curve, size)[: len(x)].astype(np.float32)


def needed_for(length: int, speed: float) -> int:
    """How many samples `change_speed` turns into `length`."""
    return int(np.ceil(length * speed))


def change_speed(x: Waveform, speed: float, length: int) -> Waveform:
    """x played `speed` times as fast, and so much higher, as long as `length` samples."""
    if speed == 1:
        return x[:length]
    return fit_length(soxr.resample(x, speed, 1.0), length)


def encode(x: Waveform, sample_rate: int, codec: Codec, quality: float = 0.5) -> Waveform:
    """Encode and decode.

    "mulaw", "alaw", "gsm" and "adpcm" are telephone codecs, at 8 kHz; "mp3", "vorbis" and "opus" keep the sample rate,
    with the encoder's `quality` from 0 (fewest bits) to 1. Peaks beyond full scale are clipped, as in the original.

    Raises:
        ConfigError: the codec or the quality is not one that exists.
    """
    checked(Codec, codec=codec)
    checked(Chance, quality=quality)
    if codec in _TELEPHONE:
        narrow = soxr.resample(x, sample_rate, _NARROW_BAND_HZ)
        coded = _through_file(narrow, _NARROW_BAND_HZ, "WAV", _TELEPHONE[codec])
        return fit_length(soxr.resample(fit_length(coded, len(narrow)), _NARROW_BAND_HZ, sample_rate), len(x))
    container, subtype = _TRANSFORM[codec]
    rate = min(_TRANSFORM_RATES, key=lambda rate: (rate < sample_rate, abs(rate - sample_rate)))
    source = x if rate == sample_rate else soxr.resample(x, sample_rate, rate)
    coded = fit_length(_through_file(source, rate, container, subtype, compression=0.99 * (1 - quality)), len(source))
    return fit_length(coded if rate == sample_rate else soxr.resample(coded, rate, sample_rate), len(x))


_TELEPHONE = {"mulaw": "ULAW", "alaw": "ALAW", "gsm": "GSM610", "adpcm": "IMA_ADPCM"}
_TRANSFORM = {"mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
_TRANSFORM_RATES = (8000, 16000, 24000, 48000)


def _through_file(
    x: Waveform, sample_rate: int, container: str, subtype: str, compression: float | None = None
) -> Waveform:
    stream = io.BytesIO()
    coding = {"format": container, "subtype": subtype, "compression_level": compression}
    soundfile.write(stream, np.clip(x, -1, 1), sample_rate, **coding)
    stream.seek(0)
    decoded, _ = soundfile.read(stream, dtype="float32")
    return decoded


def lose_packets(
    x: Waveform, sample_rate: int, rng: np.random.Generator, rate: float = 0.05, burst: float = 2.0
) -> Waveform:
    """Silence packets of 20 ms: on average the share `rate` of them, in bursts of mean length `burst` packets, or
    longer ones where so many are lost that but one is received between two.

    The Gilbert model: two states, left with chances that give that share and that length.

    Raises:
        ConfigError: the rate is not in [0, 1), or the burst shorter than one packet.
    """
    if not 0 <= rate < 1 or burst < 1:
        raise ConfigError(f"packet loss rate {rate}, burst {burst}: need 0 <= rate < 1 and burst >= 1")
    length = max(1, round(0.02 * sample_rate))
    count = -(-len(x) // length)
    odds = rate / (1 - rate)
    leave_lost, leave_received = 1 / max(burst, odds), min(1.0, odds / burst)
    draws = rng.random(count + 1)
    lost = np.empty(count, bool)
    state = bool(draws[0] < rate)
    for i in range(count):
        lost[i] = state
        state = bool(draws[i + 1] >= leave_lost) if state else bool(draws[i + 1] < leave_received)
    return np.where(np.repeat(lost, length)[: len(x)], np.float32(0), x)
