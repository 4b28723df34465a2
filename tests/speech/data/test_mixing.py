"""Mixing on the fly: the SNR that was asked for, batches that depend on their generator alone, what is in a target."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from shared.errors import ConfigError, DataError
from speech.data import PRESETS, MixConfig, Mixer, MixSource, degrade, preset
from speech.data.clips import Clip
from speech.data.levels import active_power, noise_gain, power
from speech.data.mixing import noise_crop
from speech.data.noises import KINDS, REWORKED
from speech.data.voices import VOICES
from tests.speech.trees import RATE, hiss, mixing_folders, put, speech_like

PLAIN = MixConfig(
    seconds=1.0, batch_size=4, noises=1, clean=0, silence=0, babble=0, synthetic=0, filtered=0, reverb=0, clipped=0
)


def decibels(ratio: float) -> float:
    return 10 * math.log10(ratio)


def clip_of(samples: np.ndarray, name: str = "a", speaker: str = "a") -> Clip:
    whole = np.rint(samples * 32767).astype(np.int16)
    return Clip(name, speaker, whole, active_power(samples, RATE))


NOISE = clip_of(hiss(3.0, 7), "hiss")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return mixing_folders(tmp_path_factory.mktemp("mixing"))


@pytest.fixture(scope="module")
def source(folders: tuple[Path, Path, Path]) -> MixSource:
    return MixSource(*folders, MixConfig(seconds=1.0, batch_size=4, clipped=0.2))


@settings(max_examples=40, deadline=None)
@given(snr=st.floats(-30, 40), seed=st.integers(0, 2**31), over=st.sampled_from(["active", "whole"]))
def test_realised_snr_is_the_requested_one(snr: float, seed: int, over: str) -> None:
    config = replace(PLAIN, snr_db=(snr, snr), snr_over=over, noises=2, filtered=0.5)  # type: ignore[arg-type]
    mixture = Mixer(config, [NOISE]).mix(speech_like(1.0, 3), np.random.default_rng(seed))
    measured = active_power(mixture.speech, RATE) if over == "active" else power(mixture.speech)
    assert mixture.snr_db == snr
    assert decibels(measured / power(mixture.noise)) == pytest.approx(snr, abs=1e-3)
    np.testing.assert_allclose(mixture.noisy, mixture.speech + mixture.noise, atol=1e-6)
    np.testing.assert_array_equal(mixture.clean, mixture.speech)


@given(a=st.floats(1e-6, 1e3), b=st.floats(1e-6, 1e3), snr=st.floats(-60, 60))
def test_noise_gain_puts_the_noise_where_asked(a: float, b: float, snr: float) -> None:
    assert decibels(a / (b * noise_gain(a, b, snr) ** 2)) == pytest.approx(snr, abs=1e-9)


def test_noise_gain_refuses_silence() -> None:
    with pytest.raises(DataError, match="noise is silent"):
        noise_gain(1.0, 0.0, 5.0)
    with pytest.raises(DataError, match="speech is silent"):
        noise_gain(0.0, 1.0, 5.0)


def test_active_power_does_not_count_pauses() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    paused = np.concatenate([tone, np.zeros(3 * RATE, np.float32)])
    assert active_power(paused, RATE) == pytest.approx(0.5, rel=1e-6)
    assert power(paused) == pytest.approx(0.125, rel=1e-6)
    assert active_power(np.zeros(RATE), RATE) == 0
    assert active_power(3 * paused, RATE) == pytest.approx(9 * active_power(paused, RATE), rel=1e-5)


def test_a_batch_depends_on_its_generator_alone(source: MixSource) -> None:
    first = source.batch(np.random.default_rng(3))
    source.batch(np.random.default_rng(4))
    again = source.batch(np.random.default_rng(3))
    assert first.y is not None
    assert again.y is not None
    assert torch.equal(first.x0, again.x0)
    assert torch.equal(first.y, again.y)
    assert first.ids == again.ids
    other = source.batch(np.random.default_rng(4))
    assert not torch.equal(first.x0, other.x0)
    assert first.x0.shape == first.y.shape == (4, RATE)
    assert first.x0.dtype == first.y.dtype == torch.float32


def test_an_item_does_not_depend_on_the_batch_size(folders: tuple[Path, Path, Path]) -> None:
    small = MixSource(*folders, replace(PLAIN, reverb=0.5, batch_size=2)).batch(np.random.default_rng(0))
    large = MixSource(*folders, replace(PLAIN, reverb=0.5, batch_size=5)).batch(np.random.default_rng(0))
    assert torch.equal(small.x0, large.x0[:2])


def test_a_copy_in_another_process_draws_the_same(source: MixSource) -> None:
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy.batch(np.random.default_rng(1)).x0, source.batch(np.random.default_rng(1)).x0)


def test_input_that_is_clean_and_target_that_is_silent() -> None:
    dry = speech_like(1.0)
    clean = Mixer(replace(PLAIN, clean=1.0, clipped=1.0), [NOISE]).mix(dry, np.random.default_rng(0))
    np.testing.assert_array_equal(clean.clean, clean.noisy)
    assert clean.snr_db == math.inf
    silent = Mixer(replace(PLAIN, silence=1.0), [NOISE]).mix(dry, np.random.default_rng(0))
    assert not silent.clean.any()
    assert power(silent.noisy) > 0
    assert silent.snr_db == -math.inf


def test_silent_speech_gives_noise_alone() -> None:
    mixture = Mixer(PLAIN, [NOISE]).mix(np.zeros(RATE, np.float32), np.random.default_rng(0))
    assert not mixture.clean.any()
    assert power(mixture.noisy) > 0
    assert mixture.snr_db == -math.inf


def test_levels_and_gains() -> None:
    config = replace(PLAIN, level_db=-30.0, gain_db=(4.0, 4.0), snr_db=(20, 20))
    mixture = Mixer(config, [NOISE]).mix(0.01 * speech_like(1.0), np.random.default_rng(0))
    assert decibels(active_power(mixture.speech, RATE)) == pytest.approx(-26, abs=1e-3)
    kept = Mixer(replace(config, level_db=None, gain_db=(0, 0)), [NOISE]).mix(
        speech_like(1.0), np.random.default_rng(0)
    )
    np.testing.assert_allclose(kept.clean, speech_like(1.0), atol=1e-7)
    loud = Mixer(replace(config, level_db=0.0), [NOISE]).mix(speech_like(1.0), np.random.default_rng(0))
    assert max(np.abs(loud.noisy).max(), np.abs(loud.clean).max()) == pytest.approx(0.99, abs=1e-5)


def test_normal_snr_stays_in_range() -> None:
    mixer = Mixer(replace(PLAIN, snr_db=(-5, 5), snr_distribution="normal"), [NOISE])
    rng = np.random.default_rng(0)
    drawn = np.array([mixer._draw_snr(rng) for _ in range(2000)])
    assert drawn.min() >= -5
    assert drawn.max() <= 5
    assert abs(drawn.mean()) < 0.2
    assert 2.0 < drawn.std() < 2.5


def test_dereverberation_target_is_the_direct_path(folders: tuple[Path, Path, Path]) -> None:
    config = preset("dereverb", seconds=1.0, batch_size=2, filtered=0.0, level_db=None, gain_db=(-6.0, -6.0))
    name, mixture = MixSource(folders[0], rooms=folders[2], config=config).item(np.random.default_rng(0))
    assert "hall" in name
    assert np.abs(mixture.noisy - mixture.clean).max() > 0.01
    lag = np.argmax(np.correlate(mixture.noisy, mixture.clean, "full")) - (len(mixture.clean) - 1)
    assert lag == 0


def test_bandwidth_input_lacks_what_the_target_has(folders: tuple[Path, Path, Path]) -> None:
    config = preset("bandwidth", seconds=1.0, high_hz=(2000.0, 2000.0), clean=0.0, filtered=0.0)
    mixture = MixSource(folders[0], config=config).item(np.random.default_rng(0))[1]
    above = np.fft.rfftfreq(RATE, 1 / RATE) > 3500
    high = [np.sum(np.abs(np.fft.rfft(x))[above] ** 2) for x in (mixture.noisy, mixture.clean)]
    assert high[0] < 1.2e-2 * high[1]  # 1 / (1 + 1.75^8): the lowest order
    both = replace(config, restore_band=False)
    kept = MixSource(folders[0], config=both).item(np.random.default_rng(0))[1]
    np.testing.assert_allclose(kept.noisy, kept.clean, atol=1e-6)
    steep = replace(config, high_hz=(3000.0, 3000.0), resampled=1.0)
    mixture = MixSource(folders[0], config=steep).item(np.random.default_rng(0))[1]
    high = [np.sum(np.abs(np.fft.rfft(x))[above] ** 2) for x in (mixture.noisy, mixture.clean)]
    assert high[0] < 1e-4 * high[1]


def test_clipping_coding_and_loss_touch_the_input_alone(folders: tuple[Path, Path, Path]) -> None:
    for change in ({"clipped": 1.0, "clip_db": (12.0, 12.0)}, {"coded": 1.0, "codecs": ("mulaw",)}, {"lossy": 1.0}):
        source = MixSource(*folders[:2], config=replace(PLAIN, snr_db=(30, 30), **change))  # type: ignore[arg-type]
        mixture = source.item(np.random.default_rng(1))[1]
        np.testing.assert_array_equal(mixture.clean, mixture.speech)
        assert np.abs(mixture.noisy - mixture.speech - mixture.noise).max() > 1e-3


def test_short_files_are_joined_within_a_speaker(tmp_path: Path) -> None:
    for speaker, value in (("1", 0.1), ("2", 0.4)):
        for take in range(3):
            put(tmp_path / f"{speaker}-1-{take}.wav", np.full(RATE // 4, value, np.float32), subtype="FLOAT")
    config = replace(PLAIN, seconds=1.5, noises=0, level_db=None, gain_db=(0, 0))
    source = MixSource(tmp_path, config=config)
    for seed in range(10):
        clean = source.item(np.random.default_rng(seed))[1].clean
        assert len(clean) == round(1.5 * RATE)
        levels = set(np.round(clean[clean != 0].astype(float), 2))
        assert levels in ({0.1}, {0.4})
        assert (clean == 0).any()


def test_files_are_drawn_in_proportion_to_their_length(tmp_path: Path) -> None:
    put(tmp_path / "long.wav", speech_like(6.0, 1))
    put(tmp_path / "short.wav", speech_like(2.0, 2))
    source = MixSource(tmp_path, config=replace(PLAIN, noises=0))
    names = [source.item(np.random.default_rng(seed))[0] for seed in range(400)]
    assert 0.68 < sum("long" in name for name in names) / 400 < 0.82


def test_babble_leaves_the_speaker_out() -> None:
    talkers = [clip_of(speech_like(1.0, n), f"t{n}", f"s{n % 2}") for n in range(4)]
    mixer = Mixer(replace(PLAIN, babble=1.0), [NOISE], talkers=talkers[:1] + talkers[2:3] + talkers[1:2])
    made = mixer.mix(speech_like(1.0), np.random.default_rng(2), "s0").made_of
    assert made in (("babble",), ("hiss",))
    alone = Mixer(replace(PLAIN, babble=1.0), [NOISE], talkers=talkers[:1])
    assert alone.mix(speech_like(1.0), np.random.default_rng(0), "s0").made_of == ("babble",)


def test_a_second_talker_is_somebody_else_who_is_in_the_target_too() -> None:
    talkers = [clip_of(speech_like(3.0, n), f"t{n}", f"s{n % 2}") for n in range(4)]
    speech, below = speech_like(1.0), []
    for seed in range(30):
        mixer = Mixer(replace(PLAIN, second_talker=1.0), [NOISE], talkers=talkers)
        mixture = mixer.mix(speech, np.random.default_rng(seed), "s0")
        assert mixture.made_of[0] == "a second talker"
        np.testing.assert_allclose(mixture.noisy - mixture.noise, mixture.clean, atol=1e-6)
        of_first = mixture.clean @ speech / (speech @ speech)
        second = mixture.clean - of_first * speech
        theirs = [signal.correlate(clip.read(), second, "valid", "fft") for clip in talkers]
        assert np.argmax([np.abs(like).max() for like in theirs]) % 2 == 1  # of s1
        below.append(10 * np.log10(power(of_first * speech) / power(second)))
    assert -0.5 < min(below) < 5 < 10 < max(below) < 15.5
    alone = Mixer(replace(PLAIN, second_talker=1.0), [NOISE], talkers=[clip_of(np.zeros(RATE, np.float32), "t", "s1")])
    assert alone.mix(speech, np.random.default_rng(0), "s0").made_of == ("hiss",)


def test_without_a_second_talker_mixtures_stay_as_they_were(folders: tuple[Path, Path, Path]) -> None:
    some, none = (
        [MixSource(*folders, replace(PLAIN, second_talker=chance)).item(np.random.default_rng(s))[1] for s in range(40)]
        for chance in (0.3, 0.0)
    )
    assert {mixture.made_of.count("a second talker") for mixture in some} == {0, 1}
    assert not any("a second talker" in mixture.made_of for mixture in none)
    mixer, rng = Mixer(PLAIN, [NOISE], talkers=[clip_of(speech_like(3.0), "t", "s1")]), np.random.default_rng(0)
    before = rng.bit_generator.state
    mixer._joined(speech_like(1.0), rng, "s0", [])
    assert rng.bit_generator.state == before


def test_crops_of_short_noise_repeat_it() -> None:
    short = clip_of(hiss(0.1, 3))
    crop = noise_crop(short, RATE, np.random.default_rng(0))
    np.testing.assert_array_equal(crop[: len(crop) - len(short)], crop[len(short) :])


def test_noise_by_formula_speeds_and_swelling_are_mixed_in(folders: tuple[Path, Path, Path]) -> None:
    rng = np.random.default_rng(0)
    formulas = Mixer(replace(PLAIN, synthetic=1.0))
    kinds = {formulas.mix(speech_like(1.0), rng).made_of[0] for _ in range(60)}
    assert kinds == set(KINDS)
    plain, fast = (
        MixSource(*folders, replace(PLAIN, snr_db=(10.0, 10.0), noise_speed=(speed, speed))).item(
            np.random.default_rng(1)
        )[1]
        for speed in (1.0, 2.0)
    )
    np.testing.assert_array_equal(plain.clean, fast.clean)
    assert not np.allclose(plain.noise, fast.noise)
    tone = clip_of(np.sin(np.arange(2 * RATE)).astype(np.float32) / 2)
    swelling = Mixer(replace(PLAIN, swelling=1.0), [tone]).mix(speech_like(1.0), rng).noise
    loudness = np.sqrt((swelling.reshape(20, -1) ** 2).mean(1))
    assert loudness.max() > 1.3 * loudness.min()


def test_rumble_and_tilt_are_in_the_noise_at_their_level_and_slope() -> None:
    speech, hissing = speech_like(2.0), [clip_of(hiss(4.0))]
    levels = []
    for level in (-10.0, 10.0):
        mixer = Mixer(replace(PLAIN, rumble=1.0, rumble_db=(level, level)), hissing)
        mixture = mixer.mix(speech, np.random.default_rng(3))
        assert mixture.made_of[-1] == "rumble"
        spectrum = np.abs(np.fft.rfft(mixture.noise)) ** 2
        low = np.fft.rfftfreq(len(mixture.noise), 1 / RATE) < 500
        levels.append(10 * np.log10(spectrum[low].sum() / spectrum[~low].sum()))
        np.testing.assert_allclose(power(mixture.noise + mixture.speech), power(mixture.noisy), rtol=1e-5)
    assert levels[0] == pytest.approx(-9, abs=2)
    assert levels[1] > 7
    white = hiss(4.0)
    for slope in (-6.0, 3.0):
        spectrum = np.abs(np.fft.rfft(degrade.tilt(white, slope))) ** 2 / np.abs(np.fft.rfft(white)) ** 2
        octaves = 10 * np.log10(spectrum[[1000, 2000, 4000, 8000]])
        np.testing.assert_allclose(np.diff(octaves), slope, atol=0.01)
        dark = Mixer(replace(PLAIN, noise_tilt=(slope, slope)), hissing).mix(speech, np.random.default_rng(3)).noise
        halves = np.split(np.abs(np.fft.rfft(dark))[: len(dark) // 2] ** 2, 2)
        assert (halves[0].sum() > halves[1].sum()) == (slope < 0)


def test_another_noise_is_made_of_a_recorded_one_as_often_as_asked() -> None:
    speech, hissing = speech_like(1.0), [clip_of(hiss(4.0))]
    for chance in (0.0, 0.5, 1.0):
        mixer = Mixer(replace(PLAIN, reworked=chance), hissing)
        made = [mixer.mix(speech, np.random.default_rng(seed)).made_of for seed in range(60)]
        share = np.mean([bool(REWORKED.keys() & set(names)) for names in made])
        assert share == pytest.approx(chance, abs=0.2 if 0 < chance < 1 else 0)


def test_another_voice_is_made_of_the_speech_as_often_as_asked_in_the_target_too() -> None:
    speech, hissing = speech_like(1.0), [clip_of(hiss(4.0))]
    for chance in (0.0, 0.5, 1.0):
        mixer = Mixer(replace(PLAIN, revoiced=chance), hissing)
        made = [mixer.mix(speech, np.random.default_rng(seed)) for seed in range(30)]
        others = [bool(VOICES.keys() & set(mixture.made_of)) for mixture in made]
        assert np.mean(others) == pytest.approx(chance, abs=0.2 if 0 < chance < 1 else 0)
        for mixture, other in zip(made, others, strict=True):
            alike = np.corrcoef(mixture.clean, speech)[0, 1]
            assert (alike < 0.5) == other
            np.testing.assert_allclose(mixture.noisy - mixture.noise, mixture.clean, atol=1e-6)
    nothing = Mixer(replace(PLAIN, revoiced=1.0), hissing).mix(np.zeros(RATE, np.float32), np.random.default_rng(0))
    assert not VOICES.keys() & set(nothing.made_of)


def test_rumble_of_a_speech_recording_is_not_in_the_target() -> None:
    speech = speech_like(2.0)
    rumbling = speech + np.sin(2 * np.pi * 20 / RATE * np.arange(len(speech))).astype(np.float32)
    config = replace(PLAIN, clean=1.0, level_db=None, gain_db=(0.0, 0.0), speech_low_cut=50.0)
    mixture = Mixer(config, [clip_of(hiss(4.0))]).mix(0.2 * rumbling, np.random.default_rng(0))
    low = np.fft.rfftfreq(len(speech), 1 / RATE) < 30
    given, target = (np.abs(np.fft.rfft(x))[low] ** 2 for x in (0.2 * rumbling, mixture.clean))
    assert target.sum() < 1e-2 * given.sum()
    np.testing.assert_array_equal(mixture.clean, mixture.noisy)


def test_gaps_in_a_noise_are_avoided() -> None:
    gap = clip_of(np.concatenate([np.zeros(2 * RATE, np.float32), hiss(4.0)]))
    crops = [noise_crop(gap, RATE // 2, np.random.default_rng(seed)) for seed in range(50)]
    assert sum(not crop.any() for crop in crops) <= 3
    dead = replace(gap, samples=np.concatenate([np.zeros(60 * RATE, np.int16), gap.samples[-100:]]))
    mixture = Mixer(PLAIN, [dead]).mix(speech_like(1.0), np.random.default_rng(1))
    assert "coloured noise" in mixture.made_of or power(mixture.noise) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clean": 0.6, "silence": 0.6}, "silence"),
        ({"snr_db": (5.0, -5.0)}, "snr_db"),
        ({"reverb": 1.5}, "reverb"),
        ({"seconds": 0.0}, "seconds"),
        ({"batch_size": 0}, "batch_size"),
        ({"codecs": ("mp4",)}, "mp4"),
        ({"early_ms": -1.0}, "early_ms"),
        ({"low_hz": (0.0, 4000.0)}, "low_hz"),
        ({"snr_distribution": "cauchy"}, "snr_distribution"),
        ({"snr_over": "all"}, "snr_over"),
        ({"noises": 0, "silence": 0.1}, "silence"),
        ({"rumble": 2.0}, "rumble"),
        ({"noise_tilt": (1.0, -4.0)}, "noise_tilt"),
        ({"speech_low_cut": 8000.0}, "speech_low_cut"),
        ({"level_db": float("nan")}, "level_db"),
    ],
)
def test_settings_that_cannot_be_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(MixConfig(), **change)  # type: ignore[arg-type]


def test_missing_material_is_named(folders: tuple[Path, Path, Path]) -> None:
    with pytest.raises(ConfigError, match="no noise recordings"):
        Mixer(PLAIN)
    with pytest.raises(ConfigError, match="impulse responses"):
        MixSource(*folders[:2], config=replace(PLAIN, reverb=0.5))
    with pytest.raises(ConfigError, match="no clean speech"):
        MixSource([], config=replace(PLAIN, noises=0))
    with pytest.raises(DataError, match="no such folder"):
        MixSource("nowhere", config=replace(PLAIN, noises=0))
    with pytest.raises(ConfigError, match="no preset"):
        preset("dehiss")
    with pytest.raises(ConfigError, match="sesonds"):
        preset("denoise", sesonds=2.0)
    assert set(PRESETS) == {"denoise", "dereverb", "bandwidth"}


def test_real_recordings(shared_data: Path, tmp_path: Path) -> None:
    speech = shared_data / "speech"
    if not speech.is_dir():
        pytest.skip(f"no speech at {speech}; set SHARED_DATA to the folder that holds it")
    clean = [path.name for path in sorted((speech / "valid/clean/librispeech").glob("*.flac"))[:4]]
    for name in clean:
        (tmp_path / "clean").mkdir(exist_ok=True)
        (tmp_path / "clean" / name).symlink_to(speech / "valid/clean/librispeech" / name)
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "machine.opus").symlink_to(speech / "valid/noise/things-washing-machine.opus")
    source = MixSource(
        tmp_path / "clean", tmp_path / "noise", speech / "valid/rir", MixConfig(batch_size=6, reverb=0.5)
    )
    batch = source.batch(np.random.default_rng(0))
    assert batch.y is not None
    assert batch.x0.shape == (6, 32640)
    assert bool(torch.isfinite(batch.y).all())
    assert float(batch.y.abs().max()) <= 1.0
    assert all(float(item.std()) > 1e-4 for item in batch.y)
