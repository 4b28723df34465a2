"""What an enhancer does to what it should leave alone: clean speech, silence, two talkers, other languages, music.

Clean speech is that of the public test pairs and of the validation speakers; two talkers are sums of two of these; a
chord and a tune are made by formula. Folders of recordings in other languages and of music are named on the command
line; without, those rows are left out. The table's are the 30 largest files of each of Debian's packages
asterisk-core-sounds-{es,fr,it,ru}-g722 (without tt-monkeys and silence, which are no speech), and those of
asterisk-moh-opsound-g722, decoded with `ffmpeg -f g722 -i FILE -ar 16000 FILE.wav`. Nothing is chosen by what is
measured here.

Example:
    python benchmarks/speech_robustness.py --languages spoken/ --music music/
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy import signal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.speech_models import SHARED_SPEECH
from benchmarks.speech_sounds import evenly
from shared.files.io import write_text
from speech import Enhancer, metrics
from speech.audio.files import read_audio

RATE = 16000
LONGEST = 20 * RATE
RESULTS = Path("benchmarks/results")
Waveform = np.ndarray
Sounds = Callable[[], Iterator[Waveform]]


def recordings(folder: Path, most: int) -> Iterator[Waveform]:
    """Up to `most` recordings below a folder, evenly chosen, the first 20 s of each at 16 kHz, mono."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3"))
    for path in evenly(files, most):
        audio = read_audio(path)
        if audio.sample_rate != RATE:
            raise typer.BadParameter(f"{path}: {audio.sample_rate} Hz; convert it to {RATE} Hz")
        yield audio.waveform.mean(axis=0)[:LONGEST].astype(np.float32)


def without_rumble(most: int) -> Iterator[Waveform]:
    """Speech of validation without what lies below it, which enhancers take for noise."""
    sections = signal.butter(3, 80, "highpass", fs=RATE, output="sos")
    for voice in recordings(SHARED_SPEECH / "valid/clean", most):
        yield signal.sosfiltfilt(sections, voice).astype(np.float32)


def silences() -> Iterator[Waveform]:
    """Digital silence of three lengths."""
    for samples in (1, 1000, 10 * RATE):
        yield np.zeros(samples, dtype=np.float32)


def faint() -> Iterator[Waveform]:
    """White noise at −80 and −60 dB of full scale: a quiet room."""
    rng = np.random.default_rng(0)
    for level in (-80, -60):
        yield (10 ** (level / 20) * rng.standard_normal(5 * RATE)).astype(np.float32)


def talkers(most: int, below: float = 0.0) -> Iterator[tuple[Waveform, Waveform]]:
    """Pairs of validation speakers, the second so many dB below the first; speech of equal length."""
    voices = list(recordings(SHARED_SPEECH / "valid/clean", 2 * most))
    half = len(voices) // 2  # recordings are sorted by speaker
    for one, other in zip(voices[:half], voices[half:], strict=False):
        length = min(len(one), len(other))
        levels = [float(np.sqrt((voice[:length] ** 2).mean())) for voice in (one, other)]
        yield one[:length] / 2, other[:length] / 2 * (levels[0] / levels[1] * 10 ** (-below / 20))


def both(most: int) -> Iterator[Waveform]:
    """Two validation speakers at once, at equal levels."""
    for one, other in talkers(most):
        yield (one + other).astype(np.float32)


def two_talkers(enhancer: Enhancer, most: int) -> list[list[str]]:
    """For each level of the second talker: what of either is in the result, by least squares."""
    rows = []
    for below in (0.0, 6.0, 12.0):
        gains, gained = [], []
        for one, other in talkers(most, below):
            result = np.asarray(enhancer.enhance((one + other).astype(np.float32), RATE))
            shares = np.linalg.lstsq(np.stack([one, other], axis=1), result, rcond=None)[0]
            gains.append(20 * np.log10(np.maximum(shares, 1e-3)))
            gained.append(metrics.si_sdr(one, result, RATE) - metrics.si_sdr(one, one + other, RATE))
        first, second = np.median(gains, axis=0)
        lowest = np.min(gains, axis=0)
        levels = [f"{value:+.1f}" for value in (first, lowest[0], second, lowest[1], float(np.mean(gained)))]
        rows.append([f"{below:g}", str(len(gains)), *levels])
    return rows


def notes_played(*chords: tuple[float, ...]) -> Waveform:
    """Chords of a second each, of ten harmonics a note, struck and fading, at a tenth of full scale."""
    t = np.arange(RATE) / RATE
    parts = [
        sum(np.sin(2 * np.pi * k * f * t) / k for f in chord for k in range(1, 11)) * np.exp(-2 * t) for chord in chords
    ]
    sound = np.concatenate(parts)
    return (0.1 * sound / np.abs(sound).max()).astype(np.float32)


