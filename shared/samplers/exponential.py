"""Exponential integrators in log-SNR with data prediction: ode1/2/3, sde1/2 and the DDIM η in between.

With r = x − y and d = x̂_0 − y, a step s → t with h = λ_t − λ_s and a share η of fresh noise is

    r_t = (σ_t/σ_s)·ρ·r_s + α_t·∫₀ʰ a e^{a(w−h)} d(λ_s + w) dw + η σ_t √(1 − e^{−2h})·ξ,

where ρ = √(1 − η²(1 − e^{−2h})) is the share of the old noise that is kept, and a = 1 − log(ρ)/h. η = 0 is DDIM and
DPM-Solver++ (Lu et al. 2022), η = 1 is DDPM's ancestral step and SDE-DPM-Solver++ (on a bridge: Jukić et al. 2024, the
ODE and SDE samplers). The integral takes d as a polynomial through the latest predictions.

In small steps this is the reverse SDE with noise η·g, whose marginals are those of the path whatever η ≥ 0 is
(stochastic interpolants' ε = η²g²/2; Albergo et al. 2023). From η = 1 on it is solved with that noise as it is: ρ =
e^{−η²h}, and the fresh noise has variance σ_t²(1 − ρ²).

The ends are limits. Out of α = 0, where nothing of the data is left, r_t = (σ_t/σ_s)·ρ·r_s + α_t·d + η σ_t·ξ. Out of a
bridge's end, where σ = 0 too and all states are one, only fresh noise tells samples apart: r_t = α_t·d + σ_t·ξ whatever
η is ("booting noise"; Zheng et al. 2024, "Diffusion bridge implicit models").

The corrector (UniPC; Zhao et al. 2023) costs no call: the prediction at the new state, which the next step needs
anyway, joins the polynomial of the step that led there, which is taken once more with the same noise, one order higher.

A single-step method (DPM-Solver++(2S), (3S); Lu et al. 2022) takes the polynomial through predictions inside the step
instead, at ½ of it in λ, or at ⅓ and ⅔, each found by the same step one order lower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, takewhile
from typing import Literal

from torch import Tensor

from shared.checks import Checked, NonNegative
from shared.errors import ConfigError
from shared.samplers.brownian import BrownianNoise
from shared.samplers.level import LevelShift
from shared.samplers.run import Node, Nodes, Run, is_clean

History = list[tuple[list[float], Tensor]]
"""(λ of each item, or one for all; d) of earlier predictions, the latest first."""

Slope = Literal["exact", "bh1", "bh2"]
"""Weight of a step's second order: the exact integral of a line, or UniPC's B(h) in its place."""

_REACH = 2.0
"""A polynomial is trusted for a step up to this many times the last one (a uniform-t grid ends in far longer ones)."""


@dataclass(frozen=True)
class Exponential(Checked):
    """Multistep exponential integrator; takes times of each item too.

    Args:
        order: 1, 2 or 3; order 3 spends one more call to start at full order.
        eta: noise of the reverse SDE over g: 0 is deterministic, 1 is DDPM's, more renews the noise faster.
        last_noise: whether the last step adds noise; without, it gives its mean.
        corrector: whether each step is taken once more, one order higher, with the prediction at its end; from about 8
            calls it pays, below it harms. Not with guidance that changes the state after a step, nor on the last step
            and out of an end.
        boot: whether the step out of a bridge's end adds noise even at eta = 0; without, all seeds give one sample.
        noise: "fresh" in every step, or increments of one path ("path", `shared.samplers.brownian`), so that a seed
            gives nearly the same sample whatever the number of steps: exactly a path at eta = 1, to first order below.
        denoise: end with one more data prediction.
        single: whether a step asks for `order` predictions of its own (DPM-Solver++(2S), (3S)) instead of using those
            of earlier steps; deterministic, without a corrector. Nearer than "ode2" on VP and the bridges.
        slope: what two predictions weigh: the integral of the line through them ("exact"), or as in UniPC half of a
            B(h), which is h ("bh1") or e^h − 1 ("bh2", which is DPM-Solver++(2M) and (2S) as published). Polynomials
            through three are the same with all.
        shift: looks for the noise level that a state really has, near the scheduled one, before each call but the
            first; see `LevelShift`. Not with a corrector.

    Raises:
        ConfigError: a value out of range, or settings that do not go together.
    """

    order: Literal[1, 2, 3] = 2
    eta: NonNegative = 0.0
    last_noise: bool = True
    corrector: bool = False
    boot: bool = True
    noise: Literal["fresh", "path"] = "fresh"
    denoise: bool = False
    single: bool = False
    slope: Slope = "exact"
    shift: LevelShift | None = None
    kind: Literal["exponential"] = "exponential"

    def _related(self) -> None:
        met = not self.single or self.eta == 0
        self._require(met, "single eta", "a single-step method is deterministic; take eta=0")
        self._require(
            not (self.single and self.corrector),
            "single corrector",
            "predictions inside a step are too rough for a higher order; take one of them",
        )
        self._require(
            self.shift is None or not self.corrector,
            "corrector shift",
            "a step that is taken again has one end; take one of them",
        )

    def __call__(self, run: Run) -> None:
        """Run over the grid.

        Raises:
            ConfigError: a corrector with guidance that changes states.
        """
        if self.corrector and run.changes_states:
            raise ConfigError("corrector=True: this guidance changes states after a step; take corrector=False")
        history: History = []
        if self.eta:
            run.sde.require_gaussian("a step that adds noise", "eta=0, as in ode2")
        path = BrownianNoise(run.seeds(), run.x) if self.noise == "path" else None
        x = run.x
        final = run.nodes[-1]
        redo: Callable[[History], Tensor] | None = None
        for now, after in pairwise(run.nodes):
            last = after is final
            if self.shift is not None and now is not run.nodes[0]:
                now = self.shift.found(run, x, now, after)
                after = after if len(after) == len(now) else after * len(now)
            found = [node.log_snr for node in now], run.data_residual(x, now)
            if redo is not None:
                x = run.anchored(redo([found, *history]))
            r = run.residual(x)
            history = self._history(run, now, after, r, found, history)
            noise = self._noise(run, path, now, after) if self._noisy(now, after, last) else None
            ahead = step(run, now, after, r, history, self.eta, noise, self.slope)
            if self.corrector and _finite(*now, *after):
                redo = partial(step, run, now, after, r, eta=self.eta, noise=noise, slope=self.slope)
            x = run.finish_step(run.anchored(ahead), now, after)
        if self.denoise:
            run.denoise_final()

    def _history(
        self, run: Run, now: Nodes, after: Nodes, r: Tensor, found: tuple[list[float], Tensor], past: History
    ) -> History:
        """The predictions that the step takes: this one, and earlier ones or some inside the step."""
        finite = _finite(*now, *after)
        if self.single:
            inside: History = [found]
            for place in range(1, self.order if finite else 1):
                inside = [self._between(run, now, after, r, place / self.order, inside), *inside]
            return inside
        history = [found, *past][: self.order]
        if self.order == 3 and len(history) == 1 and len(now) == 1 and finite:
            # Halfway, so that the first step is of second order too (DPM-Solver++(2S)).
            history.append(self._between(run, now, after, r, 0.5, history))
        return history

    def _between(
        self, run: Run, now: Nodes, after: Nodes, r: Tensor, share: float, history: History
    ) -> tuple[list[float], Tensor]:
        """A prediction a share of the step in λ further on."""
        levels = [a.log_snr + share * (b.log_snr - a.log_snr) for a, b in zip(now, after, strict=True)]
        middle = tuple(Node.at(run.sde, float(run.sde.time_of_log_snr(level))) for level in levels)
        ahead = step(run, now, middle, r, history, 0.0, None, self.slope)
        return [node.log_snr for node in middle], run.data_residual(run.anchored(ahead), middle)

    def _noisy(self, now: Nodes, after: Nodes, last: bool) -> bool:
        if all(map(is_clean, after)) or (last and not self.last_noise):
            return False
        return self.eta > 0 or (self.boot and any(node.sigma == 0 for node in now))

    def _noise(self, run: Run, path: BrownianNoise | None, now: Nodes, after: Nodes) -> Tensor:
        if path is None:
            return run.start_noise() if any(node.sigma == 0 for node in now) else run.noise()
        # At a share η of noise the clock is e^{2η²λ} to first order; with none only the end of a bridge takes some.
        clocks = [[(self.eta**2 or 1.0) * node.log_snr for node in nodes] for nodes in (now, after)]
        return run.sde.coloured(path.between(*clocks))


def _finite(*nodes: Node) -> bool:
    return all(math.isfinite(node.log_snr) for node in nodes)


def step(
    run: Run,
    now: Nodes,
    after: Nodes,
    r: Tensor,
    history: History,
    eta: float,
    noise: Tensor | None,
    slope: Slope = "exact",
) -> Tensor:
    """One step of the residual r (batch, ...) from `now` to `after`.

    Args:
        run: the run.
        now, after: where the step begins and ends.
        r: x − y at `now`.
        history: predictions, the latest first: that at `now`, and those before; or first those inside the step,
            and with the corrector that at `after`.
        eta: share of fresh noise.
        noise: standard noise (batch, ...), or None; a step out of a bridge's end takes all of it, whatever `eta`.
        slope: see `Exponential`.
    """
    each = [
        coefficients(node, target, [found[min(i, len(found) - 1)] for found, _ in history], eta, slope)
        for i, (node, target) in enumerate(zip(now, after, strict=True))
    ]
    kept, fresh, *weights = ([values[place] for values in each] for place in range(2 + len(history)))
    out = run.scaled(weights[0], history[0][1])
    for weight, (_, d) in zip(weights[1:], history[1:], strict=True):
        if any(weight):
            out = out + run.scaled(weight, d)
    if any(kept):
        out = out + run.scaled(kept, r)
    return out if noise is None else out + run.scaled(fresh, noise)


def coefficients(now: Node, after: Node, levels: Sequence[float], eta: float, slope: Slope) -> tuple[float, ...]:
    """Of a step: the weights of the residual, of the noise, and of each prediction, whose λ are `levels`."""
    others = (0.0,) * (len(levels) - 1)
    if is_clean(after):
        return (0.0, 0.0, 1.0, *others)
    h = after.log_snr - now.log_snr
    growth = max(1.0, eta * eta)
    fresh = min(1.0, eta) * math.sqrt(-math.expm1(-2 * growth * h))
    kept = math.sqrt(1 - fresh * fresh) if eta < 1 else math.exp(-growth * h)
    if math.isinf(h):
        if now.sigma == 0:
            return (0.0, after.sigma, after.alpha, *others)
        return (after.sigma / now.sigma * kept, fresh * after.sigma, after.alpha, *others)
    usable = list(takewhile(math.isfinite, levels))  # no polynomial goes through a prediction at an end
    rate = 1 + growth if eta >= 1 else 1 - math.log(kept) / h
    weights = [after.alpha * weight for weight in _weights(rate, h, usable, now.log_snr, slope)]
    return (after.sigma / now.sigma * kept, fresh * after.sigma, *weights, *others[len(usable) - 1 :])


def _weights(rate: float, h: float, levels: Sequence[float], start: float, slope: Slope) -> list[float]:
    """Of predictions at `levels`, the latest first: ∫₀ʰ a e^{a(w−h)} of the polynomial through them, w = λ − start.

    By Newton's divided differences; those that go beyond the last gap by much are damped.
    """
    places = [level - start for level in levels]
    moments = [-math.expm1(-rate * h)]
    for power in range(1, len(places)):
        moments.append(h**power - power * moments[-1] / rate)
    if len(places) == 2 and slope != "exact":
        moments[1] = 0.5 * h * (rate * h if slope == "bh1" else moments[0])
    inside = sum(place > 0 for place in places)  # nothing goes beyond what lies within the step or at its end
    pair = places[inside : inside + 2]
    trust = min(1.0, _REACH * abs(pair[0] - pair[1]) / h) if len(pair) == 2 else 1.0
    weights = [0.0] * len(places)
    newton = [1.0]  # coefficients of ∏(w − place), lowest power first
    for order in range(len(places)):
        integral = trust ** max(0, order - inside) * sum(c * m for c, m in zip(newton, moments, strict=False))
        for j in range(order + 1):
            others = (places[j] - place for k, place in enumerate(places[: order + 1]) if k != j)
            weights[j] += integral / math.prod(others)
        newton = [a - places[order] * b for a, b in zip([0.0, *newton], [*newton, 0.0], strict=True)]
    return weights
