"""The benchmark's errors are those that are known, and noise like the data halves the calls."""

from __future__ import annotations

import pytest

from benchmarks.coloured_noise import NOISES, Case, adams
from shared.sde import FlowSDE


def error(noise: str, calls: int) -> float:
    return Case(FlowSDE(), NOISES[noise]).error(adams, calls, "uniform", 0.0)


@pytest.mark.parametrize(("calls", "known"), [(4, 0.112), (8, 0.023), (16, 0.005)])
def test_noise_like_the_data_has_the_known_errors(calls: int, known: float) -> None:
    assert error("as the data", calls) == pytest.approx(known, abs=6e-4)


@pytest.mark.parametrize("noise", ["Ornstein–Uhlenbeck", "squared exponential", "as the data"])
def test_coloured_noise_halves_the_calls(noise: str) -> None:
    for calls in (4, 8):
        assert error(noise, calls) < error("white", 2 * calls)
    assert error("Ornstein–Uhlenbeck, ten times the length", 4) < 0.3 * error("white", 4)
