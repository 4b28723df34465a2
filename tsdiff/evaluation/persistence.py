"""How long series stay above or below a level: excursions, their distribution, and what it is for Gaussian series.

The distribution of excursions sees what neither marginals nor autocorrelations do: two series of the same spectrum stay
above their median for other times where one of them is not Gaussian. For a smooth stationary Gaussian process the
independent-interval approximation has closed forms (McFadden 1958; Bray, Majumdar and Schehr 2013), which check it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import integrate, optimize

from shared.checks import Positive, checked
from shared.errors import ConfigError, DataError

_NEAR, _CURVED = 1e-3, 0.1
"""How far from 0, in mean excursions by π, a correlation is compared with its curvature, and how far it may be off."""

LEAST_EXCEEDANCES = 30
"""Excursions that must last longer for a place of the tail to count."""


@dataclass(frozen=True)
class Excursions:
    """Runs of steps on one side of a level, of any number of series together.

    Attributes:
        lengths: (runs,), in steps, at least 1. Runs that begin with a series are left out, as nothing tells when they
            began.
        ended: (runs,): whether the run's end was seen; not, where the series ends first.
        started: runs that were left out.
    """

    lengths: np.ndarray
    ended: np.ndarray
    started: int

    def survival(self, longest: int | None = None) -> np.ndarray:
        """The chance that an excursion lasts longer than k steps, k = 0 … longest, by Kaplan and Meier (1958).

        An excursion whose end was not seen counts for as long as it was seen. Beyond the last run that is known the
        chance stays what it was.
        """
        longest = int(self.lengths.max(initial=1)) if longest is None else longest
        whole = np.minimum(self.lengths[self.ended], longest + 1)
        # Whether a run of k steps ends is seen at the step after them, which a run that is cut off has not.
        cut = np.minimum(self.lengths[~self.ended] - 1, longest + 1)
        ends, seen = (np.bincount(runs, minlength=longest + 2) for runs in (whole, np.append(whole, cut)))
        at_risk = seen[::-1].cumsum()[::-1]
        return np.cumprod(1.0 - ends / np.maximum(at_risk, 1))[: longest + 1]

    @property
    def mean(self) -> float:
        """Mean length in steps, of the survival function up to the longest run; NaN without any."""
        return float(self.survival().sum()) if self.lengths.size else math.nan

    def tail_rate(self) -> float:
        """θ of survival ∝ exp(−θk), a step: least squares through its logarithm from the mean length on, as long as at
        least 30 excursions last longer; NaN where that leaves fewer than three lengths."""
        if not self.lengths.size:
            return math.nan
        survival = self.survival()
        places = np.arange(len(survival))
        longer = np.array([(self.lengths > place).sum() for place in places])
        used = (places >= self.mean) & (longer >= LEAST_EXCEEDANCES) & (survival > 0)
        if used.sum() < 3:
            return math.nan
        slope, _ = np.polyfit(places[used], np.log(survival[used]), 1, w=np.sqrt(longer[used]))
        return -float(slope)


def excursions(values: np.ndarray, level: float | np.ndarray) -> Excursions:
    """The runs of series above or below a level; a value that equals it counts as below.

    Args:
        values: (series, steps), finite.
        level: one for all, or one of each, (series,).

    Raises:
        DataError: another shape, levels of another number, or values that are missing or infinite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise DataError(f"values of shape {values.shape}: give (series, steps), at least two steps")
    if not np.isfinite(values).all():
        raise DataError("values that are missing or infinite have no side of a level; fill them, or leave them out")
    levels = np.asarray(level, dtype=np.float64)
    if levels.shape not in ((), (1,), (len(values),)):
        raise DataError(f"levels of shape {levels.shape} for {len(values)} series: give one, or one of each series")
    above = values > np.broadcast_to(levels, len(values))[:, None]
    lengths, ended = [], []
    for row in above:
        changes = np.flatnonzero(row[1:] != row[:-1]) + 1
        lengths.append(np.diff(np.append(changes, len(row))))
        ended.append(np.arange(len(changes)) < len(changes) - 1)
    return Excursions(np.concatenate(lengths), np.concatenate(ended), len(values))


