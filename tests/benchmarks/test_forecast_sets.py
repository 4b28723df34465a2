"""The committed runs of the nine sets are those of today's presets; else the table would lose its rows unseen."""

from __future__ import annotations

from pathlib import Path

from benchmarks.forecast_sets import RESULTS, collect, settings_of
from benchmarks.sets import DEFAULT_SETS
from tsdiff.experiment.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]


def test_every_set_has_a_run_with_its_preset():
    runs = collect(ROOT / RESULTS / "forecast_sets")
    assert set(runs) == set(DEFAULT_SETS)


def test_settings_that_do_nothing_are_left_out():
    settings = settings_of(PRESETS["exchange_rate_nips"])
    assert "members" not in settings
    assert "seed" not in settings["training"]
    assert settings_of(PRESETS["nyc_departures_hourly"])["members"] == 0
