"""A folder of recordings at once against its files one by one, in one process.

    python benchmarks/speech_folder.py                  200 files, the default settings
    python benchmarks/speech_folder.py --files 40 --workers 1

Cuts the public noisy test files (or noise where they are absent) into files of 1 to 6 s and enhances them with
`Enhancer.enhance_file`, one after the other on all CPU threads, and with `Enhancer.enhance_dir`, in turns, so that
whatever else the machine does falls on both. Outputs are compared sample by sample. A few files are also enhanced by
the recipe, started anew for each.
"""

from __future__ import annotations

import argparse
import os
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
from shared.io import write_text
from speech.audio import Audio, read_audio, write_audio
from speech.enhancer import Enhancer

ROOT = Path(__file__).resolve().parents[1]


def write_files(folder: Path, count: int) -> float:
    """Files of 1 to 6 s, float WAV at 16 kHz; seconds of all."""
    rng = np.random.default_rng(0)
    speech = noisy_speech()
    total = 0.0
    for i in range(count):
        length = int(rng.uniform(1, 6) * 16000)
        start = int(rng.integers(0, len(speech) - length))
        write_audio(folder / f"{i:03}.wav", Audio(speech[None, start : start + length], 16000, "WAV", "FLOAT"))
        total += length / 16000
    return total


def recipe_seconds(enhancer: Enhancer, source: Path, count: int) -> float:
    """Seconds a file of recipes/enhance.py, a process for each of the first `count`."""
    with tempfile.TemporaryDirectory() as temporary:
        enhancer.model.save_pretrained(Path(temporary) / "model")
        started = time.perf_counter()
        for path in sorted(source.iterdir())[:count]:
            command = [sys.executable, str(ROOT / "recipes/enhance.py"), str(path), str(Path(temporary) / path.name)]
            subprocess.run([*command, "--model", str(Path(temporary) / "model")], check=True, capture_output=True)
        return (time.perf_counter() - started) / count


def circumstances() -> str:
    """How the process was scheduled, and what else the machine did."""
    first = hasattr(os, "SCHED_FIFO") and os.sched_getscheduler(0) == os.SCHED_FIFO
    return f"{'real-time priority, ' if first else ''}load of the machine at the end {os.getloadavg()[0]:.1f}"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--model", default=None)
    parser.add_argument("--sampler", default=None)
    parser.add_argument("--steps", type=int, default=None, help="of the sampler")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "speech_folder.md")
    options = parser.parse_args()
    enhancer = Enhancer(light_model(options.model), options.sampler, options.steps)
    warm = noisy_speech()[:32000]
    enhancer.enhance(warm, 16000)
    rows, sums = [], np.zeros(2)
    with tempfile.TemporaryDirectory() as temporary:
        source, one, folder = (Path(temporary) / name for name in ("noisy", "one", "folder"))
        seconds = write_files(source, options.files)
        one.mkdir()
        for turn in range(options.turns):
            spent = [0.0, 0.0]
            for way in (0, 1) if turn % 2 == 0 else (1, 0):
                started = time.perf_counter()
                if way == 0:
                    for path in sorted(source.iterdir()):
                        enhancer.enhance_file(path, one / path.name)
                else:
                    report = enhancer.enhance_dir(
                        source, folder, existing="overwrite", workers=options.workers, progress=False
                    )
                    assert not report.failed, report.failed
                spent[way] = time.perf_counter() - started
            sums += spent
            rows.append([str(turn + 1), *(f"{value:.1f}" for value in spent), f"{spent[0] / spent[1]:.2f}"])
            print(rows[-1], flush=True)
        pairs = [(read_audio(one / p.name).waveform, read_audio(folder / p.name).waveform) for p in source.iterdir()]
        worst = max(float(np.abs(a - b).max()) for a, b in pairs)
        alone = recipe_seconds(enhancer, source, 4)
    rows.append(["all", *(f"{value:.1f}" for value in sums), f"{sums[0] / sums[1]:.2f}"])
    text = header("A folder at once against its files one by one")
    text += (
        f"\n{options.files} files, {seconds:.0f} s of audio, light network"
        f" ({'random weights' if options.model is None else options.model}), {enhancer.nfe} network calls a file"
        f" ({enhancer.sampling.sampler}),"
        f" {torch.get_num_threads()} threads; {circumstances()}. Largest difference between the outputs:"
        f" {worst:.1e} of full scale. A process for each file takes {alone:.1f} s a file, the folder"
        f" {sums[1] / options.files / options.turns:.3f} s.\n\n"
    )
    text += table(["turn", "one by one, s", "folder, s", "times faster"], rows)
    write_text(options.output, text)
    print(text)


if __name__ == "__main__":
    main()
