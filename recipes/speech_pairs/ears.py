"""EARS-WHAM (Richter et al., Interspeech 2024): the facts of its public script, drawn item by item.

EARS has 107 speakers at 48 kHz, CC BY-NC 4.0, in folders p001 to p107; the noise is WHAM! at 48 kHz. Speakers p100 and
p101 validate, p102 to p107 test. Interjections, melodic, nonverbal and vegetative sounds are left out. The SNR is of
loudness (ITU-R BS.1770), uniform in −2.5 to 17.5 dB and rounded to 0.1; where the mixture would clip it is raised by
1 dB until it does not. Recordings under 4 s do not train, longer ones are cut to pieces of 10 s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from pydantic import TypeAdapter, ValidationError

from shared.checks import Natural
from shared.errors import ConfigError, DataError
from shared.files.documents import read_json
from shared.random import derive_seed
from speech.data.clips import Waveform

from .common import (
    Prepared,
    Row,
    claim_pairs,
    finish,
    for_each,
    identities,
    lengths,
    read_part,
    refuse_inside,
    write_wav,
)

Cuts = dict[str, dict[str, list[tuple[Natural, int]]]]
"""For each speaker and recording the first and last sample of each piece; −1 is the end."""

RATE = 48000
VALID = ("p100", "p101")
TEST = ("p102", "p103", "p104", "p105", "p106", "p107")
HELD_OUT_STYLES = ("interjection", "melodic", "nonverbal", "vegetative")
SNR_DB = (-2.5, 17.5)
MIN_SECONDS, CUT_SECONDS, MAX_TEST_SECONDS, RAMP_SECONDS = 4.0, 10.0, 29.0, 0.01
SNR_BINS = 12


@dataclass(frozen=True)
class _Recording:
    split: str
    number: int
    path: Path
    pieces: tuple[tuple[int, int], ...]
    snr_range: tuple[float, float]

    @property
    def speaker(self) -> str:
        return self.path.parent.name


def prepare_ears_wham(
    ears: str | Path,
    wham: str | Path,
    output: str | Path,
    *,
    sample_rate: int = RATE,
    cuts: str | Path | None = None,
    seed: int = 42,
    workers: int | None = None,
    progress: bool = True,
) -> Prepared:
    """Mix the set into `output/{train,valid,test}/{clean,noisy}/<speaker>`.

    The noise is a random part of a random channel of a recording that is as long. SNRs of the test part are spread
    evenly within a style. Names are those of the public set: `00000.wav`, and `00000_5.3dB.wav` the noisy one.

    Args:
        ears: folder that holds p001 to p107.
        wham: folder of the noise recordings, at any depth.
        output: folder of the pairs.
        sample_rate: Hz; mixed at 48 kHz, resampled then.
        cuts: the public script's `test_files.json`, which says which recordings test and where they are cut; without it
            all that are not held out, cut at 29 s.
        seed: of noises and SNRs.
        workers: threads.
        progress: show a bar.

    Raises:
        DataError: speech or noise is missing, or nothing could be read.
        ConfigError: the sample rate is above 48 kHz, `output` holds other pairs or pairs of other recordings, or lies
            in the folder of noise.
    """
    ears, wham, output = Path(ears), Path(wham), Path(output)
    if not 0 < sample_rate <= RATE:
        raise ConfigError(f"sample_rate={sample_rate}: need one up to {RATE} Hz")
    refuse_inside(output, [wham])
    noises, left_out = lengths(sorted(wham.rglob("*.wav")))
    if not noises:
        raise DataError(f"{wham} has no WAV files that can be read; give the folder of WHAM! at 48 kHz")
    sizes, unread = _sizes(ears)
    given = None if cuts is None else _cuts(cuts)
    recordings = _recordings(sizes, given)

    settings = {"set": "ears-wham", "sample_rate": sample_rate, "seed": seed, "snr_db": SNR_DB}
    # names are numbers in the order of all recordings, so that one more would give its name to another's pair
    used = [*identities(sizes, ears), *identities(noises, wham)]
    claim_pairs(output, settings, used if cuts is None else [*used, Path(cuts).read_text(encoding="utf-8")])

    def make(item: _Recording) -> Iterator[Row]:
        return _mix(item, noises, output, sample_rate, seed)

    left_out |= unread | _missing(given or {}, ears)
    prepared = for_each(recordings, lambda item: str(item.path), make, "EARS-WHAM", workers, progress, left_out)
    return finish(prepared, output, settings)


def _cuts(path: str | Path) -> Cuts:
    """What a file of cuts holds."""
    try:
        return TypeAdapter(Cuts).validate_python(read_json(path, DataError))
    except ValidationError as error:
        raise DataError(
            f"{path} does not hold pairs of a first and a last sample by speaker and recording; give the public "
            "script's test_files.json"
        ) from error


def _missing(cuts: Cuts, ears: Path) -> dict[str, str]:
    """Recordings to test with that are not there, without which the test is another than the public one."""
    given = [(speaker, stem) for speaker in TEST for stem, pieces in cuts.get(speaker, {}).items() if pieces]
    named = [ears / speaker / f"{stem}.wav" for speaker, stem in given]
    return {str(path): "it is to be tested with, and is not there; fetch it" for path in named if not path.is_file()}


def _sizes(ears: Path) -> tuple[dict[Path, tuple[int, int]], dict[str, str]]:
    """See `lengths`, of all recordings in order."""
    speakers = sorted(p for p in ears.glob("p*") if p.is_dir())
    if not speakers:
        raise DataError(f"{ears} has no folders p001, p002, …; give the folder of EARS")
    return lengths([path for folder in speakers for path in sorted(folder.glob("*.wav"))])


def _recordings(sizes: dict[Path, tuple[int, int]], cuts: Cuts | None) -> list[_Recording]:
    found: list[_Recording] = []
    numbers: Counter[str] = Counter()
    styles: Counter[str] = Counter()
    for path, (size, _) in sizes.items():
        speaker = path.parent.name
        split = "valid" if speaker in VALID else "test" if speaker in TEST else "train"
        if split == "test" and cuts is not None:
            pieces = _given_pieces(cuts.get(speaker, {}).get(path.stem, []), size)
        elif path.stem.split("_")[0] in HELD_OUT_STYLES:
            pieces = []
        else:
            pieces = _pieces(size, split)
        if split != "test":
            mixed_at_once = [(tuple(pieces), SNR_DB)] if pieces else []
        else:
            mixed_at_once = [((piece,), _even_snr(styles, _style(path.stem))) for piece in pieces]
        for together, limits in mixed_at_once:
            found.append(_Recording(split, numbers[split], path, together, limits))
            numbers[split] += len(together)
    return found


def _style(stem: str) -> str:
    words = [word for word in stem.split("_") if not word.isdigit()]
    return words[1] if words[0] == "emo" and len(words) > 1 else words[-1] if words else stem


def _even_snr(seen: Counter[str], style: str) -> tuple[float, float]:
    """The next of the equal parts of the range of SNRs."""
    edges = np.linspace(*SNR_DB, SNR_BINS + 1)
    index = seen[style] % SNR_BINS
    seen[style] += 1
    return float(edges[index]), float(edges[index + 1])


def _given_pieces(given: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    pieces = [(start, size if end < 0 else min(end, size)) for start, end in given]
    return [piece for piece in pieces if 0 < piece[1] - piece[0] <= MAX_TEST_SECONDS * RATE]


def _pieces(size: int, split: str) -> list[tuple[int, int]]:
    if split == "test":
        longest = round(MAX_TEST_SECONDS * RATE)
        return [(start, min(start + longest, size)) for start in range(0, size, longest)]
    least, step = round(MIN_SECONDS * RATE), round(CUT_SECONDS * RATE)
    if size < least:
        return []
    count = (size - least) // step + 1 if size >= least + step else 1
    return [(i * step, size if i == count - 1 else (i + 1) * step) for i in range(count)]


def _mix(
    item: _Recording, noises: dict[Path, tuple[int, int]], output: Path, sample_rate: int, seed: int
) -> Iterator[Row]:
    start, stop = item.pieces[0][0], item.pieces[-1][1]
    rng = np.random.default_rng(derive_seed(seed, "ears-wham", item.split, item.speaker, item.path.stem, start))
    long_enough = [path for path, (size, _) in noises.items() if size >= stop - start]
    if not long_enough:
        raise DataError(f"no noise is as long as {item.path} ({(stop - start) / RATE:.1f} s); leave it out")
    noise_path = long_enough[int(rng.integers(len(long_enough)))]
    size, channels = noises[noise_path]
    channel = int(rng.integers(channels))
    noise_start = int(rng.integers(size - (stop - start) + 1))
    drawn = round(float(rng.uniform(*item.snr_range)), 1)
    clean_folder, noisy_folder = (output / item.split / kind / item.speaker for kind in ("clean", "noisy"))
    names = [f"{item.number + n:05}" for n in range(len(item.pieces))]
    snr = _snr_of_done(clean_folder, noisy_folder, names)
    if snr is None:
        speech = read_part(item.path, RATE, start, stop - start)
        noise = read_part(noise_path, RATE, noise_start, stop - start, channel)
        noisy, snr = _mix_loudness(speech, noise, drawn, str(item.path))
        for name, (first, last) in zip(names, item.pieces, strict=True):
            for path, whole in (
                (clean_folder / f"{name}.wav", speech),
                (noisy_folder / f"{name}_{snr:.1f}dB.wav", noisy),
            ):
                part = whole[first - start : last - start]
                part = _ramped(part) if item.split == "test" else part
                part = part if sample_rate == RATE else soxr.resample(part, RATE, sample_rate)
                write_wav(path, part, sample_rate, "FLOAT")
    for name, (first, _) in zip(names, item.pieces, strict=True):
        yield {
            "split": item.split,
            "id": name,
            "speaker": item.speaker,
            "speech": item.path.stem,
            "speech_start": first,
            "noise": noise_path.stem,
            "noise_start": noise_start + first - start,
            "noise_channel": channel,
            "snr_db": round(snr, 1),
        }


def _snr_of_done(clean_folder: Path, noisy_folder: Path, names: list[str]) -> float | None:
    """The SNR that the names of the noisy files tell, if all files are there."""
    snr = None
    for name in names:
        noisy = next(noisy_folder.glob(f"{name}_*dB.wav"), None)
        if noisy is None or not (clean_folder / f"{name}.wav").is_file():
            return None
        snr = float(noisy.stem.split("_")[1].removesuffix("dB"))
    return snr


def _mix_loudness(speech: Waveform, noise: Waveform, snr: float, name: str) -> tuple[Waveform, float]:
    """The mixture, and its SNR, which is higher than asked for where the mixture would clip."""
    difference = _loudness(speech) - _loudness(noise)
    if not np.isfinite(difference):
        raise DataError(f"{name} or its noise is silent; leave it out")
    while True:
        noisy = speech + noise * np.float32(10 ** ((difference - snr) / 20))
        if np.abs(noisy).max() < 1 or snr > 100:
            return noisy, snr
        snr += 1


def _loudness(samples: Waveform) -> float:
    from torchaudio.functional import loudness

    padded = np.pad(samples, (0, max(0, round(0.45 * RATE) - len(samples))))
    return float(loudness(torch.from_numpy(padded)[None], RATE))


def _ramped(samples: Waveform) -> Waveform:
    length = min(round(RAMP_SECONDS * RATE), len(samples))
    ramp = np.linspace(0, 1, length, dtype=np.float32)
    out = samples.copy()
    out[:length] *= ramp
    out[len(out) - length :] *= ramp[::-1]
    return out
