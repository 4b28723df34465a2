"""Distances of few steps from many, and all measures together."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from shared.diagnostics import Diagnosis, DiagnosisSettings, SamplingDistance, diagnose, sampling_errors
from shared.diagnostics.files import leave_diagnosis
from shared.diagnostics.report import Measure
from shared.errors import ConfigError, SamplingError
from shared.random import make_generator, randn
from shared.sde import SBVESDE, VPSDE
from tests.shared.diagnostics.fields import turned
from tests.shared.gaussian import GaussianData
from tests.shared.mixture import F64, SIZE, Mixture

MIXTURE = Mixture()


def start(sde: VPSDE, count: int = 24) -> Tensor:
    return sde.prior_sample((count, 4), make_generator("start"), dtype=F64)


@pytest.mark.slow
def test_distances_fall_with_the_order_of_the_method() -> None:
    sde = VPSDE()
    data = GaussianData(sde, 0.3, 0.5)
    for method, order in (("ode1", 1), ("ode2", 2)):
        found = sampling_errors(data.denoiser, sde, start(sde), (20, 40), method=method, fine=1000)
        assert [one.nfe for one in found] == [20, 40]
        assert math.log2(found[0].distance / found[1].distance) == pytest.approx(order, abs=0.35)
        assert all(one.distance <= one.largest for one in found)
    exact = data.flow(start(sde), sde.T, sde.t_end)
    size = float(exact.std())
    (found_once,) = sampling_errors(data.denoiser, sde, start(sde), (8,), fine=1000)
    assert 0 < found_once.distance < 1 / size


@pytest.mark.slow
def test_a_stochastic_method_is_compared_along_one_path() -> None:
    sde = VPSDE()
    found = sampling_errors(GaussianData(sde, 0.3, 0.5).denoiser, sde, start(sde)[:8], (4, 64), method="sde1", fine=256)
    assert found[1].distance < 0.25 * found[0].distance  # with fresh noise both would be about √2


def test_methods_that_do_not_compare_and_samples_that_blow_up_are_refused() -> None:
    sde = VPSDE()
    with pytest.raises(ConfigError, match="take an exponential integrator"):
        sampling_errors(lambda x, t: x, sde, start(sde), (2,), method="rk45")
    with pytest.raises(SamplingError, match="not finite"):
        sampling_errors(lambda x, t: x * math.inf, sde, start(sde), (2,), fine=4)


def test_the_report_of_an_exact_score_and_of_one_that_turns(tmp_path: Path) -> None:
    sde, x0 = VPSDE(), MIXTURE.draw(8)
    settings = DiagnosisSettings(noise=(1.0, 0.25, 1e-6), steps=(2, 8), fine=40)
    exact = diagnose(MIXTURE.denoiser(sde), sde, x0, settings=settings)
    odd = diagnose(turned(MIXTURE.denoiser(sde), sde, 2.0), sde, x0, settings=settings)
    assert [level.noise for level in exact.levels] == [1.0, 0.25]
    assert "1e-06" in exact.notes[0]
    for level, other in zip(exact.levels, odd.levels, strict=True):
        assert level.asymmetry < 1e-20
        assert level.fokker_planck < 1e-4
        assert level.loop < 1e-3
        assert min(other.asymmetry, other.data_asymmetry, other.loop, other.fokker_planck) > 1e-4
        assert 0 < level.flipd <= SIZE
    assert exact.sampling[1].distance < exact.sampling[0].distance
    leave_diagnosis(exact, tmp_path, "exact")
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["dimensions"] == SIZE
    assert written["lidl"] is None
    assert "FLIPD" in (tmp_path / "diagnosis.md").read_text()
    assert imread(tmp_path / "diagnosis.png").std() > 0.01


def test_the_slow_measures_are_taken_where_they_are_asked_for() -> None:
    sde = VPSDE()
    inside = torch.zeros(6, 6, dtype=F64)
    inside[:2, :2] = torch.eye(2)
    data = GaussianData(sde, 0.0, inside)
    x0 = torch.cat([randn((4, 2), make_generator("x"), dtype=F64), torch.zeros(4, 4, dtype=F64)], 1)
    settings = DiagnosisSettings(("lidl", "spectrum", "flipd"), noise=(0.1, 0.05))
    found = diagnose(data.denoiser, sde, x0, settings=settings)
    assert found.spectrum == 2
    assert found.lidl == pytest.approx(2, abs=0.1)
    assert found.levels[-1].flipd == pytest.approx(2, abs=0.1)
    assert math.isnan(found.levels[0].asymmetry)
    assert found.gap > 0.4
    assert [line.split(":")[0] for line in found.whole()] == ["LIDL", "spectrum"]


def test_no_measurement_begins_after_the_time_is_up() -> None:
    found = diagnose(MIXTURE.denoiser(VPSDE()), VPSDE(), MIXTURE.draw(4), settings=DiagnosisSettings(seconds=1e-9))
    assert all(math.isnan(level.asymmetry) and math.isnan(level.flipd) for level in found.levels)
    assert found.sampling == ()
    assert "asymmetry (7)" in found.notes[-1]
    assert "allow more seconds" in found.notes[-1]


@pytest.mark.parametrize("measure", ["asymmetry", "flipd", "sampling"])
def test_one_measure_alone_is_drawn(measure: Measure, tmp_path: Path) -> None:
    settings = DiagnosisSettings((measure,), noise=(1.0, 0.5), steps=(1, 2), fine=4)
    found = diagnose(MIXTURE.denoiser(VPSDE()), VPSDE(), MIXTURE.draw(4), settings=settings)
    leave_diagnosis(found, tmp_path, "$a_{$")
    assert imread(tmp_path / "diagnosis.png").shape[1] > 1000


def test_samples_that_few_steps_give_as_well_are_drawn(tmp_path: Path) -> None:
    same = tuple(SamplingDistance(steps, steps, 0.0, 0.0) for steps in (1, 2))
    leave_diagnosis(Diagnosis((), same, 4, 4), tmp_path, "a model of one call")
    assert (tmp_path / "diagnosis.png").is_file()


def test_bad_settings_and_data() -> None:
    sde, x0 = VPSDE(), MIXTURE.draw(3)
    with pytest.raises(ConfigError, match="reaches from"):
        diagnose(MIXTURE.denoiser(sde), sde, x0, settings=DiagnosisSettings(noise=(1e9,)))
    with pytest.raises(ConfigError, match="no scale"):
        diagnose(MIXTURE.denoiser(sde), sde, torch.zeros_like(x0))
    with pytest.raises(ConfigError, match="data x0 of the type ndarray: need a tensor"):
        diagnose(MIXTURE.denoiser(sde), sde, x0.numpy())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="take flipd"):
        diagnose(lambda x, t: x0, SBVESDE(), x0, x0 + 1, DiagnosisSettings(("lidl",)))
    with pytest.raises(ConfigError, match="measures"):
        DiagnosisSettings(("guess",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="probes"):
        DiagnosisSettings(probes=1)
