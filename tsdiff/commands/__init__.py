"""The console command `tsdiff`: one module a verb; the recipes are the same verbs as scripts."""

from __future__ import annotations

import typer

from tsdiff.commands import anomaly, evaluate, forecast, impute, refine, synthesize, train
from tsdiff.commands.common import run_app

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Time-series diffusion: forecast, impute, refine, synthesize, find anomalies, train, evaluate.",
)
app.callback()(lambda: None)
app.command("forecast")(forecast.main)
app.command("impute")(impute.main)
app.command("refine")(refine.main)
app.command("synthesize")(synthesize.main)
app.command("anomaly")(anomaly.main)
app.command("train")(train.main)
app.command("evaluate")(evaluate.main)


def main() -> None:
    """Entry point of the console command."""
    run_app(app)
