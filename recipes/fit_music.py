"""Fit what tells music from speech and noise (`speech.audio.music`), and print its numbers; minutes on a CPU.

    python recipes/fit_music.py --music rendered/ --speech clean/ --noise noise/

Speech is judged as it is and with noise at 0 and 10 dB, music as it is and with noise at 15 dB. Needs scikit-learn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from shared.console.command import run, show


def main(
    music: Annotated[Path, typer.Option(help="Folder of music.")],
    speech: Annotated[Path, typer.Option(help="Folder of speech.")],
    noise: Annotated[Path, typer.Option(help="Folder of noises.")],
    seconds: Annotated[int, typer.Option(help="Of each recording, from its middle.", min=7)] = 20,
) -> None:
    """Judge all of them, fit, and print the constants of `speech.audio.music`."""
    from sklearn.linear_model import LogisticRegression

    from speech.audio.music import features

    folders = {"music": music, "speech": speech, "noise": noise}
    heard = {name: recordings(folder, seconds) for name, folder in folders.items()}
    judged = {
        "speech": [features(wave) for wave in heard["speech"]],
        "speech, 0 dB": [features(each) for each in mixed(heard["speech"], heard["noise"], 0.0)],
        "speech, 10 dB": [features(each) for each in mixed(heard["speech"], heard["noise"], 10.0)],
        "noise": [features(wave) for wave in heard["noise"]],
        "music": [features(wave) for wave in heard["music"]],
        "music, 15 dB": [features(each) for each in mixed(heard["music"], heard["noise"], 15.0)],
    }
    rows = {name: np.concatenate(found) for name, found in judged.items()}
    x = np.concatenate(list(rows.values()))
    y = np.concatenate([np.full(len(found), name.startswith("music")) for name, found in rows.items()])
    weight = np.concatenate([np.full(len(found), len(x) / len(found)) for found in rows.values()])
    mean, spread = x.mean(axis=0), x.std(axis=0)
    fitted = LogisticRegression().fit((x - mean) / spread, y, sample_weight=weight)
    for name, values in {"MEANS": mean, "SPREADS": spread, "WEIGHTS": fitted.coef_[0]}.items():
        show(f"{name} = ({', '.join(f'{value:.4g}' for value in values)})")
    show(f"OFFSET = {fitted.intercept_[0]:.4g}")
    for name, found in rows.items():
        likely = fitted.predict_proba((found - mean) / spread)[:, 1]
        show(f"{name}: {len(found)} judgements, {100 * float((likely > 0.4).mean()):.1f} % taken for music")


def recordings(folder: Path, seconds: int) -> list[np.ndarray]:
    """Every recording of a folder, mono at 16 kHz, at full scale, of at most so many seconds, none silent.

    Raises:
        DataError: none is of more than 6 s and not silent.
    """
    from shared.errors import DataError
    from speech.audio.files import read_audio
    from speech.audio.music import MODEL_RATE
    from speech.audio.resampling import resample
    from speech.data.clips import audio_files

    found = []
    for path in audio_files(folder):
        audio = read_audio(path)
        wave = resample(audio.waveform.mean(axis=0), audio.sample_rate, MODEL_RATE)
        start = max(0, (len(wave) - seconds * MODEL_RATE) // 2)
        wave = wave[start : start + seconds * MODEL_RATE]
        if np.abs(wave).max(initial=0) > 1e-4 and len(wave) > 6 * MODEL_RATE:
            found.append(wave / np.abs(wave).max())
    if not found:
        raise DataError(f"{folder} holds no recording of more than 6 s that is not silent; give longer ones")
    return found


def mixed(waves: list[np.ndarray], noises: list[np.ndarray], snr_db: float) -> list[np.ndarray]:
    """Each with one of the noises."""
    from speech.data.levels import noise_gain, power

    made = []
    for place, wave in enumerate(waves):
        noise = np.resize(noises[3 * place % len(noises)], len(wave))
        total = wave + noise * noise_gain(power(wave), power(noise), snr_db)
        made.append(total / np.abs(total).max())
    return made


if __name__ == "__main__":
    run(main, __doc__)
