"""The noise level that a state really has, by the likelihood of the data's Gaussian law.

After a step whose prediction was off, a state is noisier or cleaner than its time says. Shifting the time (Li et al.
2024, "Alleviating exposure bias in diffusion models through sampling with shifted time steps") takes the time at which
the state is most probable for both the next prediction and the start of the next step. Their rule compares variances
over the values of an item, which for data of unit variance is 1 at every time of VP; here it is

    argmax_λ log N(r; α m, α²C + σ²I) − (λ − λ_t)²/(2 shrink²).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from shared.checks import Checked, NonNegative
from shared.errors import ConfigError
from shared.samplers.laws import Law, LawSetting
from shared.samplers.run import Node, Nodes, Run

_PLACES = 33


@dataclass(frozen=True)
class LevelShift(Checked):
    """Where to look for a state's noise level, as a setting of `Exponential`.

    Args:
        law: of x_0 − y; None is the model's own, where a model draws that knows one.
        window: how far in log-SNR from the scheduled level to look, either way; at most half a step. 0 shifts nothing.
        shrink: standard deviation of shifts that are thought likely, in log-SNR; infinite for none. A single item's
            level is known to ± 1/√(2·values) at best, to less where data and noise look alike.
        pool: one level for the whole batch, which is then known better, but an item's result depends on its batch.

    Raises:
        ConfigError: a window below 0, or no positive `shrink`; (when run) no law, or a start at a bridge's end.
    """

    law: LawSetting | None = None
    window: NonNegative = 0.25
    shrink: Annotated[float, Gt(0)] = 0.1
    pool: bool = False
    kind: Literal["level_shift"] = "level_shift"

    def found(self, run: Run, x: Tensor, now: Nodes, after: Nodes) -> Nodes:
        """The nodes, one for all items or one of each, that states x (batch, ...) at `now` are most probable at."""
        run.sde.require_white("a level shift", "shift=None")
        law = known_law(self.law, "a level shift")
        size = len(x)
        if self.window == 0 or not all(math.isfinite(node.log_snr) for node in now):
            return now
        now = now if self.pool and len(now) == 1 else now * (size if len(now) == 1 else 1)
        reach = min(self.window, *((b.log_snr - a.log_snr) / 2 for a, b in zip(now, after, strict=False)))
        shifts = torch.linspace(-reach, reach, _PLACES, dtype=torch.float64)
        r = run.residual(x)
        prior = -0.5 * (shifts / self.shrink).square()
        if len(set(now)) == 1:
            chances = law.log_densities(r, self._candidates(run, now[0], shifts))
        else:
            each = [law.log_densities(r[i : i + 1], self._candidates(run, node, shifts)) for i, node in enumerate(now)]
            chances = torch.cat(each, 1)
        if self.pool:
            chances = chances.sum(1, keepdim=True).expand_as(chances)
        best = _peaks(shifts, chances.cpu() + prior[:, None])
        moved = [node.log_snr + float(shift) for node, shift in zip(now, best, strict=False)]
        return tuple(Node.at(run.sde, float(run.sde.time_of_log_snr(level))) for level in moved)

    def _candidates(self, run: Run, node: Node, shifts: Tensor) -> list[Node]:
        times = run.sde.time_of_log_snr(node.log_snr + shifts)
        return [Node.at(run.sde, t) for t in times.tolist()]


def known_law(law: Law | None, who: str) -> Law:
    """The law that `who` was given.

    Raises:
        ConfigError: none.
    """
    if law is None:
        raise ConfigError(
            f"{who} needs the Gaussian law of the data: give Gaussian.of(data, rank), or draw by a model that knows it"
        )
    return law


def _peaks(places: Tensor, values: Tensor) -> Tensor:
    """Where the parabola through the largest value of each column and its neighbours peaks, (columns,)."""
    top = values.argmax(0).clamp(1, len(places) - 2)
    left, mid, right = (values.gather(0, (top + k)[None])[0] for k in (-1, 0, 1))
    bend = left - 2 * mid + right
    inside = torch.where(bend < 0, 0.5 * (left - right) / bend, torch.zeros_like(bend))
    return places[top] + inside.clamp(-1, 1) * (places[1] - places[0])
