"""Whether what a sampler made of a recording can be right: finite, and no louder than the recording lets expect.

Measured on the bundled models, with every sampler at 1 to 30 steps: results that are right have at most the energy of
the noisy signal (+0.3 dB), and peaks at most 0.2 dB above its own, 5.4 dB where it was clipped (what was cut off comes
back). Samplers that are unstable give 18 to 170 dB more energy. In between are bad results, which are told: 3 to 8 dB
of a sampler with too few steps, and up to 16 dB of a stochastic one on a signal far below the level that a model which
does not normalise was trained for.
"""

from __future__ import annotations

import math

import numpy as np

from shared.errors import SamplingError
from speech.model.config import SamplingConfig

PEAK_LIMIT = 2.0
"""Enhanced samples are limited to this many times the noisy signal's peak, +6 dB."""

PEAK_REFUSED = 10.0
"""With a peak this many times the noisy signal's, +20 dB, a result is refused."""

LOUDER_TOLD, LOUDER_REFUSED = 3.0, 12.0
"""dB of energy beyond the noisy signal's from which a result is told of, and refused."""

_STABLE = ("ode", "ode1", "sde1")
"""Samplers that multiply no error of the network, at any number of steps, or choose their own."""

_QUIET = 0.003
"""Share of the loudest so far, −50 dB, below which a signal counts as of this level: what a stochastic sampler leaves
in silence is no fault."""

_INAUDIBLE = 1e-5
"""Of full scale, −100 dB: a signal counts as at least this loud, so that what a network adds to one that is next to
nothing is no fault."""

_SECONDS, _LEAST_SECONDS = 1.0, 0.02
"""Of a signal that comes in pieces, energies are compared over about the first; of a shorter one than the second, only
peaks are."""


class Plausible:
    """Checks enhanced signals beside the noisy ones, piece by piece, and limits what exceeds their peak a little.

    Args:
        sampling: what the error tells.
        sample_rate: of the signals, in Hz.
        loudest: the peak of the recording that the pieces are of, where it is known.

    Attributes:
        limited: samples that were limited so far.
        louder: dB of energy that the enhanced signal had beyond the noisy one's, at the most; 0 below `LOUDER_TOLD`.
    """

    def __init__(self, sampling: SamplingConfig, sample_rate: int, loudest: float = 0.0):
        self.limited, self.louder = 0, 0.0
        self._sampling, self._rate, self._loudest = sampling, sample_rate, loudest
        self._energies = np.zeros(2)
        self._samples = np.zeros(2)

    def checked(self, noisy: np.ndarray, enhanced: np.ndarray) -> np.ndarray:
        """The next piece of the enhanced signal, limited.

        Args:
            noisy: what came in, (samples,).
            enhanced: what came out, (samples,); of a stream it may be another number.

        Raises:
            SamplingError: it is not finite, or louder than the noisy signal by what no enhancement explains.
        """
        bad = enhanced.size - int(np.count_nonzero(np.isfinite(enhanced)))
        if bad:
            raise self._refused(f"{bad} of {enhanced.size} samples are not finite")
        self._loudest = max(self._loudest, float(np.abs(noisy).max(initial=0.0)))
        self._hear(noisy, enhanced)
        if self._loudest == 0 or enhanced.size == 0:
            return enhanced
        loudest = max(self._loudest, _INAUDIBLE)
        peak = float(np.abs(enhanced).max()) / loudest
        louder = self._louder()
        if peak > PEAK_REFUSED or louder > LOUDER_REFUSED:
            more = f"energy {louder:+.1f} dB, peak {20 * math.log10(max(peak, 1e-30)):+.1f} dB"
            raise self._refused(f"against the noisy signal it has {more}")
        if louder > LOUDER_TOLD:
            self.louder = max(self.louder, round(louder, 1))
        if peak <= PEAK_LIMIT:
            return enhanced
        most = np.float32(PEAK_LIMIT * loudest)
        self.limited += int(np.count_nonzero(np.abs(enhanced) > most))
        return enhanced.clip(-most, most)

    def _louder(self) -> float:
        """dB of energy that the enhanced signal has beyond the noisy one's."""
        if self._samples[0] < _LEAST_SECONDS * self._rate:
            return 0.0
        before, after = self._energies / np.maximum(self._samples, 1)
        return 10 * math.log10(max(after, 1e-30) / max(before, (_QUIET * self._loudest) ** 2, _INAUDIBLE**2))

    def _hear(self, noisy: np.ndarray, enhanced: np.ndarray) -> None:
        for place, piece in enumerate((noisy, enhanced)):
            keep = math.exp(-piece.shape[-1] / (_SECONDS * self._rate))
            self._energies[place] = keep * self._energies[place] + np.square(piece, dtype=np.float64).sum()
            self._samples[place] = keep * self._samples[place] + piece.size

    def _refused(self, why: str) -> SamplingError:
        used = self._sampling
        said = f"the enhanced signal cannot be right: {why}. Sampler {used.sampler!r}"
        if used.sampler in _STABLE:
            return SamplingError(
                f"{said} is stable at any number of steps: it is the network that fails on this signal; take another "
                "model, or train it longer"
            )
        return SamplingError(
            f"{said} at {used.steps} steps fails on this model and signal; take more steps, or another sampler (ode1 "
            "is stable at any number of steps)"
        )


def doubts(limited: int, louder: float, cut: int = 0) -> str | None:
    """What to say of a result that was not refused; None where there is nothing. `cut` are samples beyond what a file
    has room for."""
    said = []
    if limited + cut:
        where = "and were cut off there" + ("; --loudness keep turns peaks down instead" if cut else "")
        said.append(f"{limited + cut} samples exceeded twice the noisy signal's peak, or full scale, {where}")
    if louder:
        said.append(f"it has up to {louder:.1f} dB more energy than the noisy signal")
    if not said:
        return None
    return "; ".join(said) + ("; the sampler may be failing: more steps, or ode1, may help" if louder else "")
