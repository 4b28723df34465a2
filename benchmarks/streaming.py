"""Peak memory of training and forecasting on many series: all in memory, or streamed from a folder to a file.

    python benchmarks/streaming.py                  20,000 series of 2,000 steps
    python benchmarks/streaming.py --series 2000

Writes random walks as a folder in GluonTS's layout (JSON lines) into a temporary folder, then, in a process of its own
each: nothing but the imports and a training on two series; `load_folder` and a training whose windows lie in memory;
`stream_folder` and a training whose windows are read from a file (`tsdiff.data.SeriesStore`). Each trains for --steps
steps and forecasts --forecasts series. Peak memory is the largest resident set that the system counted for the process,
what it maps of files included.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import orjson
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.random import derive_seed
from shared.training.module import TrainingConfig
from tsdiff import Sampling, TSDiffEstimator
from tsdiff.data import Entry, load_folder, stream_folder
from tsdiff.model.backbones import S4DConfig

MODES = {
    "imports": "imports and a training on two series",
    "memory": "`load_folder`, windows in memory",
    "spooled": "`stream_folder`, windows from a file",
}


def write_folder(folder: Path, series: int, length: int) -> int:
    """Random walks as a GluonTS folder; the bytes of its data file."""
    (folder / "train").mkdir(parents=True)
    (folder / "metadata.json").write_text('{"freq": "h", "prediction_length": 24}')
    path = folder / "train" / "data.json"
    with path.open("wb") as stream:
        for place in range(series):
            walk = 100 + np.cumsum(np.random.default_rng(derive_seed("walk", place)).normal(size=length))
            line = {"item_id": f"s{place}", "start": "2024-01-01 00:00:00", "target": walk.astype(np.float32)}
            stream.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    return path.stat().st_size


def measure(mode: str, folder: Path, steps: int, forecasts: int) -> dict[str, float]:
    """Train and forecast in this process; seconds and peak memory in MB."""
    torch.set_num_threads(1)
    estimator = TSDiffEstimator(
        "h",
        24,
        336,
        backbone=S4DConfig(patch=24),
        training=TrainingConfig(max_steps=steps),
        sampling=Sampling(steps=4),
    )
    stream = stream_folder(folder).train
    started = time.perf_counter()
    entries: Iterable[Entry] = stream
    if mode == "imports":
        entries = list(itertools.islice(stream, 2))
    elif mode == "memory":
        entries = load_folder(folder).train
    predictor = estimator.train(entries, progress=False, spool_above=0 if mode == "spooled" else None)
    trained = time.perf_counter()
    made = list(predictor.predict(itertools.islice(entries, forecasts), num_samples=20))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "train": trained - started,
        "forecast": time.perf_counter() - trained,
        "made": len(made),
        "peak": peak / 1e6,
    }


def main(
    series: Annotated[int, typer.Option(help="How many.")] = 20_000,
    length: Annotated[int, typer.Option(help="Steps of each.")] = 2000,
    steps: Annotated[int, typer.Option(help="Of training.")] = 20,
    forecasts: Annotated[int, typer.Option(help="How many series are forecast.")] = 50,
    output: Annotated[Path, typer.Option(help="Markdown file.")] = Path("benchmarks/results/streaming.md"),
    one: Annotated[tuple[str, Path] | None, typer.Option("--measure", hidden=True)] = None,
) -> None:
    """Measure every way in a process of its own and write the table."""
    if one is not None:
        print(json.dumps(measure(*one, steps, forecasts)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        size = write_folder(Path(temporary) / "set", series, length)
        for mode, name in MODES.items():
            command = [sys.executable, __file__, "--measure", mode, str(Path(temporary) / "set")]
            command += ["--steps", str(steps), "--forecasts", str(forecasts)]
            found = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
            rows.append([name, f"{found['train']:.0f}", f"{found['forecast']:.1f}", f"{found['peak']:.0f}"])
            print(rows[-1])
    head = ["way", "reading and training, s", "forecasting, s", "peak memory, MB"]
    text = header("Memory of many series")
    text += (
        f"\n{series:,} random walks of {length:,} steps: a JSON-lines file of {size / 1e6:.0f} MB,"
        f" {series * length * 4 / 1e6:.0f} MB as float32. Windows of 360 steps, {steps}"
        f" training steps and {forecasts} forecasts each, one CPU thread.\n\n"
    )
    write_text(output, text + table(head, rows))


if __name__ == "__main__":
    typer.run(main)
