"""Impulse responses of rooms, measured or simulated, and what they do to dry speech.

The target of dereverberation is the speech through the first milliseconds of the same response, its direct path
included, so that target and input are aligned to the sample.
"""

from __future__ import annotations

import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from shared.checks import RISING, Checked, Count, Natural, Positive
from shared.errors import ConfigError, DataError
from shared.files.io import atomic_path
from shared.optional import needed
from shared.random import derive_seed
from speech.data.clips import Folders, Waveform, audio_files, read_mono

LEAD_SECONDS = 0.001
TAIL_DB = 60.0
Extent = Annotated[tuple[Positive, Positive], RISING]


@dataclass(frozen=True)
class ImpulseResponse:
    """The response of a room, cut so that the direct path comes at `direct`, and scaled to 1 there.

    Attributes:
        id: its name, for messages.
        samples: float32 (length,).
        direct: index of the direct path; what comes before is its rise, at most a millisecond.
        sample_rate: Hz.
    """

    id: str
    samples: Waveform
    direct: int
    sample_rate: int

    def early(self, milliseconds: float) -> Waveform:
        """The direct path and what comes within `milliseconds` of it; at 0 ms, the direct path and its ringing."""
        stop = self.direct + max(round(milliseconds * 1e-3 * self.sample_rate), round(LEAD_SECONDS * self.sample_rate))
        return self.samples[: stop + 1]


def align(samples: NDArray[np.floating], sample_rate: int, name: str = "response") -> ImpulseResponse:
    """Find the direct path, cut off what comes more than a millisecond before it and the silence after the decay.

    The direct path is the first peak that reaches half of the largest magnitude: not always the largest, for a
    reflection that two walls focus may exceed it.

    Raises:
        DataError: the response is silent or not finite.
    """
    magnitude = np.abs(samples)
    if not np.isfinite(magnitude).all() or not magnitude.any():
        raise DataError(f"impulse response {name} is silent or not finite; remove it")
    lead = round(LEAD_SECONDS * sample_rate)
    onset = int(np.argmax(magnitude >= 0.5 * magnitude.max()))
    direct = onset + int(np.argmax(magnitude[onset : onset + lead + 1]))
    start = max(0, direct - lead)
    remaining = np.cumsum(magnitude[::-1].astype(np.float64) ** 2)[::-1]
    stop = max(direct + 1, int(np.count_nonzero(remaining > remaining[0] * 10 ** (-TAIL_DB / 10))))
    cut = samples[start:stop] / samples[direct]
    return ImpulseResponse(name, np.ascontiguousarray(cut, np.float32), direct - start, sample_rate)


def read_responses(folders: Folders, sample_rate: int) -> list[ImpulseResponse]:
    """Every measured response below `folders`, aligned; of several channels the first.

    Raises:
        DataError: a file cannot be read or is silent.
    """
    return [align(read_mono(path, sample_rate, channel=0), sample_rate, path.stem) for path in audio_files(folders)]


def reverberate(dry: Waveform, response: ImpulseResponse, early_ms: float | None) -> tuple[Waveform, Waveform]:
    """Dry speech (samples,) as it sounds in the room, and the part of it that is the target.

    Args:
        dry: speech without a room.
        response: of the room.
        early_ms: how much of the response after the direct path belongs to the target: 0 is the direct path alone,
            None all of it.

    Returns:
        Reverberant speech and target, as long as `dry` and aligned with it.
    """
    length = len(dry)
    size = scipy.fft.next_fast_len(length + len(response.samples) - 1, real=True)
    spectrum = scipy.fft.rfft(dry, size)
    span = slice(response.direct, response.direct + length)
    wet = scipy.fft.irfft(spectrum * scipy.fft.rfft(response.samples, size), size)[span]
    if early_ms is None:
        return wet, wet
    target = scipy.fft.irfft(spectrum * scipy.fft.rfft(response.early(early_ms), size), size)[span]
    return wet, target


@dataclass(frozen=True)
class RoomConfig(Checked):
    """Shoebox rooms: image sources (Allen and Berkley 1979) to an order, and rays beyond it, as pyroomacoustics has it.

    Image sources alone would need gigabytes for long reverberation, and overshoot it in flat rooms.

    Args:
        sample_rate: Hz.
        size_m: shortest and longest side of the floor.
        height_m: lowest and highest ceiling.
        t60_s: range of reverberation times; the walls absorb what Sabine's formula asks for.
        wall_distance_m: of source and microphone, at least.
        source_distance_m: between source and microphone, range.
        image_order: of the image sources.
    """

    sample_rate: Count = 16000
    size_m: Extent = (3.0, 10.0)
    height_m: Extent = (2.4, 4.0)
    t60_s: Extent = (0.15, 0.9)
    wall_distance_m: Positive = 0.5
    source_distance_m: Extent = (0.3, 4.0)
    image_order: Natural = 6

    def _related(self) -> None:
        smallest = min(self.size_m[0], self.height_m[0])
        self._require(
            2 * self.wall_distance_m < smallest,
            "wall_distance_m",
            f"need less than half of the smallest side, {smallest}",
        )


