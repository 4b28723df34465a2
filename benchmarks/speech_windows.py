"""How far a stream and a file of the same recording are apart: a file goes through in windows, a stream does not.

Speakers and noises of the shared data's validation part, joined and mixed at 16 kHz; the stream runs in PyTorch, as the
file does.

Example:
    python benchmarks/speech_windows.py
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.speech_models import SHARED_SPEECH
from shared.files.io import write_text
from speech import Enhancer, SpeechModel
from speech.data.clips import audio_files, read_mono

RATE = 16000
SNRS = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 40.0)


def joined(kind: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Recordings of a kind in a drawn order, one behind another, (samples,)."""
    files, needed = audio_files(SHARED_SPEECH / "valid" / kind), round(seconds * RATE)
    rng.shuffle(files)  # type: ignore[arg-type]
    found: list[np.ndarray] = []
    while sum(map(len, found)) < needed:
        found.append(read_mono(files[len(found) % len(files)], RATE))
    return np.concatenate(found)[:needed]


def apart(enhancer: Enhancer, noisy: np.ndarray) -> tuple[float, float]:
    """Energy of the difference between stream and file over that of the result, in dB: of all, and in the 0.1 s where
    it is largest."""
    stream = enhancer.stream(RATE, runtime="torch")
    streamed = np.concatenate([*(stream.push(block) for block in np.array_split(noisy, 40)), stream.flush()], axis=-1)
    power = np.square(streamed - enhancer.enhance(noisy, RATE))
    most = np.convolve(power, np.ones(RATE // 10) / (RATE // 10), "same").max()
    whole, largest = 10 * np.log10(np.array([power.mean(), most]) / np.square(streamed).mean() + 1e-20)
    return float(whole), float(largest)


def main(
    model: Annotated[str, typer.Option(help="Folder or name of a causal model.")] = "causal",
    seconds: Annotated[float, typer.Option(help="Length of each recording.")] = 44.0,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = Path("benchmarks/results"),
) -> None:
    """Measure at every SNR, and write the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    network, rows = SpeechModel.from_pretrained(model), []
    for seed, snr in enumerate(SNRS):
        rng = np.random.default_rng(seed)
        clean, noise = joined("clean", seconds, rng), joined("noise", seconds, rng)
        noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * np.float32(10 ** (-snr / 20))
        noisy = (clean + noise) * np.float32(0.3) / np.abs(clean + noise).max()
        in_windows, at_once = Enhancer(network), Enhancer(network, window_seconds=seconds + 1)
        rows.append([f"{snr:g}", *(f"{dB:.0f}" for one in (in_windows, at_once) for dB in apart(one, noisy))])
        print(rows[-1], flush=True)
    head = ["SNR, dB", "in windows, dB", "most in 0.1 s", "file at once, dB", "most in 0.1 s, too"]
    about = (
        f"\nModel: {model}; {seconds:g} s a row. Energy of the difference between a stream and a file over that of the "
        "result: of all, and in the 0.1 s where it is largest. Files go through in windows of 16 s, the last columns' "
        "at once.\n\n"
    )
    write_text(output / "speech_windows.md", header("Streams beside files") + about + table(head, rows))


if __name__ == "__main__":
    typer.run(main)
