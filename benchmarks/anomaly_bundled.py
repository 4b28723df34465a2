"""Injected anomalies found by the bundled model in series that it never saw: by forecasts, by its bound, by rules.

Example:
    OMP_NUM_THREADS=1 python benchmarks/anomaly_bundled.py
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder, load, thinned
from shared.console.notes import Note
from shared.files.io import write_text
from tsdiff import TSDiffPredictor
from tsdiff.commands.anomaly import tail
from tsdiff.tasks.anomaly.detection import (
    evaluate_detection,
    rolling_z_scores,
    seasonal_median_scores,
    seasonal_naive_scores,
)
from tsdiff.tasks.anomaly.injection import KINDS, Injected, InjectionConfig, inject
from tsdiff.tasks.anomaly.scores import Method, anomaly_scores, scoring

SETS = "m4_hourly,solar_al_tail_hourly,ltsf_etth1,bike_sharing_hourly,ercot_hourly,bdg2_sample_hourly"
HORIZON = 24
BEFORE = 1000
"""Steps before those that anomalies are put into, at most half of a series."""


@dataclass(frozen=True)
class Case:
    """A series with anomalies from some step on, and its set's frequency and season."""

    series: Injected
    freq: str
    season: int
    first: int


Detector = Callable[[Case], np.ndarray]


def by_model(method: Method) -> Detector:
    """The bundled model's."""

    def detect(case: Case) -> np.ndarray:
        predictor = TSDiffPredictor.from_pretrained("default").adapted(case.freq, HORIZON)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)  # of the first steps, which have no score
            return anomaly_scores(predictor, case.series.entry, scoring(method))[0].score

    return detect


def detectors() -> dict[str, Detector]:
    """By name."""
    return {
        "bundled model, by forecasts": by_model("forecast"),
        "bundled model, by its bound": by_model("elbo"),
        "seasonal naive": lambda case: seasonal_naive_scores(case.series.entry["target"], case.season),
        "seasonal median": lambda case: seasonal_median_scores(case.series.entry["target"], case.season),
        "rolling z-score, two seasons": lambda case: rolling_z_scores(case.series.entry["target"], 2 * case.season),
    }


def cases(name: str, data: Path, series: int, scored: int, magnitude: float) -> list[Case]:
    """The end of some series of a set, with anomalies in the last steps, half of a series at most."""
    found = load(name, data)
    made = []
    for whole in thinned(list(found.train), series):
        entry = tail(whole, BEFORE + scored)
        margin = max(len(entry["target"]) - scored, len(entry["target"]) // 2)
        (one,) = inject([entry], InjectionConfig(margin=margin, magnitude=magnitude, per_series=2 * len(KINDS)))
        made.append(Case(one, found.freq, found.seasons[0], margin))
    return made


def measured(detect: Detector, some: list[Case]) -> tuple[dict[str, float], float]:
    """AUROC by kind over the steps that anomalies were put into, and CPU ms of each step of the series."""
    started = time.process_time()
    scores = [detect(case) for case in some]
    spent = 1e3 * (time.process_time() - started) / sum(len(score) for score in scores)
    for score, case in zip(scores, some, strict=True):
        score[: case.first] = np.nan
    found = evaluate_detection(scores, [case.series for case in some])
    return {kind: metrics.auroc for kind, metrics in found.items()}, spent


def main(
    data: DataFolder = DEFAULT_DATA,
    sets: Annotated[str, typer.Option(help="Comma-separated, none of the bundled model's training.")] = SETS,
    series: Annotated[int, typer.Option(help="Of each set, evenly spread.")] = 2,
    scored: Annotated[int, typer.Option(help="Last steps of each that anomalies are put into.")] = 1000,
    magnitude: Annotated[float, typer.Option(help="Of the anomalies, standard deviations.")] = 1.0,
    output: Annotated[Path, typer.Option(help="Markdown file.")] = Path("benchmarks/results/anomaly_bundled.md"),
) -> None:
    """Inject, score, write the table."""
    torch.set_num_threads(1)
    read = {name: cases(name, data, series, scored, magnitude) for name in sets.split(",")}
    rows: list[list[str]] = []
    for name, detect in detectors().items():
        made = {place: measured(detect, some) for place, some in read.items()}
        areas = pd.DataFrame({place: areas for place, (areas, _) in made.items()})
        cells = [f"{areas.loc[kind].mean():.3f}" for kind in ("all", *KINDS)]
        own = [f"{areas.loc['all', place]:.3f}" for place in read]
        rows.append([name, *cells, *own, f"{np.mean([cost for _, cost in made.values()]):.2f}"])
        print(*rows[-1], flush=True)
    text = header("Injected anomalies found by the bundled model") + (
        f"\nAUROC over steps, each kind against ordinary steps; chance is .5. Up to {2 * len(KINDS)} anomalies of 6 to "
        f"48 steps (spikes: one or two) and magnitude {magnitude:g} in the last {scored} steps, or half, of "
        f"{sum(len(some) for some in read.values())} series of sets that the model never saw; nothing was chosen by "
        "them. Kinds are means over sets; then all kinds of each set. Forecasts and the seasonal naive know what came "
        "before alone, the others later steps, too.\n\n"
    )
    columns = ["detector", *(kind.replace("_", " ") for kind in ("all", *KINDS)), *read, "CPU ms a step"]
    write_text(output, text + table(columns, rows))


if __name__ == "__main__":
    typer.run(main)
