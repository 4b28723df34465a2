"""WSJ0-CHiME3 and WSJ0-REVERB (Richter et al., TASLP 2023): the facts of their public scripts, drawn item by item.

WSJ0 is LDC93S6A, its speech in SPHERE files with shorten compression, which libsndfile does not read: convert it once,
`sph2pipe -f wav in.wv1 out.wav` for each. Parts `si_tr_s`, `si_dt_05` and `si_et_05` train, validate and test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.errors import DataError
from shared.random import derive_seed
from speech.data.rooms import WSJ0_REVERB_ROOMS, draw_room, reverberate, simulate

from .common import (
    Prepared,
    Row,
    add_noise,
    claim_pairs,
    finish,
    for_each,
    identities,
    is_done,
    lengths,
    read_part,
    write_pair,
    write_wav,
)

RATE = 16000
PARTS = {"train": "si_tr_s", "valid": "si_dt_05", "test": "si_et_05"}
SNR_DB = (0.0, 20.0)
TAIL_SECONDS = 0.5
PEAK = 0.9


@dataclass(frozen=True)
class _Utterance:
    split: str
    path: Path


def _utterances(wsj0: Path) -> tuple[list[_Utterance], dict[str, str]]:
    """The recordings of all parts, and those that are left out, and why."""
    if not wsj0.is_dir():
        raise DataError(f"{wsj0} is not a folder: give the one that holds {', '.join(PARTS.values())}")
    found: dict[tuple[str, str], _Utterance] = {}
    left_out: dict[str, str] = {}
    for split, part in PARTS.items():
        files = sorted(path for path in wsj0.rglob("*.wav") if part in path.relative_to(wsj0).parts)
        if not files:
            compressed = next(wsj0.rglob("*.wv1"), None)
            remedy = (
                f"convert its SPHERE files first, for each: sph2pipe -f wav {compressed.name} {compressed.stem}.wav"
                if compressed
                else "give the folder of LDC93S6A"
            )
            raise DataError(f"{wsj0} has no WAV files in a folder {part}; {remedy}")
        for path in files:
            first = found.setdefault((split, path.stem), _Utterance(split, path)).path
            if first != path:
                left_out[str(path)] = f"its pair would have the name of {first}'s; remove or rename one of them"
    return list(found.values()), left_out


def prepare_wsj0_chime3(
    wsj0: str | Path,
    chime3: str | Path,
    output: str | Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Prepared:
    """WSJ0 with the background recordings of CHiME-3, into `output/{train,valid,test}/{clean,noisy}`.

    The noise is a random part of a random recording's first channel; the SNR, of powers over the whole utterance, is
    uniform in 0 to 20 dB.

    Args:
        wsj0: folder that holds `si_tr_s`, `si_dt_05`, `si_et_05` at any depth.
        chime3: folder that holds `backgrounds/*.CH1.wav` at any depth.
        output: folder of the pairs.
        seed: of noises and SNRs.
        workers: threads.
        progress: show a bar.

    Raises:
        DataError: speech or noise is missing, or nothing could be read.
        ConfigError: `output` holds other pairs.
    """
    wsj0, chime3, output = Path(wsj0), Path(chime3), Path(output)
    items, left_out = _utterances(wsj0)
    backgrounds, unread = lengths(sorted(p for p in chime3.rglob("*CH1.wav") if p.parent.name == "backgrounds"))
    if not backgrounds:
        raise DataError(f"{chime3} has no backgrounds/*CH1.wav that can be read; give the folder of CHiME-3's audio")
    recordings = list(backgrounds)
    settings = {"set": "wsj0-chime3", "seed": seed, "snr_db": SNR_DB}
    claim_pairs(output, settings, identities(backgrounds, chime3))

    def make(item: _Utterance) -> Iterator[Row]:
        rng = np.random.default_rng(derive_seed(seed, "wsj0-chime3", item.split, item.path.stem))
        snr, place = float(rng.uniform(*SNR_DB)), float(rng.random())
        background = recordings[int(rng.integers(len(recordings)))]
        speech = read_part(item.path, RATE)
        room = backgrounds[background][0] - len(speech)
        if room < 0:
            raise DataError(f"{background} is shorter than {item.path}; leave it out")
        start = int(place * (room + 1))
        if not is_done(output, item.split, item.path.stem):
            noisy = add_noise(speech, read_part(background, RATE, start, len(speech)), snr)
            write_pair(output, item.split, item.path.stem, speech, noisy, RATE)
        yield {
            "split": item.split,
            "id": item.path.stem,
            "noise": background.stem,
            "noise_start": start,
            "snr_db": round(snr, 3),
        }

    left_out |= unread
    prepared = for_each(items, lambda item: str(item.path), make, "WSJ0-CHiME3", workers, progress, left_out)
    return finish(prepared, output, settings)


def prepare_wsj0_reverb(
    wsj0: str | Path, output: str | Path, *, seed: int = 100, workers: int | None = None, progress: bool = True
) -> Prepared:
    """WSJ0 in simulated rooms, a room for each utterance, into `output/{train,valid,test}/{anechoic,reverb}`.

    Sides of 5 to 15 m, heights of 2 to 6 m, T60 of 0.4 to 1 s, source and microphone a metre off the walls; image
    sources to the third order and rays. The target is the direct path, half a second of silence after it. Unlike in the
    public script, the direct path comes at time 0 in both.

    Args:
        wsj0: folder that holds `si_tr_s`, `si_dt_05`, `si_et_05` at any depth.
        output: folder of the pairs.
        seed: of the rooms.
        workers: threads.
        progress: show a bar.

    Raises:
        DataError: speech is missing, or nothing could be read.
        ConfigError: `output` holds other pairs.
    """
    wsj0, output = Path(wsj0), Path(output)
    (utterances, left_out), settings = _utterances(wsj0), {"set": "wsj0-reverb", "seed": seed}
    claim_pairs(output, settings)

    def make(item: _Utterance) -> Iterator[Row]:
        key = derive_seed(seed, "wsj0-reverb", item.split, item.path.stem)
        room = draw_room(np.random.default_rng(key), WSJ0_REVERB_ROOMS)
        folder, name = output / item.split, f"{item.path.stem}_{room.t60:.2f}.wav"
        if not all((folder / kind / name).is_file() for kind in ("anechoic", "reverb")):
            speech = np.pad(read_part(item.path, RATE), (0, round(TAIL_SECONDS * RATE)))
            response = simulate(room, RATE, image_order=WSJ0_REVERB_ROOMS.image_order, seed=key)
            wet, dry = reverberate(speech, response, 0.0)
            scale = np.float32(PEAK / max(float(np.abs(wet).max()), float(np.abs(dry).max()), 1e-9))
            write_wav(folder / "anechoic" / name, dry * scale, RATE, "PCM_16")
            write_wav(folder / "reverb" / name, wet * scale, RATE, "PCM_16")
        distance = float(np.linalg.norm(np.subtract(room.source, room.microphone)))
        yield {
            "split": item.split,
            "id": Path(name).stem,
            "t60_s": round(room.t60, 3),
            "sides_m": " ".join(f"{side:.2f}" for side in room.sides),
            "distance_m": round(distance, 2),
        }

    prepared = for_each(utterances, lambda item: str(item.path), make, "WSJ0-REVERB", workers, progress, left_out)
    return finish(prepared, output, settings)
