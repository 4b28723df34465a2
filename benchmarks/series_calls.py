"""Forecasts in few calls: a forecaster with each of its samplers, and a flow map of it; CRPS against network calls.

A model is trained for each set and seed, with the set's preset, within a limit of CPU time; the map starts from it and
has a limit of its own. Models stay in a folder, and rows are added to the table as they are made: what is there is not
made again. "ddpm" is the published guided sampler, at the strength that does best on training series.

Example:
    OMP_NUM_THREADS=1 python benchmarks/series_calls.py --seed 0 --seed 1 --cpu-minutes 6 --map-minutes 6
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.curves import draw_curves
from benchmarks.guided import score, tuned
from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.sets import DEFAULT_DATA, DataFolder, LoadedSet, load, thinned
from shared.errors import ConfigError
from shared.files.io import write_text
from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.baselines.training import TrainingLimit
from tsdiff.data.frequency import quiet
from tsdiff.experiment.presets import Preset, preset_for
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.config import default_patch

KEYS = ("set", "seed", "model", "method", "calls")
SETS = ("m4_hourly", "pjm_hourly")
MANY = (1, 2, 3, 4, 5, 8, 15, 30, 100)
PLAIN = {"ode2": MANY, "ode2, bh2": MANY[:7], "sde2": MANY, "teleport": MANY[:6], "ddpm": (100,)}
JUMPS = {"map": (1, 2, 3, 4, 8)}
SETTINGS: dict[str, dict[str, Any]] = {
    "ode2, bh2": {"method": {"kind": "exponential", "order": 2, "slope": "bh2"}},
    "teleport": {"method": {"kind": "gaussian", "teleport": 0.0}, "covariance": "window"},
}
"""Of methods that are not a name: half of UniPC's B(h); the analytic way to log-SNR 0 and the Gaussian integrator."""
ENDLESS = 10**6
"""Steps of a training that its time ends."""


@dataclass(frozen=True)
class Budget:
    """CPU time of a forecaster and of its map, windows that are forecast and tuned on, and where models are kept."""

    minutes: float
    map_minutes: float
    windows: int
    tuning: int
    objective: str
    folder: Path


def forecaster(data: LoadedSet, seed: int, mapped: bool, budget: Budget) -> TSDiffPredictor:
    """The trained forecaster, or the map of it, found or made; of one model, whatever the preset has."""
    kind = budget.objective if mapped else "denoiser"
    place = budget.folder / data.name / f"{kind}-{seed}"
    if (place / "config.json").is_file():
        return TSDiffPredictor.from_pretrained(place)
    base: Preset = preset_for(data.name, data.freq)
    backbone = base.backbone or S4DConfig(patch=default_patch(data.freq))
    training = replace(base.training, max_steps=ENDLESS, seed=seed, warmup=0.0, decay="constant")
    options: dict[str, Any] = {}
    if mapped:
        backbone, training = replace(backbone, span=True), replace(training, learning_rate=1e-3)
        start = budget.folder / data.name / f"denoiser-{seed}"
        options = {"flow_map": budget.objective, "start_from": start}
    usual = replace(base, backbone=backbone, training=training).estimator(data.freq, data.prediction_length)
    estimator = TSDiffEstimator(**{**usual.__init_passed_kwargs__, **options})
    limit = TrainingLimit(-1, budget.map_minutes if mapped else budget.minutes)
    predictor = estimator.train(data.train, progress=False, callbacks=[limit])
    predictor.serialize(place)
    return predictor


def ways(mapped: bool) -> Iterator[tuple[str, int]]:
    """Methods and calls that are measured."""
    for method, calls in (JUMPS if mapped else PLAIN).items():
        for count in calls:
            yield method, count


def measure(results: Rows, data: LoadedSet, seed: int, mapped: bool, budget: Budget) -> None:
    """Every row of one model that is not in the table."""
    model = budget.objective if mapped else "denoiser"
    missing = [
        (method, calls)
        for method, calls in ways(mapped)
        if not results.has(dict(zip(KEYS, (data.name, seed, model, method, calls), strict=True)))
    ]
    if not missing:
        return
    predictor, pairs = forecaster(data, seed, mapped, budget), thinned(list(data.test), budget.windows)
    energy = preset_for(data.name, data.freq).guidance
    for method, calls in missing:
        started, scale, note = time.process_time(), 1.0, ""
        if method == "ddpm":
            scale, note = tuned(predictor, data, method, budget.tuning)
        with quiet():
            settings = {"method": method, "steps": calls, "guidance": energy, "scale": scale}
            metrics, nfe = score(predictor, pairs, {**settings, **SETTINGS.get(method, {})})
        row = {
            **dict(zip(KEYS, (data.name, seed, model, method, calls), strict=True)),
            "nfe": nfe,
            "crps": metrics.crps,
            "coverage_90": metrics.coverage_90,
            "cpu_seconds": time.process_time() - started,
            "note": note,
        }
        results.add(row)
        print(*row.values(), flush=True)


