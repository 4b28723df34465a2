"""The bundled forecaster on sets it never saw: without training, and after fine-tuning, beside the baselines.

    python benchmarks/zero_shot.py --part validation      settings compared on the validation sets' training parts
    python benchmarks/zero_shot.py --part fine_tuned_validation --cpu-minutes 2    what fine-tuning gains there
    python benchmarks/zero_shot.py                        the held-out sets, without training
    python benchmarks/zero_shot.py --part fine_tuned      the same after 5 CPU-minutes on each set's training part
    python benchmarks/zero_shot.py --part fracast         a peer of 85,001 parameters (pip install fracast)
    python benchmarks/zero_shot.py --report-only          the tables of what has been measured

Every row is kept in benchmarks/results/zero_shot.csv, and one that is there is not made again. Baselines are read from
benchmarks/results/baselines.csv. Weights and settings are chosen by the validation part alone.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from gluonts.model.forecast import Forecast, QuantileForecast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.losses import all_without_ruling, beside
from benchmarks.machine import header, table
from benchmarks.scores import drawn_again
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, DataFolder, LoadedSet, Samples, load
from recipes.default_forecaster.default import TRAINING_SETS, VALIDATION_SETS
from shared.files.io import atomic_path, write_text
from tsdiff.data import WindowSplit, candidate_seasons, load_folder, split_windows
from tsdiff.data.frequency import shifted
from tsdiff.evaluation.metrics import best_seasonal_naive, evaluate, window_losses
from tsdiff.predictor import TSDiffPredictor
from tsdiff.pretraining.finetuning import FineTuning, fine_tune

Part = Literal["validation", "fine_tuned_validation", "held_out", "fine_tuned", "fracast"]
RESULTS = Path("benchmarks/results")
HELD_OUT = tuple(
    sorted(
        (name for name in BENCHMARK_SETS if name not in {*TRAINING_SETS, *VALIDATION_SETS}),
        key=lambda n: BENCHMARK_SETS[n].windows * BENCHMARK_SETS[n].series,
    )
)
CHOICES: dict[str, dict[str, Any]] = {
    "as bundled": {},
    "anchor_share 0": {"anchor_share": 0.0},
    "anchor_share .5": {"anchor_share": 0.5},
    "anchor_share .8": {"anchor_share": 0.8},
    "anchor_share 1": {"anchor_share": 1.0},
    "temperature 1": {"temperature": 1.0},
    "temperature 1.2": {"temperature": 1.2},
    "temperature 1.6": {"temperature": 1.6},
    "temperature 1.2, anchor_share .5": {"temperature": 1.2, "anchor_share": 0.5},
    "2 calls, temperature 1.8": {"steps": 2, "temperature": 1.8},
    "5 calls, temperature 1.2": {"steps": 5, "temperature": 1.2},
    "5 calls, temperature 1, anchor_share 0": {"steps": 5, "temperature": 1.0, "anchor_share": 0.0},
}
"""Settings that are compared, as changes of the model's own."""

