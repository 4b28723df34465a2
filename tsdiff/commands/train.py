"""`tsdiff train`: what a YAML file describes: data, model, training, tuning, test, once for each seed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gluonts.model.forecast import SampleForecast

from shared.console.command import claim_output, note, prepare, show, status
from shared.console.tables import json_ready
from shared.devices import first_process, started_together
from shared.errors import ConfigError
from shared.files.io import write_json, write_text
from tsdiff.commands.options import ExperimentOptions, Train
from tsdiff.commands.trained import trained_predictor
from tsdiff.data import candidate_seasons
from tsdiff.evaluation.joint import joint_metrics
from tsdiff.evaluation.metrics import best_seasonal_naive, evaluate, rich_metrics_table
from tsdiff.evaluation.plots import plot_forecasts
from tsdiff.evaluation.tables import Result, summary, write_results
from tsdiff.evaluation.tuning import tune
from tsdiff.experiment.experiment import (
    Experiment,
    ExperimentData,
    load_experiment_data,
    read_experiment,
    write_experiment,
)
from tsdiff.predictor import TSDiffPredictor


def experiment_of(options: ExperimentOptions) -> Experiment:
    """The experiment that the options describe."""
    experiment = read_experiment(options.config, options.changes or (), options.hardware)
    if options.folder is not None:
        experiment = replace(experiment, data=replace(experiment.data, folder=str(options.folder)))
    experiment = replace(experiment, seeds=tuple(options.seeds)) if options.seeds else experiment
    for name, seed in (("training", experiment.training.seed), ("sampling", experiment.sampling.seed)):
        if seed not in (0, *experiment.seeds):
            note(
                f"{name}.seed={seed} is not used: seeds={list(experiment.seeds)} are, of training and samples; "
                f"--seed {seed} takes it"
            )
    return experiment


def read_data(experiment: Experiment, model: str | None = None) -> ExperimentData:
    """The data, static categories coded as those of a trained model, if one is named or the training starts from one;
    and what was repaired or left out of it said."""
    model, settings = model or experiment.start_from, experiment.data
    known = TSDiffPredictor.from_pretrained(model).vocabulary if model and settings.static else None
    data = load_experiment_data(settings, known)
    for line in data.series.remarks(data.split.skipped):
        note(line)
    return data


def train_seed(
    experiment: Experiment, data: ExperimentData, seed: int, output: Path, retrain: bool
) -> tuple[TSDiffPredictor, float]:
    """The predictor of one seed, trained or found, tuned where the experiment asks for it; and seconds of training."""
    estimator, windows = experiment.estimator(data, seed), experiment.data.validation_windows
    estimator.check_drawing(experiment.tuning if windows else None)
    predictor, seconds = trained_predictor(data.split.train, estimator, output, retrain, **experiment.fit_options())
    if windows:
        found = tune(predictor, data.series, windows, experiment.tuning, seed=seed, progress=True)
        write_text(output / "tuning.md", found.to_markdown())
        predictor = found.predictor
        predictor.serialize(output / "model")
    else:
        (output / "tuning.md").unlink(missing_ok=True)  # of an earlier run
    return predictor, seconds


Named = tuple[int, str, TSDiffPredictor, float | None]
"""Seed, method, predictor, and seconds of training, where it was trained here."""


@dataclass(frozen=True)
class Scored:
    """Forecasts of the test windows by one predictor, and their scores."""

    forecasts: list[SampleForecast]
    result: Result


def score(experiment: Experiment, data: ExperimentData, made: Named) -> Scored:
    """Forecast the test windows and score them."""
    seed, method, predictor, train_seconds = made
    started = time.perf_counter()
    with status(f"forecasting the test windows, {method}, seed {seed}"):
        forecasts = list(predictor.predict(data.split.test.input, num_samples=experiment.samples))
    seconds = time.perf_counter() - started
    metrics = evaluate(forecasts, data.split.test)
    name = Path(experiment.data.name).name
    return Scored(forecasts, Result(name, method, seed, metrics, train_seconds, seconds, predictor.nfe))


def write_scores(experiment: Experiment, data: ExperimentData, scored: list[Scored], output: Path) -> None:
    """Leave results.csv, results.md, metrics.json, a picture and the settings in `output`."""
    name = Path(experiment.data.name).name
    results = [one.result for one in scored]
    if data.series.layout.channels < 2:
        lag, naive = best_seasonal_naive(data.split.test, candidate_seasons(data.series.freq)[:2])
        results.append(Result(name, f"seasonal naive ({lag})", None, naive))
        plot_forecasts(scored[0].forecasts, data.split.test, output / "forecasts.png", stamp=data.series.stamp)
    else:
        (output / "forecasts.png").unlink(missing_ok=True)  # of an earlier run
    write_results(output, results, f"{name}, {len(scored[0].forecasts)} windows of {data.prediction_length} steps")
    write_text(output / "experiment.yaml", write_experiment(experiment))
    first = scored[0].result
    metrics: dict[str, Any] = {
        "dataset": name,
        "methods": _methods(results),
        "seconds": {"train": first.train_seconds, "predict": first.predict_seconds},
        "nfe": first.nfe,
    }
    if data.series.layout.channels > 1:
        joint = joint_metrics(scored[0].forecasts, data.split.test)
        metrics["joint"] = json_ready({"crps_sum": joint.crps_sum, "energy_score": joint.energy_score})
    write_json(output / "metrics.json", metrics)
    shown = {f"{one.method}, seed {one.seed}" if one.seed is not None else one.method: one.metrics for one in results}
    show(rich_metrics_table(shown, title=name))
    for line in sorted({line for one in results for line in one.metrics.notes}):
        note(line)
    show(f"results: {output}/")


def _methods(results: list[Result]) -> dict[str, Any]:
    """Every score of every method over seeds, ready for JSON."""
    over = summary(results)
    found: dict[str, Any] = {}
    for place, method in enumerate(over.index.get_level_values("method")):
        row = over.iloc[place]
        scores = {
            name: json_ready({kind: row[name, kind] for kind in ("median", "mean", "std")})
            for name in results[0].metrics.as_dict()
        }
        found[str(method)] = {**scores, "seeds": int(row["seeds", "count"])}
    return found


def _refuse_seeds(experiment: Experiment) -> None:
    """Where processes are started for a training, all but the first end with it."""
    if len(experiment.seeds) > 1:
        raise ConfigError(
            f"seeds={list(experiment.seeds)}: processes that are started to train together train one model; start "
            "them once for each --seed"
        )


def trained(experiment: Experiment, data: ExperimentData, output: Path, retrain: bool) -> Iterator[Named]:
    """The predictor of each seed of the experiment, as `train_seed` leaves it."""
    for seed in experiment.seeds:
        place = output if len(experiment.seeds) == 1 else output / f"seed-{seed}"
        yield (seed, "TSDiff", *train_seed(experiment, data, seed, place, retrain))


def main(options: Train) -> None:
    """Train TSDiff as a YAML file says, tune its guidance, score it on the test windows."""
    experiment, output = experiment_of(options), options.output
    if options.is_together:
        _refuse_seeds(experiment)
        from shared.scale.training import command_on_ray

        command_on_ray(main, options, experiment.hardware.device.startswith("cuda"))
        return
    prepare(experiment.hardware.threads)
    claim_output(output)
    if started_together() or experiment.hardware.nodes > 1:
        _refuse_seeds(experiment)
    data = read_data(experiment)
    found = trained(experiment, data, output, options.retrain)
    scored = [score(experiment, data, made) for made in found if first_process()]
    if first_process():  # of several that train together, only the first reports
        write_scores(experiment, data, scored, output)
