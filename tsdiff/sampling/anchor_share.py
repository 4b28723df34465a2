"""Draws whose quantiles are averaged with those of the anchor's own law.

A model with an anchor starts from a forecast that stands by itself: the anchor, and how far off it usually is. On
series unlike those of its training, what the network adds misleads it now and then, and the mean of two forecasts is
then nearer than either. Quantiles are averaged, not densities, so that intervals do not grow ("Vincentization";
Lichtendahl, Grushka-Cockayne & Winkler 2013, "Is it better to average probabilities or quantiles?"). How draws rank at
each step stays as it was.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tsdiff.sampling.shuffle import FEWEST, shuffled
from tsdiff.windows.anchored import residual_units, residuals

_FREEDOM, _WIDTH = 4.0, 0.9
"""The anchor's own law in the network's units: Student's t of so many degrees of freedom, by this width. Its 90 %
intervals alone cover 85 to 98 % of the sets for validation (benchmarks/results/zero_shot.md, anchor_share 1)."""
_STRAIGHT = 2.1
"""Network units from which on that law goes straight on in the series' units, which grow exponentially with them:
outside its 90 % interval. Without this hardly a value lay outside all of 100 draws, where one in fifty should."""


@cache
def anchor_quantiles(count: int) -> np.ndarray:
    """Those of the anchor's own law in the middles of `count` equal parts, (count,)."""
    from scipy.special import stdtrit  # takes a while to load

    law = _WIDTH * stdtrit(_FREEDOM, (np.arange(count) + 0.5) / count)
    within = np.clip(law, -_STRAIGHT, _STRAIGHT)
    # The slope of what the units stand for, `residuals`, at its end.
    return residual_units(residuals(within) + np.cosh(_STRAIGHT / 2) * (law - within))


def anchor_surprise(away: np.ndarray) -> np.ndarray:
    """−log of the chance that the anchor's own law gives a value at least as far off on either side, in nats.

    Args:
        away: distances from the anchor by its scale, at least 0, NaN where unknown.

    Returns:
        Shaped like `away`.
    """
    edge = residuals(np.array(_STRAIGHT))
    beyond = _STRAIGHT + (np.maximum(away, edge) - edge) / np.cosh(_STRAIGHT / 2)
    t = np.where(away > edge, beyond, residual_units(away)) / _WIDTH
    # With s = t/√(4 + t²) both tails of four degrees of freedom hold (1 − s)²(2 + s)/2.
    root = np.hypot(2.0, t)
    return np.log(2) - 2 * (np.log(4) - np.log(root) - np.log(root + t)) - np.log(2 + t / root)


def with_anchor_share(draws: np.ndarray, share: float) -> np.ndarray:
    """Draws with this share of the anchor's quantiles in theirs.

    Args:
        draws: (n, …) in the network's units, around an anchor; fewer than 8 stay as they are.
        share: in [0, 1]; 0 leaves them as they are, 1 leaves their ranks alone.

    Returns:
        Shaped like `draws`, of their dtype.
    """
    if not share or len(draws) < FEWEST:
        return draws
    own = anchor_quantiles(len(draws)).astype(draws.dtype).reshape(-1, *[1] * (draws.ndim - 1))
    return shuffled((1 - share) * np.sort(draws, axis=0) + share * own, draws)
