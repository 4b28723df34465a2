"""What can be tried with one click: a noisy talker made by formula, and a stretch of the embedded electricity load."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.signal
import soundfile

from shared.files.io import write_csv
from speech.data.levels import active_power, noise_gain, power
from speech.data.noises import KINDS, smooth
from tsdiff.data import to_timestamps
from tsdiff.data.embedded import embedded_series

from .limits import Limits
from .requests import ExampleRequest, ExampleResult, Tell

RATE = 16000
_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""Formants in Hz of five vowels of a man (Peterson and Barney 1952, table II)."""

_BANDWIDTHS = (60.0, 90.0, 150.0)
_SYLLABLE_SECONDS = 0.22


def make(request: ExampleRequest, folder: Path, tell: Tell, limits: Limits) -> ExampleResult:
    """What can be tried."""
    tell(0.0, "making it")
    path = noisy_recording(folder) if request.which == "noisy recording" else load_csv(folder)
    return ExampleResult(path, about=path.name)


def talker(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Something like speech, float32 (samples,): vowels in syllables with pauses between phrases, a pitch that glides.

    The source is a train of pulses, the vowels resonances of it: Klatt's cascade of three (1980), without consonants
    but for a hiss at the beginning of some syllables.
    """
    count = round(_SYLLABLE_SECONDS * RATE)
    pieces: list[np.ndarray] = []
    while sum(len(piece) for piece in pieces) < seconds * RATE:
        for _ in range(rng.integers(3, 7)):
            pieces.append(_syllable(count, rng))
        pieces.append(np.zeros(round(rng.uniform(0.3, 0.6) * RATE)))
    voice = np.concatenate(pieces)[: round(seconds * RATE)]
    return (0.3 * voice / np.abs(voice).max()).astype(np.float32)


def _syllable(count: int, rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(100, 140) * (1 - 0.2 * np.arange(count) / count)
    phase = np.cumsum(pitch / RATE)
    source = np.diff(np.floor(phase), prepend=0.0) + 0.02 * rng.standard_normal(count)
    for formant, bandwidth in zip(_VOWELS[rng.integers(len(_VOWELS))], _BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth / RATE)
        angle = 2 * np.pi * formant / RATE
        source = scipy.signal.lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], source)
    sound = source / np.abs(source).max() * np.sin(np.pi * np.arange(count) / count) ** 0.5
    if rng.random() < 0.4:
        burst = count // 4
        sound[:burst] += 0.1 * np.diff(rng.standard_normal(burst + 1)) * np.hanning(burst)
    return sound * rng.uniform(0.6, 1.0)


@lru_cache(maxsize=1)
def _noisy(seconds: float = 10.0, snr_db: float = 5.0) -> np.ndarray:
    rng = np.random.default_rng(4)
    voice = talker(seconds, rng)
    noise = KINDS["coloured noise"](len(voice), rng) * (1 + 0.3 * smooth(len(voice), rng, 8000))
    noisy = voice + noise_gain(active_power(voice, RATE), power(noise), snr_db) * noise
    return (0.5 * noisy / np.abs(noisy).max()).astype(np.float32)


def noisy_recording(folder: Path) -> Path:
    """Ten seconds of a made-up talker in made-up noise, as a WAV file."""
    path = folder / "made-up talker.wav"
    soundfile.write(path, _noisy(), RATE, subtype="PCM_16")
    return path


def load_table(rows: int = 1000) -> pd.DataFrame:
    """The last hours of one region's load, with a day that is missing and an hour that was misread."""
    series = embedded_series()
    entry = series[0]
    values = entry["target"][-rows:].astype(np.float64)
    values[rows // 2 : rows // 2 + 24] = np.nan
    values[3 * rows // 4] *= 1.5
    index = pd.period_range(entry["start"], periods=len(entry["target"]), freq=series.freq)[-rows:]
    return pd.DataFrame({"region": entry["item_id"], "hour": to_timestamps(index), "megawatts": values.round(1)})


def load_csv(folder: Path) -> Path:
    """`load_table` as a CSV file."""
    path = folder / "electricity load.csv"
    write_csv(path, load_table())
    return path
