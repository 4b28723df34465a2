"""Synthetic series, the windows that a model of all frequencies is trained on, and the kernels that guide it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from recipes.default_forecaster.generators import KINDS, generate
from recipes.default_forecaster.sets import FREQUENCIES, resampled
from shared.errors import ConfigError, DataError
from tests.tsdiff.universal import UNIVERSAL as CONFIG
from tsdiff.data.frequency import quiet
from tsdiff.pretraining import Corpus, CorpusGroup, CorpusSource
from tsdiff.sampling.kernels import bank_covariance, kernel_bank
from tsdiff.windows.calendar import SEASON_WIDTH, calendar_features, season_of

LENGTH = 96


def autocorrelation(values: np.ndarray, lag: int) -> float:
    """Mean over rows of the autocorrelation at a lag."""
    centred = values - values.mean(axis=1, keepdims=True)
    return float(((centred[:, lag:] * centred[:, :-lag]).mean(axis=1) / centred.var(axis=1)).mean())


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_series_are_finite_and_depend_on_the_seed_alone(freq: str) -> None:
    one, same, other = (generate(freq, 30, LENGTH, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.values.shape == (30, LENGTH)
    assert one.values.dtype == np.float32
    assert np.isfinite(one.values).all()
    np.testing.assert_array_equal(one.values, same.values)
    assert one.kinds == same.kinds
    assert not np.array_equal(one.values, other.values)


@pytest.mark.parametrize(("freq", "season"), [("h", 24), ("D", 7), ("M", 12), ("Q", 4), ("2h", 12)])
@pytest.mark.parametrize("kind", ["mixture", "product", "counts"])
def test_the_season_shows_in_the_autocorrelation(freq: str, season: int, kind: str) -> None:
    values = generate(freq, 150, 10 * season, np.random.default_rng(0), {kind: 1.0}).values
    steps = np.diff(values, axis=1)  # without the level, whose memory hides it
    assert autocorrelation(steps, season) > autocorrelation(steps, season // 2) + 0.1


def test_kinds_have_what_they_are_named_for() -> None:
    rng = np.random.default_rng(0)
    counts = generate("h", 40, LENGTH, rng, {"counts": 1.0}).values
    assert (counts >= 0).all()
    np.testing.assert_array_equal(counts, np.round(counts))
    dark = generate("h", 40, LENGTH, rng, {"on_and_off": 1.0}).values
    of_each = (dark == 0).mean(axis=1)
    assert ((of_each > 0.2) & (of_each < 0.8)).all()
    prices = generate("B", 40, LENGTH, rng, {"prices": 1.0}).values
    assert (prices > 0).all()
    assert autocorrelation(prices, 1) > 0.8
    assert set(generate("h", 400, 30, rng).kinds) == set(KINDS)


def test_a_season_lies_where_the_calendar_says() -> None:
    series = generate("h", 8, LENGTH, np.random.default_rng(3))
    for start, period in zip(series.features, series.periods, strict=True):
        np.testing.assert_array_equal(start, calendar_features(period, LENGTH, "season"))


def test_what_cannot_be_generated_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="count=0"):
        generate("h", 0, 10, rng)
    with pytest.raises(ConfigError, match="nonsense"):
        generate("h", 1, 10, rng, {"nonsense": 1.0})


@pytest.mark.parametrize(
    ("freq", "season"), [("h", 24), ("15min", 96), ("B", 5), ("W-SUN", 365.25 / 7), ("Y-DEC", 0), ("min", 0), ("s", 0)]
)
def test_season_features_are_as_wide_for_every_frequency(freq: str, season: float) -> None:
    with quiet():
        start = pd.Period("2021-03-04", freq=freq)
    features = calendar_features(start, 10, "season", -4)
    assert features.shape == (10, SEASON_WIDTH)
    np.testing.assert_array_equal(features[:, -1], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert season_of(freq) == pytest.approx(season)
    assert bool(np.abs(features[:, :4]).any()) == bool(season)


def test_windows_are_scaled_by_what_is_known_and_empty_before_it() -> None:
    entries = [{"start": pd.Period("2000-01", freq="M"), "target": 50 + 3 * np.random.default_rng(0).normal(size=600)}]
    group = CorpusGroup.of_entries("months", 1.0, entries, CONFIG.length)
    source = CorpusSource(Corpus([group]), CONFIG, 32, synthetic_share=0.0, horizons=(12, 12))
    batch = source.batch(np.random.default_rng(1))
    again = source.batch(np.random.default_rng(1))
    torch.testing.assert_close(batch.x0, again.x0)
    assert batch.mask is not None
    before = batch.condition["features"][..., -1:]
    assert batch.x0.shape == batch.mask.shape == before.shape == (32, CONFIG.length, 1)
    assert 0.02 < float(before.mean()) < 0.9
    assert bool((batch.x0[before > 0] == 0).all())
    assert bool((batch.mask[before > 0] == 0).all())
    for row, hidden in zip(batch.x0[:, :-12, 0], before[:, :-12, 0], strict=True):
        known = row[hidden == 0].numpy()
        assert abs(known.mean()) < 1e-3
        assert known.std() == pytest.approx(1, abs=1e-3)


def test_a_corpus_says_what_it_cannot_use() -> None:
    start = pd.Period("2000-01", freq="M")
    with pytest.raises(DataError, match="'void'"):
        CorpusGroup.of_entries("void", 1.0, [{"start": start, "target": np.full(30, np.nan)}], 10)
    group = CorpusGroup.of_entries("months", 1.0, [{"start": start, "target": np.arange(30.0)}], CONFIG.length)
    with pytest.raises(ConfigError, match="horizons"):
        CorpusSource(Corpus([group]), CONFIG, horizons=(1, CONFIG.length))
    with pytest.raises(ConfigError, match="season"):
        CorpusSource(Corpus([group]), replace(CONFIG, calendar="none"))


def test_series_become_coarser_by_whole_periods() -> None:
    entry = {"item_id": "a", "start": pd.Period("2024-01-01 22:00", freq="h"), "target": np.arange(2 + 48 + 5.0)}
    mean, total = resampled([entry], "D")[0], resampled([entry], "D", total=True)[0]
    assert mean["start"] == pd.Period("2024-01-02", freq="D")
    np.testing.assert_allclose(mean["target"], [13.5, 37.5])
    np.testing.assert_allclose(total["target"], [13.5 * 24, 37.5 * 24])


def test_kernels_are_covariances_and_their_directions_give_them_back() -> None:
    bank = kernel_bank(LENGTH, 24.0)
    assert len(bank) == len(set(bank.names))
    smallest = torch.linalg.eigvalsh(bank.matrices)[:, 0]
    assert float(smallest.min()) > -1e-6
    found = bank_covariance(LENGTH, 24.0, 5, 2.0)
    rebuilt = found.directions @ torch.diag(found.variances - found.rest) @ found.directions.T
    rebuilt = rebuilt + found.rest * torch.eye(LENGTH)
    torch.testing.assert_close(rebuilt, 2 * bank.matrices[5], atol=1e-3, rtol=1e-3)


def test_a_season_within_a_longer_one_is_a_covariance() -> None:
    bank = kernel_bank(112, 8.0)  # two of the longer season, 56 steps
    longer = [number for number, name in enumerate(bank.names) if "season within a longer one" in name]
    assert longer
    assert float(torch.linalg.eigvalsh(bank.matrices[longer]).min()) > -1e-6


def test_the_kernel_that_is_chosen_suits_the_series() -> None:
    rng, steps = np.random.default_rng(0), np.arange(LENGTH)
    kinds = {
        "walk": np.cumsum(rng.normal(size=LENGTH)),
        "season": np.sin(2 * np.pi * steps / 24) + 0.1 * rng.normal(size=LENGTH),
        "noise": rng.normal(size=LENGTH),
    }
    values = np.stack([(row - row[:-12].mean()) / row[:-12].std() for row in kinds.values()])
    observed = np.ones_like(values)
    observed[:, -12:] = 0
    bank = kernel_bank(LENGTH, 24.0)
    choice = bank.choose(torch.from_numpy(values), torch.from_numpy(observed))
    torch.testing.assert_close(choice.weights.sum(1), torch.ones(3, dtype=torch.float64))
    kernels, variances = choice.picked(torch.arange(3), torch.zeros(3))
    assert torch.equal(kernels, choice.kernels[:, 0])
    names = [bank.names[int(kernel)] for kernel in kernels]
    assert "season" not in names[0].split(", ")[1]
    assert "season" in names[1].split(", ")[1]
    spread = [float(v * bank.matrices[int(k)][-1, -1] - v * 4) for k, v in zip(kernels, variances, strict=True)]
    assert 0.3 < spread[2] < 3  # noise: the horizon varies as the context does
    nothing = bank.choose(torch.zeros(1, LENGTH), torch.zeros(1, LENGTH))
    assert bool((nothing.kernels == 0).all())
    assert bool((nothing.variances == 1).all())
