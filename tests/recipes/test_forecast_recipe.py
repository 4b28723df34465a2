"""recipes/forecast.py as its user meets it: every run here is a process of its own."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.training.module import seconds_of
from tests.recipes.harness import ROOT, Ran, Recipes

RECIPE = ROOT / "recipes" / "forecast.py"
METRICS = {"crps", "nd", "nrmse", "mase", "coverage_50", "coverage_90"}
TINY = ["--steps", "3", "--samples", "5", "--prediction-length", "12", "--context-length", "36"]


class Recipe(Recipes):
    """Runs the recipe."""

    def __call__(self, *arguments: object, until: str = "") -> Ran:
        return self.run("forecast", *arguments, until=until)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Recipe:
    return Recipe(tmp_path_factory.mktemp("recipe"))


def table(length: int = 150, items: str = "ab", freq: str = "h") -> pd.DataFrame:
    """Sines with a little noise, in long format."""
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-01-01", periods=length, freq=freq)
    waves = [
        10 + 5 * np.sin(2 * np.pi * np.arange(length) / 24 + k) + 0.3 * rng.normal(size=length)
        for k in range(len(items))
    ]
    parts = [
        pd.DataFrame({"item_id": item, "timestamp": stamps, "target": wave})
        for item, wave in zip(items, waves, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def written(frame: pd.DataFrame, folder: Path, name: str = "data.csv") -> Path:
    path = folder / name
    frame.to_parquet(path) if name.endswith(".parquet") else frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def first(recipe, tmp_path_factory) -> tuple[Path, Ran]:
    """A first run on a CSV: its folder (data.csv, out/) and what it said."""
    folder = tmp_path_factory.mktemp("first")
    ran = recipe("--data", written(table(), folder), "--output", folder / "out", *TINY)
    assert ran.code == 0, ran.said
    return folder, ran


def assert_results(
    output: Path, windows: int, horizon: int = 12, names: tuple[str, str] = ("item_id", "timestamp")
) -> None:
    """Everything is there and well-formed."""
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics.keys() == {"model", "seasonal_naive", "seconds", "nfe"}
    assert metrics["model"].keys() == metrics["seasonal_naive"].keys() == METRICS
    assert metrics["seconds"].keys() == {"train", "predict"}
    assert isinstance(metrics["nfe"], int)
    assert metrics["nfe"] > 0
    assert all(np.isfinite(metrics["model"][name]) for name in METRICS - {"mase"})
    scored, future = pd.read_csv(output / "forecasts.csv"), pd.read_csv(output / "future.csv")
    assert len(scored) == windows * horizon
    away = (scored["0.5"] - scored["actual"]).abs().sum() / scored["actual"].abs().sum()
    assert metrics["model"]["nd"] == pytest.approx(away, rel=1e-3)
    assert {*names, "mean", "0.5", "actual"} <= set(scored.columns)
    assert "actual" not in future.columns
    assert np.isfinite(future["0.5"]).all()
    markdown = (output / "metrics.md").read_text()
    assert "| TSDiff" in markdown
    assert "seasonal naive" in markdown
    picture = (output / "forecasts.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture[-8:-4] == b"IEND"
    assert {path.name for path in (output / "model").iterdir()} >= {"config.json", "model.safetensors"}


# --- runs that work ----------------------------------------------------------------------------------------


def test_a_run_leaves_all_its_results(first):
    folder, ran = first
    assert_results(folder / "out", windows=2)
    assert not list((folder / "out").glob("training-*"))
    scored, future = pd.read_csv(folder / "out/forecasts.csv"), pd.read_csv(folder / "out/future.csv")
    actual = table().groupby("item_id").tail(12)["target"]
    np.testing.assert_allclose(scored["actual"], actual, rtol=1e-5)
    end = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=150)
    assert list(pd.to_datetime(future[future.item_id == "a"]["timestamp"])) == list(
        pd.date_range(end, periods=12, freq="h")
    )
    assert "results:" in ran.said


def test_a_second_run_reuses_the_model_and_says_so(recipe, first):
    folder, _ = first
    results = (folder / "out/forecasts.csv").read_bytes()
    ran = recipe("--data", folder / "data.csv", "--output", folder / "out", *TINY)
    assert ran.code == 0
    assert "using the model trained before" in ran.said
    assert "training TSDiff" not in ran.said
    assert (folder / "out/forecasts.csv").read_bytes() == results


@pytest.mark.slow
@pytest.mark.parametrize("change", ["retrain", "seed", "data"])
def test_other_settings_or_data_train_anew(recipe, first, tmp_path, change):
    folder, _ = first
    output = tmp_path / "out"
    subprocess.run(["cp", "-r", folder / "out", output], check=True)
    more = {"retrain": ["--retrain"], "seed": ["--seed", "5"], "data": []}[change]
    data = written(table().assign(target=lambda f: f.target + 1), tmp_path) if change == "data" else folder / "data.csv"
    ran = recipe("--data", data, "--output", output, *TINY, *more)
    assert ran.code == 0
    assert "using the model" not in ran.said
    assert "training TSDiff" in ran.said


@pytest.mark.slow
def test_a_damaged_model_of_an_earlier_run_is_trained_again(recipe, first, tmp_path):
    folder, _ = first
    subprocess.run(["cp", "-r", folder / "out", tmp_path / "out"], check=True)
    weights = tmp_path / "out/model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    ran = recipe("--data", folder / "data.csv", "--output", tmp_path / "out", *TINY)
    assert ran.code == 0
    assert "training again:" in ran.said
    assert_results(tmp_path / "out", windows=2)


def test_a_given_model_forecasts_without_training(recipe, first, tmp_path):
    folder, _ = first
    ran = recipe("--data", folder / "data.csv", "--model", folder / "out/model", "--output", tmp_path / "out", *TINY)
    assert ran.code == 0
    assert "training" not in ran.said
    assert (tmp_path / "out/forecasts.csv").read_bytes() == (folder / "out/forecasts.csv").read_bytes()
    assert json.loads((tmp_path / "out/metrics.json").read_text())["seconds"]["train"] == 0


@pytest.mark.slow
def test_parquet_with_columns_of_other_names(recipe, tmp_path):
    frame = table(items="a").rename(columns={"item_id": "shop", "timestamp": "when", "target": "sales"})
    path = written(frame, tmp_path, "data.parquet")
    names = ["--target", "sales", "--id", "shop", "--time", "when", "--freq", "H", "--windows", "2"]
    ran = recipe("--data", path, "--output", tmp_path / "out", *TINY, *names, "--guidance", "quantile")
    assert ran.code == 0, ran.said
    assert_results(tmp_path / "out", windows=2, names=("shop", "when"))


REPAIRED = {
    "gaps": (lambda f: f.drop(index=[20, 21, 22]), "series 'a': 3 gaps filled as missing"),
    "unsorted": (lambda f: f.sample(frac=1, random_state=0), "series 'a': unsorted timestamps were sorted"),
    "infinite": (lambda f: f.assign(target=f.target.where(f.index != 9, np.inf)), "'a': 1 infinity treated as missing"),
    "constant": (lambda f: f.assign(target=f.target.where(f.item_id == "b", 3.0)), "series 'a' is constant"),
    "all NaN": (lambda f: f.assign(target=f.target.where(f.item_id == "b")), "series 'a' left out: no observed value"),
    "late": (
        lambda f: f.assign(target=f.target.where((f.item_id == "b") | (f.index > 142))),
        "series 'a' is not scored: no observed value before the test windows",
    ),
    "short": (lambda f: f[(f.item_id == "b") | (f.index < 7)], "series 'a' is not scored: 7 values"),
}


@pytest.mark.parametrize(
    "case",
    [  # whose remarks tests/tsdiff/data hold
        pytest.param(case, marks=pytest.mark.slow if case in ("unsorted", "infinite", "constant") else ())
        for case in REPAIRED
    ],
)
def test_data_that_can_be_used_is_used_and_it_is_said(recipe, first, tmp_path, case):
    change, message = REPAIRED[case]
    path = written(change(table()), tmp_path)
    # Needs no training to be seen.
    ran = recipe("--data", path, "--model", first[0] / "out/model", "--output", tmp_path / "out", *TINY)
    assert ran.code == 0, ran.said
    assert message in " ".join(ran.said.split())
    assert (tmp_path / "out/metrics.json").is_file()


# --- runs that cannot work ---------------------------------------------------------------------------------

REFUSED: dict[str, tuple[list[str], str]] = {
    "no such file": (["--data", "absent.csv"], "absent.csv: no such file"),
    "unknown kind": (["--data", "table.xlsx"], "table.xlsx: unknown kind of table"),
    "missing column": (["--data", "good.csv", "--target", "sales"], "no column 'sales'; the table has 'item_id'"),
    "duplicates": (["--data", "twice.csv"], "more than once"),
    "irregular": (["--data", "irregular.csv", "--freq", "h"], "is not on the grid of frequency 'h'"),
    "irregular, no frequency": (["--data", "irregular.csv"], "is not on the grid of any usual frequency"),
    "unknown frequency": (["--data", "good.csv", "--freq", "zz"], "unknown frequency 'zz'"),
    "all NaN": (["--data", "nan.csv"], "no usable series (a: no observed value"),
    "unlabelled": (["--data", "unlabelled.csv"], "hold no observed value"),
    "too short": (["--data", "short.csv"], "no usable series (a: 9 values"),
    "text": (["--data", "text.csv"], "column 'target' is not numeric"),
    "horizon 0": (["--data", "good.csv", "--prediction-length", "0"], "error: --prediction-length=0: need"),
    "horizon below 0": (["--data", "good.csv", "--prediction-length", "-4"], "error: --prediction-length=-4: need"),
    "windows -1": (["--data", "good.csv", "--windows", "-1"], "windows=-1: need"),
    "samples 0": (["--data", "good.csv", "--samples", "0"], "--samples=0: need"),
    "steps 0": (["--data", "good.csv", "--steps", "0"], "error: --steps=0: need"),
    "context 0": (["--data", "good.csv", "--context-length", "0"], "error: --context-length=0: need"),
    "device": (["--data", "good.csv", "--device", "abacus"], "device 'abacus' cannot be used here"),
    "model cut": (["--data", "good.csv", "--model", "cut"], "model.safetensors cannot be read"),
    "model absent": (["--data", "good.csv", "--model", "absent"], "'absent' is neither a folder, a bundled name"),
    "model frequency": (["--data", "good.csv", "--model", "whole", "--freq", "30min"], "forecasts 12 steps of 'h'"),
    "model device": (["--data", "good.csv", "--model", "whole", "--device", "abacus"], "device 'abacus' cannot"),
    "output a file": (["--data", "good.csv", "--output", "good.csv"], "--output good.csv cannot be written"),
    "output nowhere": (["--data", "good.csv", "--output", "/proc/none"], "--output /proc/none cannot be written"),
    "embedded frequency": (["--freq", "D"], "--freq D does not fit the embedded data"),
    "embedded columns": (
        ["--target", "sold", "--id", "shop", "--dynamic", "promotion"],
        "--target, --id, --dynamic: the embedded data has no columns to name; give --data",
    ),
}


@pytest.fixture(scope="module")
def bad_inputs(recipe, first) -> Path:
    """The folder in which the recipe runs, with the files that `REFUSED` names."""
    folder, good = recipe.log.parent, table(items="a")
    written(good, folder, "good.csv")
    written(pd.concat([good, good[5:6]]), folder, "twice.csv")
    rng = np.random.default_rng(0)
    minutes = np.cumsum(rng.integers(1, 500, size=len(good)))
    written(
        good.assign(timestamp=pd.Timestamp("2024-01-01") + pd.to_timedelta(minutes, unit="min")),
        folder,
        "irregular.csv",
    )
    written(good.assign(target=np.nan), folder, "nan.csv")
    written(good.assign(target=good.target.where(good.index < 130)), folder, "unlabelled.csv")
    written(good[:9], folder, "short.csv")
    written(good.assign(target="many"), folder, "text.csv")
    written(good, folder, "table.csv").rename(folder / "table.xlsx")
    for name in ("whole", "cut"):
        subprocess.run(["cp", "-r", first[0] / "out/model", folder / name], check=True)
    weights = folder / "cut/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_ends_with_one_clear_line(recipe, bad_inputs, case):
    arguments, message = REFUSED[case]
    ran = recipe("--output", "refused", *TINY, *arguments)
    assert ran.code == 1, ran.said
    assert "Traceback" not in ran.said
    assert "training TSDiff" not in ran.said  # refused before the work
    (line,) = [line for line in ran.said.splitlines() if line.startswith("error: ")]
    assert message in line
    assert ran.said.rstrip().endswith(line.rstrip())


def test_a_horizon_must_be_given_with_data(recipe, bad_inputs):
    ran = recipe("--data", "good.csv", "--output", "refused")
    assert ran.code == 1
    assert "error: --prediction-length is needed with --data" in ran.said


def test_help_tells_options_and_examples(recipe):
    ran = recipe("--help")
    assert ran.code == 0
    for word in ("--data", "--prediction-length", "--retrain", "--model", "--device", "python recipes/forecast.py"):
        assert word in ran.said


def test_an_unknown_option_is_a_usage_error(recipe):
    ran = recipe("--reach", "3")
    assert ran.code == 2
    assert "No such option" in ran.said
    assert "Traceback" not in ran.said


# --- interruption ------------------------------------------------------------------------------------------


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A plain `python recipes/forecast.py` on a small table, for many steps."""
    command = [
        sys.executable,
        str(RECIPE),
        "--data",
        str(folder / "data.csv"),
        "--output",
        str(folder / "out"),
        *arguments,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    heed = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # ignored in the background
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, preexec_fn=heed
    )


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.05)


