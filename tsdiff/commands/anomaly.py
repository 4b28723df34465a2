"""`tsdiff anomaly`: score every step of the held-out end of each series, and see what injected anomalies it finds."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shared.console.command import claim_output, note, prepare, show, show_lines, status
from shared.console.notes import Note
from shared.errors import ConfigError, DataError, counted
from shared.files.io import write_csv, write_json, write_text
from tsdiff.commands.common import predictor_for
from tsdiff.commands.job import Job, load_job
from tsdiff.commands.options import Anomaly
from tsdiff.data import Entry, Stamp, candidate_seasons
from tsdiff.data.clocks import tell_changes_in_scored
from tsdiff.data.entries import read_series
from tsdiff.data.series import summarised
from tsdiff.model.model import TSDiff
from tsdiff.predictor import TSDiffPredictor
from tsdiff.tasks.anomaly.detection import (
    DetectionMetrics,
    detection_table,
    evaluate_detection,
    ranking_scores,
    rolling_z_scores,
    seasonal_median_scores,
    seasonal_naive_scores,
)
from tsdiff.tasks.anomaly.forecasts import ForecastScoring
from tsdiff.tasks.anomaly.injection import InjectionConfig, inject
from tsdiff.tasks.anomaly.plots import plot_anomalies
from tsdiff.tasks.anomaly.scores import (
    Method,
    ScoringSettings,
    SeriesScores,
    Thresholds,
    anomalies_to_frame,
    anomaly_scores,
    fit_thresholds,
    scoring,
    stretches,
    stretches_to_frame,
    usual_method,
)
from tsdiff.windows.anchors import remembered, seasons_of

_EMBEDDED_WINDOWS = 56
_HELD_OUT_SHARE = 0.1
_REFERENCE_WINDOWS = 4
_OF_INJECTION = ("injected.png", "evaluation.md")
"""Files that tell what injected anomalies were found."""

Scores = dict[str, list[SeriesScores]]
"""Of each method, by name, the model first."""


@dataclass(frozen=True)
class Watch:
    """What is scored.

    Attributes:
        entries: the end of each series: what forecasts know before, reference steps, which the model was trained on,
            and those held out.
        held_out: steps at the end of each.
        season: of the series.
        scored: steps at the end of each: reference and held out.
        known: steps before those that are scored, at most.
        stamp: which day of their period the timestamps name.
    """

    entries: list[Entry]
    held_out: int
    season: int
    scored: int
    known: int = 0
    stamp: Stamp = "start"


def load_watch_job(options: Anomaly) -> Job:
    """Read the series and hold out their end: eight weeks of the embedded data, else a tenth unless told otherwise."""
    return load_job(options, _EMBEDDED_WINDOWS, share=_HELD_OUT_SHARE)


def watch(job: Job, predictor: TSDiffPredictor, reference: int | None, settings: ScoringSettings) -> Watch:
    """The end of each series that was not left out: the held-out steps, the reference before them, and before it what
    forecasts go by."""
    kept = {entry["item_id"]: len(entry["target"]) for entry in job.split.train}
    whole = [entry for entry in job.series if entry["item_id"] in kept]
    held_out = len(whole[0]["target"]) - kept[whole[0]["item_id"]]
    wanted = _REFERENCE_WINDOWS * predictor.model.config.length if reference is None else reference
    scored = held_out + wanted
    known = remembered(seasons_of(job.series.freq)) if isinstance(settings, ForecastScoring) else 0
    entries = tails(whole, scored + known)
    tell_changes_in_scored(job.series.origin, entries, scored)
    silent = sorted({entry["item_id"] for entry in whole} - {entry["item_id"] for entry in entries})
    for line in summarised(
        [f"series {item!r} is not scored: its last {scored + known} steps hold no value" for item in silent]
    ):
        note(line)
    longest = max(len(entry["target"]) for entry in whole)
    if longest > scored:
        note(
            f"scored are the last {scored} of {longest} steps: {held_out} held out, and {wanted} before "
            f"them that tell the threshold; --reference {longest - held_out} scores all"
        )
    return Watch(entries, held_out, candidate_seasons(job.series.freq)[0], scored, known, job.series.stamp)


def tail(entry: Entry, steps: int) -> Entry:
    """The last steps of an entry, and its dynamic features from there on."""
    series = read_series(entry, entry["item_id"])
    return {**entry, **series.since(max(0, len(series) - steps)).as_entry()}


def tails(entries: list[Entry], steps: int) -> list[Entry]:
    """`tail` of each entry that has a value there."""
    return [end for entry in entries if not np.isnan((end := tail(entry, steps))["target"]).all()]


def all_scores(
    predictor: TSDiffPredictor, entries: list[Entry], settings: ScoringSettings, watched: Watch, last: int
) -> Scores:
    """The model's scores of the last steps of each series, and those of simple detectors."""
    season = watched.season
    if isinstance(settings, ForecastScoring):
        settings = replace(settings, last=last)
    found = [replace(one, stamp=watched.stamp) for one in anomaly_scores(predictor, entries, settings)]
    model = [one.comparable(watched.held_out) for one in found]
    simple = {
        f"seasonal naive ({season})": lambda target: seasonal_naive_scores(target, season),
        f"seasonal median ({season})": lambda target: seasonal_median_scores(target, season),
        f"rolling z-score ({2 * season})": lambda target: rolling_z_scores(target, max(2 * season, 2)),
    }
    return {"TSDiff": model} | {
        name: [result.with_score(score(result.target)) for result in model] for name, score in simple.items()
    }


