"""What `TSDiffEstimator.train` is given besides settings: options for Lightning, and fields that nothing is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.console.notes import tell
from shared.errors import ConfigError
from tsdiff.data.covariates import DYNAMIC, REALS
from tsdiff.data.entries import Entry, entries_of
from tsdiff.windows.config import WindowConfig

_FIT_OPTIONS = ("accelerator", "devices", "strategy", "num_nodes", "callbacks", "logger")
_INSTEAD = {
    "ckpt_path": "use folder=…, from which an interrupted training goes on",
    "num_workers": "use the estimator's training=TrainingConfig(num_workers=…)",
    "num_prefetch": "leave it out",
    "item_id": "fit takes the name of the column as id_column=…",
    "timestamp": "fit takes the name of the column as timestamp_column=…",
}

_TAKEN_BY = {DYNAMIC: "dynamic_features", REALS: "static_features"}
"""Fields of entries, and the settings by which a model takes them. Categories are not here: the public sets number
their series by one."""


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what `train` cannot hand on, with the remedy."""
    for name, value in options.items():
        if name not in _FIT_OPTIONS:
            remedy = _INSTEAD.get(
                name, f"train takes {', '.join(_FIT_OPTIONS)} besides; settings go to TSDiffEstimator"
            )
            raise ConfigError(f"{name}={value!r}: {remedy}")


def told_unused(dataset: Iterable[Entry], config: WindowConfig) -> Iterator[Entry]:
    """The entries; a warning tells once of each kind of covariates that they have and the model does not take.

    Raises:
        DataError: what is no dataset.
    """
    return _telling(entries_of(dataset), config)


def _telling(entries: Iterator[Entry], config: WindowConfig) -> Iterator[Entry]:
    unused = {field: name for field, name in _TAKEN_BY.items() if not getattr(config, name)}
    for place, entry in enumerate(entries):
        for field in [one for one in unused if _has(entry, one)]:
            tell(
                f"series {str(entry.get('item_id', place))!r} has {field}, which this model is made without: it is "
                f"left out, here and of the others; TSDiffEstimator(…, {unused.pop(field)}=…), their number, takes it"
            )
        yield entry


def _has(entry: Entry, field: str) -> bool:
    value = entry.get(field)
    return value is not None and getattr(value, "size", 1) > 0
