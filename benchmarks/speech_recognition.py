"""Whether enhancement helps a recogniser: word error rates of noisy, enhanced, and partly enhanced speech.

    pip install pocketsphinx            has its English model in the package
    python benchmarks/speech_recognition.py
    python benchmarks/speech_recognition.py --transcripts words.txt

Recordings of the shared data's validation part with its noises, at set SNRs; nothing is trained on them. The data hold
no transcripts, so that the words of a recording are those that the recogniser hears in its clean version: what is
measured is how far from those it is led. With --transcripts, lines of a file's name (without its ending) and its words,
they are the words that were said. PocketSphinx is of an older kind, trained on clean speech: the table is of such a
recogniser, and of no other.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torchmetrics.functional.text import word_error_rate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.scores import drawn_again
from benchmarks.speech_models import SHARED_SPEECH
from shared.files.io import write_text
from speech import Enhancer
from speech.data import MixConfig, validation_pairs

RATE = 16000
SNRS = (5.0, 10.0, 20.0)
LONGEST = 8.0
"""Seconds of a recording that are used; the recogniser takes about as long as it lasts."""
WET = 0.7
"""Share of the enhanced signal where the noisy one is mixed in."""

Waveform = np.ndarray


class Recogniser:
    """PocketSphinx with its own English model."""

    def __init__(self) -> None:
        self._decoder: Any = import_module("pocketsphinx").Decoder(samprate=RATE, loglevel="FATAL")

    def words(self, wave: Waveform) -> str:
        """What is heard in a recording (samples,) at 16 kHz, at a level of −23 dBFS."""
        level = 10 ** (-23 / 20) / max(float(np.sqrt(np.square(wave).mean())), 1e-9)
        coded = (np.clip(wave * min(level, 0.99 / max(float(np.abs(wave).max()), 1e-9)), -1, 1) * 32767).astype("<i2")
        self._decoder.start_utt()
        self._decoder.process_raw(coded.tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return "" if found is None else str(found.hypstr).lower()


def read_transcripts(path: Path | None) -> dict[str, str]:
    """Words by name, of lines as LibriSpeech has them."""
    if path is None:
        return {}
    lines = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {line[0]: line[1].strip().lower() if len(line) > 1 else "" for line in lines}


def heard(
    recogniser: Recogniser, enhancers: Mapping[str, Enhancer], clean: Waveform, noisy: Waveform
) -> dict[str, str]:
    """The words of each version of a recording."""
    versions = {"clean": clean, "noisy": noisy}
    for name, enhancer in enhancers.items():
        versions[name] = enhancer.enhance(noisy, RATE)
        versions[f"{name}, {WET:g} wet"] = WET * versions[name] + (1 - WET) * noisy
    return {name: recogniser.words(wave) for name, wave in versions.items()}


def interval(words: list[str], wanted: list[str]) -> tuple[float, float]:
    """5 % and 95 % points of the word error rate when recordings are drawn with replacement, 500 times."""
    counts = np.array([len(one.split()) for one in wanted], dtype=float)
    wrong = counts * [
        float(word_error_rate([one], [other])) if other else 0.0 for one, other in zip(words, wanted, strict=True)
    ]
    return drawn_again(wrong, counts, times=500)


def main(
    files: Annotated[int, typer.Option(help="Recordings at each SNR.", min=2)] = 16,
    models: Annotated[list[str] | None, typer.Option("--model", help="Folders or names [default].")] = None,
    transcripts: Annotated[Path | None, typer.Option(help="What was said.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of valid/clean/librispeech and valid/noise.")] = SHARED_SPEECH,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = Path("benchmarks/results"),
) -> None:
    """Enhance, recognise, and write the table."""
    torch.set_num_threads(1)
    said, recogniser = read_transcripts(transcripts), Recogniser()
    enhancers = {name: Enhancer.from_pretrained(name, device="cpu") for name in models or ["default"]}
    rows = []
    for snr in SNRS:
        config = MixConfig(sample_rate=RATE, snr_db=(snr, snr), noises=1, reverb=0.0)
        folders = data / "valid/clean/librispeech", data / "valid/noise"
        pairs = validation_pairs(*folders, count=files, seconds=LONGEST, config=config)
        found: dict[str, list[str]] = {}
        wanted = []
        for name, clean, noisy in pairs:
            words = heard(recogniser, enhancers, clean, noisy)
            own = said.get(Path(name).stem, "") if said else words["clean"]
            if not own:
                continue
            wanted.append(own)
            for version, text in words.items():
                found.setdefault(version, []).append(text)
        for version, texts in found.items():
            if version == "clean" and not said:
                continue
            low, high = interval(texts, wanted)
            rate = f"{100 * float(word_error_rate(texts, wanted)):.1f} ({100 * low:.1f}–{100 * high:.1f})"
            rows.append([f"{snr:g}", version, rate, str(len(wanted))])
            print(rows[-1], flush=True)
    what = "what was said" if said else "the words that the recogniser hears in the clean recording"
    text = (
        header("Enhancement before recognition")
        + f"\nWord error rate of PocketSphinx, %, against {what}; in brackets the 90 % bootstrap interval over "
        "recordings. LibriSpeech excerpts and noises of the validation part.\n\n"
        + table(["SNR, dB", "signal", "word error rate, %", "recordings"], rows)
    )
    write_text(output / "speech_recognition.md", text)


if __name__ == "__main__":
    typer.run(main)
