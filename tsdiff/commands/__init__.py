"""The console command `tsdiff`: one module a verb; the recipes are the same verbs as scripts."""

from __future__ import annotations

import sys

import typer

from shared.console.command import group, named_verb, run_app, verbs_of

VERBS = {
    "forecast": "Forecast with intervals, scored beside the seasonal naive.",
    "impute": "Fill gaps with intervals, scored on values hidden for it.",
    "refine": "Make the forecasts of simple forecasters likelier.",
    "synthesize": "Draw new series, and tell how real they are.",
    "anomaly": "Score every step, and mark what is unlikely.",
    "train": "Train as a YAML file says, tune, and test.",
    "evaluate": "Score trained models on test windows, over seeds.",
}
"""Each is a module here."""


def application(named: str | None = None) -> typer.Typer:
    """The application; where a verb is named, only its module is imported."""
    about = "Time-series diffusion: forecast, impute, refine, synthesize, find anomalies, train, evaluate."
    return group(about, verbs_of(__name__, VERBS, named), VERBS)


def main() -> None:
    """Entry point of the console command."""
    run_app(application(named_verb(sys.argv[1:]) or "none"))
