"""One wrong value in a history, as of a slipped decimal point or a month that is not over: what it costs.

    python benchmarks/mistakes.py

Windows of the ends of training parts (no held-out set), whole, with a tenth of their values missing, cut to their last
4 to 11, and with gaps to impute; then the same with one value, the last or any of the last 25, times ten, times three
or 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.scores import quantile_losses
from benchmarks.sets import DEFAULT_DATA, DataFolder, Samples
from shared.files.io import write_text
from tsdiff.baselines import train_baseline
from tsdiff.data import Entry, load_folder, split_windows
from tsdiff.data.frequency import quiet
from tsdiff.predictor import TSDiffPredictor

RESULTS = Path("benchmarks/results/mistakes.md")
SETS = {
    "aus_retail_monthly": 12,
    "aus_livestock_monthly": 12,
    "pbs_monthly": 12,
    "chicago_l_daily": 14,
    "epf_hourly": 24,
    "beijing_air_hourly": 24,
    "ansett_weekly": 8,
    "electricity_weekly": 8,
    "traffic_weekly": 8,
    "m3_quarterly": 8,
    "m3_yearly": 6,
}
WINDOWS, LONGEST, LATE, MISSING, FEW = 40, 400, 25, 0.1, (4, 12)
"""Windows of a set, about; their last values that are taken; among how many one is wrong; the share that is missing;
and how many are few."""
MISTAKES = {"last × 10": (10.0, 1), "last 0": (0.0, 1), "× 10": (10.0, LATE), "× 3": (3.0, LATE), "0": (0.0, LATE)}
LEVELS = np.arange(1, 10) / 10


@dataclass(frozen=True)
class Windows:
    """Histories of a set, and what came, (horizon,) each; of gaps what they held."""

    freq: str
    horizon: int
    entries: list[Entry]
    actual: list[np.ndarray]


def windows_of(name: str, folder: Path) -> Windows:
    """The last windows of a set's training part."""
    series = list(load_folder(folder / "series" / name).train)
    series = series[:: max(1, len(series) // WINDOWS)]
    horizon = SETS[name]
    series = [entry for entry in series if len(entry["target"]) > horizon]
    test = split_windows(series, horizon, max(1, min(6, WINDOWS // len(series)))).test
    entries = [_cut(entry, LONGEST) for entry in test.input]
    return Windows(series[0]["start"].freqstr, horizon, entries, [np.asarray(one["target"]) for one in test.label])


def _cut(entry: Entry, count: int) -> Entry:
    """The last so many values of a series."""
    values = np.asarray(entry["target"], dtype=np.float64)
    begin = max(len(values) - count, 0)
    return {"start": entry["start"] + begin, "target": values[begin:].copy(), "item_id": str(entry["item_id"])}


def with_gaps(entries: Sequence[Entry], rng: np.random.Generator) -> list[Entry]:
    """Without a tenth of the values, the last excepted."""
    made = [dict(entry, target=entry["target"].copy()) for entry in entries]
    for entry in made:
        missing = rng.random(len(entry["target"])) < MISSING
        missing[-1] = False
        entry["target"][missing] = np.nan
    return made


def with_mistake(entries: Sequence[Entry], times: float, late: int, rng: np.random.Generator) -> list[Entry]:
    """One of the last so many known values of each is wrong."""
    made = [dict(entry, target=entry["target"].copy()) for entry in entries]
    for entry in made:
        known = np.flatnonzero(~np.isnan(entry["target"]))[-late:]
        entry["target"][rng.choice(known)] *= times
    return made


def crps(samples: np.ndarray, actual: np.ndarray) -> float:
    """Mean weighted quantile loss of draws (samples, steps) of what came, (steps,), by the mean size of that."""
    losses = quantile_losses(np.quantile(samples, LEVELS, axis=0), actual, LEVELS)
    return float(np.nanmean(losses) / max(float(np.nanmean(np.abs(actual))), 1e-9))


def forecast_by(what: str, data: Windows, entries: list[Entry], samples: int) -> list[np.ndarray]:
    """Draws (samples, horizon) of each series."""
    if what == "AutoETS":
        with quiet():
            ets = train_baseline("auto_ets", entries, data.freq, data.horizon, num_samples=samples)
            return [made.samples for made in ets.predict(entries)]
    bundled = TSDiffPredictor.from_pretrained("default").adapted(data.freq, data.horizon)
    return [made.samples for made in bundled.predict(entries, samples)]


def errors(what: str, data: Windows, entries: list[Entry], samples: int) -> float:
    """The mean over windows of forecasts' `crps`."""
    made = forecast_by(what, data, entries, samples)
    return float(np.mean([crps(*pair) for pair in zip(made, data.actual, strict=True)]))


def imputed(data: Windows, entries: list[Entry], whole: list[Entry], samples: int) -> float:
    """The mean over series of the `crps` of what fills their gaps."""
    bundled = TSDiffPredictor.from_pretrained("default").adapted(data.freq, data.horizon)
    found = []
    for made, entry, full in zip(bundled.impute(entries, samples), entries, whole, strict=True):
        missing = np.isnan(entry["target"])
        truth = full["target"][missing]
        if len(truth) and not np.isnan(truth).all():
            found.append(crps(made.samples.reshape(len(made.samples), -1), truth))
    return float(np.mean(found))


def measured(name: str, folder: Path, samples: int) -> Iterator[tuple[str, str, float]]:
    """Of each kind of history, by each forecaster, and of each mistake the error by that without it."""
    data, rng = windows_of(name, folder), np.random.default_rng(0)
    gaps = with_gaps(data.entries, rng)
    short = [_cut(entry, int(rng.integers(*FEW))) for entry in data.entries]
    for kind, entries, by in (
        ("whole", data.entries, ("bundled", "AutoETS")),
        ("a tenth missing", gaps, ("bundled",)),
        ("4 to 11 values", short, ("bundled", "AutoETS")),
    ):
        for what in by:
            torch.manual_seed(0)
            without = errors(what, data, entries, samples)
            for mistake, (times, late) in MISTAKES.items():
                torch.manual_seed(0)
                wrong = with_mistake(entries, times, late, np.random.default_rng(1))
                yield f"{kind}, {what}", mistake, errors(what, data, wrong, samples) / without
    torch.manual_seed(0)
    without = imputed(data, gaps, data.entries, samples)
    for mistake, (times, late) in MISTAKES.items():
        torch.manual_seed(0)
        wrong = with_mistake(gaps, times, late, np.random.default_rng(1))
        yield "gaps imputed, bundled", mistake, imputed(data, wrong, data.entries, samples) / without


def main(
    data: DataFolder = DEFAULT_DATA,
    samples: Samples = 50,
    output: Annotated[Path, typer.Option(help="Table.")] = RESULTS,
) -> None:
    """Measure, and write the table."""
    torch.set_num_threads(1)
    ratios: dict[str, dict[str, list[float]]] = {}
    for name in SETS:
        for row, mistake, ratio in measured(name, data, samples):
            ratios.setdefault(row, {}).setdefault(mistake, []).append(ratio)
        print(
            name, *(f"{row}: {[round(found[m][-1], 2) for m in MISTAKES]}" for row, found in ratios.items()), sep="\n  "
        )
    rows = [
        [row, *(f"{np.exp(np.mean(np.log(found[m]))):.2f} ({max(found[m]):.1f})" for m in MISTAKES)]
        for row, found in ratios.items()
    ]
    text = header("One wrong value in a history") + (
        f"\nCRPS ({samples} samples) by that without the mistake, geometric mean over {len(SETS)} sets that are not "
        f"held out (largest), about {WINDOWS} windows each. The last value is wrong, or any of the last {LATE}.\n\n"
        + table(["history, forecaster", *MISTAKES], rows)
    )
    write_text(output, text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
