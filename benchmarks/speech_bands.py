"""What becomes of what a recording has above 8 kHz, where the models that ship end.

Clean 48 kHz speech of the shared data's full-band validation part, alone, with white noise and with its noises at 10
dB; enhanced with gains of its own for the upper band ("enhance"), with one that follows the model's ("follow"), and
without it ("drop"). Levels are those above 8.5 kHz against the clean speech's, where that is within 20 dB of its
loudest (voice) and 40 dB or more below (pause).

Example:
    python benchmarks/speech_bands.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy import signal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.speech_models import SHARED_SPEECH
from benchmarks.speech_sounds import evenly, mono
from shared.files.io import write_text
from speech import Enhancer, metrics
from speech.audio.bands import UpperBand
from speech.audio.files import read_audio

EDGE = 8500.0
SNR = 10.0
CHOICES: tuple[UpperBand, ...] = ("enhance", "follow", "drop")
Waveform = np.ndarray


def recordings(kind: str, most: int, rate: int | None = None) -> Iterator[tuple[Waveform, int]]:
    """Evenly chosen recordings of the full-band validation part, mono, and their rates."""
    files = sorted((SHARED_SPEECH / "fullband/valid" / kind).rglob("*.ogg"))
    for path in evenly(files, most):
        audio = read_audio(path)
        wanted = audio.sample_rate if rate is None else rate
        yield mono(audio, wanted), wanted


def decibels(power: float) -> float:
    """10·log10, bounded."""
    return float(10 * np.log10(power + 1e-20))


def above(waveform: Waveform, rate: int) -> Waveform:
    """What lies above the edge."""
    return signal.sosfiltfilt(signal.butter(8, EDGE, "highpass", fs=rate, output="sos"), waveform)


def parts(clean: Waveform, rate: int) -> dict[str, Waveform]:
    """Where the upper band of clean speech is loud, and where there is next to none of it."""
    size = rate // 50
    power = np.convolve(np.square(above(clean, rate)), np.ones(size) / size, "same")
    return {"voice": power > power.max() / 100, "pause": power < power.max() / 10000}


def noise_for(kind: str, clean: Waveform, rate: int, place: int) -> Waveform:
    """Noise of this kind at `SNR`, as long as the speech; "none" is silence."""
    if kind == "none":
        return np.zeros_like(clean)
    if kind == "white":
        noise = np.random.default_rng(place).standard_normal(len(clean))
    else:
        wave, _ = list(recordings("noise", 8, rate))[place % 8]
        noise = np.resize(wave, len(clean))
    scale = np.sqrt(np.square(clean).mean() / np.square(noise).mean()) * 10 ** (-SNR / 20)
    return (scale * noise).astype(np.float32)


def rows(model: str, files: int) -> Iterator[list[str]]:
    """A line for each noise and signal: means over the recordings."""
    loaded = Enhancer.from_pretrained(model).model
    enhancers = {choice: Enhancer(loaded, upper_band=choice) for choice in CHOICES}
    for kind in ("none", "white", "recorded"):
        found: dict[str, list[tuple[float, ...]]] = {}
        for place, (clean, rate) in enumerate(recordings("clean", files)):
            noisy = clean + noise_for(kind, clean, rate, place)
            signals = {"noisy": noisy} | {name: each.enhance(noisy, rate) for name, each in enhancers.items()}
            where, reference = parts(clean, rate), above(clean, rate)
            for name, wave in signals.items():
                high = above(wave, rate)
                levels = [
                    decibels(np.square(high[part]).mean()) - decibels(np.square(reference[part]).mean())
                    for part in where.values()
                ]
                sdr = np.inf if wave is noisy and kind == "none" else metrics.si_sdr(clean, wave, rate)
                found.setdefault(name, []).append((float(sdr), *levels))
        for name, values in found.items():
            means = np.mean(values, axis=0)
            yield [kind, name, f"{means[0]:.1f}", f"{means[1]:+.1f}", f"{means[2]:+.1f}"]


def main(
    model: Annotated[str, typer.Option(help="Folder or name.")] = "default",
    files: Annotated[int, typer.Option(help="Recordings, at most.")] = 14,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = Path("benchmarks/results"),
) -> None:
    """Enhance full-band speech, and write what became of its upper band."""
    torch.set_num_threads(1)
    head = ["noise", "signal", "SI-SDR, dB", "above 8.5 kHz in voice, dB", "in pauses, dB"]
    text = (
        header("The band above 8 kHz")
        + f"\nModel: {model}; {files} recordings at 48 kHz, noise at {SNR:g} dB. Levels are against the clean "
        "speech's, means over recordings; SI-SDR is over the whole band.\n\n" + table(head, list(rows(model, files)))
    )
    write_text(output / "speech_bands.md", text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
