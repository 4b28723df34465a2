"""The console command `speech`: one module a verb; the recipes are the same verbs as scripts."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

VERBS = ("enhance", "evaluate", "train")
"""Each is the function `main` of the module of its name here."""


def application(verbs: tuple[str, ...] = VERBS) -> typer.Typer:
    """The application with `verbs`, whose modules are imported."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        help="Speech by diffusion: enhance recordings, evaluate enhanced ones, train a model.",
    )
    app.callback()(lambda: None)
    for verb in verbs:
        app.command(verb)(import_module(f"speech.commands.{verb}").main)
    return app


def main() -> None:
    """Entry point of the console command; a verb is imported alone, without what the others need."""
    from speech.commands.common import run_app

    named = tuple(verb for verb in VERBS if verb in sys.argv[1:2])
    run_app(application(named or VERBS))
