"""What else predictors and estimators answer: how they show themselves, devices, fine-tuning, folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from shared.errors import ConfigError
from tests.recipes.harness import Recipes
from tests.tsdiff.conftest import HORIZON, sines, tiny_estimator
from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.pretraining.finetuning import FineTuning


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").with_sampling(steps=2)


def daily(count: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=80, freq="D")
    wave = np.sin(2 * np.pi * np.arange(80) / 7)
    parts = [pd.DataFrame({"unique_id": n, "ds": days, "y": wave + rng.normal(size=80)}) for n in range(count)]
    return pd.concat(parts)


def test_each_shows_itself_in_a_line(trained, default):
    estimator = TSDiffEstimator("h", 24, lags=[24], batch_size=8)
    shown = {
        repr(trained): "TSDiffPredictor(8 steps of 'h', TSDiff('h', 16 + 8 steps, S4DConfig, 10,116 weights)",
        repr(default): "TSDiffPredictor(any horizon, TSDiff(any frequency",
        repr(default.adapted("D", 200)): "200 steps of 'D'",
        repr(default.model): "TSDiff(any frequency",
        repr(estimator): "'h', 336 + 24 steps, S4DConfig, 7000 steps of training, lags=(24,), batch_size=8)",
        repr(EnsemblePredictor([trained, trained])): "EnsemblePredictor(2 members",
        repr(trained.with_sampling(seed=3)): "sampling: seed=3)",
    }
    for line, part in shown.items():
        assert part in line
        assert "\n" not in line


def test_it_goes_to_a_device_and_keeps_its_settings(trained):
    moved = trained.with_sampling(seed=2).with_horizon(20).to("cpu")
    assert moved.model.device == torch.device("cpu")
    assert (moved.sampling.seed, moved.prediction_length) == (2, 20)
    assert EnsemblePredictor([trained]).to("cpu").prediction_length == HORIZON
    with pytest.raises(ConfigError, match="device"):
        trained.to("abacus")


@pytest.mark.slow
def test_fine_tuning_gives_a_new_predictor_of_the_frame(default):
    before = {name: value.clone() for name, value in default.model.state_dict().items()}
    settings = FineTuning(steps=3, held_back=0)
    for data, options in (
        (daily(), {}),
        ([{"start": pd.Period("2024-01-01", "D"), "target": np.sin(np.arange(80.0))}], {}),
        (daily(), {"freq": "D"}),
    ):
        tuned = default.fine_tune(data, prediction_length=7, settings=settings, progress=False, **options)
        assert type(tuned) is TSDiffPredictor
        assert (tuned.freq, tuned.prediction_length) == ("D", 7)
        for name, value in default.model.state_dict().items():
            torch.testing.assert_close(value, before[name])
        assert any(not torch.equal(value, before[name]) for name, value in tuned.model.state_dict().items())
    assert len(tuned.predict_df(daily(), num_samples=2)) == 21


def test_a_model_that_cannot_be_fine_tuned_says_why_in_short(trained):
    with pytest.raises(ConfigError, match=r"only models of all frequencies.*this one has calendar='waves'") as caught:
        trained.fine_tune(sines(), settings=FineTuning(steps=3, held_back=0), progress=False)
    assert len(str(caught.value)) < 300


def test_an_estimator_fits_a_frame_as_it_trains_on_its_entries():
    hours = pd.date_range("2024-01-01", periods=200, freq="h")
    wide = pd.DataFrame({entry["item_id"]: entry["target"] for entry in sines()}, index=hours)
    same = [{**entry, "start": pd.Period("2024-01-01", "h")} for entry in sines()]
    one, two = tiny_estimator(steps=3).fit(wide, progress=False), tiny_estimator(steps=3).train(same, progress=False)
    for left, right in zip(one.predict(same, 2), two.predict(same, 2), strict=True):
        np.testing.assert_allclose(left.samples, right.samples, rtol=1e-4)


def test_what_is_saved_under_either_name_restores_horizon_and_sampling(default, tmp_path: Path):
    predictor = default.adapted("D", 150).with_sampling(seed=4, counts=True, covariates=True)
    predictor.save_pretrained(str(tmp_path))
    back = TSDiffPredictor.from_pretrained(tmp_path)
    assert (back.prediction_length, back.sampling, back.freq) == (150, predictor.sampling, "D")


@pytest.mark.slow
def test_quiet_fine_tuning_says_nothing_at_all(tmp_path):
    code = """
import numpy as np, pandas as pd, tsdiff
from tsdiff.pretraining.finetuning import FineTuning
tsdiff.set_quiet(True)
days = pd.date_range("2024-01-01", periods=80, freq="D").delete(40)
frame = pd.DataFrame({"ds": days, "y": np.sin(np.arange(79.0))})
predictor = tsdiff.TSDiffPredictor.from_pretrained("default")
tuned = predictor.fine_tune(frame, prediction_length=7, settings=FineTuning(steps=2, held_back=0))
assert len(tuned.predict_df(frame, num_samples=2)) == 7
"""
    (tmp_path / "quiet.py").write_text(code)
    ran = Recipes(tmp_path).run(str(tmp_path / "quiet"))
    assert (ran.code, ran.out, ran.err) == (0, "", "")
