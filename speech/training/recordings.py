"""What a speech model is trained on and validated on: the recordings of an experiment's folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from shared.console.notes import tell
from shared.devices import first_process
from shared.errors import DataError
from shared.random import derive_seed
from shared.training.batches import BatchSource
from speech.data import MixSource, validation_pairs
from speech.data.config import MixConfig
from speech.data.levels import active_power
from speech.data.pairs import Pair, PairSource, find_pairs, read_pair
from speech.data.rooms import RoomConfig, simulated_responses
from speech.data.validation import heard_from
from speech.training.settings import Experiment

Waveform = NDArray[np.float32]
Recording = tuple[str, Waveform, Waveform]
"""Name, clean and noisy waveform (samples,)."""


def training_source(experiment: Experiment, folder: Path, frame_multiple: int) -> BatchSource:
    """Where the batches of an experiment come from.

    Raises:
        DataError: the folder is not there, or lacks what its layout needs.
    """
    data = experiment.data
    _check_folder(folder)
    mix = experiment.mixing(frame_multiple)
    if data.layout != "mix":
        return PairSource(
            folder,
            "train",
            data.layout,
            sample_rate=mix.sample_rate,
            seconds=mix.seconds,
            batch_size=data.batch_size,
        )
    parts = _parts(folder / "train", _needs_noise(mix), mix.reverb > 0 and not data.simulated_rooms)
    return MixSource(
        parts["clean"],
        parts["noise"] or (),
        parts["rir"],
        mix,
        simulated_rooms=data.simulated_rooms,
        seed=experiment.training.seed,
        cache=data.cache,
    )


def validation_set(experiment: Experiment, folder: Path) -> list[Recording]:
    """The recordings that an experiment is validated on, the same at every call.

    Raises:
        DataError: as `training_source`.
    """
    wanted, data = experiment.validation, experiment.data
    if wanted.files == 0:
        return []
    _check_folder(folder)
    if data.layout != "mix":
        try:
            pairs = find_pairs(folder, "valid", data.layout)
        except DataError as error:
            raise DataError(f"{error}; or train without validation (validation.files=0)") from None
        return _validation_pairs(pairs, experiment)
    mix = experiment.mixing(1)
    parts = _parts(folder / "valid", _needs_noise(mix), False, "; or train without validation (validation.files=0)")
    rooms = parts["rir"]
    if mix.reverb > 0 and rooms is None:
        if data.simulated_rooms:
            own, seed = RoomConfig(sample_rate=mix.sample_rate), derive_seed(wanted.seed, "rooms")
            rooms = simulated_responses(min(data.simulated_rooms, wanted.files), seed, own, data.cache)
        else:
            warnings.warn(f"{folder / 'valid'} has no folder rir: models are validated without rooms", stacklevel=2)
    found = validation_pairs(
        parts["clean"], parts["noise"], rooms, wanted.files, wanted.seconds, wanted.seed, mix, data.cache
    )
    if all(np.array_equal(clean, noisy) for _, clean, noisy in found):
        raise DataError(
            f"the recordings to validate on, of {folder / 'valid'}, are their own targets: they get no noise, room or "
            "damage; add a folder rir, set data.simulated_rooms, or train without validation (validation.files=0)"
        )
    return found


def _validation_pairs(found: Sequence[Pair], experiment: Experiment) -> list[Recording]:
    """Some of the pairs, in an order that the seed shuffles: the first by name may all be of one speaker."""
    wanted, rate = experiment.validation, experiment.model.frontend.sample_rate
    longest = None if wanted.seconds is None else round(wanted.seconds * rate)
    order = np.random.default_rng(derive_seed(wanted.seed, "order")).permutation(len(found))
    return [_part(*read_pair(found[place], rate), longest, rate) for place in order[: wanted.files]]


def _part(name: str, clean: Waveform, noisy: Waveform, longest: int | None, rate: int) -> Recording:
    """What is used of a pair: a part in which speech is heard."""

    def read(start: int, length: int | None) -> Waveform:
        return clean[start:][:length]

    start = heard_from(read, len(clean), longest, active_power(clean, rate))
    return name, read(start, longest), noisy[start:][:longest]


def _check_folder(folder: Path) -> None:
    if not os.path.isdir(folder):
        raise DataError(
            f"no data at {folder}: point --data (or data.folder in the settings, or $SHARED_DATA) to a folder with "
            "train/clean, train/noise, train/rir and the same in valid/; or set data.layout for pairs of files"
        )


def _needs_noise(mix: MixConfig) -> bool:
    """Whether noise is mixed that is not all made by formula."""
    return mix.noises > 0 and mix.synthetic < 1


def _parts(folder: Path, needs_noise: bool, needs_rooms: bool, or_else: str = "") -> dict[str, Any]:
    found = {name: folder / name if (folder / name).is_dir() else None for name in ("clean", "noise", "rir")}
    needed = {"clean": (True, ""), "noise": (needs_noise, "synthetic=1"), "rir": (needs_rooms, "reverb=0")}
    for name, (is_needed, without) in needed.items():
        if is_needed and found[name] is None:
            unless = f", or set data.mix.{without}, which needs none" if without else ""
            if (folder / "noisy").is_dir():
                unless += "; or, for pairs of the files in clean and noisy, data.layout=split"
            raise DataError(f"{folder} has no folder {name}; add it{unless}{or_else}")
    return found


class SameFiles(Callback):
    """Says, where a training goes on, that its batches come from other files than before.

    Args:
        source: of batches; nothing is known of the files of a user's own.
    """

    def __init__(self, source: BatchSource):
        told = source.contents if isinstance(source, (MixSource, PairSource)) else []
        self.kind = f"{derive_seed(*told):016x}" if told else ""

    def state_dict(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["kind"] != self.kind and first_process():
            tell(
                "the training goes on with other training files than it had (their names or lengths differ): its "
                "batches are not those that it would have had; a new training (--retrain) has these from its beginning"
            )
