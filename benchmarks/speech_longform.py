"""A long recording: peak memory and speed of enhancing it from disk to disk, and what its windows cost in accuracy.

    python benchmarks/speech_longform.py                    ten minutes, 48 kHz stereo
    python benchmarks/speech_longform.py --model runs/light --minutes 60

Writes a recording of noisy speech repeated (the public test pairs, or noise where they are absent) into a temporary
folder and enhances it in a process of its own, whose largest resident set the system counts. Then it enhances the first
seconds of it whole and in windows of several lengths and overlaps, and gives the energy of the difference. Without
--model it takes the light network with random weights, where the last layers, zero when fresh, are random too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.speech_models import light_model, noisy_speech
from shared.files.io import write_text
from speech.audio.files import AudioInfo
from speech.audio.resampling import resample
from speech.audio.writing import create_audio
from speech.enhancer import Enhancer
from speech.model.config import Sampler


def write_recording(path: Path, minutes: float, rate: int) -> None:
    """Noisy speech in two channels that differ, as 16-bit WAV, block by block."""
    piece = resample(noisy_speech(), 16000, rate)
    samples = round(60 * minutes * rate)
    with create_audio(path, AudioInfo(rate, 2, samples)) as writer:
        for start in range(0, samples, len(piece)):
            left = piece[: samples - start]
            writer.write(np.stack([left, 0.7 * np.roll(left, rate // 3)]))


def measure(model: str | None, source: Path, steps: int | None) -> dict[str, float]:
    """Enhance a file in this process; seconds, and peak memory in MB."""
    enhancer = Enhancer(light_model(model), steps=steps)
    warm = np.zeros(160, np.float32)
    warm[80] = 0.5
    enhancer.enhance(warm, 16000)
    before = _peak()
    started = time.perf_counter()
    result = enhancer.enhance_file(source, source.with_name("enhanced.wav"))
    return {
        "seconds": time.perf_counter() - started,
        "audio": result.seconds,
        "nfe": result.nfe,
        "before": before,
        "peak": _peak(),
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def seams(model: str | None, seconds: float, sampler: Sampler | None, steps: int | None) -> list[list[str]]:
    """Rows: sampler, window and overlap in seconds, windows, difference to the whole in dB: of all, and where it is
    largest."""
    network = light_model(model)
    signal = noisy_speech()[: round(seconds * 16000)]
    enhancer = Enhancer(network, sampler, steps, window_seconds=seconds + 1)
    name = f"{enhancer.sampling.sampler}, {enhancer.sampling.steps}"
    whole = enhancer.enhance(signal, 16000)
    rows = []
    for window, overlap in ((16.0, 2.0), (10.0, 2.0), (10.0, 1.0)):
        enhancer = Enhancer(network, sampler, steps, window_seconds=window, overlap_seconds=overlap)
        difference = enhancer.enhance(signal, 16000) - whole
        power = np.convolve(np.square(difference), np.ones(1600) / 1600, "same")
        reference = float(np.square(whole).mean())
        count = len(list(enhancer.windows.cut([signal[None]])))
        decibels = [10 * np.log10(value / reference + 1e-20) for value in (np.square(difference).mean(), power.max())]
        rows.append([name, f"{window:g}", f"{overlap:g}", str(count), *(f"{value:.1f}" for value in decibels)])
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--model", default=None)
    parser.add_argument("--steps", type=int, default=None, help="of the sampler")
    parser.add_argument("--seam-seconds", type=float, default=30.0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "speech_longform.md")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.model, options.measure, options.steps)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        rows = []
        for minutes in (options.minutes / 10, options.minutes):
            source = Path(temporary) / "noisy.wav"
            write_recording(source, minutes, options.rate)
            command = [sys.executable, __file__, "--measure", str(source)]
            for name in ("model", "steps"):
                if getattr(options, name) is not None:
                    command += [f"--{name}", str(getattr(options, name))]
            lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
            found = json.loads(lines[-1])
            rtf = found["seconds"] / found["audio"]
            size = source.stat().st_size / 1e6
            cells = [f"{minutes:g}", f"{size:.0f}", f"{found['peak']:.0f}", f"{found['before']:.0f}", f"{rtf:.2f}"]
            rows.append([*cells, f"{found['nfe']:.0f}"])
            print(rows[-1], flush=True)
    head = ["minutes", "file, MB", "peak memory, MB", "of it before the file, MB", "real-time factor", "network calls"]
    text = header("A long recording, in windows")
    weights = sum(p.numel() for p in light_model(options.model).parameters())
    text += (
        f"\n{options.rate} Hz, stereo, 16-bit; light network of {weights:,} weights,"
        f" {'random' if options.model is None else options.model}, {torch.get_num_threads()} threads. Peak memory is"
        " the largest resident set of the process; before the file, Python, torch and the model are in it. The"
        " real-time factor counts the file's seconds, both channels together.\n\n"
    )
    text += table(head, rows)
    text += (
        f"\nThe first {options.seam_seconds:g} s of the speech at 16 kHz in windows, against all of it at once: energy"
        " of the difference over that of the whole result, and in the 0.1 s where it is largest.\n\n"
    )
    names = ["sampler, steps", "window, s", "overlap, s", "windows", "difference, dB", "largest in 0.1 s, dB"]
    settings: list[tuple[Sampler | None, int | None]] = [(None, options.steps), ("ode2", 5), ("sde1", 5)]
    text += table(names, [row for chosen in settings for row in seams(options.model, options.seam_seconds, *chosen)])
    write_text(options.output, text)


if __name__ == "__main__":
    main()
