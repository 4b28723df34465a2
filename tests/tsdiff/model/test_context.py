"""The network that reads a window once, alone and in a model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from shared.errors import ConfigError
from shared.random import make_generator
from shared.samplers import Exponential
from shared.sde import VPSDE
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.data.entries import read_series
from tsdiff.model.backbones import ContextConfig, S4DConfig
from tsdiff.model.backbones.context import attended
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.times import call_times
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.anomaly.scores import anomaly_scores
from tsdiff.tasks.refinement import RefineConfig
from tsdiff.tasks.synthesis.draw import SynthesisConfig, synthesize
from tsdiff.windows.conditioning import Windows, forecast_place
from tsdiff.windows.config import ANY_FREQ

SMALL = ContextConfig(patch=4, width=16, encoder_blocks=1, decoder_blocks=2, heads=2)
LENGTH, FEATURES, ABOUT = 32, 5, 3


def config(**changes) -> TSDiffConfig:
    settings = {
        "freq": ANY_FREQ,
        "prediction_length": 16,
        "context_length": 48,
        "scaling": "anchor",
        "calendar": "season",
        "conditional": True,
        "backbone": SMALL,
        "sde": VPSDE(),
    }
    return TSDiffConfig(**(settings | changes))


def lively(module: torch.nn.Module) -> torch.nn.Module:
    """Weights that are nowhere zero, so that nothing is hidden by them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


@pytest.fixture
def network():
    return lively(SMALL.build(LENGTH, 1, FEATURES, ABOUT))


