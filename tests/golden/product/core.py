"""The score core: every process with every sampler on Gaussian data, whose denoiser is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared.likelihood import log_likelihood
from shared.samplers import sample, time_grid
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
from tests.golden.product.case import Results, case
from tests.golden.recipe import draw

PROCESSES: dict[str, SDE] = {
    "vp": VPSDE(),
    "sub_vp": SubVPSDE(),
    "ve": VESDE(),
    "discrete_linear": DiscreteVPSDE(linear_betas(100, 1e-4, 0.1)),
    "discrete_cosine": DiscreteVPSDE(cosine_betas(100)),
    "ouve": OUVESDE(),
    "ouvp": OUVPSDE(),
    "bbed": BBEDSDE(),
    "sbve": SBVESDE(),
}
ANCHORED = ("ouve", "ouvp", "bbed", "sbve")
METHODS = ("ode1", "ode2", "ode3", "sde1", "sde2", "pc", "euler", "heun", "rk45")
SCHEDULES = ("log_snr", "uniform", "edm", "quadratic")
PREDICTORS = ("reverse_diffusion", "euler_maruyama", "ancestral", "none")
CORRECTORS = ("ald", "langevin", "none")
BATCH, SIZE, STEPS = 2, 3, 5

Denoiser = Callable[[Tensor, Tensor], Tensor]


def anchor(name: str, kind: torch.dtype = torch.float64) -> Tensor | None:
    """(BATCH, SIZE) of a process that leads to one, else None."""
    if name not in ANCHORED:
        return None
    real, imaginary = draw("anchor", 2, BATCH, SIZE)
    return (torch.complex(real, imaginary) if kind.is_complex else real).to(kind)


def oracle(sde: SDE, y: Tensor | None) -> Denoiser:
    """E[x_0 | x_t] for independent x_0 of means and variances that differ along the last axis."""
    mean, variance = draw("mean", SIZE) + 0.5, 0.1 + draw("variance", SIZE).square()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (value(t.double())[:, None] for value in (sde.alpha, sde.sigma))
        center = 0 if y is None else y
        gain = alpha * variance / (alpha**2 * variance + sigma**2).clamp_min(1e-300)
        towards = mean if y is None else mean - y
        return (center + towards + gain * (x - center - alpha * towards)).to(x.dtype)

    return denoise


def drawn(name: str, kind: torch.dtype = torch.float64, **settings: Any) -> Tensor:
    """Samples of a process, (BATCH, SIZE); what all cases of samplers call."""
    sde, y = PROCESSES[name], anchor(name, kind)
    generators = [torch.Generator().manual_seed(seed) for seed in range(BATCH)]
    shape = {"shape": (BATCH, SIZE), "dtype": kind} if y is None else {"y": y}
    settings = {"steps": STEPS, "generator": generators, **shape, **settings}
    result = sample(oracle(sde, y), sde, **settings)
    return torch.cat([result.x.flatten(), torch.tensor([result.nfe], dtype=result.x.dtype)])


def enter(name: str) -> None:
    """The cases of one process."""
    sde = PROCESSES[name]

    @case(f"core/{name}/path")
    def path(folder: Path) -> Results:
        t = torch.tensor([0.1, 0.7], dtype=torch.float64)
        x, y = draw("state", BATCH, SIZE), anchor(name)
        mean, std = sde.marginal_prob(x, t, y)
        found: Results = {
            "alpha": sde.alpha(t),
            "sigma": sde.sigma(t),
            "mean": mean,
            "std": std,
            "drift": sde.drift(x, t, y),
            "diffusion": sde.diffusion(t),
            "prior": sde.prior_sample((BATCH, SIZE) if y is None else y, torch.Generator().manual_seed(3)),
        }
        if name != "sbve":
            settings: dict[str, Any] = {"generator": torch.Generator().manual_seed(4)}
            density = oracle(sde, y)
            found |= {
                "prior density": sde.prior_log_prob(x) if y is None else sde.prior_log_prob(x, y),
                "likelihood, steps": log_likelihood(density, sde, x, y, steps=12),
                "likelihood": log_likelihood(density, sde, x, y, rtol=1e-7, atol=1e-7),
                "likelihood, probes": log_likelihood(
                    density, sde, x, y, trace="hutchinson", probes=3, steps=8, **settings
                ),
            }
        return found

    @case(f"core/{name}/schedules")
    def schedules(folder: Path) -> Results:
        found: Results = {schedule: time_grid(sde, 6, schedule) for schedule in SCHEDULES}
        found |= {f"{schedule}, to 0": time_grid(sde, 6, schedule, t_end=0.0) for schedule in SCHEDULES}
        found |= {f"{schedule}, within": time_grid(sde, 4, schedule, 0.8, 0.1) for schedule in SCHEDULES}
        return found

    @case(f"core/{name}/samplers")
    def samplers(folder: Path) -> Results:
        found: Results = {method: drawn(name, method=method) for method in METHODS}
        found |= {f"{method}, uniform": drawn(name, method=method, schedule="uniform") for method in METHODS}
        found |= {f"{method}, to 0": drawn(name, method=method, t_end=0.0) for method in METHODS if method != "rk45"}
        edm = time_grid(sde, STEPS, "edm", rho=5.0)
        found |= {f"{method}, edm": drawn(name, method=method, schedule=edm) for method in METHODS[:5]}
        found |= {f"{method}, eta": drawn(name, method=method, eta=0.4) for method in METHODS[:5]}
        found |= {f"{method}, last": drawn(name, method=method, last_noise=False) for method in METHODS[3:5]}
        found |= {f"{method}, denoise": drawn(name, method=method, denoise=True) for method in METHODS}
        start = draw("start", BATCH, SIZE)
        for method in METHODS:
            found[f"{method}, start"] = drawn(name, method=method, x_start=start, t_start=0.5)
        if name in ANCHORED:
            found |= {f"{method}, complex": drawn(name, torch.complex128, method=method) for method in METHODS}
        return found

    @case(f"core/{name}/single precision", tolerance=1e-4 if name == "sbve" else 1e-5)
    def single(folder: Path) -> Results:
        return {method: drawn(name, torch.float32, method=method) for method in METHODS}

    @case(f"core/{name}/predictor-corrector")
    def predictor_corrector(folder: Path) -> Results:
        found: Results = {}
        for predictor in PREDICTORS:
            for corrector in CORRECTORS:
                settings = {"predictor": predictor, "corrector": corrector, "snr": 0.3, "schedule": "uniform"}
                found[f"{predictor}, {corrector}"] = drawn(name, method="pc", **settings)
        found["two corrections"] = drawn(name, method="pc", corrector_steps=2)
        if name != "sbve":
            found["flow"] = drawn(name, method="pc", corrector="none", probability_flow=True)
        return found


for each in PROCESSES:
    enter(each)
