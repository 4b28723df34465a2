"""How near few calls come to the exact end of the path: methods on an exact 16-dimensional mixture.

The error is the median over starts of the RMS distance to the end that a fine grid reaches from the same start, as a
share of the data's deviation. Each process starts from its own end; the bridges a little inside it, from states
with booting noise, so that all methods start from the same. Searched grids are found on starts of their own.

Example:
    OMP_NUM_THREADS=1 python benchmarks/solvers.py
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.random import make_generator, randn
from shared.samplers import METHODS, EVODiff, Exponential, GaussianExponential, Sampler, method_times, sample, time_grid
from shared.samplers.laws import Gaussian
from shared.samplers.level import LevelShift
from shared.samplers.search import search_grid
from shared.sde import FOUVESDE, OUVESDE, SBVESDE, SDE, VPSDE, FlowSDE, VPBridgeSDE
from tests.shared.mixture import SIZE, Mixture

F64 = torch.float64
CALLS = (4, 5, 6, 8, 10, 15, 20)
PROCESSES: dict[str, SDE] = {
    "VP": VPSDE(),
    "OUVE": OUVESDE(),
    "fOUVE": FOUVESDE(),
    "SB-VE": SBVESDE(),
    "VP bridge": VPBridgeSDE(),
    "Flow": FlowSDE(),
}
BRIDGES = (SBVESDE, VPBridgeSDE)
ANCHORED = (OUVESDE, FOUVESDE, *BRIDGES)
INSIDE = 0.98
"""Where the bridges start."""
TELEPORT = -1.5
SEARCHED_ON = 64
"""Starts that grids are searched on."""
SHOWN = (
    "ode1",
    "ode2",
    "ode2, B(h) = e^h − 1",
    "ode2, corrector",
    "EVODiff (for 4–8 calls on VP)",
    "Gaussian integrator",
    "teleport + Gaussian integrator",
    "ode2, corrector, searched grid",
)
"""Methods in the picture."""


class Case:
    """One process: states to start from, and where they end."""

    def __init__(self, sde: SDE, starts: int, fine: int, means: float):
        self.sde, self.mixture = sde, Mixture(means)
        self.start = INSIDE if isinstance(sde, BRIDGES) else sde.T
        self.gaussian = Gaussian.of(self.mixture.draw(20_000), SIZE)
        self.x, self.y = self._states(starts, "")
        self.seen = self._states(SEARCHED_ON, "seen ")
        self.denoise = self.mixture.denoiser(sde, self.y)
        self.end = self._sampled(Exponential(3), time_grid(sde, fine, t_start=self.start, t_end=sde.t_min))[0]

    def _states(self, count: int, name: str) -> tuple[Tensor, Tensor | None]:
        """States to start from, and their anchors."""
        y = None
        if isinstance(self.sde, ANCHORED):
            y = randn((count, SIZE), make_generator(f"{name}anchors"), dtype=F64)
        data = self.mixture.draw(count, f"{name}starts")
        noise = randn((count, SIZE), make_generator(f"{name}noise"), dtype=F64)
        times = torch.full((count,), self.start, dtype=F64)
        return self.sde.perturb(data if y is None else y + data, times, noise, y), y

    def _sampled(self, method: str | Sampler, times: Tensor) -> tuple[Tensor, int]:
        result = sample(self.denoise, self.sde, y=self.y, x_start=self.x, method=method, schedule=times)
        return result.x, result.nfe

    def error(self, method: str | Sampler, calls: int) -> float:
        """Of so many calls, steps uniform in log-SNR; nan where they do not come out even."""
        each, once = 2 if method == "heun" else 1, 0
        if isinstance(method, Exponential) and method.single:
            each, once = method.order, int(float(self.sde.alpha(self.start)) == 0)  # out of α = 0 a step asks once
        steps, left = divmod(calls - once - self._calls_to_start(method), each)
        return math.nan if left else self._error(method, self._grid(method, steps + once), calls)

    def searched(self, method: Sampler, calls: int) -> float:
        """Of so many calls, where they best lie for starts of their own."""
        x, y = self.seen
        found = search_grid(
            self.mixture.denoiser(self.sde, y),
            self.sde,
            x,
            calls - self._calls_to_start(method),
            y,
            method,
            t_start=self.start,
            t_end=self.sde.t_min,
            fine=100,
            most_runs=60,
        )
        return self._error(method, torch.tensor(found.times, dtype=F64), calls)

    def _calls_to_start(self, method: str | Sampler) -> int:
        third = isinstance(method, Exponential) and method.order == 3 and not method.single
        return int(third and float(self.sde.alpha(self.start)) > 0)

    def _grid(self, method: str | Sampler, steps: int) -> Tensor:
        found = method if callable(method) else METHODS[method]
        return method_times(found, self.sde, steps, t_start=self.start, t_end=self.sde.t_min)

    def _error(self, method: str | Sampler, times: Tensor, calls: int) -> float:
        x, nfe = self._sampled(method, times)
        assert nfe == calls, (method, nfe)
        return float((x - self.end).square().mean(1).sqrt().median() / self.end.std())


def methods(case: Case) -> dict[str, Callable[[int], float]]:
    """What is compared, by name."""
    corrected, law = Exponential(2, corrector=True), case.gaussian
    named: dict[str, str | Sampler] = {
        "ode1": Exponential(1),
        "ode2": Exponential(2),
        "ode3": Exponential(3),
        "ode2, B(h) = h": Exponential(2, slope="bh1"),
        "ode2, B(h) = e^h − 1": Exponential(2, slope="bh2"),
        "ode2, corrector": corrected,
        "ode2, B(h) = e^h − 1, corrector": Exponential(2, slope="bh2", corrector=True),
        "ode3, corrector": Exponential(3, corrector=True),
        "ode2, single-step": Exponential(2, single=True),
        "ode3, single-step": Exponential(3, single=True),
        "heun (uniform in log-SNR)": "heun",
        "EVODiff (for 4–8 calls on VP)": EVODiff(),
        "ode2, level shift": Exponential(2, shift=LevelShift(law, pool=True)),
        "Gaussian integrator": GaussianExponential(law),
    }
    if float(case.sde.time_of_log_snr(TELEPORT)) < case.start:
        named["teleport + Gaussian integrator"] = GaussianExponential(law, TELEPORT)
    found: dict[str, Callable[[int], float]] = {name: partial(case.error, method) for name, method in named.items()}
    found["ode2, searched grid"] = partial(case.searched, Exponential(2))
    found["ode2, corrector, searched grid"] = partial(case.searched, corrected)
    return found


def draw(errors: dict[str, dict[str, list[float]]], target: Path) -> None:
    """Error against calls, one panel a process."""
    import matplotlib.pyplot as plt

    rows = -(-len(errors) // 3)
    figure, grid = plt.subplots(rows, 3, figsize=(11, 3 * rows), sharex=True, squeeze=False, layout="constrained")
    axes = grid[:, : len(errors)]
    for axis in grid[:, len(errors) :].flat:
        axis.set_visible(False)
    for axis, (process, rows) in zip(axes.flat, errors.items(), strict=True):
        for place, label in enumerate(SHOWN):
            if label in rows:
                axis.plot(CALLS, rows[label], f"C{place}o-", markersize=3, linewidth=1.2, label=label)
        axis.set(title=process, xscale="log", yscale="log", xticks=CALLS, xticklabels=map(str, CALLS))
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("network calls")
    figure.supylabel("median distance to the exact end / deviation", fontsize=9)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(target, dpi=80)


def main(
    starts: Annotated[int, typer.Option(help="States to start from.")] = 512,
    fine: Annotated[int, typer.Option(help="Steps of ode3 that count as exact.")] = 2000,
    means: Annotated[
        float, typer.Option(help="How far the Gaussians lie from each other: deviation of their means.")
    ] = 1.2,
    processes: Annotated[list[str] | None, typer.Option("--process", help="Only these; repeat the option.")] = None,
    output: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("benchmarks/results/solvers.md"),
) -> None:
    """Measure every method on every process; write the tables."""
    if unknown := set(processes or ()) - set(PROCESSES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose of {', '.join(PROCESSES)}")
    picture = output.with_suffix(".png")
    text = header("Few-call solvers on an exact mixture") + (
        f"\nMedian over {starts} starts of the RMS distance to where {fine} steps of ode3 end, as a share of the "
        "data's deviation; steps uniform in log-SNR down to the process' smallest time. The mixture: five Gaussians in "
        f"sixteen dimensions, their means of deviation {means:g} (`tests/shared/mixture.py`). The Gaussian integrator "
        "and the level shift (one level for all starts) know its mean and covariance; the teleport takes the start to "
        f"log-SNR {TELEPORT} by them. Searched grids are found on {SEARCHED_ON} other starts, in at most sixty runs "
        "each. Out of α = 0 the first step of a flow is of first order, and single-step methods ask once. "
        f"The bridges start at t = {INSIDE}, behind their step of booting noise.\n"
        f"\n![Error against calls]({picture.name})\n"
    )
    errors: dict[str, dict[str, list[float]]] = {}
    for name, sde in PROCESSES.items():
        if processes and name not in processes:
            continue
        case, rows = Case(sde, starts, fine, means), []
        errors[name] = {}
        for label, run in methods(case).items():
            errors[name][label] = [run(calls) for calls in CALLS]
            rows.append([label, *("–" if math.isnan(e) else f"{e:.4f}" for e in errors[name][label])])
            print(name, *rows[-1], flush=True)
        text += f"\n## {name}\n\n" + table(["calls", *map(str, CALLS)], rows)
    write_text(output, text)
    draw(errors, picture)


if __name__ == "__main__":
    typer.run(main)
