"""`tsdiff refine`: forecasts of simple forecasters, refined by a model's energy, scored before and after."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import Forecast

from shared.console.command import claim_output, note, prepare, show, status
from shared.errors import ConfigError, DataError, counted
from shared.files.io import write_csv, write_json, write_text
from tsdiff.baselines import BASELINE_NAMES, train_baseline
from tsdiff.baselines.named import check_installed
from tsdiff.commands.common import predictor_for
from tsdiff.commands.job import Job, load_job
from tsdiff.commands.options import Refine
from tsdiff.data import split_windows
from tsdiff.evaluation.metrics import Metrics, evaluate, forecasts_to_frame, metrics_table, rich_metrics_table
from tsdiff.evaluation.pairs import Pair
from tsdiff.evaluation.plots import plot_forecasts
from tsdiff.predictor import TSDiffPredictor
from tsdiff.tasks.refinement import RefineConfig, candidates, choose_refinement
from tsdiff.tasks.refinement.tuning import TOLERANCE

_TITLES = {"seasonal_naive": "seasonal naive", "auto_ets": "AutoETS", "deepar": "DeepAR", "patchtst": "PatchTST"}
_CHOICE_SAMPLES = 20


def base_forecasts(name: str, entries: Any, job: Job, pairs: Sequence[Pair], samples: int, seed: int) -> list[Forecast]:
    """What a baseline that is trained on `entries` forecasts for each pair."""
    predictor = train_baseline(name, entries, job.series.freq, job.prediction_length, num_samples=samples, seed=seed)
    return list(predictor.predict([past for past, _ in pairs]))


def chosen_config(name: str, job: Job, predictor: TSDiffPredictor, config: RefineConfig) -> RefineConfig | None:
    """Noise level and strength of the prior that do best on the last horizon of the training series; None where the
    base forecast as it is does nearly as well or better there."""
    earlier = split_windows(job.split.train, job.prediction_length)
    pairs = list(earlier.test)
    base = base_forecasts(name, earlier.train, job, pairs, _CHOICE_SAMPLES, config.seed)
    few = replace(config, num_samples=_CHOICE_SAMPLES)
    best, scores = choose_refinement(predictor.model, base, pairs, candidates(few), refine=predictor.refine)
    if evaluate(base, pairs).crps <= (1 + TOLERANCE) * min(scores.values()):
        return None
    return replace(best, num_samples=config.num_samples)


def check_choice(job: Job) -> None:
    """See before the work whether the last horizon of the training series tells one refinement from another.

    Raises:
        DataError: all of it is 0 or missing; see also `split_windows`.
    """
    labels = [label["target"] for _, label in split_windows(job.split.train, job.prediction_length).test]
    if not any(np.nan_to_num(label).any() for label in labels):
        raise DataError(
            f"--choose scores on the last {job.prediction_length} steps of the training series, of which none is other "
            "than 0 or missing, so that no CRPS is defined; leave it out, or hold out more with --windows"
        )


@dataclass(frozen=True)
class Refined:
    """Forecasts of a baseline before and after refinement.

    Attributes:
        used: how they were refined; None where they are left as they are.
        seconds: that forecasting ("base") and refining ("refine") took.
    """

    before: list[Forecast]
    after: list[Forecast]
    used: RefineConfig | None
    seconds: dict[str, float]

    def scores(self, before: Metrics, after: Metrics) -> dict[str, Any]:
        """What metrics.json holds of them."""
        return {
            "before": before.as_dict(),
            "after": after.as_dict(),
            "log_snr": None if self.used is None else self.used.log_snrs[-1],
            "prior_scale": None if self.used is None else self.used.prior_scale,
            "seconds": self.seconds,
        }


def refined(
    name: str,
    title: str,
    job: Job,
    pairs: Sequence[Pair],
    predictor: TSDiffPredictor,
    config: RefineConfig,
    choose: bool,
) -> Refined:
    """Forecast with a baseline, and refine the forecasts."""
    started = time.perf_counter()
    with status(f"forecasting with {title}"):
        before = base_forecasts(name, job.split.train, job, pairs, config.num_samples, config.seed)
    between = time.perf_counter()
    with status(f"refining the forecasts of {title}"):
        used = chosen_config(name, job, predictor, config) if choose else config
        after = before if used is None else list(predictor.refine(before, [past for past, _ in pairs], used))
    if used is None:
        note(
            f"{title} is left as it is: on the training series' last horizon no refinement has a CRPS lower by more "
            f"than {TOLERANCE:.0%}"
        )
    taken = {"base": round(between - started, 2), "refine": round(time.perf_counter() - between, 2)}
    return Refined(before, after, used, taken)


def draw(
    before: Sequence[Forecast], after: Sequence[Forecast], pairs: Sequence[Pair], title: str, path: Path, job: Job
) -> None:
    """Two series, each before refinement and after."""
    latest = {str(label.get("item_id", place)): place for place, (_, label) in enumerate(pairs)}
    places = list(latest.values())
    shown = [places[0], places[-1]] if len(places) > 1 else places
    forecasts, windows = [], []
    for place in shown:
        past, label = pairs[place]
        for what, forecast in (("before", before[place]), ("refined", after[place])):
            forecasts.append(forecast)
            windows.append((past, {**label, "item_id": f"{label.get('item_id', place)}, {what}"}))
    plot_forecasts(forecasts, windows, path, title=title, stamp=job.series.stamp)


def chosen_bases(options: Refine) -> list[str]:
    """The baselines to refine, each once.

    Raises:
        ConfigError: there is none of that name.
        MissingPackageError: it needs a package that is not there.
    """
    names = list(dict.fromkeys(options.base or ("seasonal_naive", "linear")))
    for name in names:
        if name not in BASELINE_NAMES:
            raise ConfigError(f"--base {name}: take one of {', '.join(BASELINE_NAMES)}")
        check_installed(name)
    return names


def check_reach(job: Job, predictor: TSDiffPredictor, options: Refine) -> None:
    """Raise ConfigError if the model refines other numbers of steps than are to be forecast."""
    reach = predictor.config.prediction_length
    if reach != job.prediction_length:
        remedy = "another model" if options.chosen else "--retrain, which trains a model for them"
        raise ConfigError(
            f"{job.model} refines {reach} steps, not {job.prediction_length}: give --prediction-length {reach}, or "
            f"{remedy}"
        )


def main(options: Refine) -> None:
    """Refine the forecasts of simple forecasters by a model's energy; score before and after."""
    prepare(options.threads)
    output = options.output
    names = chosen_bases(options)
    config = RefineConfig(
        options.method,
        options.prior,
        options.prior_scale,
        log_snrs=(options.log_snr,),
        steps=options.refine_steps,
        num_samples=options.samples,
        seed=options.seed_or_zero,
    )
    claim_output(output)
    job = load_job(options)
    if options.choose:
        check_choice(job)
    predictor, seconds = predictor_for(job, options)
    check_reach(job, predictor, options)
    pairs = list(job.split.test)
    rows: dict[str, Metrics] = {}
    scores: dict[str, Any] = {}
    frames: list[pd.DataFrame] = []
    for name in names:
        title = _TITLES.get(name, name)
        try:
            made = refined(name, title, job, pairs, predictor, config, options.choose)
        except DataError as error:
            if options.base or (name == names[-1] and not rows):
                raise
            note(f"{title} is left out: {error}")  # nobody asked for it by name
            continue
        before, after = evaluate(made.before, pairs), evaluate(made.after, pairs)
        rows[title], rows[f"{title}, refined"] = before, after
        scores[name] = made.scores(before, after)
        frames.append(forecasts_to_frame(made.after, stamp=job.series.stamp).assign(base=name))
        frames[-1]["actual"] = [value for _, label in pairs for value in label["target"]]
        draw(made.before, made.after, pairs, f"{title}, before and after", output / f"{name}.png", job)
    for name in set(BASELINE_NAMES) - set(scores):  # of an earlier run
        (output / f"{name}.png").unlink(missing_ok=True)
    steps = counted(job.prediction_length, "step")
    show(rich_metrics_table(rows, title=f"{counted(len(pairs), 'window')} of {steps}"))
    for line in sorted({line for one in rows.values() for line in one.notes}):
        note(line)
    write_text(output / "metrics.md", metrics_table(rows))
    write_csv(output / "refined.csv", job.series.origin.restored(pd.concat(frames, ignore_index=True)))
    metrics = {"bases": scores, "method": config.method, "prior": config.prior, "seconds": {"train": round(seconds, 2)}}
    write_json(output / "metrics.json", metrics)
    pictures = ", ".join(f"{name}.png" for name in scores)
    show(f"results: {output}/ ({pictures}, refined.csv, metrics.json, metrics.md)")
