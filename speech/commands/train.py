"""`speech train`: what a YAML file describes: data, model, objective, training, validation."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.console.command import claim_output, given, interrupted, note, prepare, show, status
from shared.console.tables import json_ready, markdown, rich_table, shown
from shared.devices import first_process
from shared.errors import ConfigError
from shared.files.differences import differences
from shared.files.documents import read_json
from shared.files.io import write_json, write_text
from shared.files.settings import plain, read_yaml, write_yaml
from shared.training.alone import alone
from shared.training.module import LAST_STATE
from speech.commands.common import shared_speech
from speech.commands.options import Train
from speech.training.curves import LABELS, plot_training
from speech.training.fit import (
    LAST_FOLDER,
    LOG_FOLDER,
    MODEL_FOLDER,
    STATE_FOLDER,
    Trained,
    Validation,
    check_training,
    new_model,
    objective_of,
    train,
)
from speech.training.recordings import training_source, validation_set
from speech.training.settings import Experiment, read_experiment
from speech.training.terms import SpeechObjective

_SETTINGS, _RESULTS, _TOLD, _PICTURE = "experiment.yaml", "metrics.json", "metrics.md", "curves.png"
_MAY_CHANGE = ("hardware", "max_minutes", "validation")
_MAY_CHANGE_OF_TRAINING = ("max_steps", "save_every_seconds", "num_workers", "compile", "accumulate")


def main(options: Train) -> None:
    """Train a speech model as a YAML file says; the best weights on whole validation files are kept."""
    experiment, output = _experiment(options), options.output
    SpeechObjective(experiment.objective)  # before the work, for what it refuses
    if options.is_together:
        from shared.scale.training import command_on_ray

        command_on_ray(main, options, experiment.hardware.device.startswith("cuda"))
        return
    check_training(experiment)
    prepare(experiment.hardware.threads)
    claim_output(output)
    folder = Path(experiment.data.folder) if experiment.data.folder is not None else shared_speech()
    model = new_model(experiment)
    objective_of(experiment, model)  # for what it refuses, before --retrain removes an earlier training
    with status("reading the data"):
        source = training_source(experiment, folder, model.frame_multiple)
        recordings = validation_set(experiment, folder)
    _claim_state(experiment, output, options.retrain)
    before = _steps_before(output)
    if (output / STATE_FOLDER / LAST_STATE).is_file() and first_process():
        note(f"going on with the training in {output / STATE_FOLDER}")
    started = time.perf_counter()
    try:
        trained = train(experiment, source, recordings, output)
    except KeyboardInterrupt as stop:
        raise interrupted(stop) from None
    if first_process():  # of several that trained together, only the first reports
        if trained.steps == before:
            note(f"its {before} steps were taken before, and none was left; more --steps or --max-minutes train on")
        _report(experiment, trained, Validation(recordings, experiment), output, time.perf_counter() - started)


def _experiment(options: Train) -> Experiment:
    """The experiment with what the options say instead."""
    experiment = read_experiment(options.config, options.changes or (), options.hardware)
    if options.data is not None:
        experiment = replace(experiment, data=replace(experiment.data, folder=str(options.data)))
    experiment = replace(
        experiment,
        training=replace(experiment.training, **given(max_steps=options.steps, seed=options.seed)),
        **given(max_minutes=options.minutes, start_from=options.start_from),
    )
    if options.threads is not None:
        experiment = replace(experiment, hardware=replace(experiment.hardware, threads=options.threads))
    return experiment


def _claim_state(experiment: Experiment, output: Path, retrain: bool) -> None:
    """Go on only with a training of the same settings; make way for a new one where the user says so."""
    if not first_process():
        if retrain:  # which the first may not have come to yet
            (output / STATE_FOLDER / LAST_STATE).unlink(missing_ok=True)
        return
    mark, wanted = output / STATE_FOLDER / "fingerprint.json", _fingerprint(experiment)
    if retrain:
        with alone(output / STATE_FOLDER):
            for name in (STATE_FOLDER, MODEL_FOLDER, LAST_FOLDER, LOG_FOLDER):
                shutil.rmtree(output / name, ignore_errors=True)
            for name in (_RESULTS, _TOLD, _PICTURE):  # or a new one that is stopped would seem to have these
                (output / name).unlink(missing_ok=True)
    elif mark.is_file() and read_json(mark) != wanted:
        raise ConfigError(
            f"{output} holds a training with other settings ({_told_other(output, experiment)}); choose another "
            "--output, or --retrain to replace it"
        )
    write_json(mark, wanted)
    write_text(output / _SETTINGS, write_yaml(experiment))


def _steps_before(output: Path) -> int | None:
    """Steps of the training in `output` that goes on, if it came to an end."""
    ended = (output / STATE_FOLDER / LAST_STATE).is_file() and (output / _RESULTS).is_file()
    return read_json(output / _RESULTS).get("steps") if ended else None


def _fingerprint(experiment: Experiment) -> str:
    """Of the settings without which a training cannot go on."""
    return hashlib.sha256(json.dumps(_deciding(plain(experiment)), sort_keys=True).encode()).hexdigest()


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without which a training cannot go on."""
    values = {name: value for name, value in settings.items() if name not in _MAY_CHANGE}
    training = {name: value for name, value in values["training"].items() if name not in _MAY_CHANGE_OF_TRAINING}
    return {**values, "training": training}


