"""Pictures to look at: the spectrogram of a recording before and after, of any length, in memory that does not grow."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from shared.figures import write_figure
from speech.audio.arrays import finite
from speech.audio.files import RawFormat, open_audio

_RANGE_DB = 80.0
_COLUMNS = 1200
_WINDOW_SECONDS = 0.032
_FLOOR = 1e-24
"""Power, −240 dB, that silence counts as."""

_SILENT_DB = 10 * math.log10(_FLOOR) + _RANGE_DB
"""Level of the loudest point of silence's picture, so that it is black."""


@dataclass(frozen=True)
class Spectrogram:
    """Levels of a recording over time and frequency.

    Attributes:
        levels: dB (frequencies, columns), of full scale; a column is the mean power of the windows that begin in it, in
            all channels.
        sample_rate: Hz.
        seconds: of the recording.
    """

    levels: np.ndarray
    sample_rate: int
    seconds: float


def spectrogram(blocks: Iterable[np.ndarray], samples: int, sample_rate: int, channels: int = 1) -> Spectrogram:
    """The spectrogram of a recording that comes in blocks, in no more columns than a picture has.

    Args:
        blocks: (channels, n) each, or (n,) of one channel.
        samples: of the whole.
        sample_rate: Hz.
        channels: of the recording.
    """
    width = max(16, round(_WINDOW_SECONDS * sample_rate))
    hop = max(1, width // 4) if samples <= _COLUMNS * width // 4 else max(1, width // 2)
    window = np.hanning(width + 1)[:-1].astype(np.float32)
    window /= window.sum()
    frames = samples // hop + 1
    columns = min(frames, _COLUMNS)
    powers, counts = np.zeros((columns, width // 2 + 1)), np.zeros(columns)
    left, done = np.zeros((channels, width // 2), np.float32), 0  # so that the first window is centred on sample 0
    for block in itertools.chain(blocks, [np.zeros((channels, width), np.float32)]):
        left = np.concatenate([left, block.reshape(channels, -1)], axis=1)
        ready = min((left.shape[1] - width) // hop + 1, frames - done)
        if ready <= 0:
            continue
        pieces = np.lib.stride_tricks.sliding_window_view(left, width, axis=1)[:, : ready * hop : hop]
        places = (done + np.arange(ready)) * columns // frames
        power = sum(np.square(np.abs(np.fft.rfft(each * window))) for each in pieces) / channels
        firsts = np.flatnonzero(np.diff(places, prepend=-1))
        powers[places[firsts]] += np.add.reduceat(power, firsts, axis=0, dtype=np.float64)
        counts += np.bincount(places, minlength=columns)
        left, done = left[:, ready * hop :], done + ready
    levels = 10 * np.log10(powers / np.maximum(counts, 1)[:, None] + _FLOOR)
    return Spectrogram(levels.T, sample_rate, samples / sample_rate)


def picture_files(
    path: str | os.PathLike[str],
    noisy: str | os.PathLike[str],
    enhanced: str | os.PathLike[str],
    title: str,
    raw: RawFormat | None = None,
    written: RawFormat | None = None,
    tracks: tuple[int | None, int | None] = (None, None),
) -> None:
    """Draw two files, whole: the mean power of their channels, with samples that are not finite as 0; `raw` and
    `written` are what they hold if they are .raw, `tracks` the sound tracks that are meant. Raises as `open_audio`."""
    drawn, said = [], [title]
    for file, held, track in ((noisy, raw, tracks[0]), (enhanced, written, tracks[1])):
        with open_audio(file, held, track) as reader:
            info = reader.info
            heard = (finite(block)[0] for block in reader.blocks())
            drawn.append(spectrogram(heard, info.samples, info.sample_rate, info.channels))
    if info.channels > 1:
        said.append(f"mean of {info.channels} channels")
    before_after(path, drawn[0], drawn[1], ", ".join(said))


def before_after(path: str | os.PathLike[str], noisy: Spectrogram, enhanced: Spectrogram, title: str) -> None:
    """Write a PNG of both spectrograms, on one scale: decibels below the noisy one's loudest point."""
    figure = Figure(figsize=(11.0, 6.4), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    top = max(float(noisy.levels.max()), _SILENT_DB)
    for ax, shown, name in zip(axes, (noisy, enhanced), ("noisy", "enhanced"), strict=True):
        image = ax.imshow(
            shown.levels - top,
            origin="lower",
            aspect="auto",
            extent=(0, shown.seconds, 0, shown.sample_rate / 2000),
            vmin=-_RANGE_DB,
            vmax=0,
            cmap="magma",
            interpolation="nearest",
        )
        ax.set_facecolor("black")  # above half the rate of one there is nothing
        ax.set_ylabel(f"{name}\nfrequency, kHz")
    axes[-1].set_xlim(0, noisy.seconds)
    axes[-1].set_ylim(0, max(noisy.sample_rate, enhanced.sample_rate) / 2000)
    axes[-1].set_xlabel("time, s")
    figure.colorbar(image, ax=axes, label="level, dB", pad=0.01)
    title = os.fsencode(title).decode(errors="replace")  # names of files need not be UTF-8
    figure.suptitle(title, fontsize=11, parse_math=False)
    write_figure(figure, path, dpi=110)