@pytest.fixture
def told():
    """Three windows whose last 10 steps are wanted; the first steps of the third do not exist."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(3, LENGTH, FEATURES, generator=generator)
    inputs[..., -2:] = 0
    inputs[:, :22, -1], inputs[:, 22:, -2] = 1, 1
    inputs[2, :12] = 0
    return inputs, torch.randn(3, ABOUT, generator=generator)


def state(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(rows, LENGTH, 1, generator=generator), torch.linspace(-4, 4, rows)


def test_only_wanted_patches_are_drawn(network, told):
    x, level = state(3)
    made = network(x, level, *told)
    assert made.shape == x.shape
    assert not made[:, :20].any()
    assert made[:, 20:].abs().min() > 0


@pytest.mark.parametrize("rows", [[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 2], [2, 0, 1]])
def test_rows_that_share_a_reading_equal_rows_of_their_own(network, told, rows):
    inputs, about = told
    of_row = torch.tensor(rows)
    x, level = state(len(rows))
    shared = network.decode(x, level, network.encode(inputs, about, of_row))
    for row, place in enumerate(rows):
        own = network(x[row : row + 1], level[row : row + 1], inputs[place : place + 1], about[place : place + 1])
        assert_close(shared[row : row + 1], own, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["ode1", "ode2", Exponential(3, corrector=True)])
def test_wanted_patches_drawn_alone_are_those_of_whole_windows(method):
    model = lively(TSDiff(config())).adapted("h", 10)
    series = read_series({"start": pd.Period("2024-01-01", "h"), "target": np.sin(np.arange(90.0))}, "a", "h", [])
    inputs = Windows.of([forecast_place(series, model.config)] * 2, model.config, model.statistics).inputs
    times = call_times(model.sde, 4, 2.0)

    points: list[int] = []
    kept = model.denoiser.network.backbone.decode

    def decode(x, *given):
        points.append(x.shape[1])
        return kept(x, *given)

    model.denoiser.network.backbone.decode = decode

    def drawn(**more):
        generators = [make_generator("row", row) for row in range(2)]
        return model.draw(inputs, generators, times, method=method, **more).x

    alone = drawn()
    assert set(points) == {12}  # three patches
    points.clear()
    whole = drawn(return_trajectory=True)
    assert set(points) == {64}
    assert alone.shape == whole.shape == (2, 64, 1)
    wanted = slice(-10, None)
    assert_close(alone[:, wanted], whole[:, wanted], rtol=0, atol=0)
    assert alone[:, wanted].std() > 0


def test_what_is_noisy_at_other_points_does_not_matter(network, told):
    x, level = state(3)
    other = x.clone()
    other[:, :22] += 1
    assert_close(network(x, level, *told), network(other, level, *told))


def test_steps_that_do_not_exist_are_not_looked_at(network, told):
    inputs, about = told
    x, level = state(3)
    changed = inputs.clone()
    changed[2, :12, :-2] = 7.0
    assert_close(network(x, level, changed, about)[2], network(x, level, inputs, about)[2])


def test_every_wanted_patch_hears_of_the_others(network, told):
    x, level = state(3)
    x.requires_grad_(True)
    network(x, level, *told)[:, -1].sum().backward()
    assert x.grad is not None
    assert (x.grad[:, 22:].abs() > 0).all()
    assert not x.grad[:, :22].any()


@pytest.mark.parametrize(
    ("changes", "message"), [({"width": 15}, "multiple of heads"), ({"patch": 0}, "patch"), ({"heads": 0}, "heads")]
)
def test_sizes_that_do_not_fit(changes, message):
    with pytest.raises(ConfigError, match=message):
        ContextConfig(**changes)


def test_it_needs_an_anchor():
    with pytest.raises(ConfigError, match="scaling='anchor'"):
        config(scaling="standard")
    with pytest.raises(ConfigError, match="conditional=True"):
        config(conditional=False)
    assert config(backbone=S4DConfig(patch=4)).scaling == "anchor"


@pytest.fixture
def model():
    return lively(TSDiff(config()))


def entries(count: int = 3, length: int = 90):
    rng = np.random.default_rng(0)
    return [
        {"start": pd.Period("2024-01-01", "D"), "target": 5 * i + rng.normal(size=length).cumsum(), "item_id": str(i)}
        for i in range(count)
    ]


def test_a_reading_made_before_gives_the_same(model):
    adapted = model.adapted("D", 8)
    places = [forecast_place(read_series(e, e["item_id"], "D", []), adapted.config) for e in entries()]
    windows = Windows.of(places, adapted.config, adapted.statistics).rows(np.repeat([0, 1, 2], 4))
    x, t = torch.randn(12, 64, 1), torch.full((12,), 0.5)
    read = adapted.read(windows.inputs)
    assert_close(adapted(x, t, **windows.inputs), adapted(x, t, **read))


def test_forecasts_do_not_depend_on_their_batch(model):
    predictor = TSDiffPredictor(model, Sampling(method="ode2", steps=3, batch_rows=64)).adapted("D", 8)
    whole = list(predictor.predict(entries(), num_samples=10))
    for one, entry in zip(whole, entries(), strict=True):
        alone = next(iter(predictor.with_sampling(batch_rows=7).predict([entry], num_samples=10)))
        np.testing.assert_allclose(one.samples, alone.samples, rtol=1e-5, atol=1e-5)


def test_forecasts_grow_with_the_series(model):
    predictor = TSDiffPredictor(model, Sampling(method="ode2", steps=3)).adapted("D", 8)
    plain = list(predictor.predict(entries(), num_samples=5))
    grown = [{**e, "target": 1e6 * e["target"]} for e in entries()]
    for one, other in zip(plain, predictor.predict(grown, num_samples=5), strict=True):
        np.testing.assert_allclose(other.samples / 1e6, one.samples, rtol=1e-3, atol=1e-3)


def test_a_model_is_saved_and_loaded(model, tmp_path):
    predictor = TSDiffPredictor(model, Sampling(method="ode2", steps=3)).adapted("D", 8)
    predictor.serialize(tmp_path)
    again = TSDiffPredictor.from_pretrained(tmp_path)
    for one, other in zip(predictor.predict(entries(), 4), again.predict(entries(), 4), strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


def test_gaps_are_filled_between_what_is_known(model):
    predictor = TSDiffPredictor(model, Sampling(method="ode2", steps=3)).adapted("D", 8)
    entry = entries(1)[0]
    target = entry["target"].copy()
    target[40:45] = np.nan
    made = next(iter(predictor.impute([{**entry, "target": target}], num_samples=6)))
    assert made.samples.shape == (6, 5)
    assert np.isfinite(made.samples).all()


def test_windows_are_drawn_of_nothing(model):
    drawn = model.adapted("D", 8).sample(3, steps=3, method="ode2")
    assert drawn.shape == (3, 64, 1)
    assert torch.isfinite(drawn).all()


def test_synthetic_windows_have_the_level_and_the_spread_of_recorded_ones(model):
    made = list(synthesize(model.adapted("D", 8), 4, entries(), SynthesisConfig(steps=3)))
    assert all(np.isfinite(one["target"]).all() and one["target"].shape == (64,) for one in made)


@pytest.mark.parametrize("length", [90, 12])
def test_steps_are_scored_given_those_before(model, length):
    scores = anomaly_scores(model.adapted("D", 8), entries(2, length))
    for one in scores:
        assert np.isfinite(one.score[8:]).all()


@pytest.mark.slow
def test_the_bound_lies_below_the_density_of_the_horizon(model):
    adapted = model.adapted("D", 2)
    exact = TSDiffPredictor(adapted).log_likelihood(entries(1), log_snr_end=3.0, steps=20, stride=20)
    bound = TSDiffPredictor(adapted).log_likelihood(
        entries(1), method="elbo", log_snr_end=3.0, levels=16, draws=4, stride=20
    )
    np.testing.assert_array_equal(exact[0].first, bound[0].first)
    assert np.isfinite(exact[0].log_likelihood).all()
    assert bound[0].steps is not None
    assert (np.isfinite(bound[0].steps).sum(1) == 2).all()


def test_forecasts_of_others_are_refined(model):
    predictor = TSDiffPredictor(model, Sampling(method="ode2", steps=3)).adapted("D", 8)
    base = list(predictor.predict(entries(1), num_samples=4))
    refined = next(iter(predictor.refine(base, entries(1), RefineConfig(steps=2, num_samples=4))))
    assert refined.samples.shape == (4, 8)
    assert np.isfinite(refined.samples).all()


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (2, 2), (3, 4), (4, 1)])
def test_few_tokens_are_attended_as_many_are(queries: int, keys: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(5, count, 3, 6, generator=generator).transpose(1, 2) for count in (queries, keys, keys))
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert_close(attended(q, k, v, None), wanted, rtol=1e-5, atol=1e-6)


def test_temperature_is_the_deviation_that_draws_start_from():
    model = TSDiff(config()).eval().adapted("h", 10)  # untrained, so that it shrinks what it starts from, no more
    series = read_series({"start": pd.Period("2024-01-01", "h"), "target": np.sin(np.arange(90.0))}, "a", "h", [])
    inputs = Windows.of([forecast_place(series, model.config)], model.config, model.statistics).inputs
    times = call_times(model.sde, 4, 2.0)
    one, wider = (model.draw(inputs, [make_generator("row")], times, temperature=t).x for t in (1.0, 1.5))
    assert one.std() > 0.1
    assert_close(wider, 1.5 * one)


def test_a_bundled_forecast_widens_with_temperature():
    rng = np.random.default_rng(0)
    entry = {"start": pd.Period("2024-01-01", "D"), "target": 50 + rng.normal(size=120)}
    predictor = TSDiffPredictor.from_pretrained("default").adapted("D", 14)

    def width(temperature: float) -> float:
        (forecast,) = predictor.with_sampling(temperature=temperature).predict([entry], 100)
        return float(np.mean(forecast.quantile(0.95) - forecast.quantile(0.05)))

    assert width(0.5) < width(1.0) < width(1.5)
