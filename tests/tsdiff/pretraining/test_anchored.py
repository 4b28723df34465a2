"""Training windows around their anchor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from recipes.default_forecaster.default import flow_map_of, new_model
from shared.errors import ConfigError
from shared.flow_maps import MapLoss
from shared.training.config import TrainingConfig
from tests.tsdiff.model.test_context import config, lively
from tsdiff import TSDiffPredictor
from tsdiff.model.backbones import S4DConfig
from tsdiff.pretraining.anchored import CHANGES, AnchoredSource, Chances, changed
from tsdiff.pretraining.corpus import Corpus, CorpusGroup
from tsdiff.pretraining.finetuning import FineTuning, _steps_in, fine_tune
from tsdiff.pretraining.training import LOSS, MAP, train
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.simple import HEARD

NEVER = Chances(synthetic=0.0, gap=0.0, nothing=0.0, short=0.0, changes={})


def entries(count: int = 6, length: int = 300):
    rng = np.random.default_rng(0)
    week = 5 * np.sin(2 * np.pi * np.arange(length) / 7)
    return [
        {
            "start": pd.Period("2023-01-02", "D"),
            "target": 50 + week + 2 * rng.exponential(size=length),
            "item_id": str(i),
        }
        for i in range(count)
    ]


def source(chances: Chances = NEVER, **settings) -> AnchoredSource:
    group = CorpusGroup.of_entries("days", 1.0, entries(), config().length)
    return AnchoredSource(Corpus([group]), config(), settings.pop("batch_size", 8), chances=chances, **settings)


def test_a_batch_follows_from_the_generator_alone():
    made = [source(Chances()).batch(np.random.default_rng(3)) for _ in range(2)]
    torch.testing.assert_close(made[0].x0, made[1].x0)
    for name, part in made[0].condition.items():
        torch.testing.assert_close(part, made[1].condition[name])


def test_a_forecast_is_trained_on_as_it_is_made_gaps_of_its_history_being_no_part_of_it():
    series = entries()
    for entry in series:
        entry["target"][np.arange(300) % 20 < 3] = np.nan
    group = CorpusGroup.of_entries("days", 1.0, series, config().length)
    made = AnchoredSource(Corpus([group]), config(), 16, chances=NEVER, draws=1)
    known = made.batch(np.random.default_rng(0)).condition["known"].numpy()
    history = known[:, : -config().prediction_length - 3]
    assert history[..., -2].sum() > 50  # steps without a value
    assert not history[..., 3 : 3 + HEARD].any()  # what simple forecasts say of them


def test_a_short_time_is_not_spent_on_measuring_steps():
    made, drawn = source(batch_size=2), []
    draw = made.batch
    made.batch = lambda rng: drawn.append(1) or draw(rng)  # type: ignore[method-assign]
    assert _steps_in(new_model(config()), made, FineTuning(), 0.01) == 1
    assert len(drawn) == 3


@pytest.mark.parametrize("length", [12, 20, 40])
def test_gaps_lie_where_short_series_are(length):
    group = CorpusGroup.of_entries("days", 1.0, entries(length=length), config().length)
    chances = replace(NEVER, gap=1.0)
    made = AnchoredSource(Corpus([group]), config(), 4, chances=chances)
    for seed in range(5):
        assert made.batch(np.random.default_rng(seed)).mask.sum() > 0


def test_states_of_one_window_share_its_reading():
    batch = source(draws=3, batch_size=4).batch(np.random.default_rng(0))
    assert batch.x0.shape == (12, 64, 1)
    assert batch.condition["known"].shape[0] == 4
    assert batch.condition["of_row"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert len(batch.ids) == 12


@pytest.mark.parametrize("kind", [{}, {"gap": 1.0}, {"nothing": 1.0}])
def test_only_what_is_hidden_is_learnt(kind):
    batch = source(replace(NEVER, **kind), draws=1).batch(np.random.default_rng(1))
    assert batch.mask is not None
    wanted, known = batch.condition["known"][..., -2:-1], batch.condition["known"][..., -1:]
    assert (batch.mask <= wanted).all()
    assert not (known * wanted).any()
    assert not (batch.x0 * (1 - batch.mask)).any()
    assert (batch.mask.sum(1) > 0).all()
    if "gap" in kind:
        last = torch.stack([row.nonzero()[-1, 0] for row in known])
        first = torch.stack([row.nonzero()[0, 0] for row in batch.mask])
        assert (last > first).all()
    if "nothing" in kind:
        assert not known.any()


def test_residuals_are_of_the_size_of_their_scale():
    batch = source(draws=1, batch_size=64).batch(np.random.default_rng(2))
    assert batch.mask is not None
    size = batch.x0[batch.mask > 0].std()
    assert 0.4 < size < 1.4


@pytest.mark.parametrize("name", ["turned", "bent", "stepped", "spiked", "rough", "mixed", "swelling"])
def test_changes_leave_what_is_missing_missing(name):
    rng = np.random.default_rng(4)
    values = rng.normal(size=100)
    values[10:20] = np.nan
    made = changed(rng, values, 80, rng.normal(size=60), {name: 1.0})
    np.testing.assert_array_equal(np.isnan(made), np.isnan(values))
    assert not np.allclose(made, values, equal_nan=True)


def test_a_constant_is_left_alone():
    values = np.full(50, 3.0)
    np.testing.assert_array_equal(changed(np.random.default_rng(0), values, 40, np.arange(9.0), CHANGES), values)


def test_another_scaling_is_refused():
    with pytest.raises(ConfigError, match="anchor"):
        AnchoredSource(
            Corpus([]), replace(config(), conditional=False, scaling="standard", backbone=S4DConfig(patch=4))
        )


def test_it_learns_and_is_fine_tuned():
    model = new_model(config())
    training = TrainingConfig(max_steps=24, learning_rate=3e-3, ema_decay=0.9)
    batch = source(batch_size=32).batch(np.random.default_rng(9))

    def loss(of) -> float:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            return float(
                LOSS(of.denoiser, batch.x0, mask=batch.mask, condition=batch.condition, generator=generator).mean()
            )

    before = loss(model)
    trained = train(model, source(), training, progress=False)
    assert loss(trained) < before
    predictor = TSDiffPredictor(trained, Sampling(method="ode2", steps=3)).adapted("D", 8)
    made = fine_tune(predictor, entries(), FineTuning(steps=2, checks=2, batch_size=8))
    assert list(dict.fromkeys(trial.steps for trial in made.trials[:-1])) == [0, 1, 2]
    assert all("kernel" not in trial.change for trial in made.trials)


@pytest.mark.slow
def test_a_flow_map_goes_on_from_a_model_and_stays_one_when_it_is_fine_tuned():
    model = lively(new_model(config()))
    made, batch = flow_map_of(model), source(batch_size=16).batch(np.random.default_rng(9))
    t = torch.linspace(0.1, 0.9, len(batch.x0), dtype=torch.float64)
    told = {"x": batch.x0, "t": t, **batch.condition}
    with torch.no_grad():  # it begins as the model, wherever a step leads
        torch.testing.assert_close(made.denoiser(**told, span=t / 2), model.denoiser(**told))

    def loss(chances: Chances = NEVER, diagonal: float = 1e-6) -> torch.Tensor:
        found = source(chances, batch_size=16).batch(np.random.default_rng(9))
        objective, generator = MapLoss(LOSS, replace(MAP, diagonal=diagonal)), torch.Generator().manual_seed(0)
        return objective(made.denoiser, found.x0, mask=found.mask, condition=found.condition, generator=generator)

    before = float(loss().mean()), float(loss(diagonal=1.0).mean())
    train(made, source(), TrainingConfig(max_steps=16, learning_rate=3e-3, ema_decay=0.9), progress=False)
    jumps, whole = float(loss().mean()), float(loss(diagonal=1.0).mean())
    assert jumps < 0.95 * before[0]
    assert whole < 0.95 * before[1]  # residuals are noise around a good anchor, whose variance is not for any network
    assert torch.isfinite(loss(replace(NEVER, nothing=1.0))).all()  # one state a window: each part is a batch
    predictor = TSDiffPredictor(made, Sampling(method="map", steps=2)).adapted("D", 8)
    tuned = fine_tune(predictor, entries(), FineTuning(steps=2, held_back=4, checks=1, batch_size=8)).predictor
    assert tuned.model.denoiser.is_map
    assert np.isfinite(next(iter(tuned.predict(entries(1), 5))).samples).all()
