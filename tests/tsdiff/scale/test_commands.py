"""`tsdiff forecast|impute|anomaly --engine`: the results of the calls, what is said, and what is refused."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer

from shared.errors import ConfigError
from tests.tsdiff.scale.tables import frame, results, write
from tsdiff import scale
from tsdiff.commands.options import Anomaly, Forecast, Impute

VERBS: dict[str, Any] = {"forecast": Forecast, "impute": Impute, "anomaly": Anomaly}
MADE = {"forecast": "forecasts", "impute": "imputed", "anomaly": "scores"}
STEPS = {"forecast": 6, "impute": 6, "anomaly": 48}


def run(verb: str, data: Path, output: Path, **options: Any) -> dict[str, Any]:
    options = {"engine": "local", "model": "default", "prediction_length": STEPS[verb], **options}
    importlib.import_module(f"tsdiff.commands.{verb}").main(VERBS[verb](data=data, output=output, **options))
    metrics: dict[str, Any] = json.loads((output / "metrics.json").read_text())
    return metrics


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = frame(2)
    table.loc[table.index % 9 == 4, "target"] = np.nan
    return write(tmp_path_factory.mktemp("data"), {"a": table})


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_leaves_what_its_call_does(verb: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draws = {} if verb == "anomaly" else {"samples": 4}
    # As a Path has it, whose two slashes have become one.
    metrics = run(verb, Path(f"local:{data}" if verb == "impute" else data), tmp_path / "out", **draws)
    assert {name: metrics[name] for name in ("series", "failed", "units", "before")} == {
        "series": 2,
        "failed": 0,
        "units": 1,
        "before": 0,
    }
    assert f"{MADE[verb]}/*.parquet" in capsys.readouterr().out
    more = {} if verb == "anomaly" else {"num_samples": 4}
    getattr(scale, verb)(data, tmp_path / "call", prediction_length=STEPS[verb], engine="local", progress=False, **more)
    assert results(tmp_path / "out" / MADE[verb]) == results(tmp_path / "call")
    assert run(verb, data, tmp_path / "out", **draws)["before"] == 1
    assert "1 units of 1 were there" in capsys.readouterr().out


def test_results_go_to_an_address(data: Path, capsys: pytest.CaptureFixture[str]):
    files = pytest.importorskip("fsspec").filesystem("memory")
    main = importlib.import_module("tsdiff.commands.forecast").main
    # As a Path has it, whose two slashes have become one.
    main(Forecast(data=data, output=Path("memory://a/out"), engine="local", model="default", prediction_length=6))
    try:
        assert files.exists("/a/out/forecasts/part-000000.parquet")
        assert json.loads(files.cat_file("/a/out/metrics.json"))["series"] == 2
        assert "results: memory://a/out/" in capsys.readouterr().out
    finally:
        files.rm("/a", recursive=True)
    assert not Path("memory:").exists()


def test_covariates_come_from_files_of_their_own(tmp_path: Path):
    table = frame(2, length=66).assign(price=lambda whole: whole.index % 7, visits=lambda whole: whole.index % 5)
    ahead = table.groupby("item_id").cumcount() >= 60
    data = write(tmp_path / "data", {"a": table[~ahead]})
    future = write(tmp_path / "future", {"a": table.loc[ahead, ["item_id", "timestamp", "price"]]})
    options: dict[str, Any] = {"samples": 4, "future": Path(f"local:{future}"), "past_covariates": ["visits"]}
    run("forecast", data, tmp_path / "out", **options)
    more: dict[str, Any] = {"num_samples": 4, "future": future, "past_covariates": ["visits"]}
    scale.forecast(data, tmp_path / "call", prediction_length=6, engine="local", progress=False, **more)
    assert results(tmp_path / "out" / "forecasts") == results(tmp_path / "call")


def test_failures_are_told_and_are_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = frame(2)
    table.loc[table["item_id"] == "s001", "target"] = np.nan
    with pytest.raises(typer.Exit) as ended:
        run("forecast", write(tmp_path / "data", {"a": table}), tmp_path / "out", samples=3)
    assert ended.value.exit_code == 1
    assert "failed: s001: " in capsys.readouterr().err
    assert list(pd.unique(pd.read_parquet(tmp_path / "out" / "forecasts")["item_id"])) == ["s000"]


@pytest.mark.parametrize(
    ("verb", "options", "said"),
    [
        ("forecast", {"windows": 3}, "--windows trains or scores"),
        ("forecast", {"minutes": 1.0}, "--fine-tune trains"),
        ("impute", {"hide": 0.5}, "--hide"),
        ("anomaly", {"steps": 5}, "--steps"),
        ("forecast", {"model": None}, "--model default for the bundled one"),
        ("forecast", {"engine": None, "workers": 2}, "--workers is of --engine ray"),
        ("forecast", {"engine": None, "past_covariates": ["x"]}, "--past-covariate are of --engine"),
        ("impute", {"engine": None, "address": "auto"}, "--engine ray"),
        ("anomaly", {"workers": 2}, "engine='ray'"),
    ],
)
def test_what_does_not_fit_is_refused(verb: str, options: dict[str, Any], said: str, data: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=said):
        run(verb, data, tmp_path / "out", **options)


def test_data_is_needed(tmp_path: Path):
    with pytest.raises(ConfigError, match="--engine needs --data"):
        run("forecast", None, tmp_path / "out")  # type: ignore[arg-type]
