"""Train the network that adds what a recording lacks above 8 kHz (`upper_band="extend"`), in minutes of a CPU.

    python recipes/train_extension.py --output runs/extension
    cp runs/extension/model/* speech/pretrained/extension/
    python recipes/train_extension.py --voices runs/voices          with synthetic voices (recipes/synthetic_voices.py)

Recordings whose band was limited, and restored up to 8 kHz by the bundled model for that, are made first and kept in
parts; a run that is stopped goes on where it was. Every tenth recording is kept for validation, whose distance of
levels is in model.json beside that of nothing added.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.console.command import note, prepare, run, show


def main(
    data: Annotated[Path, typer.Option(help="Folder of speech at 44.1 kHz or more.")] = Path(
        "../shared/data/speech/fullband/train/clean"
    ),
    voices: Annotated[Path | None, typer.Option(help="Folder of speech at 24 kHz besides, real to 11 kHz.")] = None,
    model: Annotated[str, typer.Option(help="What restores the band up to 8 kHz.")] = "bandwidth",
    output: Annotated[Path, typer.Option(help="Folder for recordings, training state and model.")] = Path(
        "runs/extension"
    ),
    parts: Annotated[int, typer.Option(help="Parts of recordings.", min=1)] = 12,
    count: Annotated[int, typer.Option(help="Recordings of 3 s in a part.", min=1)] = 40,
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="Of all that training draws.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
) -> None:
    """Make the recordings that are not there, train, and validate."""
    import torch  # takes seconds to load, which help does not need
    from upper_band.extensions import ExtensionLoss, Extensions, ExtensionSource, Voices
    from upper_band.kept import RATE, fitted, full_band_clips

    from shared.files.io import write_json
    from speech import Enhancer
    from speech.data.clips import read_clips
    from speech.model.upper_band import UpperBandConfig, UpperBandNetwork

    prepare(threads)
    started = time.process_time()
    cache = output / "clips"
    cache.mkdir(parents=True, exist_ok=True)
    whole = full_band_clips(data, cache)
    heard = [Voices([clip for place, clip in enumerate(whole) if place % 10])]
    if voices is not None:
        heard.append(Voices(read_clips(voices, RATE, cache=cache), edge=11000.0))
    enhancer = Enhancer.from_pretrained(model, device="cpu")
    train = Extensions(output / "train", heard, enhancer, count, seed)
    valid = Extensions(output / "valid", [Voices(whole[::10])], enhancer, count, seed=1)
    made = []
    for place in range(parts):
        made.append(train.part(place))
        note(f"recordings: part {place + 1} of {parts}, {(time.process_time() - started) / 60:.1f} CPU-minutes")
    held = ExtensionSource([valid.part(place) for place in range(2)])
    torch.manual_seed(seed)
    network = UpperBandNetwork(replace(UpperBandConfig(), share=0.0))
    source, depends_on = ExtensionSource(made), [train.kind, str(parts)]
    network = fitted(network, ExtensionLoss(), source, output / "state", steps=steps, seed=seed, made_of=depends_on)
    network.save_pretrained(output / "model")
    found = validated(network, held)
    minutes = (time.process_time() - started) / 60
    write_json(output / "model.json", {"levels_apart_db": found, "steps": steps, "cpu_minutes": round(minutes, 1)})
    show(f"model: {output / 'model'}; dB from the speech's levels: {found}; {minutes:.1f} CPU-minutes")


def validated(network: Any, held: Any) -> dict[str, float]:
    """Mean distance of levels above 8 kHz, in dB, of recordings that were held out: extended, and as they are."""
    import torch
    from upper_band.extensions import ExtensionLoss, nothing_added

    loss, found = ExtensionLoss(), {}
    with torch.no_grad():
        for title, gains in (("extended", network), ("as they are", partial(nothing_added, config=network.config))):
            values = [loss(gains, batch.x0, condition=batch.condition) for batch in held.plain()]
            found[title] = round(float(torch.cat(values).mean()), 2)
    return found


if __name__ == "__main__":
    run(main, __doc__)
