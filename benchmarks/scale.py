"""What scale-out costs and gains: one process without it, in this process, and on one, two, … workers of Ray.

    python benchmarks/scale.py                                     3,000 series, 400 files; an idle machine
    python benchmarks/scale.py --series 3000 --series 30000        and whether memory grows
    python benchmarks/scale.py --series 640 --files 100 --workers 1 --rounds 3   what the engine costs, three times
    python benchmarks/scale.py --series 64 --files 8               small
    python benchmarks/scale.py --series 0 --files 0 --kills 10     a node killed in each of ten runs

Series are forecast and files enhanced by the bundled models. Each side is a process of its own; sides are timed one
after another, so the machine has to be idle otherwise; sizes after the first run on the most workers alone. With
--kills a node of a two-node cluster on this machine is killed at a random moment of each of so many runs, and the
results are compared bit by bit with those of one process.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import pandas as pd
import soundfile
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.scale.units import one_thread
from speech import Enhancer
from speech.scale import enhance_dir
from tsdiff import TSDiffPredictor, scale

STEPS, LENGTH, TOGETHER = 24, 500, 64
"""Steps ahead, steps of history, and series that are drawn together, 100 samples each."""
NAMES = {"without": "one process, without", "here": "one process, engine local"}
"""Of the sides; the others are numbers of workers."""


def write_series(folder: Path, count: int) -> Path:
    """Hourly series in files of 1,000, in the order of their ids."""
    folder.mkdir(parents=True)
    for first in range(0, count, 1000):
        places = range(first, min(first + 1000, count))
        day = np.sin(np.arange(LENGTH) / 24 * 2 * np.pi)
        rng = np.random.default_rng(first)
        frame = pd.DataFrame(
            {
                "item_id": np.repeat([f"s{place:08d}" for place in places], LENGTH),
                "timestamp": np.tile(pd.date_range("2024-01-01", periods=LENGTH, freq="h"), len(places)),
                "target": np.concatenate([20 + 5 * day + rng.standard_normal(LENGTH) for _ in places]),
            }
        )
        frame.to_parquet(folder / f"{first:08d}.parquet", row_group_size=TOGETHER * LENGTH)
    return folder


def write_files(folder: Path, count: int, seconds: float) -> Path:
    """Noise at 16 kHz that comes and goes."""
    folder.mkdir(parents=True)
    for place in range(count):
        rng, samples = np.random.default_rng(place), round(seconds * 16000)
        swell = 0.1 + np.abs(np.sin(np.arange(samples) / 4000))
        soundfile.write(folder / f"{place:06d}.wav", 0.05 * swell * rng.standard_normal(samples), 16000)
    return folder


def peak_of(pids: list[int]) -> float:
    """The most memory that these processes have held, together, MB."""
    whole = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        whole += next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
    return whole / 1024


def workers_of_ray() -> list[int]:
    """Processes that work units."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_Worker"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


class Watch:
    """Samples the workers' memory until it is stopped."""

    def __init__(self) -> None:
        self.peak, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            self.peak = max(self.peak, peak_of(workers_of_ray()))

    def stop(self) -> float:
        """The most, MB."""
        self._stop.set()
        self._thread.join()
        return self.peak


def where_of(side: str) -> dict[str, Any]:
    """Engine and workers of a side: "here", or a number of workers."""
    return {"engine": "local"} if side == "here" else {"engine": "ray", "workers": int(side)}


def forecast_without(data: Path) -> list[tuple[float, int]]:
    """`predict_df` of as many series at a time as a unit has: when each was done, and of how many."""
    predictor, done = TSDiffPredictor.from_pretrained("default"), []
    with one_thread():
        for path in sorted(data.iterdir()):
            frame = pd.read_parquet(path)
            ids = pd.unique(frame["item_id"])
            for first in range(0, len(ids), TOGETHER):
                some = ids[first : first + TOGETHER]
                predictor.predict_df(frame[frame["item_id"].isin(some)], prediction_length=STEPS)
                done.append((time.time(), len(some)))
    return done


def enhance_without(data: Path, output: Path) -> list[tuple[float, int]]:
    """`enhance_file` of each: when each was done."""
    enhancer, done = Enhancer.from_pretrained("default", device="cpu"), []
    with one_thread():
        for path in sorted(data.iterdir()):
            enhancer.enhance_file(path, output / path.name)
            done.append((time.time(), 1))
    return done


def finished(output: Path) -> list[tuple[float, int]]:
    """When each unit of a job was finished, and of how many items."""
    records = [(path.stat().st_mtime, json.loads(path.read_text())["items"]) for path in records_of(output)]
    return sorted(records)


def records_of(output: Path) -> list[Path]:
    """The records of the units that are finished."""
    return list((output / ".scale" / "units").glob("[!.]*.json"))


