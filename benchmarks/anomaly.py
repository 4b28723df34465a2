"""Injected anomalies found by likelihood: the bound, the exact density, simple detectors side by side; their cost.

Example:
    python benchmarks/anomaly.py --data ../shared/data
"""

from __future__ import annotations

import sys
import time
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
from benchmarks.sets import DEFAULT_DATA, load, thinned
from shared.files.io import atomic_path, write_text
from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.commands.anomaly import tail
from tsdiff.commands.options import Anomaly
from tsdiff.data import Entry, split_windows
from tsdiff.estimator import DEFAULT_TRAINING
from tsdiff.tasks.anomaly.detection import (
    DetectionMetrics,
    evaluate_detection,
    rolling_z_scores,
    seasonal_median_scores,
    seasonal_naive_scores,
)
from tsdiff.tasks.anomaly.injection import KINDS, Injected, InjectionConfig, inject
from tsdiff.tasks.anomaly.scores import DEFAULT_SCORING, anomaly_scores
from tsdiff.tasks.likelihood import LikelihoodSettings, window_places

WINDOWS = 56
"""Horizons held out: eight weeks of hours."""

Detector = Callable[[list[Entry]], list[np.ndarray]]


@dataclass(frozen=True)
class Method:
    """A detector by its name, and how many injections it is measured on (None: all)."""

    name: str
    detect: Detector
    seeds: int | None = None


def trained(name: str, entries: list[Entry], freq: str, horizon: int, cache: Path) -> tuple[TSDiffPredictor, float]:
    """The model of an earlier run, or a new one, and the CPU seconds of its training."""
    folder = cache / name
    if (folder / "seconds.txt").is_file():
        return TSDiffPredictor.from_pretrained(folder), float((folder / "seconds.txt").read_text(encoding="utf-8"))
    started = time.process_time()
    estimator = TSDiffEstimator(freq, horizon, training=DEFAULT_TRAINING).with_training(max_steps=Anomaly.steps)
    predictor = estimator.train(entries, progress=False)
    seconds = time.process_time() - started
    predictor.serialize(folder)
    write_text(folder / "seconds.txt", str(seconds))
    return predictor, seconds


def by_likelihood(predictor: TSDiffPredictor, settings: LikelihoodSettings) -> Detector:
    """A detector by the model."""
    return lambda entries: [result.score for result in anomaly_scores(predictor, entries, settings)]


def simple(score: Callable[[np.ndarray], np.ndarray]) -> Detector:
    """A detector of one series at a time."""
    return lambda entries: [score(entry["target"]) for entry in entries]


def methods(predictor: TSDiffPredictor, season: int) -> list[Method]:
    """What is compared."""
    bound = [
        Method(f"bound, to log-SNR {end:g}", by_likelihood(predictor, _bound(end)), None if end == 1 else 1)
        for end in (1.0, 0.0, 2.0, 4.6)
    ]
    exact = LikelihoodSettings(probes=2, stride=predictor.prediction_length)
    return [
        *bound,
        Method("exact density, 2 probes", by_likelihood(predictor, exact), 1),
        Method(f"seasonal naive ({season})", simple(lambda x: seasonal_naive_scores(x, season))),
        Method(f"seasonal naive ({7 * season})", simple(lambda x: seasonal_naive_scores(x, 7 * season))),
        Method(f"seasonal median ({season})", simple(lambda x: seasonal_median_scores(x, season))),
        Method(f"rolling z-score ({2 * season})", simple(lambda x: rolling_z_scores(x, 2 * season))),
    ]


def _bound(log_snr_end: float) -> LikelihoodSettings:
    settings = DEFAULT_SCORING
    return LikelihoodSettings(
        method="elbo", levels=settings.levels, draws=settings.draws, log_snr_end=log_snr_end, probes=settings.probes
    )


def measured(method: Method, injected: list[list[Injected]], held_out: int) -> tuple[list[dict[str, object]], float]:
    """AUROC and average precision by seed and kind, and CPU seconds of scoring one set of series."""
    rows: list[dict[str, object]] = []
    used = injected[: method.seeds]
    started = time.process_time()
    found = [method.detect([series.entry for series in some]) for some in used]
    seconds = (time.process_time() - started) / len(used)
    for seed, (scores, some) in enumerate(zip(found, used, strict=True)):
        for score in scores:
            score[:-held_out] = np.nan
        result: dict[str, DetectionMetrics] = evaluate_detection(scores, some)
        rows += [
            {
                "method": method.name,
                "seed": seed,
                "kind": kind,
                "auroc": m.auroc,
                "auprc": m.auprc,
                "chance": m.prevalence,
            }
            for kind, m in result.items()
        ]
    return rows, seconds


