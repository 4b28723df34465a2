"""Composite measures: their parts against an independent implementation's numbers, caps, order of noise levels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz, toeplitz
from scipy.signal import lfilter

from speech.metrics import UnscorableError, UnscorableWarning, cbak, composite, covl, csig, pesq_wb
from speech.metrics.segmental import log_likelihood_ratio, segmental_snr, weighted_spectral_slope, windowed

RATE = 16000


def signals(level: float) -> tuple[np.ndarray, np.ndarray]:
    """Resonant noise of changing loudness, and with white noise added."""
    rng = np.random.default_rng(0)
    loudness = 0.02 + 0.1 * np.sin(np.arange(RATE) / 2500) ** 2
    clean = lfilter([1.0], [1.0, -1.3, 0.8], rng.standard_normal(RATE)) * loudness
    return clean, clean + level * rng.standard_normal(RATE)


@pytest.mark.parametrize(
    ("level", "snr", "llr", "wss"),
    [
        (0.001, 34.89366215250896, 0.0001752853369962547, 0.003644438939822193),
        (0.01, 23.42980624726458, 0.021676892830227307, 0.3592215805344655),
        (0.1, 3.4298062472646356, 0.6525178432975126, 12.960749389543787),
    ],
)
def test_parts_equal_those_of_pysepm(level: float, snr: float, llr: float, wss: float) -> None:
    """Numbers of pysepm-evo 0.1.1 (SNRseg, llr for the composite, wss) for these signals."""
    clean, noisy = signals(level)
    assert segmental_snr(clean, noisy, RATE) == pytest.approx(snr, rel=1e-9)
    assert log_likelihood_ratio(clean, noisy, RATE) == pytest.approx(llr, rel=1e-6)
    assert weighted_spectral_slope(clean, noisy, RATE) == pytest.approx(wss, rel=1e-9)


def test_log_likelihood_ratio_is_that_of_directly_solved_predictors() -> None:
    clean, noisy = signals(0.05)
    distances = []
    for pair in zip(windowed(clean, RATE), windowed(noisy, RATE), strict=True):
        lags = [np.array([x[: len(x) - k] @ x[k:] for k in range(17)]) for x in pair]
        filters = [np.r_[1.0, -solve_toeplitz(each[:-1], each[1:])] for each in lags]
        errors = [each @ toeplitz(lags[0]) @ each for each in filters]
        distances.append(math.log(errors[1] / errors[0]))
    kept = np.sort(distances)[: round(0.95 * len(distances))]
    assert log_likelihood_ratio(clean, noisy, RATE) == pytest.approx(kept.mean(), rel=1e-6)


def test_identical_signals_get_the_best_scores() -> None:
    clean, _ = signals(0.1)
    assert segmental_snr(clean, clean, RATE) == 35
    assert log_likelihood_ratio(clean, clean, RATE) == pytest.approx(0, abs=1e-12)
    assert weighted_spectral_slope(clean, clean, RATE) == 0
    best = composite(clean, clean, RATE, pesq=4.64)
    assert (best.csig, best.cbak, best.covl) == (5, 5, 5)


def test_more_noise_is_never_better() -> None:
    scores = [composite(*signals(level), RATE, pesq=2.5) for level in (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)]
    for better, worse in itertools.pairwise(scores):
        assert better.csig >= worse.csig
        assert better.cbak >= worse.cbak
        assert better.covl >= worse.covl
    assert scores[0].cbak > scores[-1].cbak + 1


def test_pesq_is_computed_where_it_is_not_given() -> None:
    clean, noisy = signals(0.01)
    found = composite(clean, noisy, RATE)
    assert found == composite(clean, noisy, RATE, pesq=pesq_wb(clean, noisy, RATE))
    assert covl(clean, noisy, RATE) == found.covl


def test_digital_silence_and_short_signals() -> None:
    clean, noisy = signals(0.01)
    gap = clean.copy()
    gap[4000:8000] = 0
    found = composite(gap, noisy, RATE, pesq=2.0)
    assert all(math.isfinite(each) for each in (found.csig, found.cbak, found.covl))
    with pytest.raises(UnscorableError, match=r"need 0\.04 s"):
        composite(clean[:500], noisy[:500], RATE, pesq=2.0)
    for measure in (csig, cbak, covl):
        with pytest.warns(UnscorableWarning, match=f"{measure.__name__}: the estimate is silent"):
            assert math.isnan(measure(clean, 0 * clean, RATE))
