"""Scores of a folder of enhanced files against the clean ones, a row a file, and their means."""

from __future__ import annotations

import math
import os
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from shared.checks import Count, checked
from shared.console.progress import track
from shared.errors import ConfigError, DataError
from shared.optional import needed
from speech.audio.coding import written_name
from speech.audio.files import read_audio
from speech.audio.paths import without_snr
from speech.audio.search import find_audio, tell_passed
from speech.metrics.alignment import delay, overlapping, placed
from speech.metrics.checks import resampled
from speech.metrics.measures import METRICS, Score, chosen_metrics, score

NOISY = "noisy_"
"""Prefix of the columns that score the noisy recordings."""

Place = str | os.PathLike[str]
Kind = Literal["noisy", "enhanced", "gain"]
_KINDS: tuple[Kind, ...] = ("noisy", "enhanced", "gain")


def evaluate(
    clean_dir: Place | None,
    enhanced_dir: Place,
    noisy_dir: Place | None = None,
    *,
    metrics: Iterable[str] | None = None,
    workers: int | None = None,
    align: bool = False,
    progress: bool = True,
    files: Iterable[Place] | None = None,
) -> pd.DataFrame:
    """Score every enhanced file, and the noisy recording it was made of, against the clean file of the same name.

    Files are paired by their path below the folder, whatever their suffix, and noisy ones that have their SNR in their
    name (`a_5.3dB.wav`, as of EARS-WHAM) with the clean file without. A file at another rate than the clean one is
    resampled to that (soxr). Files of several channels are scored channel by channel, and averaged.

    Args:
        clean_dir, enhanced_dir, noisy_dir: Folders of audio files, or a file each, whatever their names; the last is
            optional. Without the first (None) the recordings are scored by themselves.
        metrics: Names in `METRICS`; "all" for all; left out, `DEFAULT_METRICS`, or without clean recordings
            `WITHOUT_REFERENCE`. SI-SIR and SI-SAR need `noisy_dir`.
        workers: Processes [one a core]; 1 scores in this one.
        align: Whether to take out a constant delay of up to 10 s before scoring; what it pushed beyond an end of the
            file is not scored.
        progress: Whether to show a progress bar, on a terminal.
        files: Those in `enhanced_dir` that count, such as the targets of one run [all].

    Returns:
        A row for each name that occurs in any folder: `file`, `seconds`, a column for each metric, `noisy_` columns for
        the noisy recordings, and `reason`. What cannot be scored is NaN (or an infinity), and `reason` says which
        metrics and why; elsewhere it is empty.

    Raises:
        ConfigError: A metric is unknown or needs recordings that are not given; so does `align`; or `workers` is not
            a whole number from 1.
        DataError: A folder does not exist or holds no audio file, one is given beside a file, there is nothing to
            score, or a worker process was killed.
    """
    checked(Count | None, workers=workers)
    jobs = scorings(clean_dir, enhanced_dir, noisy_dir, metrics, align, files)
    results = _rows(jobs, min(workers or _cores(), len(jobs)))
    return rows_to_frame(jobs, track(results, "scoring", "files", total=len(jobs), show=progress))


def scorings(
    clean_dir: Place | None,
    enhanced_dir: Place,
    noisy_dir: Place | None = None,
    metrics: Iterable[str] | None = None,
    align: bool = False,
    files: Iterable[Place] | None = None,
) -> list[Scoring]:
    """What there is to score, a file each; see `evaluate`."""
    names = chosen_metrics(metrics, noise=noisy_dir is not None, reference=clean_dir is not None)
    if align and clean_dir is None:
        raise ConfigError("align=True: a delay is found against clean recordings, and there are none; leave it out")
    folders = {"enhanced": Path(enhanced_dir)}
    if clean_dir is not None:
        folders = {"clean": Path(clean_dir), **folders}
    if noisy_dir is not None:
        folders["noisy"] = Path(noisy_dir)
    counted = None if files is None else {os.path.abspath(file) for file in files}
    found = paired_files(folders, counted)
    if not found:
        raise DataError(f"none of `files` lies in {enhanced_dir}, and there are no others to score; leave `files` out")
    return [Scoring(file, paths, tuple(names), align) for file, paths in found.items()]


