"""Convergence of the samplers on Gaussian data, for which the exact answer is known.

Example:
    python benchmarks/convergence.py --output benchmarks/results/convergence.md
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.random import make_generator
from shared.samplers import Method, Schedule, sample
from shared.sde import OUVESDE, SDE
from tests.processes import ANCHORED, SDES
from tests.shared.gaussian import GaussianData

F64 = torch.float64
ORDERS: dict[Method, int] = {"ode1": 1, "ode2": 2, "ode3": 3, "euler": 1, "heun": 2}


@dataclass(frozen=True)
class Setting:
    """Gaussian data N(mean, scale²) around an anchor, and the times between which the flow is followed."""

    sde: SDE
    mean: float
    scale: float
    anchor: float | None
    start: float
    end: float

    @property
    def data(self) -> GaussianData:
        y = None if self.anchor is None else torch.full((1, 5), self.anchor, dtype=F64)
        return GaussianData(self.sde, self.mean, self.scale, y)

    def states(self) -> Tensor:
        """Five states at the start, up to two standard deviations either side of the mean, (1, 5)."""
        mean, variance = self.data.marginal(self.start)
        return mean + variance.sqrt() * torch.linspace(-2, 2, 5, dtype=F64)[None]

    def error(self, method: Method, steps: int, schedule: Schedule) -> float:
        """Root-mean-square error at the end against the exact flow."""
        data, x = self.data, self.states()
        result = sample(
            data.denoiser,
            self.sde,
            y=data.y,
            method=method,
            steps=steps,
            schedule=schedule,
            x_start=x,
            t_start=self.start,
            t_end=self.end,
        )
        return float((result.x - data.flow(x, self.start, self.end)).square().mean().sqrt())


def setting(name: str) -> Setting:
    """The data of the tables: N(0.7, 0.8²), around 0.5 where there is an anchor, from 0.95 T to t = 0.05."""
    sde = SDES[name]
    return Setting(sde, 0.7, 0.8, 0.5 if name in ANCHORED else None, 0.95 * sde.T, 0.05)


def order_table() -> str:
    """Observed orders between the two finer of the grids, over a range of log-SNR where all are asymptotic."""
    rows = []
    for name in tqdm(SDES, desc="orders"):
        base = setting(name)
        row = [name]
        for method in ORDERS:
            if method in ("euler", "heun"):
                # 0.8 of the time range in multiples of 80: the knots of the 100-step tables are points of the grid.
                case, schedule, steps = replace(base, start=0.9, end=0.1), "uniform", 320
            else:
                start = min(base.start, float(base.sde.time_of_log_snr(-1.0)))
                end = float(base.sde.time_of_log_snr(2.5))
                case, schedule, steps = replace(base, start=start, end=end), "log_snr", 160
            coarse, fine = (case.error(method, n, schedule) for n in (steps, 2 * steps))  # type: ignore[arg-type]
            row.append(f"{math.log2(coarse / fine):.2f}")
        rows.append(row)
    return table(["process", *[f"{method} ({order})" for method, order in ORDERS.items()]], rows)


def accuracy_section(scale: float) -> str:
    """Errors at 20 steps on data of standard deviation `scale`, and where Euler over ode2 stays under 10."""
    rows, short = [], []
    for name in SDES:
        case = replace(setting(name), scale=scale)
        errors = {
            "ode1": case.error("ode1", 20, "log_snr"),
            "ode2": case.error("ode2", 20, "log_snr"),
            "ode3": case.error("ode3", 20, "log_snr"),
            "euler": case.error("euler", 20, "uniform"),
            "euler, log_snr": case.error("euler", 20, "log_snr"),
            "heun": case.error("heun", 20, "uniform"),
        }
        ratios = [errors["euler"] / errors["ode2"], errors["euler, log_snr"] / errors["ode2"]]
        if ratios[0] < 10:
            short.append(f"{name} ({ratios[0]:.1f})")
        rows.append([name, *[f"{value:.1e}" for value in errors.values()], *[f"{ratio:.1f}" for ratio in ratios]])
    head = ["process", "ode1", "ode2", "ode3", "Euler, uniform t", "Euler, log-SNR", "Heun, uniform t"]
    verdict = (
        f"Euler's error is less than ten times ode2's on: {', '.join(short)}."
        if short
        else ("Euler's error (uniform t, its usual grid) is at least ten times ode2's on every process.")
    )
    lines = table([*head, "Euler / ode2", "Euler, log-SNR / ode2"], rows)
    return f"### Data N(0.7, {scale:g}²)\n\n{verdict}\n\n{lines}"


def ouve_table() -> str:
    """REFERENCE.md's setting: OUVE as SGMSE+ trains it, down to t = 0.03, data of the size of its spectrograms."""
    rows = []
    for scale in (0.05, 0.065, 0.1, 0.2):
        case = Setting(OUVESDE(), 0.3, scale, 0.1, 1.0, 0.03)
        for steps in (10, 20, 40):
            ode2, euler = case.error("ode2", steps, "log_snr"), case.error("euler", steps, "uniform")
            ode1 = case.error("ode1", steps, "log_snr")
            rows.append([f"{scale}", f"{steps}", *[f"{v:.1e}" for v in (ode1, ode2, euler)], f"{euler / ode2:.0f}"])
    return table(["std of the data", "steps", "ode1", "ode2", "Euler, uniform t", "Euler / ode2"], rows)


