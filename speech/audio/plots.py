"""Pictures to look at: the spectrogram of a recording before and after."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.figure import Figure
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from shared.files.io import atomic_path
from speech.audio.files import RawFormat, open_audio

PICTURE_SECONDS = 30.0
"""How much of a recording a picture shows, from its start."""

_RANGE_DB = 80.0
_COLUMNS = 1200


def picture_files(
    path: str | os.PathLike[str],
    noisy: str | os.PathLike[str],
    enhanced: str | os.PathLike[str],
    title: str,
    raw: RawFormat | None = None,
) -> None:
    """Draw the first channel of two files of one rate, up to `PICTURE_SECONDS`; raises as `open_audio` does."""
    waves = []
    for file in (noisy, enhanced):
        with open_audio(file, raw) as reader:
            info = reader.info
            waves.append(reader.read(round(PICTURE_SECONDS * info.sample_rate))[0])
    said = [title]
    if info.seconds > PICTURE_SECONDS:
        said.append(f"first {PICTURE_SECONDS:g} s of {info.seconds:.0f} s")
    if info.channels > 1:
        said.append(f"channel 1 of {info.channels}")
    before_after(path, waves[0], waves[1], info.sample_rate, ", ".join(said))


def before_after(
    path: str | os.PathLike[str], noisy: np.ndarray, enhanced: np.ndarray, sample_rate: int, title: str
) -> None:
    """Write a PNG of both spectrograms, on one scale: decibels below the noisy one's loudest point.

    Args:
        path: where to.
        noisy, enhanced: (samples,), of one length.
        sample_rate: Hz.
        title: above the picture.
    """
    figure = Figure(figsize=(11.0, 6.4), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    seconds = len(noisy) / sample_rate
    levels = [_levels(wave, sample_rate) for wave in (noisy, enhanced)]
    top = max(float(levels[0].max()), -200.0)
    for ax, level, name in zip(axes, levels, ("noisy", "enhanced"), strict=True):
        image = ax.imshow(
            level - top,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, sample_rate / 2000),
            vmin=-_RANGE_DB,
            vmax=0,
            cmap="magma",
            interpolation="nearest",
        )
        ax.set_ylabel(f"{name}\nfrequency, kHz")
    axes[-1].set_xlabel("time, s")
    figure.colorbar(image, ax=axes, label="level, dB", pad=0.01)
    figure.suptitle(title, fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _levels(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Decibels (frequencies, frames) over windows of 32 ms, about as many frames as a picture has columns."""
    width = max(16, round(0.032 * sample_rate))
    wave = np.pad(wave, (0, max(0, width - len(wave))))
    hop = max(1, width // 4, len(wave) // _COLUMNS)
    spectrum = ShortTimeFFT(hann(width, sym=False), hop, sample_rate, scale_to="magnitude").stft(wave)
    levels: np.ndarray = 20 * np.log10(np.abs(spectrum) + 1e-12)
    return levels
