"""A weighing of simple forecasts of a model's own: learnt from its series, kept where it helps, saved with it."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from shared.errors import CheckpointError, DiffusionError
from tests.tsdiff.model.test_context import config
from tests.tsdiff.pretraining.test_anchored import NEVER, source
from tsdiff import TSDiffPredictor
from tsdiff.data import split_windows
from tsdiff.pretraining import weighing
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.pretraining.corpus import Corpus, CorpusGroup
from tsdiff.pretraining.finetuning import _WEIGHINGS, WEIGHED, FineTuning, _Contest, fine_tune, tuning_source
from tsdiff.pretraining.weighing import collected, forecast_windows, tuned, weighing_loss
from tsdiff.windows.anchors import remembered
from tsdiff.windows.weighing import TunedWeighing, Weighing, bundled_weighing


def foolish() -> Weighing:
    """A network that is sure of the wrong thing: wide errors, and the forecasts in an order that nothing tells."""
    network = Weighing().requires_grad_(False)
    network.error.bias.copy_(torch.tensor([4.0, 3.0]))
    network.logit.weight.copy_(torch.linspace(-5, 5, network.logit.in_features))
    return network


@pytest.fixture(scope="module")
def daily() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").with_sampling(steps=1).adapted("D", 7)


def week(n: int = 100):
    values = 20 + 3 * np.sin(2 * np.pi * np.arange(n) / 7) + np.random.default_rng(0).normal(size=n)
    return {"item_id": "a", "start": pd.Period("2024-01-01", freq="D"), "target": values}


def test_it_learns_the_series_and_leaves_what_it_began_with():
    fresh, first = collected(islice(forecast_windows(source(), 5), 100)), bundled_weighing()
    before = copy.deepcopy(first.state_dict())
    state = torch.get_rng_state()
    made, again = (tuned(first, source(), 0, 20) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        assert weighing_loss(TunedWeighing.of(first, made.trained()), fresh) < 0.98 * weighing_loss(first, fresh)
        assert weighing_loss(made, fresh) < weighing_loss(first, fresh)
        assert weighing_loss(made.trained(), fresh) < 0.98 * weighing_loss(first, fresh)
    for name, value in made.state_dict().items():
        torch.testing.assert_close(value, again.state_dict()[name], rtol=0, atol=0)
    for network in (first, made.before):
        for name, value in before.items():
            torch.testing.assert_close(network.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_two_that_were_asked_say_what_draws_of_both_would_say(share: float):
    """Mean and deviation of draws of which the trained network gives a share."""
    told = {name: part[:8] for name, part in collected(islice(forecast_windows(source(), 5), 8)).items()}
    del told["actual"], told["naive"]
    with torch.no_grad():
        pairs = [one(**told) for one in (bundled_weighing(), foolish())]
        mean, deviation = TunedWeighing.of(bundled_weighing(), foolish(), share)(**told)
        counts = (round((1 - share) * 40_000), round(share * 40_000))
        draws = [torch.distributions.Normal(*pair).sample((n,)).double() for pair, n in zip(pairs, counts, strict=True)]
        together = torch.cat(draws)
    torch.testing.assert_close(mean.double(), together.mean(0), rtol=0, atol=0.05 * float(deviation.max()))
    torch.testing.assert_close(deviation.double(), together.std(0), rtol=0.02, atol=0)


def test_what_few_windows_taught_counts_little(daily: TSDiffPredictor):
    """Of a few dozen windows it learns what does not hold."""
    shares = {}
    for values in (70, 1400, 7 * 10_000):
        entry = {**week(values), "target": np.where(np.arange(values) % 2, np.nan, week(values)["target"])}
        anchored = tuning_source(daily.model.config, [entry], FineTuning(), None)
        shares[values] = float(tuned(bundled_weighing(), anchored, 0, 1).share)
    assert shares[70] == pytest.approx(0.5 * 25 / (25 + 200**2))  # five windows: every second value is missing
    assert shares[1400] == pytest.approx(0.1)
    assert 0.49 < shares[7 * 10_000] < 0.5


def test_models_that_were_fine_tuned_before_there_were_shares_give_half(daily: TSDiffPredictor, tmp_path: Path):
    predictor = copy.deepcopy(daily)
    predictor.model.weighing = TunedWeighing.of(bundled_weighing(), foolish(), 0.3)
    predictor.save_pretrained(tmp_path)
    assert float(TSDiffPredictor.from_pretrained(tmp_path).model.weighing.share) == pytest.approx(0.3)
    (file,) = tmp_path.rglob("*.safetensors")
    weights = load_file(file)
    with safe_open(file, "pt") as opened:
        about = opened.metadata()
    del weights["weighing.share"]
    save_file(weights, file, about)
    assert float(TSDiffPredictor.from_pretrained(tmp_path).model.weighing.share) == 0.5


def test_what_was_tuned_before_is_tuned_on_beside_what_it_began_from():
    """Not beside what it has learnt since, which would be kept in part of whatever came then."""
    once = tuned(bundled_weighing(), source(), 0, 2)
    twice = tuned(once, source(), 1, 2)
    for name, value in bundled_weighing().state_dict().items():
        torch.testing.assert_close(twice.before.state_dict()[name], value, rtol=0, atol=0)
    alone = tuned(once.trained(), source(), 1, 2).trained()
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(twice.trained().state_dict()[name], value, rtol=0, atol=0)


def test_an_adapted_model_keeps_its_weighing_to_itself(tmp_path: Path):
    whole = TSDiffPredictor.from_pretrained("default").model
    hours, days = whole.adapted("h", 24), whole.adapted("D", 7)
    hours.weighing = foolish()
    assert [name for one in (whole, days) for name in one.state_dict() if name.startswith("weighing")] == []
    whole.save_pretrained(tmp_path)
    assert TSDiffPredictor.from_pretrained(tmp_path).model.weighing is None


def test_an_adapted_model_keeps_its_statistics_to_itself():
    whole = TSDiffPredictor.from_pretrained("default")
    hours, days = whole.adapted("h", 24), whole.adapted("D", 7)
    before = {name: value.clone() for name, value in whole.model.named_buffers()}
    hours.model.statistics = replace(hours.model.statistics, center=3.0, spread=5.0)
    assert hours.model.statistics.spread == 5
    for one in (whole.model, days.model):
        for name, value in one.named_buffers():
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert hours.model.denoiser is whole.model.denoiser


def test_a_gap_as_long_as_what_is_remembered_is_passed_over():
    """Forecasts of which nothing of late is known teach nothing."""
    far = remembered((24, 168))
    values = np.random.default_rng(0).normal(size=far + 800)
    values[300 : 300 + far + 200] = np.nan
    group = CorpusGroup.of_entries("days", 1.0, [{**week(), "target": values}], config().length)
    rows = collected(islice(forecast_windows(AnchoredSource(Corpus([group]), config(), 8, chances=NEVER), 0), 40))
    assert all(part.isfinite().all() for name, part in rows.items() if name != "actual")


def test_what_is_trained_around_new_anchors_is_used_with_them(daily: TSDiffPredictor, monkeypatch: pytest.MonkeyPatch):
    seen = []
    usual = AnchoredSource.batch

    def batch(self, rng):
        seen.append(self.weighing)
        return usual(self, rng)

    monkeypatch.setattr(AnchoredSource, "batch", batch)
    made = fine_tune(daily, [week()], FineTuning(steps=2, held_back=0))
    assert made.change == WEIGHED
    assert seen
    assert all(one is made.predictor.model.weighing for one in seen)
    seen.clear()
    fine_tune(made.predictor, [week(20)], FineTuning(steps=2))  # too short to hold back: the weighing stays its own
    assert len(seen) == 2
    assert all(one is not None for one in seen)


@pytest.mark.parametrize("held_back", [0, 3])
def test_the_last_windows_train_the_weighing_too(daily: TSDiffPredictor, held_back: int):
    """They are most like what comes."""
    predictor, first = copy.deepcopy(daily), foolish()
    predictor.model.weighing = first
    entries, settings = [week(60)], FineTuning(steps=1, held_back=held_back, checks=1)
    made = fine_tune(predictor, entries, settings)
    assert made.change.startswith(WEIGHED)
    assert predictor.model.weighing is first
    anew = tuned(first, tuning_source(daily.model.config, entries, settings, None), settings.seed, _WEIGHINGS)
    for name, value in anew.state_dict().items():
        torch.testing.assert_close(made.predictor.model.weighing.state_dict()[name], value, rtol=0, atol=0)


def test_trained_weights_are_compared_with_the_first_by_the_new_weighing(daily: TSDiffPredictor):
    """By the foolish one that it came with, any weights around other anchors would seem a gain."""
    predictor = copy.deepcopy(daily)
    predictor.model.weighing = foolish()
    contest = _Contest(predictor, split_windows([{**week(), "item_id": str(n)} for n in range(3)], 7, 2).test)
    came = contest.first
    assert contest.weigh(bundled_weighing()) is predictor.model.weighing is bundled_weighing()
    assert contest.first is contest.best is contest.trials[-1]
    assert (contest.first.steps, contest.first.change) == (0, WEIGHED)
    assert contest.first.crps < 0.9 * came.crps
    contest.look(predictor.model.denoiser, 5)
    contest.settle()
    assert contest.best is contest.first


def test_a_seed_may_be_below_0(daily: TSDiffPredictor):
    made = [fine_tune(daily, [week(60)], FineTuning(steps=1, held_back=2, checks=1, seed=seed)) for seed in (-1, -2)]
    assert made[0].trials[0] == made[1].trials[0]
    assert made[0].trials[1].crps != made[1].trials[1].crps


@pytest.mark.parametrize(
    ("values", "match"), [(np.arange(5.0), "has 5 values.*model as it is"), (np.r_[1.0, [np.nan] * 60], "hold no")]
)
def test_series_that_tell_nothing_are_refused(
    daily: TSDiffPredictor, values: np.ndarray, match: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(weighing, "_MOST_EMPTY", 100)
    with pytest.raises(DiffusionError, match=match):
        fine_tune(daily, [{**week(), "target": values}], FineTuning(steps=2, held_back=0))


@pytest.mark.parametrize("weighing", [foolish(), TunedWeighing.of(bundled_weighing(), foolish())])
def test_it_is_saved_with_the_model(daily: TSDiffPredictor, tmp_path: Path, weighing: Weighing):
    predictor = copy.deepcopy(daily)
    (usual,) = predictor.predict([week()], 20)
    predictor.model.weighing = weighing
    (one,) = predictor.predict([week()], 20)
    assert not np.allclose(one.samples, usual.samples)
    predictor.serialize(tmp_path / "gluonts")
    predictor.save_pretrained(tmp_path / "folder")
    backs = (
        TSDiffPredictor.deserialize(tmp_path / "gluonts"),
        TSDiffPredictor.from_pretrained(tmp_path / "folder"),
    )
    for back in backs:
        (two,) = back.predict([week()], 20)
        np.testing.assert_array_equal(one.samples, two.samples)
    assert daily.model.weighing is None  # nothing is shared


def test_a_model_that_was_saved_before_so_much_was_told_is_read(daily: TSDiffPredictor, tmp_path: Path):
    predictor = copy.deepcopy(daily)
    predictor.model.weighing = foolish()
    later = ("ago", "tilted", "late", "newer", "newest")
    for layer in later:
        torch.nn.init.zeros_(predictor.model.weighing.get_submodule(layer).weight)
    predictor.model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    for layer in later:
        del weights[f"weighing.{layer}.weight"]
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    save_file(weights, tmp_path / "model.safetensors", metadata)
    back = type(predictor.model).from_pretrained(tmp_path)
    assert back.weighing is not None
    for name, value in predictor.model.weighing.state_dict().items():
        torch.testing.assert_close(back.weighing.state_dict()[name], value, rtol=0, atol=0)


def test_a_model_without_anchors_has_none(trained, tmp_path: Path):
    trained.model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    with_more = weights | {f"weighing.{name}": value for name, value in foolish().state_dict().items()}
    save_file(with_more, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="weighing"):
        type(trained.model).from_pretrained(tmp_path)
