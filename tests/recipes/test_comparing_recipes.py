"""recipes/forecast_jointly.py and recipes/forecast_covariates.py on tables of one's own, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.recipes.harness import Recipes

TINY = ("--steps", "1", "--samples", "3", "--windows", "1", "--prediction-length", "3")


@pytest.mark.parametrize("recipe", ["forecast_jointly", "forecast_covariates"])
def test_what_is_repaired_and_left_out_is_told(recipe: str, tmp_path: Path) -> None:
    """A month that is missing, and a channel or a series without a value."""
    months = pd.date_range("2000-01-31", periods=120, freq="ME").delete(50)
    values = {"a": np.arange(119) % 12, "b": np.arange(119) % 7, "none": np.nan}
    table = pd.DataFrame({"date": months, **values})
    options: tuple[str, ...] = ()
    if recipe == "forecast_covariates":
        table = table.melt("date", var_name="item_id", value_name="target").assign(promo=1.0)
        options = ("--dynamic", "promo")
    table.to_csv(tmp_path / "table.csv", index=False)
    ran = Recipes(tmp_path).run(recipe, "--data", "table.csv", "--output", "out", *TINY, *options)
    assert ran.code == 0, ran.said
    assert "series 'a': 1 gap filled as missing" in ran.said
    assert "series 'none' left out" in ran.said


def test_a_single_channel_is_refused_before_the_trainings(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=120, freq="D")
    pd.DataFrame({"date": days, "a": np.arange(120) % 7}).to_csv(tmp_path / "table.csv", index=False)
    ran = Recipes(tmp_path).run("forecast_jointly", "--data", "table.csv", "--output", "out", *TINY)
    assert ran.code == 1
    assert "there is one channel, 'a'" in ran.said
    assert "few to train on" not in ran.said


@pytest.mark.parametrize("recipe", ["forecast_jointly", "forecast_covariates"])
def test_no_samples_are_refused_before_the_trainings(recipe: str, tmp_path: Path) -> None:
    ran = Recipes(tmp_path).run(recipe, *TINY, "--samples", "0", "--output", "out")
    assert ran.code != 0
    assert "--samples" in ran.said
    assert "few to train on" not in ran.said


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("forecast_jointly", ("--freq", "D"), "--freq D does not fit the embedded data"),
        ("forecast_covariates", ("--id", "shop", "--dynamic", "promo"), "--id, --dynamic: the sales made by formula"),
        ("forecast_covariates", ("--freq", "h", "--target", "sold"), "--freq, --target: the sales made by formula"),
    ],
)
def test_options_of_a_table_without_one_are_refused(
    recipe: str, options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    """A forgotten --data gave results of other series in silence."""
    ran = Recipes(tmp_path).run(recipe, *TINY, *options, "--output", "out")
    assert ran.code == 1
    assert said in ran.said
    assert "give --data" in ran.said
