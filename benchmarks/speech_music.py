"""Music that is left alone when that is asked for, and speech and noise that are taken for music.

Chords and a tune by formula, speech and noise of the shared data's validation part, and folders of music that are named
on the command line. Beside each how much of it is taken for music, and how loud the result is against the recording,
without and with `keep_music`.

Debian's package wesnoth-1.18-music has the table's orchestra; its songs are those of asterisk-moh-opsound-g722, decoded
as `speech_robustness.py` says.

Example:
    python benchmarks/speech_music.py --music orchestra=wesnoth/music/ --music songs=songs/
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.speech_models import SHARED_SPEECH
from benchmarks.speech_robustness import chord, tune
from benchmarks.speech_sounds import evenly, mono
from shared.files.io import write_text
from speech import Enhancer
from speech.audio.files import read_audio
from speech.audio.music import MODEL_RATE, MusicShare
from speech.data.clips import audio_files
from speech.training.recordings import validation_set
from speech.training.settings import read_experiment

Waveform = np.ndarray
PART = 20 * MODEL_RATE
"""Samples of a part that is judged and enhanced by itself."""


def parts(folder: Path, most: int) -> list[Waveform]:
    """Parts of twenty seconds of the recordings in a folder, mono at 16 kHz, evenly chosen; rests of six and more."""
    found = []
    for path in audio_files(folder):
        wave = mono(read_audio(path), MODEL_RATE)
        found += [each for s in range(0, len(wave), PART) if len(each := wave[s : s + PART]) >= 6 * MODEL_RATE]
    return evenly(found, most)


def mixtures(most: int) -> list[Waveform]:
    """Speech in noise, -5 to 25 dB."""
    experiment = read_experiment("default", [f"validation.files={most}", "validation.seconds=20"])
    return [noisy for _, _, noisy in validation_set(experiment, SHARED_SPEECH)]


def share_of(wave: Waveform) -> float:
    """How much is taken for music."""
    music = MusicShare(1)
    music.push(wave[None].astype(np.float32))
    return float(music.shares().mean())


def level(enhancer: Enhancer, wave: Waveform) -> float:
    """Of the result against the recording, in dB."""
    made = np.asarray(enhancer.enhance(wave.astype(np.float32), MODEL_RATE))
    return float(10 * np.log10(np.square(made).mean() / np.square(wave).mean() + 1e-12))


def main(
    model: Annotated[str, typer.Option(help="Folder or name.")] = "default",
    music: Annotated[list[str], typer.Option(help="NAME=FOLDER of music; repeat the option.")] = [],  # noqa: B006
    files: Annotated[int, typer.Option(help="Parts of each, at most.")] = 40,
    output: Annotated[Path, typer.Option(help="Report.")] = Path("benchmarks/results/speech_music.md"),
) -> None:
    """Judge, enhance, and write the table."""
    torch.set_num_threads(1)
    loaded = Enhancer.from_pretrained(model, device="cpu").model
    plain, keeping = Enhancer(loaded), Enhancer(loaded, keep_music=True)
    wanted: dict[str, Callable[[], list[Waveform]]] = {
        "speech, clean": partial(parts, SHARED_SPEECH / "valid/clean", files),
        "speech in noise, −5 to 25 dB": partial(mixtures, files),
        "noise": partial(parts, SHARED_SPEECH / "valid/noise", files),
        "a chord, by formula": lambda: list(chord()),
        "a tune, by formula": lambda: list(tune()),
    }
    for each in music:
        name, _, folder = each.partition("=")
        wanted[name] = partial(parts, Path(folder), files)
    rows = []
    for name, make in wanted.items():
        waves = make()
        taken = [share_of(wave) for wave in waves]
        levels = [[level(enhancer, wave) for enhancer in (plain, keeping)] for wave in waves]
        without, kept = np.median(levels, axis=0)
        shares = [f"{100 * share:.0f} %" for share in (float(np.mean(taken)), max(taken))]
        decibels = [f"{value:.1f}" for value in (without, kept, np.min(levels, axis=0)[1])]
        rows.append([name, str(len(waves)), *shares, *decibels])
        print(*rows[-1], flush=True)
    head = ["input", "parts", "taken for music", "most of one", "level, dB", "with keep_music, dB", "lowest"]
    write_text(
        output,
        header("Music that is left alone")
        + f"\nModel: {model}. Parts of up to 20 s; levels are the median of the results' against the recordings'. "
        "Music should stay (100 %, 0 dB), speech and noise should be enhanced as without (0 %).\n\n"
        + table(head, rows),
    )


if __name__ == "__main__":
    typer.run(main)
