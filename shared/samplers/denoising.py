"""Denoising MCMC: a Markov chain over states and noise levels together; its states are denoised.

Kim and Ye 2023 ("Denoising MCMC for accelerating diffusion-based generative models", ICML) let a chain wander over
(u, κ), where u = r/α = r_0 + κε, with the density p_κ(u)·p(κ), log κ uniform:

    u ← u + (h/2)·(D(u, κ) − u)/κ² + √h·z,   h = step·κ²,   then κ from p(κ | u).

Every few moves a state is taken down the rest of the path by few steps of an ODE. Chains cross between
modes where κ is large, and the walk from pure noise is paid once for many samples, which are then correlated.

Their κ is the most probable one by a classifier, which is no draw: a chain then freezes where it is clean. Here it is
drawn, from p(κ | u) ∝ N(u; m, C + κ²) by the data's Gaussian law, or by any other density that is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from shared.checks import Checked, Count, Finite, Several
from shared.errors import ConfigError
from shared.kinds import OneOf
from shared.samplers.exponential import step as exponential_step
from shared.samplers.laws import Marginals, Spectrum
from shared.samplers.level import known_law
from shared.samplers.mcmc import Draws
from shared.samplers.run import Node, Nodes, Run, is_clean
from shared.sde.base import expand
from shared.views import check_numbers

MarginalsSetting = Annotated[Any, OneOf(Marginals, (Spectrum,))]
"""The type of a setting that is the law of noisy states."""


@dataclass(frozen=True)
class DenoisingMCMC(Checked):
    """Chains over states and noise levels, one for each item; the run's steps are the walk to where they begin.

    Samples of one chain follow each other in the trajectory (`return_trajectory=True`); the last is the result. In all
    steps + outputs·(skip + descent) calls. `effective_size` tells how many independent ones a chain's are worth.

    Args:
        law: of x_0 − y, by which levels are drawn; None is the model's own, where a model draws that knows one. For
            data far from Gaussian give `Marginals` of your own: with a wrong density the chain has another one.
        outputs: samples of each chain.
        skip: moves before each of them.
        step: h/κ². In a direction where the data have the variance v the chain's is too large by 1/(1 − step·w/4),
            w = κ²/(v + κ²): 11 % in pure noise at 0.4.
        levels: how many, evenly in log-SNR.
        log_snr: the range of levels; None is all of the grid's.
        cleanest: take the cleanest state of the last `skip` moves, as published, whose descent is the shortest, and not
            the last: but a state that was chosen is not one at random, and the shares of modes come out too even.
        descent: steps of second order from a chain's state to the end.

    Raises:
        ConfigError: values out of range; (when run) no law, a range outside the grid's, noise of a colour, or guidance
            that changes states after a step.
    """

    law: MarginalsSetting | None = None
    outputs: Count = 1
    skip: Count = 10
    step: Annotated[float, Gt(0), Lt(4)] = 0.4
    levels: Several = 64
    log_snr: tuple[Finite, Finite] | None = None
    cleanest: bool = False
    descent: Count = 4
    kind: Literal["denoising_mcmc"] = field(default="denoising_mcmc", repr=False)

    def _related(self) -> None:
        met = self.log_snr is None or self.log_snr[0] < self.log_snr[1]
        self._require(met, "log_snr", "need the noisier end first")

    def __call__(self, run: Run) -> None:
        """Walk over the grid, then run the chains; every output ends a step."""
        run.sde.require_white("denoising MCMC", "ode2, or the process with noise=None")
        law: Marginals = known_law(self.law, "denoising MCMC")
        if run.changes_states:
            raise ConfigError("denoising MCMC with guidance that changes states after a step: take sde2")
        nodes = run.single()
        start, end = (nodes[0],), (nodes[-1],)
        ladder, last = self._ladder(run, nodes)
        draws = Draws([torch.Generator().manual_seed(seed) for seed in run.seeds()])
        at = (draws.uniform(run.x) * len(ladder)).long().tolist()
        clean = _descended(run, run.residual(run.x), [(node,) for node in nodes])
        left = 0.0 if is_clean(end[0]) else _kappa(end[0])
        u = clean if is_clean(end[0]) else clean / end[0].alpha
        u = u + run.scaled([math.sqrt(_kappa(ladder[i]) ** 2 - left**2) for i in at], draws.normal(clean))
        run.nodes, run.at = [start, *[end] * self.outputs], start
        for _ in range(self.outputs):
            kept, kept_at = u, at
            for move in range(self.skip):
                u, at = self._moved(run, law, ladder, u, at, draws)
                takes = [move == 0 or not self.cleanest or i >= best for i, best in zip(at, kept_at, strict=True)]
                kept_at = [i if take else best for take, i, best in zip(takes, at, kept_at, strict=True)]
                kept = torch.where(expand(torch.tensor(takes), u) > 0, u, kept)
            chosen = tuple(ladder[i] for i in kept_at)
            r = run.scaled([node.alpha for node in chosen], kept)
            r = _descended(run, r, self._way(run, chosen, last, end[0]))
            run.finish_step(run.anchored(r), chosen, end)

    def _ladder(self, run: Run, nodes: list[Node]) -> tuple[list[Node], float]:
        """The levels, noisiest first, and the log-SNR where descents end, or before clean data nearly so."""
        finite = [node.log_snr for node in nodes if math.isfinite(node.log_snr)]
        if len(finite) < 2:
            raise ConfigError(
                f"denoising MCMC needs two levels of noise, and these steps have {len(finite)}: take more"
            )
        low, high = self.log_snr or (finite[0], finite[-1])
        if low < finite[0] - 1e-9 or high > finite[-1] + 1e-9 or low >= high:
            raise ConfigError(
                f"log_snr={self.log_snr}: the steps have log-SNR from {finite[0]:.3g} to {finite[-1]:.3g}; choose "
                "levels within, or other steps"
            )
        places = torch.linspace(low, high, self.levels + 1, dtype=torch.float64)[:-1]
        return [Node.at(run.sde, t) for t in run.sde.time_of_log_snr(places).tolist()], finite[-1]

    def _moved(
        self, run: Run, law: Marginals, ladder: list[Node], u: Tensor, at: list[int], draws: Draws
    ) -> tuple[Tensor, list[int]]:
        """A Langevin step of u at each chain's level, and a draw of its next level."""
        now = tuple(ladder[i] for i in at)
        d = run.data_residual(run.anchored(run.scaled([node.alpha for node in now], u)), now)
        noise = run.scaled([math.sqrt(self.step) * _kappa(node) for node in now], draws.normal(u))
        u = u + self.step / 2 * (d - u) + noise
        # Of u itself, for which α is 1: densities of r at different levels differ by its volume besides.
        chances = law.log_densities(u, [Node(node.t, 1.0, _kappa(node), node.log_snr) for node in ladder])
        if not bool(torch.isfinite(chances).all()):
            raise ConfigError(f"step={self.step}: a chain left all finite values; take a smaller one, or another law")
        below = chances.softmax(0).cumsum(0)
        return u, (below < draws.uniform(u)).sum(0).clamp(max=len(ladder) - 1).tolist()

    def _way(self, run: Run, now: Nodes, last: float, end: Node) -> list[Nodes]:
        """From each chain's level to the end, evenly in log-SNR; to clean data the last step is the prediction."""
        parts = [place / self.descent for place in range(1, self.descent)]
        ways: list[Nodes] = [now]
        for part in parts:
            levels = torch.tensor([node.log_snr + part * (last - node.log_snr) for node in now], dtype=torch.float64)
            ways.append(tuple(Node.at(run.sde, t) for t in run.sde.time_of_log_snr(levels).tolist()))
        return [*ways, (end,) * len(now)]


