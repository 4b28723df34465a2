"""Metrics of one pair of signals: equal to their reference packages, true to closed forms, NaN with a reason."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pesq as pesq_package
import pystoi
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speechmos import dnsmos as dnsmos_package
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from shared.errors import ConfigError
from speech.metrics import (
    METRICS,
    UnscorableError,
    UnscorableWarning,
    advanced,
    composite,
    delay,
    dnsmos,
    estoi,
    evaluate,
    lsd,
    pesq_nb,
    pesq_wb,
    score,
    si_sar,
    si_sdr,
    si_sir,
    stoi,
)
from speech.metrics.utterances import count_utterances
from speech.training.fit import SCORES, score_recordings

RATE = 16000
Metric = Callable[..., float]
INTRUSIVE = [pesq_wb, pesq_nb, estoi, stoi, si_sdr, lsd]


@pytest.fixture(scope="session")
def test_pairs(shared_data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The shortest of the public test pairs: clean, noisy."""
    folder = shared_data / "speech" / "test_pairs"
    if not folder.is_dir():
        pytest.skip(f"no test pairs at {folder}")
    names = sorted(path.name for path in (folder / "clean").glob("*.wav"))
    pairs = [tuple(soundfile.read(folder / kind / name)[0] for kind in ("clean", "noisy")) for name in names]
    return sorted(pairs, key=lambda pair: len(pair[0]))[:3]


