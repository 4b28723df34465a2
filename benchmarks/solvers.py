"""How near few calls come to the exact end of the path: methods on an exact 16-dimensional mixture.

The error is the median over starts of the RMS distance to the end that a fine grid reaches from the same start, as a
share of the data's deviation. Each process starts from its own end; the bridge a little inside it, from states with
booting noise, so that all methods start from the same.

Example:
    OMP_NUM_THREADS=1 python benchmarks/solvers.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.random import make_generator, randn
from shared.samplers import Exponential, Sampler, sample, time_grid
from shared.samplers.gaussian import GaussianExponential
from shared.samplers.laws import Gaussian
from shared.sde import FOUVESDE, OUVESDE, SBVESDE, SDE, VPSDE, FlowSDE
from tests.shared.mixture import SIZE, Mixture

F64 = torch.float64
CALLS = (4, 5, 6, 8, 10, 15, 20)
PROCESSES: dict[str, SDE] = {
    "VP": VPSDE(),
    "OUVE": OUVESDE(),
    "fOUVE": FOUVESDE(),
    "SB-VE": SBVESDE(),
    "Flow": FlowSDE(),
}
INSIDE = 0.98
"""Where the bridge starts."""
TELEPORT = -1.5


class Case:
    """One process: states to start from, and where they end."""

    def __init__(self, sde: SDE, starts: int, fine: int):
        self.sde, self.mixture = sde, Mixture()
        anchored = isinstance(sde, OUVESDE | FOUVESDE | SBVESDE)
        self.y = randn((starts, SIZE), make_generator("anchors"), dtype=F64) if anchored else None
        self.gaussian = Gaussian.of(self.mixture.draw(20_000), SIZE)
        self.denoise = self.mixture.denoiser(sde, self.y)
        self.start = INSIDE if isinstance(sde, SBVESDE) else sde.T
        data, noise = self.mixture.draw(starts, "starts"), randn((starts, SIZE), make_generator("noise"), dtype=F64)
        clean = data if self.y is None else self.y + data
        times = torch.full((starts,), self.start, dtype=F64)
        self.x = sde.perturb(clean, times, noise, self.y)
        self.end = self._sampled(Exponential(3), time_grid(sde, fine, t_start=self.start, t_end=sde.t_min))[0]

    def _sampled(self, method: str | Sampler, times: Tensor) -> tuple[Tensor, int]:
        result = sample(self.denoise, self.sde, y=self.y, x_start=self.x, method=method, schedule=times)
        return result.x, result.nfe

    def error(self, method: str | Sampler, calls: int, start: float | None = None) -> float:
        """Of so many calls, steps uniform in log-SNR; `start` puts all steps but the first below that time."""
        extra = isinstance(method, Exponential) and method.order == 3 and float(self.sde.alpha(self.start)) > 0
        steps = calls // 2 if method == "heun" else calls - extra
        times = time_grid(self.sde, steps, t_start=self.start if start is None else start, t_end=self.sde.t_min)
        if start is not None:
            times[0] = self.start
        x, nfe = self._sampled(method, times)
        assert nfe == calls, (method, nfe)
        return float((x - self.end).square().mean(1).sqrt().median() / self.end.std())


def methods(case: Case) -> dict[str, Callable[[int], float]]:
    """What is compared, by name."""
    teleport = float(case.sde.time_of_log_snr(TELEPORT))
    found: dict[str, Callable[[int], float]] = {
        "ode1": lambda calls: case.error(Exponential(1), calls),
        "ode2": lambda calls: case.error(Exponential(2), calls),
        "ode3": lambda calls: case.error(Exponential(3), calls),
        "ode2, corrector": lambda calls: case.error(Exponential(2, corrector=True), calls),
        "ode3, corrector": lambda calls: case.error(Exponential(3, corrector=True), calls),
        "heun (uniform in log-SNR)": lambda calls: case.error("heun", calls) if calls % 2 == 0 else float("nan"),
        "Gaussian integrator": lambda calls: case.error(GaussianExponential(case.gaussian), calls),
    }
    if teleport < case.start:
        method = GaussianExponential(case.gaussian, TELEPORT)
        found["teleport + Gaussian integrator"] = lambda calls: case.error(method, calls, teleport)
    return found


def main(
    starts: Annotated[int, typer.Option(help="States to start from.")] = 512,
    fine: Annotated[int, typer.Option(help="Steps of ode3 that count as exact.")] = 2000,
    output: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("benchmarks/results/solvers.md"),
) -> None:
    """Measure every method on every process; write the tables."""
    text = header("Few-call solvers on an exact mixture") + (
        f"\nMedian over {starts} starts of the RMS distance to where {fine} steps of ode3 end, as a share of the "
        "data's deviation; steps uniform in log-SNR down to the process' smallest time. The mixture: five Gaussians in "
        "sixteen dimensions (`tests/shared/mixture.py`). The Gaussian integrator knows the mixture's mean and "
        f"covariance; the teleport takes the start to log-SNR {TELEPORT} by them. Out of α = 0 the first step of a "
        "flow is of first order. The bridge starts at t = 0.98, behind its step of booting noise.\n"
    )
    for name, sde in PROCESSES.items():
        case = Case(sde, starts, fine)
        rows = []
        for label, run in methods(case).items():
            errors = [run(calls) for calls in CALLS]
            rows.append([label, *("–" if error != error else f"{error:.4f}" for error in errors)])
            print(name, *rows[-1], flush=True)
        text += f"\n## {name}\n\n" + table(["calls", *map(str, CALLS)], rows)
    write_text(output, text)


if __name__ == "__main__":
    typer.run(main)
