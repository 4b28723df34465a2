"""Rooms and lost upper bands: the bundled models for them beside usual baselines.

Rooms: speech of validation that no check of the training heard, in the measured rooms of validation and in simulated
ones, without noise, against its early part (50 ms); weighted prediction error (`nara-wpe`) in an environment of its
own, with three numbers of taps. Bands: speech sampled at 4, 8 or 16 kHz brought to 16 or 48 kHz, against what it was,
beside sinc interpolation (soxr) and cubic splines.

Example:
    python -m venv peers
    peers/bin/pip install numpy soundfile soxr nara-wpe
    OMP_NUM_THREADS=1 python benchmarks/speech_restoration.py --python peers/bin/python
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from scipy import stats
from scipy.interpolate import CubicSpline

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.speech_models import SHARED_SPEECH
from benchmarks.speech_sounds import evenly, mono
from shared.files.io import write_text
from speech import Enhancer, metrics
from speech.audio.files import Audio, read_audio
from speech.audio.resampling import fit_length, resample
from speech.audio.writing import write_audio
from speech.data.rooms import read_responses, reverberate, simulated_responses
from speech.metrics.spectral import lsd
from speech.training.recordings import validation_set
from speech.training.settings import read_experiment

RUNNER = Path(__file__).with_name("speech_peer_runner.py")
EARLY_MS, ROOMS, ROOMS_SEED, TAPS = 50.0, 9, 1000, (10, 20, 40)
ROOM, MODEL_RATE, TOP = "rooms", 16000, 20000.0
BANDS = {"4 to 16 kHz": (4000, 16000), "8 to 16 kHz": (8000, 16000), "8 to 48 kHz": (8000, 48000)} | {
    "16 to 48 kHz": (16000, 48000)
}
SCORES: dict[str, tuple[str, int]] = {
    "pesq": ("PESQ-WB", 2),
    "estoi": ("ESTOI", 3),
    "si_sdr": ("SI-SDR, dB", 1),
    "dnsmos": ("DNSMOS OVRL", 2),
    "lsd": ("LSD, dB", 2),
    "lsd_above": ("LSD of the lost band", 2),
    "level_above": ("level of the lost band, dB", 1),
}
Waveform = np.ndarray
System = Callable[[list[Waveform], int, int], list[Waveform]]
"""From recordings at one rate to results at another."""


@dataclass(frozen=True)
class Pair:
    """A recording and what it should be, (samples,), at rates of their own."""

    wanted: Waveform
    given: Waveform


@dataclass(frozen=True)
class Task:
    """Pairs, the rates of what is given and wanted, and Hz above which the band was lost."""

    pairs: list[Pair]
    rate: int
    wanted_rate: int
    lost: float | None = None


def spoken(most: int) -> list[Waveform]:
    """Evenly chosen recordings of validation at 16 kHz, without those that checks of the trainings used."""
    heard = {name for name, *_ in validation_set(read_experiment("dereverb"), SHARED_SPEECH)}
    folder = SHARED_SPEECH / "valid/clean"
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".flac", ".wav", ".ogg", ".opus")
        and not any(name in "-".join(path.relative_to(folder).with_suffix("").parts) for name in heard)
    ]
    return [mono(read_audio(path), MODEL_RATE) for path in evenly(files, most)]


def wide(most: int) -> list[Waveform]:
    """Evenly chosen recordings at 48 kHz."""
    files = sorted((SHARED_SPEECH / "fullband/valid/clean").rglob("*.ogg"))
    return [mono(read_audio(path), 48000) for path in evenly(files, most)]


def task(name: str, most: int) -> Task:
    """One of the tasks."""
    if name == ROOM:
        rooms = read_responses(SHARED_SPEECH / "valid/rir", MODEL_RATE)
        rooms += simulated_responses(ROOMS, ROOMS_SEED)
        pairs = []
        for place, dry in enumerate(spoken(most)):
            wet, early = reverberate(dry, rooms[place % len(rooms)], EARLY_MS)
            scale = np.float32(0.9 / max(float(np.abs(wet).max()), 0.9))
            pairs.append(Pair(early * scale, wet * scale))
        return Task(pairs, MODEL_RATE, MODEL_RATE)
    rate, wanted_rate = BANDS[name]
    whole = spoken(most) if wanted_rate == MODEL_RATE else wide(most)
    return Task([Pair(each, resample(each, wanted_rate, rate)) for each in whole], rate, wanted_rate, rate / 2)


def sinc(given: list[Waveform], rate: int, wanted: int) -> list[Waveform]:
    """Band-limited interpolation."""
    return [resample(each, rate, wanted) for each in given]


def spline(given: list[Waveform], rate: int, wanted: int) -> list[Waveform]:
    """Cubic splines through the samples."""
    made = []
    for each in given:
        places = np.arange(len(each) * wanted // rate) * (rate / wanted)
        made.append(CubicSpline(np.arange(len(each)), each)(places).astype(np.float32))
    return made


def ours(model: str) -> System:
    """One of our models, as `Enhancer.enhance` runs it."""
    loaded = Enhancer.from_pretrained(model, device="cpu").model

    def run(given: list[Waveform], rate: int, wanted: int) -> list[Waveform]:
        enhancer = Enhancer(loaded, rate=wanted)
        return [enhancer.enhance(each, rate) for each in given]

    return run


PEER_SECONDS: list[float] = []


def wpe(python: Path, taps: int) -> System:
    """Weighted prediction error (Nakatani et al. 2010) in its environment."""

    def run(given: list[Waveform], rate: int, wanted: int) -> list[Waveform]:
        with tempfile.TemporaryDirectory(prefix="speech-restoration-") as folder:
            noisy, done = Path(folder) / "noisy", Path(folder) / "enhanced"
            for place, wave in enumerate(given):
                write_audio(noisy / f"{place:03d}.wav", Audio(wave[None], rate, "WAV", "FLOAT"))
            command = [str(python), str(RUNNER), f"wpe_{taps}", str(noisy), str(done)]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            PEER_SECONDS.append(json.loads(told.strip().splitlines()[-1])["cpu_per_second"])
            made = [read_audio(path).waveform[0] for path in sorted(done.glob("*.wav"))]
        return [each[: len(wave)] for each, wave in zip(made, given, strict=True)]

    return run


def scores(wanted: Waveform, made: Waveform, rate: int, lost: float | None) -> dict[str, float]:
    """All of `SCORES`; distances of spectra up to 20 kHz."""
    made, high = fit_length(made, len(wanted)), min(TOP, rate / 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            "pesq": metrics.pesq_wb(wanted, made, rate),
            "estoi": metrics.estoi(wanted, made, rate),
            "si_sdr": metrics.si_sdr(wanted, made, rate),
            "dnsmos": metrics.dnsmos(made, rate).ovrl,
            "lsd": lsd(wanted, made, rate, high=high),
        }
        if lost is None:
            return found
        powers = [power_between(each, rate, lost, high) for each in (made, wanted)]
        level = 10 * np.log10(powers[0] / powers[1])
        return {**found, "lsd_above": lsd(wanted, made, rate, low=lost, high=high), "level_above": level}


def power_between(waveform: Waveform, rate: int, low: float, high: float) -> float:
    """Energy of a waveform (samples,) from one frequency to another, in Hz; any common factor."""
    spectrum = np.abs(np.fft.rfft(waveform.astype(np.float64))) ** 2
    frequencies = np.fft.rfftfreq(len(waveform), 1 / rate)
    return float(spectrum[(frequencies >= low) & (frequencies <= high)].sum())


def row(given: Task, system: System) -> dict[str, float]:
    """Means of the scores, halves of their 95 % intervals, and the CPU time for a second of sound."""
    PEER_SECONDS.clear()
    started = time.process_time()
    made = system([pair.given for pair in given.pairs], given.rate, given.wanted_rate)
    spent = time.process_time() - started
    seconds = sum(len(pair.wanted) for pair in given.pairs) / given.wanted_rate
    each = [
        scores(pair.wanted, one, given.wanted_rate, given.lost) for pair, one in zip(given.pairs, made, strict=True)
    ]
    found: dict[str, float] = {
        "files": len(each),
        "cpu": PEER_SECONDS[0] if PEER_SECONDS else spent / seconds,
    }
    for score in each[0]:
        values = np.array([one[score] for one in each])
        found[score] = float(values.mean())
        found[f"{score}_ci95"] = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return found


def report(rows: list[dict[str, Any]]) -> str:
    """Markdown, a table a task."""
    parts = []
    for name in (ROOM, *BANDS):
        lines = []
        for each in (one for one in rows if one["task"] == name):
            cells = [
                f"{float(each[score]):.{decimals}f} ± {float(each[f'{score}_ci95']):.{decimals}f}"
                if each.get(score) not in (None, "")
                else "–"
                for score, (_, decimals) in SCORES.items()
            ]
            lines.append([each["system"], *cells, f"{float(each['cpu']):.3f}"])
        if lines:
            head = [name, *(title for title, _ in SCORES.values()), "CPU"]
            parts.append(f"\n## {name[0].upper()}{name[1:]}\n\n" + table(head, lines))
    counts = " or ".join(str(count) for count in sorted({int(each["files"]) for each in rows}))
    return (
        header("Rooms and lost upper bands")
        + f"\n{counts} recordings a task; mean ± half the 95 % interval. Rooms: the measured ones of validation and "
        f"{ROOMS} simulated, no noise, against the early part ({EARLY_MS:g} ms). Bands: against the recording before "
        "it lost its upper band; LSD (lower is better) and level, of which 0 is right, up to 20 kHz at most. CPU: "
        "seconds of processor time for a second of sound, one thread, on a machine that was busy with other work.\n"
        + "".join(parts)
    )


def main(
    python: Annotated[Path | None, typer.Option(help="Python of an environment that has nara-wpe.")] = None,
    tasks: Annotated[list[str], typer.Option("--task", help="Which; repeat the option.")] = [ROOM, *BANDS],  # noqa: B006
    rooms: Annotated[str, typer.Option(help="Our model for rooms.")] = "dereverb",
    bands: Annotated[str, typer.Option(help="Our model for bands.")] = "bandwidth",
    files: Annotated[int, typer.Option(help="Recordings, at most.")] = 36,
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/speech_restoration.csv"
    ),
    redo: Annotated[bool, typer.Option(help="Measure again what is in the table.")] = False,
) -> None:
    """Restore, score, and write the table."""
    torch.set_num_threads(1)
    results = Rows(output, ("task", "system"))
    for name in tasks:
        systems: dict[str, Callable[[], System]] = {"as given": lambda: sinc}
        if name == ROOM:
            if python is not None:
                systems |= {f"WPE, {taps} taps": partial(wpe, python, taps) for taps in TAPS}
            systems |= {model: partial(ours, model) for model in ("default", rooms)}
        else:
            systems = {"sinc": lambda: sinc, "cubic spline": lambda: spline, bands: partial(ours, bands)}
        missing = [each for each in systems if redo or not results.has({"task": name, "system": each})]
        given = task(name, files) if missing else None
        for each in missing:
            assert given is not None
            found = row(given, systems[each]())
            results.add({"task": name, "system": each, **found})
            print(name, each, *(f"{score} {found[score]:.3f}" for score in SCORES if score in found), flush=True)
    write_text(output.with_suffix(".md"), report(results.read()))


if __name__ == "__main__":
    typer.run(main)
