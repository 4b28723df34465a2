"""What has no row elsewhere: chains that walk from noise once, sets without pairs, populations seen in snapshots.

Each on data whose laws are known, so that the distances are to the truth: sliced Wasserstein-1 in deviations of
the data, beside that of two draws of the truth.

Example:
    OMP_NUM_THREADS=1 python benchmarks/unpaired.py
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.interpolants import Interpolant
from shared.random import make_generator, randn
from shared.samplers import DenoisingMCMC, sample
from shared.samplers.denoising import effective_size
from shared.samplers.laws import Marginals
from shared.samplers.run import Node
from shared.sde import VESDE
from tests.shared.mixture import SIZE, Mixture
from tests.shared.test_interpolants import Mixed
from tsdiff.tasks.population import PopulationSettings, Reference, fit_population

F64 = torch.float64
FIRST, SECOND = ((0.5, -1.5, 0.2), (0.5, 1.5, 0.2)), ((0.3, -2.0, 0.4), (0.7, 1.0, 0.2))
"""Shares, means and deviations of two mixtures on a line."""
TURNING = Reference(np.array([[-0.3, 1.5], [-1.5, -0.3]]), np.array([0.5, 0.0]), 0.1)


class Law(Marginals):
    """The mixture's densities at every level, for the levels of a chain."""

    def __init__(self, mixture: Mixture):
        self.mixture = mixture

    def log_densities(self, r: Tensor, nodes: list[Node]) -> Tensor:
        found = []
        for node in nodes:
            variance = node.alpha**2 * self.mixture.stds.square() + node.sigma**2
            far = r[:, None] - node.alpha * self.mixture.means
            found.append((-0.5 * (far.square() / variance + (2 * math.pi * variance).log()).sum(-1)).logsumexp(1))
        return torch.stack(found)


class EachItem:
    """The mixture's denoiser with a time for each item, which chains ask for."""

    def __init__(self, mixture: Mixture, sde: VESDE):
        self.one, self.calls = mixture.denoiser(sde), 0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        found = torch.empty_like(x)
        for time in t.unique():
            found[t == time] = self.one(x[t == time], time.reshape(1))
        return found


def distance(found: Tensor, truth: Tensor, directions: int = 64) -> float:
    """Sliced Wasserstein-1 of samples (n, d) and (m, d), in deviations of the truth."""
    if truth.shape[1] == 1:
        turned = torch.ones(1, 1, dtype=F64)
    else:
        turned = randn((truth.shape[1], directions), make_generator("directions"), dtype=F64)
        turned /= turned.norm(dim=0)
    levels = (torch.arange(400, dtype=F64) + 0.5) / 400
    one, other = (torch.quantile(part @ turned, levels, dim=0) for part in (found, truth))
    return float((one - other).abs().mean() / truth.std(0).mean())


