"""The verbs with --engine: a trained model on all series of a folder, with what is finished kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

from shared.console.command import claim_output, fail, given, note, prepare, show
from shared.errors import ConfigError
from shared.scale import Report
from shared.scale.places import Folder, folder_of, write_record
from tsdiff import scale
from tsdiff.commands.options import Anomaly, Forecast, Impute
from tsdiff.data.known import Names
from tsdiff.predictor import TSDiffPredictor
from tsdiff.tasks.anomaly.scores import scoring, usual_method

_SHOWN = 20
_OTHERS = {
    **{name: f"--{name.replace('_', '-')}" for name in ("windows", "context_length", "steps", "retrain", "dynamic")},
    **{name: f"--{name}" for name in ("static", "budget", "hide", "reference", "magnitude")},
    "minutes": "--fine-tune",
}
"""Options of training and scoring, by their fields."""


def forecast(options: Forecast) -> None:
    """Forecast what comes after each series."""
    sampling = given(guidance=options.guidance, seed=options.seed) | options.limits
    known = {
        "future": None if options.future is None else _address(options.future),
        "past_covariates": options.past_covariates or (),
    }
    _run(scale.forecast, options, "forecasts", num_samples=options.samples, sampling=sampling, **known)


def impute(options: Impute) -> None:
    """Fill the gaps of each series."""
    sampling = given(seed=options.seed) | options.limits
    _run(scale.impute, options, "imputed", num_samples=options.samples, sampling=sampling)


def anomaly(options: Anomaly) -> None:
    """Score every step of each series."""
    method = options.method
    if method is None and options.chosen is not None:
        method = usual_method(TSDiffPredictor.from_pretrained(options.chosen).model)
    chosen = scoring(method or "forecast", options.stride, options.seed_or_zero, options.calendar_days)
    _run(scale.anomaly, options, "scores", scoring=chosen, quantile=options.quantile)


def _run(call: Callable[..., Report], options: Forecast | Impute | Anomaly, name: str, **settings: Any) -> None:
    defaults = {one.name: one.default for one in fields(options)}
    for field, option in _OTHERS.items():
        if field in defaults and getattr(options, field) != defaults[field]:
            raise ConfigError(f"{option} trains or scores, which --engine does not; leave one of them out")
    if options.data is None:
        raise ConfigError("--engine needs --data: a folder of Parquet files of long frames, or its address")
    if options.chosen is None:
        raise ConfigError("--engine needs a trained model: --model FOLDER, or --model default for the bundled one")
    prepare(options.threads)
    output = folder_of(_address(options.output))
    if isinstance(output, Path):
        claim_output(output)
    target = options.target if options.target != defaults["target"] else None
    report = call(
        _address(options.data),
        str(output / name),
        model=options.chosen,
        prediction_length=options.prediction_length,
        freq=options.freq,
        columns=Names(options.item_id, options.timestamp, target),
        device=options.device,
        **settings,
        **options.where(options.workers),
    )
    _tell(report, output, name)


def _address(path: Path) -> str:
    """A folder, or an address "…://…", of which a Path has lost slashes."""
    found = re.match(r"([A-Za-z][\w+.-]+):/+(.*)", path.as_posix())
    if found is None:
        return str(path)
    return f"{found[1]}://{'/' if found[1] in ('file', 'local') else ''}{found[2]}"


def _tell(report: Report, output: Folder, name: str) -> None:
    """What came of it: on the console, and in metrics.json."""
    for text, units in list(report.notes.items())[:_SHOWN]:
        note(f"{text} (in {units} units)" if units > 1 else text)
    for item, why in list(report.failed.items())[:_SHOWN]:
        fail(f"failed: {item}: {why}")
    if len(report.failed) > _SHOWN:
        fail(f"… and {len(report.failed) - _SHOWN} more, in {report.folder / '_failed.csv'}")
    before = f" ({report.before} units of {report.before + report.units} were there)" if report.before else ""
    numbers = {"series": report.items, "failed": len(report.failed), "units": report.units, "before": report.before}
    write_record(output / "metrics.json", {**numbers, "seconds": round(report.seconds, 2)})
    show(f"{report.items} series in {report.seconds:.1f} s{before}")
    show(f"results: {output}/ ({name}/*.parquet, metrics.json)")
    if report.failed:
        raise typer.Exit(1)
