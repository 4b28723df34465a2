"""`speech diagnose`: what the score of a model is worth by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.console.command import claim_output, prepare
from shared.devices import compute_device
from shared.diagnostics.files import leave_diagnosis, settings_of
from shared.errors import DataError
from speech.audio.files import read_audio
from speech.audio.resampling import resample
from speech.audio.search import find_audio
from speech.commands.common import shared_speech
from speech.commands.options import Diagnose
from speech.enhancer import load_model
from speech.inference.diagnosis import Recording, diagnose_model


def main(options: Diagnose) -> None:
    """Measure the score of a model on the middle of noisy recordings."""
    prepare(options.threads)
    settings = settings_of(options, options.seed)
    claim_output(options.output)
    noisy, clean = options.noisy, options.clean
    if noisy is None:
        pairs = shared_speech() / "test_pairs"
        noisy, clean = pairs / "noisy", clean or pairs / "clean"
    name = options.model or "default"
    model = load_model(name).to(compute_device(options.device))
    rate = model.config.frontend.sample_rate
    files = [noisy] if noisy.is_file() else find_audio(noisy)[0][: options.files]
    recordings = [Recording(_read(file, rate), _clean(file, noisy, clean, rate)) for file in files]
    found = diagnose_model(model, recordings, settings, seconds=options.length, progress=True)
    leave_diagnosis(found, options.output, f"Diagnosis of {name}")


def _read(file: Path, rate: int) -> np.ndarray:
    """The first channel, at the model's rate."""
    audio = read_audio(file)
    return resample(audio.waveform[0], audio.sample_rate, rate)


def _clean(file: Path, noisy: Path, clean: Path | None, rate: int) -> np.ndarray | None:
    """The clean recording that belongs to a noisy one, where clean ones are given."""
    if clean is None:
        return None
    found = clean if clean.is_file() else clean / (file.name if noisy.is_file() else file.relative_to(noisy))
    if not found.is_file():
        raise DataError(f"{found}: no clean recording of {file}; leave --clean out, or name its folder")
    return _read(found, rate)
