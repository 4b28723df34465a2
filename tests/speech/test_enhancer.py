"""speech/enhancer.py: shapes and kinds, bad signals, seeds, draws, mix, calls, files."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from shared.errors import CheckpointError, DataError
from shared.random import PlacedGenerator
from speech.audio.arrays import AudioWarning
from speech.audio.files import Audio, RawFormat, read_audio
from speech.audio.writing import write_audio
from speech.enhancer import Enhancer
from speech.inference.sampling import sample_spectrogram
from speech.loading import load_model
from speech.model.config import SamplingConfig
from speech.model.frontend import mirrored
from tests.speech.models import decibels, gain_enhancer, noise, tiny_enhancer, tiny_model

ENHANCER = tiny_enhancer(steps=2)


def test_what_it_is_continued_by_reaches_only_its_end():
    whole = ENHANCER.enhance(noise(1, 3040), 16000)
    part = ENHANCER.enhance(noise(1, 3040)[:, :3000], 16000, peak=float(np.abs(noise(1, 3040)).max()))
    np.testing.assert_allclose(part[:, :2400], whole[:, :2400], atol=1e-5)


def test_one_recording_is_front_end_sampler_and_back():
    signal = noise(1, 3040)
    peak = np.abs(signal).max()
    model = ENHANCER.model
    with torch.no_grad():
        noisy = model.frontend(mirrored(torch.from_numpy(signal / peak), 4200))[..., :128]
        generator = PlacedGenerator("speech", ENHANCER.seed, 0)
        result = sample_spectrogram(model, noisy, ENHANCER.sampling, [generator])
        expected = model.frontend.inverse(result.x[..., : 96 + 2], 3040).numpy() * peak
    enhanced = ENHANCER.enhance(signal, 16000)
    np.testing.assert_allclose(enhanced, expected, atol=1e-6)
    assert ENHANCER.nfe == result.nfe == 2
    assert np.abs(enhanced - signal).max() > 0.01


@settings(max_examples=25, deadline=None)
@given(
    shape=st.sampled_from([(), (1,), (2,), (2, 1), (1, 3), (0,), (0, 2)]),
    samples=st.sampled_from([0, 1, 2, 100, 700]),
    rate=st.sampled_from([8000, 16000, 44100, 192_000]),
    dtype=st.sampled_from(["float32", "float64", "float16", "int16", "int32", "uint8"]),
    tensor=st.booleans(),
)
def test_shape_kind_and_dtype_come_back(shape, samples, rate, dtype, tensor):
    signal = noise(*shape, samples)
    if dtype == "uint8":
        signal = (signal * 128 + 128).round().astype(dtype)
    elif dtype.startswith("int"):
        signal = (signal * np.iinfo(dtype).max).astype(dtype)
    else:
        signal = signal.astype(dtype)
    given_ = torch.from_numpy(signal) if tensor else signal
    enhanced = ENHANCER.enhance(given_, rate)
    assert type(enhanced) is type(given_)
    assert (enhanced.shape, enhanced.dtype) == (given_.shape, given_.dtype)
    assert np.isfinite(np.asarray(enhanced, dtype=np.float64)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_the_order_of_bytes_does_not_matter_and_stays(dtype):
    signal = (noise(2, 900) * (32767 if dtype == "int16" else 1)).astype(dtype)
    swapped = signal.astype(signal.dtype.newbyteorder())
    enhanced = ENHANCER.enhance(swapped, 16000)
    assert enhanced.dtype == swapped.dtype
    np.testing.assert_array_equal(enhanced, ENHANCER.enhance(signal, 16000))


def test_what_may_only_be_read_is_taken_in_silence():
    signal = (noise(900) * 32767).astype(np.int16)
    expected = ENHANCER.enhance(signal, 16000)
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*not writable")
            enhanced = ENHANCER.enhance(np.frombuffer(signal.tobytes(), np.int16), 16000)
    finally:
        torch.set_warn_always(False)
    np.testing.assert_array_equal(enhanced, expected)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8])
def test_integers_are_pcm(dtype):
    signal = noise(2, 900)
    zero, scale = (128, 128) if dtype == np.uint8 else (0, -float(np.iinfo(dtype).min))
    coded = np.round(signal.astype(np.float64) * scale + zero).astype(dtype)
    wave = ((coded.astype(np.float64) - zero) / scale).astype(np.float32)
    expected = ENHANCER.enhance(wave, 16000)
    np.testing.assert_allclose((ENHANCER.enhance(coded, 16000) - float(zero)) / scale, expected, atol=1 / scale)


@pytest.mark.parametrize(
    "signal",
    [
        np.zeros((2, 1000), np.float32),
        np.full((1, 1000), 0.3, np.float32),
        np.full((1, 1000), 1e-39, np.float32),
        np.full((1, 1000), 1e19, np.float32),
        np.clip(20 * noise(1, 1000), -1, 1),
        noise(8, 500),
    ],
    ids=["silence", "dc", "denormal", "huge", "clipped", "eight"],
)
def test_odd_signals_give_finite_ones(signal):
    enhanced = ENHANCER.enhance(signal, 16000)
    assert enhanced.shape == signal.shape
    assert np.isfinite(enhanced).all()
    if not signal.any():
        assert not enhanced.any()


@pytest.mark.parametrize("peak", [None, 0.5])
def test_silence_costs_no_call_whatever_peak_is_given(peak):
    enhancer = tiny_enhancer()
    assert not enhancer.enhance(np.zeros((1, 3000), np.float32), 16000, peak=peak).any()
    assert enhancer.nfe == 0


def test_a_silent_channel_stays_silent_beside_another():
    signal = np.concatenate([noise(1, 1000), np.zeros((1, 1000), np.float32)])
    enhanced = ENHANCER.enhance(signal, 48000)
    assert enhanced[0].any()
    assert not enhanced[1].any()


def test_samples_that_are_not_finite_are_taken_for_zero_and_told():
    signal = noise(1, 1000)
    signal[0, [3, 500, 999]] = np.nan, np.inf, 1e30
    cleaned = np.where(np.abs(signal) < 1e15, signal, 0).astype(np.float32)
    with pytest.warns(AudioWarning, match=r"3 samples of the waveform are not finite or beyond 1e\+15"):
        enhanced = ENHANCER.enhance(signal, 16000)
    np.testing.assert_array_equal(enhanced, ENHANCER.enhance(cleaned, 16000))


def test_a_constant_that_is_taken_away_is_told():
    signal = noise(16000) + np.float32(0.3)
    with pytest.warns(AudioWarning, match=r"^the waveform: a constant, 0\.3 of full scale, lay on it"):
        result = ENHANCER.enhance(signal, 16000)
    assert abs(result.mean()) < 0.03


@pytest.mark.parametrize("shape", [(0, 100), (2, 0, 100), (0, 1, 100), (1, 0)])
def test_nothing_gives_nothing(shape):
    for enhancer in (ENHANCER, tiny_enhancer(causal=True, normalize="not")):
        assert enhancer.enhance(np.zeros(shape, np.float32), 16000).shape == shape


def test_level_does_not_matter():
    signal = noise(1, 1000)
    clicked = np.where(np.arange(9000) == 5000, 1.0, noise(1, 9000) / 10).astype(np.float32)
    loud = ENHANCER.enhance(signal, 16000)
    np.testing.assert_allclose(ENHANCER.enhance(signal / 64, 16000) * 64, loud, atol=1e-6)
    np.testing.assert_array_equal(ENHANCER.enhance(clicked / 64, 16000) * 64, ENHANCER.enhance(clicked, 16000))
    unscaled = tiny_enhancer(normalize="not", steps=2)
    same = tiny_enhancer(steps=2).enhance(signal, 16000, peak=1.0)
    np.testing.assert_allclose(unscaled.enhance(signal, 16000), same, atol=1e-7)


def test_a_click_does_not_change_the_level_that_the_network_sees():
    """In files of one window and of several; `peak` goes before."""
    model, seen = tiny_model(sampler="ode1", steps=1), []
    forward = model.backbone.forward
    model.backbone.forward = lambda x, y, t: seen.append(y) or forward(x, y, t)
    signal = noise(1, 24000)
    clicked = signal.copy()
    clicked[0, 20000] = 5.0
    peak = float(np.abs(signal).max())
    for enhancer in (Enhancer(model), Enhancer(model, window_seconds=0.6, overlap_seconds=0.2)):
        loudest = []
        for each, options in ((signal, {}), (clicked, {}), (clicked, {"peak": peak}), (clicked, {"peak": 2 * peak})):
            seen.clear()
            enhancer.enhance(each, 16000, **options)
            loudest.append(float(seen[0][..., :200].abs().max()))
        plain, found, told, least = loudest
        assert plain == told
        assert least < found < 1.2 * least  # the level is at most 6 dB above that of the other peaks


def test_an_item_depends_on_its_seed_and_not_on_the_batch():
    batch = np.stack([noise(2, 2000, seed=i) for i in range(3)])
    batch[1, 1] = batch[1, 0]
    together = ENHANCER.enhance(batch, 16000)
    for item, expected in zip(batch, together, strict=True):
        np.testing.assert_allclose(ENHANCER.enhance(item, 16000), expected, atol=1e-6)
    np.testing.assert_allclose(together[1, 0], together[1, 1], atol=1e-6)
    seeded = ENHANCER.enhance(batch, 16000, seed=[0, 5, 6])
    np.testing.assert_allclose(seeded[0], together[0], atol=1e-6)
    assert np.abs(seeded[1] - together[1]).max() > 1e-4
    np.testing.assert_array_equal(ENHANCER.enhance(batch, 16000, seed=np.array([0, 5, 6])), seeded)
    np.testing.assert_allclose(ENHANCER.enhance(batch[2], 16000, seed=6), seeded[2], atol=1e-6)
    np.testing.assert_allclose(ENHANCER.enhance(batch[2], 16000, seed=np.int64(6)), seeded[2], atol=1e-6)
    other = tiny_enhancer(steps=2, enhancer={"seed": 6})
    np.testing.assert_allclose(other.enhance(batch[2], 16000), seeded[2], atol=1e-6)


def test_draws_are_averaged():
    signal = noise(1, 2016)
    few, many = (tiny_enhancer(steps=2, enhancer={"draws": n}) for n in (1, 4))
    averaged = many.enhance(signal, 16000)
    few.enhance(signal, 16000)
    assert many.nfe == 4 * few.nfe
    singles = []
    for draw in range(4):
        model = many.model
        peak = np.abs(signal).max()
        with torch.no_grad():
            y = model.frontend(mirrored(torch.from_numpy(signal / peak), 3200))[..., :96]
            result = sample_spectrogram(model, y, many.sampling, [PlacedGenerator("speech", 0, draw)])
            singles.append(model.frontend.inverse(result.x[..., : 64 + 2], 2016).numpy() * peak)
    np.testing.assert_allclose(averaged, np.mean(singles, axis=0), atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_mix_is_a_line_from_noisy_to_enhanced(rate):
    signal = noise(2, 1500)
    dry, half, wet = (tiny_enhancer(steps=2, enhancer={"mix": mix}).enhance(signal, rate) for mix in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(dry, signal)
    np.testing.assert_allclose(half, (dry + wet) / 2, atol=1e-6)


@pytest.mark.parametrize(("limit", "kept"), [(20.0, 0.1), (6.0205999, 0.5), (None, 0.0)])
@pytest.mark.parametrize("mix", [1.0, 0.6, 0.0])
def test_nothing_falls_further_than_the_attenuation_limit(limit, kept, mix):
    signal = noise(2, 1500)
    sampling = SamplingConfig("sde1", 2, attenuation_limit=limit)
    limited = tiny_enhancer(enhancer={"mix": mix, "sampling": sampling}).enhance(signal, 16000)
    free = tiny_enhancer(enhancer={"sampling": SamplingConfig("sde1", 2)}).enhance(signal, 16000)
    np.testing.assert_allclose(limited, signal + mix * (1 - kept) * (free - signal), atol=1e-6)


@pytest.mark.parametrize("window", [16.0, 0.3])
def test_the_attenuation_limit_keeps_nothing_of_a_band_that_is_left_out(window):
    signal = noise(1, 24000)
    plain = gain_enhancer(0.0).model
    sampling = replace(plain.config.sampling, attenuation_limit=20.0)
    options = {"upper_band": "drop", "window_seconds": window, "overlap_seconds": window / 4}
    limited = Enhancer(plain, sampling=sampling, **options).enhance(signal, 48000)
    whole = gain_enhancer(1.0, **options).enhance(signal, 48000)  # up to 8 kHz
    assert decibels(limited - 0.1 * whole, 0.1 * whole) < -60
    stream = Enhancer(plain, sampling=sampling, **options).stream(48000)
    streamed = np.concatenate([stream.push(signal), stream.flush()], axis=1)
    above = butter(10, 9000, "highpass", fs=48000, output="sos")
    for found in (limited, streamed):
        assert decibels(sosfiltfilt(above, found), 0.1 * signal) < -40
    mixed = Enhancer(plain, sampling=sampling, mix=0.5, **options).enhance(signal, 48000)
    np.testing.assert_allclose(mixed, (limited + signal) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("sampler", "steps", "nfe"), [("pc", 4, 8), ("sb_ode", 4, 4), ("ode2", 3, 3), ("heun", 2, None), ("ode", 1, None)]
)
def test_every_sampler_and_its_true_number_of_calls(sampler, steps, nfe):
    enhancer = tiny_enhancer(sampler=sampler, steps=steps)
    calls = [0]
    enhancer.model.backbone.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    enhanced = enhancer.enhance(noise(2, 800), 16000)
    assert np.isfinite(enhanced).all()
    together = 2 if sampler == "ode" else 1
    assert enhancer.nfe == pytest.approx(calls[0] / together, rel=0.3 if sampler == "ode" else 0)
    assert nfe is None or enhancer.nfe == nfe


def test_sampler_and_steps_stand_in_for_those_of_the_configuration():
    model = tiny_model()
    sampling = SamplingConfig("sde1", steps=7, reverse_starting_point=0.8)
    assert Enhancer(model).sampling == model.config.sampling
    assert Enhancer(model, "ode2", sampling=sampling).sampling == SamplingConfig(
        "ode2", steps=7, reverse_starting_point=0.8
    )
    assert Enhancer(model, steps=2).sampling.steps == 2


@pytest.mark.parametrize(
    ("source", "target", "format", "subtype", "rate"),
    [
        ("a.wav", "b.wav", "WAV", "PCM_24", 44100),
        ("a.flac", "b.flac", "FLAC", "PCM_16", 8000),
        ("a.wav", "b.ogg", "WAV", "FLOAT", 16000),
        ("a.mp3", "b.mp3", "MP3", "MPEG_LAYER_III", 48000),
    ],
)
def test_a_file_keeps_what_it_is(tmp_path, source, target, format, subtype, rate):
    write_audio(tmp_path / source, Audio(noise(2, 3001), rate, format, subtype, {"title": "hall"}))
    result = ENHANCER.enhance_file(tmp_path / source, tmp_path / target)
    before, after = read_audio(tmp_path / source), read_audio(tmp_path / target)
    assert after.waveform.shape == before.waveform.shape
    assert (after.sample_rate, after.metadata["title"]) == (rate, "hall")
    if source[-3:] == target[-3:]:
        assert (after.format, after.subtype) == (before.format, before.subtype)
    expected = ENHANCER.enhance(before.waveform, rate, seed=ENHANCER.seed_of(source))
    if target.endswith(("wav", "flac")):
        np.testing.assert_allclose(after.waveform, expected, atol=2**-15)
    assert (result.name, result.channels, result.nfe) == (source, 2, 2)
    assert result.seconds == pytest.approx(3001 / rate)


def test_raw_files_and_folders_as_targets(tmp_path):
    write_audio(tmp_path / "a.raw", Audio(noise(1, 500), 16000, "RAW", "FLOAT"))
    (tmp_path / "out").mkdir()
    ENHANCER.enhance_file(tmp_path / "a.raw", tmp_path / "out", raw=RawFormat(16000))
    assert (tmp_path / "out" / "a.raw").stat().st_size == 2000


def test_a_file_is_never_written_onto_itself(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 500), 16000))
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    before = (tmp_path / "a.wav").read_bytes()
    for target in ("a.wav", "link.wav", ".", "not there yet/../a.wav"):
        with pytest.raises(DataError, match="is the noisy file itself"):
            ENHANCER.enhance_file(tmp_path / "a.wav", tmp_path / target)
    assert (tmp_path / "a.wav").read_bytes() == before


def test_a_stop_leaves_the_old_target(tmp_path, monkeypatch):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 500), 16000))
    (tmp_path / "b.wav").write_bytes(b"old")
    enhancer = tiny_enhancer()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    enhancer.model.backbone.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        enhancer.enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "b.wav"]
    assert (tmp_path / "b.wav").read_bytes() == b"old"


def test_saved_models_enhance_alike(tmp_path):
    ENHANCER.model.save_pretrained(tmp_path / "model")
    again = Enhancer.from_pretrained(tmp_path / "model")
    signal = noise(1, 800)
    np.testing.assert_allclose(again.enhance(signal, 16000), ENHANCER.enhance(signal, 16000), atol=1e-6)


def test_models_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "none")
    (tmp_path / "bad.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "bad.ckpt")


def test_real_speech_of_another_rate(shared_data):
    path = sorted(Path(shared_data / "speech/test_pairs/noisy").glob("*.wav"))[0]
    audio = read_audio(path)
    enhanced = ENHANCER.enhance(audio.waveform[:, :32000], audio.sample_rate)
    assert np.isfinite(enhanced).all()
    assert np.corrcoef(enhanced[0], audio.waveform[0, :32000])[0, 1] > 0.3