def cost_table(predictor: TSDiffPredictor, entry: Entry) -> str:
    """What a window costs by each way of scoring it, how well the value is known, and how windows rank."""
    length = predictor.model.config.length
    four = tail(entry, 4 * length)
    ways = {
        "exact density, exact trace": LikelihoodSettings(trace="exact"),
        "exact density, 2 probes": LikelihoodSettings(probes=2),
        "exact density, 8 probes": LikelihoodSettings(probes=8),
        "exact density, 32 probes": LikelihoodSettings(probes=32),
        "bound, 16 levels × 2 draws": LikelihoodSettings(method="elbo"),
        "bound, 16 levels × 8 draws": LikelihoodSettings(method="elbo", draws=8),
        "bound as anomalies are scored": DEFAULT_SCORING,
    }
    rows, exact = [], np.zeros(4)
    for name, settings in ways.items():
        started = time.process_time()
        (found,) = predictor.log_likelihood([four], settings, stride=length)
        seconds = (time.process_time() - started) / len(found)
        value = found.network_log_likelihood
        if not rows:
            exact = value
        gap = value - exact
        comparable = settings.log_snr_end is None
        rows.append(
            [
                name,
                f"{value.mean():.1f}",
                f"{found.standard_error.mean():.1f}",
                f"{gap.mean():+.1f}" if comparable else "–",
                f"{gap.std():.1f}" if comparable else "–",
                f"{1000 * seconds:.0f}",
            ]
        )
    head = ["way", "nats a window", "standard error", "gap to exact", "gap's deviation over windows", "CPU ms a window"]
    return table(head, rows)


def report(name: str, frame: pd.DataFrame, seconds: dict[str, float], windows: int) -> str:
    """AUROC / average precision by kind, means over seeds."""
    names = list(dict.fromkeys(frame["method"]))
    means = frame.groupby(["method", "kind"])[["auroc", "auprc", "chance"]].mean()
    rows = []
    for method in names:
        cells = [
            f"{means.loc[(method, k), 'auroc']:.3f} / {means.loc[(method, k), 'auprc']:.3f}" for k in ("all", *KINDS)
        ]
        model = method.startswith(("bound", "exact"))
        cost = f"{1000 * seconds[method] / windows:.1f}" if model else "–"
        rows.append([method, str(frame[frame["method"] == method]["seed"].nunique()), *cells, cost])
    first = means.loc[names[0]]["chance"]
    rows.append(["chance", "", *(f"0.500 / {first[k]:.3f}" for k in ("all", *KINDS)), ""])
    head = ["method", "seeds", *(k.replace("_", " ") for k in ("all", *KINDS)), "CPU ms a window"]
    return f"\n## {name}\n\n" + table(head, rows)


def main(
    data: Annotated[Path, typer.Option(help="Data folder that holds series/.")] = DEFAULT_DATA,
    sets: Annotated[str, typer.Option(help="Comma-separated.")] = "pjm_hourly,nyc_weather_hourly",
    seeds: Annotated[int, typer.Option(help="Injections 0 … n − 1 into the same held-out steps.")] = 3,
    series: Annotated[int, typer.Option(help="Series scored, evenly spread over the set; 0 scores all.")] = 0,
    magnitude: Annotated[float, typer.Option(help="Of the injected anomalies, standard deviations.")] = 1.0,
    cache: Annotated[Path, typer.Option(help="Folder of the trained models.")] = Path("runs/benchmark-anomaly"),
    output: Annotated[Path, typer.Option(help="Markdown file to write; a CSV goes beside it.")] = Path(
        "benchmarks/results/anomaly.md"
    ),
) -> None:
    """Train on each set without its last eight weeks, inject, score, write."""
    torch.set_num_threads(1)
    parts: list[str] = []
    frames: list[pd.DataFrame] = []
    costs = ""
    for name in sets.split(","):
        found = load(name, data)
        split = split_windows(found.train, found.prediction_length, WINDOWS)
        predictor, training = trained(name, split.train, found.freq, found.prediction_length, cache)
        held_out, length = WINDOWS * found.prediction_length, predictor.model.config.length
        every = list(found.train)
        entries = [tail(entry, held_out + length) for entry in thinned(every, series or len(every))]
        windows = sum(len(window_places(len(entry["target"]), length, found.prediction_length)) for entry in entries)
        injected = [inject(entries, InjectionConfig(margin=length, magnitude=magnitude, seed=s)) for s in range(seeds)]
        rows: list[dict[str, object]] = []
        seconds: dict[str, float] = {}
        for method in methods(predictor, found.seasons[0]):
            more, seconds[method.name] = measured(method, injected, held_out)
            rows += more
            print(name, method.name, [r for r in more if r["kind"] == "all"], flush=True)
        frame = pd.DataFrame(rows).assign(set=name)
        frames.append(frame)
        about = (
            f"\n{len(entries)} of {len(every)} series, trained on all {Anomaly.steps} steps in {training:.0f} CPU s; "
            f"{windows} windows scored.\n"
        )
        parts.append(report(name, frame, seconds, windows) + about)
        costs = costs or f"\n## What a window costs ({name}, {length} steps)\n\n" + cost_table(predictor, entries[0])
    put = InjectionConfig()
    text = (
        header("Anomalies by likelihood")
        + f"\nThe last {WINDOWS} horizons of each series are held out of training; up to {put.per_series} anomalies of "
        f"{put.shortest} to {put.longest} steps (spikes: one or two) and magnitude {magnitude:g} are put into "
        "each. AUROC / average precision over steps, each kind against ordinary steps. Windows lie a horizon apart. "
        "CPU times are process times on one thread. Models were trained with the recipe's settings; nothing was "
        "tuned on nyc_weather_hourly.\n"
        + "".join(parts)
        + costs
        + "\nProbes and noise are shared by all windows, so that the gap to the exact value hardly differs between "
        "windows (its deviation), although each value is only known to its standard error.\n"
    )
    write_text(output, text)
    with atomic_path(output.with_suffix(".csv")) as temporary:
        pd.concat(frames).to_csv(temporary, index=False, float_format="%.4f")
    print(text)


if __name__ == "__main__":
    typer.run(main)
