"""The console command `tsdiff`: one module a verb; the recipes are the same verbs as scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.console.command import Verb, group, run, run_app
from tsdiff.commands import options

if TYPE_CHECKING:
    import typer

VERBS = {
    kind.__name__.lower(): Verb(kind, f"{__name__}.{kind.__name__.lower()}")
    for kind in (
        options.Forecast,
        options.Impute,
        options.Refine,
        options.Synthesize,
        options.Anomaly,
        options.Diagnose,
        options.Train,
        options.Evaluate,
    )
}
"""Each is a module here, which is loaded when it runs."""


def application() -> typer.Typer:
    """The application."""
    about = "Time-series diffusion: forecast, impute, refine, synthesize, find anomalies, diagnose, train, evaluate."
    return group(about, VERBS)


def script(verb: str, about: str | None) -> None:
    """Run a verb as a script of its own, with `about` as help."""
    run(VERBS[verb], about)


def main() -> None:
    """Entry point of the console command."""
    run_app(application())