def chains(count: int) -> str:
    """Samples of the mixture in 16 dimensions, by calls a sample."""
    sde, mixture = VESDE(sigma_min=0.02, sigma_max=10.0), Mixture()
    truth, again = mixture.draw(count, "truth"), mixture.draw(count, "again")
    rows = [["two draws of the truth", "", f"{distance(again, truth):.3f}", f"{count}"]]
    start = 10.0 * randn((count, SIZE), make_generator("walk"), dtype=F64)
    for steps in (5, 10, 20):
        made = sample(mixture.denoiser(sde), sde, x_start=start, steps=steps, method="ode2", schedule="log_snr")
        rows.append(["ode2, each from noise", f"{made.nfe}", f"{distance(made.x, truth):.3f}", f"{count}"])
    outputs = 40
    for skip, descent in ((1, 2), (2, 3), (4, 4), (8, 4)):
        method = DenoisingMCMC(
            Law(mixture), outputs, levels=12, skip=skip, descent=descent, log_snr=(-math.log(2.0), math.log(5.0))
        )
        network = EachItem(mixture, sde)
        walkers = start[: count // outputs]
        made = sample(
            network,
            sde,
            x_start=walkers,
            method=method,
            steps=10,
            generator=make_generator("chain"),
            return_trajectory=True,
        )
        drawn = made.trajectory[1:]
        worth = effective_size(drawn[..., 0])
        rows.append(
            [
                f"chain, {skip} moves and {descent} steps a sample",
                f"{network.calls / outputs:.1f}",
                f"{distance(drawn.flatten(0, 1), truth):.3f}",
                f"{worth:.0f}",
            ]
        )
    text = (
        f"\n## Chains\n\n{count:,} samples of the mixture of `solvers.md` by its exact denoiser; {count // outputs} "
        f"chains of {outputs}. Worth: as many independent samples as the first coordinate's mean says.\n\n"
    )
    return text + table(["method", "calls a sample", "distance", "worth"], rows)


def interpolants(count: int) -> str:
    """From one mixture to the other on a line."""

    def drawn(parts: tuple[tuple[float, float, float], ...], name: str) -> Tensor:
        shares, means, stds = (torch.tensor(part, dtype=F64) for part in zip(*parts, strict=True))
        which = torch.multinomial(shares, count, True, generator=make_generator("which", name))
        return (means[which] + stds[which] * randn((count,), make_generator(name), dtype=F64))[:, None]

    x, truth, again = drawn(FIRST, "x"), drawn(SECOND, "truth"), drawn(SECOND, "again")
    rows = []
    for label, interpolant, noise in (
        ("flow matching", Interpolant(0.0), 0.0),
        ("root, the ODE", Interpolant(1.0), 0.0),
        ("root, as much noise as Brownian motion", Interpolant(1.0), 1.0),
        ("parabola, the ODE", Interpolant(2.0, "parabola"), 0.0),
    ):
        found = [
            interpolant.transport(
                Mixed(interpolant, FIRST, SECOND), x, steps, 0.0, 1.0, noise=noise, generator=make_generator("noise")
            )
            for steps in (5, 10, 20, 50)
        ]
        rows.append([label, *(f"{distance(one, truth):.3f}" for one in found)])
    text = (
        f"\n## Between two sets without pairs\n\n{count:,} items of one mixture of two Gaussians to another, by exact "
        f"predictions; two draws of the second are {distance(again, truth):.3f} apart.\n\n"
    )
    return text + table(["interpolant", *(f"{steps} calls" for steps in (5, 10, 20, 50))], rows)


def populations(count: int) -> str:
    """A population that turns and drifts, seen at four times, asked for at two others."""
    rng, times, asked = np.random.default_rng(0), [0.0, 0.5, 1.0, 2.0, 3.0], (1.5, 4.0)

    def seen(time: float) -> np.ndarray:
        first = np.array([2.0, 0.0]) + 0.3 * rng.standard_normal((count, 2))
        if not time:
            return first
        ahead = TURNING.over(time)
        root = np.linalg.cholesky(ahead.spread)
        return first @ ahead.kept.T + ahead.moved + rng.standard_normal((count, 2)) @ root.T

    snapshots = [seen(time) for time in times]
    truths = {time: (torch.from_numpy(seen(time)), torch.from_numpy(seen(time))) for time in asked}
    rows = [["two draws of the truth", *(f"{distance(*truths[time]):.3f}" for time in asked), ""]]
    for rounds in (0, 1, 2, 5, 10):
        found = fit_population(snapshots, times, PopulationSettings(TURNING.diffusion, rounds=rounds, tolerance=1e-3))
        apart = [distance(torch.from_numpy(found.at(time, count)), truths[time][0]) for time in asked]
        wrong = float(np.abs(found.reference.matrix - TURNING.matrix).max())
        name = "Brownian reference" if rounds == 0 else f"refitted {rounds} times"
        rows.append([name, *(f"{one:.3f}" for one in apart), f"{wrong:.2f}"])
    text = (
        f"\n## A population in snapshots\n\n{count} individuals each at times {times}, of a process that turns and is "
        "drawn in; asked for between two snapshots and after the last. Last column: the largest error of a rate, of "
        f"{np.abs(TURNING.matrix).max():g}.\n\n"
    )
    return text + table(["reference", *(f"at {time:g}" for time in asked), "error of A"], rows)


def main(
    count: Annotated[int, typer.Option(help="Samples of the first two.", min=400)] = 8000,
    individuals: Annotated[int, typer.Option(help="Of each snapshot.", min=50)] = 400,
    output: Annotated[Path, typer.Option(help="Markdown file.")] = Path("benchmarks/results/unpaired.md"),
) -> None:
    """Measure all three, and write their tables."""
    torch.set_num_threads(1)
    parts = [chains(count), interpolants(count), populations(individuals)]
    write_text(output, header("Chains, sets without pairs, populations in snapshots") + "".join(parts))
    print("".join(parts))


if __name__ == "__main__":
    typer.run(main)
