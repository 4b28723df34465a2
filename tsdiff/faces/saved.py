"""What a forecaster's folder holds besides its model: its kind, the settings of its sampling, and its horizon."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gluonts.core import fqname_for
from gluonts.model.predictor import Predictor

from shared.errors import CheckpointError
from shared.files import checkpoint
from shared.files.checkpoint import WEIGHTS
from shared.files.documents import read_json
from shared.files.io import write_json
from shared.files.settings import dataclass_from
from tsdiff.model.beside import AUTO, ENSEMBLE, HORIZON, KIND, SAMPLING, parts_of
from tsdiff.model.model import TSDiff
from tsdiff.sampling.settings import Sampling

_SEVERAL = {AUTO: "tsdiff.automatic.AutoPredictor", ENSEMBLE: "tsdiff.ensemble.EnsemblePredictor"}
_MOST_STEPS = 10**6
"""A saved horizon beyond this is damage."""


def write_kind(folder: Path, predictor: Predictor) -> None:
    """Write what GluonTS knows a kind of forecaster by, as its `Predictor.serialize` does, which empties the old file
    before it has written the new one."""
    told = {"model": predictor.__version__, "gluonts": version("gluonts"), "type": fqname_for(type(predictor))}
    write_json(folder / KIND, told)


def write_settings(folder: Path, sampling: Sampling, prediction_length: int, model: TSDiff | None = None) -> None:
    """Write them beside the model, and what its table called covariates and categories where that is known."""
    write_json(folder / SAMPLING, asdict(sampling))
    about: dict[str, Any] = {"prediction_length": prediction_length}
    if model is not None and model.covariate_names:
        about["covariates"] = model.covariate_names
    if model is not None and model.static_names:
        about["numbers"] = model.static_names
    if model is not None and model.vocabulary:
        about["categories"] = model.vocabulary
    write_json(folder / HORIZON, about)


def replacing(folder: Path, own: str = WEIGHTS) -> AbstractContextManager[Path]:
    """Yield an empty folder, to write a forecaster in, of which `own` is the file that tells of it; at the end it takes
    the place of the one in `folder`, of whatever kind: see `shared.files.checkpoint.replacing`."""
    return checkpoint.replacing(folder, own, _SEVERAL, partial(parts_of, folder))


def refuse_several(folder: Path) -> None:
    """Raise CheckpointError for a folder of several forecasters, where that of one model is read."""
    for name, reader in _SEVERAL.items():
        if (folder / name).is_file() and not (folder / WEIGHTS).is_file():
            raise CheckpointError(
                f"{folder} holds several forecasters that forecast as one, and {reader}.from_pretrained reads it; give "
                "the folder of one model"
            )


def read_sampling(folder: Path, custom: Sequence[type] = ()) -> Sampling | None:
    """The settings of the sampling; None where the folder has none.

    Raises:
        CheckpointError: damaged.
    """
    path = folder / SAMPLING
    return dataclass_from(Sampling, _read(path), str(path), custom=custom) if path.is_file() else None


def read_horizon(folder: Path) -> int | None:
    """Steps to forecast; None where the folder does not tell, as older ones do not.

    Raises:
        CheckpointError: damaged.
    """
    path = folder / HORIZON
    if not path.is_file():
        return None
    steps = _read(path).get("prediction_length")
    if type(steps) is not int or not 1 <= steps <= _MOST_STEPS:
        raise CheckpointError(
            f"{path}: prediction_length={steps!r} is no number of steps from 1 to {_MOST_STEPS}; "
            "delete it to take the model's"
        )
    return steps


def read_names(folder: Path, model: TSDiff) -> None:
    """Tell a model what its table called covariates and categories, where the folder does.

    Raises:
        CheckpointError: damaged.
    """
    path = folder / HORIZON
    about = _read(path) if path.is_file() else {}
    config, categories = model.config, about.get("categories", {})
    for key, count in (("covariates", config.dynamic_features), ("numbers", config.static_features)):
        if not _texts(names := about.get(key, [])) or len(names) not in (0, count):
            raise CheckpointError(
                f"{path}: {key}={names!r} are not the names of the {count} that the model takes; delete them, and "
                "their order is not checked"
            )
    sizes = config.categories
    known = isinstance(categories, dict) and all(_texts(words) for words in categories.values())
    met = known and len(categories) in (0, len(sizes))  # a model may have room for more values than its table had
    if not met or any(len(words) > size for words, size in zip(categories.values(), sizes, strict=False)):
        raise CheckpointError(
            f"{path}: categories={categories!r} are not the values of categories of sizes {list(sizes)}, which the "
            "model takes; delete them, and codes are not checked"
        )
    model.covariate_names, model.static_names = tuple(about.get("covariates", ())), tuple(about.get("numbers", ()))
    model.vocabulary = {name: tuple(words) for name, words in categories.items()}


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(type(one) is str for one in values)


def _read(path: Path) -> dict[str, Any]:
    values = read_json(path, CheckpointError, "delete it to use the defaults")
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object; delete it to use the defaults")
    return values
