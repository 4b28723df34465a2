"""Gaps anywhere: filled where they are, by draws that know what is observed, whatever the batch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import sines, tiny_estimator
from tests.tsdiff.gaussian_model import LENGTH as WINDOW
from tests.tsdiff.gaussian_model import GaussianNetwork, gaussian_model
from tsdiff import TSDiffPredictor
from tsdiff.model.config import paper_sde
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.imputation import Imputation
from tsdiff.tasks.imputation.plots import _gaps, around_longest_gap, plot_imputations
from tsdiff.windows.covariance import WindowCovariance
from tsdiff.windows.scales import Statistics

LENGTH = 24


def with_gaps(*gaps: slice, length: int = 200) -> list[dict[str, object]]:
    entries = sines(length=length)
    for entry in entries:
        for gap in gaps:
            entry["target"][gap] = np.nan  # type: ignore[index]
    return entries


@pytest.mark.parametrize(
    "gaps",
    [
        [slice(50, 53)],
        [slice(0, 4)],
        [slice(195, 200)],
        [slice(60, 110)],
        [slice(3, 5), slice(20, 22), slice(101, 104)],
        [slice(7, None, 9)],
    ],
    ids=["middle", "start", "end", "longer than a window", "several", "everywhere"],
)
def test_gaps_are_filled_and_what_is_observed_stays(trained: TSDiffPredictor, gaps):
    truth, entries = sines(), with_gaps(*gaps)
    for entry, whole, made in zip(entries, truth, trained.impute(entries, num_samples=8), strict=True):
        missing = np.isnan(entry["target"])
        assert made.item_id == entry["item_id"]
        assert made.samples.shape == (8, missing.sum())
        assert np.isfinite(made.samples).all()
        np.testing.assert_array_equal(made.median[~missing], entry["target"][~missing])
        assert np.isnan(made.target[missing]).all()
        size = np.abs(whole["target"] - whole["target"].mean()).mean()
        if missing.sum() < 40:  # a gap longer than a window drifts, a short one is known from its sides
            assert np.abs(made.median - whole["target"])[missing].mean() < 0.8 * size


def test_draws_do_not_depend_on_batch_or_company(trained: TSDiffPredictor):
    entries = with_gaps(slice(50, 78), slice(150, 153))  # one is longer than a window
    together = list(trained.impute(entries, num_samples=3))
    chunked = list(trained.with_sampling(batch_rows=4).impute(entries, num_samples=3))
    alone = [next(iter(trained.impute([entry], num_samples=3))) for entry in entries]
    for one, two, three in zip(together, chunked, alone, strict=True):
        np.testing.assert_allclose(one.samples, two.samples, rtol=2e-3, atol=1e-2)
        np.testing.assert_allclose(one.samples, three.samples, rtol=2e-3, atol=1e-2)
    other = next(iter(trained.with_sampling(seed=1).impute(entries[:1], num_samples=3)))
    assert not np.allclose(other.samples, together[0].samples)


def autoregressive(rho: float) -> TSDiffPredictor:
    """Of windows with correlation rho from one step to the next, by their exact denoiser."""
    places = torch.arange(WINDOW, dtype=torch.float64)
    known = rho ** (places[:, None] - places).abs()
    values, vectors = torch.linalg.eigh(known)
    model, _ = gaussian_model(paper_sde(), scaling="standard")
    model.denoiser.network = GaussianNetwork(paper_sde(), known)
    model.statistics = Statistics(covariance=WindowCovariance(vectors.flip(1), values.flip(0), 1e-8))
    return TSDiffPredictor(model, Sampling(method="ode2", steps=12, log_snr_end=4.0))


def test_each_window_goes_on_from_the_draws_of_the_one_before_it():
    """In a gap of several windows, a path's steps are correlated over the seams as within a window."""
    rng = np.random.default_rng(0)
    walk = np.zeros(70)
    for step in range(1, 70):
        walk[step] = 0.9 * walk[step - 1] + np.sqrt(1 - 0.9**2) * rng.normal()
    walk[20:50] = np.nan
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", freq="h"), "target": walk}
    (made,) = autoregressive(0.9).impute([entry], num_samples=300)
    # Away from what is observed, whose windows are scaled by it: a window is 16 steps, of which 12 are taken.
    together = [np.corrcoef(made.paths[:, k], made.paths[:, k + 1])[0, 1] for k in range(30, 46)]
    assert 0.75 < min(together) <= max(together) < 0.95


