"""The two qualities of an enhancer: a model by itself ("standard"), and averaged with its companion ("best").

Mixtures of speakers and noises of the shared data's validation part, which are in no training; both qualities on the
same ones. CPU seconds are of one thread.

Example:
    OMP_NUM_THREADS=1 python benchmarks/speech_quality.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder
from shared.files.io import write_text
from speech import Enhancer
from speech.data import MixConfig, validation_pairs
from speech.data.clips import Waveform, read_clips
from speech.data.levels import noise_gain, power
from speech.data.mixing import noise_crop
from speech.metrics import METRICS, score
from speech.metrics.evaluation import mean_interval

RATE, SECONDS = 16000, 6.0
SCORES = ("pesq_wb", "estoi", "si_sdr", "dnsmos_ovrl")
QUALITIES = ("standard", "best")
USUAL = MixConfig(
    snr_db=(0.0, 20.0), noises=3, noise_speed=(0.7, 1.4), noise_tilt=(-4.0, 1.0), rumble=0.5, speech_low_cut=50.0
)
UNHEARD = "fullband/valid/noise/esc10"


@dataclass(frozen=True)
class Condition:
    """How mixtures are made.

    Attributes:
        mix: settings of mixing.
        noise: folder of the noises in the speech data.
        rooms: whether in rooms.
    """

    mix: MixConfig
    noise: str = "valid/noise"
    rooms: bool = False


CONDITIONS = {
    "0 to 20 dB": Condition(USUAL),
    "0 to 20 dB, in rooms": Condition(replace(USUAL, reverb=1.0), rooms=True),
    "0 to 20 dB, two classes of noise that no training has": Condition(USUAL, UNHEARD),
    "-10 to 0 dB": Condition(replace(USUAL, snr_db=(-10.0, 0.0))),
    "clipped by 6 to 12 dB, 10 dB": Condition(
        replace(USUAL, snr_db=(10.0, 10.0), clipped=1.0, clip_db=(6.0, 12.0), rumble=0.0)
    ),
    "band ends at 3.3 to 7 kHz, 15 dB": Condition(
        replace(USUAL, snr_db=(15.0, 15.0), limited=1.0, high_hz=(3300.0, 7000.0), resampled=0.5)
    ),
    "45 dB": Condition(replace(USUAL, snr_db=(45.0, 45.0), rumble=0.0)),
}


def mixtures(condition: Condition, speech: Path, count: int) -> list[tuple[Waveform, Waveform]]:
    rooms = speech / "valid/rir" if condition.rooms else None
    pairs = validation_pairs(speech / "valid/clean", speech / condition.noise, rooms, count, SECONDS, 11, condition.mix)
    return [(np.ravel(clean), np.ravel(noisy)) for _, clean, noisy in pairs]


def rows(name: str, pairs: Sequence[tuple[Waveform, Waveform]], enhancers: dict[str, Enhancer]) -> list[list[str]]:
    """A row for what came, for each quality, and for the gain of the second, with half of its 95 % interval."""

    def scores(results: Sequence[Waveform]) -> np.ndarray:
        each = [score(SCORES, clean, made, RATE) for (clean, _), made in zip(pairs, results, strict=True)]
        return np.array([[found[one].value for one in SCORES] for found in each])

    found = {"noisy": scores([noisy for _, noisy in pairs])}
    for quality, enhancer in enhancers.items():
        found[quality] = scores([enhancer.enhance(noisy, RATE) for _, noisy in pairs])
    decimals = [METRICS[one].decimals for one in SCORES]
    lines = []
    for what, values in found.items():
        means = [f"{mean:.{places}f}" for mean, places in zip(np.nanmean(values, axis=0), decimals, strict=True)]
        lines.append([name, what, *means])
    told = []
    for gains, places in zip((found["best"] - found["standard"]).T, decimals, strict=True):
        interval = mean_interval(gains)
        told.append(f"{interval['mean']:+.{places}f} ± {interval['ci95']:.{places}f}")
    return [*lines, [name, "gain", *told]]


def left_in_pauses(speech: Path, enhancers: dict[str, Enhancer], count: int) -> list[list[str]]:
    """Level of noise that is left, against that of the noise, in two seconds between words, at 5 and 15 dB."""
    clips = [clip for clip in read_clips(speech / "valid/clean", RATE) if len(clip) >= 4 * RATE]
    noises = read_clips([speech / "valid/noise", speech / UNHEARD], RATE)
    order, gap = np.random.default_rng(5).permutation(len(clips))[:count], 2 * RATE
    lines = []
    for snr in (5.0, 15.0):
        left: dict[str, list[float]] = {quality: [] for quality in enhancers}
        for seed, place in enumerate(order):
            rng, words = np.random.default_rng(seed), clips[place].read(0, 4 * RATE)
            voice = np.concatenate([words, np.zeros(gap, np.float32), words])
            noise = noise_crop(noises[seed % len(noises)], len(voice), rng)
            noise = noise * np.float32(noise_gain(power(voice), power(noise), snr))
            inner = slice(len(words) + RATE // 2, len(words) + gap - RATE // 4)
            for quality, enhancer in enhancers.items():
                made = enhancer.enhance(voice + noise, RATE)
                left[quality].append(10 * np.log10((power(made[inner]) + 1e-12) / (power(noise[inner]) + 1e-12)))
        lines.append([f"{snr:g} dB", *(f"{np.mean(values):.1f}" for values in left.values())])
    return lines


def cpu_seconds(enhancer: Enhancer) -> float:
    """Of a second of sound, the median of five runs."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(8 * RATE).astype(np.float32)
    taken = []
    for _ in range(6):
        started = time.process_time()
        enhancer.enhance(noise, RATE)
        taken.append((time.process_time() - started) / 8)
    return float(np.median(taken[1:]))


