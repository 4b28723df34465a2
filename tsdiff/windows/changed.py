"""What a forecast takes for other than it is in a history, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsdiff.windows.dents import without_dents
from tsdiff.windows.dropouts import without_dropouts
from tsdiff.windows.habits import without_old_habits
from tsdiff.windows.outages import without_last_closure, without_last_zero, without_outages
from tsdiff.windows.simple import Seasons
from tsdiff.windows.units import in_units_of_now


@dataclass(frozen=True)
class Changed:
    """How many values of a history a forecast takes for others than they are.

    Attributes:
        outliers: put back to what lies around them, for the simple forecasts (`without_spikes`).
        excluded: taken for missing, as of a dent (`without_dents`), zeros of an outage (`without_outages`) or a closed
            season (`without_last_closure`), single ones of a sensor (`without_dropouts`) or an old habit
            (`without_old_habits`).
        rescaled: converted to the unit of now (`in_units_of_now`).
    """

    outliers: int = 0
    excluded: int = 0
    rescaled: int = 0


UNCHANGED = Changed()


def cleaned(history: np.ndarray, seasons: Seasons) -> tuple[np.ndarray, Changed]:
    """A history (n,) as it is forecast, NaN where missing: without the zeros of outages, of a closed season before it
    opens, dents and old habits, in the unit of now; and what was changed of it, outliers not counted, which the simple
    forecasts put back."""
    season = max(seasons[0], 1)
    without_zeros = without_outages(without_dropouts(history, seasons), seasons)
    without_zeros = without_last_zero(without_zeros, season)
    without_zeros = without_old_habits(without_zeros, seasons)
    without_zeros = without_last_closure(without_zeros, seasons)
    converted = in_units_of_now(without_zeros, seasons[0])
    told = without_dents(converted, seasons)
    if told is history:
        return history, UNCHANGED
    excluded = np.isnan(told) & ~np.isnan(history)
    rescaled = ~np.isnan(without_zeros) & (converted != without_zeros)
    return told, Changed(excluded=int(excluded.sum()), rescaled=int(rescaled.sum()))