def effective_size(values: Tensor) -> float:
    """How many independent values chains' are worth, by Geyer's initial positive sequence (1992).

    Args:
        values: one number of each output, (outputs, chains), of chains that have forgotten their start.

    Raises:
        ConfigError: fewer than four outputs, or values of another shape, or that are not finite, or all the same.
    """
    check_numbers("values", values)
    if values.ndim != 2:
        shape = tuple(values.shape)
        raise ConfigError(f"values of shape {shape}: need one of each, (outputs, chains), such as samples[..., 0]")
    n, chains = values.shape
    if n < 4 or not bool(torch.isfinite(values).all()) or float(values.double().var()) == 0:
        raise ConfigError(f"an effective size of {n} outputs: need at least 4, finite ones that differ")
    centred = values.double() - values.double().mean()
    spectrum = torch.fft.rfft(centred, 2 * n, dim=0).abs().square()
    covariances = torch.fft.irfft(spectrum, dim=0)[:n].mean(1)
    pairs = (covariances / covariances[0])[: n // 2 * 2].reshape(-1, 2).sum(1)
    positive = (pairs > 0).long().cumprod(0)
    return n * chains / max(float(2 * (pairs * positive).sum() - 1), 1 / n)


def _kappa(node: Node) -> float:
    return math.exp(-node.log_snr)


def _descended(run: Run, r: Tensor, way: list[Nodes]) -> Tensor:
    """The residual at the way's end, by `ode2`."""
    history: list[tuple[list[float], Tensor]] = []
    for now, after in pairwise(way):
        history = [([node.log_snr for node in now], run.data_residual(run.anchored(r), now)), *history[:1]]
        noise = run.start_noise() if now[0].sigma == 0 else None  # out of a bridge's end
        r = exponential_step(run, now, after, r, history, 0.0, noise)
    return r
