"""A mixture of Gaussians in the plane, learned by a small network through any objective, prediction and process.

Shared by `tests/shared/training/test_learning.py` and `benchmarks/mixture.py`. The data have three modes. The
processes that lead to an anchor get one that tells something of the mode, y = 0.6·centre + noise, and are judged on
the joint distribution of (x, y): ignoring y, or trusting it too much, shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import Tensor, nn

from shared.objectives import DiffusionLoss, TimeSampler, Weighting
from shared.predictions import Denoiser, NetworkOutput
from shared.random import derive_seed, make_generator, randn
from shared.samplers import sample
from shared.sde import (
    BBEDSDE,
    OUVESDE,
    OUVPSDE,
    SBVESDE,
    SDE,
    VESDE,
    VPSDE,
    DiscreteVPSDE,
    SubVPSDE,
    cosine_betas,
    linear_betas,
)

SDES: dict[str, SDE] = {
    "vp": VPSDE(),
    "sub_vp": SubVPSDE(),
    "ve": VESDE(0.01, 10.0),
    "discrete_linear": DiscreteVPSDE(linear_betas(100, 1e-4, 0.1)),
    "discrete_cosine": DiscreteVPSDE(cosine_betas(100, beta_max=0.9)),
    "ouve": OUVESDE(2.0, 0.05, 2.0),
    "ouvp": OUVPSDE(0.1, 10.0),
    "bbed": BBEDSDE(),
    "sbve": SBVESDE(),
}
"""Ranges of noise that suit data of unit size; the cosine table is clipped at 0.9, as its usual end has log-SNR −10,
which EDM's log-normal times never train."""

ANCHORED = ("ouve", "ouvp", "bbed", "sbve")
OUTPUTS: tuple[NetworkOutput, ...] = get_args(NetworkOutput)
WEIGHTINGS: tuple[Weighting | None, ...] = (None, "likelihood", "edm", "min_snr")
"""None is plain regression of the output, which for the five outputs is five further weightings in data space."""

T_MIN = 0.005
"""Smallest time of training and sampling; a last data prediction removes the noise that is left there."""

CENTRES = torch.tensor([[1.0, 0.0], [-0.5, 0.9], [-0.6, -0.8]])
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])
WIDTH = 0.25
SAMPLES = 4000
STEPS = 1200
RATE = 1e-2
LIMIT = {False: 0.14, True: 0.09}
"""Largest distance that counts as learned, of x and of (x, y) jointly; see `noise_floor` and `gaussian_distance`."""


@dataclass(frozen=True)
class Case:
    """One cell of the grid. `weighting` None is plain regression of whatever the network predicts."""

    sde: str
    output: NetworkOutput
    weighting: Weighting | None = None

    @property
    def anchored(self) -> bool:
        return self.sde in ANCHORED

    @property
    def loss(self) -> DiffusionLoss:
        """The objective, with the times that its paper pairs it with.

        The likelihood bound draws them evenly in log-SNR and stays unbiased (Song et al. 2021), EDM's weight goes with
        log-normal noise (Karras et al. 2022). Weights that do not grow as the noise falls get even log-SNR too, so
        that detail is learned; the others get uniform t.
        """
        t_min = SDES[self.sde].t_min if self.sde.startswith("discrete") else T_MIN
        if self.weighting == "likelihood":
            return DiffusionLoss(self.weighting, TimeSampler("log_snr", t_min), unbiased=True)
        if self.weighting == "edm":
            return DiffusionLoss(self.weighting, TimeSampler("log_normal", t_min))
        even = self.weighting == "min_snr" or (self.weighting is None and self.output == "data")
        return DiffusionLoss(self.weighting, TimeSampler("log_snr" if even else "uniform", t_min))

    @property
    def name(self) -> str:
        return f"{self.sde}-{self.output}-{self.weighting or 'plain'}"


def full_grid() -> list[Case]:
    """Every process × output × weighting."""
    cases = [Case(sde, output, weighting) for sde in SDES for output in OUTPUTS for weighting in WEIGHTINGS]
    # Nobody regresses the score without a weight: it would spend itself on the smallest σ. It gets σ² instead.
    unweighted = ("score", None)
    return [replace(c, weighting="sigma2") if (c.output, c.weighting) == unweighted else c for c in cases]


