"""How much a weighing should count that few windows have taught: judged by the windows that came after.

    python benchmarks/weighing_share.py
    python benchmarks/weighing_share.py --report-only

As `benchmarks/weighing_rule.py`, of which the sets, the dates and the walks are, with two to twenty series of a set
that hold about 60 or 250 disjoint horizons. The windows after are forecast with the weighing as bundled and with one
that was trained on, in several shares (`tsdiff.windows.weighing.TunedWeighing`). `share_of` is read off the line
between those. No network is trained, and no test set is read. Every task is kept in weighing_share.json.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder
from benchmarks.weighing_rule import RESULTS, Task, losses, measure, walks
from recipes.default_forecaster.default import VALIDATION_SETS
from shared.files.io import write_text
from tsdiff.data import load_folder, split_windows
from tsdiff.data.entries import Entry
from tsdiff.predictor import TSDiffPredictor
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.pretraining.finetuning import FineTuning, tuning_source
from tsdiff.pretraining.weighing import RATE, TUNING_STEPS, WINDOWS_A_STEP, collected, forecast_windows, trained_on
from tsdiff.windows.weighing import TunedWeighing, Weighing, bundled_weighing, share_of

SHARES = (0.1, 0.25, 0.5, 1.0)
SIZES = (60, 250)
"""Disjoint horizons that the series of a task hold, about."""
FEW = 120
_WINDOWS = 96

Found = dict[str, float]
"""What a task gave: "disjoint" horizons to learn from, how many "series", and CRPS as "bundled" and by each share."""


def tasks(folder: Path) -> Iterator[Task]:
    """Small parts of the validation sets, at three dates, and random walks."""
    base = TSDiffPredictor.from_pretrained("default")
    for back in range(3):
        for size in SIZES:
            for name, horizon in VALIDATION_SETS.items():
                entries = list(load_folder(folder / "series" / name).train)
                few, windows = _few(name, entries, horizon, size, back)
                if len(few) >= 2:
                    predictor = base.adapted(few[0]["start"].freqstr, horizon)
                    yield Task(f"{name} {size} {back}", predictor, split_windows(few, horizon, windows))
            length = size * 30 // 8 + 15 * 30
            short = [{**walk, "target": walk["target"][:length]} for walk in walks(100 + back * 10 + size)]
            yield Task(f"walks {size} {back}", base.adapted("B", 30), split_windows(short, 30, 15))


def _few(name: str, entries: list[Entry], horizon: int, size: int, back: int) -> tuple[list[Entry], int]:
    """Some series of a set, cut, and how many windows of each are forecast."""
    rng = np.random.default_rng([back, size, len(name)])
    count = int(rng.integers(2, 9)) if len(entries) > 2 else 2
    if name == "traffic_weekly":  # whose series are short
        count = max(count, size * 8 // 96)
    learnt, windows = max(6 * horizon + 40, size * horizon // count), max(1, min(12, _WINDOWS // count))
    chosen = [entries[place] for place in rng.permutation(len(entries))[:count]]
    cut = back * max(windows * horizon, len(chosen[0]["target"]) // 8)
    made: list[Entry] = []
    for entry in chosen:
        stop = len(entry["target"]) - cut
        begin = max(0, stop - windows * horizon - learnt)
        if stop - begin >= (windows + 4) * horizon:
            values = np.asarray(entry["target"])[begin:stop]
            made.append({**entry, "target": values, "start": entry["start"] + begin})
    return made, windows


def scored(task: Task) -> Found:
    """CRPS of the windows that follow, by the share of a weighing that was trained on."""
    model, windows, bundled = copy.deepcopy(task.predictor.model), task.split.test, bundled_weighing()
    predictor, train, seed = task.predictor.with_model(model), list(task.split.train), FineTuning().seed
    source = tuning_source(model.config, train, FineTuning(), None)
    assert isinstance(source, AnchoredSource)
    data = collected(islice(forecast_windows(source, seed), WINDOWS_A_STEP * TUNING_STEPS))
    network = trained_on(bundled, data, seed, TUNING_STEPS, RATE)

    def loss(weighing: Weighing) -> float:
        model.weighing = weighing
        return float(np.sum(losses(list(predictor.predict(windows.input, 100)), windows)))

    found = {str(share): loss(TunedWeighing.of(bundled, network, share)) for share in SHARES}
    disjoint = sum(len(entry["target"]) for entry in train) / predictor.prediction_length
    return {"disjoint": disjoint, "series": len(train), "bundled": loss(bundled)} | found


def change(found: Found, share: float) -> float:
    """CRPS by that of the bundled weighing, less one, in percent, on the line between the shares that were measured."""
    measured = [found[str(one)] / found["bundled"] - 1 for one in SHARES]
    return 100 * float(np.interp(share, [0.0, *SHARES], [0.0, *measured]))


def report(results: dict[str, Found]) -> str:
    """The table."""
    names = [*(f"{share:g}" for share in SHARES), "`share_of`"]
    rows, effects = [], []
    for task, found in results.items():
        effects.append([change(found, share) for share in (*SHARES, share_of(found["disjoint"]))])
        counts = [f"{found[part]:.0f}" for part in ("disjoint", "series")]
        rows.append([task, *counts, *(f"{one:+.1f}" for one in effects[-1])])
    count, values = np.array([found["disjoint"] for found in results.values()]), np.array(effects)
    for some, chosen in ((f"up to {FEW}", count <= FEW), ("more", count > FEW)):
        for what, of in (("mean", np.mean), ("worst", np.max)):
            if chosen.any():
                rows.append([f"{what}, {some} windows", "", "", *(f"{one:+.1f}" for one in of(values[chosen], axis=0))])
    return (
        header("How much a weighing counts that few windows have taught")
        + "\nWhat CRPS of windows that follow is above that with the bundled weighing, in percent, by the share of one "
        f"that was trained on, for {TUNING_STEPS} steps; `share_of` is the share by the count of disjoint windows, "
        "here read off the line between the others.\n\n" + table(["task", "windows", "series", *names], rows)
    )


def written(path: Path, results: dict[str, Found]) -> None:
    """Keep the results, and write the table."""
    write_text(path.with_suffix(".json"), json.dumps(results) + "\n")
    write_text(path, report(results))


def told(found: Found) -> str:
    """The changes of a task, for who waits."""
    return ", ".join(f"{share:g} {change(found, share):+.1f} %" for share in SHARES)


def main(
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
    report_only: Annotated[bool, typer.Option(help="Write the table of what is there; measure nothing.")] = False,
) -> None:
    """Measure what is missing, then write the table."""
    torch.set_num_threads(1)
    measure(output / "weighing_share.md", () if report_only else tasks(data), scored, written, told)


if __name__ == "__main__":
    typer.run(main)
