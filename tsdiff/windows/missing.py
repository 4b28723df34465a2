"""Missing values in the context, as in Kollovieh et al. 2023, §5.2: at random, or blacked out at one of its ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from shared.checks import Checked, Portion

Scenario = Literal["RM", "BM-B", "BM-E"]


@dataclass(frozen=True)
class MissingContext(Checked):
    """Which values of a context are hidden.

    Args:
        scenario: "RM": each at random; "BM-B", "BM-E": a block at the beginning or the end of the context.
        rate: share of the context that is hidden.
    """

    scenario: Scenario = "RM"
    rate: Portion = 0.5

    def hidden(self, context_length: int, rng: np.random.Generator) -> np.ndarray:
        """Whether each of the context's steps is hidden, (context_length,)."""
        count = round(self.rate * context_length)
        if self.scenario == "RM":
            order = rng.permutation(context_length)
            return order < count
        place = np.arange(context_length)
        return place < count if self.scenario == "BM-B" else place >= context_length - count

    def applied(self, target: np.ndarray, context_length: int, rng: np.random.Generator) -> np.ndarray:
        """A copy of a target (…, length) with its last context_length values hidden (NaN) accordingly."""
        masked = np.array(target, dtype=np.result_type(target, np.float32))
        length = masked.shape[-1]
        reach = min(context_length, length)
        masked[..., length - reach :][..., self.hidden(context_length, rng)[context_length - reach :]] = np.nan
        return masked
