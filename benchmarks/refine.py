"""CRPS of simple forecasters before and after refinement, on every benchmark set.

The model is the one in --models (folders `<set>-0`, as `forecast_sets.py` leaves them), or one that is trained
here and left there. Noise level and strength of the prior are chosen for each base forecaster on the last
horizon of the training series, which the base forecaster of that choice has not seen; the defaults are shown too.
Each set's result is kept as JSON in --keep, and one that is there is not made again.

Example:
    python benchmarks/refine.py --variants pjm_hourly --variants electricity_weekly
    python benchmarks/refine.py --set pjm_hourly --base deepar
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import numpy as np
import torch
import typer
from gluonts.model.forecast import Forecast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DEFAULT_SETS, LoadedSet, load
from shared.io import write_json, write_text
from shared.training import quiet_lightning
from tsdiff import TSDiffPredictor
from tsdiff.baselines import train_baseline
from tsdiff.data import split_windows
from tsdiff.evaluation import Pair, evaluate
from tsdiff.presets import preset_for
from tsdiff.refine import Prior, RefineConfig, Refiner, candidates, choose_refinement, representative_log_snr

VARIANTS: dict[str, RefineConfig] = {
    "most likely": RefineConfig(),
    "most likely, denoising energy": RefineConfig(energy="denoising", steps=20),
    "Langevin": RefineConfig("langevin"),
    "Langevin, denoising energy": RefineConfig("langevin", energy="denoising", steps=20),
    "MALA": RefineConfig("mala", steps=20, redraw=False),
    "HMC": RefineConfig("hmc", steps=8, leapfrog_steps=3),
    "underdamped": RefineConfig("underdamped"),
    "critically damped": RefineConfig("critically_damped"),
}
CHOICE_WINDOWS, CHOICE_SAMPLES = 12, 10
VARIANT_WINDOWS = 12
Result = dict[str, Any]
T = TypeVar("T")


def model_of(data: LoadedSet, models: Path, steps: int) -> TSDiffPredictor:
    """The trained model of a set."""
    folder = models / f"{data.name}-0"
    if not (folder / "config.json").is_file():
        preset = preset_for(data.name, data.freq)
        shorter = preset.with_training(max_steps=min(steps, preset.training.max_steps))
        shorter.estimator(data.freq, data.prediction_length).train(data.train, progress=False).serialize(folder)
    return TSDiffPredictor.from_pretrained(folder)


def thinned(pairs: list[T], count: int) -> list[T]:
    """At most `count` of them, spread evenly."""
    return [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int))]


def base_forecasts(name: str, train: Any, data: LoadedSet, pairs: list[Pair], minutes: float) -> list[Forecast]:
    """A base forecaster's forecasts of the pairs, trained on `train`."""
    predictor = train_baseline(name, train, data.freq, data.prediction_length, cpu_minutes=minutes)
    return list(predictor.predict([past for past, _ in pairs]))


def crps(model: TSDiffPredictor, config: RefineConfig, base: list[Forecast], pairs: list[Pair]) -> float:
    """Of the refined forecasts."""
    return evaluate(Refiner(model.model, config).refine(base, [past for past, _ in pairs]), pairs).crps


def measure(
    data: LoadedSet, models: Path, bases: list[str], windows: int, samples: int, steps: int, minutes: float, every: bool
) -> Result:
    """One set."""
    model = model_of(data, models, steps)
    pairs = thinned(list(data.test), windows)
    held_out = split_windows(data.train, data.prediction_length, 1)
    validation = thinned(list(held_out.test), min(windows, CHOICE_WINDOWS))
    guided = evaluate(model.predict([past for past, _ in pairs], samples), pairs).crps
    result: Result = {"set": data.name, "windows": len(pairs), "guided": guided, "bases": {}}
    result["representative"] = representative_log_snr(model.model, data.train)
    for name in bases:
        base = base_forecasts(name, data.train, data, pairs, minutes)
        earlier = base_forecasts(name, held_out.train, data, validation, minutes)
        grid = candidates(RefineConfig(num_samples=CHOICE_SAMPLES), prior_scales=(0.01, 0.1, 0.5))
        chosen, _ = choose_refinement(model.model, earlier, validation, grid)
        started = time.process_time()
        after = crps(model, replace(chosen, num_samples=samples), base, pairs)
        seconds = (time.process_time() - started) / len(pairs)
        default = crps(model, RefineConfig(num_samples=samples), base, pairs)
        found: Result = {
            "before": evaluate(base, pairs).crps,
            "default": default,
            "chosen": after,
            "log_snr": chosen.log_snrs[0],
            "prior_scale": chosen.prior_scale,
            "seconds": seconds,
        }
        if every:
            few, some = thinned(pairs, VARIANT_WINDOWS), thinned(base, VARIANT_WINDOWS)
            found["variants_before"] = evaluate(some, few).crps
            found["variants"] = {}
            for (kind, config), prior in product(VARIANTS.items(), get_args(Prior)):
                settings = {"log_snrs": chosen.log_snrs, "prior_scale": chosen.prior_scale, "num_samples": samples}
                refined = crps(model, replace(config, prior=prior, **settings), some, few)
                found["variants"][f"{kind}, {prior}"] = refined
        result["bases"][name] = found
        print(data.name, name, json.dumps(found), flush=True)
    return result