def side(job: str, kind: str, data: Path) -> None:
    """One side of the comparison, in a process of its own; prints what it came to as JSON."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        output, watch, began = Path(name), Watch(), time.time()
        if kind == "without":
            done = forecast_without(data) if job == "series" else enhance_without(data, output)
        else:
            if job == "series":
                scale.forecast(data, output, prediction_length=STEPS, progress=False, **where_of(kind))
            else:
                enhance_dir(data, output, progress=False, **where_of(kind))
            done = finished(output)
        whole = time.time() - began
    # The first units find models that are loaded at different moments.
    skipped = min(len(done), int(kind) if kind.isdigit() else 1)
    steady = sum(items for _, items in done[skipped:]) / max(done[-1][0] - done[skipped - 1][0], 1e-9)
    told = {"seconds": whole, "rate": steady, "own": peak_of([os.getpid()]), "workers": watch.stop()}
    print(json.dumps(told))


def rows_of(job: str, data: Path, sides: list[str], rounds: int) -> list[list[str]]:
    """A row a side, each round through all of them: medians, and the least and the most of several rounds."""
    told: dict[str, list[dict[str, float]]] = {kind: [] for kind in sides}
    for _ in range(rounds):
        for kind in sides:
            ran = subprocess.run(
                [sys.executable, __file__, "--side", f"{job}:{kind}", "--data", str(data)],
                capture_output=True,
                text=True,
            )
            if ran.returncode:
                raise RuntimeError(ran.stderr)
            told[kind].append(json.loads(ran.stdout.splitlines()[-1]))
    rows = []
    for kind, found in told.items():
        rates = [one["rate"] for one in found]
        first = [one["rate"] for one in told.get("without", [])]  # 0 where there is one unit
        times = [rate / other for rate, other in zip(rates, first, strict=True)] if first and all(first) else []
        name = NAMES.get(kind, f"Ray, {kind} workers")
        numbers = [f"{median(one['seconds'] for one in found):.1f}", spread(rates), spread(times)]
        rows.append([job, name, *numbers, *(f"{max(one[part] for one in found):.0f}" for part in ("own", "workers"))])
    return rows


def spread(values: list[float]) -> str:
    """The median, and from where to where, if there are several."""
    if not values:
        return ""
    around = f" ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else ""
    return f"{median(values):.2f}{around}"


def killed(data: Path, runs: int, seed: int = 0) -> list[list[str]]:
    """Runs on two nodes of which one is killed at a random moment; and whether the bits are those of one process."""
    import ray
    from ray.cluster_utils import Cluster

    rng, rows = random.Random(seed), []
    options: dict[str, Any] = {"prediction_length": STEPS, "num_samples": 20, "size": 4, "progress": False}
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        began = time.time()
        scale.forecast(data, Path(name) / "alone", engine="local", **options)
        alone, wanted = time.time() - began, results(Path(name) / "alone")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            for run in range(runs):
                node, output = cluster.add_node(num_cpus=1), Path(name) / f"run{run}"
                after = rng.randrange(1, len(wanted) - 1)
                thread = threading.Thread(
                    target=kill_node, args=(cluster, node, output, after, rng.random() * alone / 9)
                )
                thread.start()
                report = scale.forecast(data, output, workers=2, address=cluster.address, **options)
                thread.join()
                same = results(output) == wanted
                rows.append(
                    [str(run + 1), str(after), str(report.units), str(len(report.failed)), "yes" if same else "no"]
                )
                ray.shutdown()
        finally:
            cluster.shutdown()
    return rows


def kill_node(cluster: Any, node: Any, output: Path, units: int, seconds: float) -> None:
    """Kill a node some time after so many units are finished."""
    until = time.monotonic() + 300
    while len(records_of(output)) < units and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(min(seconds, 2.0))
    cluster.remove_node(node, allow_graceful=False)


def results(folder: Path) -> dict[str, bytes]:
    """The result files of a job."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*.parquet"))}


def measured(rows: list[list[str]], length: float, rounds: int) -> str:
    """The table of all sides, and what its columns are."""
    head = ["items", "of", "side", "seconds, all", "items a second", "times", "MB", "MB of workers"]
    more = f" Medians of {rounds} rounds through all sides, in brackets the least and the most." if rounds > 1 else ""
    return (
        f"\nSeries: {LENGTH} hours of history, {STEPS} steps ahead, 100 samples, {TOGETHER} a unit. Files: {length:g} "
        "s, one a unit. Items a second and times (of one process without): from the first units that are finished to "
        "the last, so without the start of Ray and of the models, which “seconds” holds. MB: the most that the process "
        f"held, and that all workers held together.{more}\n\n{table(head, rows)}"
    )


def main(
    series: Annotated[list[int] | None, typer.Option(help="Series, or 0; once for each size [3000].")] = None,
    files: Annotated[int, typer.Option(help="Files to enhance.")] = 400,
    length: Annotated[float, typer.Option(help="Seconds of each file.")] = 4.0,
    workers: Annotated[list[int] | None, typer.Option(help="Workers of Ray; once for each [1, 2].")] = None,
    rounds: Annotated[int, typer.Option(help="How often, in turn, each side runs; the table has medians.")] = 1,
    kills: Annotated[int, typer.Option(help="Runs in which a node is killed.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Where to write the table.")] = None,
    one: Annotated[str | None, typer.Option("--side", hidden=True)] = None,
    data: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure, and print the tables."""
    if one is not None and data is not None:
        job, kind = one.split(":")
        side(job, kind, data)
        return
    sides = ["without", "here", *(str(count) for count in workers or [1, 2])]
    with tempfile.TemporaryDirectory() as name:
        rows = []
        for place, count in enumerate(size for size in series or [3000] if size):
            each = sides if place == 0 else sides[-1:]
            made = rows_of("series", write_series(Path(name) / str(count), count), each, rounds)
            rows += [[str(count), *row] for row in made]
        if files:
            sounds = write_files(Path(name) / "files", files, length)
            rows += [[str(files), *row] for row in rows_of("files", sounds, sides, rounds)]
        text = header("Scale-out: what it costs and gains") + (measured(rows, length, rounds) if rows else "")
        if kills:
            lost = killed(write_series(Path(name) / "killed", 48), kills)
            head = ["run", "killed after units", "units worked", "failed", "the same bits"]
            text += "\nTwo nodes of one CPU, 48 series, 12 units; one node is killed.\n\n" + table(head, lost)
    print(text)
    if output is not None:
        write_text(output, text)


if __name__ == "__main__":
    typer.run(main)