def weak_table(paths: int) -> str:
    """Error of mean and variance of the stochastic methods against the exact reverse process from the prior."""
    rows = []
    grid = (5, 20, 80, 320, 1280)
    for name in tqdm(SDES, desc="weak errors"):
        sde, end = SDES[name], 0.05
        y = torch.full((1, paths), 0.5, dtype=F64) if name in ANCHORED else None
        data = GaussianData(sde, 0.7, 0.8, y)
        x = sde.prior_sample((1, paths) if y is None else y, make_generator("prior"), dtype=F64)
        mean, variance = data.reverse_transition(x, sde.T, end)
        expected = float(mean.mean()), float(variance) + float(mean.var())
        floor = math.sqrt(expected[1] / paths), expected[1] * math.sqrt(2 / paths)
        for method in ("sde1", "sde2"):
            errors = []
            for steps in grid:
                result = sample(
                    data.denoiser,
                    sde,
                    y=y,
                    method=method,  # type: ignore[arg-type]
                    steps=steps,
                    x_start=x,
                    t_end=end,
                    generator=make_generator("weak", name, steps),
                )
                errors.append((float(result.x.mean()) - expected[0], float(result.x.var()) - expected[1]))
            for part, label in enumerate(("mean", "variance")):
                cells = [f"{error[part]:+.4f}" for error in errors]
                rows.append([name, method, label, *cells, f"{floor[part]:.4f}"])
    return table(["process", "method", "error of", *[f"{steps} steps" for steps in grid], "Monte-Carlo error"], rows)


def main(
    output: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("benchmarks/results/convergence.md"),
    paths: Annotated[int, typer.Option(help="Paths of the weak errors.", min=1000)] = 40_000,
) -> None:
    """Measure orders, errors at 20 steps and weak errors of every process and method."""
    torch.set_num_threads(1)
    parts = [
        header("Convergence on Gaussian data"),
        "Data N(0.7, 0.8²) in float64; the anchor, where there is one, is 0.5. Errors are against the exact flow.\n",
        "## Orders\n\nLog-SNR steps between log-SNR −1 (or t = 0.95 T) and 2.5 for ode1–3, 160 and 320 of them; "
        "uniform t between 0.9 and 0.1 for Euler and Heun, 320 and 640. In brackets: the order in theory.\n",
        order_table(),
        "## At 20 steps\n\nRoot-mean-square error from t = 0.95 T to 0.05. Where the data's variance is near that of "
        "the noise, the state of the variance-preserving processes keeps its variance at every t: the flow hardly "
        "bends, and Euler has little to get wrong.\n",
        *(accuracy_section(scale) for scale in (0.05, 0.2, 0.8)),
        "## OUVE as SGMSE+ uses it\n\nθ 1.5, σ 0.05 to 0.5, from t = 1 to 0.03; data mean 0.3, anchor 0.1 "
        "(spectrograms as compressed there have a standard deviation of about 0.05 to 0.2).\n",
        ouve_table(),
        f"## Weak errors\n\nMean and variance of {paths} paths from the process' prior to t = 0.05, log-SNR steps, "
        "less the exact ones.\n",
        weak_table(paths),
    ]
    write_text(output, "\n".join(parts))
    typer.echo(f"written to {output}")


if __name__ == "__main__":
    typer.run(main)
