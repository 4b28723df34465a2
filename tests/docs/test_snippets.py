"""Python of README, docs and cards runs, with small models in place of long trainings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from gluonts.dataset.pandas import PandasDataset
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

import tsdiff.estimator
import tsdiff.experiment.presets
import tsdiff.fitting.chosen
from speech import Enhancer
from tests.docs.blocks import PAGES, Found, snippets
from tests.docs.conftest import RATE
from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.data import split, split_windows, stream_folder
from tsdiff.model.backbones import S4DConfig
from tsdiff.tasks.refinement import RefineConfig
from tsdiff.tasks.synthesis import linear_predictive_score, real_windows, realism, save_series, synthesize

SMALLER = (
    ("10**6", "30"),
    ("10_000", "30"),
    ("1000)", "20)"),
    ("[:1000]", "[:20]"),
    ("cpu_minutes=4", "cpu_minutes=0.01"),
    ("fine=200, most_runs=100", "fine=8, most_runs=3"),
    ("minutes=2)", "minutes=0.02)"),
    ("../shared/data/series", "series"),
)
"""Parts of snippets that would take minutes or need the shared data, and what stands for them here."""
STEPS = 2
"""Of a training, after each of which held-out windows are forecast."""


def series(count: int = 2, length: int = 450) -> list[dict[str, Any]]:
    """Hourly loads of a day's shape."""
    rng = np.random.default_rng(0)
    day = 2 + np.sin(2 * np.pi * np.arange(length) / 24)
    return [
        {
            "item_id": f"r{place}",
            "start": pd.Period("2024-01-01", "h"),
            "target": (100 * day + 5 * rng.standard_normal(length)).astype(np.float32),
        }
        for place in range(count)
    ]


def gluonts_folder(folder: Path, entries: list[dict[str, Any]]) -> None:
    """Entries in GluonTS's layout."""
    lines = "\n".join(
        json.dumps({**entry, "start": str(entry["start"]), "target": entry["target"].tolist()}) for entry in entries
    )
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "data.json").write_text(lines)
    (folder / "metadata.json").write_text(json.dumps({"freq": "h", "prediction_length": 24}))


@pytest.fixture(scope="module")
def predictor() -> TSDiffPredictor:
    tiny = S4DConfig(patch=24, width=16, blocks=1, state=4)
    training = replace(tsdiff.estimator.DEFAULT_TRAINING, max_steps=STEPS)
    return TSDiffEstimator("h", 24, 48, backbone=tiny, training=training).train(series(), progress=False)


@pytest.fixture
def names(
    predictor: TSDiffPredictor, workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, Any]:
    """What the snippets take for granted; trainings end after `STEPS`."""
    short = replace(tsdiff.estimator.DEFAULT_TRAINING, max_steps=STEPS)
    monkeypatch.setattr(tsdiff.estimator, "DEFAULT_TRAINING", short)
    for bound in ("LEAST_STEPS", "MOST_STEPS"):
        monkeypatch.setattr(tsdiff.fitting.chosen, bound, STEPS)
    presets = {
        name: replace(preset.with_training(max_steps=STEPS), tuned_steps=min(STEPS, preset.tuned_steps))
        for name, preset in tsdiff.experiment.presets.PRESETS.items()
    }
    monkeypatch.setattr(tsdiff.experiment.presets, "PRESETS", presets)
    monkeypatch.chdir(workspace)
    predictor.serialize(workspace / "runs" / "anomaly" / "model")
    waveform, sample_rate = soundfile.read("noisy.wav", dtype="float32")
    data = series()
    frame = pd.concat(
        pd.DataFrame(
            {"region": one["item_id"], "time": one["start"].to_timestamp() + pd.to_timedelta(np.arange(450), "h")}
        ).assign(load=one["target"])
        for one in data
    )
    sales = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=94, freq="h"), "y": np.arange(94.0) % 7})
    sales["promotion"] = (sales["ds"].dt.hour % 3 == 0).astype(int)
    test = split_windows(data, 24, 1).test
    hours = pd.date_range("2024-01-01", periods=50, freq="h")
    columns = {"timestamp": hours, "sales": np.arange(50.0), "shop": "a", "price": 1.0, "city": "x", "area": 2.0}
    pd.DataFrame(columns).to_parquet("sales.parquet")
    for folder in ("series/m4_hourly", "folder/in/gluonts/layout", "big"):
        gluonts_folder(Path(folder), data)
    return {
        "waveform": waveform,
        "sample_rate": sample_rate,
        "wide_frame": pd.DataFrame({"one": np.arange(50.0), "two": np.ones(50)}, index=hours),
        "dataset": data,
        "training_data": data,
        "series": data,
        "train": data,
        "frame": frame,
        "df": frame.rename(columns={"region": "item_id", "time": "timestamp", "load": "target"}),
        "past": sales[:80],
        "future": sales[80:].drop(columns="y"),
        "predictor": predictor,
        "prediction_length": 24,
        "test": test,
        "test_pairs": list(test),
        "Enhancer": Enhancer,
        "x_t": torch.zeros(1, 1, 32, 16, dtype=torch.complex64),
        "y": torch.zeros(1, 1, 32, 16, dtype=torch.complex64),
        "t": torch.tensor([0.5]),
        "denoiser": lambda x, t: x / 2,
        "noisy": torch.zeros(2, 8),
        "forecasts_of_another_model": list(SeasonalNaivePredictor(24, season_length=24).predict(data)),
        "TSDiffEstimator": TSDiffEstimator,
        "TSDiffPredictor": TSDiffPredictor,
        "SeasonalNaivePredictor": SeasonalNaivePredictor,
        "RefineConfig": RefineConfig,
        "split": split,
        "stream_folder": stream_folder,
        "synthesize": synthesize,
        "save_series": save_series,
        "realism": realism,
        "real_windows": real_windows,
        "linear_predictive_score": linear_predictive_score,
        "pandas_dataset": PandasDataset({"a": pd.Series(np.ones(50), pd.period_range("2024", periods=50, freq="h"))}),
    }


def test_the_pages_have_snippets():
    assert len(snippets()) >= 10
    assert RATE == 16000


_IMPORT = re.compile(r"^ *(from (?:shared|speech|tsdiff)[\w.]* import [\w, ]+)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_imports_is_there(page: Path):
    """Of notebooks, too: most of them, and some snippets, are run by the slow tests alone."""
    for line in _IMPORT.findall(page.read_text(encoding="utf-8")):
        exec(line, {})


SLOW = ("auto", "noise", "samplers", "synthesis", "baselines", "anomaly", "diagnostics")
"""Pages whose snippets train, search or draw much."""


def each() -> Iterator[object]:
    for one in snippets():
        yield pytest.param(one, id=str(one), marks=pytest.mark.slow if Path(one.page).stem in SLOW else ())


@pytest.mark.parametrize("found", list(each()))
def test_every_snippet_runs(found: Found, names: dict[str, Any]):
    code = found.text
    if '"D"' in code:
        names["dataset"] = [{**one, "start": one["start"].asfreq("D")} for one in names["dataset"]]
    for large, small in SMALLER:
        code = code.replace(large, small)
    exec(compile(code, found.page, "exec"), names)