def _told_other(output: Path, experiment: Experiment) -> str:
    """In which settings the training in `output` differs; where its file does not tell, that file."""
    try:
        before = read_yaml(output / _SETTINGS)
    except ConfigError:
        before = {}
    told = differences(_deciding(before), _deciding(plain(experiment))) if "training" in before else ""
    return told or str(output / _SETTINGS)


def _report(experiment: Experiment, trained: Trained, validation: Validation, output: Path, seconds: float) -> None:
    """Leave metrics.json, metrics.md and curves.png in `output`, and print the table."""
    noisy = validation.noisy() if validation.recordings else {}
    parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    scores = validation(trained.model, 0) if validation.recordings else {}
    if validation.refused:
        note(f"the trained network has no scores, for a result of it cannot be right: {validation.refused}")
    spent = float(trained.losses[-1]["seconds"]) if trained.losses else seconds
    result: dict[str, Any] = {
        "noisy": json_ready(noisy),
        "enhanced": json_ready({name: value for name, value in (trained.best or scores).items() if name != "step"}),
        "best_step": int(trained.best["step"]) if trained.best else None,
        "steps": trained.steps,
        "nfe": validation.nfe,
        "files": len(validation.recordings),
        "parameters": parameters,
        "seconds": {"train": spent},
        "checks": [json_ready(row) for row in trained.checks],
    }
    write_json(output / _RESULTS, result)
    write_text(output / _TOLD, _markdown(experiment, result))
    plot_training(trained.losses, trained.checks, noisy, output / _PICTURE)
    if lacking := [LABELS[score] for score, value in noisy.items() if not math.isfinite(value)]:
        note(
            f"none of the noisy recordings of validation has a score by {', '.join(lacking)}: they are silent, too "
            "short or their own targets"
        )
    if noisy:
        title = f"{len(validation.recordings)} validation files, {validation.nfe} network calls each"
        show(rich_table(*_table(result), title=title))
    show(f"model: {output / MODEL_FOLDER}; results: {output}/")


def _markdown(experiment: Experiment, result: dict[str, Any]) -> str:
    title = (
        f"# Training for {experiment.task}: {result['steps']} steps, {result['seconds']['train']:.0f} s, "
        f"{result['parameters']} parameters\n\n"
    )
    if not result["files"]:
        return f"{title}No validation files; the weights are those of the last step.\n"
    step = result["best_step"]
    best = f"the best weights by {experiment.validation.monitor} are those of step {step}"
    told = best if step is not None else "the weights are those of the last step"
    return (
        f"{title}{result['files']} validation files; {told}; {result['nfe']} network calls a file.\n\n"
        f"{markdown(*_table(result))}"
    )


def _table(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The heading of the table of scores, and its rows."""
    scores, kinds = list(result["noisy"]), ("noisy", "enhanced")
    rows = [[kind, *(shown(result[kind].get(score), ".3f") for score in scores)] for kind in kinds]
    return ["", *(LABELS[score] for score in scores)], rows
