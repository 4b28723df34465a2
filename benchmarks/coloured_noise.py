"""What the colour of the noise is worth at few calls, on Gaussian series whose denoiser is known.

The data are a slow trend, a season and a tenth of white noise. For Gaussian data and noise a deterministic sampler is a
linear map E of its start, so that its output covariance Eᵀ S E is known without drawing. The error is how far that is
from the data's, in Frobenius' norm, as a share of the latter.

Example:
    OMP_NUM_THREADS=1 python benchmarks/coloured_noise.py
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.noise import GaussianProcess, OrnsteinUhlenbeck, Periodic, SquaredExponential, SumOfKernels
from shared.samplers import Run, Sampler, sample, time_grid
from shared.samplers.run import ode_slope
from shared.sde import SDE, VPSDE, FlowSDE

LENGTH, SEASON, TREND = 64, 12, 32.0
CALLS = (2, 4, 8, 16)
F64 = torch.float64
DATA = GaussianProcess(SumOfKernels((OrnsteinUhlenbeck(TREND), Periodic(SEASON)), (0.6, 0.4)), white=0.1)
NOISES: dict[str, GaussianProcess | None] = {
    "white": None,
    "Ornstein–Uhlenbeck": GaussianProcess(OrnsteinUhlenbeck(TREND)),
    "squared exponential": GaussianProcess(SquaredExponential(TREND / 2)),
    "periodic": GaussianProcess(Periodic(SEASON)),
    "as the data": DATA,
    "Ornstein–Uhlenbeck, a tenth of the length": GaussianProcess(OrnsteinUhlenbeck(TREND / 10)),
    "Ornstein–Uhlenbeck, ten times the length": GaussianProcess(OrnsteinUhlenbeck(TREND * 10)),
}


def adams(run: Run) -> None:
    """Two-step Adams–Bashforth in t, whose first step is Euler's; the steps are alike."""
    before: Tensor | None = None
    for now, after in pairwise(run.single()):
        r = run.residual(run.x)
        slope = ode_slope(run.sde, now, r, run.data_residual(run.x, (now,)))
        mean = slope if before is None else 1.5 * slope - 0.5 * before
        run.finish_step(run.anchored(r + (after.t - now.t) * mean), (now,), (after,))
        before = slope


class Case:
    """One process and noise: the exact denoiser, and the error of a sampler."""

    def __init__(self, sde: SDE, noise: GaussianProcess | None):
        self.sde = replace(sde, noise=noise)
        self.data = DATA.covariance(LENGTH)
        self.noise = torch.eye(LENGTH, dtype=F64) if noise is None else noise.covariance(LENGTH)

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t] of states (batch, length)."""
        alpha, sigma = float(self.sde.alpha(t[0])), float(self.sde.sigma(t[0]))
        return alpha * x @ torch.linalg.solve(alpha**2 * self.data + sigma**2 * self.noise, self.data)

    def error(self, method: str | Sampler, calls: int, schedule: str, t_end: float) -> float:
        """Of the output covariance after so many calls, against that of the path at t_end."""
        start = torch.eye(LENGTH, dtype=F64)
        times = time_grid(self.sde, calls, schedule, t_end=t_end)  # type: ignore[arg-type]
        result = sample(self.denoise, self.sde, x_start=start, t_start=self.sde.T, method=method, schedule=times)
        assert result.nfe == calls, (method, result.nfe)
        spread = self.sde.prior_std**2 * self.noise
        alpha, sigma = float(self.sde.alpha(t_end)), float(self.sde.sigma(t_end))
        wanted = alpha**2 * self.data + sigma**2 * self.noise
        return float((result.x.T @ spread @ result.x - wanted).norm() / wanted.norm())


METHODS: dict[str, tuple[SDE, str | Sampler, str, float]] = {
    "straight path, Adams in t": (FlowSDE(), adams, "uniform", 0.0),
    "straight path, Euler in t": (FlowSDE(), "euler", "uniform", 0.0),
    "straight path, ode2 uniform in t": (FlowSDE(), "ode2", "uniform", 0.0),
    "straight path, ode2 uniform in log-SNR": (FlowSDE(), "ode2", "log_snr", 0.02),
    "VP, ode2 uniform in log-SNR": (VPSDE(), "ode2", "log_snr", 0.02),
}
"""Process, method, schedule and where it ends."""


def main(
    output: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("benchmarks/results/coloured_noise.md"),
) -> None:
    """Measure every noise with every method; write the tables."""
    text = header("Noise with a colour, exact denoisers") + (
        f"\nSeries of {LENGTH} steps: 0.6 of an Ornstein–Uhlenbeck trend of length {TREND:g} and 0.4 of a season of "
        f"{SEASON} make nine tenths, white noise the rest. Error of the output covariance as a share of the data's, at "
        "equal calls. Every noise but the first has a tenth of white.\n"
    )
    for title, (sde, method, schedule, t_end) in METHODS.items():
        rows = []
        for name, noise in NOISES.items():
            errors = [Case(sde, noise).error(method, calls, schedule, t_end) for calls in CALLS]
            rows.append([name, *(f"{error:.3f}" for error in errors)])
            print(title, *rows[-1], flush=True)
        text += f"\n## {title[0].upper() + title[1:]}\n\n" + table(["noise \\ calls", *map(str, CALLS)], rows)
    write_text(output, text)


if __name__ == "__main__":
    typer.run(main)
