"""The bundled forecaster on sets it never saw: without training, and after fine-tuning, beside the baselines.

    python benchmarks/zero_shot.py                        the held-out sets, without training
    python benchmarks/zero_shot.py --part fine_tuned      the same after 5 CPU-minutes on each set's training part
    python benchmarks/zero_shot.py --part choices         settings compared on windows held back from the training sets
    python benchmarks/zero_shot.py --report-only          the tables of what has been measured

Every row is kept in benchmarks/results/zero_shot.csv, and one that is there is not made again. Baselines are read from
benchmarks/results/baselines.csv. No setting
was chosen by the numbers of the first two parts, but two rules were changed after some of them were known
(tsdiff/pretrained/default/README.md tells which).
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from gluonts.model.forecast import Forecast, SampleForecast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.losses import all_without_ruling, beside, window_losses
from benchmarks.machine import header, table
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, load
from recipes.default_forecaster.default import TRAINING_SETS, real_groups
from shared.files.io import atomic_path, write_text
from tsdiff.data import Entry, candidate_seasons, split_windows
from tsdiff.data.frequency import shifted
from tsdiff.evaluation.metrics import best_seasonal_naive, evaluate
from tsdiff.predictor import TSDiffPredictor
from tsdiff.pretraining.finetuning import FineTuning, fine_tune
from tsdiff.sampling.kernels import kernel_bank
from tsdiff.windows.calendar import season_of
from tsdiff.windows.conditioning import Windows, forecast_place
from tsdiff.windows.series import observed_series

Part = Literal["held_out", "fine_tuned", "choices"]
RESULTS = Path("benchmarks/results")
HELD_OUT = tuple(
    sorted(
        (name for name in BENCHMARK_SETS if name not in TRAINING_SETS),
        key=lambda n: BENCHMARK_SETS[n].windows * BENCHMARK_SETS[n].series,
    )
)
CHOICES: dict[str, dict[str, Any]] = {
    "half kernels, half network (as bundled)": {},
    "network alone, guided by kernels": {"kernel_share": 0.0},
    "network alone, guided by kernels, 8 calls": {"kernel_share": 0.0, "steps": 8},
    "network alone, guided by kernels, sde2, 8 calls": {"kernel_share": 0.0, "steps": 8, "method": "sde2"},
    "as bundled, quantile energy": {"guidance": "quantile"},
    "network alone, scalar guidance, sde2, 8 calls": {"covariance": "scalar", "steps": 8, "method": "sde2"},
    "network alone, tweedie guidance, sde2, 8 calls": {"covariance": "tweedie", "steps": 8, "method": "sde2"},
}
"""Settings that are compared, as changes of the model's own."""

KERNELS_ALONE = "the kernels alone, without the network"


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


def interval(forecasts: Sequence[Forecast], actual: Sequence[np.ndarray], seed: int = 0) -> tuple[float, float]:
    """5 % and 95 % points of the CRPS when windows are drawn with replacement, 1000 times."""
    losses, sizes = window_losses(forecasts, actual)
    drawn = np.random.default_rng(seed).integers(0, len(losses), (1000, len(losses)))
    low, high = np.quantile(losses[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.05, 0.95])
    return float(low), float(high)


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


