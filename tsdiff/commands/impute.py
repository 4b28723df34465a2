"""`tsdiff impute`: fill the gaps of series with intervals, and score it on values that are hidden for the purpose."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast

from shared.console.command import claim_output, given, note, prepare, show, status
from shared.errors import counted
from shared.files.io import write_csv, write_json, write_text
from shared.random import derive_seed
from tsdiff.commands.common import DECIDED, predictor_for
from tsdiff.commands.job import Job, load_job
from tsdiff.commands.options import Impute
from tsdiff.commands.told import told_kinds
from tsdiff.data import Entry, candidate_seasons, to_timestamps
from tsdiff.data.clocks import tell_changes_at_gaps
from tsdiff.data.frequency import shifted
from tsdiff.evaluation.metrics import Metrics, evaluate, metrics_table, rich_metrics_table
from tsdiff.evaluation.pairs import Pair
from tsdiff.evaluation.plots import spread
from tsdiff.predictor import TSDiffPredictor
from tsdiff.tasks.imputation.plots import MOST_PANELS, around_longest_gap, plot_imputations
from tsdiff.tasks.suited import Suited, gaps_stay
from tsdiff.windows.gaps import bridge

_OF_SCORES = ("imputed.png", "metrics.md")
"""Files that tell how good an imputation is."""
_OF_GAPS = "gaps.png"
"""Of the gaps that the data itself has."""
_LEAST_SHOWN = 12
"""Steps at the ends of series that a picture shows at least, where fewer are held out."""


@dataclass(frozen=True)
class Hidden:
    """Series with values hidden in their last steps.

    Attributes:
        entries: the series, hidden values missing.
        pairs: what lies before the last steps, and those: NaN where not hidden, so that only hidden values score.
    """

    entries: list[Entry]
    pairs: list[Pair]


def hide(job: Job, rate: float, seed: int) -> Hidden:
    """Hide this share of each series' held-out end: half of it at random, half in blocks of up to a horizon."""
    steps = len(job.split.test) // len(job.split.train) * job.prediction_length
    if not steps:
        return Hidden([], [])
    entries: list[Entry] = []
    pairs: list[Pair] = []
    for place, entry in enumerate(job.series):
        target = entry["target"]
        if len(target) <= steps:
            continue
        rng = np.random.default_rng(derive_seed(seed, "hide", str(entry["item_id"]), place))
        mask = rng.random(steps) < rate / 2
        while mask.mean() < rate:
            first = int(rng.integers(steps))
            mask[first : first + int(rng.integers(2, job.prediction_length + 2))] = True
        holed, label = target.copy(), np.where(mask, target[-steps:], np.nan)
        holed[-steps:][mask] = np.nan
        if np.isnan(holed).all() or np.isnan(label).all():
            continue
        entries.append({**entry, "target": holed})
        start = shifted(entry["start"], len(target) - steps)
        pairs.append(({**entry, "target": holed[:-steps]}, {**entry, "start": start, "target": label}))
    return Hidden(entries, pairs)


def as_forecast(paths: np.ndarray, pair: Pair) -> SampleForecast:
    """The end of filled series (draws, length) as what `evaluate` takes."""
    label = pair[1]
    return SampleForecast(paths[:, -len(label["target"]) :], start_date=label["start"], item_id=label.get("item_id"))


def line(target: np.ndarray) -> np.ndarray:
    """Straight lines over the gaps, (1, length)."""
    return bridge(target[None, :, None])[0][..., 0]


def earlier_season(target: np.ndarray, season: int) -> np.ndarray:
    """The value one season before (or more, until there is one), (1, length); straight lines where there is none."""
    filled = target.copy()
    for place in np.flatnonzero(np.isnan(filled)):
        if place >= season:
            filled[place] = filled[place - season]
    return line(filled)


