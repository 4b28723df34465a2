"""Cut recorded noises out of games' sounds and other free collections, to train enhancers on more kinds of noise.

    python recipes/noise_recordings.py --list
    mkdir sources && (cd sources && apt-get download cdogs-sdl-data && dpkg -x cdogs-sdl-data_*.deb cdogs-sdl-data)
    python recipes/noise_recordings.py --sources sources --output data/noise_recordings

`recipes/noise_recordings.tsv` names each recording: its source, the path in it, the kind of noise, whether it trains
or validates, its licence (CC0, CC-BY or alike, never SA, NC, ND or GPL), its author and where the licence is said.
`--list` says how each source is got: a Debian package, or a GitHub repository at a commit, unpacked into a folder of
the source's name; what is not there is left out and said. Recordings become FLAC, mono, of 60 seconds at most; those
under five seconds are joined with the others of their source and kind, with pauses between. The same folders and seed
give the same files; `SOURCES.tsv` beside them says what each is made of. Nothing of it is committed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from zlib import crc32

import numpy as np
import soundfile
import soxr
import typer

from shared.console.command import prepare, run, show
from shared.errors import ConfigError, DataError
from shared.files.io import atomic_path
from speech.audio.files import read_audio

TABLE = Path(__file__).with_suffix(".tsv")
HIGHEST_RATE = 48000
LONGEST, SHORT, JOINED = 60.0, 5.0, 30.0
"""Seconds: of a file at most, below which recordings are joined, and of a joined file at most."""
PAUSES = (0.05, 1.0)
"""Seconds between recordings that are joined, from and to."""
SILENT = 10 ** (-60 / 20)
"""Of a recording's peak: what is below it at an end is cut off."""
PEAK = 0.5


@dataclass(frozen=True)
class Source:
    """Where recordings come from, and how it is got."""

    name: str
    how: str


@dataclass(frozen=True)
class Recording:
    """A line of the table."""

    source: str
    path: str
    kind: str
    split: str
    licence: str
    author: str
    stated: str


@dataclass(frozen=True)
class Noise:
    """What becomes a file: samples (length,) float32 with a peak of `PEAK`, and the recordings in it."""

    waveform: np.ndarray
    rate: int
    made_of: tuple[Recording, ...]


def read_trimmed(path: Path) -> tuple[np.ndarray, int]:
    """A recording, mono float32 with a peak of `PEAK` and without silent ends, and its rate; empty where all is silent.

    Raises:
        DataError: the file is no audio, or holds numbers that are not finite.
    """
    audio = read_audio(path)
    waveform, rate = audio.waveform.mean(axis=0), audio.sample_rate
    if rate > HIGHEST_RATE:
        waveform, rate = soxr.resample(waveform, rate, HIGHEST_RATE), HIGHEST_RATE
    if not np.isfinite(waveform).all():
        raise DataError(f"{path} holds numbers that are not finite; get its source again")
    waveform = waveform - waveform.mean() if len(waveform) else waveform
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak < 1e-4:  # nothing but rounding
        return np.zeros(0, np.float32), rate
    heard = np.flatnonzero(np.abs(waveform) > SILENT * peak)
    kept = waveform[heard[0] : heard[-1] + 1]
    return (kept * np.float32(PEAK / peak)).astype(np.float32), rate


def pieces(waveform: np.ndarray, rate: int) -> list[np.ndarray]:
    """Equal parts of a recording, none longer than `LONGEST`, each with a peak of `PEAK`; silent ones are left out."""
    count = int(np.ceil(len(waveform) / (LONGEST * rate)))
    peaks = [(part, float(np.abs(part).max(initial=0.0))) for part in np.array_split(waveform, max(count, 1))]
    return [part * np.float32(PEAK / peak) for part, peak in peaks if peak > SILENT * PEAK]


def joined(shorts: list[tuple[Recording, np.ndarray]], rate: int, rng: np.random.Generator) -> Iterator[Noise]:
    """Files of short recordings of one rate: in random order with random pauses, again where they are too few."""
    order = [shorts[index] for index in rng.permutation(len(shorts))]
    while sum(len(wave) for _, wave in order) < SHORT * rate and len(order) < 64:
        order += [shorts[index] for index in rng.permutation(len(shorts))]
    parts: list[np.ndarray] = []
    names: list[Recording] = []
    length = 0
    for recording, wave in order:
        if parts and length + len(wave) > JOINED * rate:
            yield Noise(np.concatenate(parts), rate, tuple(dict.fromkeys(names)))
            parts, names, length = [], [], 0
        if parts:
            parts.append(np.zeros(int(rng.uniform(*PAUSES) * rate), np.float32))
        parts.append(wave)
        names.append(recording)
        length = sum(len(part) for part in parts)
    if length >= rate:  # a second: of less nothing is learnt
        yield Noise(np.concatenate(parts), rate, tuple(dict.fromkeys(names)))


