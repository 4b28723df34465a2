"""Predictor–corrector sampling (Song et al. 2021, Algorithm 1; Richter et al. 2023): correct at t, then step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from shared.checks import Checked, Natural, Positive
from shared.console.notes import tell
from shared.errors import ConfigError
from shared.samplers.exponential import step as exponential_step
from shared.samplers.run import Node, Run, is_clean
from shared.views import real_parts, rows

Predictor = Literal["reverse_diffusion", "euler_maruyama", "ancestral", "none"]
"""How a step goes to the next time."""
Corrector = Literal["ald", "langevin", "none"]
"""How a state moves within its time."""
_FEW = 32
"""Numbers of an item from which on Langevin's corrections widen Gaussian data by less than an eighth."""


@dataclass(frozen=True)
class PredictorCorrector(Checked):
    """Correct at t, then step to the next time.

    Args:
        predictor: "reverse_diffusion": the forward process' own discretisation, reversed (exact transition for VP, VE
            and tables as in Song et al. 2021; Euler for the processes with an anchor as in SGMSE). "euler_maruyama":
            of the reverse SDE. "ancestral": the exact posterior of x_s given x_t and x̂_0.
        corrector: "ald": annealed Langevin, step 2(snr·σ)². "langevin": step 2(snr·|ξ|/|score|)², of each item where
            the published code takes the batch's mean norms; for items of many numbers, since a step that goes by the
            state's own score is long where that is small: Gaussian data of n numbers come out with ((n + 2)/n)² of
            their variance or more, however small the snr. A note tells of fewer than 32.
        corrector_steps: corrections before each step; each is one call.
        snr: signal-to-noise ratio of the corrector's step.
        probability_flow: predict along the probability-flow ODE: half the predictor's score term, and none of its noise
            (Song et al. 2021, eq. 13 and Appendix D.4), which is Euler's step of that ODE where the forward step is
            Euler's. The corrector still adds noise.
        denoise: return the mean of the last step.

    Raises:
        ConfigError: an unknown name, an impossible number, or a probability flow that is not defined: of another
            predictor, or (from the run) from the end of a bridge.
    """

    predictor: Predictor = "reverse_diffusion"
    corrector: Corrector = "ald"
    corrector_steps: Natural = 1
    snr: Positive = 0.5
    probability_flow: bool = False
    denoise: bool = False
    kind: Literal["predictor_corrector"] = "predictor_corrector"

    def _related(self) -> None:
        self._require(
            not self.probability_flow or self.predictor in ("reverse_diffusion", "euler_maruyama"),
            "probability_flow predictor",
            "only reverse_diffusion and euler_maruyama follow an ODE; take one of them, or probability_flow=False",
        )

    def __call__(self, run: Run) -> None:
        """Run over the grid."""
        nodes = run.single()
        if self.probability_flow and nodes[0].sigma == 0:
            raise ConfigError(
                f"probability_flow=True from t={nodes[0].t}, the end of a bridge, where there is no score: start "
                "before it (t_start), or take ode1 or euler"
            )
        x = run.x
        numbers = rows(real_parts(x)).shape[1]
        if self.corrector == "langevin" and 0 < numbers < _FEW:
            tell(
                f"corrector='langevin' goes by the score of each item: of {numbers} numbers Gaussian data come out "
                f"with {((numbers + 2) / numbers) ** 2:.2g} times their variance or more; take corrector='ald'"
            )
        for now, after in pairwise(nodes):
            if self.corrector != "none" and now.sigma > 0:
                for _ in range(self.corrector_steps):
                    x = self._correct(run, now, x)
            silent = (self.denoise and after is nodes[-1]) or (self.predictor == "ancestral" and is_clean(after))
            x = run.finish_step(self._predict(run, now, after, x, silent), (now,), (after,))

    def _correct(self, run: Run, node: Node, x: Tensor) -> Tensor:
        score = _score(run, node, x)
        noise = run.noise()
        if self.corrector == "ald":
            size: Tensor | float = 2 * (self.snr * node.sigma) ** 2
        else:
            white, slope = (run.sde.whitened(value) for value in (noise, score))
            ratio = _norms(white) / _norms(slope).clamp_min(1e-12)
            size = (2 * (self.snr * ratio).square()).reshape(-1, *([1] * (x.ndim - 1)))
        spread = math.sqrt(2 * size) if isinstance(size, float) else (2 * size).sqrt()
        return x + size * score + spread * noise

    def _predict(self, run: Run, now: Node, after: Node, x: Tensor, silent: bool) -> Tensor:
        if self.predictor == "none":
            return x
        r, flow = run.residual(x), self.probability_flow
        noise = None if silent or flow else run.noise()
        if self.predictor == "ancestral" or now.alpha == 0:
            # At α = 0 the rate α̇/α is infinite, and a bridge's end has no score; the posterior step is defined there.
            history = [([now.log_snr], run.data_residual(x, (now,)))]
            return run.anchored(exponential_step(run, (now,), (after,), r, history, 0.0 if flow else 1.0, noise))
        score = _score(run, now, x)
        shift, variance = self._transition(run, now, after)
        mean = r - shift * r + (0.5 if flow else 1.0) * variance * score
        return run.anchored(mean if noise is None else mean + math.sqrt(variance) * noise)

    def _transition(self, run: Run, now: Node, after: Node) -> tuple[float, float]:
        """The forward step after → now as r + shift·r + noise of this variance."""
        if self.predictor == "reverse_diffusion" and run.sde.discretization == "exact":
            growth = now.alpha / after.alpha
            return growth - 1, now.sigma**2 - growth**2 * after.sigma**2
        dt = now.t - after.t
        g = float(run.sde.diffusion(now.t))
        return float(run.sde.alpha_dot(now.t)) / now.alpha * dt, g * g * dt


def _score(run: Run, node: Node, x: Tensor) -> Tensor:
    """S·score, that of the coordinates where the noise is white, carried back; the score itself for white noise."""
    return (node.alpha * run.data_residual(x, (node,)) - run.residual(x)) / node.sigma**2


def _norms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows(x), dim=1)
