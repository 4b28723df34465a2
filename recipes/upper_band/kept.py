"""What networks above 8 kHz are trained on: energies of bands, made once, kept in parts, and drawn in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from shared.checks import Count, checked
from shared.errors import DataError
from shared.files.io import atomic_path
from shared.random import derive_seed
from shared.training.batches import Batch
from shared.training.config import TrainingConfig
from shared.training.module import DiffusionModule, Objective, fit
from speech.audio.files import audio_info
from speech.data.clips import Clip, Folders, Waveform, audio_files, read_clips
from speech.enhancer import Enhancer
from speech.model.export import digest
from speech.model.upper_band import Bands, UpperBandConfig, UpperBandNetwork

RATE = 48000
"""Hz of all that is made."""

LEAST_RATE = 44100
"""Hz below which recordings have too little above 8 kHz to learn from."""

Part = dict[str, np.ndarray]
"""Arrays by name, with a row a recording."""


class KeptParts(ABC):
    """Parts on disk, each made when it is asked for first; item n of part k is a function of (seed, k, n) and of what
    it is made of. The name of a part tells all of that, so that other parts may lie beside it.

    Args:
        folder: where they are kept.
        count: of items in a part.
        seed: of all that is drawn.
        made_of: texts that change with whatever else the parts depend on.

    Attributes:
        kind: a text that changes with all that the parts depend on.
    """

    def __init__(self, folder: Path, count: Count, seed: int, made_of: Sequence[str]):
        self._folder, self._count, self._seed = folder, checked(Count, count=count), seed
        self.kind = f"{derive_seed(type(self).__name__, self._count, seed, *made_of):016x}"
        self._bands = Bands.of(UpperBandConfig(), RATE)

    def part(self, place: int) -> Part:
        """A part: the items' arrays, stacked."""
        path = self._folder / f"part-{place:03d}-{self.kind}.npz"
        if not path.is_file():
            made = [self._one(np.random.default_rng(derive_seed(self._seed, place, n))) for n in range(self._count)]
            whole = {name: np.stack([each[name] for each in made]) for name in made[0]}
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **whole)  # type: ignore[arg-type]
        with np.load(path) as kept:
            return dict(kept)

    @abstractmethod
    def _one(self, rng: np.random.Generator) -> Part:
        """An item."""

    def _spectra(self, wave: Waveform) -> NDArray[np.complex64]:
        """(frames, bins) of a waveform (samples,) at `RATE`, the first frame ending with the first hop."""
        hop = self._bands.hop
        return self._bands.spectra(sliding_window_view(np.pad(wave.astype(np.float32), hop), 2 * hop)[::hop])


class PartSource(ABC):
    """Batches of what is kept, each item changed by chance; a `shared.training.batches.BatchSource`.

    Args:
        parts: of `KeptParts`.
        batch_size: items in a batch.
        frames: of an item that are taken.
    """

    def __init__(self, parts: Sequence[Part], batch_size: Count = 24, frames: Count = 300):
        self._parts, self._size, self._frames = parts, batch_size, frames

    def batch(self, rng: np.random.Generator) -> Batch:
        """Energies `x0` (batch, kinds, frames, bands); "features" (batch, frames, features), "bins" (batch, bands) and
        "loudest" (batch,)."""
        return collated([self._item(self._parts[int(rng.integers(len(self._parts)))], rng) for _ in range(self._size)])

    def plain(self) -> Iterator[Batch]:
        """All items as they are, part by part."""
        for part in self._parts:
            yield collated([self._plain(part, place) for place in range(len(part["bins"]))])

    def _crop(self, part: Part, rng: np.random.Generator) -> slice:
        start = int(rng.integers(part["lower"].shape[1] - self._frames + 1))
        return slice(start, start + self._frames)

    @abstractmethod
    def _item(self, part: Part, rng: np.random.Generator) -> Batch:
        """An item of a part, changed, in batches' form without their first dimension."""

    @abstractmethod
    def _plain(self, part: Part, place: int) -> Batch:
        """The item at this place, whole and as it is."""


def fitted(
    network: UpperBandNetwork,
    loss: Objective,
    source: PartSource,
    state: Path,
    *,
    steps: int,
    seed: int,
    made_of: Sequence[str] = (),
    workers: int = 0,
    accelerator: str = "cpu",
) -> UpperBandNetwork:
    """The network after training, its weights averaged.

    Args:
        network: with fresh weights.
        loss: of a batch of the source.
        source: of batches.
        state: folder in which a run that is stopped goes on where it was; one of another seed, loss or `made_of` is not
            gone on with.
        steps: of training.
        seed: of the batches.
        made_of: texts that change with what the batches depend on.
        workers: processes that make batches.
        accelerator: of Lightning.
    """
    training = TrainingConfig(
        max_steps=steps,
        learning_rate=3e-3,
        weight_decay=0.01,
        ema_decay=0.995,
        seed=seed,
        num_workers=workers,
        save_every_seconds=120.0,
    )
    module = DiffusionModule(network, loss, training)
    state = state / f"{derive_seed(seed, repr(loss), *made_of):016x}"
    state.mkdir(parents=True, exist_ok=True)
    fit(module, source, state, accelerator=accelerator, description="above 8 kHz")
    return module.ema_denoiser.eval()


def full_band_clips(folders: Folders, cache: Path) -> list[Clip]:
    """Recordings at `RATE` of speech to train on and to validate with.

    Raises:
        DataError: one was sampled below `LEAST_RATE`, there is only one, or as `read_clips`.
    """
    for path in audio_files(folders):
        if (rate := audio_info(path).sample_rate) < LEAST_RATE:
            raise DataError(f"{path} is at {rate} Hz: that has too little above 8 kHz; give {LEAST_RATE} Hz or more")
    clips = read_clips(folders, RATE, cache=cache)
    if len(clips) < 2:
        raise DataError(f"{folders} holds one recording, which validates; give more, to train on")
    return clips


def told(clips: Sequence[Clip], *models: Enhancer) -> list[str]:
    """Texts that change with these recordings and with what these models make of them, for `KeptParts`."""
    heard = [f"{clip.id} {len(clip)}" for clip in clips]
    return [*heard, *(text for each in models for text in (digest(each.model), repr(each.sampling)))]


def power_of(spectra: NDArray[np.complex64]) -> Waveform:
    """|X|², shaped like `spectra`."""
    return spectra.real**2 + spectra.imag**2


def collated(items: Sequence[Batch]) -> Batch:
    """A batch of single items."""
    condition = {name: torch.stack([each.condition[name] for each in items]) for name in items[0].condition}
    return Batch(torch.stack([each.x0 for each in items]), condition=condition)
