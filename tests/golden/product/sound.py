"""The bundled enhancers, and tiny models that were saved in a folder, with every sampler and setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from speech import Enhancer, SpeechModel
from tests.golden.product.case import SAVED, Results, case
from tests.golden.product.signals import noisy_sound

RATE, HIGH = 16000, 44100
BLOCK = 700
OF_A_BRIDGE = ("sb_ode", "sb_sde", "ode1", "ode2", "ode3", "sde1", "sde2", "euler", "heun")
OF_A_SCORE = ("pc", "ode", "ode1", "ode2", "ode3", "sde1", "sde2", "euler", "heun")


def bundled(name: str) -> None:
    """The cases of one model that ships."""

    @case(f"speech/{name}/16 kHz")
    def plain(folder: Path) -> Results:
        enhancer = Enhancer.from_pretrained(name, device="cpu")
        return {"enhanced": enhancer.enhance(noisy_sound(RATE, 1.5), RATE), "nfe": np.array([enhancer.nfe])}

    @case(f"speech/{name}/44.1 kHz, stereo")
    def stereo(folder: Path) -> Results:
        enhancer = Enhancer.from_pretrained(name, device="cpu")
        wave = noisy_sound(HIGH, 1.0, channels=2)
        left, right = enhancer.enhance(wave, HIGH)
        dropping = Enhancer(enhancer.model, upper_band="drop", mix=0.8)
        return {"left": left, "right": right, "without the upper band": dropping.enhance(wave[0], HIGH)}


for each in ("default", "causal"):
    bundled(each)


def streamed(enhancer: Enhancer, wave: np.ndarray, rate: int, **settings: object) -> np.ndarray:
    """What a stream makes of a wave that comes in blocks, (..., samples)."""
    stream = enhancer.stream(rate, **settings)  # type: ignore[arg-type]
    blocks = [stream.push(wave[..., first : first + BLOCK]) for first in range(0, wave.shape[-1], BLOCK)]
    return np.concatenate([*blocks, stream.flush()], axis=-1)  # type: ignore[list-item]


@case("speech/causal/stream")
def stream(folder: Path) -> Results:
    enhancer = Enhancer.from_pretrained("causal", device="cpu")
    return {
        "16 kHz": streamed(enhancer, noisy_sound(RATE, 1.0), RATE),
        "44.1 kHz, stereo": streamed(enhancer, noisy_sound(HIGH, 0.7, channels=2), HIGH, channels=2),
        "latency": np.array([enhancer.stream(RATE).latency, enhancer.stream(HIGH).latency]),
    }


@case("speech/saved bridge")
def saved_bridge(folder: Path) -> Results:
    model, wave = SpeechModel.from_pretrained(SAVED / "speech_bridge"), noisy_sound(RATE, 0.4)
    found: Results = {"as saved": Enhancer(model).enhance(wave, RATE)}
    found |= {name: Enhancer(model, name, 3).enhance(wave, RATE) for name in OF_A_BRIDGE}  # type: ignore[arg-type]
    changes: dict[str, dict[str, object]] = {
        "t_end": {"t_end": 0.1},
        "next": {"sampler": "sde1", "network_time": "next"},
        "now": {"network_time": "now"},
        "reflect": {"frame_padding": "reflect"},
        "suppression": {"suppression": 1.4},
        "log_snr": {"sampler": "ode2", "schedule": "log_snr"},
    }
    for name, changed in changes.items():
        sampling = replace(model.config.sampling, **changed)  # type: ignore[arg-type]
        found[name] = Enhancer(model, sampling=sampling).enhance(wave, RATE)
    found |= {
        "seed": Enhancer(model, seed=5).enhance(wave, RATE),
        "draws": Enhancer(model, draws=2, mix=0.6).enhance(wave, RATE),
        "peak": Enhancer(model).enhance(wave, RATE, peak=0.7),
        "windows": Enhancer(model, window_seconds=0.3, overlap_seconds=0.1).enhance(noisy_sound(RATE, 1.0), RATE),
        "whole numbers": Enhancer(model).enhance((wave * 32000).astype(np.int16), RATE).astype(np.float32),
        "8 kHz": Enhancer(model).enhance(noisy_sound(8000, 0.4), 8000),
    }
    return found


@case("speech/saved score")
def saved_score(folder: Path) -> Results:
    model, wave = SpeechModel.from_pretrained(SAVED / "speech_score"), noisy_sound(RATE, 0.4)
    found: Results = {"as saved": Enhancer(model).enhance(wave, RATE)}
    for name in OF_A_SCORE:
        if name != "ode":
            found[name] = Enhancer(model, name, 6).enhance(wave, RATE)  # type: ignore[arg-type]
    changes: dict[str, dict[str, object]] = {
        "langevin": {"corrector": "langevin", "corrector_steps": 2, "snr": 0.05},
        "no corrector": {"corrector": "none"},
        "flow": {"probability_flow": True},
        "later start": {"reverse_starting_point": 0.6},
        "t_end": {"t_end": 0.05},
    }
    for name, changed in changes.items():
        sampling = replace(model.config.sampling, **changed)  # type: ignore[arg-type]
        found[name] = Enhancer(model, sampling=sampling).enhance(wave, RATE)
    return found


@case("speech/saved score, adaptive", tolerance=1e-3)
def saved_score_adaptive(folder: Path) -> Results:
    """The solver's choice of steps turns rounding into a difference of the order of its tolerance."""
    model = SpeechModel.from_pretrained(SAVED / "speech_score")
    return {"ode": Enhancer(model, "ode").enhance(noisy_sound(RATE, 0.3), RATE)}


@case("speech/saved causal")
def saved_causal(folder: Path) -> Results:
    enhancer = Enhancer.from_pretrained(SAVED / "speech_causal")
    wave = noisy_sound(RATE, 0.4)
    enhancer.model.save_pretrained(folder)
    again = Enhancer.from_pretrained(folder)
    return {
        "at once": enhancer.enhance(wave, RATE),
        "streamed": streamed(again, wave, RATE),
        "saved again": again.enhance(wave, RATE),
    }
