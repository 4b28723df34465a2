"""Models that commands train: kept with what they were trained on, so that a second run takes them, or goes on."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer

from shared.console.command import interrupted, note
from shared.devices import first_process
from shared.errors import CheckpointError, ConfigError
from shared.files.checkpoint import WEIGHTS
from shared.files.documents import read_json
from shared.files.io import write_json
from shared.training.config import TrainingConfig
from tsdiff.data.entries import Entry
from tsdiff.estimator import DEFAULT_LOSS, TSDiffEstimator
from tsdiff.faces.saved import read_sampling
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling

_TRAINED_ON = "trained_on.json"
_START = "start_weights"
"""The weights that a training began with, which another training may have replaced since: they have no name in older
files, nor where the folder is gone."""


def fingerprint(entries: Iterable[Entry], estimator: TSDiffEstimator) -> dict[str, Any]:
    """What a trained model depends on: the training data and every setting."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry['item_id']} {entry['start']}".encode())
        for field in ("target", "feat_dynamic_real", "feat_static_cat", "feat_static_real"):
            if entry.get(field) is not None:
                digest.update(np.ascontiguousarray(entry[field]).tobytes())
    return {
        "data": digest.hexdigest(),
        "config": json.loads(json.dumps(asdict(estimator.config))),
        "training": _deciding(estimator.training),
        "batch_size": estimator.batch_size,
        "from_data": [*estimator.from_data],
        **_unusual(estimator),
    }


def _unusual(estimator: TSDiffEstimator) -> dict[str, Any]:
    """The settings of a training that are not as usual; those that are have no name in older files."""
    usual: dict[str, Any] = {
        "flow_map": None,
        "start_from": None,
        "loss": DEFAULT_LOSS,
        "missing": None,
        "scale_power": 0.0,
        "horizon_weight": 1.0,
    }
    told = {name: getattr(estimator, name) for name in usual if getattr(estimator, name) != usual[name]}
    kept = ("start_from", "scale_power", "horizon_weight")
    weights = None if estimator.start_from is None else _weights_of(Path(estimator.start_from))
    return {name: value if name in kept else asdict(value) for name, value in told.items()} | (
        {} if weights is None else {_START: weights}
    )


def _weights_of(folder: Path) -> str | None:
    """What tells the weights of a model from others; None of what is no folder of a model."""
    try:
        with open(folder / WEIGHTS, "rb") as file:
            file.seek(8 + int.from_bytes(file.read(8), "little"))  # past the header, which may be written in any order
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # the second of bytes that are no header
        return None


_WITHOUT_EFFECT = ("num_workers", "save_every_seconds")
"""Settings of a training that change nothing of what it comes to."""


def _deciding(training: TrainingConfig) -> dict[str, Any]:
    """The settings that decide what a training comes to; the number of batches of a step where it is not one, which
    has no name in older files."""
    told = {name: value for name, value in asdict(training).items() if name not in _WITHOUT_EFFECT}
    return told if training.accumulate > 1 else {name: value for name, value in told.items() if name != "accumulate"}


