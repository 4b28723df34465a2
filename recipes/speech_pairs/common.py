"""What the preparations share: many items in threads, bad ones reported and left out, pairs written, a table of them.

What is drawn for an item depends on the seed and the item alone, and an item whose files are there is not made again:
a preparation that was stopped goes on where it was, if its settings are the same.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from shared.console.notes import tell
from shared.console.progress import track
from shared.errors import ConfigError, DataError
from shared.files.differences import differences
from shared.files.documents import read_json
from shared.files.io import atomic_path, write_json, write_text
from shared.random import derive_seed
from speech.audio.paths import sound_path
from speech.data.clips import Waveform
from speech.data.levels import noise_gain, power

Row = dict[str, Any]

WHOLE_SETS = ("voicebank", "wsj0-chime3", "wsj0-reverb", "ears-wham")
"""Those that have all parts."""


@dataclass
class Prepared:
    """What a preparation made.

    Attributes:
        rows: of every pair, where it came from; what `<split>.csv` holds.
        failures: items that were left out, and why.
    """

    rows: list[Row] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def count(self, split: str) -> int:
        """Pairs of a split."""
        return sum(row["split"] == split for row in self.rows)


def claim_pairs(output: Path, settings: dict[str, Any], made_of: Sequence[str] = ()) -> None:
    """Note in `output` the settings of what is prepared there, and what it is made of, a file for each set or split.

    Raises:
        ConfigError: it holds pairs that were made otherwise.
    """
    mark = output / f"{settings.get('split', settings['set'])}.json"
    parts = [settings["split"]] if "split" in settings else ["train", "valid", "test"]
    wanted = json.loads(json.dumps({**settings, "made_of": f"{derive_seed(*made_of):016x}"}))
    marks = [mark, *(output / f"{name}.json" for name in (*parts, *WHOLE_SETS))]
    found = next((one for one in marks if one.is_file()), None)
    there = found is not None and any((output / part).is_dir() for part in parts)
    if there and (found != mark or read_json(mark) != wanted):
        told = _told_other(read_json(mark), wanted) if found == mark else ""
        raise ConfigError(
            f"{output} holds pairs of other settings or recordings ({found}{told}), which would stay; choose another "
            "--output, or remove that folder"
        )
    write_json(mark, wanted)


def _told_other(before: Any, wanted: dict[str, Any]) -> str:
    """Which settings differ, or that it is the recordings."""
    if not isinstance(before, dict):
        return ""
    told = differences({**before, "made_of": None}, {**wanted, "made_of": None})
    return f": {told}" if told else ": other recordings"


def refuse_inside(output: Path, recordings: Sequence[Path], parts: Sequence[str] = ()) -> None:
    """Refuse a place where the next run, or the rest of a stopped one, would take the pairs for recordings, or a
    training the recordings for pairs.

    Args:
        output: folder of the pairs.
        recordings: folders.
        parts: of the pairs that are to be made.

    Raises:
        ConfigError: `output` lies in one of them, or the folders of its pairs do, or hold one.
    """
    places = [output / part / kind for part in parts for kind in ("clean", "noisy")]
    for folder in (path.resolve() for path in recordings):
        if output.resolve().is_relative_to(folder):
            raise ConfigError(
                f"--output {output} lies in {folder}, where another run would take its pairs for recordings; choose a "
                "folder outside"
            )
        for place in (path.resolve() for path in places):
            if place.is_relative_to(folder) or folder.is_relative_to(place):
                raise ConfigError(
                    f"--output {output}: its pairs would lie in {place}, among the recordings of {folder}; choose "
                    "another folder"
                )


def for_each(
    items: Sequence[Any],
    name_of: Callable[[Any], str],
    make: Callable[[Any], Iterable[Row]],
    description: str,
    workers: int | None = None,
    progress: bool = True,
    left_out: Mapping[str, str] | None = None,
) -> Prepared:
    """Make the pairs of every item; one that raises DataError or OSError is noted, and the others go on.

    Args:
        items: what pairs are made of.
        name_of: an item, for the list of failures.
        make: the pairs of an item.
        description: of the work.
        workers: threads.
        progress: show a bar.
        left_out: what was left out before, and why.

    Raises:
        DataError: there are no items, or none could be made.
        OSError: the disk is full.
    """
    if not items:
        raise DataError(f"{description}: nothing to prepare")
    prepared = Prepared()

    def attempt(item: Any) -> list[Row] | str:
        try:
            return list(make(item))
        except (DataError, OSError) as error:
            if isinstance(error, OSError) and error.errno in _HOPELESS:
                raise
            return str(error)

    with ThreadPoolExecutor(max_workers=workers_of(workers)) as pool:
        made = pool.map(attempt, items)
        for item, result in zip(items, track(made, description, "files", total=len(items), show=progress), strict=True):
            if isinstance(result, str):
                prepared.failures[name_of(item)] = result
            else:
                prepared.rows += result
    if not prepared.rows:
        raise DataError(f"{description}: none could be made; the first: {next(iter(prepared.failures.values()))}")
    prepared.failures |= left_out or {}
    return prepared


def workers_of(workers: int | None) -> int:
    """Threads: so many, or as many as cores, up to eight."""
    return workers or min(8, os.cpu_count() or 1)


_HOPELESS = frozenset({28, 30, 13})  # no space, read-only, not permitted: what stops one item stops all


def write_wav(path: Path, samples: Waveform, sample_rate: int, subtype: str) -> None:
    """Write a waveform atomically.

    Raises:
        OSError: the disk is full, or the folder takes no files.
    """
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, sample_rate, format="WAV", subtype=subtype)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())


def write_pair(output: Path, split: str, name: str, clean: Waveform, noisy: Waveform, sample_rate: int) -> None:
    """Write `split/clean/name.wav` and `split/noisy/name.wav`; where 16 bits cannot hold a peak, both are scaled."""
    peak = max(float(np.abs(clean).max(initial=0)), float(np.abs(noisy).max(initial=0)))
    if peak > 0.999:
        scale = np.float32(0.999 / peak)
        clean, noisy = clean * scale, noisy * scale
    clean_path, noisy_path = pair_paths(output, split, name)
    write_wav(clean_path, clean, sample_rate, "PCM_16")
    write_wav(noisy_path, noisy, sample_rate, "PCM_16")


def pair_paths(output: Path, split: str, name: str) -> tuple[Path, Path]:
    """Where a pair is written."""
    return output / split / "clean" / f"{name}.wav", output / split / "noisy" / f"{name}.wav"


def is_done(output: Path, split: str, name: str) -> bool:
    """Whether a pair is there already."""
    return all(path.is_file() for path in pair_paths(output, split, name))


def read_part(path: Path, sample_rate: int, start: int = 0, length: int | None = None, channel: int = 0) -> Waveform:
    """Part of one channel, float32 (samples,), read from where it starts.

    Raises:
        DataError: the file cannot be read, ends before, holds NaN or infinite samples, or has another sample rate.
    """
    try:
        with soundfile.SoundFile(sound_path(path)) as stream:
            if stream.samplerate != sample_rate:
                raise DataError(f"{path} has {stream.samplerate} Hz, where {sample_rate} are expected; resample it")
            stream.seek(start)
            found = stream.read(-1 if length is None else length, dtype="float32", always_2d=True)[:, channel]
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read as audio ({error}); convert it to WAV") from error
    if length is not None and len(found) < length:
        raise DataError(f"{path} ends before its header says; fetch it again")
    return sound(found, str(path))


def sound(samples: Waveform, name: str) -> Waveform:
    """Samples of which something can be made, (samples,).

    Raises:
        DataError: there are none, or some are NaN or infinite, which would become clicks at full scale.
    """
    if not len(samples):
        raise DataError(f"{name} holds no samples; fetch it again, or remove it")
    if not np.isfinite(samples).all():
        raise DataError(f"{name} holds NaN or infinite samples; remove or repair it")
    return samples


def lengths(paths: Sequence[Path]) -> tuple[dict[Path, tuple[int, int]], dict[str, str]]:
    """Samples and channels of each file that can be read, and why the others are left out."""
    found, left_out = {}, {}
    for path in paths:
        try:
            info = soundfile.info(sound_path(path))
        except (soundfile.LibsndfileError, RuntimeError) as error:
            left_out[str(path)] = f"it cannot be read as audio ({error}); fetch it again"
            continue
        if info.frames:
            found[path] = (info.frames, info.channels)
        else:
            left_out[str(path)] = "it holds no samples; fetch it again"
    return found, left_out


def identities(found: Mapping[Path, tuple[int, int]], root: Path) -> list[str]:
    """What tells whether files below a root, of these samples and channels, are those of an earlier run."""
    return [f"{path.relative_to(root).as_posix()} {size} {channels}" for path, (size, channels) in found.items()]


def add_noise(speech: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """Speech and noise with their powers, over the whole, `snr_db` apart."""
    gain = noise_gain(power(speech), power(noise), snr_db)
    return speech + noise * np.float32(gain)


def finish(prepared: Prepared, output: Path, settings: dict[str, Any]) -> Prepared:
    """Write the tables `<split>.csv`, and `metrics.json` with counts and failures of all splits that lie in `output`,
    and the settings of this one."""
    splits = sorted({row["split"] for row in prepared.rows})
    for split in splits:
        rows = [row for row in prepared.rows if row["split"] == split]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(output / f"{split}.csv", text.getvalue())
        _tell_others(output, split, {str(row["id"]) for row in rows})
    files, failed = _of_other_splits(output, splits)
    whose = {"split": splits[0]} if len(splits) == 1 else {}
    failed += [{**whose, "item": item, "reason": reason} for item, reason in prepared.failures.items()]
    files |= {split: prepared.count(split) for split in splits}
    write_json(output / "metrics.json", {"files": files, "settings": settings, "failed": failed})
    return prepared


def _tell_others(output: Path, split: str, names: Collection[str]) -> None:
    """Tell of pairs of earlier runs, which a training would read, and the table has not."""
    clean = output / split / "clean"
    others = sorted(path.stem for path in clean.glob("*.wav") if path.stem not in names)
    if others:
        tell(
            f"{output / split} holds {len(others)} more of an earlier run, {others[0]} for one, which are not in "
            f"{split}.csv and would be trained on; remove them, or choose another --output"
        )


def _of_other_splits(output: Path, splits: Sequence[str]) -> tuple[dict[str, int], list[dict[str, str]]]:
    """Counts and failures that earlier runs left in `metrics.json`, of other splits that are still there."""
    if not (output / "metrics.json").is_file():
        return {}, []
    found = read_json(output / "metrics.json")
    files = {split: n for split, n in found["files"].items() if split not in splits and (output / split).is_dir()}
    return files, [failure for failure in found["failed"] if failure.get("split") in files]
