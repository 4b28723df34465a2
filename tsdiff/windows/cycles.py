"""Cycles that keep to no calendar: the season that a series has, and the waves that it is made of.

A calendar tells of days, weeks and years; machines, tides, hearts, sunspots and whatever one tries first, a sine, have
periods of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

_LEAST_ALIKE, _NEARLY = 0.3, 0.9
"""Autocorrelation that makes a season, and by the highest, that of the shortest which is taken."""
_RECENT, _FITTED = 1024, 512
"""Last values that a season is looked for in, and that waves are fitted to."""
_FEW_WAVES, _MOST_WAVES, _LEAST_CYCLES, _EXPLAINED = 3, 6, 1.5, 1e-4
_LEFT = 0.05
"""Of a series' power what few waves may leave for more to be looked for: tides are made of many, and of little else."""
_TINY = 1e-300


def found_season(values: _Floats) -> int:
    """The season that a history shows, by its autocorrelation around a straight line; 0 where it shows none.

    Args:
        values: (n,), finite; the last 1,024 are looked at.

    Returns:
        Steps, from 2 to half of the history: of the hills of the autocorrelation, beyond where it is first negative,
        the top of the first that is nearly as high as the highest (after McLeod and Wyvill 2005).
    """
    values = values[-_RECENT:]
    count = len(values)
    if count < 6:
        return 0
    off = _around_line(values)
    size = 1 << (2 * count - 1).bit_length()
    alike = np.fft.irfft(np.abs(np.fft.rfft(off, size)) ** 2, size)[: count // 2 + 2]
    if not alike[0] > 0:
        return 0
    alike = alike / alike[0] * (count / (count - np.arange(len(alike))))
    edges = np.flatnonzero(np.diff(alike > 0)) + 1  # between them hills and valleys take turns; the first is no season
    hills = [(int(begin), int(end)) for begin, end in zip(edges[1::2], [*edges[2::2], len(alike)], strict=False)]
    peaks = np.array([begin + int(alike[begin:end].argmax()) for begin, end in hills], dtype=int)
    peaks = peaks[peaks + 1 < len(alike)]  # a hill that still rises has its peak beyond
    highest = float(alike[peaks].max(initial=0.0))
    return int(peaks[alike[peaks] >= _NEARLY * highest][0]) if highest >= _LEAST_ALIKE else 0


class Waves:
    """A straight line and up to three sine waves, of any periods, by least squares; more where these leave little.

    The frequencies are found one by one, as the highest peak of the spectrum of what is left (as CLEAN does, Roberts,
    Lehár and Dreher 1987), and fitted together by Gauss-Newton; one that does not lower the error by more than chance
    would is left out (Bayesian information criterion, Schwarz 1978).

    Args:
        values: (n,), finite; the last 512 are fitted.

    Attributes:
        frequencies: in radians a step, (waves,); none where the series shows none.
    """

    def __init__(self, values: _Floats):
        self.frequencies: _Floats = np.zeros(0)
        values, place = self._begin(values)
        if len(values) < 3:
            return
        count, left = len(values), _around_line(values)
        error, taper = float(left @ left), np.hanning(count + 2)[1:-1]
        power, least = error, 1e-20 * float(values @ values)
        while len(self.frequencies) < _MOST_WAVES and error > max(_EXPLAINED * power, least):
            if len(self.frequencies) == _FEW_WAVES and error > _LEFT * power:
                return
            peak = _highest(left * taper)
            if peak is None:
                return
            frequencies = self._refined(np.append(self.frequencies, peak), place, values)
            table = self._table(frequencies, place)
            coefficients = _solved(table, values)
            left = values - coefficients @ table
            now = float(left @ left)
            if count * np.log((now + least) / error) + 3 * np.log(count) > 0:
                return
            self.frequencies, self._coefficients, error = frequencies, coefficients, now

    def fit(self, values: _Floats) -> None:
        """Fit the same waves to other values, a little longer or shorter than those before."""
        values, place = self._begin(values)
        for _ in range(2):  # a longer history turns a small error of frequency into a large one of phase
            self.frequencies = self._refined(self.frequencies, place, values)
        self._coefficients = _solved(self._table(self.frequencies, place), values)

    def ahead(self, steps: NDArray[np.int_]) -> _Floats:
        """The values so many steps after the last one, 0 the next: shaped like `steps`; none further off what was seen
        than that is wide."""
        made: _Floats = self._coefficients @ self._table(self.frequencies, steps.reshape(-1).astype(np.float64))
        wide = self._high - self._low
        return self._level + np.clip(made, self._low - wide, self._high + wide).reshape(steps.shape)

    def _begin(self, values: _Floats) -> tuple[_Floats, _Floats]:
        """The last values around the very last, and where they lie."""
        self._level = float(values[-1])
        values = values[-_FITTED:] - self._level
        self._count, self._low, self._high = len(values), float(values.min()), float(values.max())
        return values, np.arange(-len(values), 0.0)

    def _table(self, frequencies: _Floats, place: _Floats) -> _Floats:
        """What is fitted at places (n,): (2 + 2 waves, n)."""
        angle = frequencies[:, None] * place
        return np.concatenate([[np.ones(len(place)), place / self._count], np.cos(angle), np.sin(angle)])

    def _refined(self, frequencies: _Floats, place: _Floats, values: _Floats) -> _Floats:
        """The frequencies after a step of Gauss-Newton, none longer than half a cycle of what is fitted."""
        count, most, table = len(frequencies), np.pi / self._count, self._table(frequencies, place)
        coefficients = _solved(table, values)
        cosines, sines = coefficients[2 : 2 + count, None], coefficients[2 + count :, None]
        turning = table[1] * (sines * table[2 : 2 + count] - cosines * table[2 + count :])
        step = _solved(np.concatenate([table, turning]), values - coefficients @ table)[-count:] / self._count
        return np.clip(frequencies + np.clip(step, -most, most), most, np.pi)


def _around_line(values: _Floats) -> _Floats:
    place = np.arange(len(values)) - (len(values) - 1) / 2
    centred = values - values.mean()
    return centred - place * (place @ centred) / (place @ place)


def _highest(values: _Floats) -> float | None:
    """Frequency of the highest peak of a spectrum, in radians a step, between bins by a parabola through logarithms;
    None where the history is too short for one."""
    size = 1 << (2 * len(values) - 1).bit_length()
    power = np.abs(np.fft.rfft(values, size))
    first = int(np.ceil(_LEAST_CYCLES * size / len(values)))
    if first + 1 >= len(power):
        return None
    peak = first + int(power[first:-1].argmax())
    before, at, after = np.log(power[peak - 1 : peak + 2] + _TINY)
    bend = before - 2 * at + after
    return float(2 * np.pi * (peak + (np.clip((before - after) / bend / 2, -0.5, 0.5) if bend else 0.0)) / size)


def _solved(table: _Floats, values: _Floats) -> _Floats:
    """Least squares of values (n,) by a table (k, n), by the normal equations with a little ridge, a row's its own so
    that units do not matter: (k,)."""
    square: _Floats = table @ table.T
    square.flat[:: len(square) + 1] += 1e-10 * square.diagonal() + _TINY
    return np.asarray(np.linalg.solve(square, table @ values), dtype=np.float64)
