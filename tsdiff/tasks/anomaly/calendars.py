"""What the calendar does to the steps that are scored, told what lies before them alone: days of the month and the year
on which a daily series differs, weekdays and Easter of a monthly one.

A value that is as far off its weekday as it was on each Christmas before is no anomaly; one that is not, on such a day,
is. They are found as for forecasts, anew before each forecast.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from tsdiff.data.frequency import normalise_freq
from tsdiff.sampling.dependence import normal_scores
from tsdiff.tasks.anomaly.lasting import Lasting
from tsdiff.tasks.calendar_days import DAILY, calendar_days
from tsdiff.tasks.calendar_months import MONTHLY, month_effect

Forecast = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray, Lasting]]
"""Mean and deviation of so many steps after a series (length,), and how errors last from one to the next."""
_DRAWS = 200


def with_calendar(forecast: Forecast, start: pd.Period | None, values: np.ndarray) -> Forecast:
    """A forecaster that foresees what the calendar does to a series, as far as the calendar acts on its frequency.

    Args:
        forecast: of series as they would be without; told the beginning of one, NaN where missing or not to be told.
        start: of the series' first step; None leaves the calendar out.
        values: of the whole series, of which only what lies before a forecast is looked at.
    """
    freq = None if start is None else normalise_freq(start.freqstr)
    if start is None or freq not in (*DAILY, MONTHLY):
        return forecast

    def foreseen(told: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, Lasting]:
        # What was kept from forecasts as an anomaly may have been the calendar's.
        seen = values[: len(told)]
        if freq == MONTHLY:
            effect = month_effect({"target": seen, "start": start}, "", count)
            if effect is None or not effect.gain:
                return forecast(told, count)
            return _joined(*forecast(effect.without(told), count), effect.joined)
        days = calendar_days(seen, start, count)
        if days is None:
            return forecast(told, count)
        known, steps = ~np.isnan(told) | days.where[:, : len(told)].any(axis=0), len(told) + np.arange(count)
        usual = np.where(known, days.usual, np.nan)
        return _joined(*forecast(usual, count), lambda drawn: days.joined(drawn, steps, seed=0))

    return foreseen


def _joined(
    mean: np.ndarray, deviation: np.ndarray, lasting: Lasting, join: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, Lasting]:
    """Mean and deviation (steps,) of what is normal, with what is joined to draws (number, steps) of it."""
    scores = normal_scores(_DRAWS)
    draws = join(mean + deviation * scores[:, None])
    return draws.mean(axis=0), draws.std(axis=0) / scores.std(), lasting
