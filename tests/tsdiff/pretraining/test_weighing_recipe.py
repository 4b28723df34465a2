"""What the weights of simple forecasts are learnt from: plain windows, and the part that adds them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.default_forecaster import weighing
from recipes.default_forecaster.plain import (
    YOUNG_OTHERS,
    YOUNG_SEASONAL,
    bent,
    broken,
    cycle,
    growth,
    is_young,
    line,
    plain_windows,
    seasonal,
    spiked,
    wandering,
    young_length,
)
from recipes.default_forecaster.weighing import acquainted, save_weighing, schooled, settled, train_weighing, widened
from shared.errors import ConfigError
from tests.recipes.harness import Recipes
from tsdiff.pretraining.weighing import Collected, collected, told_of, weighing_loss
from tsdiff.windows.anchors import pooled, seasons_of
from tsdiff.windows.weighing import Weighing, bundled_weighing, pool_inputs


def wanders(seed: int) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    while True:
        values = wandering(rng, 130, 7)
        row = told_of(values[:120], values[120:], seasons_of("D"), rng)
        assert row is not None
        yield row


def stacked(made: Iterator[dict[str, np.ndarray]], count: int) -> Collected:
    return collected(islice(made, count))


@pytest.fixture(scope="module")
def usual_and_plain() -> tuple[Collected, Collected]:
    return stacked(wanders(1), 80), stacked(plain_windows(2), 80)


def judged(network: Weighing, values: np.ndarray, horizon: int, freq: str) -> np.ndarray:
    """The anchor of the steps after a history, (horizon,)."""
    pool = pooled(values, horizon, seasons_of(freq))
    told = {name: torch.from_numpy(part[None]) for name, part in pool_inputs(pool, np.arange(horizon)).items()}
    with torch.no_grad():
        mean, _ = network(**told)
    return pool.mean + pool.scale * mean[0].double().numpy()


def test_lines_have_a_slope_and_what_wanders_comes_back() -> None:
    rng = np.random.default_rng(0)
    lines = [line(rng, 120, 12) for _ in range(60)]
    walks = [wandering(rng, 3000, 24) for _ in range(60)]
    assert all(np.isfinite(values).all() for values in (*lines, *walks))
    explained = [np.corrcoef(np.arange(120), values)[0, 1] ** 2 for values in lines]
    assert np.median(explained) > 0.8
    levels = [values[1500:].mean() - values[:1500].mean() for values in walks]
    assert np.median(np.abs(levels) / [values.std() for values in walks]) < 0.3


def test_cycles_come_again() -> None:
    rng = np.random.default_rng(1)
    made = [cycle(rng, 600) for _ in range(60)]
    assert all(np.isfinite(values).all() for values in made)
    alike = []
    for values in made:
        off = values - np.polyval(np.polyfit(np.arange(600), values, 1), np.arange(600))
        spectrum = np.abs(np.fft.rfft(off)) ** 2
        alike.append(np.sort(spectrum)[-12:].sum() / spectrum.sum())
    assert np.median(alike) > 0.7


def test_growth_is_a_line_in_logarithms() -> None:
    rng, steps = np.random.default_rng(2), np.arange(60)
    made = [np.log(growth(rng, 60, 12)) for _ in range(60)]
    assert np.median([np.corrcoef(steps, values)[0, 1] ** 2 for values in made]) > 0.9
    for count, horizon in ((7, 2), (10, 5), (660, 60)):
        assert np.isfinite(growth(rng, count, horizon)).all()


def test_broken_lines_break_and_bent_ones_turn_one_way() -> None:
    """Smooth parts: their second differences are few, or of one sign on each side of the middle."""
    rng, steps = np.random.default_rng(4), np.arange(140)
    lines, curves = [broken(rng, 140, 20, 7) for _ in range(60)], [bent(rng, 140, 20) for _ in range(60)]
    assert all(np.isfinite(values).all() for values in (*lines, *curves))
    late = [np.polyfit(steps[-30:], values[-30:], 1)[0] * 140 / np.ptp(values) for values in lines]
    early = [np.polyfit(steps[:60], values[:60], 1)[0] * 140 / np.ptp(values) for values in lines]
    assert np.median(np.abs(np.array(late) - early)) > 0.3  # another slope of late
    left = [np.std(values - np.polyval(np.polyfit(steps, values, 7), steps)) / values.std() for values in curves]
    assert np.median(left) < 0.3
    for count, horizon in ((7, 2), (10, 5), (660, 60)):
        assert np.isfinite(broken(rng, count, horizon, 12)).all()
        assert np.isfinite(bent(rng, count, horizon)).all()


def test_single_values_are_far_off_and_nothing_of_what_comes() -> None:
    rng, off = np.random.default_rng(5), []
    for _ in range(60):
        values = rng.normal(size=200)
        made = spiked(rng, values, 180)
        places = np.flatnonzero(made != values)
        assert 1 <= len(places) <= 3
        assert places.max() < 180
        off.append(np.abs(made - values).max())
    assert 1.5 < min(off) < 6 < 20 < max(off) < 60


def test_seasons_come_again_with_noise_of_either_kind() -> None:
    rng, ratios = np.random.default_rng(3), []
    for _ in range(60):
        values = seasonal(rng, 1200, 12).reshape(100, 12)
        values = values - (values.mean(1, keepdims=True) - values.mean())  # less the drift
        size = values.std(0)
        ratios.append(np.corrcoef(values.mean(0), size)[0, 1])
        assert np.corrcoef(values[:50].mean(0), values[50:].mean(0))[0, 1] > 0.7
    assert 10 < np.sum(np.array(ratios) > 0.8) < 50


@pytest.mark.parametrize("workers", [0, 2])
def test_windows_are_as_many_as_wanted_and_the_same_again(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(weighing, "_CHUNK", 4)
    one, other = (weighing._drawn(plain_windows, 3, 11, workers) for _ in range(2))
    assert len(one["horizon"]) == 11
    for name, part in one.items():
        torch.testing.assert_close(part, other[name], rtol=0, atol=0, equal_nan=True)
    assert len(torch.unique(one["actual"][:, 0])) == 11


def test_what_came_is_told_by_the_pools_mean_and_scale() -> None:
    known, actual = np.random.default_rng(0).normal(size=40), np.arange(6.0)
    pool = pooled(known, 6, seasons_of("D"))
    row = told_of(known, actual, seasons_of("D"), np.random.default_rng(3))
    assert row is not None
    steps = row["step"].astype(int) - 1
    np.testing.assert_allclose(row["actual"], (actual - pool.mean)[steps] / pool.scale, rtol=1e-5, atol=1e-6)
    assert told_of(known, np.full(6, np.nan), seasons_of("D"), np.random.default_rng(3)) is None


def test_the_second_part_learns_plain_windows_and_leaves_the_first_network_alone(
    monkeypatch: pytest.MonkeyPatch, usual_and_plain: tuple[Collected, Collected]
) -> None:
    monkeypatch.setattr(weighing, "BATCH", 64)
    monkeypatch.setattr(weighing, "PLAIN_RATE", 6e-3)
    usual, plain = usual_and_plain
    torch.manual_seed(0)
    start = Weighing()
    kept = copy.deepcopy(start.state_dict())
    made = settled(start, usual, plain, seed=0, steps=50)
    for name, value in start.state_dict().items():
        torch.testing.assert_close(value, kept[name], rtol=0, atol=0)
    with torch.no_grad():
        before, after = (float(weighing_loss(one, plain)) for one in (start, made))
    assert after < 0.95 * before
    with torch.no_grad():
        assert float(weighing_loss(made, usual)) < float(weighing_loss(start, usual))


def test_the_third_part_learns_young_histories_and_says_of_others_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighing, "BATCH", 64)
    young, lines = (stacked(plain_windows(3, young=one), 80) for one in (YOUNG_SEASONAL, YOUNG_OTHERS))
    others = stacked(plain_windows(4, older=True), 80)
    start = copy.deepcopy(bundled_weighing())
    with torch.no_grad():
        start.logit.weight.mul_(0.5)  # so that there is something to learn
    kept = copy.deepcopy(start.state_dict())
    made = schooled(start, (young, young), (others, lines), seed=0, steps=60)
    for name, value in start.state_dict().items():
        torch.testing.assert_close(value, kept[name], rtol=0, atol=0)
    with torch.no_grad():
        before, after = (float(weighing_loss(one, young)) for one in (start, made))
        assert after < 0.97 * before
        for held in (others, lines):
            told = {name: part for name, part in held.items() if name not in ("actual", "naive")}
            (said, unsure), (says, _) = start(**told), made(**told)
            assert float(((says - said) / unsure).square().mean().sqrt()) < 0.3


def test_the_fourth_part_learns_of_the_newest_forecasts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighing, "BATCH", 128)
    usual = stacked(wanders(1), 80)
    older = stacked(plain_windows(5, older=True), 400)
    start = copy.deepcopy(bundled_weighing())
    with torch.no_grad():
        start.newest.weight.fill_(3.0)  # so that there is something to learn
    made = acquainted(start, usual, older, seed=0, steps=60)
    for name, value in start.state_dict().items():
        assert torch.equal(value, made.state_dict()[name]) != (name == "newest.weight")
    with torch.no_grad():
        assert float(weighing_loss(made, older)) < float(weighing_loss(start, older))


def test_the_fifth_part_learns_all_kinds_at_once_and_keeps_some_of_what_was(
    monkeypatch: pytest.MonkeyPatch, usual_and_plain: tuple[Collected, Collected]
) -> None:
    monkeypatch.setattr(weighing, "BATCH", 64)
    monkeypatch.setattr(weighing, "FURTHER_RATE", 8e-3)
    usual, plain = usual_and_plain
    torch.manual_seed(0)
    start = Weighing()
    kept = copy.deepcopy(start.state_dict())
    made = widened(start, [(0.5, usual), (0.5, plain)], seed=0, steps=50)
    for name, value in start.state_dict().items():
        torch.testing.assert_close(value, kept[name], rtol=0, atol=0)
    with torch.no_grad():
        assert float(weighing_loss(made, plain)) < 0.95 * float(weighing_loss(start, plain))
        assert float(weighing_loss(made, usual)) < float(weighing_loss(start, usual))
    monkeypatch.setattr(weighing, "_KEPT", 1.0)
    same = widened(start, [(1.0, usual)], seed=0, steps=2)
    assert all(torch.equal(value, kept[name]) for name, value in same.state_dict().items())
    with pytest.raises(ConfigError, match="--further FOLDER"):
        train_weighing(None, 0, part=5)  # type: ignore[arg-type]  # refused before anything is drawn


@pytest.mark.parametrize("freq", ["h", "D", "W-SUN", "M", "Q-DEC"])
def test_young_histories_hold_one_or_two_seasons(freq: str) -> None:
    rng, seasons = np.random.default_rng(0), seasons_of(freq)
    season = seasons[0]
    lengths = [young_length(rng, season) for _ in range(300)]
    assert min(lengths) == season
    assert 1.9 * season < max(lengths) <= 2.2 * season
    assert all(is_young(length, seasons) for length in lengths)
    assert not is_young(season - 1, seasons)
    assert not is_young(3 * season, seasons)
    assert weighing._young(rng, season - 1, seasons) == 0 == weighing._older(rng, season, seasons)
    assert season <= weighing._young(rng, 100 * season, seasons) <= 2.2 * season
    assert weighing._older(rng, 3 * season, seasons) == 3 * season


@pytest.mark.parametrize("freq", ["h", "D", "W-SUN", "M", "Q-DEC", "Y-DEC"])
def test_the_bundled_weights_follow_a_line_at_once(freq: str) -> None:
    """The right way each time, and in the mean of draws by less than three quarters of the noise off."""
    steps, errors = np.arange(150), []
    for seed, slope in product(range(6), (2.0, -2.0)):
        values = 1000 + slope * steps + np.random.default_rng(seed).normal(0, 4, 150)
        made = judged(bundled_weighing(), values, 8, freq)
        assert np.sign(np.polyfit(np.arange(8), made, 1)[0]) == np.sign(slope)
        errors.append(np.abs(made - (1000 + slope * np.arange(150, 158))).mean())
    assert np.mean(errors) < 3.0


@pytest.mark.parametrize(
    ("freq", "known", "least"), [("M", 12, 0.38), ("M", 13, 0.57), ("h", 26, 0.57), ("D", 8, 0.62)]
)
def test_the_bundled_weights_keep_part_of_a_season_that_was_seen_once(freq: str, known: int, least: float) -> None:
    """As much more as other series teach: .30, .49, .50 and .57 were kept by weights that had seen few such series."""
    season, shares = seasons_of(freq)[0], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shape = rng.normal(size=season)
        values = 100 + 10 * np.resize(shape / shape.std(), known + season) + rng.normal(size=known + season)
        made, coming = judged(bundled_weighing(), values[:known], season, freq), values[known:] - values[known:].mean()
        shares.append((made - made.mean()) @ coming / (coming @ coming))
    assert least < np.mean(shares) < 1


@pytest.mark.slow
def test_the_recipe_makes_weights(tmp_path: Path, shared_data: Path) -> None:
    small = ("--recipe", "weighing", "--windows", "60", "--steps", "5", "--synthetic", "30", "--workers", "1")
    (tmp_path / "further").mkdir()
    (tmp_path / "further" / "one").symlink_to(shared_data / "series" / "m1_yearly")
    options = ("--data", shared_data, "--further", "further", "--output", "out")
    ran = Recipes(tmp_path).run("train_default_forecaster", *small, *options)
    assert ran.code == 0, ran.said
    network = Weighing()
    network.load_state_dict(load_weights(tmp_path / "out" / "weighing"))
    assert all(bool(part.isfinite().all()) for part in network.state_dict().values())


def test_weights_are_saved_as_they_are(tmp_path: Path) -> None:
    network = bundled_weighing()
    save_weighing(network, tmp_path / "weighing")
    for name, value in load_weights(tmp_path / "weighing").items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=0, atol=0)


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")