def _same(saved: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether a fingerprint is that one; older files have the settings without effect as well."""
    if not isinstance(saved, dict) or not isinstance(saved.get("training"), dict):
        return False
    training = {name: value for name, value in saved["training"].items() if name not in _WITHOUT_EFFECT}
    start = {} if _START in saved and _START in wanted else {_START: None}
    return {**saved, "training": training, **start} == {**wanted, **start}


def trained_predictor(
    entries: Collection[Entry], estimator: TSDiffEstimator, output: Path, retrain: bool, **fit_options: Any
) -> tuple[TSDiffPredictor, float]:
    """The model of an earlier run, here or in a folder beside, with the same data and settings, or a new one; left in
    `output` with the settings of this run's sampling.

    Args:
        entries: to train on.
        estimator: how.
        output: the folder of this run, where the model goes to "model".
        retrain: train a new one whatever there is.
        fit_options: of `TSDiffEstimator.train`.

    Returns:
        The model, and the seconds of its training.
    """
    wanted = fingerprint(entries, estimator)
    # Two processes may go on with a batch each where one took both, or the other way round.
    of_state = {**wanted, "training": {**wanted["training"], "accumulate": None}}
    key = hashlib.sha256(json.dumps(of_state, sort_keys=True).encode()).hexdigest()[:12]
    folder, state = output / "model", output / f"training-{key}"
    for candidate in () if retrain else (folder, *_beside(output)):
        if (found := _trained_before(candidate, wanted, estimator)) is not None:
            if first_process():
                _leave(found[0], folder, wanted, found[1], same=candidate == folder)
            return found
    from shared.training.module import seconds_of  # loads Lightning

    # An earlier state stays until the training has come to one of its own: it may be refused for its settings.
    before = 0.0 if retrain else seconds_of(state)
    if not retrain and (state / "last.ckpt").is_file():
        note(f"going on with the training in {state}")
    steps = "" if "max_steps" in estimator.from_data else f" for {estimator.training.max_steps} steps"
    note(f"training TSDiff{steps}")
    started = time.perf_counter()
    try:
        predictor = estimator.train(entries, folder=state, resume=not retrain, **fit_options)
    except KeyboardInterrupt as stop:
        raise interrupted(stop) from None
    seconds = before + time.perf_counter() - started
    if not first_process():
        raise typer.Exit(0)  # one of several that trained together; the first goes on
    _leave(predictor, folder, wanted, seconds)
    shutil.rmtree(state, ignore_errors=True)
    return predictor, seconds


def _trained_before(
    folder: Path, wanted: Mapping[str, Any], estimator: TSDiffEstimator
) -> tuple[TSDiffPredictor, float] | None:
    """The model of a folder that was trained on the same, and the seconds that took; None where there is none."""
    try:
        saved = read_json(folder / _TRAINED_ON)
    except ConfigError:
        return None
    if not isinstance(saved, dict) or not _same(saved.get("fingerprint"), wanted):
        return None
    left, there = saved.get("weights"), _weights_of(folder)
    if left != there and None not in (left, there):  # a user may have saved another model there
        note(f"training again: {folder} holds other weights than its training left there")
        return None
    try:
        predictor = TSDiffPredictor.from_pretrained(folder, _sampling_with(folder, estimator), estimator.device)
    except CheckpointError as error:
        note(f"training again: {error}")
        return None
    note(f"using the model trained before, {folder} (--retrain trains a new one)")
    seconds = saved.get("seconds")
    return predictor, float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else 0.0


def _sampling_with(model: Path, estimator: TSDiffEstimator) -> Sampling:
    """This run's sampling, as wide as the training found that the model has to be drawn, if it looked for that."""
    given, saved = estimator.sampling, read_sampling(model)
    if saved is None or given.width != 1 or "max_steps" not in estimator.from_data:
        return given
    return replace(given, width=saved.width)


def _beside(output: Path) -> list[Path]:
    """Folders of models of other runs beside this one: of runs of one seed, and of each seed of those of several."""
    above = [output.parent, output.parent.parent] if output.name.startswith("seed-") else [output.parent]
    return [one for runs in above for kind in ("*/model", "*/seed-*/model") for one in sorted(runs.glob(kind))]


def _leave(
    predictor: TSDiffPredictor, folder: Path, wanted: Mapping[str, Any], seconds: float, same: bool = False
) -> None:
    """Write a model with what it was trained on; `same` says that its weights are in the folder already."""
    if not same:
        (folder / _TRAINED_ON).unlink(missing_ok=True)  # it tells of other weights; should this be stopped, of none
    predictor.serialize(folder)
    told = {"fingerprint": wanted, "weights": _weights_of(folder), "seconds": seconds}
    write_json(folder / _TRAINED_ON, told)