def test_a_series_without_gaps_comes_back_and_one_shorter_than_a_window_is_filled(trained: TSDiffPredictor):
    (whole,) = trained.impute(sines(count=1), num_samples=3)
    assert whole.samples.shape == (3, 0)
    np.testing.assert_array_equal(whole.median, sines(count=1)[0]["target"])
    (short,) = trained.impute([{**e, "target": e["target"][:15]} for e in with_gaps(slice(6, 9))[:1]], num_samples=3)
    assert np.isfinite(short.mean).all()


def test_the_frame_tells_time_value_and_intervals(trained: TSDiffPredictor):
    frame = pd.DataFrame(
        {
            "shop": np.repeat(["a", "b"], 60),
            "day": np.tile(pd.date_range("2024-01-01", periods=60, freq="h"), 2),
            "sold": np.tile(10 + np.sin(np.arange(60) * np.pi / 4), 2),
        }
    )
    given = frame.drop(index=[20, 21, 90])
    found = trained.impute_df(given, target="sold", item_id="shop", timestamp="day", num_samples=9)
    assert list(found.columns[:5]) == ["shop", "day", "sold", "imputed", "mean"]
    assert len(found) == 120
    gone = found[found["imputed"]]
    assert list(zip(gone["shop"], gone["day"], strict=True)) == [
        (frame["shop"][i], frame["day"][i]) for i in (20, 21, 90)
    ]
    assert (gone["0.05"] <= gone["0.5"]).all()
    assert (gone["0.5"] <= gone["0.95"]).all()
    kept = found[~found["imputed"]]
    np.testing.assert_allclose(kept["0.05"], kept["sold"])


def test_channels_are_filled_each():
    start = pd.Period("2024-01-01", "h")
    target = np.array([[1.0, np.nan, 3.0], [np.nan, 5.0, np.nan]])
    made = Imputation("a", start, target, np.array([[2.0, 4.0, 6.0], [4.0, 6.0, 8.0]]))
    np.testing.assert_array_equal(made.mean, [[1, 3, 3], [5, 5, 7]])
    frame = made.to_frame()
    assert list(frame["channel"]) == [0, 0, 0, 1, 1, 1]
    assert list(frame["imputed"]) == [False, True, False, True, False, True]


@pytest.mark.slow
def test_a_channel_is_known_from_the_other():
    """The second channel is ten times the first, so that a gap in it is no gap."""
    rng = np.random.default_rng(0)
    walks = [20 + 5 * np.repeat(rng.normal(size=60), 4) for _ in range(4)]
    entries = [
        {"item_id": f"{i}", "start": pd.Period("2024-01-01", "h"), "target": np.stack([walk, 10 * walk])}
        for i, walk in enumerate(walks)
    ]
    predictor = tiny_estimator(400, channels=2, calendar="none").train(entries, progress=False)
    gap, errors = slice(100, 112), []
    holed = [{**entry, "target": entry["target"].copy()} for entry in entries]  # type: ignore[attr-defined]
    for entry in holed:
        entry["target"][1, gap] = np.nan
    for whole, entry, made in zip(entries, holed, predictor.impute(holed, num_samples=10), strict=True):
        truth = whole["target"][1, gap]  # type: ignore[index]
        line = np.interp(np.arange(100, 112), [99, 112], entry["target"][1, [99, 112]])
        errors.append(np.abs(made.mean[1, gap] - truth).mean() / np.abs(line - truth).mean())
    assert np.mean(errors) < 0.7