@dataclass(frozen=True)
class ExcursionDistance:
    """How far two distributions of excursions are from each other.

    Attributes:
        ks: largest difference of the survival functions, 0 … 1.
        wasserstein: Wasserstein-1 distance of the logarithms of the lengths, as far as both are known: .1 means that
            excursions last ten per cent longer or shorter.
    """

    ks: float
    wasserstein: float


def excursion_distance(one: Excursions, other: Excursions) -> ExcursionDistance:
    """Compare excursions; NaN where either set has none."""
    if not (one.lengths.size and other.lengths.size):
        return ExcursionDistance(math.nan, math.nan)
    longest = max(int(one.lengths.max()), int(other.lengths.max()))
    apart = np.abs(one.survival(longest) - other.survival(longest))
    places = np.arange(1, longest + 1)
    return ExcursionDistance(float(apart.max()), float((apart[1:] * np.log1p(1 / places)).sum()))


def sign_change_chance(correlation: float) -> float:
    """The chance that two Gaussian values of mean 0 with this correlation have different signs, arccos(ρ)/π.

    Its inverse is the mean length in steps of a stationary Gaussian series' excursions, ρ being its correlation from
    one step to the next: an AR(1)'s coefficient.
    """
    if not -1 <= correlation <= 1:
        raise ConfigError(f"correlation={correlation}: need a number from -1 to 1")
    return math.acos(correlation) / math.pi


def mean_excursion(curvature: float) -> float:
    """The mean length π/√(−r″(0)) of a smooth stationary Gaussian process' excursions (Rice 1945).

    Args:
        curvature: −r″(0), of its correlation r.
    """
    return math.pi / math.sqrt(checked(Positive, curvature=curvature))


def persistence_exponent(correlation: Callable[[float], float], curvature: float, until: float = 200.0) -> float:
    """θ of survival ∝ exp(−θt) of a smooth stationary Gaussian process, by the independent-interval approximation.

    With the sign's correlation A = (2/π) asin r and the mean excursion m, θ solves θ·(m/2)·(1 + θ∫₀^∞ e^{θt} A dt) = 1.
    For r = sech(t/2), the diffusion equation's in two dimensions, it is .1862 where the exact one is 3/16.

    Args:
        correlation: r(t) for t ≥ 0: 1 at 0, falling, above 0.
        curvature: −r″(0), finite; an Ornstein–Uhlenbeck process, whose r has a corner at 0, has none.
        until: where the integral ends.

    Raises:
        ConfigError: a correlation that is not monotone and positive, or a curvature that is not positive and finite, or
            not the correlation's: excursions of such series are to be measured (`excursions`), and of AR(1) told by
            `sign_change_chance`.
    """
    half = mean_excursion(curvature) / 2
    grid = np.array([correlation(t) for t in np.linspace(0.0, until, 2001)])
    if not (abs(grid[0] - 1) < 1e-9 and (grid >= 0).all() and (np.diff(grid) <= 0).all()):
        raise ConfigError(
            "a correlation that does not fall from 1 and stay above 0: the approximation does not hold; measure the "
            "excursions instead"
        )
    near = _NEAR / math.sqrt(curvature)
    seen = 2 * (1 - correlation(near)) / near**2
    if abs(seen / curvature - 1) > _CURVED:
        raise ConfigError(
            f"curvature={curvature}: near 0 the correlation bends by {seen:.3g}; give −r″(0), or "
            "where there is none, as at a corner, measure the excursions instead"
        )
    last = math.log(max(float(grid[-1]), 1e-300) / max(float(grid[1000]), 1e-300)) / (until / 2)
    fastest = -last if grid[-1] > 0 else math.inf  # beyond the rate at which r itself falls the integral diverges

    def excess(theta: float) -> float:
        def integrand(t: float) -> float:
            return math.exp(theta * t) * 2 / math.pi * math.asin(min(1.0, correlation(t)))

        integral, _ = integrate.quad(integrand, 0.0, until, limit=500)
        return theta * half * (1 + theta * integral) - 1

    high = min(0.999 * fastest, 1 / half)
    if excess(high) < 0:
        raise ConfigError(
            f"the approximation has no exponent below {high:.3g}, the rate at which the correlation falls; measure the "
            "excursions instead"
        )
    return float(optimize.brentq(excess, 1e-9, high, xtol=1e-10))
