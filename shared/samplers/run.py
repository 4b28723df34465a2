"""What every sampler shares: the counted denoiser, coefficients at the grid's times, noise, hooks, the result."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from tqdm.std import tqdm

from shared.console.progress import bar
from shared.errors import ConfigError
from shared.guidance import DenoiserFunction, Guidance
from shared.predictions import NO_MAP
from shared.random import Generators, seeds
from shared.sde.base import SDE, anchored, expand, residual
from shared.views import shaped_like


@dataclass(frozen=True)
class Node:
    """A time of the grid and the path's coefficients there."""

    t: float
    alpha: float
    sigma: float
    log_snr: float

    @classmethod
    def at(cls, sde: SDE, t: float) -> Node:
        """That of a process at t."""
        alpha, sigma, ratio = sde.path(t)
        return cls(t, float(alpha), float(sigma), float(0.5 * (alpha / ratio).log()))


Nodes = tuple[Node, ...]
"""A point of the grid: one node for the whole batch, or one for each item."""


@dataclass(frozen=True)
class StepInfo:
    """What a callback sees after step `index` of `steps` (1-based): state x at time t, the last x̂_0, calls so far."""

    index: int
    steps: int
    t: float
    x: Tensor
    x0: Tensor | None
    nfe: int


Callback = Callable[[StepInfo], bool | None]
"""Called after every step; returning True ends sampling there."""


class ProgressBar:
    """A callback that shows a progress bar over the steps of a sampler.

    Args:
        description: what the bar says.
    """

    def __init__(self, description: str = "sampling"):
        self._bar: tqdm | None = None
        self._description = description

    def __call__(self, info: StepInfo) -> None:
        """Advance to the step that was just finished."""
        if self._bar is None:
            self._bar = bar(info.steps, self._description, "steps")
        self._bar.update(info.index - self._bar.n)
        if info.index >= info.steps:
            self._bar.close()
            self._bar = None


@dataclass
class SampleResult:
    """A sampler's result.

    Attributes:
        x: final state (batch, ...), at time `t`.
        nfe: true number of calls of the denoiser.
        t: the time reached: t_end, or where a callback stopped; of the first item, where each has times of its own.
        trajectory: states (points, batch, ...) from the start to `x`, when asked for.
        times: their times, (points,); of the first item likewise.
        stopped: whether a callback ended sampling early.
    """

    x: Tensor
    nfe: int
    t: float
    trajectory: Tensor | None = None
    times: Tensor | None = None
    stopped: bool = False


class Stop(Exception):
    """Raised inside a run when a callback asks to end it."""


