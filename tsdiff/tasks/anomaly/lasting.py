"""What is new in each error of a forecast: where errors last, as those of a series that wanders do, the one before it
tells most of it, and a spike that is little beside the errors of a far horizon stands out from what is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SHARP = 0.7
"""Size of what is new, by that of errors, from which on errors do not last: the forecast alone tells as much."""


@dataclass(frozen=True)
class Lasting:
    """How errors of a forecast last from one step to the next.

    Attributes:
        share: of a step's error that the next one has, too, from 0 to 1.
        new: size of the rest by that of errors.
    """

    share: float = 0.0
    new: float = 1.0


def lasting_errors(missed: np.ndarray, least: float) -> Lasting:
    """How the errors of past forecasts last, (tries, steps); not at all where too few tell, those up to `least` being
    none."""
    largest = float(np.abs(missed).max(initial=0.0))
    if len(missed) < 2 or missed.shape[1] < 3 or not least < largest < np.inf:
        return Lasting()
    missed = np.where(np.abs(missed) > least, missed / largest, 0.0)  # the squares of what is huge have no number
    before = missed[:, :-1]
    power, size = max(float((before**2).sum()), np.finfo(float).tiny), float(np.abs(missed).sum())
    share = min(max(float((missed[:, 1:] * before).sum()) / power, 0.0), 1.0)
    rest = np.concatenate([missed[:, :1], missed[:, 1:] - share * before], axis=1)
    return Lasting(share, float(np.abs(rest).sum()) / size)


def news(
    off: np.ndarray, deviation: np.ndarray, lasting: Lasting, outlying: float, after_gap: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is new in the errors of one forecast.

    Args:
        off: the errors, (n,), NaN where the value is missing.
        deviation: of errors, as the forecast says, (n,).
        lasting: how they last.
        outlying: deviations beyond which something new tells nothing of the next steps, unless it stays.
        after_gap: whether the value before the forecast is not known.

    Returns:
        What is new, (n,), NaN where errors do not last or the value is missing; its deviation, (n,); and which values
        are outlying and did not stay, (n,).
    """
    new, size, far = np.full(len(off), np.nan), np.full(len(off), np.nan), np.zeros(len(off), dtype=bool)
    if lasting.new > _SHARP:
        return new, size, far
    typical = lasting.new * float(deviation.mean())
    # The error that tells the next one, None before any, and the place after it. A far one tells of no other, unless
    # the next one is far, too: then the series has changed.
    told, after, held = (None if after_gap else 0.0), 0, None
    for step in np.flatnonzero(~np.isnan(off)):
        kept = lasting.share ** np.arange(step + 2 - after)  # of the errors 0, 1, … steps ago
        if told is None:
            new[step], size[step] = off[step], deviation[step]
        else:
            new[step] = off[step] - kept[-1] * told
            size[step] = min(typical * float(np.sqrt((kept[:-1] ** 2).sum())), deviation[step])
        away = abs(new[step]) > outlying * size[step]
        if away and held is None:
            far[step], held = True, step
            continue
        if held is not None:
            far[held] = not away
        told, after, held = float(off[step]), int(step) + 1, None
    return new, size, far