def noises(recordings: Iterable[Recording], folder: Path, seed: int) -> Iterator[Noise]:
    """The files of one source and kind, in the order of the recordings' paths."""
    shorts: dict[int, list[tuple[Recording, np.ndarray]]] = defaultdict(list)
    for recording in sorted(recordings, key=lambda one: one.path):
        waveform, rate = read_trimmed(folder / recording.path)
        if len(waveform) >= SHORT * rate:
            for part in pieces(waveform, rate):
                yield Noise(part, rate, (recording,))
        elif len(waveform):
            shorts[rate].append((recording, waveform))
    for rate, group in sorted(shorts.items()):
        named = crc32(f"{group[0][0].source}/{group[0][0].kind}".encode())
        yield from joined(group, rate, np.random.default_rng([seed, named, rate]))


def _same(of: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(of))


def write(noise: Noise, path: Path, name: str) -> tuple[str, ...]:
    """Write a file, and return its line for SOURCES.tsv."""
    with atomic_path(path) as temporary:
        soundfile.write(temporary, noise.waveform, noise.rate, format="FLAC", subtype="PCM_16")
    of = noise.made_of
    return (
        name,
        of[0].source,
        _same(one.path for one in of),
        _same(one.author for one in of),
        _same(one.licence for one in of),
        _same(one.stated for one in of),
    )


def main(
    sources: Annotated[Path | None, typer.Option(help="Folder that has one folder a source.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for train/ and valid/.")] = Path("runs/noise_recordings"),
    table: Annotated[Path, typer.Option(help="What is taken.", exists=True, dir_okay=False)] = TABLE,
    only: Annotated[list[str] | None, typer.Option(help="Sources to take; left out, all.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Say how each source is got, and stop.")] = False,
    seed: Annotated[int, typer.Option(help="Of orders and pauses.", min=0)] = 0,
) -> None:
    """Make noises to train and to validate with out of recordings that are free to use."""
    from free_sources.listing import read_listing, write_sources  # found where this runs as a script

    prepare(1)
    known, recordings = read_listing(table, Source, Recording)
    if listed:
        for got in known.values():
            show(f"{got.name}: {got.how}")
        return
    if unknown := [name for name in only or () if name not in {one.source for one in recordings}]:
        raise ConfigError(f"--only {unknown[0]}: {table} has no such source; --list says which there are")
    if sources is None or not sources.is_dir():
        raise ConfigError(f"--sources {sources} is no folder; --list says what belongs into it")
    groups: dict[tuple[str, str, str], list[Recording]] = defaultdict(list)
    for one in recordings:
        if not only or one.source in only:
            groups[one.split, one.source, one.kind].append(one)
    lines: list[tuple[str, ...]] = []
    kinds: set[tuple[str, str]] = set()
    absent: list[Recording] = []
    seconds = {"train": 0.0, "valid": 0.0}
    for (split, source, kind), group in sorted(groups.items()):
        there = [one for one in group if (sources / source / one.path).is_file()]
        absent += [one for one in group if one not in there]
        for number, noise in enumerate(noises(there, sources / source, seed)):
            name = f"{split}/{source}/{kind}-{number}.flac"
            lines.append(write(noise, output / name, name))
            seconds[split] += len(noise.waveform) / noise.rate
            kinds.add((source, kind))
    if not lines:
        raise ConfigError(f"--sources {sources}: none of the recordings is there; --list says what belongs into it")
    write_sources(output, ("file", "source", "recordings", "authors", "licences", "said in"), lines)
    if absent:
        show(f"{len(absent)} recordings are not there, the first: {absent[0].source}/{absent[0].path}")
    minutes = ", ".join(f"{value / 60:.1f} minutes to {split}" for split, value in seconds.items())
    show(f"{len(lines)} files of {len(kinds)} kinds, {minutes}: {output}")


if __name__ == "__main__":
    run(main, __doc__)