def test_a_single_step_at_the_end_is_drawn_from_the_one_before():
    start, samples = pd.Period("2010", "Y"), np.linspace(1.0, 3.0, 9)[:, None]
    made = Imputation("a", start, np.array([1.0, 2.0, np.nan]), samples)
    axes = Figure().subplots()
    _gaps(axes, made, np.array([1.0, 2.0, 2.5]), steps=1, stamp="start")
    median = next(line for line in axes.lines if line.get_label() == "median imputed")
    np.testing.assert_array_equal(median.get_ydata(), [2.0, 2.0])
    assert all(len(band.get_paths()) == 1 for band in axes.collections)


def test_what_is_drawn_of_a_long_series_lies_around_its_longest_gap():
    target = np.arange(300.0)
    gone = [20, *range(100, 130), 150, 299]
    target[gone] = np.nan
    samples = np.array(gone) + np.array([[-1.0], [1.0]])
    part = around_longest_gap(Imputation("a", pd.Period("2024-01-01", "D"), target, samples))
    assert part.start == pd.Period("2024-01-01", "D") + 40  # twice 30 steps before the gap
    np.testing.assert_array_equal(part.target, target[40:190])
    np.testing.assert_array_equal(part.mean, np.arange(40.0, 190))
    short = around_longest_gap(Imputation("a", pd.Period("2024-01-01", "D"), target[:110], samples[:, :11]))
    assert len(short.target) == 34  # 24 steps before it at least
    np.testing.assert_array_equal(short.mean, np.arange(76.0, 110))


def test_what_cannot_be_drawn_is_refused(tmp_path):
    made = [Imputation("a", pd.Period("2010", "Y"), np.array([1.0, np.nan]), np.ones((3, 1)))]
    for truth, told in (([], r"truth of \[\] steps for series of \[2\]"), ([np.ones(1)], r"truth of \[1\] steps for")):
        with pytest.raises(DataError, match=told):
            plot_imputations(made, tmp_path / "a.png", truth=truth)
    with pytest.raises(DataError, match="imputations are what `impute` of a predictor gives"):
        plot_imputations(made[0].to_frame(), tmp_path / "a.png")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="steps=0"):
        plot_imputations(made, tmp_path / "a.png", steps=0)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_imputed_is_refused(trained: TSDiffPredictor):
    with pytest.raises(ConfigError, match="num_samples=0"):
        trained.impute([], num_samples=0)
    with pytest.raises(DataError, match=r"series 's0' holds no observed value"):
        list(trained.impute(with_gaps(slice(None))[:1]))
    with pytest.raises(ConfigError, match=r"level=1\.5"):
        next(iter(trained.impute(sines(count=1), 2))).quantile(1.5)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("after", [1, 3, 12])
def test_a_gap_near_an_end_keeps_its_season(after: int, turned: bool):
    """Of less than a season no season can be known, and what lies beyond such a gap tells little of it."""
    default, missed, covered = TSDiffPredictor.from_pretrained("default").adapted("h", 24), [], []
    for seed in range(3):
        noise = 5 * np.random.default_rng(seed).normal(size=240)
        whole = 200 + 50 * np.sin(2 * np.pi * np.arange(240) / 24) + noise
        hidden = np.zeros(240, dtype=bool)
        hidden[228 - after : 240 - after] = True
        whole, hidden = (whole[::-1], hidden[::-1]) if turned else (whole, hidden)
        entry = {"start": pd.Period("2024-01-01", "h"), "target": np.where(hidden, np.nan, whole)}
        (made,) = default.impute([entry], num_samples=60)
        low, middle, high = np.quantile(made.samples, [0.05, 0.5, 0.95], axis=0)
        missed.append(np.abs(middle - whole[hidden]).mean())
        covered.append(((low <= whole[hidden]) & (whole[hidden] <= high)).mean())
    assert np.mean(missed) < 8
    assert np.mean(covered) > 0.8