def report(results: list[Result]) -> str:
    """The tables."""
    head = ["set", "windows", "base", "before", "defaults", "chosen", "change", "log-SNR", "λ", "s a window", "guided"]
    rows = [
        [
            one["set"],
            str(one["windows"]),
            name,
            *(f"{found[key]:.4f}" for key in ("before", "default", "chosen")),
            f"{100 * (found['chosen'] / found['before'] - 1):+.0f} %",
            f"{found['log_snr']:g}",
            f"{found['prior_scale']:g}",
            f"{found['seconds']:.2f}",
            f"{one['guided']:.4f}",
        ]
        for one in results
        for name, found in one["bases"].items()
    ]
    text = (
        "CRPS (mean weighted quantile loss, 0.1 … 0.9) of base forecasts before and after refinement, with the default "
        "settings and with noise level and prior strength chosen on a validation window. Last column: the same model's "
        "own guided forecasts of the same windows. Seconds are CPU time.\n\n"
    )
    text += table(head, rows)
    varied = [
        (one["set"], name, found) for one in results for name, found in one["bases"].items() if "variants" in found
    ]
    if varied:
        kinds = list(varied[0][2]["variants"])
        columns = [f"{name}, {where}" for where, name, _ in varied]
        body = [["(before)", *(f"{found['variants_before']:.4f}" for _, _, found in varied)]]
        body += [[kind, *(f"{found['variants'][kind]:.4f}" for _, _, found in varied)] for kind in kinds]
        text += "\n## Every method, with both priors, at the chosen noise level and strength\n\n"
        text += f"On {VARIANT_WINDOWS} of the windows.\n\n"
        text += table(["method, prior", *columns], body)
    return text


def csv_of(results: list[Result]) -> str:
    """One line a set and base forecaster."""
    keys = ("before", "default", "chosen", "log_snr", "prior_scale", "seconds")
    lines = [",".join(["set", "windows", "base", *keys, "guided", "representative_log_snr"])]
    for one in results:
        for name, found in one["bases"].items():
            values = [*(f"{found[key]:.6g}" for key in keys), f"{one['guided']:.6g}", f"{one['representative']:.3f}"]
            lines.append(",".join([one["set"], str(one["windows"]), name, *values]))
    return "\n".join(lines) + "\n"


def main(
    sets: Annotated[list[str] | None, typer.Option("--set", help="Sets; all default ones if left out.")] = None,
    base: Annotated[
        list[str] | None, typer.Option(help="Base forecasters; seasonal naive and linear if left out.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Data folder.")] = DEFAULT_DATA,
    models: Annotated[Path, typer.Option(help="Folder of trained models.")] = Path("runs/refine_models"),
    windows: Annotated[int, typer.Option(help="Test windows of each set, spread evenly.")] = 40,
    samples: Annotated[int, typer.Option(help="Samples of each refined forecast.")] = 32,
    steps: Annotated[int, typer.Option(help="Training steps, where a model is trained here.")] = 2500,
    minutes: Annotated[float, typer.Option(help="CPU minutes of training for a network as base forecaster.")] = 2.5,
    variants: Annotated[list[str] | None, typer.Option(help="Sets to run every method with both priors on.")] = None,
    keep: Annotated[Path, typer.Option(help="Folder for each set's result.")] = Path("runs/refine_results"),
    output: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("benchmarks/results/refine.md"),
) -> None:
    """Measure every set, and write the table."""
    torch.set_num_threads(1)
    quiet_lightning()
    bases = base or ["seasonal_naive", "linear"]
    results = []
    for name in sets or DEFAULT_SETS:
        kept = keep / f"{name}.json"
        if kept.is_file():
            results.append(json.loads(kept.read_text(encoding="utf-8")))
            continue
        results.append(
            measure(load(name, data), models, bases, windows, samples, steps, minutes, name in (variants or ()))
        )
        write_json(kept, results[-1])
    write_text(output, header("Refinement of base forecasts") + "\n" + report(results))
    write_text(output.with_suffix(".csv"), csv_of(results))


if __name__ == "__main__":
    typer.run(main)
