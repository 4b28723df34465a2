"""DNSMOS: opinions that a network predicts from the enhanced speech alone, by the package `speechmos`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.optional import needed
from speech.metrics.checks import SILENCE, UnscorableError, as_signal, resampled

DNSMOS_RATE = 16000
DNSMOS_SECONDS = 0.1

# The features of the package's earlier model: samples, bands of mel, and the power that counts for none.
_P808_WINDOW, _P808_HOP, _P808_BANDS = 321, 160, 120
_P808_FLOOR, _P808_RANGE = 1e-10, 80.0


@dataclass(frozen=True)
class DNSMOS:
    """Predicted mean opinion scores, 1 … 5 (Reddy et al. 2022, ITU-T P.835; Reddy et al. 2021, P.808).

    Attributes:
        sig: Of the speech.
        bak: Of the background.
        ovrl: Of the whole.
        p808: Of the whole, by the earlier model.
    """

    sig: float
    bak: float
    ovrl: float
    p808: float


def dnsmos(waveform: Any, sample_rate: float) -> DNSMOS:
    """DNSMOS of one waveform, (samples,); no reference is needed.

    At a rate other than 16 kHz it is first resampled by soxr; samples beyond full scale are clipped, as a file of 16
    bits would. Signals shorter than 9.01 s are repeated, longer ones averaged over windows, by the package.

    Raises:
        UnscorableError: The signal is silent, shorter than 0.1 s, or has samples that are not finite.
    """
    signal = as_signal(waveform, "estimate", sample_rate)
    if np.abs(signal).max() < SILENCE:
        raise UnscorableError("the estimate is silent")
    if signal.size < DNSMOS_SECONDS * sample_rate:
        raise UnscorableError(f"{signal.size / sample_rate:.3f} s of sound; DNSMOS needs {DNSMOS_SECONDS:g} s")
    signal = np.clip(resampled(signal, sample_rate, DNSMOS_RATE), -1.0, 1.0)
    scores = _scorer()(signal, DNSMOS_RATE, False)
    return DNSMOS(
        sig=float(scores["sig_mos"]),
        bak=float(scores["bak_mos"]),
        ovrl=float(scores["ovrl_mos"]),
        p808=float(scores["p808_mos"]),
    )


@functools.cache
def _scorer() -> Any:
    """The package's own scorer on one thread, which moves its scores by 1e-6 at most: files are scored in parallel."""
    onnxruntime = needed("onnxruntime", "metrics", "DNSMOS")
    package = needed("speechmos.dnsmos", "metrics", "DNSMOS")
    models = Path(package.__file__).parent / "dnsmos_models"
    opinion, p808 = str(models / "sig_bak_ovr.onnx"), str(models / "model_v8.onnx")
    scorer = package.DNSMOS(opinion, p808)
    scorer.audio_melspec = _mel_spectrogram
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    scorer.onnx_sess = onnxruntime.InferenceSession(opinion, options)
    scorer.p808_onnx_sess = onnxruntime.InferenceSession(p808, options)
    return scorer


def _mel_spectrogram(audio: Any) -> Any:
    """The package's own features of P.808, (frames, bands) of (samples,), by librosa's filters alone.

    `librosa.feature`, where the package takes them from, compiles what no score needs: half a minute in a new
    environment, and seconds at every start in another.
    """
    window = torch.hann_window(_P808_WINDOW, dtype=torch.float64)
    samples = torch.as_tensor(audio, dtype=torch.float64)
    spectrum = torch.stft(
        samples, _P808_WINDOW, _P808_HOP, window=window, center=True, pad_mode="constant", return_complex=True
    )
    power = (_mel_filters() @ spectrum.abs().square()).numpy()
    decibels = 10 * np.log10(np.maximum(power, _P808_FLOOR) / max(power.max(), _P808_FLOOR))
    return (np.maximum(decibels, -_P808_RANGE) + 40).T / 40


@functools.cache
def _mel_filters() -> torch.Tensor:
    filters = needed("librosa.filters", "metrics", "DNSMOS")
    return torch.from_numpy(filters.mel(sr=DNSMOS_RATE, n_fft=_P808_WINDOW, n_mels=_P808_BANDS)).double()
