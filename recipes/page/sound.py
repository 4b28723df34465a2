"""Speech: a recording in, the enhanced one out, both to hear and to look at."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from shared.errors import ConfigError, DataError
from speech.audio.arrays import finite, told_replaced
from speech.audio.bands import UpperBand
from speech.audio.coding import AUDIO_SUFFIXES, CONTAINERS, AudioInfo
from speech.audio.files import audio_info, open_audio
from speech.audio.loudness import checked_goal
from speech.audio.plots import picture_files
from speech.audio.writing import create_audio
from speech.enhancer import Enhancer
from speech.inference.files import FileResult
from speech.loading import load_model
from speech.model.model import SpeechModel

from .limits import Limits, check_size
from .requests import LOUDNESS, MODELS, PAIR, RATES, ModelName, SoundRequest, SoundResult, Tell

_HEARD_CHANNELS = 2
_HEARD_PEAK = 1.1
"""Times full scale; what a lossy coding adds is less, and makes no difference to tell of."""


def enhance(request: SoundRequest, folder: Path, tell: Tell, limits: Limits) -> SoundResult:
    """Enhance a recording, and leave all there is to hear and see in a folder.

    Raises:
        DataError, ConfigError, …: as `Enhancer.enhance_file`; or the recording is too large or too long.
    """
    check_size(request.source, request.name, limits)
    tell(0.0, "reading")
    if request.source.suffix.lower() == ".raw":
        raise DataError(
            f"{request.name} holds bare samples and does not tell their rate, which this page cannot be told: send it "
            "as WAV, or use `python recipes/enhance.py IN OUT --raw-rate HZ`"
        )
    info = _bounded(audio_info(request.source), request.name, limits)
    if request.model not in MODELS:
        raise ConfigError(f"model={request.model!r}: this page has {' and '.join(MODELS)}")
    rate = RATES.get(request.model)
    model = _model("default" if request.model == PAIR else request.model)
    upper_band: UpperBand = model.config.sampling.upper_band or "follow" if rate is None else "extend"
    enhancer = Enhancer(
        model,
        device="cpu",
        mix=request.mix,
        upper_band=upper_band,
        rate=rate,
        quality="best" if request.model == PAIR else "standard",
    )
    done, whole = 0.0, info.seconds * info.channels

    def advance(seconds: float) -> None:
        nonlocal done
        done += seconds
        tell(min(0.8, 0.8 * done / whole), "enhancing")

    target = folder / result_name(request.name)
    goal = checked_goal(None if request.loudness == LOUDNESS[0] else request.loudness)
    made = enhancer.enhance_file(request.source, target, name=request.name, progress=advance, loudness=goal)
    tell(0.85, "drawing")
    picture, before, after = folder / "spectrograms.png", folder / "before.flac", folder / "after.flac"
    picture_files(picture, request.source, target, _short(request.name))
    tell(0.95, "writing")
    loudest = max(1.0, _peak(request.source), _peak(target))
    heard_copy(request.source, before, 1 / loudest)
    heard_copy(target, after, 1 / loudest)
    notes = (told_replaced(made.replaced), *made.notes) if made.replaced else made.notes
    if loudest > _HEARD_PEAK:
        notes = (*notes, f"peaks reach {loudest:.3g} times full scale: both are heard quieter by that, the file is not")
    return SoundResult(before, after, target, picture, about=_about(made, request), notes=notes)


@lru_cache(maxsize=len(MODELS))
def _model(name: ModelName) -> SpeechModel:
    return load_model(name)


def warm() -> None:
    """Load what the first request would wait for."""
    for name in MODELS:
        if name != PAIR:
            _model(name)
    Enhancer(_model("default"), device="cpu").enhance(np.zeros(48000, np.float32), 48000)


def _bounded(info: AudioInfo, name: str, limits: Limits) -> AudioInfo:
    if info.seconds > limits.sound_seconds:
        raise DataError(
            f"{name} lasts {info.seconds / 60:.1f} minutes, and this page takes {limits.sound_seconds / 60:g}; send a "
            "part of it, or use `python recipes/enhance.py IN OUT`, which takes recordings of hours"
        )
    if info.channels > limits.channels:
        raise DataError(
            f"{name} has {info.channels} channels, and this page takes {limits.channels}; send some of them, or use "
            "`python recipes/enhance.py IN OUT`"
        )
    return info


def result_name(name: str) -> str:
    """What the result is called: the recording's name and kind, WAV where that kind is not written."""
    name = Path(name).name
    stem, dot, kind = name.rpartition(".") if "." in name else (name, "", "")
    stem = "".join(c if c.isalnum() or c in " -_." else "_" for c in stem)[:80].strip(" .") or "recording"
    suffix = dot + kind.lower()
    written = suffix != ".raw" and (suffix in AUDIO_SUFFIXES or suffix in CONTAINERS)
    return f"{stem}-enhanced{suffix if written else '.wav'}"


def _peak(path: Path) -> float:
    """Of the channels that are heard."""
    with open_audio(path) as reader:
        blocks = (finite(block[:_HEARD_CHANNELS])[0] for block in reader.blocks())
        return max((float(np.abs(block).max(initial=0)) for block in blocks), default=0.0)


def heard_copy(source: Path, target: Path, gain: float = 1.0) -> None:
    """A FLAC copy of a file's first two channels, which every browser plays; FLAC ends at full scale."""
    with open_audio(source) as reader:
        channels = min(reader.info.channels, _HEARD_CHANNELS)
        info = replace(reader.info, channels=channels, format="WAV", subtype="PCM_16", metadata={}, media=False)
        with create_audio(target, info) as writer:
            for block in reader.blocks():
                writer.write(finite(block[:channels])[0] * np.float32(gain))


def _about(made: FileResult, request: SoundRequest) -> str:
    assert made.removed is not None
    said = (
        f"{made.seconds:.1f} s at {made.sample_rate} Hz, model {request.model}: removed {made.removed.overall:z.1f} dB"
    )
    if made.removed.in_pauses is not None:
        said += f", {made.removed.in_pauses:z.1f} dB in pauses"
    return said if made.loudness is None else f"{said}; loudness {made.loudness:.1f} LUFS"


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:59]}…"
