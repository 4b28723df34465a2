"""Synthetic windows on the benchmark sets: how real they look, and what forecasters learn from them.

Models are trained on the training parts with the presets of `tsdiff.experiment.presets` and kept in the folder
--trained, where `benchmarks/forecast_sets.py --keep` leaves the same ones; rows are added to the tables as they are
made, and what is there already is not made again.

Example:
    OMP_NUM_THREADS=1 python benchmarks/synthesis.py --set pjm_hourly --model linear --model deepar
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, DataFolder, LoadedSet, load
from shared.errors import DiffusionError
from shared.files.io import write_text
from tsdiff import TSDiff
from tsdiff.data import Entry
from tsdiff.experiment.presets import PRESETS
from tsdiff.tasks.synthesis import (
    DOWNSTREAM_MODELS,
    SynthesisConfig,
    enough_parts,
    gaussian,
    phase_randomised,
    plot_realism,
    real_windows,
    realism,
    synthesize,
    train_on_synthetic,
)

SETS = ("m4_hourly", "pjm_hourly", "exchange_rate_nips", "electricity_weekly", "solar_al_tail_hourly")
MODELS = ("linear", "deepar", "patchtst")
OURS, OTHERS, PHASES, GAUSSIAN = "TSDiff", "other real windows", "phase-randomised", "Gaussian"
LOOKS = ("scale_ks", "value_ks", "value_wasserstein", "increment_wasserstein", "acf_rmse", "spectrum_db")
LOOKS += ("excursion_ks", "excursion_wasserstein")
TOLD = ("auroc_logistic", "auroc_boosting", "accuracy_boosting")
SCORES = ("crps", "nd", "nrmse")
ROOT = Path("benchmarks/results")


@dataclass(frozen=True)
class Windows:
    """The windows of one set, as many of each kind."""

    data: LoadedSet
    real: list[Entry]
    others: list[Entry]
    made: Mapping[str, list[Entry]]


def trained(data: LoadedSet, folder: Path, seed: int) -> TSDiff:
    """The model of this set and seed: the one in `folder`, or a new one."""
    place = folder / f"{data.name}-{seed}"
    if not (place / "model.safetensors").is_file():
        preset = PRESETS[data.name].with_training(seed=seed)
        predictor = preset.estimator(data.freq, data.prediction_length).train(data.train, progress=False)
        predictor.model.save_pretrained(place)
    return TSDiff.from_pretrained(place)


def draw(data: LoadedSet, model: TSDiff, n: int, seed: int) -> Windows:
    """n windows of each kind, real ones all different."""
    config = model.config
    least = min(float(np.nanmin(entry["target"])) for entry in data.train)
    settings = SynthesisConfig(seed=seed, nonnegative=least >= 0)
    real = real_windows(data.train, config.length, 2 * n, seed=seed, parts=enough_parts(data.train))
    one, others = real[:n], real[n:]
    made = {
        OURS: list(synthesize(model, n, data.train, settings)),
        GAUSSIAN: gaussian(one, context_length=config.context_length, seed=seed),
        PHASES: phase_randomised(one, seed=seed),
    }
    return Windows(data, one, others, made)


def look(windows: Windows, seed: int, rows: Rows, pictures: Path) -> None:
    """Realism of each kind, and a picture of ours."""
    for name, made in {OTHERS: windows.others, **windows.made}.items():
        report = realism(windows.real, made, seed=seed)
        scores = report.as_dict()
        rows.add(
            {"set": windows.data.name, "windows": name, "seed": seed, "n": len(made)}
            | {score: scores[score] for score in (*LOOKS, *TOLD)}
        )
        print(windows.data.name, name, *(f"{score} {scores[score]:.3f}" for score in (*LOOKS, *TOLD)), flush=True)
        if name == OURS:
            path = pictures / f"synthesis_{windows.data.name}.png"
            plot_realism(report, path, title=windows.data.name, name=OURS)


def learn(windows: Windows, model: str, seed: int, rows: Rows, max_steps: int) -> None:
    """One forecaster, trained on each kind and scored on the test windows."""
    found = train_on_synthetic(
        windows.real,
        windows.made,
        windows.data.test,
        windows.data.freq,
        windows.data.prediction_length,
        models=[model],
        max_steps=max_steps,
        seed=seed,
    )
    for row in found:
        scores = {score: getattr(row.metrics, score) for score in SCORES}
        key = {"set": windows.data.name, "model": model, "trained_on": row.trained_on, "seed": seed}
        rows.add({**key, "n": len(windows.real), **scores, "seconds": row.seconds})
        print(*key.values(), *(f"{name} {value:.4f}" for name, value in scores.items()), flush=True)


def report(looks: Sequence[Mapping[str, Any]], worth: Sequence[Mapping[str, Any]], about: str) -> str:
    """Markdown of all rows."""
    kinds = (OTHERS, OURS, GAUSSIAN, PHASES)
    shown = [
        [row["set"], row["windows"], str(row["n"]), *(_shown(row.get(score, "")) for score in (*LOOKS, *TOLD))]
        for row in sorted(looks, key=lambda r: (_place(r["set"]), kinds.index(r["windows"]), r["seed"]))
    ]
    trained_on = ("real", OURS, GAUSSIAN, PHASES)
    groups: dict[tuple[str, str, int], dict[str, Mapping[str, Any]]] = {}
    for row in worth:
        groups.setdefault((row["set"], row["model"], row["seed"]), {})[row["trained_on"]] = row
    learned = [
        [name, model, *(_score(group, kind) for kind in trained_on)]
        for (name, model, _), group in sorted(
            groups.items(), key=lambda item: (DOWNSTREAM_MODELS.index(item[0][1]), _place(item[0][0]))
        )
    ]
    return (
        header("Synthetic windows: how real they look, and what forecasters learn from them")
        + f"\n{about}\n\n## What they are worth: train on synthetic, test on real\n\n"
        "CRPS on the real test windows, and how much it exceeds that of training on as many real windows. The linear "
        "model's is the Linear Predictive Score. The Gaussian windows have the mean and covariance of the real ones, "
        "which is all that a linear model learns from; the phase-randomised ones have each real window's spectrum.\n\n"
        + table(["set", "model", *trained_on], learned)
        + "\n## How real they look\n\nEach window is divided by its mean absolute value; scale_ks compares those. KS "
        "distances lie in 0 … 1; Wasserstein distances are in units of a window's mean absolute value, that of "
        "excursions (runs on one side of the real windows' median) in steps. The classifiers are cross-validated "
        "by series (or parts of series where there are few): an AUROC of 0.5 cannot tell, 1 "
        "always can.\n\n" + table(["set", "windows", "n", *LOOKS, *TOLD], shown)
    )


def _shown(value: float | str) -> str:
    """A score; rows of before a score was measured have none."""
    return "–" if value == "" else f"{float(value):.3f}"


def _place(name: str) -> int:
    return list(BENCHMARK_SETS).index(name)


def _score(group: Mapping[str, Mapping[str, Any]], kind: str) -> str:
    if kind not in group:
        return "–"
    share = "" if kind == "real" else f" ({group[kind]['crps'] / group['real']['crps'] - 1:+.0%})"
    return f"{group[kind]['crps']:.4f}{share}"


def main(
    sets: Annotated[list[str], typer.Option("--set", help="Sets; repeat the option.")] = list(SETS),  # noqa: B006
    models: Annotated[list[str], typer.Option("--model", help="Models; repeat the option.")] = list(MODELS),  # noqa: B006
    seeds: Annotated[list[int], typer.Option("--seed", help="Seeds; repeat the option.")] = [0],  # noqa: B006
    n: Annotated[int, typer.Option("--n", help="Windows of each kind.")] = 1000,
    max_steps: Annotated[int, typer.Option(help="Training steps of DeepAR and PatchTST.")] = 500,
    data: DataFolder = DEFAULT_DATA,
    trained_folder: Annotated[Path, typer.Option("--trained", help="Folder of trained models.")] = Path("runs/models"),
    output: Annotated[Path, typer.Option(help="Folder of the tables.")] = ROOT,
    report_only: Annotated[bool, typer.Option(help="Write the report of the rows that are there.")] = False,
) -> None:
    """Realism, LPS and TSTR of every set."""
    torch.set_num_threads(1)
    looks = Rows(output / "synthesis_realism.csv", ("set", "windows", "seed"))
    worth = Rows(output / "synthesis.csv", ("set", "model", "trained_on", "seed"))
    failed = []
    for seed in () if report_only else seeds:
        for name in sets:
            try:
                started = time.process_time()
                loaded = load(name, data)
                todo = [m for m in models if not worth.has(_key(name, m, PHASES, seed))]
                seen = looks.has({"set": name, "windows": PHASES, "seed": seed})
                if seen and not todo:
                    continue
                windows = draw(loaded, trained(loaded, trained_folder, seed), n, seed)
                print(name, f"drawn after {time.process_time() - started:.0f} CPU-seconds", flush=True)
                if not seen:
                    look(windows, seed, looks, output)
                for model in todo:
                    learn(windows, model, seed, worth, max_steps)
            except DiffusionError as error:
                failed.append(f"{name}, seed {seed}: {error}")
                print(f"failed: {failed[-1]}", file=sys.stderr, flush=True)
    networks = [m for m in MODELS[1:] if any(row["model"] == m for row in worth.read())]
    about = (
        f"{n} windows of each kind, of the length of the preset's model (context and horizon); TSDiff trained with the "
        "set's preset and drawn with 20 network calls, values below 0 set to 0 where the training series hold none. "
        + (f"{', '.join(networks)} trained {max_steps} steps on each kind. " if networks else "")
        + "One CPU thread."
    )
    write_text(output / "synthesis.md", report(looks.read(), worth.read(), about))
    if failed:
        raise typer.Exit(1)


def _key(name: str, model: str, trained_on: str, seed: int) -> dict[str, Any]:
    return {"set": name, "model": model, "trained_on": trained_on, "seed": seed}


if __name__ == "__main__":
    typer.run(main)
