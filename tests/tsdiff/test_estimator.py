"""Training as a GluonTS estimator: reproducible, resumable, and clear about what it cannot use."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.dataset.common import ListDataset
from gluonts.model.estimator import Estimator
from lightning.pytorch.callbacks import Callback

from shared.console.notes import Note
from shared.errors import CheckpointError, ConfigError, DataError, TrainingError
from shared.noise import GaussianProcess, OrnsteinUhlenbeck
from shared.sde import FlowSDE
from shared.training.module import LAST_STATE
from tests.isolated import forked
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator
from tsdiff import Sampling, TSDiffEstimator, TSDiffPredictor
from tsdiff.evaluation.tuning import TuningGrid
from tsdiff.windows.source import WindowSource

ROOT = Path(__file__).resolve().parents[2]


def weights(predictor: TSDiffPredictor) -> dict[str, torch.Tensor]:
    return predictor.model.state_dict()


def same(one: TSDiffPredictor, other: TSDiffPredictor) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def train(steps: int = 20, seed: int = 0, data: Any = None, **options: Any) -> TSDiffPredictor:
    return tiny_estimator(steps, seed, save_every=0.001).train(
        sines() if data is None else data, progress=False, **options
    )


def test_it_is_a_gluonts_estimator_that_gives_a_predictor(trained):
    assert isinstance(tiny_estimator(), Estimator)
    assert isinstance(trained, TSDiffPredictor)
    assert trained.prediction_length == HORIZON
    assert trained.freq == "h"
    assert trained.model.config.context_length == CONTEXT


def test_a_list_dataset_trains_the_same_weights_as_plain_entries():
    dataset = ListDataset([{**e, "start": e["start"].to_timestamp()} for e in sines()], freq="h")
    assert same(train(data=dataset), train(data=iter(sines())))


def test_the_seed_alone_decides_the_weights():
    first = train()
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 (the legacy state is what must not matter)
    assert same(train(), first)
    assert not same(train(seed=1), first)


def test_training_leaves_the_callers_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(steps=2)
    torch.testing.assert_close(torch.rand(3), expected)


def test_learning_lowers_the_loss(trained):
    estimator = tiny_estimator()
    source = WindowSource(sines(), estimator.config, 256)
    source.statistics = trained.model.statistics
    batch = source.batch(np.random.default_rng(123))

    def loss(predictor: TSDiffPredictor) -> float:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            items = estimator.loss(
                predictor.model.denoiser, batch.x0, None, batch.mask, generator, condition=batch.condition
            )
        return float(items.mean())

    assert loss(trained) < 0.5 * loss(train(steps=1))


def test_missing_values_and_short_series_are_trained_on():
    entries = sines(4)
    entries[0]["target"][20:60] = np.nan
    entries[1]["target"] = entries[1]["target"][:10]
    entries[2]["target"][:] = np.nan
    entries[3]["target"][:150] = 0.0
    found = train(data=entries)
    assert all(torch.isfinite(value).all() for value in weights(found).values())
    assert same(found, train(data=[entries[0], entries[1], entries[3]]))  # one without any value teaches nothing


# --- resume ------------------------------------------------------------------------------------------------

INTERRUPTED = 130


def train_for_long(folder: Path) -> None:
    """Until it is stopped."""
    try:
        tiny_estimator(100000, save_every=0.1).train(sines(), folder=folder, progress=False)
    except KeyboardInterrupt:  # what a caller can catch, not an exit
        os._exit(INTERRUPTED)


@pytest.mark.parametrize("stop", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGINT])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, stop):
    process = forked(train_for_long, tmp_path)
    while not (tmp_path / LAST_STATE).exists() and process.is_alive():
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, stop)
    process.join()
    assert process.exitcode == (INTERRUPTED if stop == signal.SIGINT else -stop)
    done = int(torch.load(tmp_path / LAST_STATE, weights_only=True)["global_step"])
    assert done > 0
    total = done + 7
    resumed = resume_to(total, tmp_path)
    assert same(resumed, resume_to(total, None))


def resume_to(total: int, folder: Path | None) -> TSDiffPredictor:
    """Train the estimator of `train_for_long` for `total` steps of its 100000, from the state in `folder` if any."""

    class StopAt(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= total

    return tiny_estimator(100000).train(sines(), folder=folder, progress=False, callbacks=[StopAt()])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[TSDiffPredictor, Path]:
    """What a training gave, and the folder with its state."""
    folder = tmp_path_factory.mktemp("finished")
    return train(folder=folder), folder


@pytest.fixture
def first(finished, tmp_path) -> TSDiffPredictor:
    """What it gave; a copy of its state is in `tmp_path`."""
    shutil.copytree(finished[1], tmp_path, dirs_exist_ok=True)
    return finished[0]


def test_a_finished_training_is_not_done_again(first, tmp_path):
    before = (tmp_path / LAST_STATE).read_bytes()
    assert same(train(folder=tmp_path), first)
    assert (tmp_path / LAST_STATE).read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_damaged_state_is_refused_with_the_remedy_and_can_be_passed_over(first, tmp_path, damage):
    state = tmp_path / LAST_STATE
    state.write_bytes({"truncated": state.read_bytes()[:3000], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(CheckpointError, match=r"last.ckpt cannot be read.*remove it"):
        train(folder=tmp_path)
    assert same(train(folder=tmp_path, resume=False), first)


def test_the_state_of_another_model_is_refused_by_key(first, tmp_path):
    other = tiny_estimator(20, calendar="none")
    with pytest.raises(CheckpointError, match=r"is of another model .*feature_input"):
        other.train(sines(), folder=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, "with seed=0, not 1;"),
        ({"horizon_weight": 3.0}, "with horizon_weight=1.0, not 3.0;"),
        ({"scaling": "standard"}, "with config.scaling='mean', not 'standard';"),
        ({}, "of other series; give this training a folder of its own, or pass resume=False"),
    ],
)
def test_the_state_of_another_training_is_refused_by_what_differs(first, tmp_path, changes, told):
    other = tiny_estimator(20, **changes)
    entries = sines() if changes else [{**entry, "target": 2 * entry["target"]} for entry in sines()]
    with pytest.raises(CheckpointError, match=told):
        other.train(entries, folder=tmp_path, progress=False)
    other.train(entries, folder=tmp_path, progress=False, resume=False)


def test_what_was_trained_on_is_not_held_back_later(first, tmp_path):
    with pytest.raises(CheckpointError, match="with hold_out=False, not True;"):
        tiny_estimator(22).train(sines(), folder=tmp_path, progress=False, hold_out=True)


def test_a_state_that_tells_nothing_of_itself_is_gone_on_with_and_more_steps_are_made(first, tmp_path):
    state = torch.load(tmp_path / LAST_STATE, weights_only=True)
    assert state["callbacks"].pop("SameTraining")["told"]["batch_size"]
    torch.save(state, tmp_path / LAST_STATE)
    assert same(train(folder=tmp_path), first)
    tiny_estimator(22).train(sines(), folder=tmp_path, progress=False)
    assert torch.load(tmp_path / LAST_STATE, weights_only=True)["global_step"] == 22


def test_a_state_with_more_steps_than_are_asked_for_is_told(first, tmp_path):
    with pytest.warns(Note, match=r"has 20 steps, more than max_steps=5: its weights are taken"):
        fewer = tiny_estimator(5).train(sines(), folder=tmp_path, progress=False)
    assert same(fewer, first)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*more than max_steps", Note)
        train(folder=tmp_path)


def test_saving_leaves_nothing_but_the_state(finished):
    assert [path.name for path in finished[1].iterdir()] == [LAST_STATE]


# --- what is refused ---------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_the_series():
    entries = sines()
    entries[1]["target"][:100], entries[1]["target"][100:] = 1e-5, 3e38
    with pytest.raises(TrainingError, match=r"loss of step \d+ is not finite for \d+ of 16 items: s1 from step"):
        train(steps=50, data=entries)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prediction_length": 0}, "prediction_length=0"),
        ({"prediction_length": -3}, "prediction_length=-3"),
        ({"context_length": 0}, "context_length=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"horizon_weight": -1.0}, "horizon_weight=-1.0: need "),
        ({"scale_power": math.nan}, "scale_power=nan"),
        ({"scaling": "max"}, "scaling='max'"),
        ({"device": "abacus"}, "device 'abacus' cannot be used here"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(settings, message):
    with pytest.raises(ConfigError, match=message):
        TSDiffEstimator(**{"freq": "h", "prediction_length": 8, **settings})


@pytest.mark.parametrize(
    ("sampling", "settings", "message"),
    [
        ({"method": "map"}, {}, "this model is no flow map"),
        ({"method": "ddpm"}, {"sde": FlowSDE()}, "FlowSDE has none"),
        ({"method": "ddim", "skip": 101}, {}, "skip=101: the table has 100 steps"),
        ({"anchor_share": 0.5}, {}, "anchor_share=0.5: this model has no anchor"),
        ({"covariance": "scalar"}, {"sde": FlowSDE(noise=GaussianProcess(OrnsteinUhlenbeck(2.0)))}, "coloured noise"),
    ],
)
def test_forecasts_that_a_model_cannot_draw_are_refused_before_its_training(sampling, settings, message):
    unread = iter(())  # reading it would be refused as no data
    with pytest.raises(ConfigError, match=message):
        TSDiffEstimator("h", 8, sampling=Sampling(**sampling), **settings).train(unread)
    grid = TuningGrid(methods=("map",))
    with pytest.raises(ConfigError, match="this model is no flow map"):
        TSDiffEstimator("h", 8).train(unread, sines(1), tuning=grid)


def test_an_unknown_frequency_is_refused_and_old_spellings_are_understood():
    with pytest.raises(DataError, match="unknown frequency 'fortnight'"):
        TSDiffEstimator("fortnight", 4)
    assert TSDiffEstimator("H", 24).config.freq == "h"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": pd.Period("2024-01-01", freq="D")}, "'s0' has frequency D"),
        ({"target": np.ones((2, 90))}, r"'s0' has a target of shape \(2, 90\); .*trained with channels=2"),
        ({"target": np.full(90, np.nan)}, "no series holds an observed value"),
    ],
)
def test_data_that_cannot_be_used_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        train(data=[{**sines(1)[0], **change}])


@pytest.mark.parametrize(
    ("freq", "horizon"), [("h", 24), ("D", 14), ("W", 8), ("M", 12), ("Q", 4), ("Y", 3), ("B", 5), ("15min", 10)]
)
def test_default_windows_are_whole_patches_at_every_frequency(freq, horizon):
    config = TSDiffEstimator(freq, horizon).config
    assert config.length % config.backbone.patch == 0
    assert config.context_length >= horizon
