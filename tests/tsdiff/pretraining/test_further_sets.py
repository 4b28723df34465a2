"""More sets that the bundled forecaster may learn from: a folder of them, by their own horizons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recipes.default_forecaster.default import further_source
from recipes.default_forecaster.sets import FURTHER_SHARE, FURTHER_YEARLY, further_sets
from recipes.free_sources.families import write
from shared.errors import DataError


def family(folder: Path, freq: str, horizon: int, count: int) -> None:
    """Three series whose values are their steps, but for the first of them a hundred times its number."""
    steps = np.arange(count, dtype=np.float32)
    start = pd.Period("1950-01-01", freq=freq)
    write([{"item_id": str(one), "start": start, "target": steps + 100 * one} for one in range(3)], horizon, folder)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    family(tmp_path / "sales_monthly", "M", 12, 200)
    family(tmp_path / "sales_yearly", "Y", 6, 60)
    return tmp_path


def test_each_set_holds_its_own_horizon_back(sets: Path) -> None:
    made = further_sets(sets)
    assert {name: (one.share, one.held_back, one.prediction_length) for name, one in made.items()} == {
        "sales_monthly": (FURTHER_SHARE, 12, 12),
        "sales_yearly": (FURTHER_YEARLY, 6, 6),
    }


def test_windows_end_before_what_is_held_back(sets: Path) -> None:
    """Twice a horizon: the test part of the folder, and what settings are chosen by."""
    source = further_source(sets)
    lengths = {group.name: {len(place.values) for place in group.places} for group in source.draw_group.groups}
    assert lengths == {"sales_monthly": {200 - 2 * 12}, "sales_yearly": {60 - 2 * 6}}
    names = {name.split(",")[0] for name in source.batch(np.random.default_rng(0)).ids}
    assert names == {"sales_monthly", "sales_yearly"}


def test_folders_without_sets_are_told(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder in it is a set"):
        further_sets(tmp_path / "sales_monthly")
    about = sets / "sales_yearly" / "metadata.json"
    told = json.loads(about.read_text())
    del told["prediction_length"]
    about.write_text(json.dumps(told))
    with pytest.raises(DataError, match="names no prediction_length"):
        further_sets(sets)