VALIDATION_WINDOWS = 120
NAMES = {"seasonal_naive": "seasonal naive", "auto_ets": "AutoETS", "fracast": "Fracast"}


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        part, set, what: which.
        crps, low, high: the score, and its 90 % bootstrap interval over windows.
        mase, coverage_90: see `tsdiff.evaluation.metrics.Metrics`.
        windows: how many were scored.
        train_minutes, predict_minutes: CPU minutes of this process.
        note: what else.
    """

    part: str
    set: str
    what: str
    crps: float
    low: float
    high: float
    mase: float
    coverage_90: float
    windows: int
    train_minutes: float
    predict_minutes: float
    note: str = ""


def interval(forecasts: Sequence[Forecast], actual: Sequence[np.ndarray]) -> tuple[float, float]:
    """5 % and 95 % points of the CRPS when windows are drawn with replacement, 1000 times."""
    return drawn_again(*window_losses(forecasts, actual), times=1000)


def scored(
    part: str, name: str, what: str, forecasts: Iterable[Forecast], test: Any, minutes: float = 0.0, note: str = ""
) -> Row:
    """Draw the forecasts and score them."""
    started = time.process_time()
    made = list(forecasts)
    spent = (time.process_time() - started) / 60
    metrics = evaluate(made, test)
    low, high = interval(made, [np.asarray(label["target"], dtype=np.float64) for label in test.label])
    return Row(
        part,
        name,
        what,
        metrics.crps,
        low,
        high,
        metrics.mase,
        metrics.coverage_90,
        len(made),
        round(minutes, 3),
        round(spent, 3),
        note,
    )


def validation_tasks(folder: Path, model: str) -> Iterator[tuple[str, TSDiffPredictor, WindowSplit]]:
    """Each validation set, the forecaster of it, and its training part, the last windows of which are kept apart."""
    base = TSDiffPredictor.from_pretrained(model)
    for name, horizon in VALIDATION_SETS.items():
        entries = list(load_folder(folder / "series" / name).train)
        entries = entries[:: max(1, len(entries) // VALIDATION_WINDOWS)]
        windows = max(1, min(24, VALIDATION_WINDOWS // len(entries)))
        yield name, base.adapted(entries[0]["start"].freqstr, horizon), split_windows(entries, horizon, windows)


def validation(folder: Path, model: str, samples: int, done: set[tuple[str, str, str]]) -> Iterator[Row]:
    """Every setting on the last windows of the training parts of the validation sets."""
    tasks = [(name, predictor, split.test) for name, predictor, split in validation_tasks(folder, model)]
    for name, predictor, test in tasks:
        if ("validation", name, "seasonal naive") not in done:
            lag, naive = best_seasonal_naive(test, candidate_seasons(predictor.freq))
            scores = (naive.crps, naive.crps, naive.crps, naive.mase, naive.coverage_90, len(test), 0.0, 0.0)
            yield Row("validation", name, "seasonal naive", *scores, f"lag {lag}")
    for what, changes in CHOICES.items():
        for name, predictor, test in tasks:
            if ("validation", name, what) not in done:
                drawn = predictor.with_sampling(**changes).predict(test.input, samples)
                yield scored("validation", name, what, drawn, test)


def fracast(name: str, folder: Path) -> Row:
    """A set by the peer, whose outer quantiles are .1 and .9: its 90 % interval is not known."""
    from fracast import FracastModel

    data = load(name, folder)
    peer, levels = FracastModel.from_pretrained(device="cpu"), [f"{k / 10:.1f}" for k in range(1, 10)]

    def forecasts() -> Iterator[QuantileForecast]:
        for entry in data.test.input:
            context = np.asarray(entry["target"], dtype=np.float32)[-2048:]
            made = peer.forecast(context, horizon=data.prediction_length).T
            yield QuantileForecast(made, shifted(entry["start"], len(entry["target"])), levels, str(entry["item_id"]))

    row = scored("fracast", name, "fracast", forecasts(), data.test)
    return replace(row, coverage_90=float("nan"))


def held_out(name: str, folder: Path, model: str, samples: int) -> Row:
    """A set without training."""
    data = load(name, folder)
    predictor = TSDiffPredictor.from_pretrained(model).adapted(data.freq, data.prediction_length)
    return scored("held_out", name, "default", predictor.predict(data.test.input, samples), data.test)


def fine_tuned(
    part: str, name: str, predictor: TSDiffPredictor, data: LoadedSet | WindowSplit, samples: int, settings: FineTuning
) -> Row:
    """The test windows of a set after fine-tuning on its training part."""
    started = time.process_time()
    made = fine_tune(predictor, data.train, settings)
    minutes = (time.process_time() - started) / 60
    drawn = made.predictor.predict(data.test.input, samples)
    note = f"{made.steps} steps" + ("" if made.change == "as it was" else f", {made.change}")
    print(name, *(f"{t.steps}, {t.change}: {t.crps:.4f}" for t in made.trials), sep="; ", flush=True)
    return scored(part, name, "default", drawn, data.test, minutes, note)


def read_rows(path: Path) -> list[Row]:
    """What has been measured."""
    if not path.is_file():
        return []
    kinds = {f.name: f.type for f in fields(Row)}
    cast = {"float": float, "int": int, "str": str}
    with open(path, encoding="utf-8", newline="") as stream:
        return [Row(**{k: cast[str(kinds[k])](v) for k, v in line.items()}) for line in csv.DictReader(stream)]


def write_rows(path: Path, rows: list[Row]) -> None:
    """All rows, atomically."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [f.name for f in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = asdict(row)
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()})


