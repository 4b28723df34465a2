"""Tables that grow row by row, and the reports over them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer

from benchmarks.baselines import Budget, jobs
from benchmarks.baselines import report as baselines_report
from benchmarks.missing import Settings
from benchmarks.missing import report as missing_report
from benchmarks.rows import Rows


def test_a_row_replaces_the_one_with_its_keys_and_survives_the_file(tmp_path: Path):
    rows = Rows(tmp_path / "new" / "t.csv", ("set", "seed"))
    assert rows.read() == []
    rows.add({"set": "a", "seed": 0, "crps": 0.5, "note": ""})
    rows.add({"set": "a", "seed": 1, "crps": 0.25, "note": "x, y"})
    rows.add({"set": "a", "seed": 0, "crps": 0.125, "note": ""})
    assert rows.read() == [
        {"set": "a", "seed": 1, "crps": 0.25, "note": "x, y"},
        {"set": "a", "seed": 0, "crps": 0.125, "note": ""},
    ]
    assert rows.has({"set": "a", "seed": 0})
    assert not rows.has({"set": "b", "seed": 0})


def test_writers_at_the_same_time_lose_no_row(tmp_path: Path):
    rows = Rows(tmp_path / "t.csv", ("seed",))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: rows.add({"seed": seed, "crps": 0.1}), range(24)))
    assert sorted(row["seed"] for row in rows.read()) == list(range(24))


def test_what_has_no_chance_in_it_is_measured_once():
    found = jobs(["m4_hourly"], ["seasonal_naive", "auto_ets", "deepar"], [3, 4])
    assert [(model, seed) for _, model, seed in found] == [
        ("seasonal_naive", 3), ("auto_ets", 3), ("deepar", 3), ("deepar", 4),
    ]  # fmt: skip
    with pytest.raises(typer.BadParameter, match="'m5'"):
        jobs(["m5"], ["deepar"], [0])
    with pytest.raises(typer.BadParameter, match="'deep'"):
        jobs(["m4_hourly"], ["deep"], [0])


def test_the_report_of_baselines_gives_medians_and_marks_the_best():
    scores = {"nd": 0.1, "nrmse": 0.1, "mase": 1.0, "coverage_90": 0.9, "cpu_minutes": 1.0, "note": ""}
    rows = [
        {"set": "m4_hourly", "model": "deepar", "seed": seed, "crps": crps, **scores}
        for seed, crps in enumerate((0.03, 0.05, 0.04))
    ]
    rows.append({"set": "m4_hourly", "model": "seasonal_naive", "seed": 0, "crps": 0.05, **scores})
    text = baselines_report(rows, [], Budget(4.0, 500, 100))
    assert "| m4_hourly | 0.0500 | **0.0400** |" in text
    assert text.count("| m4_hourly | deepar |") == 3


def test_the_report_of_missing_values_orders_scenarios_and_leaves_gaps():
    rows = [
        {"set": "pjm_hourly", "model": model, "scenario": where, "rate": rate, "seed": 0, "crps": crps, "windows": 35}
        for model, where, rate, crps in (
            ("TSDiff", "BM-E", 0.5, 0.06), ("TSDiff", "RM", 0.5, 0.05), ("TSDiff", "RM", 0.1, 0.04),
            ("TSDiff-Cond-RM", "RM", 0.1, 0.03),
        )
    ]  # fmt: skip
    lines = missing_report(rows, Settings(10, 4, "mean", 0.5, 2, 20, 0)).splitlines()
    assert "35 of 70 test windows." in lines
    head = lines.index("| scenario | missing | TSDiff | TSDiff-Cond-RM |")
    assert lines[head + 2 : head + 5] == [
        "| RM | 10% | 0.0400 | 0.0300 |", "| RM | 50% | 0.0500 | – |", "| BM-E | 50% | 0.0600 | – |",
    ]  # fmt: skip