def voice(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes."""
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.1 * np.random.default_rng(seed).standard_normal(time.size) * np.sin(7 * time) ** 2


def bursts(count: int, seconds: float = 0.3) -> np.ndarray:
    """Noise, each time with as long a silence after it."""
    length = round(seconds * RATE)
    noise = 0.1 * np.random.default_rng(0).standard_normal((count, length))
    return np.concatenate([np.zeros(length), np.hstack([noise, np.zeros_like(noise)]).ravel()])


def reason(metric: Metric, *arguments: object, **options: object) -> str:
    """Why a metric is NaN."""
    with pytest.warns(UnscorableWarning) as told:
        assert math.isnan(metric(*arguments, **options))
    return str(told[0].message)


def test_equal_to_the_reference_packages_on_the_public_pairs(test_pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for clean, noisy in test_pairs:
        assert pesq_wb(clean, noisy, RATE) == pesq_package.pesq(RATE, clean, noisy, "wb")
        assert estoi(clean, noisy, RATE) == pytest.approx(  # the package adds noise of 1e-16 to what it normalises
            pystoi.stoi(clean, noisy, RATE, extended=True), abs=1e-13
        )
        assert stoi(clean, noisy, RATE) == pystoi.stoi(clean, noisy, RATE, extended=False)
        peer = scale_invariant_signal_distortion_ratio(torch.from_numpy(noisy), torch.from_numpy(clean))
        assert si_sdr(clean, noisy, RATE) == pytest.approx(float(peer), abs=1e-9)
    assert pesq_nb(clean, noisy, RATE) == pesq_package.pesq(RATE, clean, noisy, "nb")
    low = [soxr.resample(each, RATE, 8000) for each in (clean, noisy)]
    assert pesq_nb(*low, 8000) == pesq_package.pesq(8000, *low, "nb")


def test_pesq_at_another_rate_is_that_of_the_signals_at_16_khz(test_pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    clean, noisy = test_pairs[0]
    with pytest.raises(ValueError, match="8000 or 16000"):
        pesq_package.pesq(48000, clean, noisy, "wb")
    wide = [soxr.resample(each, RATE, 48000, quality="VHQ") for each in (clean, noisy)]
    assert pesq_wb(*wide, 48000) == pytest.approx(pesq_wb(clean, noisy, RATE), abs=5e-3)


def test_dnsmos_is_what_the_package_gave_once() -> None:
    found, package = dnsmos(voice(9.1), RATE), {"sig": 2.282987, "bak": 2.856663, "ovrl": 1.891509, "p808": 2.185076}
    for name, value in package.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-4)


@pytest.mark.slow  # the package's features compile for half a minute in a new environment
def test_dnsmos_is_that_of_the_package(test_pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    noisy = np.resize(test_pairs[0][1], round(9.1 * RATE))
    noisy *= 1.5 / np.abs(noisy).max()
    found, package = dnsmos(noisy, RATE), dnsmos_package.run(np.clip(noisy, -1, 1), sr=RATE)
    for name in ("sig", "bak", "ovrl", "p808"):
        assert getattr(found, name) == pytest.approx(package[f"{name}_mos"], abs=1e-5)
    assert 1 < found.ovrl < found.sig < 5


@pytest.mark.parametrize("signal", [np.zeros(RATE), np.full(RATE, np.nan), voice(0.05), np.zeros(0)])
def test_dnsmos_refuses_what_it_cannot_score(signal: np.ndarray) -> None:
    with pytest.raises(UnscorableError, match=r"silent|NaN|needs 0.1 s|empty"):
        dnsmos(signal, RATE)


@pytest.mark.parametrize("metric", INTRUSIVE)
def test_what_cannot_be_scored_is_nan_with_a_reason(metric: Metric) -> None:
    clean = voice()
    broken = clean.copy()
    broken[5] = np.inf
    assert "the estimate is silent" in reason(metric, clean, 0 * clean, RATE)
    assert "the reference is silent" in reason(metric, 1e-10 * clean, clean, RATE)
    assert "the reference is constant" in reason(metric, np.ones(RATE), clean, RATE)
    assert "1 samples that are NaN or infinite" in reason(metric, clean, broken, RATE)
    assert "is empty" in reason(metric, clean, clean[:0], RATE)
    assert "shape (2, 16000)" in reason(metric, np.stack([clean, clean]), clean, RATE)
    assert "complex128" in reason(metric, clean, clean + 0j, RATE)
    assert "lasts 1.000 s, the estimate 0.900 s" in reason(metric, clean, clean[:14400], RATE)
    if metric is not si_sdr:
        assert "0.010 s of sound" in reason(metric, clean[:160], clean[:160] + 0.01, RATE)


@pytest.mark.parametrize("metric", [estoi, stoi])
def test_stoi_of_too_little_speech_is_nan_where_the_package_says_1e_5(metric: Metric) -> None:
    clean = voice()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pystoi.stoi(clean[:1600], clean[:1600], RATE) == 1e-5
    assert "too little speech" in reason(metric, clean[:1600], clean[:1600] + 1e-3, RATE)
    mostly_silent = np.concatenate([clean[4000:6000], 1e-6 * clean])
    assert "too little speech" in reason(metric, mostly_silent, mostly_silent + 1e-3 * voice(1.125, 1), RATE)


def test_pesq_of_more_utterances_than_its_code_holds_is_nan() -> None:
    long = bursts(60)
    assert "60 utterances" in reason(pesq_wb, long, long + 0.001 * voice(len(long) / RATE), RATE)


@pytest.mark.parametrize("count", [1, 2, 17])
def test_utterances_are_counted(count: int) -> None:
    assert count_utterances(bursts(count), RATE) == count
    assert count_utterances(bursts(count, 0.15), RATE) <= 1  # 0.15 s of silence part no utterances


@pytest.mark.parametrize("metric", [estoi, si_sdr, lsd])
@pytest.mark.parametrize("extra", [-800, -3, 3, 800])
def test_a_little_more_or_less_at_the_end_is_cut(metric: Metric, extra: int) -> None:
    clean, noisy = voice(), voice() + 0.01 * voice(seed=1)
    other = np.concatenate([noisy, np.ones(800)])[: RATE + extra]
    shared = RATE + min(extra, 0)
    assert metric(clean, other, RATE) == pytest.approx(metric(clean[:shared], noisy[:shared], RATE), abs=1e-13)


def test_integers_are_scored_as_the_floats_that_they_stand_for() -> None:
    clean, noisy = ((each * 32768).round().astype(np.int16) for each in (voice(), voice() + 0.01 * voice(seed=1)))
    for metric in (estoi, si_sdr, lsd):
        as_floats = metric(clean / 32768, noisy / 32768, RATE)
        assert metric(clean, noisy, RATE) == pytest.approx(as_floats, abs=1e-13)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 20), st.floats(-20, 20), st.floats(-20, 20), st.booleans())
def test_scale_invariant_ratios_of_orthogonal_parts(
    scale: float, noise_db: float, artefact_db: float, sign: bool
) -> None:
    speech, noise, artefact = np.linalg.qr(np.random.default_rng(1).standard_normal((4000, 3)))[0].T
    estimate = scale * (speech + 10 ** (-noise_db / 20) * noise + 10 ** (-artefact_db / 20) * artefact)
    estimate = estimate if sign else -estimate
    assert si_sir(speech, estimate, RATE, noise=3 * noise) == pytest.approx(noise_db, abs=1e-6)
    assert si_sar(speech, estimate, RATE, noise=3 * noise) == pytest.approx(artefact_db, abs=1e-6)
    both = -10 * math.log10(10 ** (-noise_db / 10) + 10 ** (-artefact_db / 10))
    assert si_sdr(0.2 * speech, estimate, RATE) == pytest.approx(both, abs=1e-6)


def test_infinite_ratios_are_not_to_be_averaged() -> None:
    clean = voice()
    assert si_sdr(clean, clean, RATE) == math.inf
    found = score(["si_sdr", "lsd"], clean, clean, RATE)
    assert found["si_sdr"].value == math.inf
    assert str(found["si_sdr"].reason) == "is inf: there is no error to divide by"
    assert found["lsd"].value == 0
    assert found["lsd"].reason is None
    assert "the recording is the reference" in reason(si_sir, clean, clean, RATE, noise=0 * clean)


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_log_spectral_distance_of_a_gain_is_the_gain(gain: float) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    assert lsd(noise, gain * noise, RATE) == pytest.approx(abs(20 * math.log10(gain)), abs=1e-3)


def test_log_spectral_distance_of_what_is_below_the_floor_is_none() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    assert lsd(tone, tone + 1e-6 * voice(), RATE) < 0.1
    assert lsd(tone, tone + 1e-1 * voice(), RATE) > 3


@settings(max_examples=20, deadline=None)
@given(st.integers(-4000, 4000), st.sampled_from([1.0, -1.0]))
def test_a_delay_is_found_and_taken_out(samples: int, sign: float) -> None:
    clean = voice(2.0)
    late = sign * advanced(clean, -samples)
    assert delay(clean, late, RATE) == samples
    back = sign * advanced(late, samples)
    assert np.array_equal(back[4000:-4000], clean[4000:-4000])


def test_several_metrics_are_those_of_the_functions(test_pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    clean, noisy = test_pairs[0]
    found = score(["pesq_wb", "estoi", "si_sir", "covl"], clean, noisy, RATE, noisy=noisy)
    assert list(found) == ["pesq_wb", "estoi", "si_sir", "covl"]
    assert found["pesq_wb"].value == pesq_wb(clean, noisy, RATE)
    assert found["estoi"].value == pytest.approx(estoi(clean, noisy, RATE), abs=1e-13)
    assert found["si_sir"].value == si_sir(clean, noisy, RATE, noise=noisy - clean)
    assert all(each.reason is None for each in found.values())


def test_one_reason_for_each_metric_that_has_no_value() -> None:
    clean = voice()
    found = score("all", clean, 0 * clean, RATE, noisy=clean + 0.01 * voice(seed=1))
    assert set(found) == set(METRICS)
    assert all(math.isnan(each.value) and each.reason == "the estimate is silent" for each in found.values())


@pytest.mark.parametrize("rate", ["16000", None])
def test_a_rate_that_is_no_number_is_told(rate: object) -> None:
    for metric in (si_sdr, lsd):
        with pytest.raises(ConfigError, match=f"sample_rate={rate!r}.*: need a number"):
            metric(np.ones(100), np.ones(100), rate)  # type: ignore[arg-type]


def test_metrics_that_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="unknown metric 'pesk'; take some of pesq_wb"):
        score(["pesk"], voice(), voice(), RATE)
    with pytest.raises(ConfigError, match="'si_sir' needs the noisy recordings"):
        score(["si_sir"], voice(), voice(), RATE)
    with pytest.raises(ConfigError, match="no metric is chosen"):
        score([], voice(), voice(), RATE)


def spoken(seconds: float = 2.0) -> np.ndarray:
    """Harmonics under a moving formant, in syllables: what PESQ takes for speech."""
    time = np.arange(round(seconds * RATE)) / RATE
    formant = 800 + 500 * np.sin(5 * time)
    waves = (np.sin(2 * np.pi * 120 * k * time) / (1 + ((120 * k - formant) / 300) ** 2) for k in range(1, 40))
    return 0.05 * sum(waves) * np.clip(np.sin(8 * time), 0, 1)


def test_pesq_is_of_the_degraded_signal_against_the_clean_and_not_the_other_way(tmp_path: Path) -> None:
    clean = spoken()
    degraded = clean + 0.02 * voice(len(clean) / RATE, seed=3)
    package = {name: pesq_package.pesq(RATE, clean, degraded, name) for name in ("wb", "nb")}
    for name, value in package.items():
        assert abs(value - pesq_package.pesq(RATE, degraded, clean, name)) > 0.05  # the order matters here
    assert pesq_wb(clean, degraded, RATE) == package["wb"]
    assert pesq_nb(clean, degraded, RATE) == package["nb"]
    for name in ("wb", "nb"):
        assert score([f"pesq_{name}"], clean, degraded, RATE)[f"pesq_{name}"].value == package[name]
    assert composite(clean, degraded, RATE) == composite(clean, degraded, RATE, pesq=package["wb"])
    assert SCORES["pesq_wb"](clean, degraded, RATE) == package["wb"]
    recording = ("a", clean.astype(np.float32), degraded.astype(np.float32))
    row = score_recordings([recording], [recording[2]], RATE, ("pesq_wb", "estoi"))
    assert row["pesq_wb"] == pytest.approx(package["wb"], abs=1e-3)
    for kind, signal in (("clean", clean), ("enhanced", degraded)):
        (tmp_path / kind).mkdir()
        soundfile.write(tmp_path / kind / "a.wav", signal, RATE, subtype="DOUBLE")
    frame = evaluate(tmp_path / "clean", tmp_path / "enhanced", metrics=["pesq_wb"], workers=1, progress=False)
    assert frame["pesq_wb"][0] == pytest.approx(package["wb"], abs=1e-3)
