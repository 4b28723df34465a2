"""speech/enhancer.py: settings, waveforms, rates and seeds that cannot be, and those that may be."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
import soundfile
import torch

from shared.errors import ConfigError, DataError
from speech import scale
from speech.audio.files import Audio
from speech.audio.writing import write_audio
from speech.enhancer import Enhancer
from tests.speech.models import noise, tiny_model
from tests.speech.test_enhancer import ENHANCER


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws=0"),
        ({"seed": "a"}, "seed='a'"),
        ({"device": "nowhere"}, "device 'nowhere' cannot be used here .*; use cpu"),
        ({"draws": 1.5}, "draws=1.5: need a whole number"),
        ({"steps": 2.0}, "steps=2.0: need a whole number"),
        ({"mix": 1.5}, "mix=1.5"),
        ({"mix": "1"}, "mix='1': need a number from 0 to 1"),
        ({"window_seconds": "16"}, "window_seconds='16' is text"),
        ({"overlap_seconds": None}, "overlap_seconds=None: need a number"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"sampler": "psychic"}, "psychic"),
        ({"steps": 0}, "steps=0"),
        ({"window_seconds": 1.0, "overlap_seconds": 0.7}, "overlap_seconds=0.7"),
        ({"overlap_seconds": 0.0}, "overlap_seconds=0"),
        ({"keep_music": "no"}, "keep_music='no': need True or False"),
        ({"sampling": "ode1"}, "sampling='ode1': need a SamplingConfig"),
        ({"sampling": {}}, "sampling={}: need a SamplingConfig"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Enhancer(tiny_model(), **options)


def test_names_and_paths_are_refused_with_the_call_that_takes_them():
    with pytest.raises(ConfigError, match=r"Enhancer\.from_pretrained\('default'\)"):
        Enhancer("default")
    with pytest.raises(ConfigError, match="a model of type Linear: give a SpeechModel"):
        Enhancer(torch.nn.Linear(1, 1))
    with pytest.raises(DataError, match="enhance_file"):
        Enhancer(tiny_model()).enhance("noisy.wav", 16000)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_in_another_precision_are_told(dtype):
    with pytest.raises(ConfigError, match=rf"weights in {dtype}: .*model\.float\(\)"):
        Enhancer(tiny_model().to(dtype))


def test_a_model_by_name_takes_the_settings_of_an_enhancer(tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    enhancer = Enhancer.from_pretrained(tmp_path / "model", device="cpu", rate=32000, mix=0.5)
    assert (enhancer.rate, enhancer.mix) == (32000, 0.5)
    assert enhancer.enhance(noise(1, 1600), 16000).shape == (1, 3200)
    with pytest.raises(ConfigError, match="rate=10: need"):
        Enhancer.from_pretrained(tmp_path / "model", device="cpu", rate=10)


def test_on_another_device_it_enhances_as_it_was_set():
    settings = {"draws": 2, "mix": 0.5, "rate": 32000, "upper_band": "drop", "batch_size": 3, "keep_music": True}
    enhancer = Enhancer(tiny_model(), "sde1", 2, window_seconds=8.0, overlap_seconds=1.0, **settings)
    enhancer.seed = 3
    moved = enhancer.to("cpu")
    assert moved is not enhancer
    assert moved.model is enhancer.model
    assert (moved.seed, moved.sampling) == (3, enhancer.sampling)
    assert {name: getattr(moved, name) for name in settings} == settings
    wave = noise(2, 8000)
    np.testing.assert_array_equal(moved.enhance(wave, 16000), enhancer.enhance(wave, 16000))
    with pytest.raises(ConfigError, match="device 'nowhere' cannot be used here"):
        enhancer.to("nowhere")


def test_settings_of_a_made_enhancer_are_not_changed_in_silence():
    enhancer = Enhancer(tiny_model())
    for name in ("mix", "draws", "sampling", "rate", "upper_band", "quality", "keep_music", "batch_size", "model"):
        before = getattr(enhancer, name)
        with pytest.raises(ConfigError, match=f"an Enhancer's {name} is settled when it is made"):
            setattr(enhancer, name, before)
    enhancer.seed = 3  # which every call reads
    assert copy.deepcopy(enhancer).seed == pickle.loads(pickle.dumps(enhancer)).seed == 3


def test_another_seed_is_that_of_arrays_files_and_folders_alike(tmp_path):
    wave = noise(1, 4000)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/a.wav", wave[0], 16000)
    changed, made = (Enhancer(tiny_model(), sampler="sde1", steps=2, seed=seed) for seed in (1, 3))
    changed.seed = 3
    for place, enhancer in enumerate((changed, made)):
        enhancer.enhance_file(tmp_path / "in/a.wav", tmp_path / f"out/{place}.flac")
        enhancer.enhance_dir(tmp_path / "in", tmp_path / f"all/{place}", progress=False)
    np.testing.assert_array_equal(changed.enhance(wave, 16000), made.enhance(wave, 16000))
    for one, other in (("out/0.flac", "out/1.flac"), ("all/0/a.wav", "all/1/a.wav")):
        assert (tmp_path / one).read_bytes() == (tmp_path / other).read_bytes()
    with pytest.raises(ConfigError, match=r"seed=0\.5"):
        changed.seed = 0.5


def test_a_batch_may_be_one_window():
    assert Enhancer(tiny_model(), batch_size=1).batch_size == 1


def test_integers_of_numpy_are_settings():
    enhancer = Enhancer(tiny_model(), steps=np.int64(2), draws=np.int32(2), batch_size=np.int64(3))
    assert (enhancer.sampling.steps, enhancer.draws, enhancer.batch_size) == (2, 2, 3)
    assert type(enhancer.sampling.steps) is int


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ([0.1, 0.2], "type list"),
        (np.zeros((1, 1, 1, 5)), "shape"),
        (np.zeros((4800, 2)), r"shape \(4800, 2\): need \(channels, samples\); give x\.T"),
        (torch.zeros(3, 65, 1), r"need \(batch, channels, samples\); give x\.swapaxes\(1, 2\)"),
        (np.float32(1), "type float32"),
        (np.zeros(5, np.complex64), "complex64"),
        (np.zeros(5, np.int64), r"a waveform of int64: .*x\.astype\('int16'\)"),
        (torch.zeros(5, dtype=torch.int64), r"a waveform of torch\.int64: .*x\.to\(torch\.int16\)"),
        (np.zeros(5, bool), "a waveform of bool: .* as PCM$"),
        (np.array(["a"]), "U1"),
        (np.ma.masked_greater(np.linspace(-1, 1, 5), 0.5), r"masked.*x\.filled\(0\)"),
        (torch.ones(5).to_sparse(), r"layout torch\.sparse_coo: give x\.to_dense\(\)"),
        (torch.empty(5, device="meta"), "device meta, which holds no samples"),
        (torch.nested.as_nested_tensor([torch.ones(5)], layout=torch.jagged), r"nested tensor.*x\.unbind\(\)"),
    ],
)
def test_what_is_no_waveform_is_refused(signal, message):
    with pytest.raises(DataError, match=message):
        ENHANCER.enhance(signal, 16000)


def test_a_tensor_that_is_negated_when_it_is_read_is_its_values():
    conjugate = torch.complex(torch.zeros(4000), torch.tensor(noise(4000)[0])).conj().imag
    assert conjugate.is_neg()
    assert torch.equal(ENHANCER.enhance(conjugate, 16000), ENHANCER.enhance(conjugate.resolve_neg(), 16000))


@pytest.mark.parametrize("peak", [0, -1.0, np.nan, np.inf, 1e20])
def test_what_is_no_peak_is_refused(peak):
    with pytest.raises(ConfigError, match=r"peak=.*: need a positive number"):
        ENHANCER.enhance(noise(10), 16000, peak=peak)


def test_no_file_is_replaced_that_was_not_named(tmp_path, monkeypatch):
    for folder in ("in", "here"):
        write_audio(tmp_path / folder / "a.wav", Audio(noise(1, 900), 16000))
    (tmp_path / "out" / "a.wav").mkdir(parents=True)
    before = (tmp_path / "here" / "a.wav").read_bytes()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match="the target is '', as of a variable that is not set"):
        ENHANCER.enhance_file(tmp_path / "in" / "a.wav", "")
    for engine in (ENHANCER.enhance_dir, scale.enhance_dir):
        with pytest.raises(DataError, match="the target is '', as of a variable that is not set"):
            engine(tmp_path / "in", "")
    with pytest.raises(DataError, match="is a folder"):
        ENHANCER.enhance_file(tmp_path / "in" / "a.wav", tmp_path / "out")
    assert (tmp_path / "here" / "a.wav").read_bytes() == before
    assert not list((tmp_path / "out" / "a.wav").iterdir())


@pytest.mark.parametrize("call", [lambda rate: ENHANCER.enhance(noise(10), rate), ENHANCER.stream])
@pytest.mark.parametrize("rate", ["16000", None, [16000], 0.5, 0, -1])
def test_what_is_no_rate_is_refused(call, rate):
    with pytest.raises(ConfigError, match=f"^sample_rate={re.escape(repr(rate))}.*: need .*"):
        call(rate)


def test_a_rate_may_be_any_whole_number():
    expected = ENHANCER.enhance(noise(10), 16000)
    for rate in (16000.0, np.int64(16000), np.array(16000), torch.tensor(16000)):
        np.testing.assert_array_equal(ENHANCER.enhance(noise(10), rate), expected)


def test_impossible_rates_and_seeds_are_refused():
    for rate in (0, 16, 48, 2_000_000):
        with pytest.raises(ConfigError, match=f"^sample_rate={rate}: need Hz between 1000 and 1000000"):
            ENHANCER.enhance(noise(10), rate)
        with pytest.raises(ConfigError, match=f"^sample_rate={rate}: need Hz between 1000 and 1000000"):
            Enhancer.from_pretrained("causal").stream(rate)
    with pytest.raises(ConfigError, match="2 seeds for a batch of 1"):
        ENHANCER.enhance(noise(10), 16000, seed=[1, 2])
    for seed in (1.5, "1", torch.Generator(), [None]):
        with pytest.raises(ConfigError, match="need a whole number"):
            ENHANCER.enhance(noise(10), 16000, seed=seed)
