"""Small folders of made-up audio in the layouts that the data code reads."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def speech_like(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Harmonics of a gliding pitch in syllables with pauses, float32 (samples,), peak 0.5."""
    return _speech_like(seconds, seed, rate).copy()


@cache
def _speech_like(seconds: float, seed: int, rate: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 60 * rng.random() + 20 * np.sin(2 * np.pi * 0.7 * time + rng.random())
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * (2 + rng.random()) * time + rng.random()), 0, None)
    sound = voice * syllables + 1e-4 * rng.standard_normal(len(time))
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def hiss(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """White noise, float32 (samples,), of deviation 0.1."""
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def put(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def mixing_folders(root: Path, seconds: float = 4.0, rate: int = RATE) -> tuple[Path, Path, Path]:
    """Folders of clean speech (three speakers), noise and impulse responses below `root`."""
    for speaker in range(3):
        for take in range(2):
            name = f"{speaker}-1-{take}.flac"
            put(root / "clean" / name, speech_like(seconds, 10 * speaker + take, rate), rate)
    for n in range(2):
        put(root / "noise" / f"hiss{n}.wav", hiss(seconds, 100 + n, rate), rate)
    put(root / "rir" / "hall.wav", decaying_response(0.4, rate), rate, "FLOAT")
    return root / "clean", root / "noise", root / "rir"


def decaying_response(t60: float, rate: int = RATE, delay: int = 80, seed: int = 5) -> np.ndarray:
    """A direct path of 1 after `delay` samples and noise that decays by 60 dB in `t60` seconds."""
    length = round(1.2 * t60 * rate)
    tail = np.random.default_rng(seed).standard_normal(length) * 10 ** (-3 * np.arange(length) / rate / t60)
    response = np.concatenate([np.zeros(delay), 0.05 * tail])
    response[delay] = 1.0
    return response.astype(np.float32)