WSJ0_REVERB_ROOMS = RoomConfig(
    size_m=(5.0, 15.0),
    height_m=(2.0, 6.0),
    t60_s=(0.4, 1.0),
    wall_distance_m=0.999,
    source_distance_m=(0.1, 25.0),
    image_order=3,
)
"""The rooms of the published WSJ0-REVERB set."""


@dataclass(frozen=True)
class Room:
    """A drawn room: sides, positions (metres) and the reverberation time that it was built for (seconds)."""

    sides: tuple[float, float, float]
    source: tuple[float, float, float]
    microphone: tuple[float, float, float]
    t60: float


def draw_room(rng: np.random.Generator, config: RoomConfig) -> Room:
    """A room whose walls can give the reverberation time, with source and microphone placed.

    Raises:
        ConfigError: a hundred draws gave no room that fits.
    """
    for _ in range(100):
        sides = np.array([*rng.uniform(*config.size_m, 2), rng.uniform(*config.height_m)])
        t60 = float(rng.uniform(*config.t60_s))
        places = rng.uniform(config.wall_distance_m, sides - config.wall_distance_m, (2, 3))
        distance = float(np.linalg.norm(places[0] - places[1]))
        near, far = config.source_distance_m
        if near <= distance <= far and _absorption(sides, t60) < 1:
            source, microphone = (tuple(float(v) for v in place) for place in places)
            return Room(tuple(float(v) for v in sides), source, microphone, t60)  # type: ignore[arg-type]
    raise ConfigError(f"no room fits {config}: widen the distances, or raise t60_s, which large rooms cannot get below")


def _absorption(sides: NDArray[np.float64], t60: float) -> float:
    """Share of the energy that walls take for a reverberation time, by Sabine's formula; above 1 no wall can."""
    volume, (a, b, c) = float(np.prod(sides)), sides
    return 24 * np.log(10) * volume / (343.0 * 2 * (a * b + b * c + a * c) * t60)


_ONE_AT_A_TIME = Lock()


def simulate(
    room: Room, sample_rate: int, name: str = "room", *, image_order: int = 6, seed: int = 0
) -> ImpulseResponse:
    """The response of a room; rays scatter by `seed`, which sets pyroomacoustics' own generators."""
    pyroomacoustics = needed("pyroomacoustics", "rooms", "simulating rooms")
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyroomacoustics.random.seed(seed & 0x7FFFFFFF)
        absorption, order = pyroomacoustics.inverse_sabine(room.t60, room.sides)
        box = pyroomacoustics.ShoeBox(
            room.sides,
            fs=sample_rate,
            materials=pyroomacoustics.Material(absorption),
            max_order=min(image_order, order),
        )
        box.set_ray_tracing()
        box.add_source(room.source)
        box.add_microphone(room.microphone)
        with _one_thread(pyroomacoustics.constants):
            box.compute_rir()
    return align(np.asarray(box.rir[0][0]), sample_rate, name)


@contextmanager
def _one_thread(constants: Any) -> Iterator[None]:
    """Reflections are summed thread by thread, of which there are as many as cores: the last digits would tell them."""
    before = constants.get("num_threads")
    constants.set("num_threads", 1)
    try:
        yield
    finally:
        constants.set("num_threads", before)


def simulated_responses(
    count: int, seed: int = 0, config: RoomConfig | None = None, cache: str | os.PathLike[str] | None = None
) -> list[ImpulseResponse]:
    """`count` rooms, each a function of (seed, its number) alone.

    Args:
        count: of rooms; a second of work for every five or so.
        seed: of the draws.
        config: of the rooms.
        cache: folder in which the responses are kept for the next time.
    """
    config = config or RoomConfig()
    folder = None if cache is None else Path(cache)
    return [_nth(n, seed, config, folder) for n in range(count)]


def _nth(n: int, seed: int, config: RoomConfig, cache: Path | None) -> ImpulseResponse:
    key = derive_seed(seed, "room", n, repr(sorted(asdict(config).items())))
    path = None if cache is None else cache / f"{key:016x}.npz"
    name = f"simulated-{seed}-{n}"
    if path is not None and path.is_file():
        try:
            with np.load(path) as kept:
                return ImpulseResponse(name, kept["samples"], int(kept["direct"]), config.sample_rate)
        except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
            path.unlink(missing_ok=True)
    room = draw_room(np.random.default_rng(key), config)
    response = simulate(room, config.sample_rate, name, image_order=config.image_order, seed=key)
    if path is not None:
        with atomic_path(path) as temporary:
            np.savez(temporary, samples=response.samples, direct=response.direct)
    return response