def chord() -> Iterator[Waveform]:
    """Five seconds of one chord, struck anew every second."""
    yield notes_played(*[(261.6, 329.6, 392.0)] * 5)


def tune() -> Iterator[Waveform]:
    """Eight notes up a scale."""
    yield notes_played(*[(261.6 * 2 ** (step / 12),) for step in (0, 2, 4, 5, 7, 9, 11, 12)])


def decibel(ratio: float) -> str:
    """20·log10 of a ratio of amplitudes."""
    return f"{20 * math.log10(ratio):+.1f}" if ratio > 0 else "silent"


def row(enhancer: Enhancer, name: str, sounds: Iterator[Waveform], scored: bool) -> list[str] | None:
    """One line of the table; None where there is no sound."""
    levels, peaks, scores, finite = [], [], [], True
    for sound in sounds:
        result = np.asarray(enhancer.enhance(sound, RATE))
        finite &= bool(np.isfinite(result).all()) and result.shape == sound.shape
        rms, peak = (float(np.sqrt((sound**2).mean())), float(np.abs(sound).max()))
        if peak > 0:
            levels.append(float(np.sqrt((result**2).mean())) / rms)
            peaks.append(float(np.abs(result).max()) / peak)
        else:
            levels.append(float(np.abs(result).max()))
        if scored:
            try:
                scores.append((metrics.pesq_wb(sound, result, RATE), metrics.si_sdr(sound, result, RATE)))
            except metrics.UnscorableError:
                continue
    if not levels:
        return None
    pesq, sdr = (f"{np.mean([s[i] for s in scores]):.2f}" if scores else "–" for i in (0, 1))
    lowest = f"{min(s[0] for s in scores):.2f}" if scores else "–"
    loudest = decibel(max(peaks)) if peaks else "–"
    return [
        name,
        str(len(levels)),
        "yes" if finite else "NO",
        decibel(float(np.median(levels))),
        loudest,
        pesq,
        lowest,
        sdr,
    ]


def main(
    model: Annotated[str, typer.Option(help="Folder or name.")] = "default",
    languages: Annotated[Path | None, typer.Option(help="Folder of clean speech in other languages, 16 kHz.")] = None,
    music: Annotated[Path | None, typer.Option(help="Folder of music, 16 kHz.")] = None,
    files: Annotated[int, typer.Option(help="Recordings of a folder, at most.")] = 48,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
) -> None:
    """Enhance what needs no enhancement, and write what became of it."""
    enhancer = Enhancer.from_pretrained(model)
    wanted: list[tuple[str, Sounds, bool]] = [
        ("clean speech of the test pairs", lambda: recordings(SHARED_SPEECH / "test_pairs/clean", files), True),
        ("clean speech of the validation speakers", lambda: recordings(SHARED_SPEECH / "valid/clean", files), True),
        ("the same, cut off below 80 Hz", lambda: without_rumble(files), True),
        ("digital silence", silences, False),
        ("white noise at −80 and −60 dB", faint, False),
        ("two talkers at once, validation speakers", lambda: both(files // 2), True),
        ("a chord, by formula", chord, False),
        ("a tune, by formula", tune, False),
    ]
    if languages is not None:
        wanted.append(("other languages", lambda: recordings(languages, files), True))
    if music is not None:
        wanted.append(("music", lambda: recordings(music, files), True))
    rows = [made for name, sounds, scored in wanted if (made := row(enhancer, name, sounds(), scored))]
    head = ["input", "files", "finite", "level, dB", "largest peak, dB", "PESQ-WB", "lowest PESQ", "SI-SDR, dB"]
    of_talkers = ["second, dB below", "pairs", "first, dB", "lowest", "second, dB", "lowest", "gain of SI-SDR, dB"]
    text = (
        header("What the enhancer leaves alone")
        + f"\nModel: {model}. The input is its own reference: level is the median over files of output against input, "
        "the peak the largest of any file's, likewise; PESQ and SI-SDR are of the output against the input, means over "
        "files. For silence the level is the output itself.\n\n"
        + table(head, rows)
        + "\nTwo validation speakers at once, the second so many dB below the first: what of either is in the "
        "result, by least squares, the median and the lowest of all pairs; and what SI-SDR against the first alone "
        "gains.\n\n" + table(of_talkers, two_talkers(enhancer, files // 2))
    )
    write_text(output / "speech_robustness.md", text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
