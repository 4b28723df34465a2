"""Scores that one series rules: the note on one is read again, and the score without it is the score of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import QuantileForecast

from benchmarks.losses import all_without_ruling, beside, ruled, without_ruling, without_worst
from tsdiff.evaluation.metrics import CRPS_LEVELS, window_losses

ROOT = Path(__file__).resolve().parents[2]


def quantiles(center: float, spread: float) -> QuantileForecast:
    """A forecast of two steps."""
    arrays = np.array([[center + spread * (level - 0.5)] * 2 for level in CRPS_LEVELS])
    return QuantileForecast(arrays, pd.Period("2024-01-01", "h"), [f"{level:g}" for level in CRPS_LEVELS])


def test_a_score_without_the_series_that_rules_it_is_that_of_the_others() -> None:
    forecasts, names = [quantiles(3, 1), quantiles(5, 2), quantiles(4, 1e6), quantiles(4, 1e6)], ["a", "b", "c", "c"]
    actual = [np.array([3.0, np.nan]), np.array([4.0, 5.0]), np.array([4.0, 4.0]), np.array([4.0, 4.0])]
    losses, sizes = window_losses(forecasts, actual)
    assert sizes.tolist() == [3, 9, 8, 8]
    level = np.array(CRPS_LEVELS)
    error = 3 - (3 + level - 0.5)
    assert losses[0] == pytest.approx(2 * np.mean(np.maximum(level * error, (level - 1) * error)))
    worst, share, rest = without_worst(names, losses, sizes)
    assert (worst, rest) == ("c", pytest.approx(losses[:2].sum() / 12))
    assert share == pytest.approx(losses[2:].sum() / losses.sum())


def test_the_note_on_it_is_read_again() -> None:
    row = {"note": f"season 24, last 500 steps; {ruled('T 129, old', 0.654, 0.06684)}"}
    assert row["note"].endswith("; 65% of the loss is of the series T 129, old, 0.0668 without it")
    assert without_ruling(row) == 0.0668
    assert without_ruling({"note": "season 24"}) is None
    assert beside("0.1937", 0.0668) == "0.1937; 0.0668 without one series"
    assert beside("0.1937", None) == "0.1937"


def test_the_tables_show_it() -> None:
    results = ROOT / "benchmarks/results"
    found = all_without_ruling(results / "baselines.csv")
    assert ("m4_hourly", "auto_ets") in found
    for name in ("baselines.md", "zero_shot.md", "forecast_sets.md"):
        (line,) = (
            line
            for line in (results / name).read_text().splitlines()
            if line.startswith("| m4_hourly | ") and "without one series" in line
        )
        assert f"{found['m4_hourly', 'auto_ets']:.4f} without one series" in line
