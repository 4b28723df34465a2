"""What the settings of guided sampling do to one trained model: scores and network calls on the embedded test windows.

Example:
    python recipes/forecast.py && python benchmarks/sampling.py --model runs/forecast/model
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from tsdiff import TSDiffPredictor
from tsdiff.data import EMBEDDED, embedded_series, split_windows
from tsdiff.evaluation.metrics import evaluate

SETTINGS: list[dict[str, Any]] = [
    {},
    *({"steps": n} for n in (4, 8, 12, 24, 48)),
    *({"scale": s} for s in (0.5, 1.5, 2.0, 3.0)),
    *({"method": m} for m in ("sde1", "ode1", "ode2", "heun")),
    {"method": "ode2", "steps": 8},
    {"log_snr_end": 1.5},
    {"log_snr_end": 4.0},
    {"observation_std": 0.1},
    {"guidance": "quantile"},
    *({"guidance": "quantile", "observation_std": r} for r in (0.05, 0.2, 0.4)),
    {"guidance": "quantile", "method": "ode2"},
    *({"covariance": c} for c in ("tweedie", "scalar")),
    *({"covariance": "scalar", "scale": s} for s in (0.5, 2.0, 3.0)),
    {"covariance": "scalar", "guidance": "quantile"},
    *({"method": "ddim", "skip": 5, "scale": s} for s in (1.0, 4.0)),
    {"method": "ddpm", "scale": 4.0},
]


def main(
    model: Annotated[Path, typer.Option(help="Folder of the trained model.")] = Path("runs/forecast/model"),
    samples: Annotated[int, typer.Option(help="Samples of each forecast.")] = 50,
    output: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("benchmarks/results/sampling.md"),
) -> None:
    """Change one setting at a time from the defaults."""
    torch.set_num_threads(1)
    info = EMBEDDED["pjm_hourly"]
    test = split_windows(embedded_series(), info.prediction_length, info.windows).test
    base = TSDiffPredictor.from_pretrained(model)
    rows = []
    for changes in tqdm(SETTINGS):
        predictor = base.with_sampling(**changes)
        started = time.perf_counter()
        scores = evaluate(list(predictor.predict(test.input, num_samples=samples)), test)
        seconds = time.perf_counter() - started
        name = ", ".join(f"{key} = {value}" for key, value in changes.items()) or "defaults"
        values = (scores.crps, scores.nd, scores.coverage_50, scores.coverage_90)
        rows.append([name, str(predictor.nfe), *(f"{value:.4f}" for value in values), f"{seconds:.1f}"])
    text = (
        header("Guided sampling: one setting changed at a time")
        + f"\nEmbedded data, {len(test)} test windows, {samples} samples, one model, one CPU thread.\n\n"
        + table(["setting", "calls", "CRPS", "ND", "cover 50 %", "cover 90 %", "seconds"], rows)
    )
    write_text(output, text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
