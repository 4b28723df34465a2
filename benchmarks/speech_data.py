"""How fast one CPU process makes training batches for speech: seconds of audio a CPU-second, for each task.

    python benchmarks/speech_data.py                              ../shared/data/speech, or that of $SHARED_DATA
    python benchmarks/speech_data.py --data DIR --batches 50

DIR has train/clean, train/noise, train/rir and test_pairs. Batches of 16 crops of 2.04 s, made one after another in one
process with one thread; the fastest of three rounds, in CPU time, which other work on the machine disturbs little. A
training step that takes a batch of 16 in a tenth of a second consumes 326 s of audio a second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.speech_models import SHARED_SPEECH
from recipes.speech_pairs.frozen import prepare_mix
from shared.files.io import write_text
from shared.training.batches import BatchSource
from speech.data import MixConfig, MixSource, PairSource, preset
from speech.data.clips import Clip, read_clips
from speech.data.rooms import ImpulseResponse, RoomConfig, read_responses, simulated_responses

TARGET = 200.0
TASKS: dict[str, MixConfig] = {
    "denoise": preset("denoise"),
    "denoise, no rooms": preset("denoise", reverb=0.0),
    "denoise, every item in a room": preset("denoise", reverb=1.0),
    "denoise, a quarter coded, clipped, with lost bands and packets each": preset(
        "denoise", coded=0.25, clipped=0.25, limited=0.25, lossy=0.25
    ),
    "dereverb": preset("dereverb"),
    "bandwidth": preset("bandwidth"),
    "denoise at 48 kHz": preset("denoise", sample_rate=48000),
}


def speed(source: BatchSource, audio_seconds: float, batches: int) -> tuple[float, float]:
    """Batches, and seconds of audio, a CPU-second: the fastest of three rounds."""
    source.batch(np.random.default_rng(0))
    best = float("inf")
    for first in range(3):
        started = time.process_time()
        for n in range(batches):
            source.batch(np.random.default_rng((first, n)))
        best = min(best, (time.process_time() - started) / batches)
    return 1 / best, audio_seconds / best


def material(root: Path, rate: int, cache: Path) -> tuple[list[Clip], list[Clip], list[ImpulseResponse]]:
    """Clean clips, noises and rooms; at other rates than 16 kHz of the validation part alone, which is smaller."""
    part = root / ("train" if rate == 16000 else "valid")
    clean, noise = (read_clips(part / kind, rate, cache=cache) for kind in ("clean", "noise"))
    return clean, noise, read_responses(part / "rir", rate)


def main() -> None:
    """Measure every task and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED_SPEECH)
    parser.add_argument("--batches", type=int, default=30, help="a round")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "speech_data.md")
    options = parser.parse_args()
    torch.set_num_threads(1)

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary) / "cache"
        loads = []
        for _ in range(2):
            wall, cpu = time.perf_counter(), time.process_time()
            found = {16000: material(options.data, 16000, cache)}
            loads.append((time.perf_counter() - wall, time.process_time() - cpu))
        minutes = [sum(map(len, clips)) / 16000 / 60 for clips in found[16000][:2]]
        found[48000] = material(options.data, 48000, cache)
        for name, config in TASKS.items():
            clean, noise, rooms = found[config.sample_rate]
            source = MixSource(clean, noise, rooms, config)
            audio = config.batch_size * config.seconds
            per_second, realtime = speed(source, audio, options.batches)
            rows.append([name, f"{per_second:.1f}", f"{realtime:.0f}"])
            print(rows[-1], flush=True)

        config = replace(preset("denoise"), seconds=4.0, reverb=0.0)
        train = options.data / "train"
        noise_file = Path(temporary) / "noise"
        noise_file.mkdir()
        first = min((train / "noise").iterdir(), key=lambda path: path.stat().st_size)
        (noise_file / first.name).symlink_to(first)
        prepare_mix(
            train / "clean" / "ljspeech", noise_file, None, Path(temporary) / "pairs", config, count=64, progress=False
        )
        pairs = PairSource(Path(temporary) / "pairs", "train")
        per_second, realtime = speed(pairs, pairs.batch_size * 2.04, options.batches)
        rows.append(["pair folder, 16 kHz WAV", f"{per_second:.1f}", f"{realtime:.0f}"])
        print(rows[-1], flush=True)

        started = time.process_time()
        simulated_responses(10, 0, RoomConfig())
        room = (time.process_time() - started) / 10

    text = header("Training batches for speech")
    text += (
        f"\n{minutes[0]:.0f} minutes of clean speech and {minutes[1]:.0f} of noise, held as 16-bit samples"
        f" ({sum(minutes) * 60 * 32e3 / 1e6:.0f} MB); 16 crops of 2.04 s a batch, one process, one thread, CPU time."
        f" Target: {TARGET:.0f} s of audio a second. At 48 kHz from the validation part, resampled.\n\n"
    )
    text += table(["batches", "a CPU-second", "seconds of audio a CPU-second"], rows)
    text += (
        f"\nDecoding everything at the start takes {loads[0][1]:.1f} s of CPU ({loads[0][0]:.1f} s by the clock), from"
        f" the cache {loads[1][1]:.2f} s ({loads[1][0]:.2f} s). A simulated room takes {room:.2f} s of CPU, once.\n"
    )
    write_text(options.output, text)
    print(text)


if __name__ == "__main__":
    main()
