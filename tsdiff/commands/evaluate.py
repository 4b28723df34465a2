"""`tsdiff evaluate`: score trained models on the test windows of an experiment, with either guidance, over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.console.command import claim_output, note, prepare
from shared.errors import ConfigError
from shared.files.settings import change
from tsdiff.commands.matching import match_features
from tsdiff.commands.options import Evaluate
from tsdiff.commands.train import Named, experiment_of, read_data, score, trained, write_scores
from tsdiff.experiment.experiment import Experiment, ExperimentData
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling


def check_model(predictor: TSDiffPredictor, path: str, data: ExperimentData) -> None:
    """Refuse a model of another frequency or number of channels than the data, or of other features; see
    `match_features`."""
    config, layout = predictor.model.config, data.series.layout
    for name, value, own in (
        ("frequency", config.freq, data.series.freq),
        ("number of channels", config.channels, max(layout.channels, 1)),
    ):
        if value != own:
            raise ConfigError(f"{path}: its {name} is {value}, that of the data {own}; take another model or data")
    match_features(path, predictor, data.series.layout, ("--set data.dynamic=…", "--set data.static=…"))


_OF_TRAINING = ("preset", "model", "loss", "flow_map", "start_from", "training", "tuning")
"""Settings of an experiment that a model which is there has no use for."""


def changed_sampling(changes: Sequence[str], experiment: Experiment) -> dict[str, Any]:
    """The settings of the sampling that --set gives, for models that keep those they were saved with for the rest; says
    which of the other settings have no part in what is scored."""
    sections = [change(text) for text in changes]
    unused = [text for text, section in zip(changes, sections, strict=True) if set(section) & {*_OF_TRAINING}]
    if unused:
        note(f"--set {', '.join(unused)}: of trainings, and not used with --model")
    return {name: getattr(experiment.sampling, name) for one in sections for name in one.get("sampling", ())}


def main(options: Evaluate) -> None:
    """Score TSDiff on the test windows of a data set, beside the seasonal naive, over seeds."""
    experiment, output, models = experiment_of(options), options.output, list(dict.fromkeys(options.models or ()))
    energies = list(dict.fromkeys(options.guidance or ()))
    for given in energies:
        Sampling(guidance=given)  # before a training, for what it refuses
    prepare(experiment.hardware.threads)
    claim_output(output)
    sampling = changed_sampling(options.changes or (), experiment) if models else {}
    data = read_data(experiment, models[0] if models else None)
    scored = []
    found = _given(models, experiment, data, sampling) if models else None
    for made in found or trained(experiment, data, output, options.retrain):
        seed, method, predictor, seconds = made
        conditional = predictor.config.conditional
        if conditional and energies:
            note(f"{method}, seed {seed}: the model is told the past and takes no guidance; --guidance is left out")
        wanted: list[str | None] = [] if conditional else [*energies]
        for energy in wanted or [None]:
            used = predictor if energy is None else predictor.with_sampling(guidance=energy)
            label = method if energy is None else f"{method}, {energy}"
            note(f"{label}, seed {seed}: {'no' if conditional else used.sampling.guidance} guidance")
            scored.append(score(experiment, data, (seed, label, used, seconds)))
    write_scores(experiment, data, scored, output)


def _given(
    models: list[str], experiment: Experiment, data: ExperimentData, sampling: Mapping[str, Any]
) -> Iterator[Named]:
    """Each model given, sampled as it was saved but for `sampling`, once with each seed of the experiment.

    All are read before the first is scored: one that cannot be used is refused before the work.
    """
    read, freq, steps = list[tuple[str, TSDiffPredictor]](), data.series.freq, data.prediction_length
    for path in models:
        predictor = TSDiffPredictor.from_pretrained(path, device=experiment.hardware.device)
        reaching = predictor.adapted(freq, steps) if predictor.config.awaits_freq else predictor.with_horizon(steps)
        check_model(reaching, path, data)
        read.append((path, reaching))
    for path, predictor in read:
        for seed in experiment.seeds:
            drawn = predictor.with_sampling(**{**sampling, "seed": seed})
            yield seed, "TSDiff" if len(models) == 1 else f"TSDiff {path}", drawn, None
