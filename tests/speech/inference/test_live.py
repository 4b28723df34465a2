"""speech/inference/live.py: all that comes goes out, dry, wet, or first one and then the other."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import ConfigError
from speech.inference.live import DryWet, pump
from tests.speech.models import noise, tiny_enhancer


def pumped(signal: np.ndarray, sizes: list[int], wet: float = 1.0, turn: int | None = None) -> np.ndarray:
    """The signal through the loop; the switch is turned before the block of this number."""
    stream = tiny_enhancer(causal=True, steps=1).stream(16000, channels=len(signal))
    dry_wet, written = DryWet(stream, wet), []

    def blocks():
        place = 0
        for number, size in enumerate(sizes):
            if number == turn:
                dry_wet.on = False
            yield signal[:, place : place + size]
            place += size

    told: list[int] = []
    count = pump(stream, blocks(), written.append, dry_wet, lambda came, went: told.append(came.shape[1]))
    assert told == sizes
    found = np.concatenate([*written, np.zeros((len(signal), 0), np.float32)], axis=1)
    assert count == found.shape[1]
    return found


def test_all_comes_out_dry_or_wet() -> None:
    signal = 0.1 * noise(2, 1600)
    sizes = [100, 700, 1, 799]
    np.testing.assert_allclose(pumped(signal, sizes, wet=0.0), signal, atol=1e-7)
    wet = pumped(signal, sizes)
    whole = tiny_enhancer(causal=True, steps=1).stream(16000, channels=2)
    joined = np.concatenate([whole.push(signal), whole.flush()], axis=1)
    np.testing.assert_allclose(wet, joined, atol=1e-5)
    np.testing.assert_allclose(pumped(signal, sizes, wet=0.25), 0.25 * joined + 0.75 * signal, atol=1e-5)
    assert pumped(signal[:, :0], []).shape == (2, 0)


def test_the_switch_turns_without_a_jump() -> None:
    signal = 0.1 * noise(1, 3200)
    sizes = [160] * 20
    wet, found = pumped(signal, sizes), pumped(signal, sizes, turn=5)
    share = (found - signal) / (wet - signal)
    good = np.abs(wet - signal) > 1e-3
    np.testing.assert_allclose(share[0, :600][good[0, :600]], 1, atol=1e-2)
    np.testing.assert_allclose(found[:, 1400:], signal[:, 1400:], atol=1e-6)
    between = share[0, 600:1400][good[0, 600:1400]]
    assert (np.diff(between) < 0.05).all()
    assert np.abs(np.diff(between)).max() < 0.1


def test_wet_is_a_share() -> None:
    with pytest.raises(ConfigError, match=r"wet=1\.5"):
        DryWet(tiny_enhancer(causal=True, steps=1).stream(16000), 1.5)