def test_ctrl_c_ends_with_a_word_and_no_traceback(recipe, tmp_path):
    arguments = ["--data", written(table(), tmp_path), "--output", tmp_path / "out", *TINY, "--steps", "100000"]
    ran = recipe(*arguments, until="few to train on")
    assert ran.code == 130, ran.said
    assert "interrupted; the same command goes on from here" in ran.said
    assert "Traceback" not in ran.said


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_model(recipe, tmp_path):
    for name in ("stopped", "whole"):
        (tmp_path / name).mkdir()
        written(table(), tmp_path / name)
    steps = [*TINY, "--steps", "6000"]
    process = start(tmp_path / "stopped", *steps)
    with process:
        wait_for(lambda: list((tmp_path / "stopped/out").glob("training-*/last.ckpt")), process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    [state] = (tmp_path / "stopped/out").glob("training-*")
    before = seconds_of(state)
    assert before > 0.5
    on, whole = (
        recipe("--data", tmp_path / n / "data.csv", "--output", tmp_path / n / "out", *steps)
        for n in ("stopped", "whole")
    )
    assert (on.code, whole.code) == (0, 0)
    assert "going on with the training" in on.said
    seconds = json.loads((tmp_path / "stopped/out/model/trained_on.json").read_text())["seconds"]
    assert seconds > before + 0.5
    assert json.loads((tmp_path / "stopped/out/metrics.json").read_text())["seconds"]["train"] == pytest.approx(
        seconds, abs=0.01
    )
    models = [(tmp_path / n / "out/model/model.safetensors").read_bytes() for n in ("stopped", "whole")]
    assert models[0] == models[1]


def test_few_values_are_forecast_by_the_bundled_model_unless_a_training_is_asked_for(recipe, tmp_path):
    """As an office exports them: semicolons, decimal commas, dates with points, and no name that is known."""
    days = pd.date_range("2024-03-01", periods=40, freq="D")
    sold = 100 + 10 * np.sin(2 * np.pi * np.arange(40) / 7)
    rows = [f"{day:%d.%m.%Y};" + f"{value:.2f}".replace(".", ",") for day, value in zip(days, sold, strict=True)]
    data = tmp_path / "umsatz.csv"
    data.write_text("\n".join(["Datum;Umsatz", *rows]))
    ran = recipe("--data", data, "--horizon", 7, "--output", tmp_path / "out", "--samples", 20)
    assert ran.code == 0, ran.said
    assert "40 values are few to train on: the bundled model is taken" in ran.said
    assert "TSDiff default: 1 series of 'D', 7 steps ahead" in ran.said
    assert not (tmp_path / "out" / "model").exists()
    future = pd.read_csv(tmp_path / "out" / "future.csv")
    assert future["Datum"].tolist() == [f"{day:%Y-%m-%d}" for day in pd.date_range("2024-04-10", periods=7)]
    expected = 100 + 10 * np.sin(2 * np.pi * np.arange(40, 47) / 7)
    assert np.abs(future["0.5"] - expected).mean() < 1.5
    asked = recipe("--data", data, "--horizon", 7, "--output", tmp_path / "out", "--samples", 5, "--steps", 2)
    assert asked.code == 0, asked.said
    assert "training TSDiff for 2 steps" in asked.said
