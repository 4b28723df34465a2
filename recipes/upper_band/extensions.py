"""What trains the network that extends recordings above 8 kHz: speech that has lost its upper part, and the loss.

Of a recording of whole speech the part below 8 kHz is what a model made of it after its band was limited further; from
there the network is asked for the levels of bands above (`speech.model.upper_band`, `Bands.copied`). Energies of bands
are all that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shared.checks import Checked, Count, Positive
from shared.training.batches import Batch
from speech.audio.bands import MODEL_RATE
from speech.audio.resampling import resample
from speech.data.clips import Clip
from speech.data.degrade import reduce_rate
from speech.enhancer import Enhancer
from speech.model.upper_band import Bands, UpperBandConfig, UpperBandNetwork

from .kept import RATE, KeptParts, Part, PartSource, power_of, told
from .mixtures import levels_apart, true_bands, with_speed

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


class Extensions(KeptParts):
    """Recordings that lost their upper part, on disk, in parts that are made one by one.

    A part has, of mean powers of bands as the network hears them, "heard" (count, frames, upper) of the copies, "lower"
    (count, frames, lower) of the recording and "enhanced", likewise, of what the model made of it; "energies" (count,
    2, frames, upper) of copies and speech in the bins at which the speech is real, and "bins" (count, upper), how many
    these are; and "loudest" (count,), the power of a bin of the speech.

    Args:
        folder: where they are kept.
        voices: to draw from, each group as often.
        model: what restores the band up to 8 kHz.
        count: of recordings in a part.
        seed: of all that is drawn.
    """

    def __init__(self, folder: Path, voices: Sequence[Voices], model: Enhancer, count: Count = 40, seed: int = 0):
        heard = [text for each in voices for text in (str(each.edge), *told(each.clips))]
        super().__init__(folder, count, seed, [*heard, *told([], model)])
        self._voices, self._model = voices, model

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
            "heard": power_of(copies) @ self._bands.upper,
            "lower": power_of(lower) @ self._bands.lower,
            "enhanced": power_of(enhanced) @ self._bands.lower,
            "energies": np.stack([power_of(each) @ shares.T for each in (copies, whole)]),
            "bins": bins,
            "loudest": np.array(power_of(whole).max()),
        }


class ExtensionSource(PartSource):
    """Batches of kept recordings (`Extensions`) at levels of all kinds."""

    def _plain(self, part: Part, place: int) -> Batch:
        return _made(part, place, slice(None))

    def _item(self, part: Part, rng: np.random.Generator) -> Batch:
        return _made(part, int(rng.integers(len(part["bins"]))), self._crop(part, rng), rng.uniform(*_GAIN_DB))


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