def main(
    model: Annotated[str, typer.Option(help="Name or folder.")] = "default",
    data: DataFolder = DEFAULT_DATA,
    count: Annotated[int, typer.Option(help="Mixtures of each condition.", min=2)] = 32,
    output: Annotated[Path, typer.Option(help="Table to write.")] = Path("benchmarks/results/speech_quality.md"),
) -> None:
    """Measure, and write the tables."""
    torch.set_num_threads(1)
    speech = data / "speech"
    enhancers = {one: Enhancer.from_pretrained(model, device="cpu", quality=one) for one in QUALITIES}  # type: ignore[arg-type]
    lines = []
    for name, condition in CONDITIONS.items():
        for line in rows(name, mixtures(condition, speech, count), enhancers):
            print(*line, flush=True)
            lines.append(line)
    pauses = left_in_pauses(speech, enhancers, count)
    costs = [cpu_seconds(enhancer) for enhancer in enhancers.values()]
    companion = enhancers["best"].model.config.companion
    assert companion is not None
    text = (
        f"{header('The two qualities of the default enhancer')}\n"
        f'`quality="best"` averages the results with those of the companion, `{companion.model}`: '
        f"{companion.share:g} of them where they hold less, {companion.beyond:g} where more. {count} mixtures of "
        f"{SECONDS:g} s a row, of speakers and noises of validation; gains are of the best over the standard one, the "
        "mean over mixtures ± half of its 95 % interval.\n\n"
        + table(["mixtures", "", *(METRICS[one].title for one in SCORES)], lines)
        + "\n## Noise in pauses, dB\n\nWhat is left of the noise in two seconds between words.\n\n"
        + table(["SNR", *QUALITIES], pauses)
        + f"\n## CPU seconds for a second of sound, one thread\n\n{costs[0]:.3f} and {costs[1]:.3f}: "
        f"{costs[1] / costs[0]:.2f} times as much.\n"
    )
    write_text(output, text)


if __name__ == "__main__":
    typer.run(main)
