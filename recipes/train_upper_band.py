"""Train the network that ships for what lies above 8 kHz (`speech.model.upper_band`), on a CPU in about an hour.

    python recipes/train_upper_band.py --further data/noise_recordings --output runs/upper_band
    cp runs/upper_band/model/* speech/pretrained/upper_band/
    python recipes/train_upper_band.py --device cuda --parts 100 --steps 20000 --batch-size 192 --workers 14

Mixtures at 48 kHz are made first, each with what the bundled models make of its lower band, and kept in parts; a run
that is stopped goes on where it was. Every tenth recording of speech and the noises of --choose are kept for
validation, whose loss is in model.json beside that of the noisy mixtures. More noises, as noise_recordings.py leaves
them in train/ and valid/, come from --further.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.console.command import note, prepare, run, show
from shared.console.options import Device

WIDTHS, SHARE = (112, 160, 96), 0.35
"""Of the network that ships (`UpperBandConfig`)."""


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds fullband/train and train/noise.")] = Path(
        "../shared/data/speech"
    ),
    further: Annotated[Path | None, typer.Option(help="Folder of more noises, with train/ and valid/.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for mixtures, training state and model.")] = Path(
        "runs/upper_band"
    ),
    parts: Annotated[int, typer.Option(help="Parts of mixtures.", min=1)] = 60,
    count: Annotated[int, typer.Option(help="Mixtures of 3 s in a part.", min=1)] = 40,
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = 5000,
    levels: Annotated[float, typer.Option(help="Weight of the levels in the loss, beside .1 of the error.")] = 0.1,
    choose: Annotated[str, typer.Option(help="Beginnings of the names of noises for validation.")] = (
        "sea_waves,fire_crackling"
    ),
    name: Annotated[str, typer.Option(help="Of the training within --output.")] = "model",
    seed: Annotated[int, typer.Option(help="Of all that training draws.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
    device: Device = "cpu",
    batch_size: Annotated[int, typer.Option(help="Crops in a batch.", min=1)] = 24,
    workers: Annotated[int, typer.Option(help="Processes that make batches.", min=0)] = 0,
) -> None:
    """Make the mixtures that are not there, train, and validate."""
    import torch  # takes seconds to load, which help does not need
    from upper_band.kept import fitted
    from upper_band.mixtures import UpperBandLoss, UpperBandSource

    from shared.devices import compute_device
    from shared.files.io import write_json
    from speech import Enhancer
    from speech.model.upper_band import UpperBandConfig, UpperBandNetwork

    prepare(threads)
    where = compute_device(device)
    started = time.process_time()
    models = [Enhancer.from_pretrained(each, device=where) for each in ("default", "causal")]
    train, valid = mixtures(data, further, output, models, choose, count, seed)
    made = []
    for place in range(parts):
        made.append(train.part(place))
        note(f"mixtures: part {place + 1} of {parts}, {(time.process_time() - started) / 60:.1f} CPU-minutes")
    held = UpperBandSource([valid.part(place) for place in range(2)])
    torch.manual_seed(seed)
    loss = UpperBandLoss(levels=levels)
    network = fitted(
        UpperBandNetwork(UpperBandConfig(widths=WIDTHS, share=SHARE)),
        loss,
        UpperBandSource(made, batch_size),
        output / f"{name}-state",
        steps=steps,
        seed=seed,
        made_of=[train.kind, str(parts), str(batch_size)],
        workers=workers,
        accelerator="gpu" if where.type == "cuda" else where.type,
    )
    network.save_pretrained(output / name, half=True)
    scores = validated(network, held)
    minutes = (time.process_time() - started) / 60
    write_json(output / f"{name}.json", {**scores, "steps": steps, "levels": levels, "cpu_minutes": round(minutes, 1)})
    show(f"model: {output / name}; {scores}; {minutes:.1f} CPU-minutes in this process")


def mixtures(
    data: Path, further: Path | None, output: Path, models: list[Any], choose: str, count: int, seed: int
) -> tuple[Any, Any]:
    """The `Mixtures` to train on and to validate with."""
    from upper_band.kept import RATE, full_band_clips
    from upper_band.mixtures import MIX, Mixtures

    from speech.data.clips import read_clips

    cache = output / "clips"
    cache.mkdir(parents=True, exist_ok=True)
    speech = full_band_clips(data / "fullband/train/clean", cache)
    recorded = read_clips(data / "fullband/train/noise", RATE, cache=cache)
    collected = read_clips(data / "train/noise", RATE, cache=cache)
    held_out = tuple(f"esc10/{each}" for each in choose.split(","))
    kept = [clip for clip in recorded if clip.id.startswith(held_out)]
    noises = [clip for clip in recorded if not clip.id.startswith(held_out)]
    if further is not None:
        collected = [*collected, *read_clips(further / "train", RATE, cache=cache)]
        kept = [*kept, *read_clips(further / "valid", RATE, cache=cache)]
    heard = [clip for place, clip in enumerate(speech) if place % 10]
    train = Mixtures(output / "train", heard, [*noises, *collected], models, count, seed=seed)
    plain = replace(MIX, clean=0.0, silence=0.0, synthetic=0.3, noises=1, noise_speed=(1.0, 1.0), snr_db=(-5.0, 20.0))
    return train, Mixtures(output / "valid", speech[::10], kept, models, count, plain, seed=1)


def validated(network: Any, held: Any) -> dict[str, dict[str, float]]:
    """Means of both parts of the loss, in dB, of the enhanced and the noisy mixtures that were held out."""
    import torch
    from upper_band.mixtures import UpperBandLoss

    losses = {"error": UpperBandLoss(1.0, 0.0), "levels": UpperBandLoss(0.0, 1.0, louder=1.0)}
    values: dict[tuple[str, str], list[torch.Tensor]] = {}
    with torch.no_grad():
        for batch in held.plain():
            gains, _ = network(batch.condition["features"])
            for title, each in (("enhanced", gains), ("noisy", torch.ones_like(gains))):
                for part, loss in losses.items():
                    values.setdefault((title, part), []).append(loss.of_gains(each, batch.x0, batch.condition))
    means = {key: round(float(torch.cat(found).mean()), 2) for key, found in values.items()}
    return {title: {part: means[title, part] for part in losses} for title in ("enhanced", "noisy")}


if __name__ == "__main__":
    run(main, __doc__)
