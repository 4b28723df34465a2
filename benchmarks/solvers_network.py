"""How near few calls of a guided forecaster come to many, by solver; and how these forecasts score.

The distance is the median over samples of the RMS distance to where many calls lead from the same noise, as a share of
the samples' deviation. Grids are searched on other series.

Example:
    python recipes/forecast.py
    OMP_NUM_THREADS=1 python benchmarks/solvers_network.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from gluonts.dataset.split import TestData
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.random import make_generator
from shared.samplers import EVODiff, Exponential, GaussianExponential, Sampler, sample
from shared.samplers.gaussian import knowing
from tsdiff import TSDiffPredictor
from tsdiff.data import EMBEDDED, embedded_series, split_windows
from tsdiff.data.entries import Entry
from tsdiff.evaluation.metrics import evaluate
from tsdiff.evaluation.schedule import search_schedule
from tsdiff.model.times import call_times
from tsdiff.sampling.drawing import guidance_of
from tsdiff.sampling.gaussian import guided_law
from tsdiff.windows.conditioning import Windows, forecast_place
from tsdiff.windows.series import observed_series

CALLS = (4, 6, 8, 12, 16)
LAST = 4.0
"""Log-SNR of the last call."""
METHODS: dict[str, Sampler] = {
    "ode1": Exponential(1),
    "ode2": Exponential(2),
    "ode2, B(h) = e^h − 1": Exponential(2, slope="bh2"),
    "ode3": Exponential(3),
    "ode2, corrector": Exponential(2, corrector=True),
    "ode2, B(h) = e^h − 1, corrector": Exponential(2, slope="bh2", corrector=True),
    "EVODiff": EVODiff(),
    "Gaussian integrator": GaussianExponential(),
    "teleport + Gaussian integrator": GaussianExponential(teleport=-1.0),
}
SEARCHED = {"ode2, searched grid": Exponential(2), "ode2, corrector, searched grid": Exponential(2, corrector=True)}
SCORED: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "ode2, 5 calls": {"method": "ode2", "steps": 5},
    "ode2, B(h) = e^h − 1, 5 calls": {"method": Exponential(2, slope="bh2"), "steps": 5},
    "ode2, B(h) = e^h − 1, 40 calls": {"method": Exponential(2, slope="bh2"), "steps": 40},
    "Gaussian integrator, 5 calls": {"method": GaussianExponential(), "steps": 5},
    "EVODiff, 5 calls": {"method": EVODiff(), "steps": 5},
    "ode2, 2 calls": {"method": "ode2", "steps": 2},
    "teleport + Gaussian integrator, 2 calls": {"method": GaussianExponential(teleport=-1.0), "steps": 2},
    "teleport + Gaussian integrator, 1 call": {"method": GaussianExponential(teleport=0.0), "steps": 1},
}
"""Settings whose forecasts are scored."""


class Case:
    """Windows to forecast, states to start from, and where many calls lead."""

    def __init__(self, predictor: TSDiffPredictor, entries: list[Entry], draws: int, fine: int):
        self.model, self.sampling = predictor.model, predictor.sampling
        config = self.model.config
        series = [observed_series(entry, config, str(i), config.prediction_length) for i, entry in enumerate(entries)]
        places = [forecast_place(one, config) for one in series]
        rows = np.repeat(np.arange(len(places)), draws)
        self.windows = Windows.of(places, config, self.model.statistics).rows(rows)
        self.generators = [make_generator("network", i) for i in range(len(rows))]
        levels = np.full(len(rows), 0.5)
        self.guidance = guidance_of(self.model, self.sampling, self.windows, levels, self.generators)
        self.x = self.model.sde.prior_sample(self.windows.values.shape, self.generators)
        self.end = self.drawn(Exponential(3), call_times(self.model.sde, fine, LAST))[0]

    def drawn(self, method: Sampler, times: Tensor) -> tuple[Tensor, int]:
        """Windows, and the calls that they took."""
        shape = self.windows.values.shape[1:]
        told = knowing(method, lambda: guided_law(self.guidance, self.model.law, method, shape))
        found = sample(
            lambda x, t: self.model(x, t, **self.windows.inputs),
            self.model.sde,
            x_start=self.x,
            method=told,
            schedule=times,
            guidance=self.guidance,
        )
        return found.x, found.nfe

    def error(self, method: Sampler, calls: int, times: Tensor | None = None) -> float:
        """The distance, of what is forecast alone."""
        steps = calls - (isinstance(method, Exponential) and method.order == 3)
        x, nfe = self.drawn(method, call_times(self.model.sde, steps, LAST, method) if times is None else times)
        assert nfe == calls, (method, nfe)
        ahead = self.model.config.context_length
        far, end = (x - self.end)[:, ahead:], self.end[:, ahead:]
        return float(far.square().mean((1, 2)).sqrt().median() / end.std())


def scores(base: TSDiffPredictor, test: TestData, samples: int) -> list[list[str]]:
    """CRPS and coverage of the forecasts of all test windows."""
    rows = []
    for name, changes in SCORED.items():
        found = evaluate(list(base.with_sampling(**changes).predict(test.input, num_samples=samples)), test)
        rows.append([name, f"{found.crps:.4f}", f"{found.coverage_50:.3f}", f"{found.coverage_90:.3f}"])
        print(*rows[-1], flush=True)
    return rows


def main(
    model: Annotated[Path, typer.Option(help="Model that is guided.")] = Path("runs/forecast/model"),
    draws: Annotated[int, typer.Option(help="Samples of each of eight windows.")] = 4,
    fine: Annotated[int, typer.Option(help="Calls of ode3 that the others are to come near to.")] = 150,
    samples: Annotated[int, typer.Option(help="Samples of each forecast that is scored.")] = 30,
    output: Annotated[Path, typer.Option(help="Markdown file.")] = Path("benchmarks/results/solvers_network.md"),
) -> None:
    """Measure every method."""
    torch.set_num_threads(1)
    info = EMBEDDED["pjm_hourly"]
    test = split_windows(embedded_series(), info.prediction_length, info.windows).test
    windows = list(test.input)
    base = TSDiffPredictor.from_pretrained(model)
    case = Case(base, windows[:: max(1, len(windows) // 8)][:8], draws, fine)
    rows = []
    for name, method in METHODS.items():
        rows.append([name, *(f"{case.error(method, calls):.4f}" for calls in CALLS)])
        print(*rows[-1], flush=True)
    others = windows[1 :: max(1, len(windows) // 4)][:4]
    for name, method in SEARCHED.items():
        errors = []
        for calls in CALLS:
            tried = base.with_sampling(method=method, log_snr_end=LAST)
            found = search_schedule(tried, others, calls, draws=2, fine=60, most_runs=40)[1]
            errors.append(case.error(method, calls, torch.tensor(found.times, dtype=torch.float64)))
        rows.append([name, *(f"{error:.4f}" for error in errors)])
        print(*rows[-1], flush=True)
    text = header("Few calls of a guided forecaster") + (
        f"\nEight windows of the embedded data × {draws} samples of the main job's model (`recipes/forecast.py`), "
        "guided as it is. The median over "
        f"samples of the RMS distance, over the steps that are forecast, to where {fine} calls of ode3 lead from the "
        f"same noise, as a share of the samples' deviation; the last call at log-SNR {LAST}. The Gaussian integrator "
        "goes by the law of the training windows given what is observed. Searched grids are found on four other "
        "windows.\n\n"
    )
    text += table(["calls", *map(str, CALLS)], rows) + (
        f"\nScores of all {len(test)} test windows, {samples} samples each; the last call at the forecaster's own "
        "log-SNR. The teleports go to log-SNR −1 and 0.\n\n"
    )
    write_text(output, text + table(["setting", "CRPS", "cover 50 %", "cover 90 %"], scores(base, test, samples)))


if __name__ == "__main__":
    typer.run(main)
