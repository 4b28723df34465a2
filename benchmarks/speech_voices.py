"""Voices that recordings of people who read have not: whispered, sung and drawn out.

They are made of validation speakers (`speech.data.voices`), as training makes them of its own, and mixed with noises of
the shared data's validation part.

Example:
    python benchmarks/speech_voices.py --model default --model causal
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder
from shared.files.io import write_text
from speech import Enhancer
from speech.data.clips import Waveform, read_clips
from speech.data.levels import noise_gain, power
from speech.data.mixing import noise_crop
from speech.data.voices import VOICES
from speech.metrics.energy import si_sdr
from speech.metrics.perceptual import estoi

RATE, SECONDS, PEAK = 16000, 8, 0.4
SNRS = (5.0, 20.0, np.inf)


def recordings(data: Path, most: int) -> list[tuple[Waveform, int]]:
    """The first seconds of so many recordings of validation speakers, in an order by chance, and a seed of each."""
    clips = [clip for clip in read_clips(data / "speech/valid/clean", RATE) if len(clip) >= SECONDS * RATE]
    order = np.random.default_rng(3).permutation(len(clips))[:most]
    return [(clips[place].read(0, SECONDS * RATE), seed) for seed, place in enumerate(order)]


def rows(name: str, enhancer: Enhancer, data: Path, most: int) -> Iterator[list[str]]:
    noises = read_clips(data / "speech/valid/noise", RATE)
    spoken = recordings(data, most)
    for kind in ("as it was", *VOICES):
        for snr in SNRS:
            found = []
            for speech, seed in spoken:
                rng = np.random.default_rng(seed)
                voice = speech if kind == "as it was" else VOICES[kind](speech, RATE, rng)
                voice = voice * np.float32(PEAK / np.abs(voice).max())
                noise = noise_crop(noises[int(rng.integers(len(noises)))], len(voice), rng)
                noisy = voice + noise * np.float32(noise_gain(power(voice), power(noise), snr))
                made = enhancer.enhance(noisy[None], RATE)[0]
                level = 10 * np.log10(power(made) / power(voice))
                found.append([si_sdr(voice, made, RATE), estoi(voice, noisy, RATE), estoi(voice, made, RATE), level])
            sdr, before, after, level = np.mean(found, axis=0)
            told = "none" if np.isinf(snr) else f"{snr:g} dB"
            yield [name, kind, told, f"{sdr:.1f}", f"{before:.3f}", f"{after:.3f}", f"{level:.1f}"]


def main(
    model: Annotated[list[str] | None, typer.Option(help="Names or folders; left out, those bundled.")] = None,
    data: DataFolder = DEFAULT_DATA,
    most: Annotated[int, typer.Option(help="Recordings.", min=1)] = 12,
    output: Annotated[Path, typer.Option(help="Table to write.")] = Path("benchmarks/results/speech_voices.md"),
) -> None:
    """Measure, and write the table."""
    torch.set_num_threads(1)
    lines = []
    for one in model or ["default", "causal"]:
        for line in rows(Path(one).name, Enhancer.from_pretrained(one), data, most):
            print(*line, flush=True)
            lines.append(line)
    columns = ["model", "voice", "SNR", "SI-SDR, dB", "ESTOI, noisy", "ESTOI", "level, dB"]
    text = (
        f"{header('Whispered, sung and drawn out')}\n"
        f"{most} recordings of validation speakers, {SECONDS} s each, made so by formula (`speech.data.voices`), with "
        "noises of validation; means over them. Without noise SI-SDR is of what the model takes from a clean voice; "
        "the level is that of the result by the voice's.\n\n"
    )
    write_text(output, text + table(columns, lines))


if __name__ == "__main__":
    typer.run(main)
