"""Predictor–corrector sampling (Song et al. 2021, Algorithm 1; Richter et al. 2023): correct at t, then step."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.samplers.exponential import step as exponential_step
from shared.samplers.run import Node, Run, is_clean

Predictor = Literal["reverse_diffusion", "euler_maruyama", "ancestral", "none"]
Corrector = Literal["ald", "langevin", "none"]


def predictor_corrector(
    run: Run,
    predictor: Predictor,
    corrector: Corrector,
    corrector_steps: int,
    snr: float,
    denoise: bool,
    probability_flow: bool = False,
) -> None:
    """Run over the grid; with `denoise` the last step adds no noise.

    Args:
        predictor: "reverse_diffusion": the forward process' own discretisation, reversed (exact transition for VP, VE
            and tables as in Song et al. 2021; Euler for the processes with an anchor as in SGMSE). "euler_maruyama":
            of the reverse SDE. "ancestral": the exact posterior of x_s given x_t and x̂_0.
        corrector: "ald": annealed Langevin, step 2(snr·σ)². "langevin": step 2(snr·|ξ|/|score|)², of each item.
        corrector_steps: corrections before each step; each is one call.
        snr: signal-to-noise ratio of the corrector's step.
        denoise: return the mean of the last step.
        probability_flow: predict along the probability-flow ODE: half the predictor's score term, and none of its noise
            (Song et al. 2021, eq. 13 and Appendix D.4), which is Euler's step of that ODE where the forward step is
            Euler's. The corrector still adds noise.

    Raises:
        ConfigError: an unknown name, an impossible number, or a probability flow that is not defined: of another
            predictor, or from the end of a bridge.
    """
    _check("predictor", predictor, get_args(Predictor))
    _check("corrector", corrector, get_args(Corrector))
    if corrector_steps < 0 or not 0 < snr < math.inf:
        raise ConfigError(f"corrector_steps={corrector_steps}, snr={snr}: need >= 0 and > 0")
    if probability_flow:
        _check_flow(run, predictor)
    x = run.x
    last = len(run.nodes) - 2
    for i, (now, after) in enumerate(zip(run.nodes, run.nodes[1:], strict=False)):
        if corrector != "none" and now.sigma > 0:
            for _ in range(corrector_steps):
                x = _correct(run, now, x, corrector, snr)
        silent = is_clean(after) if predictor == "ancestral" else (denoise and i == last)
        x = _predict(run, now, after, x, predictor, silent or (denoise and i == last), probability_flow)
        x = run.finish_step(x, now.t, after.t)


def _correct(run: Run, node: Node, x: Tensor, corrector: Corrector, snr: float) -> Tensor:
    score = _score(run, node, x)
    noise = run.noise()
    if corrector == "ald":
        size: Tensor | float = 2 * (snr * node.sigma) ** 2
    else:
        ratio = _norms(noise) / _norms(score).clamp_min(1e-12)
        size = (2 * (snr * ratio).square()).reshape(-1, *([1] * (x.ndim - 1)))
    spread = math.sqrt(2 * size) if isinstance(size, float) else (2 * size).sqrt()
    return x + size * score + spread * noise


def _score(run: Run, node: Node, x: Tensor) -> Tensor:
    return (node.alpha * run.data_residual(x, node.t) - run.residual(x)) / node.sigma**2


def _norms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def _predict(run: Run, now: Node, after: Node, x: Tensor, predictor: Predictor, silent: bool, flow: bool) -> Tensor:
    if predictor == "none":
        return x
    r = run.residual(x)
    noise = None if silent or flow else run.noise()
    if predictor == "ancestral" or now.sigma == 0:
        # A bridge's end has no score; its posterior step is the only one defined there.
        history = [(now.log_snr, run.data_residual(x, now.t))]
        return run.anchored(exponential_step(now, after, r, history, 1.0, noise))
    score = _score(run, now, x)
    shift, variance = _transition(run, now, after, predictor)
    mean = r - shift * r + (0.5 if flow else 1.0) * variance * score
    return run.anchored(mean if noise is None else mean + math.sqrt(variance) * noise)


def _transition(run: Run, now: Node, after: Node, predictor: Predictor) -> tuple[float, float]:
    """The forward step after → now as r + shift·r + noise of this variance."""
    if predictor == "reverse_diffusion" and run.sde.discretization == "exact":
        growth = now.alpha / after.alpha
        return growth - 1, now.sigma**2 - growth**2 * after.sigma**2
    dt = now.t - after.t
    g = float(run.sde.diffusion(now.t))
    return float(run.sde.alpha_dot(now.t)) / now.alpha * dt, g * g * dt


def _check_flow(run: Run, predictor: Predictor) -> None:
    if predictor not in ("reverse_diffusion", "euler_maruyama"):
        raise ConfigError(
            f"probability_flow=True with predictor={predictor!r}: only reverse_diffusion and euler_maruyama follow an "
            "ODE; take one of them, or probability_flow=False"
        )
    if run.nodes[0].sigma == 0:
        raise ConfigError(
            f"probability_flow=True from t={run.nodes[0].t}, the end of a bridge, where there is no score: start "
            "before it (t_start), or take ode1 or euler"
        )


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}={value!r}: choose one of {', '.join(allowed)}")