class Run:
    """One sampling run over a grid of times, as a method sees it: `method(run)` goes through `run.nodes`.

    At each it asks for `data_residual` (or `data`), makes the next state, and hands it to `finish_step`.

    Attributes:
        nodes: points of the grid, from noisy to clean; see `Nodes`.
        x: the state (batch, ...) at the last point reached.
        y: the anchor, or None.
        nfe: calls of the denoiser so far.
    """

    def __init__(
        self,
        denoiser: DenoiserFunction,
        sde: SDE,
        x: Tensor,
        y: Tensor | None,
        times: Tensor,
        generator: Generators,
        guidance: Guidance | None,
        callback: Callback | None,
        keep_trajectory: bool,
    ):
        self.sde, self.y, self.x = sde, y, x
        rows = times.reshape(len(times), -1).tolist()
        if len(rows[0]) not in (1, len(x)):
            raise ConfigError(
                f"times of {len(rows[0])} items for a batch of {len(x)}: give (points, batch), or (points,)"
            )
        self.nodes: list[Nodes] = [tuple(Node.at(sde, t) for t in row) for row in rows]
        self.nfe = 0
        self.at = self.nodes[0]
        self._denoiser, self._generator = denoiser, generator
        self._guidance, self._callback = guidance or Guidance(), callback
        self._states: list[Tensor] | None = [x.detach()] if keep_trajectory else None
        self._state_times = [self.at[0].t]
        self._last_x0: Tensor | None = None
        self._index = 0

    def time(self, nodes: Nodes) -> Tensor:
        """Their times as the (batch,) tensor that denoisers take, in the real dtype of the state."""
        dtype = self.x.real.dtype if self.x.is_complex() else self.x.dtype
        times = torch.tensor([node.t for node in nodes], dtype=dtype, device=self.x.device)
        return times.expand(self.x.shape[0]).clone()

    @property
    def changes_states(self) -> bool:
        """Whether the guidance changes states after a step."""
        return type(self._guidance).after_step is not Guidance.after_step

    def single(self) -> list[Node]:
        """The points of a grid that is one for the whole batch, which is what most methods take.

        Raises:
            ConfigError: each item has times of its own.
        """
        if len(self.nodes[0]) > 1:
            raise ConfigError("times of each item, (points, batch): only the exponential integrators take them")
        return [nodes[0] for nodes in self.nodes]

    def scaled(self, weights: Sequence[float], value: Tensor) -> Tensor:
        """A value (batch, ...) times one weight for all items, or one of each."""
        if len(weights) == 1:
            return weights[0] * value
        return expand(torch.tensor(weights, dtype=torch.float64), value) * value

    def data(self, x: Tensor, nodes: Nodes) -> Tensor:
        """x̂_0 with guidance, counted."""
        return self._guided(self._counted, x, nodes)

    def data_residual(self, x: Tensor, nodes: Nodes) -> Tensor:
        """x̂_0 − y with guidance, counted."""
        return residual(self.data(x, nodes), self.y)

    def mean_residual(self, x: Tensor, now: Nodes, after: Nodes) -> Tensor:
        """A flow map's mean of x̂_0 on the way from `now` to `after`, less y; with guidance, counted.

        Raises:
            ConfigError: the model is no flow map.
        """
        if not takes_end(self._denoiser):
            raise ConfigError(NO_MAP)
        return residual(self._guided(partial(self._counted, r=self.time(after)), x, now), self.y)

    def noise(self) -> Tensor:
        """Fresh noise of the process, shaped like the state, for a step that adds some.

        Raises:
            ConfigError: the process' noise has heavy tails.
        """
        self.sde.require_gaussian("a step that adds noise", "a deterministic method, such as ode2")
        return self.start_noise()

    def start_noise(self) -> Tensor:
        """Fresh noise of the process, shaped like the state, for a state that holds none yet."""
        return self.sde.draw_noise(self.x.shape, self._generator, dtype=self.x.dtype, device=self.x.device)

    def seeds(self) -> list[int]:
        """A seed for each item, drawn from its generator."""
        return seeds(len(self.x), self._generator)

    def residual(self, x: Tensor) -> Tensor:
        """x − y, or x where there is no anchor, (batch, ...)."""
        return residual(x, self.y)

    def anchored(self, r: Tensor) -> Tensor:
        """r + y, or r where there is no anchor, (batch, ...)."""
        return anchored(r, self.y)

    def finish_step(self, x: Tensor, now: Nodes, after: Nodes) -> Tensor:
        """Hooks and bookkeeping at the end of a step; returns the state to go on from."""
        if self.changes_states:
            moved = self._guidance.after_step(self._counted, x, self.time(now), self.time(after), self.sde)
            x = shaped_like(x, moved, "guidance's after_step")
        self.x, self.at, t_next = x, after, after[0].t
        self._index += 1
        if self._states is not None:
            self._states.append(x.detach())
            self._state_times.append(t_next)
        if self._callback is not None:
            info = StepInfo(self._index, len(self.nodes) - 1, t_next, x, self._last_x0, self.nfe)
            if self._callback(info):
                raise Stop
        return x

    def denoise_final(self) -> None:
        """Replace the final state by the data prediction there, one more call, unless it is clean data already."""
        if all(map(is_clean, self.at)):
            return
        self.x = self.data(self.x, self.at)
        if self._states is not None:
            self._states[-1] = self.x.detach()

    def result(self, stopped: bool) -> SampleResult:
        """What the run came to, as it stands."""
        trajectory = None if self._states is None else torch.stack(self._states)
        times = None if self._states is None else torch.tensor(self._state_times, dtype=torch.float64)
        return SampleResult(self.x, self.nfe, self.at[0].t, trajectory, times, stopped)

    def _guided(self, denoiser: DenoiserFunction, x: Tensor, nodes: Nodes) -> Tensor:
        found = self._guidance.predict(denoiser, x, self.time(nodes), self.sde)
        self._last_x0 = shaped_like(x, found, "guidance's predict")
        return self._last_x0

    def _counted(self, x: Tensor, t: Tensor, **told: Tensor) -> Tensor:
        self.nfe += 1
        return shaped_like(x, self._denoiser(x, t, **told), "denoiser")


def takes_end(denoiser: DenoiserFunction) -> bool:
    """Whether a data prediction can be told where a step leads, as `r`: (x, t, r=…)."""
    called = denoiser.forward if isinstance(denoiser, nn.Module) else denoiser
    kinds = {name: one.kind for name, one in inspect.signature(called).parameters.items()}
    return "r" in kinds or inspect.Parameter.VAR_KEYWORD in kinds.values()


def noise_estimate(node: Node, r: Tensor, d: Tensor) -> Tensor:
    """ε̂ = (r − α d)/σ; 0 where σ = 0, as on the mean path out of a bridge's end."""
    return torch.zeros_like(r) if node.sigma == 0 else (r - node.alpha * d) / node.sigma


def ode_slope(sde: SDE, node: Node, r: Tensor, d: Tensor) -> Tensor:
    """dr/dt of the probability-flow ODE, α̇ d + σ̇ ε̂ (equal to f − ½ g²·score; Song et al. 2021, eq. 13)."""
    slope = float(sde.alpha_dot(node.t)) * d
    if node.sigma == 0:
        return slope
    return slope + float(sde.sigma_dot(node.t)) * noise_estimate(node, r, d)


def is_clean(node: Node) -> bool:
    """Whether the state at this node is clean data, so that a step to it is the data prediction."""
    return math.isinf(node.log_snr) and node.log_snr > 0
