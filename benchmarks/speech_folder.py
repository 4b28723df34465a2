"""A folder of recordings at once against its files one by one, in one process.

    python benchmarks/speech_folder.py                  200 files, the default settings
    python benchmarks/speech_folder.py --files 40 --workers 1

Cuts the public noisy test files (or noise where they are absent) into files of 1 to 6 s and enhances them with
`Enhancer.enhance_file`, one after the other on all CPU threads, and with `Enhancer.enhance_dir`, in turns over parts of
the set, so that whatever else the machine does falls on both. Outputs are compared sample by sample.
"""

from __future__ import annotations

import argparse
import os
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


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--parts", type=int, default=4, help="turns")
    parser.add_argument("--model", default=None)
    parser.add_argument("--steps", type=int, default=None, help="of the sampler")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "speech_folder.md")
    options = parser.parse_args()
    enhancer = Enhancer(light_model(options.model), steps=options.steps)
    warm = noisy_speech()[:32000]
    enhancer.enhance(warm, 16000)
    rows, sums, worst, seconds = [], np.zeros(2), 0.0, 0.0
    with tempfile.TemporaryDirectory() as temporary:
        for part in range(options.parts):
            source, one, folder = (Path(temporary) / f"{name}-{part}" for name in ("noisy", "one", "folder"))
            seconds += write_files(source, options.files // options.parts)
            one.mkdir()
            spent = [0.0, 0.0]
            for way in (0, 1) if part % 2 == 0 else (1, 0):
                started = time.perf_counter()
                if way == 0:
                    for path in sorted(source.iterdir()):
                        enhancer.enhance_file(path, one / path.name)
                else:
                    report = enhancer.enhance_dir(source, folder, workers=options.workers, progress=False)
                    assert not report.failed, report.failed
                spent[way] = time.perf_counter() - started
            pairs = [
                (read_audio(one / p.name).waveform, read_audio(folder / p.name).waveform) for p in source.iterdir()
            ]
            worst = max([worst, *(float(np.abs(a - b).max()) for a, b in pairs)])
            sums += spent
            rows.append([str(part + 1), *(f"{value:.1f}" for value in spent), f"{spent[0] / spent[1]:.2f}"])
            print(rows[-1], flush=True)
    rows.append(["all", *(f"{value:.1f}" for value in sums), f"{sums[0] / sums[1]:.2f}"])
    text = header("A folder at once against its files one by one")
    text += (
        f"\n{options.files} files, {seconds:.0f} s of audio, light network"
        f" ({'random weights' if options.model is None else options.model}), {enhancer.nfe} network calls a file,"
        f" {torch.get_num_threads()} threads; load of the machine at the end {os.getloadavg()[0]:.1f}. Largest"
        f" difference between the outputs: {worst:.1e} of full scale.\n\n"
    )
    text += table(["part", "one by one, s", "folder, s", "times faster"], rows)
    write_text(options.output, text)
    print(text)


if __name__ == "__main__":
    main()
