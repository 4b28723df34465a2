"""speech/inference/longform.py: cutting and joining are an identity; windowed and whole agree; memory does not grow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from speech.enhancer import Enhancer
from speech.inference.longform import Held, Window, Windows, of_length
from tests.speech.models import decibels, noise, tiny_enhancer, tiny_model


def in_blocks(signal: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    edges = [0, *sorted({min(cut, signal.shape[1]) for cut in cuts}), signal.shape[1]]
    return [signal[:, a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(0, 2500),
    length=st.integers(2, 40),
    overlap=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 2500), max_size=5),
)
def test_cutting_and_joining_is_an_identity(samples, length, overlap, cuts):
    windows = Windows(16 * length, 16 * min(overlap, length // 2))
    signal = noise(2, samples)
    pieces = list(windows.cut(in_blocks(signal, cuts)))
    for piece in pieces:
        assert piece.start % windows.step == 0
        np.testing.assert_array_equal(piece.waveform, signal[:, piece.start : piece.start + windows.length])
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True] * bool(pieces)
    joined = [np.zeros((2, 0), np.float32), *windows.join(pieces)]
    np.testing.assert_allclose(np.concatenate(joined, axis=1), signal, atol=1e-7)


def test_the_ends_of_windows_are_left_out():
    windows = Windows(64, 32)
    pieces = [Window(p.start, p.waveform.copy(), p.last) for p in windows.cut([np.ones((1, 300), np.float32)])]
    for piece in pieces:
        if piece.start > 0:
            piece.waveform[:, : windows.trim] = np.nan
        if not piece.last:
            piece.waveform[:, -windows.trim :] = np.nan
    joined = np.concatenate(list(windows.join(pieces)), axis=1)
    np.testing.assert_allclose(joined, 1, atol=1e-6)


def test_a_fade_goes_from_one_window_to_the_next():
    windows = Windows(64, 32)
    pieces = [Window(p.start, np.full_like(p.waveform, i), p.last) for i, p in enumerate(windows.cut([noise(1, 90)]))]
    joined = np.concatenate(list(windows.join(pieces)), axis=1)[0]
    assert (np.diff(joined) >= 0).all()
    assert set(joined[: 32 + windows.trim]) == {0}
    assert joined[63] == 1


@pytest.mark.parametrize("samples", [0, 5, 50, 100, 130])
def test_tail_makes_the_length_right(samples):
    blocks = of_length(in_blocks(noise(2, samples), [20, 70]), 2, 100)
    joined = np.concatenate(list(blocks), axis=1)
    np.testing.assert_array_equal(joined[:, :samples], noise(2, samples)[:, :100])
    assert joined.shape == (2, 100)
    assert not joined[:, samples:].any()


def test_what_is_held_comes_back_in_other_blocks():
    signal, held = noise(2, 500), Held(2)
    for block in in_blocks(signal, [100, 110, 400]):
        held.add(block)
    parts = [held.take(samples) for samples in (0, 50, 55, 195, 1, 199)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), signal)
    assert held.take(3).shape == (2, 0)


@pytest.mark.parametrize(
    ("rate", "draws", "sampler"),
    [
        *((16000, 1, sampler) for sampler in ("sb_sde", "sb_ode", "pc")),
        (44100, 2, "sb_sde"),
        *(pytest.param(44100, 2, sampler, marks=pytest.mark.slow) for sampler in ("sb_ode", "pc")),
    ],
)
def test_windows_agree_with_the_whole(sampler, rate, draws):
    model = tiny_model(sampler=sampler, steps=4 if sampler == "pc" else 2)
    signal = noise(2, rate * 3 // 2)
    whole = Enhancer(model, window_seconds=2.0, overlap_seconds=0.4, draws=draws).enhance(signal, rate)
    short = Enhancer(model, window_seconds=0.5, overlap_seconds=0.2, draws=draws, batch_size=3)
    windowed = short.enhance(signal, rate)
    assert windowed.shape == whole.shape
    assert decibels(windowed - whole, whole) < -90
    assert short.nfe == {"sb_sde": 2 * draws, "sb_ode": 2, "pc": 8 * draws}[sampler]  # sb_ode draws the same each time


def test_neighbouring_windows_with_noise_of_their_own_would_not_agree():
    model = tiny_model(steps=2)
    signal = noise(1, 8000)
    one, other = (Enhancer(model).enhance(signal, 16000, seed=seed) for seed in (0, 1))
    assert decibels(one - other, one) > -30


def test_a_file_is_enhanced_in_windows_as_its_waveform_is(tmp_path):
    enhancer = tiny_enhancer(steps=2, enhancer={"window_seconds": 0.5, "overlap_seconds": 0.2, "mix": 0.8})
    signal = noise(2, 48000 * 25 // 10)
    signal[1] = 0
    write_audio(tmp_path / "a.wav", Audio(signal, 48000, "WAV", "FLOAT"))
    result = enhancer.enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    expected = enhancer.enhance(signal, 48000, seed=enhancer.seed_of("a.wav"))
    np.testing.assert_allclose(read_audio(tmp_path / "b.wav").waveform, expected, atol=1e-6)
    assert not expected[1].any()
    assert result.replaced == 0


@pytest.mark.parametrize(
    ("window", "overlap"), [(1.0, 0.6), (1.0, 0.0), (0.0, 0.0), (1.0, 1e-5), ("nan", 2), ("inf", 2)]
)
def test_impossible_windows_are_refused(window, overlap):
    with pytest.raises(ConfigError, match=f"window_seconds={window}"):
        Windows.of(float(window), overlap, 16000, 128)
