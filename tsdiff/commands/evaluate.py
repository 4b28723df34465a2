"""`tsdiff evaluate`: score trained models on the test windows of an experiment, with either guidance, over seeds."""

from __future__ import annotations

from pathlib import Path

from shared.console.command import claim_output, note, prepare
from shared.errors import ConfigError
from tsdiff.commands.options import Evaluate
from tsdiff.commands.train import experiment_of, read_data, score, train_seed, write_scores
from tsdiff.experiment.experiment import Experiment, ExperimentData
from tsdiff.predictor import TSDiffPredictor


def check_model(predictor: TSDiffPredictor, path: str, data: ExperimentData) -> None:
    """Refuse a model of another frequency, horizon or layout than the data."""
    config, layout = predictor.model.config, data.series.layout
    for name, value, own in (
        ("frequency", config.freq, data.series.freq),
        ("horizon", config.prediction_length, data.prediction_length),
        ("channels", config.channels, max(layout.channels, 1)),
        ("dynamic features", config.dynamic_features, layout.dynamic),
        ("static numbers", config.static_features, layout.reals),
        ("categories", len(config.categories), layout.categories),
    ):
        if value != own:
            raise ConfigError(f"{path}: its {name} is {value}, that of the data {own}; take another model or data")


def main(options: Evaluate) -> None:
    """Score TSDiff on the test windows of a data set, beside the seasonal naive, over seeds."""
    experiment, output, models = experiment_of(options), options.output, options.models
    prepare(experiment.hardware.threads)
    claim_output(output)
    data = read_data(experiment)
    predictors = _given(models, experiment, data) if models else _trained(experiment, data, output, options.retrain)
    name, scored = Path(experiment.data.name).name, []
    energies: list[str | None] = [*options.guidance] if options.guidance else [None]
    for seed, method, predictor, seconds in predictors:
        for energy in energies:
            sampler = predictor if energy is None else predictor.with_sampling(guidance=energy)
            label = method if energy is None else f"{method}, {energy}"
            note(f"{label}, seed {seed}: {sampler.sampling.guidance} guidance")
            scored.append(
                score(sampler, data, experiment.samples, name=name, method=label, seed=seed, train_seconds=seconds)
            )
    write_scores(experiment, data, scored, output)


Named = tuple[int, str, TSDiffPredictor, float | None]


def _given(models: list[str], experiment: Experiment, data: ExperimentData) -> list[Named]:
    """Each model given, sampled as it was saved, once with each seed of the experiment."""
    found: list[Named] = []
    for path in models:
        predictor = TSDiffPredictor.from_pretrained(path, device=experiment.hardware.device)
        check_model(predictor, path, data)
        for seed in experiment.seeds:
            method = "TSDiff" if len(models) == 1 else f"TSDiff {path}"
            found.append((seed, method, predictor.with_sampling(seed=seed), None))
    return found


def _trained(experiment: Experiment, data: ExperimentData, output: Path, retrain: bool) -> list[Named]:
    found: list[Named] = []
    for seed in experiment.seeds:
        place = output if len(experiment.seeds) == 1 else output / f"seed-{seed}"
        found.append((seed, "TSDiff", *train_seed(experiment, data, seed, place, retrain)))
    return found
