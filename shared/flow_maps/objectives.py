"""Objectives of flow maps: regression of x̂_0 on most of a batch, and on the rest what a map must satisfy.

With D(x, t, r) the map's mean data prediction and d(x, t) = D(x, t, t), both less y, and w = α/σ (`shared.flow_maps.
jumps`), a map of the probability-flow ODE has each of these properties, and any of them with d = x̂_0 makes it one:

    Lagrangian   D + (w_r − w_t)/ẇ_r · ∂_r D = d(X_{t,r}(x), r)
    Eulerian     D − (w_r − w_t)/ẇ_t · dD/dt = d(x, t),  dD/dt along the ODE
    semigroup    D(x, t, r) = (1 − l)·D(x, t, m) + l·D(X_{t,m}(x), m, r),  l = (w_r − w_m)/(w_r − w_t)

What stands on the other side is taken as it is, without gradient (self-distillation; Boffi et al. 2025, "How to build a
consistency model"). Errors are those of a data prediction, and are weighted as the loss weights x̂_0's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from shared.checks import Chance, Checked, Level, Share
from shared.errors import ConfigError
from shared.flow_maps.jumps import Jump, Times, along, share
from shared.kinds import OneOf
from shared.objectives import DiffusionLoss, TimeSampler, check_data
from shared.predictions import Denoiser
from shared.samplers.schedules import inside_start
from shared.sde.base import SDE, expand

_SMALLEST_LOSS = 1e-3
"""Added to a loss before it is divided by a power of itself."""

Given = Tensor | None
"""What a network is told besides, (batch, ...), if anything."""
Draws = torch.Generator | None
"""What draws; None takes torch's own."""
Error = tuple[Tensor, Tensor]
"""An error of a data prediction, (batch, ...), and the times (batch,) at which it is one."""


