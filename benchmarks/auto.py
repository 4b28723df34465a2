"""What `tsdiff.auto` chooses, and what its choice is worth: every benchmark set, beside the baselines.

    python benchmarks/auto.py                          every set, 5 CPU-minutes to choose on its training part
    python benchmarks/auto.py --set city_daily --cpu-minutes 2
    python benchmarks/auto.py --report-only            the table of what has been measured

Every row is kept in benchmarks/results/auto.csv, and one that is there is not made again. Candidates are trained and
chosen on a set's training part alone. Baselines are read from benchmarks/results/baselines.csv.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tsdiff
from benchmarks.losses import all_without_ruling, beside
from benchmarks.machine import header, table
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, DEFAULT_SETS, ZERO_SHOT_SETS, DataFolder, Samples, load
from benchmarks.zero_shot import NAMES, RESULTS, Row, baselines, read_rows, scored, write_rows
from recipes.default_forecaster.default import TRAINING_SETS
from shared.console.notes import Note
from shared.files.io import write_text
from tsdiff.automatic.report import Report

SETS = sorted(
    (*DEFAULT_SETS, *ZERO_SHOT_SETS, "ltsf_illness"),
    key=lambda name: BENCHMARK_SETS[name].windows * BENCHMARK_SETS[name].series,
)
PEERS = {"seasonal_naive": NAMES["seasonal_naive"], "auto_ets": "AutoETS", "deepar": "DeepAR", "patchtst": "PatchTST"}


def taken(report: Report) -> str:
    """What was pooled, and what was left out."""
    parts = [f"{one.name} {one.share:.2f}" for one in report.tried if one.share and one.name != "pool"]
    left = [one.name for one in report.tried if one.crps is None]
    return ", ".join(parts) + (f"; without {', '.join(left)}" if left else "")


def chosen(name: str, folder: Path, minutes: float, samples: int) -> Row:
    """The choice of one set."""
    data = load(name, folder)
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        predictor = tsdiff.auto(data.train, data.prediction_length, minutes, freq=data.freq, progress=False)
    spent = (time.process_time() - started) / 60
    print(name, predictor.report, sep="\n", flush=True)
    drawn = predictor.predict(data.test.input, samples)
    return scored("auto", name, f"{minutes:g}", drawn, data.test, spent, taken(predictor.report))


def report(rows: list[Row], known: dict[tuple[str, str], float], rests: dict[tuple[str, str], float]) -> str:
    """The tables, one for each budget."""
    text = header("A forecaster chosen by backtests") + (
        "\n`tsdiff.auto` on the training part of each set; CRPS (mean weighted quantile loss, 100 samples; in brackets "
        "the 90 % bootstrap interval over windows) on its test windows. Baselines are those of "
        "[baselines.md](baselines.md). A set marked * was among those that the bundled model was trained on, its test "
        "windows not. Where one series has over a third of a baseline's loss, the score without it is beside.\n"
    )
    for minutes in sorted({row.what for row in rows}, key=float):
        lines, ahead, best = [], 0, 0
        some = {row.set: row for row in rows if row.what == minutes}
        for name in (name for name in SETS if name in some):
            row = some[name]
            others = {peer: known[name, peer] for peer in PEERS if (name, peer) in known}
            ahead += row.crps < others["seasonal_naive"]
            best += row.crps < min(others.values())
            lines.append(
                [name + "*" * (name in TRAINING_SETS), f"{row.crps:.4f} ({row.low:.4f}–{row.high:.4f})"]
                + [f"{row.coverage_90:.3f}", row.note]
                + [beside(f"{others[m]:.4f}", rests.get((name, m))) if m in others else "" for m in PEERS]
                + [f"{row.train_minutes:.1f}"]
            )
        unseen = [name for name in SETS if name in some and name not in TRAINING_SETS]
        ratios = [some[name].crps / known[name, "seasonal_naive"] for name in unseen]
        head = ["set", "auto", "covers 90 %", "taken", *PEERS.values(), "CPU min"]
        text += f"\n## {minutes} CPU-minutes\n\n" + table(head, lines)
        text += f"\nAhead of the seasonal naive on {ahead} of {len(lines)} sets, of the best baseline on {best}.\n"
        if ratios:
            text += (
                f"\nGeometric mean of CRPS by the seasonal naive's over the {len(ratios)} sets that the bundled model "
                f"was not trained on: {np.exp(np.mean(np.log(ratios))):.3f}.\n"
            )
    return text


def main(
    sets: Annotated[list[str] | None, typer.Option("--set", help="Sets; default: all.")] = None,
    cpu_minutes: Annotated[float, typer.Option(help="To choose in.")] = 5.0,
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the tables.")] = RESULTS,
    samples: Samples = 100,
    report_only: Annotated[bool, typer.Option(help="Write the table of what is there; measure nothing.")] = False,
) -> None:
    """Measure what is missing, then write the table."""
    torch.set_num_threads(1)
    path = output / "auto.csv"
    for name in () if report_only else sets or SETS:
        rows = read_rows(path)
        if (name, f"{cpu_minutes:g}") in {(row.set, row.what) for row in rows}:
            continue
        row = chosen(name, data, cpu_minutes, samples)
        write_rows(path, [*rows, row])
        print(row.set, row.what, f"{row.crps:.4f}", f"{row.coverage_90:.3f}", row.note, flush=True)
    known = baselines(output / "baselines.csv") | {
        (row.set, row.what): row.crps for row in read_rows(output / "zero_shot.csv") if row.part == "naive"
    }
    text = report(read_rows(path), known, all_without_ruling(output / "baselines.csv"))
    write_text(output / "auto.md", text)


if __name__ == "__main__":
    typer.run(main)
