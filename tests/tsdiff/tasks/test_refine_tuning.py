"""The representative noise level, and the choice of settings on validation windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from shared.errors import ConfigError, DataError
from shared.random import make_generator, randn
from tests.tsdiff.conftest import HORIZON, sines, windows_of
from tsdiff.evaluation.metrics import evaluate
from tsdiff.tasks.refinement import RefineConfig, Refiner, candidates, choose_refinement, representative_log_snr


def test_the_representative_level_has_the_loss_nearest_to_the_mean(trained):
    model, entries = trained.model, sines()
    conditions = windows_of(entries, model.config, model.statistics, len(entries[0]["target"]) - model.config.length)
    noise = randn(conditions.values.shape, make_generator(0, "representative"))
    losses = []
    for step in range(len(model.sde)):
        t = model.sde.time_of_step(torch.full((3,), step))
        x = model.sde.perturb(conditions.values, t, noise)
        with torch.no_grad():
            predicted = model.predict_noise(x, torch.full((3,), step), **conditions.inputs)
        losses.append(float((noise - predicted).square().mean()))
    expected = int(np.abs(np.array(losses) - np.mean(losses)).argmin())
    found = representative_log_snr(model, iter(entries))
    assert found == pytest.approx(float(model.sde.log_snr(model.sde.time_of_step(torch.tensor(expected)))), abs=1e-6)
    with pytest.raises(DataError, match="no series"):
        representative_log_snr(model, [])
    ended = [{**e, "target": np.append(e["target"], np.full(model.config.length, np.nan))} for e in entries]
    with pytest.raises(DataError, match="no last window holds an observed value"):
        representative_log_snr(model, ended)


def test_the_choice_changes_the_base_least_among_those_of_nearly_the_lowest_crps(trained):
    entries = sines()
    pairs = [
        ({**e, "target": e["target"][:-HORIZON]}, {**e, "start": e["start"] + 192, "target": e["target"][-HORIZON:]})
        for e in entries
    ]
    base = list(SeasonalNaivePredictor(HORIZON, 5).predict([past for past, _ in pairs]))
    small = RefineConfig(num_samples=5, steps=6)
    stiff = replace(small, prior="mse", prior_scale=1e4)
    for tolerance, expected in ((0.0, small), (0.05, small), (100.0, stiff)):
        best, scores = choose_refinement(trained.model, iter(base), iter(pairs), [stiff, small], tolerance)
        assert best == expected
        assert list(scores) == [stiff, small]
    again = Refiner(trained.model, stiff).refine(base, [past for past, _ in pairs])
    assert scores[stiff] == pytest.approx(evaluate(again, pairs).crps)
    assert scores[stiff] == pytest.approx(evaluate(base, pairs).crps, rel=0.05)
    counted = trained.with_sampling(counts=True).refine
    whole = [({**past, "target": past["target"].round()}, actual) for past, actual in pairs]
    _, scores = choose_refinement(trained.model, base, whole, [small], refine=counted)
    again = list(counted(base, [past for past, _ in whole], small))
    assert all((one.samples == one.samples.round()).all() for one in again)
    assert scores[small] == evaluate(again, whole).crps
    for configs, tolerance in (([], 0.0), ([small], -1.0)):
        with pytest.raises(ConfigError, match="tolerance"):
            choose_refinement(trained.model, base, pairs, configs, tolerance)
    zeros = [(past, {**actual, "target": np.zeros(HORIZON)}) for past, actual in pairs]
    with pytest.raises(DataError, match="every actual value of the validation windows is 0"):
        choose_refinement(trained.model, base, zeros, [small])


def test_candidates_vary_level_strength_and_energy_alone():
    base = RefineConfig("langevin", steps=3)
    found = candidates(base, (-1.0, 0.0), (0.1, 0.2, 0.3))
    assert len(set(found)) == 12
    assert {(c.log_snrs, c.prior_scale, c.energy) for c in found} == {
        ((l,), s, e) for l in (-1.0, 0.0) for s in (0.1, 0.2, 0.3) for e in ("score", "denoising")
    }
    same = {"log_snrs": base.log_snrs, "prior_scale": base.prior_scale, "energy": None}
    assert all(replace(c, **same) == base for c in found)
    assert {c.energy for c in candidates(RefineConfig("hmc"))} == {"denoising"}
