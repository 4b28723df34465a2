"""How a forecaster is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import MinLen

from shared.checks import DISTINCT, Checked, Count, Positive, Several

Name = Literal["naive", "auto_ets", "bundled", "fine-tuned", "trained"]
NAMES: tuple[Name, ...] = get_args(Name)


@dataclass(frozen=True)
class AutoSettings(Checked):
    """How a forecaster is chosen.

    Args:
        cpu_minutes: of this process, for all of it: what does not fit is left out, which the report tells.
        candidates: which to try: "naive", the season before with its own earlier errors; "auto_ets", statsforecast's
            AutoETS; "bundled", the model as it came; "fine-tuned" on the series; "trained" on them from scratch.
        windows: about how many last windows of the series are forecast to choose by; fewer where the time is short.
        samples: of each of these forecasts.
        fine_tune_steps, train_steps: optimiser steps, in place of as many as the time allows, which differ from
            machine to machine: with both given, and time enough, a choice can be repeated exactly. The report tells
            those that were made.
        seed: of all draws and trainings.
    """

    cpu_minutes: Positive = 2.0
    candidates: Annotated[tuple[Name, ...], MinLen(1), DISTINCT] = NAMES
    windows: Count = 60
    samples: Several = 100
    fine_tune_steps: Count | None = None
    train_steps: Count | None = None
    seed: int = 0
