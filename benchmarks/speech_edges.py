"""Recordings whose band ends early, and how loud results are, which `makeup` of a model rests on.

Speakers and noises of the shared data's validation part, mixed at 16 kHz and cut off by a filter; beside what is made
of them stands the whole mixture's result, cut off alike. Then the gain that brings results nearest to the clean speech,
by squares, where nothing makes up for it, and what is made of the quieter of two speakers. Last, what becomes of such
recordings in streams, and of those at rates below the model's.

Example:
    python benchmarks/speech_edges.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy import signal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.speech_models import SHARED_SPEECH
from benchmarks.speech_sounds import evenly
from shared.files.io import write_text
from speech import Enhancer, SpeechModel, metrics
from speech.audio.files import read_audio
from speech.audio.resampling import resample

RATE, SECONDS, TAPS = 16000, 4, 1025
STEEP = (3400.0, 3900.0, 5000.0, 6000.0, 7000.0, 7500.0)
SLOW = ((0, 0), (7000, 0), (7300, -7), (7500, -13), (7700, -25), (7900, -45), (8000, -52))
"""Hz and dB of a filter as resampling has it."""
LOW_RATES = (8000, 11025, 12000)
CUT_SNRS, LEVEL_SNRS = (5.0, 15.0), (np.inf, 35.0, 25.0, 15.0, 10.0, 5.0, 0.0)
SCORES = {"SI-SDR": metrics.si_sdr, "ESTOI": metrics.estoi, "PESQ": metrics.pesq_wb}
CUT = (metrics.si_sdr, metrics.pesq_wb)
QUIETER = ((10.0, -45.0), (25.0, -45.0), (35.0, -45.0), (15.0, -30.0), (25.0, -30.0))
"""By how many dB the second of two speakers is quieter than the first, and noise."""
SUFFIXES = (".flac", ".ogg", ".wav", ".opus", ".mp3")
Waveform = np.ndarray


def filters() -> dict[str, Waveform]:
    """Low-pass filters (TAPS,), by name."""
    places, gains = np.array(SLOW, dtype=float).T
    steep = {f"{edge / 1000:g} kHz": signal.firwin(TAPS, edge, fs=RATE, window=("kaiser", 10.0)) for edge in STEEP}
    return steep | {"7.2 to 8 kHz, slow": signal.firwin2(TAPS, places, 10 ** (gains / 20), fs=RATE)}


def sounds(kind: str, most: int) -> list[Waveform]:
    """The beginnings of evenly chosen recordings of the validation part, (samples,)."""
    files = sorted(path for path in (SHARED_SPEECH / "valid" / kind).rglob("*") if path.suffix in SUFFIXES)
    return [read_audio(path).waveform[0, : SECONDS * RATE].astype(np.float32) for path in evenly(files, most)]


def mixtures(snr: float, most: int) -> Iterator[tuple[Waveform, Waveform]]:
    """Clean and noisy recordings, (samples,) each."""
    noises = sounds("noise", most)
    for place, clean in enumerate(sounds("clean", most)):
        noise = np.resize(noises[place % len(noises)], len(clean))
        noisy = clean + noise * np.sqrt(np.square(clean).mean() / np.square(noise).mean()) * 10 ** (-snr / 20)
        scale = 0.7 / np.abs(noisy).max()
        yield scale * clean, (scale * noisy).astype(np.float32)


def cut_rows(enhancer: Enhancer, most: int) -> Iterator[list[str]]:
    """A line for each filter and SNR: means over the recordings."""
    for snr in CUT_SNRS:
        pairs = [(*pair, enhancer.enhance(pair[1], RATE)) for pair in mixtures(snr, most)]
        for name, taps in filters().items():
            found = []
            for whole in pairs:
                clean, noisy, best = (cut(wave, RATE, taps) for wave in whole)
                found.append(
                    [[score(clean, one, RATE) for one in (best, enhancer.enhance(noisy, RATE))] for score in CUT]
                )
            cells = [f"{mean:.2f}" for mean in np.mean(found, axis=0).ravel()]
            yield [name, f"{snr:g}", *cells]
            print(*cells, flush=True)


def stream_rows(model: SpeechModel, most: int) -> Iterator[list[str]]:
    """A line for each filter, or rate below the model's, and SNR: means of each score of the recordings as they came,
    of what a stream makes of the whole ones, cut off, and of what one makes of them."""
    enhancer = Enhancer(model)
    cuts: list[tuple[str, int, Waveform | None]] = [(name, RATE, taps) for name, taps in filters().items()]
    cuts += [(f"rate of {rate / 1000:g} kHz", rate, None) for rate in LOW_RATES]
    for snr in CUT_SNRS:
        pairs = [(*pair, streamed(enhancer, pair[1], RATE)) for pair in mixtures(snr, most)]
        for name, rate, taps in cuts:
            found = []
            for whole in pairs:
                clean, noisy, best = (cut(wave, rate, taps) for wave in whole)
                heard = noisy, best, streamed(enhancer, noisy, rate)
                target, *given = (resample(wave, rate, RATE) for wave in (clean, *heard))
                found.append([[score(target, one, RATE) for one in given] for score in SCORES.values()])
            means = np.mean(found, axis=0)
            yield [name, f"{snr:g}", *(f"{mean:.2f}" for mean in means.ravel())]
            print(name, snr, means.round(2).tolist(), flush=True)


def cut(wave: Waveform, rate: int, taps: Waveform | None) -> Waveform:
    """A recording (samples,) with its band cut off by a filter, or by a rate."""
    return resample(wave, RATE, rate) if taps is None else signal.fftconvolve(wave, taps, "same").astype(np.float32)


def streamed(enhancer: Enhancer, noisy: Waveform, rate: int) -> Waveform:
    """What a stream makes of a recording (samples,)."""
    stream = enhancer.stream(rate)
    return np.concatenate([stream.push(noisy), stream.flush()])


def level_rows(enhancer: Enhancer, most: int) -> Iterator[list[str]]:
    """The gain that results lack at each SNR, dB: mean, least and most over the recordings."""
    plain = Enhancer(enhancer.model, sampling=replace(enhancer.sampling, makeup=0.0))
    for snr in LEVEL_SNRS:
        gains = []
        for clean, noisy in mixtures(snr, most):
            made = plain.enhance(noisy, RATE)
            gains.append(20 * np.log10(clean @ made / (made @ made)))
        told = "clean" if np.isinf(snr) else f"{snr:g}"
        yield [told, f"{np.mean(gains):.2f}", f"{min(gains):.2f} to {max(gains):.2f}"]


def voices_rows(enhancer: Enhancer, most: int) -> Iterator[list[str]]:
    """Of the quieter of two speakers, one before and after the other: what is made of them alone, without and with
    `least_level`."""
    without = Enhancer(enhancer.model, sampling=replace(enhancer.sampling, least_level=None))
    noises, voices = sounds("noise", most), sounds("clean", most)
    pairs = list(zip(voices, voices[len(voices) // 2 :] + voices, strict=False))  # sorted by speaker
    for below, floor in QUIETER:
        scores = []
        for place, pair in enumerate(pairs):
            length = min(map(len, pair))
            near, far = (0.05 * voice[:length] / np.sqrt(np.square(voice[:length]).mean()) for voice in pair)
            far = far * 10 ** (-below / 20)
            noise = np.resize(noises[place % len(noises)], 3 * length)
            noise = 0.05 * 10 ** (floor / 20) * noise / np.sqrt(np.square(noise).mean())
            noisy = (np.concatenate([near, far, near]) + noise).astype(np.float32)
            middle = slice(length, 2 * length)
            made = [np.asarray(one.enhance(noisy, RATE))[middle] for one in (without, enhancer)]
            made.append(np.asarray(enhancer.enhance(noisy[middle], RATE)))
            scores.append([[score(far, result, RATE) for result in made] for score in CUT])
        yield [f"{below:g}", f"{floor:g}", *(f"{value:.2f}" for value in np.mean(scores, axis=0).ravel())]


def main(
    models: Annotated[str, typer.Option(help="Comma-separated.")] = "default,dereverb",
    files: Annotated[int, typer.Option(help="Recordings, at most.")] = 12,
    output: Annotated[Path, typer.Option(help="Markdown file.")] = Path("benchmarks/results/speech_edges.md"),
) -> None:
    """Cut recordings off, enhance them, and write what became of them."""
    torch.set_num_threads(1)
    text = header("Bands that end early, and levels") + (
        f"\n{files} recordings of speakers and noises outside training, of {SECONDS} s at most. SI-SDR and PESQ-WB "
        "are against the clean speech, cut off alike: of the whole mixture's result, cut off, and of the cut one's.\n"
    )
    columns = ["cut off at", "SNR, dB"]
    columns += [f"{score}, {way}" for score in ("SI-SDR", "PESQ") for way in ("whole", "cut off")]
    for name in models.split(","):
        enhancer = Enhancer.from_pretrained(name)
        text += f"\n## {name}\n\n" + table(columns, list(cut_rows(enhancer, files)))
        made_up = f"{enhancer.sampling.makeup:g} dB of it are made up for"
        text += f"\nThe gain that its results lack to be nearest to the clean speech, by squares; {made_up}.\n\n"
        text += table(["SNR, dB", "gain, dB", "of single recordings"], list(level_rows(enhancer, files)))
        text += (
            "\nOne speaker before and after another, who is quieter: scores of the latter, as their recording was "
            "enhanced without `least_level` and with it, and of their part alone. Noise is against the louder.\n\n"
        )
        places = ("without", "with", "alone")
        heads = [f"{score}, {place}" for score in ("SI-SDR", "PESQ") for place in places]
        text += table(["quieter by, dB", "noise, dB", *heads], list(voices_rows(enhancer, files)))
    ways = [f"{score}, {way}" for score in SCORES for way in ("as it came", "whole", "cut off")]
    text += (
        "\n## causal, in streams\n\nThe same of streams: of the mixture as it came, of the whole mixture's result, cut "
        "off, and of the cut mixture's.\n\n"
    )
    rows = list(stream_rows(SpeechModel.from_pretrained("causal"), files))
    text += table(["cut off at", "SNR, dB", *ways], rows)
    write_text(output, text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
