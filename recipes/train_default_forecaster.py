"""Train the forecaster that ships with the package, `TSDiff.from_pretrained("default")`, from scratch.

    python recipes/train_default_forecaster.py                                 about a quarter of an hour on a free core
    python recipes/train_default_forecaster.py --install                       and put it where the package finds it

It learns from the training parts of five of the shared sets and from synthetic series; the last steps of each set are
held back to choose settings by (`recipes/default_forecaster/default.py`). A run that is stopped goes on where it was.
`--recipe anchored` trains the model that is meant to follow it, `recipes/default_forecaster/anchored.py`, for hours.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from default_forecaster import anchored, default

from shared.console.command import prepare, run, show
from shared.files.io import write_json
from tsdiff.model.model import BUNDLED
from tsdiff.predictor import TSDiffPredictor
from tsdiff.pretraining.training import LOSS, train

Recipe = Literal["default", "anchored"]


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds series/.")] = Path("../shared/data"),
    output: Annotated[Path, typer.Option(help="Folder for the training state and the model.")] = Path("runs/default"),
    steps: Annotated[int | None, typer.Option(help="Training steps; by default the recipe's.")] = None,
    synthetic: Annotated[int, typer.Option(help="Synthetic series.")] = 24000,
    recipe: Annotated[Recipe, typer.Option(help="Which model.")] = "default",
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    install: Annotated[bool, typer.Option("--install", help="Write the model into the package, too.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
) -> None:
    """Train the bundled forecaster."""
    prepare(threads)
    started = time.process_time()
    if recipe == "anchored":
        made, source, loss = anchored, anchored.anchored_source(data / "series", synthetic, seed), anchored.LOSS
    else:
        made, source, loss = default, default.default_source(data / "series", synthetic, seed), LOSS
    training = replace(made.TRAINING, max_steps=steps or made.TRAINING.max_steps, seed=seed)
    state = output / "training"
    state.mkdir(parents=True, exist_ok=True)
    model = train(default.new_model(made.CONFIG, seed), source, training, state, loss=loss)
    predictor = TSDiffPredictor(model, made.SAMPLING)
    predictor.serialize(output / "model")
    if install:
        predictor.serialize(BUNDLED / "default")
    minutes = (time.process_time() - started) / 60
    write_json(
        output / "training.json",
        {"cpu_minutes": round(minutes, 2), "steps": training.max_steps, "synthetic": synthetic},
    )
    show(f"model: {output / 'model'}; {minutes:.1f} CPU-minutes in this process")


if __name__ == "__main__":
    run(main, __doc__)