@dataclass(frozen=True)
class FlowMapObjective(Checked, ABC):
    """What a map is trained by besides the regression of x̂_0.

    Args:
        diagonal: share of a batch that trains x̂_0, the map at r = t, without which it has nothing to be a map of; the
            rest trains jumps. On average, where a batch does not divide.
        times: of jumps; of two draws the later is t, the earlier r.
        start_share: share of the jumps that start where sampling does.

    """

    diagonal: Share = 0.75
    times: TimeSampler = field(default_factory=TimeSampler)
    start_share: Chance = 0.25
    needs_teacher: ClassVar[bool] = False

    @abstractmethod
    def error(self, jump: Jump, generator: torch.Generator | None, teacher: Denoiser | None) -> Error:
        """How far the map is from its property on these jumps."""

    def rescaled(self, losses: Tensor) -> Tensor:
        """The losses of jumps, (batch,), as they enter the mean."""
        return losses

    def jumps(self, batch: int, generator: torch.Generator | None) -> int:
        """How many items of a batch train jumps."""
        return int((1 - self.diagonal) * batch + float(torch.rand((), generator=generator, dtype=torch.float64)))

    def ends(self, sde: SDE, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Times t > r of jumps, (count,) each, float64."""
        first, second = (self.times.sample(sde, count, generator) for _ in range(2))
        t, r, start = torch.maximum(first, second), torch.minimum(first, second), inside_start(sde)
        from_start = torch.rand(count, generator=generator, device=t.device) < self.start_share
        return torch.where(from_start, torch.full_like(t, start), t.clamp_max(start)), r.clamp_max(start)


@dataclass(frozen=True)
class LagrangianMap(FlowMapObjective):
    """Lagrangian self-distillation: where the map comes to, it moves with r as the ODE does there (Boffi et al. 2025).

    Differentiates in r alone, which only the span's embedding carries, and needs the gradient through that.
    """

    kind: Literal["lagrangian"] = "lagrangian"

    def error(self, jump: Jump, generator: torch.Generator | None, teacher: Denoiser | None) -> Error:
        """(∂_r X − dx/dt at X)/(σ_r ẇ_r), at r; the slope there as it is."""
        start, end, y = jump.start, jump.end, jump.y
        mean, change = along(lambda r: jump.mean(jump.x, start.t, r), (end.t, torch.ones_like(end.t)))
        with torch.no_grad():
            reached = start.jump(end, jump.x, mean, y)
            slope = end.slope(reached, jump.mean(reached, end.t), y)
        moves = start.jump_rate(end, jump.x, mean, change, y)
        return expand(end.pace, mean) * (moves - slope), end.t


@dataclass(frozen=True)
class ShortcutMap(FlowMapObjective):
    """Two jumps that follow each other are one: no derivative, at the price of two more calls (Frans et al. 2025,
    "One step diffusion via shortcut models"; progressive self-distillation in Boffi et al. 2025).

    Args:
        middle: where the two meet, as a share of the time between; None draws it.
    """

    middle: Level | None = None
    kind: Literal["shortcut"] = "shortcut"

    def error(self, jump: Jump, generator: torch.Generator | None, teacher: Denoiser | None) -> Error:
        """D less that of the two jumps, at t."""
        t, r = jump.start.t, jump.end.t
        drawn = torch.rand(len(t), generator=generator, dtype=t.dtype).to(t.device)
        part = drawn if self.middle is None else torch.full_like(drawn, self.middle)
        middle = Times.at(jump.denoiser.sde, t + part * (r - t))
        with torch.no_grad():
            target = joined(jump, middle, jump.to(middle))
        return jump.to(jump.end) - target, t


@dataclass(frozen=True)
class ConsistencyMap(FlowMapObjective):
    """Consistency distillation: a short step of a teacher's ODE, and from there the map (Song et al. 2023, "Consistency
    models"; Kim et al. 2024, "Consistency trajectory models", for any r). The teacher is the model that the training
    starts from, and must be named.

    Args:
        step: of the teacher, in time; it takes it by the midpoint rule in log-SNR, in two calls.
    """

    step: Share = 0.0625
    kind: Literal["consistency"] = "consistency"
    needs_teacher: ClassVar[bool] = True

    def error(self, jump: Jump, generator: torch.Generator | None, teacher: Denoiser | None) -> Error:
        """D less that of the teacher's step and the map's jump from there, at t."""
        if teacher is None:
            raise ConfigError(NO_TEACHER)
        start, sde = jump.start, jump.denoiser.sde
        middle = Times.at(sde, torch.maximum(start.t - self.step, jump.end.t))
        with torch.no_grad():
            first = jump.mean(jump.x, start.t, denoiser=teacher)
            level = 0.5 * (sde.log_snr(start.t).clamp_min(_LOWEST) + sde.log_snr(middle.t))
            half = Times.at(sde, torch.minimum(torch.maximum(sde.time_of_log_snr(level), middle.t), start.t))
            mean = jump.mean(start.jump(half, jump.x, first, jump.y), half.t, denoiser=teacher)
            target = joined(jump, middle, mean)
        return jump.to(jump.end) - target, start.t


@dataclass(frozen=True)
class MeanFlowMap(FlowMapObjective):
    """MeanFlow (Geng et al. 2025): where the map comes to does not change along the ODE. Differentiates in state and
    times, without a gradient through that.

    Args:
        improved: move along the model's own x̂_0, at one more call, instead of the x_0 that made the state, which is
            right on average only (Geng et al. 2025, "Improved mean flows").
        power: p of the weight 1/(loss + 1e-3)^p of every jump, from 0 to 1.
    """

    improved: bool = False
    power: Chance = 0.75
    kind: Literal["mean_flow"] = "mean_flow"

    def error(self, jump: Jump, generator: torch.Generator | None, teacher: Denoiser | None) -> Error:
        """D − x_0 − [(1 − σ_r/σ_t)(D − d) + c·(σ_t ẇ_t)⁻¹·dD/dt], at t, the bracket as it is."""
        start, end, x = jump.start, jump.end, jump.x
        with torch.no_grad():
            data = jump.mean(x, start.t) if self.improved else jump.x0
            moves = (x, start.slope(x, data, jump.y)), (start.t, torch.ones_like(start.t))
            mean, slope = along(lambda x, t: jump.mean(x, t, end.t), *moves)
            change = expand(1 - start.kept(end), x) * (mean - data) + expand(start.gain(end) * start.pace, x) * slope
        return jump.to(end) - jump.x0 - change, start.t

    def rescaled(self, losses: Tensor) -> Tensor:
        """Each by its weight, over the mean of these, so that the diagonal keeps its share."""
        weights = (losses.detach() + _SMALLEST_LOSS) ** -self.power
        return losses * weights / weights.mean()


KINDS = (LagrangianMap, ShortcutMap, MeanFlowMap, ConsistencyMap)
"""The objectives by which a map is trained."""
FlowMapSetting = Annotated[FlowMapObjective, OneOf(FlowMapObjective, KINDS)]
"""The type of a setting that is a map's objective: an object, a kind, or a mapping of kind and fields."""

NO_TEACHER = (
    "consistency distillation needs a teacher, the model that the training starts from: name one (start_from), or take "
    "another objective, such as lagrangian"
)
"""What is said where a consistency map has none."""
NO_SPAN = (
    "flow_map: the network takes no second time, so it cannot be a map: set span=True among its backbone's settings "
    "(a backbone of your own: docs/extending.md)"
)
"""What is said of a network that cannot be a map."""
NO_OBJECTIVE = (
    "the backbone's settings say span=True, a flow map's, but there is no flow_map objective to train it as one: give "
    'one, such as flow_map="lagrangian", or set span=False'
)
"""What is said of a map's network that is not trained as one."""
_LOWEST = -12.0
"""Log-SNR that stands for −∞ where a midpoint is looked for."""


def joined(jump: Jump, middle: Times, mean: Tensor) -> Tensor:
    """D of the way from t to r, by way of m: `mean` (batch, ...) up to there, and the map from there on."""
    sde, start, end = jump.denoiser.sde, jump.start, jump.end
    ahead = start.jump(middle, jump.x, mean, jump.y)
    rest = jump.mean(ahead, middle.t, end.t)
    beyond = share(*(sde.log_snr(one.t) for one in (start, middle, end)))
    return mean + expand(beyond, mean) * (rest - mean)


@dataclass(frozen=True)
class MapLoss:
    """The loss of a flow map: a `DiffusionLoss` on the diagonal r = t, and an objective of jumps.

    Args:
        diffusion: the regression of x̂_0, whose weights serve the jumps too.
        objective: of jumps.
        teacher: the network that "consistency" distils.

    Raises:
        ConfigError: an objective that needs a teacher, without one.
    """

    diffusion: DiffusionLoss
    objective: FlowMapObjective
    teacher: Denoiser | None = None

    def __post_init__(self) -> None:
        if self.objective.needs_teacher and self.teacher is None:
            raise ConfigError(NO_TEACHER)

    def __call__(
        self, denoiser: Denoiser, x0: Tensor, y: Given = None, mask: Given = None, generator: Draws = None, **more: Any
    ) -> Tensor:
        """The loss of each item, (batch,); arguments, `more` of which are noise, condition and terms, as those of
        `DiffusionLoss`. The last items train jumps, to which the terms have no part: they see the first items alone.

        Raises:
            ConfigError: the network takes no second time.
            DataError: as `DiffusionLoss`.
        """
        if not denoiser.is_map:
            raise ConfigError(NO_SPAN)
        check_data(x0, y=y, noise=more.get("noise"))
        batch, noise, terms = len(x0), more.get("noise"), more.get("terms")
        mask = None if mask is None else mask.expand(x0.shape)  # of fewer axes, it might be cut along another
        first = batch - self.objective.jumps(batch, generator)
        losses = []
        for jumping, rows in ((False, slice(0, first)), (True, slice(first, batch))):
            if rows.start == rows.stop:
                continue
            part, known = (_rows(one, rows, batch) for one in (y, mask))
            made = _rows(noise, rows, batch)
            told = {name: _rows(value, rows, batch) for name, value in (more.get("condition") or {}).items()}
            if jumping:
                losses.append(self._of_jumps(denoiser, x0[rows], part, known, generator, made, told))
            else:
                losses.append(self.diffusion(denoiser, x0[rows], part, known, generator, made, told, terms))
        return torch.cat(losses)

    def _of_jumps(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        y: Tensor | None,
        mask: Tensor | None,
        generator: torch.Generator | None,
        noise: Tensor | None,
        condition: Mapping[str, Any],
    ) -> Tensor:
        sde = denoiser.sde
        t, r = (times.to(x0.device) for times in self.objective.ends(sde, len(x0), generator))
        noise = self.diffusion.noise_for(denoiser, x0, y, generator, noise)
        x = sde.perturb(x0, t, noise, y)
        jump = Jump(denoiser, x, x0, Times.at(sde, t), Times.at(sde, r), y, condition)
        error, times = self.objective.error(jump, generator, self.teacher)
        return self.objective.rescaled(self.diffusion.of_error(denoiser, error, times, mask))


def _rows(value: Any, rows: slice, batch: int) -> Any:
    """These items of what the batch has; what all items share stays."""
    return value if value is None or len(value) != batch else value[rows]
