"""Noise made by formula, and other noises made of recorded ones: what a recording of noise need not be collected for.

Every function of `KINDS` takes a length in samples and a generator, and returns a float32 waveform (length,) of unit
deviation, or zeros where chance left it silent. Those of `REWORKED` take a waveform (length,) instead of a length, and
return one as long, of any level. A network that was trained on few recordings of noise learns these recordings; noise
without end of many kinds keeps it from that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shared.random import log_uniform
from speech.data.clips import Waveform


def coloured_noise(length: int, rng: np.random.Generator) -> Waveform:
    """Gaussian noise with power 1/f^a, a uniform from 0 (white) to 2 (brown)."""
    size = _size(length)
    frequency = np.maximum(np.arange(size // 2 + 1, dtype=np.float32), size / 512)
    shape = frequency ** np.float32(-rng.uniform(0, 2) / 2)
    return _unit(_gaussian(shape, size, rng)[:length])


def band_noise(length: int, rng: np.random.Generator) -> Waveform:
    """Gaussian noise of one to four bands, 0.3 to 3 octaves wide, over a floor 20 to 50 dB below: fans, vents, hiss."""
    size = _size(length)
    octaves = np.log2(np.maximum(np.arange(size // 2 + 1, dtype=np.float32), 1) / (size // 2))
    shape = np.full(size // 2 + 1, 10 ** (-rng.uniform(20, 50) / 20), np.float32)
    for _ in range(rng.integers(1, 5)):
        distance = (octaves - rng.uniform(-7, -0.2)) / rng.uniform(0.15, 1.5)
        shape += rng.uniform(0.1, 1) * np.exp(-0.5 * distance**2, dtype=np.float32)
    return _unit(_gaussian(shape, size, rng)[:length])


def hum(length: int, rng: np.random.Generator) -> Waveform:
    """Harmonics of a pitch between 25 and 400 Hz at 16 kHz that wanders slowly: engines, mains, machines."""
    pitch = 2 * np.pi * log_uniform(rng, 25, 400) / 16000
    phase = np.cumsum(pitch * (1 + rng.uniform(0, 0.1) * smooth(length, rng, 1600)))
    count = int(min(24, 0.9 * np.pi / (pitch * 1.1)))
    decay = rng.uniform(0.2, 2)
    total = np.zeros(length)
    for k in range(1, count + 1):
        total += rng.exponential() * k**-decay * np.cos(k * phase + rng.uniform(0, 2 * np.pi))
    total += rng.uniform(0, 0.5) * total.std() * coloured_noise(length, rng)
    return _unit(total * _swell(length, rng))


def impacts(length: int, rng: np.random.Generator) -> Waveform:
    """Decaying bursts of ringing and noise, 1 to 12 a second at 16 kHz: keys, doors, dishes, steps."""
    total = np.zeros(length)
    rate = np.exp(rng.uniform(0, np.log(12)))
    kinds = [_impact(rng) for _ in range(rng.integers(1, 4))]
    for start in rng.integers(0, length, 1 + rng.poisson(rate * length / 16000)):
        burst = kinds[rng.integers(len(kinds))][: length - start]
        total[start : start + len(burst)] += rng.lognormal(0, 0.7) * burst
    return _unit(total + 10 ** (-rng.uniform(20, 50) / 20) * total.std() * coloured_noise(length, rng))


def chords(length: int, rng: np.random.Generator) -> Waveform:
    """Notes with a few harmonics, several at once, struck or swelling: music, beeps, bells."""
    total = np.zeros(length)
    for _ in range(rng.integers(2, 4 + int(6 * length / 16000))):
        start, count = int(rng.integers(-8000, length)), int(rng.uniform(1600, 24000))
        pitch = 2 * np.pi * 55 * 2 ** (rng.integers(0, 60) / 12) / 16000
        n = np.arange(count)
        note = sum(
            rng.exponential() / k * np.sin(k * pitch * n + rng.uniform(0, 6)) for k in range(1, 6) if k * pitch < 3
        )
        rise, fall = rng.uniform(40, 3000), rng.uniform(1600, 12000)
        note = note * np.minimum(1, n / rise) * np.exp(-n / fall) * np.minimum(1, (count - n) / 200)
        low, high = max(start, 0), min(start + count, length)
        if high > low:
            total[low:high] += rng.uniform(0.2, 1) * note[low - start : high - start]
    return _unit(total)


def gusts(length: int, rng: np.random.Generator) -> Waveform:
    """Coloured or band noise whose loudness comes and goes within tenths of a second: wind, waves, passing cars."""
    noise = coloured_noise(length, rng) if rng.random() < 0.5 else band_noise(length, rng)
    depth = rng.uniform(3, 15)
    return _unit(noise * 10 ** (depth * smooth(length, rng, int(log_uniform(rng, 800, 16000))) / 20))


def rumble(length: int, rng: np.random.Generator) -> Waveform:
    """Gaussian noise that falls by 6 to 18 dB an octave above 20 to 150 Hz at 16 kHz, steady or swelling.

    Traffic, ventilation, wind, hands on the microphone: most of the power of noise that nobody filtered is here.
    """
    size = _size(length)
    frequency = np.arange(size // 2 + 1, dtype=np.float32) * np.float32(16000 / size)
    corner, order = log_uniform(rng, 20, 150), rng.uniform(0.5, 1.5)
    low_pass = (1 + (frequency / corner) ** 2) ** -order
    high_pass = frequency**2 / (frequency**2 + 8**2)  # what a microphone's coupling takes away
    noise = _gaussian((low_pass * high_pass).astype(np.float32), size, rng)[:length]
    return _unit(noise * 10 ** (rng.uniform(0, 6) * smooth(length, rng, 8000) / 20))


def engine(length: int, rng: np.random.Generator) -> Waveform:
    """Bursts in a row, 8 to 160 a second at 16 kHz, uneven and through resonances: motors, saws, drills, mowers."""
    pace = log_uniform(rng, 8, 160) / 16000
    speed = np.maximum(0.2, 1 + rng.uniform(0, 0.25) * smooth(length, rng, 8000))
    turns = np.cumsum(pace * speed)
    cycle = turns.astype(np.int64)
    strength = np.maximum(0, 1 + rng.uniform(0, 0.5) * rng.standard_normal(int(cycle[-1]) + 1))[cycle]
    burst = np.exp(-rng.uniform(1, 12) * (turns - cycle)) * strength
    strokes = int(rng.integers(1, 5))  # of several cylinders, one sounds otherwise
    burst *= np.where(cycle % strokes == 0, 1.0, rng.uniform(0.3, 1))
    body = np.diff(burst, prepend=0.0) * rng.uniform(0, 3) + burst * rng.standard_normal(length) * rng.uniform(0.1, 1)
    return _unit(_resonances(body, rng) * _swell(length, rng))


def ticks(length: int, rng: np.random.Generator) -> Waveform:
    """One or two kinds of short clicks in an even beat, 1 to 20 a second at 16 kHz: clocks, ratchets, indicators."""
    total = np.zeros(length)
    kinds = [_impact(rng)[: int(rng.uniform(80, 1600))] for _ in range(rng.integers(1, 3))]
    period = 16000 / np.exp(rng.uniform(0, np.log(20)))
    place, count = rng.uniform(0, period), 0
    while place < length:
        burst = kinds[count % len(kinds)][: length - int(place)]
        total[int(place) : int(place) + len(burst)] += rng.lognormal(0, 0.1) * burst
        place += period * (1 + 0.02 * rng.standard_normal())
        count += 1
    return _unit(total + 10 ** (-rng.uniform(25, 60) / 20) * total.std() * coloured_noise(length, rng))


def calls(length: int, rng: np.random.Generator) -> Waveform:
    """Gliding tones with harmonics and breath, .03 to 1 s long, with pauses: animals, horns, sirens, squeaks, cries."""
    total = np.zeros(length)
    low, high = np.log(120), np.log(5000)
    centre, spread = rng.uniform(low, high), rng.uniform(0.02, 0.5)
    typical, rough = log_uniform(rng, 500, 16000), rng.uniform(0, 0.6)
    place = -int(rng.uniform(0, typical))
    while place < length:
        count = max(64, int(typical * rng.lognormal(0, 0.3)))
        glide = np.clip(centre + spread * smooth(count, rng, max(32, count // 3)), low, high)
        phase = np.cumsum(2 * np.pi * np.exp(glide) / 16000)
        top = float(np.exp(glide.max()))
        voice = sum(
            rng.exponential() * k ** -rng.uniform(0, 1.5) * np.sin(k * phase)
            for k in range(1, 1 + max(1, min(12, int(7600 / top))))
        )
        voice = voice + rough * np.std(voice) * rng.standard_normal(count)
        call = voice * np.sin(np.pi * (np.arange(count) + 0.5) / count) ** rng.uniform(0.3, 2) * rng.lognormal(0, 0.3)
        first, last = max(place, 0), min(place + count, length)
        if last > first:
            total[first:last] += call[first - place : last - place]
        place += count + int(typical * rng.exponential() * 1.5)
    return _unit(total + 10 ** (-rng.uniform(20, 50) / 20) * total.std() * coloured_noise(length, rng))


def pulsed(noise: Waveform, rng: np.random.Generator) -> Waveform:
    """A noise whose level beats, 1.5 to 150 times a second at 16 kHz."""
    length = len(noise)
    pace = log_uniform(rng, 1.5, 150) / 16000
    turns = np.cumsum(pace * np.maximum(0.2, 1 + rng.uniform(0, 0.2) * smooth(length, rng, 8000)))
    wave = np.abs(np.cos(np.pi * turns)) ** log_uniform(rng, 0.5, 20)
    floor = rng.uniform(0, 0.5)
    return (noise * (floor + (1 - floor) * wave)).astype(np.float32)


def grains(noise: Waveform, rng: np.random.Generator) -> Waveform:
    """Pieces of a noise, 10 to 300 ms long at 16 kHz, laid out anew: now and then, evenly, or one over the other."""
    length = len(noise)
    size = min(length, int(log_uniform(rng, 160, 4800)))
    window = np.hanning(size + 2)[1:-1] ** rng.uniform(0.3, 1)
    step = size * log_uniform(rng, 0.4, 8)
    even, few = rng.random() < 0.5, rng.integers(0, length - size + 1, rng.integers(1, 5))
    again = rng.random() < 0.5  # the same few pieces all the time
    total = np.zeros(length + size)
    place = rng.uniform(0, min(step, length))
    while place < length:
        start = int(rng.choice(few) if again else rng.integers(0, length - size + 1))
        total[int(place) : int(place) + size] += window * noise[start : start + size] * rng.lognormal(0, 0.3)
        place += step if even else step * max(0.1, rng.exponential())
    return total[:length].astype(np.float32)


def backwards(noise: Waveform, rng: np.random.Generator) -> Waveform:
    """A noise from its end to its beginning."""
    return noise[::-1].copy()


KINDS: dict[str, Callable[[int, np.random.Generator], Waveform]] = {
    "coloured noise": coloured_noise,
    "band noise": band_noise,
    "hum": hum,
    "impacts": impacts,
    "chords": chords,
    "gusts": gusts,
    "rumble": rumble,
    "engine": engine,
    "ticks": ticks,
    "calls": calls,
}
REWORKED: dict[str, Callable[[Waveform, np.random.Generator], Waveform]] = {
    "pulsed": pulsed,
    "grains": grains,
    "backwards": backwards,
}
"""What makes another noise of a recorded one."""


def smooth(length: int, rng: np.random.Generator, spacing: int) -> Waveform:
    """A curve through normal numbers `spacing` samples apart, cosine-interpolated."""
    knots = rng.standard_normal(length // spacing + 2).astype(np.float32)
    place = np.arange(length, dtype=np.float32) / np.float32(spacing)
    left = place.astype(np.int64)
    weight = (1 - np.cos(np.pi * (place - left))) / 2
    return (knots[left] * (1 - weight) + knots[left + 1] * weight).astype(np.float32)


def _impact(rng: np.random.Generator) -> Waveform:
    n = np.arange(4000, dtype=np.float32)
    ringing = sum(
        rng.exponential() * np.sin(log_uniform(rng, 0.05, 2.8) * n) * np.exp(-n / rng.uniform(20, 900))
        for _ in range(rng.integers(1, 6))
    )
    noise = rng.standard_normal(len(n)) * np.exp(-n / log_uniform(rng, 10, 600))
    return (rng.random() * ringing + rng.random() * noise).astype(np.float32)


def _resonances(x: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A waveform (length,) through two to seven resonances, 80 Hz to 7 kHz at 16 kHz, as a machine's body has."""
    size = _size(2 * len(x))
    frequency = np.arange(size // 2 + 1) / size
    response = np.full(size // 2 + 1, 0.02 * rng.random(), np.complex128)
    for _ in range(rng.integers(2, 8)):
        centre = log_uniform(rng, 80, 7000) / 16000
        width = centre / rng.uniform(1, 12)
        response += rng.exponential() * width / (width + 2j * (frequency - centre))
    return np.fft.irfft(np.fft.rfft(x, size) * response, size)[: len(x)]


def _swell(length: int, rng: np.random.Generator) -> Waveform:
    return (10 ** (rng.uniform(0, 4) * smooth(length, rng, 4000) / 20)).astype(np.float32)


def _size(length: int) -> int:
    return 1 << (length - 1).bit_length() if length > 1 else 2


def _gaussian(shape: Waveform, size: int, rng: np.random.Generator) -> Waveform:
    spectrum = rng.standard_normal((2, size // 2 + 1), np.float32)
    shape[0] = 0
    return np.fft.irfft((spectrum[0] + 1j * spectrum[1]) * shape, size).astype(np.float32)


def _unit(noise: NDArray[np.floating]) -> Waveform:
    return (noise / max(float(noise.std()), 1e-12)).astype(np.float32)
