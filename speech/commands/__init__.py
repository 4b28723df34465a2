"""The console command `speech`: one module a verb; the recipes are the same verbs as scripts."""

from __future__ import annotations

import sys

import typer

from shared.console.command import group, named_verb, run_app, verbs_of

VERBS = {
    "enhance": "Enhance a noisy recording, or a folder of them.",
    "evaluate": "Score enhanced recordings, or what a model makes of noisy ones.",
    "train": "Train a model as a YAML file says.",
    "prepare": "Make clean and noisy pairs of public sets or own recordings.",
}
"""Each is a module here."""


def application(named: str | None = None) -> typer.Typer:
    """The application; where a verb is named, only its module is imported."""
    about = "Speech by diffusion: enhance recordings, score them, train models, prepare data to train on."
    return group(about, verbs_of(__name__, VERBS, named), VERBS)


def main() -> None:
    """Entry point of the console command."""
    run_app(application(named_verb(sys.argv[1:]) or "none"))
