"""The benchmark sets as the data folder holds them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sets import BENCHMARK_SETS, DEFAULT_SETS, BenchmarkSet, LoadedSet, load
from shared.errors import ConfigError, DataError
from tsdiff.data.frequency import quiet


@pytest.mark.parametrize("name", ["exchange_rate_nips", "ltsf_illness", "tourism_quarterly", "nyc_weather_hourly"])
def test_a_set_is_what_the_table_says_and_keeps_its_test_part_to_itself(shared_data, name):
    found, loaded = BENCHMARK_SETS[name], load(name, shared_data)
    with quiet():
        check_windows(found, loaded)


def check_windows(found: BenchmarkSet, loaded: LoadedSet) -> None:
    pairs = list(loaded.test)
    assert len(pairs) == len(loaded.test) == found.series * found.windows
    ends = {str(e["item_id"]): e["start"] + len(e["target"]) for e in loaded.train}
    assert len(ends) == found.series
    first = min(ends.values())
    for past, label in pairs:
        assert len(label["target"]) == found.prediction_length
        assert label["start"] == past["start"] + len(past["target"])
        assert label["start"] >= ends.get(str(past["item_id"]), first)


def test_a_long_test_part_is_covered_by_adjacent_windows(shared_data):
    loaded = load("ltsf_illness", shared_data)
    train = {str(e["item_id"]): e for e in loaded.train}
    for item in train:
        labels = [label for _, label in loaded.test if str(label["item_id"]) == item]
        starts = [label["start"] for label in labels]
        end = train[item]["start"] + len(train[item]["target"])
        assert starts == [end + 24 * k for k in range(12)]
        first = next(past for past, _ in loaded.test if str(past["item_id"]) == item)
        np.testing.assert_array_equal(first["target"], train[item]["target"])


def test_defaults_are_those_of_the_table():
    assert len(DEFAULT_SETS) == 9
    assert set(DEFAULT_SETS) < set(BENCHMARK_SETS)


def test_what_is_not_a_set_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'m5'.*m4_hourly"):
        load("m5", tmp_path)
    with pytest.raises(DataError, match=r"no metadata\.json"):
        load("fred_md", tmp_path)
    folder = tmp_path / "series" / "fred_md"
    for part, length in (("train", 40), ("test", 52)):
        (folder / part).mkdir(parents=True)
        entry = {"item_id": "a", "start": "2000-01-31", "target": list(range(length))}
        (folder / part / "data.json").write_text(json.dumps(entry) + "\n")
    (folder / "metadata.json").write_text(json.dumps({"freq": "M", "prediction_length": 12}))
    with pytest.raises(DataError, match="another version"):
        load("fred_md", tmp_path)
