"""The console command `speech`: one module a verb; the recipes are the same verbs as scripts."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from shared.console.command import Verb, group, run, run_app
from shared.errors import ConfigError
from speech.commands import options

VERBS = {
    kind.__name__.lower(): Verb(kind, f"{__name__}.{kind.__name__.lower()}")
    for kind in (options.Enhance, options.Stream, options.Evaluate, options.Diagnose, options.Train, options.Export)
}
"""Each is a module here, which is loaded when it runs."""

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
"""In a clone; a wheel has none."""


def application() -> typer.Typer:
    """The application; `prepare` is a recipe, which it passes on to."""
    about = (
        "Speech by diffusion: enhance recordings and streams, score them, diagnose, train and export models, prepare "
        "data to train on."
    )
    app = group(about, VERBS)
    if (RECIPES / "speech_pairs").is_dir():
        sys.path.append(str(RECIPES))
        app.add_typer(import_module("speech_pairs.command").application(), name="prepare")
    else:
        app.command("prepare", context_settings={"ignore_unknown_options": True})(_elsewhere)
    return app


def _elsewhere(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
    """Make clean and noisy pairs: a recipe of the repository."""
    raise ConfigError("data is prepared by a recipe, which needs a clone: python recipes/prepare_speech.py")


def script(verb: str, about: str | None) -> None:
    """Run a verb as a script of its own, with `about` as help."""
    run(VERBS[verb], about)


def main() -> None:
    """Entry point of the console command."""
    run_app(application())
