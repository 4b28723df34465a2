"""Positive series as series of any sign: what is done to values before they are scaled.

Multiplicative noise, dX = μX dt + sX dW, is additive noise on log X, so that a diffusion of positive series is the
variance-exploding one of their logarithms, with the density p(x) = p(log x)/x ("Dale meets Langevin", arXiv
2510.02730). Every process, sampler and likelihood of the toolkit then serves; samples are positive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from shared.checks import Checked, NonNegative, Positive
from shared.errors import DataError
from shared.kinds import OneOf


class Transform(Checked, ABC):
    """A rising map z(x) of values above `-offset`, element by element; arrays of any shape, NaN stays NaN.

    Subclasses are frozen dataclasses with a `kind`; a user's own is no less.
    """

    kind: str
    offset: float

    @abstractmethod
    def forward(self, values: np.ndarray) -> np.ndarray:
        """z of series' values, float64."""

    @abstractmethod
    def inverse(self, values: np.ndarray) -> np.ndarray:
        """The series' values of z, float64; infinite where they leave double precision."""

    @abstractmethod
    def log_slope(self, values: np.ndarray) -> np.ndarray:
        """log dz/dx at series' values: what a log density of z gains as one of x."""

    def check(self, values: np.ndarray, name: str) -> None:
        """Refuse a series' values (length, channels) that have no z.

        Raises:
            DataError: one is too small; the message has the series' name, the value and what to do.
        """
        low = np.argwhere(values <= -self.offset)
        if not len(low):
            return
        step, channel = low[0]
        found, least = float(values[step, channel]), 0.0 - float(np.nanmin(values))
        raise DataError(
            f"series {name!r}: {len(low)} of its values cannot be transformed, the first is {found:g} at step {step}; "
            f"transform={self.kind!r} with offset={self.offset:g} takes values above {0.0 - self.offset:g}. Take an "
            f"offset above {least:g}, of the size of the smallest differences that matter; mark them missing (NaN); or "
            "take no transform"
        )


@dataclass(frozen=True)
class Log(Transform):
    """z = log(x + offset): geometric Brownian motion is Brownian motion of z.

    Args:
        offset: what is added; values near −offset rule z, so that for series with zeros it should be no smaller than
            the differences that matter.
    """

    offset: NonNegative = 0.0
    kind: Literal["log"] = "log"

    def forward(self, values: np.ndarray) -> np.ndarray:
        """See `Transform`."""
        return np.asarray(np.log(values.astype(np.float64) + self.offset))

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """See `Transform`."""
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(values.astype(np.float64)) - self.offset)

    def log_slope(self, values: np.ndarray) -> np.ndarray:
        """See `Transform`: −log(x + offset)."""
        return -self.forward(values)


@dataclass(frozen=True)
class InverseSoftplus(Transform):
    """z = unit·log(e^{(x + offset)/unit} − 1): like log for values below `unit`, and like x above it.

    Large values are then not stretched, and samples do not explode; for counts and amounts with small values.

    Args:
        unit: where it bends, in the series' units.
        offset: what is added, so that zeros have a z.
    """

    unit: Positive = 1.0
    offset: NonNegative = 0.0
    kind: Literal["inverse_softplus"] = "inverse_softplus"

    def forward(self, values: np.ndarray) -> np.ndarray:
        """See `Transform`."""
        y = (values.astype(np.float64) + self.offset) / self.unit
        return np.asarray(self.unit * (y + np.log(-np.expm1(-y))))

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """See `Transform`."""
        with np.errstate(invalid="ignore"):  # of missing values
            return np.asarray(self.unit * np.logaddexp(0.0, values.astype(np.float64) / self.unit) - self.offset)

    def log_slope(self, values: np.ndarray) -> np.ndarray:
        """See `Transform`."""
        return np.asarray(-np.log(-np.expm1(-(values.astype(np.float64) + self.offset) / self.unit)))


TransformSetting = Annotated[Transform, OneOf(Transform, (Log, InverseSoftplus))]
"""The type of a setting that is a transform: an object, a kind, or a mapping of kind and parameters."""
