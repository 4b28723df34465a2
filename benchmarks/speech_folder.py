"""A folder of recordings at once against its files one by one, in one process.

    python benchmarks/speech_folder.py                  200 files, the default settings
    python benchmarks/speech_folder.py --files 40 --workers 1

Cuts the public noisy test files (or noise where they are absent) into files of a few seconds and enhances them with
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.speech_models import light_model, noisy_speech
from shared.files.io import write_text
from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from speech.enhancer import Enhancer

ROOT = Path(__file__).resolve().parents[1]


def write_files(folder: Path, count: int, longest: float) -> float:
    """Files of a sixth of `longest` to `longest` seconds, float WAV at 16 kHz; seconds of all."""
    rng = np.random.default_rng(0)
    speech = noisy_speech()
    total = 0.0
    for i in range(count):
        length = int(rng.uniform(longest / 6, longest) * 16000)
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


def network_seconds(enhancer: Enhancer, source: Path) -> float:
    """Processor seconds of the network alone, file by file on one thread."""
    threads, total = torch.get_num_threads(), 0.0
    torch.set_num_threads(1)
    with torch.inference_mode():
        for path in source.iterdir():
            noisy = enhancer.model.frontend(torch.from_numpy(read_audio(path).waveform))
            started = time.process_time()
            enhancer.model(noisy, noisy, torch.ones(1))
            total += time.process_time() - started
    torch.set_num_threads(threads)
    return total


def wall_seconds(work: Callable[[], None]) -> float:
    """Seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@dataclass
class Measured:
    """Both ways on one set of files: seconds of audio and of each turn, the largest difference, seconds of a process
    for each file, processor seconds of the network alone."""

    audio: float
    one: list[float]
    folder: list[float]
    difference: float
    alone: float
    network: float


def measure(enhancer: Enhancer, count: int, longest: float, turns: int, workers: int | None) -> Measured:
    """Enhance `count` files one by one and as a folder, in turns."""
    with tempfile.TemporaryDirectory() as temporary:
        source, one, folder = (Path(temporary) / name for name in ("noisy", "one", "folder"))
        found = Measured(write_files(source, count, longest), [], [], 0.0, 0.0, 0.0)
        one.mkdir()

        def one_by_one() -> None:
            for path in sorted(source.iterdir()):
                enhancer.enhance_file(path, one / path.name)

        def at_once() -> None:
            report = enhancer.enhance_dir(source, folder, existing="overwrite", workers=workers, progress=False)
            assert not report.failed, report.failed

        ways = ((one_by_one, found.one), (at_once, found.folder))
        for turn in range(turns):
            for way, seconds in ways if turn % 2 == 0 else ways[::-1]:
                seconds.append(wall_seconds(way))
            print(longest, turn, found.one[-1], found.folder[-1], flush=True)
        for path in source.iterdir():
            pair = read_audio(one / path.name).waveform, read_audio(folder / path.name).waveform
            found.difference = max(found.difference, float(np.abs(pair[0] - pair[1]).max()))
        found.alone = recipe_seconds(enhancer, source, 4)
        found.network = network_seconds(enhancer, source) * enhancer.nfe
    return found


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--longest", type=float, nargs="+", default=[1.0, 2.0, 6.0], help="seconds of the longest file")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--model", default=None)
    parser.add_argument("--sampler", default=None)
    parser.add_argument("--steps", type=int, default=None, help="of the sampler")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "speech_folder.md")
    options = parser.parse_args()
    enhancer = Enhancer(light_model(options.model), options.sampler, options.steps)
    enhancer.enhance(noisy_speech()[:32000], 16000)
    rows = []
    for longest in options.longest:
        found = measure(enhancer, options.files, longest, options.turns, options.workers)
        one, folder = sum(found.one) / options.turns, sum(found.folder) / options.turns
        ratios = ", ".join(f"{a / b:.2f}" for a, b in zip(found.one, found.folder, strict=True))
        length, speed = f"{longest / 6:.1f} to {longest:g} s", f"{one / folder:.2f} ({ratios})"
        times = [f"{found.audio:.0f}", f"{one:.2f}", f"{folder:.2f}"]
        bound = found.network / 2
        times.append(f"{bound:.2f} ({one / bound:.2f})")
        rows.append([length, *times, speed, f"{options.files * found.alone:.0f}", f"{found.difference:.1e}"])
    text = header("A folder at once against its files one by one")
    text += (
        f"\n{options.files} files, light network ({'random weights' if options.model is None else options.model}), "
        f"{enhancer.nfe} network calls a file ({enhancer.sampling.sampler}), {torch.get_num_threads()} threads; "
        f"{circumstances()}. One by one: `Enhancer.enhance_file` in one process; seconds are means of {options.turns} "
        "turns, each turn's ratio in brackets. A process for each file: four are timed. Largest difference between the "
        "outputs of the first two, of full scale. Least: what the network alone takes on two cores, its processor "
        "seconds on one thread halved; in brackets, how many times faster than one by one a folder would be if all "
        "else cost nothing.\n\n"
    )
    head = [
        "files of",
        "audio, s",
        "one by one, s",
        "folder, s",
        "least, s",
        "times faster",
        "a process each, s",
        "difference",
    ]
    text += table(head, rows)
    write_text(options.output, text)
    print(text)


if __name__ == "__main__":
    main()
