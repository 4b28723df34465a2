"""Committed tables that quote other tables are of today's rows: baselines that are measured anew reach all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import benchmarks.auto
import benchmarks.forecast_sets

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def after_the_header(page: Path) -> list[str]:
    """All but the command and the machine that wrote it."""
    return [line for line in page.read_text(encoding="utf-8").splitlines() if not line.startswith("Made by ")]


@pytest.mark.parametrize(
    ("name", "main"), [("auto", benchmarks.auto.main), ("forecast_sets", benchmarks.forecast_sets.main)]
)
def test_a_table_that_quotes_baselines_is_of_todays_rows(name: str, main: Callable[..., None], tmp_path: Path):
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder)
    main(output=folder, report_only=True)
    assert after_the_header(folder / f"{name}.md") == after_the_header(RESULTS / f"{name}.md")
