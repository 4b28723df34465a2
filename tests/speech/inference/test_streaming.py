"""speech/inference/streaming.py: blocks of any size give what the whole gives; stated latency; what is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from shared.errors import ConfigError, DataError
from speech.audio.arrays import AudioWarning
from speech.enhancer import Enhancer
from speech.inference.advice import SettingWarning
from speech.model.frontend import FrontEndConfig
from tests.speech.models import decibels, gain_enhancer, noise, tiny_enhancer, tiny_model


def streamed(enhancer: Enhancer, signal: np.ndarray, rate: int, sizes: list[int], **options) -> tuple[np.ndarray, int]:
    """The signal pushed in blocks of these sizes, in turn; and the most samples that were inside."""
    stream = enhancer.stream(rate, channels=len(signal), **options)
    blocks, place, turn, inside = [], 0, 0, 0
    while place < signal.shape[1]:
        block = signal[:, place : place + sizes[turn % len(sizes)]]
        place, turn = place + block.shape[1], turn + 1
        blocks.append(stream.push(block))
        inside = max(inside, place - sum(b.shape[1] for b in blocks))
    blocks.append(stream.flush())
    return np.concatenate(blocks, axis=1), inside


@settings(max_examples=8, deadline=None)
@given(
    samples=st.integers(400, 1500),
    sizes=st.lists(st.integers(20, 700), min_size=1, max_size=4),
)
def test_blocks_of_any_size_give_what_the_whole_gives(samples, sizes):
    enhancer = Enhancer(tiny_model(causal=True), draws=2, mix=0.9)
    signal = noise(2, samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "speech.inference.plausible.PEAK_LIMIT", 10.0
        )  # random networks exceed it, streams know no later peak
        whole = enhancer.enhance(signal, 16000, peak=0.5)
        joined, _ = streamed(enhancer, signal, 16000, sizes, peak=0.5)
    assert joined.shape == signal.shape
    np.testing.assert_allclose(joined, whole, atol=2e-5)


@pytest.mark.parametrize("sizes", [[160], [1000, 37]])
def test_streams_of_what_is_muted_now_and_then_give_what_the_whole_gives(sizes: list[int]) -> None:
    """In windows, too: what goes on in silence does so across them."""
    enhancer = Enhancer(tiny_model(causal=True), window_seconds=0.5, overlap_seconds=0.2)
    signal = noise(2, 24000)
    for start in (0, 5000, 9000, 14000, 21000):
        signal[start // 5000 % 2, start : start + 3000] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("speech.inference.plausible.PEAK_LIMIT", 10.0)
        whole = enhancer.enhance(signal, 16000, peak=0.5)
        joined, _ = streamed(enhancer, signal, 16000, sizes, peak=0.5)
    np.testing.assert_allclose(joined, whole, atol=2e-5)
    assert not joined[1, 5000 + 400 : 8000].any()
    assert joined[1, 8000:9000].any()


@pytest.mark.parametrize(("sampler", "normalize"), [("sb_ode", "noisy"), ("ode2", "not"), ("sde1", "noisy")])
def test_every_sampler_that_does_not_look_at_the_whole(sampler, normalize):
    enhancer = tiny_enhancer(causal=True, sampler=sampler, normalize=normalize)
    signal = noise(1, 2000)
    whole = enhancer.enhance(signal, 16000, peak=0.4)
    joined, _ = streamed(enhancer, signal, 16000, [160], peak=0.4)
    assert decibels(joined - whole, whole) < -80
    stream = enhancer.stream(16000)
    stream.push(signal)
    assert stream.nfe == enhancer.nfe


@settings(max_examples=8, deadline=None)
@given(samples=st.integers(1, 400), size=st.integers(1, 300))
def test_frames_that_overlap_by_half(samples, size):
    frontend = FrontEndConfig(n_fft=64, hop_length=32, window="sqrthann")
    enhancer = tiny_enhancer(causal=True, sampler="ode1", steps=1, frontend=frontend)
    signal = noise(1, samples)
    joined, _ = streamed(enhancer, signal, 16000, [size], peak=0.5)
    np.testing.assert_allclose(joined, enhancer.enhance(signal, 16000, peak=0.5), atol=2e-5)


@pytest.mark.parametrize(("rate", "most"), [(8000, 43), (16000, 32), (22050, 38), (44100, 38), (48000, 38)])
def test_latency_is_kept_over_seconds_and_the_length_too(rate, most):
    enhancer = gain_enhancer(upper_band="follow", frontend=FrontEndConfig(n_fft=512, hop_length=256))
    signal = noise(1, 3 * rate // 2)
    joined, inside = streamed(enhancer, signal, rate, [rate // 200])
    assert joined.shape == signal.shape
    latency = enhancer.stream(rate).latency
    assert latency - 0.006 < inside / rate <= latency
    assert 1000 * latency <= most
    assert decibels(joined - signal, signal) < (-60 if rate == 16000 else -25)  # at the ends a filter lacks its half


@pytest.mark.parametrize("rate", [8000, 44100])
def test_short_filters_change_little_of_what_the_whole_gives(rate):
    enhancer = tiny_enhancer(causal=True, steps=1)
    limited = butter(8, 3000, fs=rate, output="sos")
    signal = sosfiltfilt(limited, noise(1, rate)).astype(np.float32)
    joined, _ = streamed(enhancer, signal, rate, [rate // 10])
    whole = enhancer.enhance(signal, rate, peak=1.0)
    assert decibels(joined - whole, whole) < -40


def test_makeup_raises_files_and_streams_alike():
    usual, signal = gain_enhancer(0.5), noise(2, 3000)
    raised = Enhancer(usual.model, sampling=replace(usual.sampling, makeup=6.0))
    stream = raised.stream(16000, channels=2)
    streamed = np.concatenate([stream.push(signal), stream.flush()], axis=1)
    for found in (raised.enhance(signal, 16000), streamed):
        np.testing.assert_allclose(found, 0.5 * 10 ** (6 / 20) * signal, rtol=1e-4, atol=1e-6)
    with pytest.raises(ConfigError, match="makeup"):
        replace(usual.sampling, makeup=60.0)


def test_kinds_of_blocks():
    enhancer = tiny_enhancer(causal=True, steps=1)
    stream = enhancer.stream(16000)
    ready = stream.push(torch.from_numpy((noise(1000) * 32767).astype(np.int16)))
    assert (ready.dtype, ready.ndim) == (torch.int16, 1)
    assert 800 < len(ready) < 1000
    assert stream.push(np.zeros(0)).shape == (0,)
    with pytest.warns(AudioWarning, match="500 samples of a block are not finite"):
        ready_too = stream.push(np.full(500, np.nan))
    assert ready_too.dtype == np.float64
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        stream.push(np.full(5, np.inf))
    rest = stream.flush()
    assert (rest.dtype, rest.ndim) == (np.float64, 1)
    assert len(ready) + len(rest) < 1505
    assert np.isfinite(rest).all()
    empty = enhancer.stream(16000)
    assert empty.flush().shape == (1, 0)


@pytest.mark.parametrize("shape", [(-1,), (1, -1), (2, -1)])
@pytest.mark.parametrize("tensor", [False, True])
def test_the_rest_comes_in_the_form_of_what_was_pushed(shape, tensor):
    stream = tiny_enhancer(causal=True, steps=1).stream(16000, channels=max(shape[0], 1))
    block = (noise(2000) * 32767).astype(np.int16).reshape(shape)
    given = torch.from_numpy(block) if tensor else block
    parts = [stream.push(given), stream.flush()]
    assert type(parts[0]) is type(parts[1]) is type(given)
    assert all(part.dtype == given.dtype for part in parts)
    joined = np.concatenate([np.asarray(part) for part in parts], axis=-1)
    assert joined.shape == block.shape


def test_what_cannot_be_streamed_is_refused():
    with pytest.raises(ConfigError, match=r"looks ahead.*bundled model 'causal'.*causal=True"):
        tiny_enhancer().stream(16000)
    with pytest.raises(ConfigError, match="chooses its steps by the whole signal"):
        tiny_enhancer(causal=True, sampler="ode").stream(16000)
    enhancer = Enhancer(tiny_model(causal=True))
    with pytest.raises(ConfigError, match="peak=0"):
        enhancer.stream(16000, peak=0)
    with pytest.raises(ConfigError, match="peak='1': need a positive number"):
        enhancer.stream(16000, peak="1")
    with pytest.raises(ConfigError, match="channels='2': need a whole number, at least 1"):
        enhancer.stream(16000, channels="2")
    stream = enhancer.stream(16000, channels=2)
    with pytest.raises(DataError, match="stream of 2 channels"):
        stream.push(noise(3, 10))
    stream.flush()
    with pytest.raises(ConfigError, match="was flushed"):
        stream.push(noise(2, 10))


def test_blocks_of_fewer_samples_than_channels_are_blocks():
    signal = noise(70, 300)
    stream = tiny_enhancer(causal=True, steps=1).stream(16000, channels=70)
    parts = [stream.push(signal[:, start : start + 20]) for start in range(0, 300, 20)]
    parts += [stream.push(signal[:, :0]), stream.flush()]
    assert np.concatenate(parts, axis=1).shape == signal.shape
    with pytest.raises(DataError, match=r"give x\.T"):
        tiny_enhancer(causal=True, steps=1).stream(16000, channels=2).push(noise(300, 2))


def test_a_stream_says_that_it_does_not_know_the_recordings_band():
    model = tiny_model(causal=True, sampler="ode1", steps=1)
    enhancer = Enhancer(model, sampling=replace(model.config.sampling, keep_band=True))
    with pytest.warns(SettingWarning, match="keep_band: without effect on a stream") as said:
        enhancer.stream(16000)
    assert said[0].filename == __file__