def since(scores: list[SeriesScores], last: int) -> list[SeriesScores]:
    """The scores of the last steps of each series."""
    return [one.since(max(0, len(one.score) - last)) for one in scores]


def thresholds_of(scores: Scores, held_out: int, quantile: float) -> dict[str, Thresholds]:
    """Of each method, from what it gives for the steps before the held-out ones; of simple detectors that give nothing
    there, as a seasonal one of less than a season, none.

    Raises:
        DataError: none of those has a score by the model.
    """
    before = {name: [one.before(-held_out) for one in results] for name, results in scores.items()}
    without = [name for name, results in before.items() if not any(np.isfinite(one.score).any() for one in results)]
    if "TSDiff" in without:
        raise DataError(
            f"none of the steps before the {held_out} held out has a score by TSDiff to take a threshold from; "
            "hold out less with --windows, or look further back with --reference"
        )
    if without:
        note(f"not compared with {', '.join(without)}: too few values before the {held_out} held out for a score")
    return {
        name: fit_thresholds(results, quantile, later=True) for name, results in before.items() if name not in without
    }


def fitting(config: InjectionConfig, held_out: int) -> InjectionConfig:
    """Anomalies no longer than a quarter of the held-out steps."""
    longest = min(config.longest, max(1, held_out // 4))
    return replace(config, longest=longest, shortest=min(config.shortest, longest))


def injected_metrics(
    predictor: TSDiffPredictor,
    watched: Watch,
    thresholds: dict[str, Thresholds],
    settings: ScoringSettings,
    config: InjectionConfig,
    picture: Path,
) -> dict[str, dict[str, DetectionMetrics]]:
    """How well each method finds anomalies put into the held-out steps, by method and kind; and a picture."""
    # A window before the held-out steps is enough for every window that holds one of them to be whole.
    shown = watched.held_out + predictor.model.config.length
    entries = tails(watched.entries, max(shown, watched.held_out + watched.known))
    try:
        injected = inject(entries, config, watched.held_out)
    except DataError as error:
        note(f"not evaluated: {error}; --windows holds out more")
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)  # they are of the same series, and have been said
        entries = [series.entry for series in injected]
        scores = all_scores(predictor, entries, settings, watched, watched.held_out)
    result = {}
    for name, limit in thresholds.items():
        # Steps before the held-out ones are no test: the model was trained on them.
        values = [one.score.copy() for one in scores[name]]
        for value in values:
            value[: -watched.held_out] = np.nan
        limits = [limit.of(one.item_id) for one in scores[name]]
        result[name] = evaluate_detection(values, injected, limits)
    first = next(iter(scores))
    plot_anomalies(
        since(scores[first], shown),
        thresholds[first],
        picture,
        labels=[series.labels[-shown:] for series in injected],
        title="Injected anomalies",
    )
    return result


def write_results(
    job: Job,
    predictor: TSDiffPredictor,
    output: Path,
    settings: ScoringSettings,
    injection: InjectionConfig,
    quantile: float,
    reference: int | None,
    train_seconds: float,
) -> None:
    """Score, evaluate, and leave everything in `output`."""
    watched = watch(job, predictor, reference, settings)
    started = time.perf_counter()
    with status("scoring the series"):
        scores = all_scores(predictor, watched.entries, settings, watched, watched.scored)
    scores = {name: since(results, watched.scored) for name, results in scores.items()}
    score_seconds = time.perf_counter() - started
    thresholds = thresholds_of(scores, watched.held_out, quantile)
    model, limit = scores["TSDiff"], thresholds["TSDiff"]
    frame = anomalies_to_frame(model, limit)
    origin = job.series.origin
    write_csv(output / "scores.csv", origin.restored(frame))
    found = stretches_to_frame(model, limit)
    write_csv(output / "anomalies.csv", origin.restored(found, times=("first", "last")))
    plot_anomalies(model, limit, output / "anomalies.png", title="Scores above the threshold")
    late = sum(len(stretches(limit.exceeded(one)[-watched.held_out :])) for one in model)
    show(
        f"{counted(len(found), 'stretch', 'stretches')} of {len(model)} series above the threshold, the {quantile:g} "
        f"quantile of each series' scores before the held-out steps; {late} in the last {watched.held_out}, held out"
    )
    with status("scoring series with injected anomalies"):
        injection = fitting(injection, watched.held_out)
        metrics = injected_metrics(predictor, watched, thresholds, settings, injection, output / "injected.png")
    if metrics:
        write_text(output / "evaluation.md", evaluation_text(metrics, injection, quantile))
        show(f"injected anomalies found (AUROC / average precision over steps; more in {output / 'evaluation.md'}):")
        show_lines(detection_table(metrics))
    else:
        for name in _OF_INJECTION:  # of an earlier run
            (output / name).unlink(missing_ok=True)
    write_json(
        output / "metrics.json",
        {
            **{_key(name): kinds["all"].as_dict() for name, kinds in metrics.items()},
            "kinds": {
                kind: {_key(name): kinds[kind].as_dict() for name, kinds in metrics.items()}
                for kind in metrics.get("TSDiff", {})
                if kind != "all"
            },
            "found": len(found),
            "seconds": {"train": round(train_seconds, 2), "score": round(score_seconds, 2)},
        },
    )


def _key(name: str) -> str:
    """A method's name in metrics.json."""
    return "model" if name == "TSDiff" else name.split(" (")[0].replace(" ", "_").replace("-", "_")


def evaluation_text(
    metrics: dict[str, dict[str, DetectionMetrics]], injection: InjectionConfig, quantile: float
) -> str:
    """evaluation.md."""
    return (
        "# Injected anomalies found\n\n"
        f"Put into the held-out steps: up to {injection.per_series} a series, {injection.shortest} to "
        f"{injection.longest} steps, magnitude {injection.magnitude:g}, seed {injection.seed}. AUROC / average "
        "precision over steps, each kind against ordinary steps; chance is 0.5 / the share of anomalous steps. Found: "
        f"share of anomalies with a step above the threshold, the {quantile:g} quantile of a series' scores before "
        "them.\n\n" + detection_table(metrics)
    )


def method_of(options: Anomaly, model: TSDiff | None = None) -> Method:
    """How steps are scored; without a model by one that is to be trained, which has no anchors.

    Raises:
        ConfigError: a method that the model cannot be scored by, or a calendar, of which that method knows nothing.
    """
    usual = "elbo" if model is None else usual_method(model)
    method = options.method or usual
    if method == "forecast" != usual:
        whose = "a model that is trained here" if model is None else "this model"
        raise ConfigError(
            f"--method forecast: {whose} has no anchors to forecast by, as the bundled one has; give --no-train, or "
            "leave --method out"
        )
    if method != "forecast" and options.calendar_days is not None:
        raise ConfigError(
            f"--calendar, --no-calendar: scores by {method} know no calendar, those by forecasts do; leave it out, or "
            "give --no-train, which takes the bundled model"
        )
    return method


def main(options: Anomaly) -> None:
    """Train TSDiff, score every step, and measure what injected anomalies are found."""
    if options.is_scaled:
        from tsdiff.commands.scaled import anomaly

        anomaly(options)
        return
    prepare(options.threads)
    output, seed = options.output, options.seed_or_zero
    scoring(options.method or "forecast", options.stride, seed, options.calendar_days)  # before the work, if it refuses
    injection = InjectionConfig(magnitude=options.magnitude, seed=seed)
    ranking_scores()
    claim_output(output)
    job = load_watch_job(options)
    if job.model is None:
        method_of(options)  # before the training, for what it refuses
    predictor, seconds = predictor_for(job, options)
    method = method_of(options, predictor.model)
    stride = options.stride if method == "forecast" else options.stride or job.prediction_length
    settings = scoring(method, stride, seed, options.calendar_days)
    write_results(job, predictor, output, settings, injection, options.quantile, options.reference, seconds)
    evaluated = [name for name in _OF_INJECTION if (output / name).is_file()]
    files = ("anomalies.png", "scores.csv", "anomalies.csv", *evaluated, "metrics.json")
    show(f"results: {output}/ ({', '.join(files)})")
