"""`speech diagnose`: what the score of a model is worth by itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from shared.console.command import claim_output, prepare
from shared.devices import compute_device
from shared.diagnostics.files import leave_diagnosis, settings_of
from shared.errors import ConfigError, DataError
from speech.audio.search import find_audio
from speech.commands.common import shared_speech
from speech.commands.options import Diagnose
from speech.data.clips import read_mono
from speech.inference.diagnosis import Recording, diagnose_model
from speech.loading import load_model
from speech.metrics.evaluation import name_of


def main(options: Diagnose) -> None:
    """Measure the score of a model on the middle of noisy recordings."""
    prepare(options.threads)
    settings = settings_of(options, options.seed)
    claim_output(options.output)
    noisy, clean = options.noisy, options.clean
    if noisy is None:
        pairs = shared_speech() / "test_pairs"
        noisy, clean = pairs / "noisy", clean or pairs / "clean"
    elif not os.path.exists(noisy):  # False for what no file system takes as a name
        raise DataError(f"{noisy}: no such file or folder; name a noisy recording, or a folder of them")
    name = options.model or "default"
    files = [noisy] if noisy.is_file() else find_audio(noisy)[0][: options.files]
    if clean is not None and clean.is_file() and len(files) > 1:
        raise ConfigError(
            f"--clean {clean} is one recording, and {len(files)} of {noisy} are looked at; name the folder of "
            "the clean ones, or one noisy file"
        )
    model = load_model(name).to(compute_device(options.device))
    rate = model.config.frontend.sample_rate
    recordings = [
        Recording(read_mono(file, rate, channel=0), clean_recording(file, noisy, clean, rate), str(file))
        for file in files
    ]
    found = diagnose_model(model, recordings, settings, seconds=options.length, progress=True)
    leave_diagnosis(found, options.output, f"Diagnosis of {name}")


def clean_recording(file: Path, noisy: Path, clean: Path | None, rate: int) -> np.ndarray | None:
    """The clean recording that belongs to a noisy one, where clean ones are given."""
    if clean is None:
        return None
    if clean.is_file():
        return read_mono(clean, rate, channel=0)
    name = name_of(Path(file.name) if noisy.is_file() else file.relative_to(noisy))
    found = [path for path in find_audio(clean)[0] if name_of(path.relative_to(clean)) == name]
    if len(found) != 1:
        raise DataError(f"{clean}: {len(found)} clean recordings of {file}; leave --clean out, or name their folder")
    return read_mono(found[0], rate, channel=0)