def score(job: Job, predictor: TSDiffPredictor, hidden: Hidden, samples: int, output: Path) -> dict[str, Any]:
    """Impute what was hidden beside simple fillings; leaves a table and a picture; returns the scores."""
    started = time.perf_counter()
    with status("imputing hidden values"):
        made = list(predictor.impute(hidden.entries, samples))
    seconds = time.perf_counter() - started
    drawn = [as_forecast(one.paths, pair) for one, pair in zip(made, hidden.pairs, strict=True)]
    season = candidate_seasons(job.series.freq)[0]
    targets = [entry["target"] for entry in hidden.entries]
    lines = [as_forecast(line(t), pair) for t, pair in zip(targets, hidden.pairs, strict=True)]
    seasons = [as_forecast(earlier_season(t, season), pair) for t, pair in zip(targets, hidden.pairs, strict=True)]
    rows: dict[str, Metrics] = {
        "TSDiff": evaluate(drawn, hidden.pairs),
        "straight lines": evaluate(lines, hidden.pairs),
        f"one season before ({season})": evaluate(seasons, hidden.pairs),
    }
    count = int(sum((~np.isnan(label["target"])).sum() for _, label in hidden.pairs))
    show(rich_metrics_table(rows, title=f"{counted(count, 'hidden value')} of {len(made)} series"))
    for text in rows["TSDiff"].notes:
        if not text.endswith("missing and left out"):  # as all are that were not hidden
            note(text)
    write_text(output / "metrics.md", metrics_table(rows))
    whole = {str(entry["item_id"]): entry["target"] for entry in job.series}
    plot_imputations(
        made,
        output / "imputed.png",
        truth=[whole[one.item_id] for one in made],
        steps=max(len(hidden.pairs[0][1]["target"]), _LEAST_SHOWN),
        title="values that were hidden, and what was imputed",
        stamp=job.series.stamp,
    )
    names = ("model", "line", "seasonal")
    scores = {name: metrics.as_dict() for name, metrics in zip(names, rows.values(), strict=True)}
    return {**scores, "hidden_values": count, "impute_seconds": round(seconds, 2)}


def fill(job: Job, predictor: TSDiffPredictor, samples: int, output: Path) -> int:
    """Fill the gaps that the data itself has; writes imputed.csv, and draws some; returns their number."""
    tell_changes_at_gaps(job.series.origin, job.series)
    gapped = [place for place, entry in enumerate(job.series) if np.isnan(entry["target"]).any()]
    drawn = {gapped[place] for place in spread(len(gapped), MOST_PANELS)}
    frames, shown = [], []
    with status("imputing the gaps of the data"):
        for place, made in enumerate(predictor.impute(job.series, samples)):
            frame = made.to_frame()
            frames.append(frame[frame["imputed"]])
            if place in drawn:
                shown.append(around_longest_gap(made))
    whole = pd.concat(frames, ignore_index=True).drop(columns=["value", "imputed"])
    if len(whole):
        whole["timestamp"] = to_timestamps(whole["timestamp"], job.series.stamp)
    write_csv(output / "imputed.csv", job.series.origin.restored(whole))
    if shown:
        title = "the longest gap of each series, and what was imputed"
        plot_imputations(shown, output / _OF_GAPS, title=title, stamp=job.series.stamp)
    else:
        (output / _OF_GAPS).unlink(missing_ok=True)  # of an earlier run
    return len(whole)


def told(job: Job, predictor: TSDiffPredictor, values: int) -> str:
    """What was filled, and what was decided from the data, in a line."""
    gapped = [entry["target"] for entry in job.series if np.isnan(entry["target"]).any()]
    seasons = candidate_seasons(job.series.freq)
    sampling = predictor.sampling
    decided = [Suited.of(one, sampling, seasons) for one in gapped]
    stay = [gaps_stay(one, sampling, seasons) for one in gapped]
    decided = [one if stays else replace(one, jumps=0) for one, stays in zip(decided, stay, strict=True)]
    filled = f"{counted(values, 'missing value')} of {len(gapped)} series filled"
    return "; ".join([filled, *told_kinds(decided)])


def main(options: Impute) -> None:
    """Fill the gaps of series, with intervals; score on hidden values beside straight lines and earlier seasons."""
    if options.is_scaled:
        from tsdiff.commands.scaled import impute

        impute(options)
        return
    prepare(options.threads)
    output, samples, seed = options.output, options.samples, options.seed_or_zero
    claim_output(output)
    job = load_job(options)
    predictor, seconds = predictor_for(job, options, {**given(seed=options.seed), **DECIDED, **options.limits})
    metrics: dict[str, Any] = {"seconds": {"train": round(seconds, 2)}}
    hidden = hide(job, options.hide, seed)
    if hidden.entries:
        metrics |= score(job, predictor, hidden, samples, output)
    else:
        for name in _OF_SCORES:  # of an earlier run
            (output / name).unlink(missing_ok=True)
        if options.hide and len(job.split.test):
            note("nothing is scored: the held-out ends of the series have no values to hide; --windows holds out more")
    metrics["filled_values"] = fill(job, predictor, samples, output)
    if metrics["filled_values"]:
        show(told(job, predictor, metrics["filled_values"]))
    else:
        note("the data itself has no gap; imputed.csv is empty")
    write_json(output / "metrics.json", metrics)
    drawn = (_OF_GAPS,) if metrics["filled_values"] else ()
    files = ("imputed.csv", *drawn, *(_OF_SCORES if hidden.entries else ()), "metrics.json")
    show(f"results: {output}/ ({', '.join(files)})")