def rows_to_frame(jobs: Sequence[Scoring], rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """The frame of `evaluate` of the rows of these files."""
    kinds = ["", NOISY] if "noisy" in jobs[0].paths else [""]
    columns = ["file", "seconds", *(kind + name for kind in kinds for name in jobs[0].metrics), "reason"]
    return pd.DataFrame(list(rows))[columns]


def _rows(jobs: Sequence[Scoring], count: int) -> Iterator[dict[str, Any]]:
    """The row of each job, made by `count` processes."""
    if count == 1:
        yield from map(scored, jobs)
        return
    several = f"scoring in {count} processes rather than one (workers=1, --workers 1)"
    joblib = needed("joblib", "metrics", several)
    executor = needed("joblib.externals.loky.process_executor", "metrics", several)
    try:
        yield from joblib.Parallel(n_jobs=count, return_as="generator")(joblib.delayed(scored)(job) for job in jobs)
    except executor.TerminatedWorkerError as error:
        raise DataError(
            "a process that scored files was killed, perhaps for want of memory; give workers=1 to see on which file"
        ) from error


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over the files of `evaluate`, a row for each metric and kind: noisy, enhanced, and gain, their difference.

    Where there are noisy recordings, a file counts for a metric only if both its recordings could be scored, so that
    the means compare the same files.

    Returns:
        Columns metric, kind, mean, std (n − 1), ci95 (half the width of the 95 % interval of the mean, by Student's t),
        n; std and ci95 are NaN for n < 2, the mean for n = 0.
    """
    rows = []
    for name in [column for column in frame.columns if column in METRICS]:
        values = {"enhanced": frame[name].to_numpy(float)}
        if NOISY + name in frame:
            values["noisy"] = frame[NOISY + name].to_numpy(float)
            with np.errstate(invalid="ignore"):
                values["gain"] = values["enhanced"] - values["noisy"]
        usable = np.all([np.isfinite(each) for each in values.values()], axis=0)
        for kind in _KINDS:
            if kind in values:
                rows.append({"metric": name, "kind": kind, **mean_interval(values[kind][usable])})
    return pd.DataFrame(rows, columns=["metric", "kind", "mean", "std", "ci95", "n"])


def mean_interval(values: Any) -> dict[str, float]:
    """mean, std (n − 1), ci95 (half the width of the mean's 95 % interval, by Student's t) and n of some numbers."""
    values = np.asarray(values, dtype=np.float64)
    n = values.size
    std = float(values.std(ddof=1)) if n > 1 else math.nan
    half = float(stats.t.ppf(0.975, n - 1)) * std / math.sqrt(n) if n > 1 else math.nan
    return {"mean": float(values.mean()) if n else math.nan, "std": std, "ci95": half, "n": n}


def failures(frame: pd.DataFrame) -> list[dict[str, str]]:
    """The files of `evaluate` that could not be scored in full: {"file", "reason"} of each."""
    return [{"file": str(row.file), "reason": str(row.reason)} for row in frame.itertuples() if row.reason]


def paired_files(folders: dict[str, Path], counted: Container[str] | None = None) -> dict[str, dict[str, list[Path]]]:
    """Files below each folder, links to folders followed, by their path without suffix: name → folder → files of that
    name, one if all is well; "a_5dB", where no clean file is called so, has the clean file "a". Of the enhanced ones,
    where given, the `counted`, by their absolute paths. Files in place of the folders are one pair, by the name of the
    last.

    Raises:
        DataError: A folder does not exist or holds no audio file, or is given beside a file.
    """
    files = [path for path in folders.values() if path.is_file()]
    if files and len(files) == len(folders):
        return {name_of(Path(files[-1].name)): {kind: [path] for kind, path in folders.items()}}
    if files and (others := [path for path in folders.values() if path.is_dir()]):
        raise DataError(f"{files[0]} is a file and {others[0]} a folder; name files alone, or folders")
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: {kind: [] for kind in folders})
    for kind, folder in folders.items():
        try:
            files, passed = find_audio(folder)
        except DataError as error:
            raise DataError(f"the {kind} folder {error}") from error
        tell_passed(folder, passed)
        for path in files:
            if kind == "enhanced" and counted is not None and os.path.abspath(path) not in counted:
                continue
            found[name_of(path.relative_to(folder))][kind].append(path)
    return dict(sorted(_with_clean(found).items()))


def _with_clean(found: dict[str, dict[str, list[Path]]]) -> dict[str, dict[str, list[Path]]]:
    """The files by name, those with an SNR in their name beside the clean file without, which they all share."""
    shared = set[str]()
    for name, files in found.items():
        of = without_snr(name)
        if of != name and not files.get("clean", True) and of in found and found[of]["clean"]:
            files["clean"] = found[of]["clean"]
            shared.add(of)
    alone = {of for of in shared if not any(files for kind, files in found[of].items() if kind != "clean")}
    return {name: files for name, files in found.items() if name not in alone}


def name_of(path: Path) -> str:
    """What pairs files: the path below their folder without suffix, with forward slashes, its accents composed (NFC),
    as macOS has them apart; of a result such as call.amr.wav without both suffixes."""
    stem = path.with_suffix("")
    if written_name(stem) != stem:
        stem = stem.with_suffix("")
    return unicodedata.normalize("NFC", stem.as_posix())


@dataclass(frozen=True)
class Scoring:
    """A file to score: the files of its name below each folder ("clean", "enhanced", "noisy"), one each if all is well,
    and how."""

    file: str
    paths: dict[str, list[Path]]
    metrics: tuple[str, ...]
    align: bool


def scored(job: Scoring) -> dict[str, Any]:
    """Scores of one file; whatever goes wrong with it is its reason, and the others go on."""
    row = unscored(job)
    try:
        for kind, paths in job.paths.items():
            if len(paths) != 1:
                many = ", ".join(path.name for path in paths)
                raise DataError(f"{len(paths)} {kind} files have this name: {many}" if paths else f"no {kind} file")
        row |= _scores(job)
    except Exception as error:
        row["reason"] = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    return row


def unscored(job: Scoring, reason: str = "") -> dict[str, Any]:
    """The row of a file without scores."""
    row: dict[str, Any] = {"file": job.file, "seconds": math.nan, "reason": reason}
    for prefix in ("", NOISY):
        row |= {prefix + name: math.nan for name in job.metrics}
    return row


def _scores(job: Scoring) -> dict[str, Any]:
    audio = {kind: read_audio(paths[0]) for kind, paths in job.paths.items()}
    base = "clean" if "clean" in audio else "enhanced"
    rate = audio[base].sample_rate
    waveforms: dict[str, list[np.ndarray]] = {}
    for kind, recording in audio.items():
        if len(recording.waveform) != len(audio[base].waveform):
            raise DataError(
                f"channels: {len(audio[base].waveform)} in the {base} file, {len(recording.waveform)} in the {kind} one"
            )
        waveforms[kind] = [
            resampled(channel.astype(np.float64), recording.sample_rate, rate) for channel in recording.waveform
        ]
    values: dict[str, list[float]] = defaultdict(list)
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    channels = len(waveforms[base])
    for channel in range(channels):
        where = f" of channel {channel + 1}" if channels > 1 else ""
        one = {kind: each[channel] for kind, each in waveforms.items()}
        for kind, name, found in _channel_scores(job, one, rate):
            values[(NOISY if kind == "noisy" else "") + name].append(found.value)
            if found.reason is not None:
                reasons[kind, where + ": " + found.reason].append(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        means = {name: float(np.mean(each)) for name, each in values.items()}
    reason = "; ".join(f"{kind} {', '.join(names)}{why}" for (kind, why), names in reasons.items())
    return {"seconds": len(waveforms[base][0]) / rate, "reason": reason, **means}


def _channel_scores(job: Scoring, waves: dict[str, np.ndarray], rate: int) -> Iterator[tuple[str, str, Score]]:
    """Kind, metric and score of what is enhanced and what is noisy among waveforms (samples,), by kind."""
    clean, noisy = waves.get("clean"), waves.get("noisy")
    lates = dict[str, int]()
    if job.align and clean is not None:
        lates = {kind: delay(clean, wave, rate) for kind, wave in waves.items() if kind != "clean"}
    for kind in ("enhanced", "noisy"):
        if kind not in waves:
            continue
        estimate, part = waves[kind], slice(None)
        if clean is not None and kind in lates:
            estimate, part = overlapping(clean, estimate, lates[kind])
        noise = None if noisy is None else placed(noisy, lates.get("noisy", 0))[part]
        against = None if clean is None else clean[part]
        for name, found in score(job.metrics, against, estimate, rate, noisy=noise).items():
            yield kind, name, found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
