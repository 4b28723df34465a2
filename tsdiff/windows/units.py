"""Histories whose unit has changed, as from kilowatts to watts, or when a currency lost three zeros."""

from __future__ import annotations

import numpy as np

_FEWEST, _APART, _LARGER, _LEAST_RATIO, _SEASONS, _ALIKE = 8, 3.0, 1.2, 10.0, 4, 2.0
"""Values on each side of the change, how many times all on one side are those of the other, and in logarithms the
largest other step, by how many times the values change at least, seasons after it that tell by how many, and up to
which ratio steps are alike on both sides."""
_LONGEST_HIGHER, _LONGEST_LOWER = 20, 100
"""Values since the change by which the series tells enough by itself: what was small before misleads little."""
_TINY = 1e-9


def in_units_of_now(values: np.ndarray, season: int) -> np.ndarray:
    """A history (n,), NaN where missing, in the unit of its last values: where from one step to the next all became
    many times as large, or as small, and went on as they had been, what lies before is multiplied by as much.

    That is so where what was and what is lie further apart, in logarithms, than any other step is high, steps are about
    as high after as before, and it is not long ago. Other histories are as they were, as are those with values that are
    not positive.

    Args:
        values: of the history, the last of them the latest.
        season: steps; 0 for none.
    """
    seen = np.flatnonzero(~np.isnan(values))
    if len(seen) < 2 * _FEWEST or not values[seen].min() > 0:
        return values
    logs = np.log(values[seen])
    steps = np.abs(np.diff(logs))
    place = int(steps.argmax()) + 1
    before, after = logs[:place], logs[place:]
    apart = max(float(after.min() - before.max()), float(before.min() - after.max()))
    largest = float(np.delete(steps, place - 1).max())
    longest = _LONGEST_HIGHER if after[0] > before[-1] else _LONGEST_LOWER
    if len(before) < _FEWEST or not _FEWEST <= len(after) <= longest or apart < max(np.log(_APART), _LARGER * largest):
        return values
    rough = np.log(steps[: -len(after)].mean() + _TINY) - np.log(steps[place:].mean() + _TINY)
    if abs(rough) > np.log(_ALIKE):
        return values
    ratio = _ratio(values, int(seen[place]), season)
    if abs(np.log(ratio)) < np.log(_LEAST_RATIO):
        return values
    made = values.copy()
    made[: seen[place]] *= ratio
    return made


def _ratio(values: np.ndarray, place: int, season: int) -> float:
    """How many times those before a place (n,) the values from it on are, at the same phase of the season if one is
    known."""
    if 0 < season <= place:
        steps = np.arange(min(len(values) - place, _SEASONS * season))
        ratios = values[place + steps] / values[place - season + steps % season]
        if (~np.isnan(ratios)).sum() >= _FEWEST:
            return float(np.nanmedian(ratios))
    return float(np.nanmedian(values[place:]) / np.nanmedian(values[:place]))
