"""`tsdiff synthesize`: train (or reuse) a model, draw a synthetic data set, and report what it is worth."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from shared.console.command import claim_output, note, prepare, show, show_lines, status
from shared.console.progress import track
from shared.console.tables import markdown
from shared.errors import ConfigError, DataError
from shared.files.io import write_csv, write_json, write_text
from tsdiff.commands.common import predictor_for, window_to_train
from tsdiff.commands.job import Job, load_job
from tsdiff.commands.options import Synthesize
from tsdiff.data import Entry
from tsdiff.model.model import TSDiff
from tsdiff.tasks.synthesis import (
    DOWNSTREAM_MODELS,
    Downstream,
    Realism,
    SynthesisConfig,
    count_windows,
    downstream_frame,
    downstream_table,
    enough_parts,
    gaussian,
    phase_randomised,
    plot_realism,
    real_windows,
    realism,
    realism_frame,
    realism_table,
    save_series,
    synthesize,
    train_on_synthetic,
)
from tsdiff.tasks.synthesis.discriminator import SMALLEST, Classifier, learning

_OURS = "TSDiff"


@dataclass(frozen=True)
class Comparison:
    """Windows to compare, as many of each: real ones, other real ones, and by name what stands beside them."""

    real: list[Entry]
    others: list[Entry]
    made: dict[str, list[Entry]]

    @property
    def classifiers(self) -> tuple[Classifier, ...]:
        """Those of the realism report; none where the real windows are all of one stretch of time."""
        return get_args(Classifier) if len({str(window["source"]) for window in self.real}) > 1 else ()


def real_pair(job: Job, length: int, wanted: int) -> tuple[list[Entry], list[Entry]]:
    """Two sets of real training windows, no window in both; at most `wanted` each.

    Few series are cut into parts, so that the classifiers have stretches of time they have not seen; series too short
    for that stay whole.
    """
    train = job.split.train
    for parts in dict.fromkeys((enough_parts(train), 1)):
        count = min(wanted, count_windows(train, length, parts) // 2)
        if count >= SMALLEST:
            break
    else:
        found = count_windows(train, length)
        remedy = (
            "shorten --context-length," if job.model is None else "leave --model out, to train one of shorter windows,"
        )
        raise DataError(
            f"the series have {found} different windows of {length} steps without missing values; "
            f"a comparison needs {2 * SMALLEST}: {remedy} give longer series, or "
            "fill their gaps first (tsdiff impute)"
        )
    if count < wanted:
        note(f"{count} windows are compared, the series have no more")
    windows = real_windows(train, length, 2 * count, parts=parts)
    if not any(np.ptp(window["target"]) for window in windows[:count]):
        raise DataError(f"all {count} real windows are constant; there is nothing to learn or to compare")
    return windows[:count], windows[count:]


def draw(
    model: TSDiff, job: Job, n: int, settings: SynthesisConfig, output: Path, csv: bool, keep: int
) -> tuple[list[Entry], float]:
    """Draw n windows into files, one batch at a time; the first `keep` of them, and the seconds it took."""
    kept: list[Entry] = []
    if not csv:
        (output / "synthetic.csv").unlink(missing_ok=True)  # of an earlier run

    def keeping(stream: Iterable[Entry]) -> Iterator[Entry]:
        for entry in stream:
            if len(kept) < keep:
                kept.append(entry)
            yield entry

    started = time.perf_counter()
    stream = track(synthesize(model, n, job.split.train, settings), "drawing windows", "windows", total=n)
    save_series(
        keeping(stream),
        parquet_path=output / "synthetic.parquet",
        csv_path=output / "synthetic.csv" if csv else None,
        gluonts_folder=output / "synthetic",
        prediction_length=job.prediction_length,
        categories=model.config.categories,
        stamp=job.series.stamp,
        origin=job.series.origin,
    )
    return kept, time.perf_counter() - started


def compared(windows: Comparison, seed: int) -> dict[str, Realism]:
    """The realism report of each set, of other real windows first."""
    sets = {"other real windows": windows.others, **windows.made}
    return {
        name: realism(windows.real, made, classifiers=windows.classifiers, seed=seed)
        for name, made in track(sets.items(), "comparing", "sets", total=len(sets))
    }


def write_report(
    output: Path, looks: dict[str, Realism], worth: Sequence[Downstream], about: dict[str, Any], title: str
) -> None:
    """Leave tables, picture and metrics.json in `output`."""
    quantiles = looks[_OURS].quantiles().round(4)
    cells = ([f"{row.quantile:g}", f"{row.real:.4g}", f"{row.synthetic:.4g}"] for row in quantiles.itertuples())
    text = (
        f"# {title}\n\n## How real the windows look\n\n"
        "Each window is divided by its mean absolute value (the scales are compared apart). KS and W₁ are the "
        "Kolmogorov–Smirnov and Wasserstein distances to real windows, excursions are how long windows stay on one "
        "side of the real ones' median (W₁ of the logarithm), AUROC is how well a classifier tells the "
        "windows from real ones of stretches it has not seen: 0.5 cannot, 1 always can.\n\n"
        f"{realism_table(looks)}\n"
        "## What they are worth\n\nTrained on the windows, scored on the held-out real ones. The linear model's CRPS "
        f"is the Linear Predictive Score.\n\n{downstream_table(worth)}\n"
        f"## Quantiles of the scaled values\n\n{markdown(['quantile', 'real', 'TSDiff'], cells)}"
    )
    write_text(output / "realism.md", text)
    write_csv(output / "realism.csv", realism_frame(looks))
    write_csv(output / "downstream.csv", downstream_frame(worth))
    plot_realism(looks[_OURS], output / "realism.png", title=title, name=_OURS)
    metrics = {
        **about,
        "linear_predictive_score": {r.trained_on: r.metrics.as_dict()["crps"] for r in worth if r.model == "linear"},
        "realism": {name: report.as_dict() for name, report in looks.items()},
        "downstream": [
            {
                "model": row.model,
                "trained_on": row.trained_on,
                **row.metrics.as_dict(),
                "seconds": round(row.seconds, 2),
            }
            for row in worth
        ],
    }
    write_json(output / "metrics.json", metrics)


def chosen_models(models: str) -> list[str]:
    """The downstream models that --models names, the linear one always and first."""
    named = [name.strip() for name in models.split(",") if name.strip()]
    for name in named:
        if name not in DOWNSTREAM_MODELS:
            raise ConfigError(f"--models {name}: choose some of {', '.join(DOWNSTREAM_MODELS)}")
    return list(dict.fromkeys([DOWNSTREAM_MODELS[0], *named]))


def main(options: Synthesize) -> None:
    """Draw a synthetic data set; report how real it looks and what a forecaster learns from it."""
    prepare(options.threads)
    output, n, seed = options.output, options.n, options.seed_or_zero
    chosen = chosen_models(options.models)
    settings = SynthesisConfig(steps=options.sampling_steps, seed=seed, nonnegative=options.nonnegative)
    for name, value in (("--n", n), ("--compare", options.compare)):
        if value < SMALLEST:
            raise ConfigError(f"{name} {value}: need at least {SMALLEST} windows to compare")
    learning("metrics")  # before the work, for what it refuses
    claim_output(output)
    job = load_job(options)
    given = None if job.model is None else predictor_for(job, options)
    length = window_to_train(job, options) if given is None else given[0].model.config.length
    real, others = real_pair(job, length, min(n, options.compare))  # before a training, for what it refuses
    predictor, train_seconds = given or predictor_for(job, options)
    made, draw_seconds = draw(predictor.model, job, n, settings, output, options.csv, len(real))
    beside = {
        _OURS: made,
        "Gaussian surrogate": gaussian(real, context_length=predictor.model.config.context_length, seed=seed),
        "phase-randomised": phase_randomised(real, seed=seed),
    }
    looks = compared(Comparison(real, others, beside), seed)
    for line in dict.fromkeys(line for report in looks.values() for line in report.notes):
        note(line)
    with status(f"training {', '.join(chosen)} on real and on synthetic windows"):
        worth = train_on_synthetic(
            real,
            beside,
            job.split.test,
            job.series.freq,
            job.prediction_length,
            models=chosen,
            cpu_minutes=options.cpu_minutes,
            seed=seed,
        )
    about = {
        "windows": n,
        "compared": len(real),
        "length": length,
        "nfe": options.sampling_steps,
        "seconds": {"train": round(train_seconds, 2), "synthesize": round(draw_seconds, 2)},
    }
    write_report(output, looks, worth, about, f"{n} synthetic windows of {length} steps")
    show_lines(realism_table(looks))
    show_lines(downstream_table(worth))
    tables = "synthetic.parquet, synthetic.csv" if options.csv else "synthetic.parquet"
    reports = "realism.md, realism.csv, realism.png, downstream.csv, metrics.json"
    show(f"results: {output}/ ({tables}, synthetic/ in GluonTS's layout, {reports})")
