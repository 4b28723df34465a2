"""What a series costs the bundled forecaster, and peak memory, beside AutoETS and Fracast: one thread, streamed.

    python benchmarks/forecaster_speed.py                          100 and 3,000 series
    python benchmarks/forecaster_speed.py --series 100000          any number of them, beside what was measured before

Hourly series of 1,000 steps, made as they are read, 24 steps ahead, 100 samples, 64 series at a time; each forecaster
in a process of its own. AutoETS (the quantiles of its Gaussian) and Fracast (`pip install fracast`; nine quantiles) are
left out where they are not installed, and take a hundred series at most.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_json, write_text
from tsdiff.data.entries import Entry

LENGTH, HORIZON, SAMPLES = 1000, 24, 100
FORECASTERS = {"default": "bundled", "auto_ets": "AutoETS", "fracast": "Fracast"}
PACKAGES = {"auto_ets": "statsforecast", "fracast": "fracast"}
FEW = 100


def series(count: int) -> Iterator[Entry]:
    """A day, a week, a trend and noise."""
    steps = np.arange(LENGTH)
    for place in range(count):
        rng = np.random.default_rng(place)
        values = sum(rng.normal() * np.sin(2 * np.pi * (steps / season + rng.random())) for season in (24, 168))
        values = 100 + 5 * values + rng.normal() * steps / 200 + rng.normal(size=LENGTH)
        yield {"start": pd.Period("2024-01-01", freq="h"), "target": values.astype(np.float32), "item_id": str(place)}


def measured(forecaster: str, count: int) -> dict[str, float]:
    """CPU seconds of `count` forecasts after a first one, and the process' peak memory in MB."""
    torch.set_num_threads(1)
    if forecaster == "default":
        from tsdiff import TSDiffPredictor

        predictor = TSDiffPredictor.from_pretrained("default").adapted("h", HORIZON)

        def work(entries: Iterator[Entry]) -> Iterator[object]:
            return iter(predictor.predict(entries, num_samples=SAMPLES))
    elif forecaster == "fracast":
        from fracast import FracastModel

        peer = FracastModel.from_pretrained(device="cpu")

        def work(entries: Iterator[Entry]) -> Iterator[object]:
            return (peer.forecast(np.asarray(entry["target"]), horizon=HORIZON) for entry in entries)
    else:
        from statsforecast.models import AutoETS

        def work(entries: Iterator[Entry]) -> Iterator[object]:
            model = AutoETS(season_length=24)
            return (model.forecast(np.float64(entry["target"]), HORIZON, level=[50, 90]) for entry in entries)

    list(work(series(2)))
    started = time.process_time()
    for _ in work(series(count)):
        pass
    seconds = time.process_time() - started
    return {"ms": 1e3 * seconds / count, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main(
    counts: Annotated[list[int] | None, typer.Option("--series", help="How many.")] = None,
    one: Annotated[str | None, typer.Option(hidden=True)] = None,
    output: Annotated[Path, typer.Option(help="Markdown file.")] = Path("benchmarks/results/forecaster_speed.md"),
) -> None:
    """Measure each in a process of its own."""
    counts = counts or [100, 3000]
    if one is not None:
        print(json.dumps(measured(one, counts[0])))
        return
    kept = output.with_suffix(".json")
    rows = json.loads(kept.read_text()) if kept.is_file() else {}
    for forecaster in FORECASTERS:
        if forecaster in PACKAGES and find_spec(PACKAGES[forecaster]) is None:
            continue
        for count in counts if forecaster == "default" else [min(FEW, counts[0])]:
            command = [sys.executable, __file__, "--one", forecaster, "--series", str(count)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            rows.setdefault(forecaster, {})[str(count)] = json.loads(said.splitlines()[-1])
            print(forecaster, count, rows[forecaster][str(count)], flush=True)
    write_json(kept, rows)
    lines = [
        [FORECASTERS[forecaster], f"{int(count):,}", f"{found['ms']:.1f}", f"{found['mb']:.0f}"]
        for forecaster, some in rows.items()
        for count, found in sorted(some.items(), key=lambda one: int(one[0]))
    ]
    text = header("What a series costs") + (
        f"\nHourly series of {LENGTH:,} steps, {HORIZON} ahead, {SAMPLES} samples, one thread; CPU milliseconds a "
        "series and the process' peak memory, imports included.\n\n"
    )
    write_text(output, text + table(["forecaster", "series", "CPU-ms a series", "peak MB"], lines))


if __name__ == "__main__":
    typer.run(main)