def kernels_alone(predictor: TSDiffPredictor, entries: Iterable[Entry], samples: int) -> Iterator[SampleForecast]:
    """What the chosen kernels say by themselves: the exact posteriors of their Gaussian processes."""
    model, rng = predictor.model, np.random.default_rng(0)
    config = model.config
    bank = kernel_bank(config.length, season_of(config.freq))
    ahead = torch.arange(config.context_length, config.length)
    for entry in entries:
        window = Windows.of([forecast_place(observed_series(entry, config, ""), config)], config, model.statistics)
        values, observed = window.values[0, :, 0], window.observed[0, :, 0]
        seen, parts = torch.nonzero(observed > 0)[:, 0], []
        kernels, variances = bank.choose(values[None], observed[None]).picked(
            torch.zeros(samples, dtype=torch.long), torch.from_numpy(rng.random(samples))
        )
        for kernel in kernels.unique():
            count, variance = int((kernels == kernel).sum()), float(variances[kernels == kernel][0])
            matrix = bank.matrices[int(kernel)]
            factor = torch.linalg.cholesky(matrix[seen][:, seen] + 1e-4 * torch.eye(len(seen), dtype=matrix.dtype))
            weights = torch.cholesky_solve(matrix[seen][:, ahead], factor)
            spread = variance * (matrix[ahead][:, ahead] - matrix[ahead][:, seen] @ weights)
            root = np.linalg.cholesky(spread.numpy() + 1e-6 * np.eye(len(ahead)))
            mean = (weights.T @ values[seen].double()).numpy()
            parts.append(mean + rng.standard_normal((count, len(ahead))) @ root.T)
        drawn = np.concatenate(parts)[..., None]
        series = window.drawn(drawn, None, nonnegative=True)[..., 0]
        yield SampleForecast(series.astype(np.float32), start_date=shifted(entry["start"], len(entry["target"])))


