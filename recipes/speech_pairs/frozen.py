"""Pair folders from one's own recordings: mixtures as `speech.data.mixing` makes them, and lost upper bands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from shared.console.notes import tell
from shared.errors import ConfigError, DataError
from shared.random import derive_seed
from speech.audio.files import audio_info
from speech.data.clips import Folders, as_folders, audio_files, read_mono, tell_narrow
from speech.data.config import MixConfig
from speech.data.degrade import reduce_rate
from speech.data.mixing import MixSource

from .common import Prepared, Row, claim_pairs, finish, for_each, is_done, refuse_inside, workers_of, write_pair
from .sizes import refuse_too_large


def prepare_mix(
    clean: Folders,
    noise: Folders,
    rooms: Folders | None,
    output: str | Path,
    config: MixConfig,
    *,
    count: int,
    split: str = "train",
    simulated_rooms: int = 0,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Prepared:
    """Freeze `count` mixtures into `output/<split>/{clean,noisy}`; mixture n depends on (seed, split, n).

    Args:
        clean, noise, rooms: folders.
        output: folder of the pairs.
        config: how to mix; its `seconds` is their length.
        count: of mixtures.
        split: name of the part.
        simulated_rooms: rooms to simulate besides.
        seed: of everything drawn.
        workers: threads.
        progress: show a bar.

    Raises:
        DataError: a folder or file cannot be read.
        ConfigError: the count is below 1, the config asks for what is not there, `output` holds other pairs, the pairs
            would lie among recordings, or this machine cannot hold what is asked for.
    """
    if count < 1:
        raise ConfigError(f"count={count}: need at least one mixture")
    output = Path(output)
    refuse_too_large(config, count, output, split, workers_of(workers), simulated_rooms if config.reverb else 0)
    refuse_inside(output, [*as_folders(clean), *as_folders(noise), *as_folders(rooms or [])], [split])
    if as_folders(noise) and not config.noises:
        tell("the folders of noise (--noise) are not used: this task mixes none")
    if (rooms or simulated_rooms) and not config.reverb:
        tell("rooms (--rooms, --simulated-rooms) are not used: this task has none")
    source = MixSource(clean, noise, rooms, config, simulated_rooms=simulated_rooms, seed=seed)
    settings = {"set": "mix", "seed": seed, "split": split, "config": asdict(config)}
    used = [f"{clip.id} {len(clip)}" for clip in (*source.clips, *source.mixer.noises)]
    claim_pairs(output, settings, [*used, *(room.id for room in source.mixer.rooms)])

    def make(n: int) -> Iterator[Row]:
        about, mixture = source.item(np.random.default_rng(derive_seed(seed, "mix", split, n)))
        if not is_done(output, split, f"{n:06}"):
            write_pair(output, split, f"{n:06}", mixture.clean, mixture.noisy, config.sample_rate)
        yield {"split": split, "id": f"{n:06}", "snr_db": round(mixture.snr_db, 3), "made_of": about}

    prepared = for_each(range(count), str, make, "mixing", workers, progress)
    return finish(prepared, output, settings)


def prepare_bandwidth(
    clean: Folders,
    output: str | Path,
    *,
    cutoffs_hz: Sequence[float] = (2000.0, 4000.0),
    sample_rate: int = 16000,
    split: str = "train",
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Prepared:
    """Whole files, and what sampling at twice a cutoff leaves of them, into `output/<split>/{clean,noisy}`.

    Args:
        clean: folders of recordings with the full band.
        output: folder of the pairs.
        cutoffs_hz: one is drawn for each file.
        sample_rate: Hz, of both.
        split: name of the part.
        seed: of the cutoffs.
        workers: threads.
        progress: show a bar.

    Raises:
        DataError: a folder or file cannot be read.
        ConfigError: a cutoff is not below half the sample rate, `output` holds other pairs, or the pairs would lie
            among recordings.
    """
    if not cutoffs_hz or not all(100 <= cutoff < sample_rate / 2 for cutoff in cutoffs_hz):
        told = ", ".join(f"{cutoff:g}" for cutoff in cutoffs_hz)
        raise ConfigError(f"--cutoff {told}: need one or more, from 100 to below {sample_rate / 2:g} Hz")
    output = Path(output)
    roots = list(dict.fromkeys(as_folders(clean)))
    refuse_inside(output, roots, [split])
    files = [(_flat_name(path, root, len(roots)), path) for root in roots for path in audio_files(root)]
    first = dict(reversed(files))
    settings = {"set": "bandwidth", "seed": seed, "cutoffs_hz": list(cutoffs_hz)}
    sources = [os.path.abspath(root) for root in roots]
    claim_pairs(output, {**settings, "split": split, "sample_rate": sample_rate}, sources)

    rates: list[tuple[str, int]] = []

    def make(item: tuple[str, Path]) -> Iterator[Row]:
        name, path = item
        if first[name] != path:
            raise DataError(f"its pair would have the name of {first[name]}'s, {name}; rename one of them")
        rng = np.random.default_rng(derive_seed(seed, "bandwidth", name))
        cutoff = float(cutoffs_hz[int(rng.integers(len(cutoffs_hz)))])
        if not is_done(output, split, name):
            whole = read_mono(path, sample_rate)
            if not np.rint(whole * 32767).any():  # as the pair's 16 bits have it
                raise DataError(f"{path} is silent; remove it")
            write_pair(output, split, name, whole, reduce_rate(whole, sample_rate, round(2 * cutoff)), sample_rate)
        rates.append((name, audio_info(path).sample_rate))
        yield {"split": split, "id": name, "cutoff_hz": cutoff}

    prepared = for_each(files, lambda item: str(item[1]), make, "bandwidth", workers, progress)
    tell_narrow(sorted(rates), sample_rate)
    return finish(prepared, output, settings)


def _flat_name(path: Path, root: Path, roots: int) -> str:
    """The name of a recording's pair: its folders below the root, with the root's name where there are several."""
    name = "-".join(path.relative_to(root).with_suffix("").parts)
    return name if roots == 1 else f"{root.name}-{name}"
