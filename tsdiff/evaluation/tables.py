"""Tables of scores over data sets, methods and seeds, as CSV and Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from shared.console.tables import markdown, shown
from shared.errors import ConfigError
from shared.files.io import write_csv, write_text
from tsdiff.evaluation.metrics import Metrics

KEYS, COSTS = ["dataset", "method", "seed"], ["train_seconds", "predict_seconds", "nfe"]
_SHOWN = ("crps", "nd", "nrmse", "mase")
"""Scores over seeds."""


@dataclass(frozen=True)
class Result:
    """The scores of one method on one data set with one seed.

    Attributes:
        dataset: Its name.
        method: What made the forecasts.
        seed: Of training and samples; None for a method without chance.
        metrics: The scores.
        train_seconds, predict_seconds: What it took.
        nfe: Network calls of each sample.
    """

    dataset: str
    method: str
    seed: int | None
    metrics: Metrics
    train_seconds: float | None = None
    predict_seconds: float | None = None
    nfe: int | None = None


def results_frame(results: Iterable[Result]) -> pd.DataFrame:
    """One row a result: dataset, method, seed, the scores, seconds and network calls."""
    rows = [
        {name: getattr(result, name) for name in KEYS}
        | result.metrics.as_dict()
        | {name: getattr(result, name) for name in COSTS}
        for result in results
    ]
    if not rows:
        raise ConfigError("there are no results to write")
    frame = pd.DataFrame(rows)
    scores = dict.fromkeys([name for name in frame.columns if name not in KEYS], "float64")
    return frame.astype(scores | {"seed": "Int64", "nfe": "Int64"})


def summary(results: Iterable[Result]) -> pd.DataFrame:
    """Mean, median and standard deviation (n − 1) over seeds of every score, one row a data set and method.

    Columns are (score, statistic), and ("seeds", "count"); a single seed has no deviation.
    """
    frame = results_frame(results)
    scores = [name for name in frame.columns if name not in (*KEYS, "nfe")]
    groups = frame.groupby(["dataset", "method"], sort=False)
    made = groups[scores].agg(["median", "mean", "std"])
    made["seeds", "count"] = groups.size()
    return made


def results_markdown(results: Iterable[Result]) -> str:
    """Two tables: over seeds (median, mean ± deviation), then every seed."""
    listed = list(results)
    over, frame = summary(listed), results_frame(listed)
    head = ["dataset", "method", "seeds"]
    for name in _SHOWN:
        head += [f"{name}, median", f"{name}, mean ± std"]
    rows = []
    for place, (dataset, method) in enumerate(over.index.tolist()):
        row = over.iloc[place]
        cells = [str(dataset), str(method), str(int(row["seeds", "count"]))]
        for name in _SHOWN:
            median, mean, std = (row[name, kind] for kind in ("median", "mean", "std"))
            spread = f" ± {std:.4f}" if pd.notna(std) else ""
            cells += [_number(median), _number(mean) + spread]
        rows.append(cells)
    every = (map(_number, values) for values in frame.itertuples(index=False))
    return f"{markdown(head, rows, left=2)}\n{markdown(list(frame.columns), map(list, every), left=2)}"


def write_results(folder: str | os.PathLike[str], results: Iterable[Result], title: str = "Results") -> None:
    """Write results.csv and results.md into `folder`, each whole or not at all."""
    listed = list(results)
    write_csv(Path(folder) / "results.csv", results_frame(listed))
    write_text(Path(folder) / "results.md", f"# {title}\n\n{results_markdown(listed)}")


def _number(value: Any) -> str:
    return shown(None if pd.isna(value) else value)