def choices(folder: Path, model: str, samples: int, series: int, done: set[tuple[str, str, str]]) -> Iterator[Row]:
    """Every setting on the last windows of the training parts, which were held back."""
    base, tasks = TSDiffPredictor.from_pretrained(model), []
    for held in real_groups(folder / "series")[1]:
        entries = held.entries[:: max(1, len(held.entries) // series)][:series]
        test = split_windows(entries, held.prediction_length, 1).test
        tasks.append((held.name, base.adapted(entries[0]["start"].freqstr, held.prediction_length), test))
    for name, predictor, test in tasks:
        if ("choices", name, "seasonal naive") not in done:
            lag, naive = best_seasonal_naive(test, candidate_seasons(predictor.freq))
            scores = (naive.crps, naive.crps, naive.crps, naive.mase, naive.coverage_90, len(test), 0.0, 0.0)
            yield Row("choices", name, "seasonal naive", *scores, f"lag {lag}")
        if ("choices", name, KERNELS_ALONE) not in done:
            yield scored("choices", name, KERNELS_ALONE, kernels_alone(predictor, test.input, samples), test)
    for what, changes in CHOICES.items():
        for name, predictor, test in tasks:
            if ("choices", name, what) not in done:
                drawn = predictor.with_sampling(**changes).predict(test.input, samples)
                yield scored("choices", name, what, drawn, test)


def held_out(name: str, folder: Path, model: str, samples: int) -> Row:
    """A set without training."""
    data = load(name, folder)
    predictor = TSDiffPredictor.from_pretrained(model).adapted(data.freq, data.prediction_length)
    return scored("held_out", name, "default", predictor.predict(data.test.input, samples), data.test)


def fine_tuned(name: str, folder: Path, model: str, samples: int, settings: FineTuning) -> Row:
    """A set after fine-tuning on its training part."""
    data = load(name, folder)
    predictor = TSDiffPredictor.from_pretrained(model).adapted(data.freq, data.prediction_length)
    started = time.process_time()
    made = fine_tune(predictor, data.train, settings)
    minutes = (time.process_time() - started) / 60
    drawn = made.predictor.predict(data.test.input, samples)
    note = f"{made.steps} steps" + ("" if made.change == "as it was" else f", {made.change}")
    print(name, *(f"{t.steps}, {t.change}: {t.crps:.4f}" for t in made.trials), sep="; ", flush=True)
    return scored("fine_tuned", name, "default", drawn, data.test, minutes, note)


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
    by = {(row.part, row.set): row for row in rows if row.part in ("held_out", "fine_tuned")}
    lines, ahead_of, improved = [], {"seasonal_naive": [0, 0], "auto_ets": [0, 0]}, [0, 0]
    for name in HELD_OUT:
        zero, tuned = by.get(("held_out", name)), by.get(("fine_tuned", name))
        if zero is None:
            continue
        for model, count in ahead_of.items():
            if (name, model) in others:
                count[0] += zero.crps < others[name, model]
                count[1] += 1
        if tuned is not None:
            improved[0] += tuned.crps < zero.crps
            improved[1] += 1
        lines.append(
            [name, str(zero.windows), f"{zero.crps:.4f} ({zero.low:.4f}–{zero.high:.4f})", f"{zero.coverage_90:.3f}"]
            + [f"{tuned.crps:.4f} ({tuned.low:.4f}–{tuned.high:.4f})" if tuned else ""]
            + [beside(f"{others[name, m]:.4f}", rests.get((name, m))) if (name, m) in others else "" for m in ahead_of]
            + [f"{zero.predict_minutes:.1f}", f"{tuned.train_minutes:.1f}, {tuned.note}" if tuned else ""]
        )
    head = ["set", "windows", "zero-shot", "covers 90 %", "fine-tuned", "seasonal naive", "AutoETS"]
    text = (
        header("The bundled forecaster on sets it never saw")
        + f"\nCRPS (mean weighted quantile loss, {samples} samples; in brackets the 90 % bootstrap interval over "
        "windows). Zero-shot: no value of the set was seen before the forecast. Fine-tuned: on the set's training "
        "part. Where one series has over a third of a baseline's loss, the score without it is beside.\n\n"
        + table([*head, "CPU min to predict", "CPU min to fine-tune"], lines)
    )
    for model, (won, count) in ahead_of.items():
        text += f"\nZero-shot is ahead of {model} on {won} of {count} sets.\n"
    text += f"\nFine-tuning improves {improved[0]} of {improved[1]} sets.\n"
    tried = [row for row in rows if row.part == "choices"]
    if tried:
        sets = list(dict.fromkeys(row.set for row in tried))
        scores = {(row.what, row.set): row for row in tried}
        kinds = list(dict.fromkeys(row.what for row in tried))
        cells = [[what, *(_cell(scores.get((what, name))) for name in sets)] for what in kinds]
        text += "\n## Settings, on windows held back from the training sets\n\nCRPS (coverage of 90 % intervals).\n\n"
        text += table(["setting", *sets], cells)
    return text


def _cell(row: Row | None) -> str:
    return "" if row is None else f"{row.crps:.4f} ({row.coverage_90:.2f})"


def main(
    part: Annotated[Part, typer.Option(help="What to measure.")] = "held_out",
    sets: Annotated[list[str] | None, typer.Option("--set", help="Sets; default: all that were held out.")] = None,
    model: Annotated[str, typer.Option(help="Model: bundled name or folder.")] = "default",
    data: Annotated[Path, typer.Option(help="Folder that holds series/.")] = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the tables.")] = RESULTS,
    samples: Annotated[int, typer.Option(help="Samples of a forecast.")] = 100,
    series: Annotated[int, typer.Option(help="Series of each set to compare settings on.")] = 8,
    cpu_minutes: Annotated[float, typer.Option(help="Of fine-tuning.")] = 5.0,
    report_only: Annotated[bool, typer.Option(help="Write the tables of what is there; measure nothing.")] = False,
) -> None:
    """Measure what is missing, then write the tables."""
    torch.set_num_threads(1)
    path = output / "zero_shot.csv"
    rows = read_rows(path)
    done = {(row.part, row.set, row.what) for row in rows}

    def measured() -> Iterator[Row]:
        if part == "choices":
            yield from choices(data, model, samples, series, done)
            return
        for name in sets or HELD_OUT:
            if (part, name, "default") in done:
                continue
            if part == "held_out":
                yield held_out(name, data, model, samples)
            else:
                yield fine_tuned(name, data, model, samples, FineTuning(cpu_minutes=cpu_minutes))

    known = baselines(output / "baselines.csv")

    def naive_rows() -> Iterator[Row]:
        """Seasonal naive where the baselines' table does not have it."""
        for name in sets or HELD_OUT:
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