def mixture(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Data (count, 2) and anchors (count, 2)."""
    mode = torch.multinomial(WEIGHTS, count, replacement=True, generator=generator)
    x0 = CENTRES[mode] + WIDTH * torch.randn(count, 2, generator=generator)
    y = 0.6 * CENTRES[mode] + 0.4 * torch.randn(count, 2, generator=generator)
    return x0, y


class SmallNetwork(nn.Module):
    """A two-layer perceptron on the scaled state, its log-SNR, and the anchor where there is one.

    As is usual, a score is the output divided by σ, and data are a share of the state plus an output that counts less
    the cleaner the state is; otherwise neither could be as precise as weights that grow with the SNR ask for.
    """

    def __init__(self, sde: SDE, output: NetworkOutput, anchored: bool):
        super().__init__()
        self.sde, self.output = sde, output
        self.layers = nn.Sequential(
            nn.Linear(2 + 2 * anchored + 5, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2)
        )

    def forward(self, x: Tensor, t: Tensor, anchor: Tensor | None = None) -> Tensor:
        if self.output == "edm":
            log_snr, state, sigma = -4 * t, x, torch.ones_like(t)
        else:
            log_snr, alpha, sigma = self.sde.log_snr(t), self.sde.alpha(t), self.sde.sigma(t)
            spread = (alpha.square() + sigma.square()).sqrt().clamp_min(1e-6)  # 0 at the end of a bridge, as x − y is
            r = x if anchor is None else x - anchor
            state = r / spread[:, None]
        phase = log_snr.clamp(-12, 12)[:, None] / 8
        features = torch.cat([phase, *[f(k * math.pi * phase) for k in (0.5, 1.0) for f in (torch.sin, torch.cos)]], 1)
        out = self.layers(torch.cat([state, features, *([] if anchor is None else [anchor])], 1))
        if self.output == "score":
            return out / sigma.clamp_min(1e-6)[:, None]
        if self.output == "data":
            r0 = (alpha / spread)[:, None] * state + torch.sigmoid(-2 * log_snr).sqrt()[:, None] * out
            return r0 if anchor is None else r0 + anchor
        return out


def train(case: Case, steps: int = STEPS, batch: int = 512) -> Denoiser:
    """Adam with the rate falling to zero along a cosine."""
    sde, seed = SDES[case.sde], derive_seed("mixture", case.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        denoiser = Denoiser(SmallNetwork(sde, case.output, case.anchored), sde, case.output, sigma_data=0.8)
    generator = make_generator("mixture", case.name)
    loss = case.loss
    optimiser = torch.optim.Adam(denoiser.parameters(), lr=RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x0, y = mixture(batch, generator)
        anchor, condition = (y, {"anchor": y}) if case.anchored else (None, None)
        value = loss(denoiser, x0, anchor, generator=generator, condition=condition).mean()
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return denoiser


def draw(case: Case, denoiser: Denoiser, count: int = SAMPLES) -> tuple[Tensor, Tensor]:
    """Samples (count, 2) and the anchors they were drawn for.

    Out of the bridge's end the deterministic path is one for each anchor, so that process takes the stochastic steps.
    At the end itself x̂_0 does not follow from noise, score or velocity (α = 0); those start just inside, as BBED does.
    """
    generator = make_generator("draw", case.name)
    _, y = mixture(count, generator)
    condition = {"y": y, "anchor": y} if case.anchored else {}
    inside: dict[str, Any] = {}
    if case.sde == "sbve" and case.output != "data":
        start = torch.tensor(0.999)
        inside = {"x_start": y + SDES["sbve"].sigma(start) * randn(y.shape, generator), "t_start": float(start)}
    result = sample(
        lambda x, t: denoiser(x, t, **condition),
        SDES[case.sde],
        (count, 2),
        y=y if case.anchored else None,
        method="sde2" if case.sde == "sbve" else "ode2",
        steps=30,
        t_end=0.0 if case.sde.startswith("discrete") else T_MIN,
        generator=generator,
        denoise=True,
        **inside,
    )
    return result.x, y


def sliced_wasserstein(a: Tensor, b: Tensor, directions: int = 64) -> float:
    """Mean over directions of the 1-Wasserstein distance of the projections of two sample sets (n, d)."""
    axes = torch.randn(a.shape[1], directions, generator=make_generator("axes"))
    axes = axes / axes.norm(dim=0)
    return float(((a @ axes).sort(0).values - (b @ axes).sort(0).values).abs().mean())


def distance(case: Case, x: Tensor, y: Tensor) -> float:
    """Sliced Wasserstein distance to fresh data: of x, or of (x, y) jointly where there is an anchor."""
    true_x, true_y = mixture(len(x), make_generator("truth"))
    if case.anchored:
        return sliced_wasserstein(torch.cat([x, y], 1), torch.cat([true_x, true_y], 1))
    return sliced_wasserstein(x, true_x)


def noise_floor(anchored: bool) -> tuple[float, float]:
    """Mean and largest distance between two sets of true samples, of ten such pairs: what a perfect model gets."""
    values = []
    for i in range(10):
        a, b = (torch.cat(mixture(SAMPLES, make_generator("floor", i, side)), 1) for side in (0, 1))
        values.append(sliced_wasserstein(a, b) if anchored else sliced_wasserstein(a[:, :2], b[:, :2]))
    return sum(values) / len(values), max(values)


def gaussian_distance(anchored: bool) -> float:
    """Distance of a Gaussian with the data's mean and covariance: what a model gets that learns no modes."""
    x, y = mixture(SAMPLES, make_generator("moments"))
    data = torch.cat([x, y], 1) if anchored else x
    factor = torch.linalg.cholesky(torch.cov(data.T))
    fake = data.mean(0) + randn(data.shape, make_generator("fake")) @ factor.T
    return sliced_wasserstein(fake, data)


def run(case: Case, steps: int = STEPS) -> float:
    """Train, draw, and measure one cell of the grid."""
    return distance(case, *draw(case, train(case, steps)))
