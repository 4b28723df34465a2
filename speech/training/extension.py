"""What trains the network that extends recordings above 8 kHz: speech that has lost its upper part, and the loss.

Of a recording of whole speech the part below 8 kHz is what a model made of it after its band was limited further; from
there the network is asked for the levels of bands above (`speech.model.upper_band`, `Bands.copied`). Energies of bands
are all that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from shared.checks import Checked, Count, Positive, checked
from shared.files.io import atomic_path
from shared.random import derive_seed
from shared.training.batches import Batch
from speech.audio.bands import MODEL_RATE
from speech.audio.resampling import resample
from speech.data.clips import Clip, Waveform
from speech.data.degrade import reduce_rate
from speech.enhancer import Enhancer
from speech.model.upper_band import Bands, UpperBandConfig, UpperBandNetwork
from speech.training.upper_band import RATE, Part, collated, levels_apart, true_bands, with_speed

_SECONDS = 3.0
_EDGES = (2000.0, 4000.0, 5500.0, MODEL_RATE / 2)
"""Hz at which the band of what the model hears ends, one of them each time."""

_GAIN_DB = (-25.0, 5.0)


@dataclass(frozen=True)
class ExtensionLoss(Checked):
    """How far the levels of bands above 8 kHz are from the speech's, in dB, on the mean of each recording's frames.

    Args:
        range_db: levels this far below the recording's loudest bin count as of this.
    """

    range_db: Positive = 80.0

    def __call__(self, network: UpperBandNetwork, x0: Tensor, y: Tensor | None = None, **given: object) -> Tensor:
        """(batch,) of energies `x0` (batch, 2, frames, bands) of the copies and the speech; `condition` as of
        `ExtensionSource`."""
        condition = given["condition"]
        assert isinstance(condition, dict)
        gains, _ = network(condition["features"])
        copies, speech = x0.unbind(1)
        return levels_apart(gains.square() * copies, speech, condition["bins"], condition["loudest"], self.range_db)


@dataclass(frozen=True)
class Voices:
    """Recordings of whole speech.

    Attributes:
        clips: at 48 kHz.
        edge: Hz up to which they are as they were recorded.
    """

    clips: Sequence[Clip]
    edge: float = 20000.0


class Extensions:
    """Recordings that lost their upper part, on disk, in parts that are made one by one.

    Args:
        folder: where they are kept.
        voices: to draw from, each group as often.
        model: what restores the band up to 8 kHz.
        count: of recordings in a part.
        seed: of all that is drawn.
    """

    def __init__(self, folder: Path, voices: Sequence[Voices], model: Enhancer, count: Count = 40, seed: int = 0):
        self._folder, self._voices, self._model, self._seed = folder, voices, model, seed
        self._count = checked(Count, count=count)
        self._bands = Bands.of(UpperBandConfig(), RATE)

    def part(self, place: int) -> Part:
        """A part, made if it is not there, with a row a recording.

        Mean powers of bands as the network hears them: "heard" (count, frames, upper) of the copies, "lower" (count,
        frames, lower) of the recording and "enhanced", likewise, of what the model made of it. "energies" (count, 2,
        frames, upper) of copies and speech in the bins at which the speech is real, "bins" (count, upper), how many
        these are. "loudest" (count,) power of a bin of the speech.
        """
        path = self._folder / f"part-{place:03d}.npz"
        if not path.is_file():
            made = [self._one(np.random.default_rng(derive_seed(self._seed, place, n))) for n in range(self._count)]
            whole = {name: np.stack([each[name] for each in made]) for name in made[0]}
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **whole)  # type: ignore[arg-type]
        return dict(np.load(path))

    def _one(self, rng: np.random.Generator) -> Part:
        voices = self._voices[int(rng.integers(len(self._voices)))]
        clip = voices.clips[int(rng.integers(len(voices.clips)))]
        speech, edge = with_speed(clip, rng, round(_SECONDS * RATE), voices.edge)
        low = resample(speech, RATE, MODEL_RATE)
        limited = reduce_rate(low, MODEL_RATE, round(2 * _EDGES[int(rng.integers(len(_EDGES)))]))
        made = self._model.enhance(limited, MODEL_RATE)
        whole, lower, enhanced = (
            self._spectra(wave)
            for wave in (speech, *(resample(each, MODEL_RATE, RATE, length=len(speech)) for each in (limited, made)))
        )
        copies = self._bands.copied(enhanced)
        shares, bins = true_bands(self._bands, edge)
        return {
            "heard": _power(copies) @ self._bands.upper,
            "lower": _power(lower) @ self._bands.lower,
            "enhanced": _power(enhanced) @ self._bands.lower,
            "energies": np.stack([_power(each) @ shares.T for each in (copies, whole)]),
            "bins": bins,
            "loudest": np.array(_power(whole).max()),
        }

    def _spectra(self, wave: Waveform) -> NDArray[np.complex64]:
        """(frames, bins), the first frame ending with the first hop."""
        hop = self._bands.hop
        return self._bands.spectra(sliding_window_view(np.pad(wave.astype(np.float32), hop), 2 * hop)[::hop])


def _power(spectra: NDArray[np.complex64]) -> Waveform:
    return spectra.real**2 + spectra.imag**2


class ExtensionSource:
    """Batches of kept recordings at levels of all kinds; a `shared.training.batches.BatchSource`.

    Args:
        parts: of `Extensions`.
        batch_size: recordings in a batch.
        frames: of a recording that are taken.
    """

    def __init__(self, parts: Sequence[Part], batch_size: Count = 24, frames: Count = 300):
        self._parts, self._size, self._frames = parts, batch_size, frames

    def batch(self, rng: np.random.Generator) -> Batch:
        """Energies `x0` (batch, 2, frames, bands); "features" (batch, frames, features), "bins" (batch, bands) and
        "loudest" (batch,)."""
        return collated([self._item(rng) for _ in range(self._size)])

    def plain(self) -> Iterator[Batch]:
        """All recordings as they are, part by part."""
        for part in self._parts:
            yield collated([_made(part, place, slice(None)) for place in range(len(part["bins"]))])

    def _item(self, rng: np.random.Generator) -> Batch:
        part = self._parts[int(rng.integers(len(self._parts)))]
        place, start = int(rng.integers(len(part["bins"]))), int(rng.integers(part["lower"].shape[1] - self._frames))
        return _made(part, place, slice(start, start + self._frames), rng.uniform(*_GAIN_DB))


def _made(part: Part, place: int, frames: slice, gain_db: float = 0.0) -> Batch:
    power = np.float32(10 ** (gain_db / 10))
    heard, lower, enhanced = (part[name][place][frames] * power for name in ("heard", "lower", "enhanced"))
    given = {
        "features": Bands.seen(heard, lower, enhanced),
        "bins": part["bins"][place],
        "loudest": part["loudest"][place] * power,
    }
    energies = torch.from_numpy(part["energies"][place][:, frames] * power)
    return Batch(energies.float(), condition={name: torch.tensor(each).float() for name, each in given.items()})


def nothing_added(features: Tensor, config: UpperBandConfig) -> tuple[Tensor, None]:
    """Gains (batch, frames, upper) of a recording that stays as it is."""
    return torch.zeros(*features.shape[:-1], config.upper), None
