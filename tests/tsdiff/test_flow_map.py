"""Flow maps of series: trained from a forecaster, saved, loaded, and drawn from in one or two calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from shared.sde import VPSDE
from tests.tsdiff.conftest import sines, tiny_estimator
from tsdiff import Sampling, TSDiff, TSDiffPredictor
from tsdiff.commands.train import read_data, train_seed
from tsdiff.experiment.experiment import read_experiment
from tsdiff.model.backbones import S4DConfig

MAP = S4DConfig(patch=4, width=16, blocks=1, state=4, span=True)
KINDS = ["lagrangian", "shortcut", "mean_flow", "consistency"]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a forecaster that maps start from."""
    folder = tmp_path_factory.mktemp("started")
    tiny_estimator(20).train(sines(), progress=False).serialize(folder)
    return folder


def map_of(folder: Path | None, kind: str = "lagrangian", steps: int = 3, **settings: Any) -> TSDiffPredictor:
    settings = {"sampling": Sampling(method="map", steps=1), **settings}
    return tiny_estimator(steps, backbone=MAP, flow_map=kind, start_from=folder, **settings).train(
        sines(), progress=False
    )


@pytest.fixture(scope="module")
def mapped(started: Path) -> TSDiffPredictor:
    return map_of(started)


def drawn(predictor: TSDiffPredictor, **options: Any) -> np.ndarray:
    return np.stack([one.samples for one in predictor.predict(sines(**options), num_samples=6)])


@pytest.mark.parametrize("kind", KINDS)
def test_every_objective_trains_a_map_from_a_forecaster(started: Path, kind: str) -> None:
    predictor = map_of(started, kind)
    samples = drawn(predictor)
    assert predictor.nfe == 1
    assert np.isfinite(samples).all()
    assert (samples.std(axis=1) > 0).any()
    start = TSDiff.from_pretrained(started)
    assert predictor.model.statistics.center == start.statistics.center
    moved = predictor.model.denoiser.network.get_parameter("backbone.span.outer.weight")
    assert float(moved.abs().max()) > 0


def test_a_map_begins_as_the_forecaster(started: Path) -> None:
    """At its start the jump to clean data is the data prediction."""
    start, begun = TSDiff.from_pretrained(started), tiny_estimator(1, backbone=MAP, flow_map="lagrangian")
    model = TSDiff(begun.config)
    from shared.flow_maps.start import start_map

    start_map(model, start.state_dict())
    model.eval()
    torch.testing.assert_close(
        model.sample(3, method="map", steps=1), start.sample(3, method="ode1", steps=1), rtol=1e-5, atol=1e-5
    )


def test_it_is_saved_and_loaded(mapped: TSDiffPredictor, tmp_path: Path) -> None:
    mapped.serialize(tmp_path)
    again = TSDiffPredictor.from_pretrained(tmp_path)
    assert again.sampling.method == "map"
    np.testing.assert_array_equal(drawn(again), drawn(mapped))
    mapped.model.save_pretrained(tmp_path / "alone")
    alone = TSDiff.from_pretrained(tmp_path / "alone")
    assert torch.equal(alone.sample(3, method="map", steps=2), mapped.model.sample(3, method="map", steps=2))


def test_windows_do_not_depend_on_their_batch(mapped: TSDiffPredictor) -> None:
    whole = drawn(mapped)
    small = mapped.with_sampling(batch_rows=5)
    np.testing.assert_allclose(drawn(small), whole, rtol=1e-5)
    np.testing.assert_allclose(drawn(mapped, count=1)[0], whole[0], rtol=1e-5)
    model = mapped.model
    torch.testing.assert_close(model.sample(5, method="map", steps=2)[:2], model.sample(2, method="map", steps=2))


@pytest.mark.slow
def test_guided_forecasts_keep_to_what_is_observed(started: Path) -> None:
    """One call from noise, moved by the covariance of the windows: the context is met as far as it is trusted."""
    predictor = map_of(started, steps=60)
    errors = []
    for scale in (0.0, 1.0):
        guided = predictor.with_sampling(guidance="mse", covariance="window", scale=scale, steps=2)
        assert guided.sampling.method == "map"
        truth = np.stack([entry["target"][-8:] for entry in sines()])
        shorter = [{**entry, "target": entry["target"][:-8]} for entry in sines()]
        samples = np.stack([one.samples for one in guided.predict(shorter, num_samples=20)])
        errors.append(float(np.abs(np.median(samples, 1) - truth).mean()))
    assert errors[1] < 0.7 * errors[0]


def test_other_samplers_take_it_as_a_denoiser(mapped: TSDiffPredictor) -> None:
    assert np.isfinite(drawn(mapped.with_sampling(method="sde2", steps=4))).all()


def test_a_process_in_time_has_maps_too() -> None:
    predictor = map_of(None, "shortcut", sde=VPSDE(), output="edm")
    assert np.isfinite(drawn(predictor)).all()


def test_what_does_not_fit_is_refused_with_the_remedy(started: Path) -> None:
    plain = TSDiffPredictor.from_pretrained(started)
    with pytest.raises(ConfigError, match="no flow map"):
        drawn(plain.with_sampling(method="map"))
    with pytest.raises(ConfigError, match="no flow map"):
        plain.model.sample(2, method="map")
    with pytest.raises(ConfigError, match="span=True among its backbone's settings"):
        tiny_estimator(2, flow_map="lagrangian").train(sines(), progress=False)
    with pytest.raises(ConfigError, match="there is no flow_map objective"):
        tiny_estimator(2, backbone=MAP).train(sines(), progress=False)
    with pytest.raises(ConfigError, match="start_from"):
        map_of(None, "consistency")
    with pytest.raises(ConfigError, match="start_from"):  # steps are measured by what a training does
        tiny_estimator(2, backbone=MAP, flow_map="consistency").pace(sines())
    with pytest.raises(ConfigError, match="backbone"):
        tiny_estimator(2, backbone=replace(MAP, width=8), flow_map="lagrangian", start_from=started).train(
            sines(), progress=False
        )
    # Another patch makes another context, which tells nothing.
    with pytest.raises(ConfigError, match="has backbone patch=4, the settings say patch=12; give what that model has"):
        tiny_estimator(2, backbone=replace(MAP, patch=12), flow_map="lagrangian", start_from=started).train(
            sines(), progress=False
        )
    with pytest.raises(ConfigError, match="choose one of lagrangian"):
        tiny_estimator(2, flow_map="eulerian")


def test_the_settings_that_come_with_the_package_train_a_map(tmp_path: Path) -> None:
    """Both files, one after the other, on the embedded data and in small."""
    small = ["data.name=pjm_hourly", "data.validation_windows=0", "model.backbone.width=8", "model.backbone.blocks=1"]
    small += ["model.context_length=48", "training.max_steps=3", "samples=4"]
    first = read_experiment("m4_hourly", small)
    train_seed(first, read_data(first), 0, tmp_path / "first", False)
    second = read_experiment("maps/m4_hourly", [*small, f"start_from={tmp_path / 'first' / 'model'}"])
    data = read_data(second)
    predictor, _ = train_seed(second, data, 0, tmp_path / "second", False)
    assert predictor.model.denoiser.is_map
    forecast = next(iter(predictor.predict(data.split.test.input, num_samples=4)))
    assert predictor.nfe == 2
    assert np.isfinite(forecast.samples).all()
    found, _ = train_seed(second, data, 0, tmp_path / "second", False)
    assert torch.equal(next(found.model.parameters()), next(predictor.model.parameters()))
