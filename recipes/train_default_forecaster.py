"""Train the forecaster that ships with the package, `TSDiff.from_pretrained("default")`, from scratch.

    python recipes/train_default_forecaster.py --recipe weighing --install   what weighs simple forecasts: 45 minutes
    python recipes/train_default_forecaster.py --install                     the model around them: 40 minutes
    python recipes/train_default_forecaster.py --recipe map                  a flow map of the one that ships: an hour
    python recipes/train_default_forecaster.py --hardware gpu                the model in larger batches, on a GPU

The weighing learns in parts; --part 2 to 5 leave out what comes before, and go on from what ships.

They learn from the training parts of the shared sets, from synthetic series, and where --further names their folder
from more sets, such as `recipes/series_sets.py` makes, which what ships did without; other sets are kept to choose
settings by (`recipes/default_forecaster/default.py`). With `--install` they are put where the package finds them. A run
that is stopped goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from shared.console.command import prepare, run, show
from shared.errors import ConfigError

Recipe = Literal["default", "weighing", "map"]
Hardware = Literal["cpu", "gpu"]


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds series/.")] = Path("../shared/data"),
    further: Annotated[Path | None, typer.Option(help="Folder of more sets, one folder each.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the training state and the model.")] = Path("runs/default"),
    steps: Annotated[int | None, typer.Option(help="Training steps; by default the recipe's.")] = None,
    synthetic: Annotated[int, typer.Option(help="Synthetic series.")] = 12000,
    recipe: Annotated[Recipe, typer.Option(help="Which model.")] = "default",
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    install: Annotated[bool, typer.Option("--install", help="Write the model into the package, too.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
    hardware: Annotated[Hardware, typer.Option(help="Settings of the model's training, for one or the other.")] = "cpu",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto; left out, that of --hardware.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows in a batch; left out, by --hardware.", min=1)] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that make batches; left out, by --hardware.")] = None,
    windows: Annotated[int | None, typer.Option(help="Windows that the weighing learns from.", min=1)] = None,
    part: Annotated[int, typer.Option(help="Of the weighing's training, to begin with.", min=1, max=5)] = 1,
) -> None:
    """Train the bundled forecaster, what weighs the simple forecasts that it starts from, or a flow map of it."""
    from default_forecaster import default, weighing  # these take seconds to load, which help does not need

    from shared.files.io import write_json
    from tsdiff.model.model import BUNDLED, TSDiff
    from tsdiff.predictor import TSDiffPredictor
    from tsdiff.pretraining.training import train

    if recipe != "weighing" and (part != 1 or windows is not None):
        raise ConfigError(f"--part and --windows are of --recipe weighing, not of {recipe!r}; leave them out")
    prepare(threads)
    started = time.process_time()
    on_gpu = hardware == "gpu"
    batch_size = batch_size or (default.GPU_BATCH if on_gpu else default.BATCH)
    if recipe == "weighing":
        source = default.default_source(data / "series", synthetic, seed, batch_size)
        more = None if further is None else default.further_source(further)
        network = weighing.train_weighing(source, seed, windows, steps, part, workers or 0, more)
        show(f"weights: {weighing.save_weighing(network, BUNDLED / 'weighing' if install else output / 'weighing')}")
        return
    source = default.default_source(data / "series", synthetic, seed, batch_size, further)
    if recipe == "map":
        model, training = default.flow_map_of(TSDiff.from_pretrained("default")), default.MAP_TRAINING
        sampling, name = default.MAP_SAMPLING, "map"
    else:
        model, training = default.new_model(seed=seed), default.GPU_TRAINING if on_gpu else default.TRAINING
        sampling, name = default.SAMPLING, "model"
    if on_gpu or workers is not None:
        training = replace(training, num_workers=default.GPU_TRAINING.num_workers if workers is None else workers)
    training = replace(training, max_steps=steps or training.max_steps, seed=training.seed + seed)
    state = output / ("map-training" if recipe == "map" else "training")
    state.mkdir(parents=True, exist_ok=True)
    train(model, source, training, state, loss=default.LOSS, device=device or ("cuda" if on_gpu else "cpu"))
    predictor = TSDiffPredictor(model, sampling)
    predictor.serialize(output / name)
    if install:
        predictor.serialize(BUNDLED / "default")
    minutes = (time.process_time() - started) / 60
    write_json(
        output / f"{state.name}.json",
        {"cpu_minutes": round(minutes, 2), "steps": training.max_steps, "synthetic": synthetic},
    )
    show(f"model: {output / name}; {minutes:.1f} CPU-minutes in this process")


if __name__ == "__main__":
    run(main, __doc__)