def medians(rows: list[dict[str, Any]], name: str, score: str) -> dict[str, dict[int, float]]:
    """Of a set: over seeds, by method and number of calls."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        if row["set"] == name:
            title = f"{row['model']}, {row['method']}" if row["method"] == "map" else row["method"]
            found.setdefault(title, {}).setdefault(int(row["calls"]), []).append(float(row[score]))
    return {title: {n: statistics.median(v) for n, v in points.items()} for title, points in found.items()}


def report(rows: list[dict[str, Any]], budget: Budget, picture: Path) -> str:
    """For each set: the median CRPS over seeds of each method at each number of calls, over that of the ddpm."""
    parts = []
    for name in dict.fromkeys(row["set"] for row in rows):
        median, covered = medians(rows, name, "crps"), medians(rows, name, "coverage_90")
        base = median.get("ddpm", {}).get(100)
        calls = sorted({n for points in median.values() for n in points})
        lines = []
        for title, points in median.items():
            cells = [
                "–" if n not in points else f"{points[n]:.4f}" + (f" ({points[n] / base:.2f})" if base else "")
                for n in calls
            ]
            lines.append([title, *cells])
        columns = [f"{n} calls" for n in calls]
        parts.append(f"\n## {name}\n\n" + table(["CRPS (over ddpm's)", *columns], lines))
        shares = [
            [title, *(f"{points[n]:.2f}" if n in points else "–" for n in calls)] for title, points in covered.items()
        ]
        parts.append("\n" + table(["90 % interval covers", *columns], shares))
    return (
        header("Forecasts in few calls")
        + f"\nForecasters trained for {budget.minutes:g} CPU-minutes by the sets' presets; maps ({budget.objective}) "
        f"of them for {budget.map_minutes:g} more. At most {budget.windows} test windows, guided; medians over seeds. "
        "ddpm: the published guidance, its strength tuned on training windows. teleport: to log-SNR 0 by the windows' "
        "covariance, and the Gaussian integrator from there.\n\n"
        f"![CRPS against calls]({picture.name})\n" + "".join(parts)
    )


def main(
    sets: Annotated[list[str], typer.Option("--set", help="Repeat the option.")] = list(SETS),  # noqa: B006
    seeds: Annotated[list[int], typer.Option("--seed", help="Repeat the option.")] = [0],  # noqa: B006
    cpu_minutes: Annotated[float, typer.Option(help="CPU time of training a forecaster.")] = 6.0,
    map_minutes: Annotated[float, typer.Option(help="CPU time of training its map.")] = 6.0,
    windows: Annotated[int, typer.Option(help="Test windows, evenly spread.")] = 60,
    tuning: Annotated[int, typer.Option(help="Training windows on which the strength of ddpm is tuned.")] = 8,
    objective: Annotated[str, typer.Option(help="Of the map.")] = "lagrangian",
    data: DataFolder = DEFAULT_DATA,
    models: Annotated[Path, typer.Option(help="Where models are kept.")] = Path("runs/series_calls"),
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/series_calls.csv"
    ),
) -> None:
    """Measure what is missing, and write the table."""
    torch.set_num_threads(1)
    budget = Budget(cpu_minutes, map_minutes, windows, tuning, objective, models)
    if min(cpu_minutes, map_minutes) <= 0:
        raise ConfigError(f"cpu_minutes={cpu_minutes}, map_minutes={map_minutes}: need positive times")
    results = Rows(output, KEYS)
    for name in sets:
        loaded = load(name, data)
        for seed in seeds:
            for mapped in (False, True):
                measure(results, loaded, seed, mapped, budget)
                rows, picture = results.read(), output.with_suffix(".png")
                names = dict.fromkeys(row["set"] for row in rows)
                draw_curves({name: medians(rows, name, "crps") for name in names}, picture, "CRPS")
                write_text(output.with_suffix(".md"), report(rows, budget, picture))


if __name__ == "__main__":
    typer.run(main)