def baselines(path: Path) -> dict[tuple[str, str], float]:
    """CRPS by set and model, seed 0."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as stream:
        return {(r["set"], r["model"]): float(r["crps"]) for r in csv.DictReader(stream) if r["seed"] == "0"}


def report(
    rows: list[Row], others: dict[tuple[str, str], float], rests: dict[tuple[str, str], float], samples: int
) -> str:
    """The tables, as Markdown."""
    by = {(row.part, row.set): row for row in rows if row.part in ("held_out", "fine_tuned", "fracast")}
    others = others | {(row.set, "fracast"): row.crps for row in rows if row.part == "fracast"}
    lines, relative = [], {}
    ahead_of = {model: [0, 0] for model in NAMES}
    gains = []
    for name in HELD_OUT:
        zero, tuned = by.get(("held_out", name)), by.get(("fine_tuned", name))
        if zero is None:
            continue
        for model, count in ahead_of.items():
            if (name, model) in others:
                count[0] += zero.crps < others[name, model]
                count[1] += 1
        if tuned is not None:
            gains.append(1 - tuned.crps / zero.crps)
        if (name, "seasonal_naive") in others:
            relative[name] = zero.crps / others[name, "seasonal_naive"]
        lines.append(
            [name, str(zero.windows), f"{zero.crps:.4f} ({zero.low:.4f}–{zero.high:.4f})"]
            + [f"{relative[name]:.3f}" if name in relative else "", f"{zero.coverage_90:.3f}"]
            + [f"{tuned.crps:.4f} ({tuned.low:.4f}–{tuned.high:.4f})" if tuned else ""]
            + [beside(f"{others[name, m]:.4f}", rests.get((name, m))) if (name, m) in others else "" for m in ahead_of]
            + [f"{1e3 * 60 * zero.predict_minutes / zero.windows:.0f}"]
            + [f"{tuned.train_minutes:.1f}, {tuned.note}" if tuned else ""]
        )
    head = ["set", "windows", "zero-shot", "by naive", "covers 90 %", "fine-tuned", *NAMES.values()]
    text = (
        header("The bundled forecaster on sets it never saw")
        + f"\nCRPS (mean weighted quantile loss, {samples} samples; in brackets the 90 % bootstrap interval over "
        "windows). Zero-shot: no value of the set was seen before the forecast. By naive: divided by the seasonal "
        "naive's, the better lag. Fine-tuned: on the set's training part. Where one series has over a third of a "
        "baseline's loss, the score without it is beside. Fracast's 2.6 TB of training data may hold some of these.\n\n"
        + table([*head, "CPU-ms a window", "CPU min to fine-tune"], lines)
    )
    for model, (won, count) in ahead_of.items():
        text += f"\nZero-shot is ahead of {NAMES[model]} on {won} of {count} sets.\n"
    if relative:
        mean = np.exp(np.mean(np.log(list(relative.values()))))
        text += f"\nGeometric mean of CRPS by the seasonal naive's over {len(relative)} sets: {mean:.3f}.\n"
    if gains:
        text += (
            f"\nFine-tuning gains 3 % or more on {sum(g >= 0.03 for g in gains)} of {len(gains)} sets, and loses at "
            f"most {-100 * min(0.0, *gains):.1f} %.\n"
        )
    tried = [row for row in rows if row.part == "validation"]
    if tried:
        text += "\n## Settings, on the ends of the validation sets' training parts\n\n"
        text += "CRPS by the seasonal naive's (coverage of 90 % intervals); none of the sets is trained on.\n\n"
        text += _choices(tried)
    tuned = {row.set: row for row in rows if row.part == "fine_tuned_validation"}
    if tuned:
        text += "\n## Fine-tuning, on the same\n\nWhat precedes the windows trains. CRPS; intervals of 90 %.\n\n"
        text += _tuned(tuned, {row.set: row for row in tried if row.what == "as bundled"})
    return text


def _tuned(after: dict[str, Row], before: dict[str, Row]) -> str:
    lines = []
    for name, row in after.items():
        first = before[name]
        change, minutes = f"{100 * (row.crps / first.crps - 1):+.1f} %", f"{row.train_minutes:.1f}, {row.note}"
        covers = [f"{one.coverage_90:.3f}" for one in (first, row)]
        lines.append([name, f"{first.crps:.4f}", f"{row.crps:.4f}", change, *covers, minutes])
    return table(["set", "as bundled", "fine-tuned", "change", "covers 90 %", "fine-tuned", "CPU min"], lines)


def _choices(rows: list[Row]) -> str:
    sets = list(dict.fromkeys(row.set for row in rows))
    naive = {row.set: row.crps for row in rows if row.what == "seasonal naive"}
    scores = {(row.what, row.set): row for row in rows}
    lines = []
    for what in (kind for kind in dict.fromkeys(row.what for row in rows) if kind != "seasonal naive"):
        found = [scores[what, name] for name in sets if (what, name) in scores]
        mean = np.exp(np.mean([np.log(row.crps / naive[row.set]) for row in found]))
        cells = [f"{row.crps / naive[row.set]:.3f} ({row.coverage_90:.2f})" for row in found]
        lines.append([what, *cells, f"{mean:.3f}"])
    return table(["setting", *sets, "geometric mean"], lines)


def main(
    part: Annotated[Part, typer.Option(help="What to measure.")] = "held_out",
    sets: Annotated[list[str] | None, typer.Option("--set", help="Sets; default: all that were held out.")] = None,
    model: Annotated[str, typer.Option(help="Model: bundled name or folder.")] = "default",
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the tables.")] = RESULTS,
    samples: Samples = 100,
    cpu_minutes: Annotated[float, typer.Option(help="Of fine-tuning.")] = 5.0,
    report_only: Annotated[bool, typer.Option(help="Write the tables of what is there; measure nothing.")] = False,
) -> None:
    """Measure what is missing, then write the tables."""
    torch.set_num_threads(1)
    path = output / "zero_shot.csv"
    rows = read_rows(path)
    done = {(row.part, row.set, row.what) for row in rows}

    def measured() -> Iterator[Row]:
        settings = FineTuning(cpu_minutes=cpu_minutes)
        if part == "validation":
            yield from validation(data, model, samples, done)
            return
        if part == "fine_tuned_validation":
            for name, predictor, split in validation_tasks(data, model):
                if (part, name, "default") not in done and name in (sets or VALIDATION_SETS):
                    yield fine_tuned(part, name, predictor, split, samples, settings)
            return
        for name in sets or HELD_OUT:
            if (part, name, "fracast" if part == "fracast" else "default") in done:
                continue
            if part == "fracast":
                yield fracast(name, data)
            elif part == "held_out":
                yield held_out(name, data, model, samples)
            else:
                found = load(name, data)
                predictor = TSDiffPredictor.from_pretrained(model).adapted(found.freq, found.prediction_length)
                yield fine_tuned(part, name, predictor, found, samples, settings)

    known = baselines(output / "baselines.csv")

    def naive_rows() -> Iterator[Row]:
        """Seasonal naive where the baselines' table does not have it."""
        for name in () if part.endswith("validation") else sets or HELD_OUT:
            if (name, "seasonal_naive") in known or ("naive", name, "seasonal_naive") in done:
                continue
            found = load(name, data)
            lag, naive = best_seasonal_naive(found.test, found.seasons)
            scores = (naive.crps, naive.crps, naive.crps, naive.mase, naive.coverage_90, len(found.test), 0.0, 0.0)
            yield Row("naive", name, "seasonal_naive", *scores, f"lag {lag}")

    for row in () if report_only else chain(naive_rows(), measured()):
        rows = [*read_rows(path), row]
        write_rows(path, rows)
        print(row.part, row.set, row.what, f"{row.crps:.4f}", f"{row.coverage_90:.3f}", row.note, flush=True)
    known |= {(row.set, row.what): row.crps for row in rows if row.part == "naive"}
    write_text(output / "zero_shot.md", report(rows, known, all_without_ruling(output / "baselines.csv"), samples))


if __name__ == "__main__":
    typer.run(main)
