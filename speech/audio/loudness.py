"""Loudness of a recording as broadcasters measure it, and the gain that sets it.

Integrated loudness in LUFS and true peaks by FFmpeg's meter (the extra "media"), block by block. Sources: ITU-R BS.1770
(weighting, gates, true peak), EBU R 128 (whose highest true peak, −1 dBTP, nothing here exceeds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from shared.checks import checked
from shared.errors import ConfigError
from speech.audio.media import LAYOUTS, av

PEAK_DB = -1.0
"""dB of full scale that true peaks stay below when a gain is applied."""

_SILENT = -70.0
"""LUFS of the meter's absolute gate."""

LOUDEST = 0.0
"""LUFS of what is measured as it is: the meter's scale ends at 10, where it counts every moment that is louder."""

_LEFT = "its loudness is left as it is: {} is silent, or shorter than 0.4 s, or below -70 LUFS"

_PEAK_STEP = 0.0005
"""Half of the meter's last digit of a peak."""

HIGHEST = 10 ** (PEAK_DB / 20) - _PEAK_STEP
"""A peak that the meter tells of what lies below `PEAK_DB` for sure."""

LoudnessGoal = float | Literal["keep"]
"""LUFS that a result gets; "keep": those of its recording."""


def checked_goal(value: LoudnessGoal | str | None) -> LoudnessGoal | None:
    """The goal, as a number where it is one.

    Raises:
        ConfigError: neither a number from −70 to −5 nor "keep".
    """
    if value is None or value == "keep":
        return None if value is None else "keep"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"loudness={value!r}: need LUFS, such as -16, or keep (that of the recording)") from None
    return float(checked(Annotated[float, Ge(-70.0), Le(-5.0), "LUFS, such as -23 or -16"], loudness=number))


class LoudnessMeter:
    """Measures a recording that comes in blocks.

    Args:
        sample_rate: Hz.
        channels: of the recording; of three and more in the order of WAV's, the fourth of six being the LFE, which
            does not count.

    Raises:
        ConfigError: more than eight channels.
        MissingPackageError: PyAV is not installed.
    """

    def __init__(self, sample_rate: int, channels: int):
        if channels not in LAYOUTS:
            raise ConfigError(f"loudness of {channels} channels is not defined; leave it out, or split the recording")
        self._av = av("measuring loudness")
        self._rate, self._channels, self._layout, self._heard = sample_rate, channels, LAYOUTS[channels], 0
        self._last: dict[str, str] = {}
        self._graph = self._av.filter.Graph()
        source = self._graph.add_abuffer(
            sample_rate=sample_rate, format="flt", layout=self._layout, time_base=Fraction(1, sample_rate)
        )
        meter = self._graph.add("ebur128", "metadata=1:peak=true:framelog=quiet")
        source.link_to(meter)
        meter.link_to(self._graph.add("abuffersink"))
        self._graph.configure()

    def push(self, block: np.ndarray) -> None:
        """Hear the next block, float32 (channels, n)."""
        if block.shape[1] == 0:
            return
        flat = np.ascontiguousarray(block.T, np.float32).reshape(1, -1)
        frame = self._av.AudioFrame.from_ndarray(flat, format="flt", layout=self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._heard, Fraction(1, self._rate)
        self._heard += block.shape[1]
        self._graph.push(frame)
        self._drain()

    def close(self) -> Measured:
        """What was measured, to the end."""
        loudness = float(self._last.get("lavfi.r128.I", _SILENT))
        if self._heard:  # the meter tells of whole tenths of a second alone; the peak may be in what is left
            self.push(np.zeros((self._channels, self._rate // 5), np.float32))
            self._graph.push(None)
            self._drain()
        peak = float(self._last.get("lavfi.r128.true_peak", 0.0))
        return Measured(None if loudness <= _SILENT else loudness, peak)

    def _drain(self) -> None:
        while True:
            try:
                self._last = self._graph.pull().metadata or self._last
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return


@dataclass(frozen=True)
class Measured:
    """What a meter found.

    Attributes:
        loudness: LUFS; None of silence, of less than 0.4 s, and below −70 LUFS, of which there is none.
        peak: the true peak, of full scale 1, to three digits.
    """

    loudness: float | None
    peak: float


@dataclass(frozen=True)
class Levelling:
    """What is done about a result's loudness.

    Attributes:
        gain: that it is multiplied by.
        loudness: LUFS that it then has; None where it has none.
        note: what there is to say.
        missing: LU that it lacks, for its true peak allows no more.
        limited: dB by which its peaks are turned down, at most.
    """

    gain: float = 1.0
    loudness: float | None = None
    note: str | None = None
    missing: float = 0.0
    limited: float = 0.0


def levelling(goal: LoudnessGoal, enhanced: Measured, noisy: Measured | None = None) -> Levelling:
    """The one gain that gives a result its loudness, as far as its true peak allows without a limiter; `noisy` is asked
    for where the goal is to keep its loudness."""
    if enhanced.loudness is None:
        return Levelling(note=_LEFT.format("it"))
    wanted = noisy.loudness if goal == "keep" and noisy is not None else goal
    if not isinstance(wanted, float):
        return Levelling(loudness=enhanced.loudness, note=_LEFT.format("the recording"))
    gain, most = 10 ** ((wanted - enhanced.loudness) / 20), 10 ** (PEAK_DB / 20) / (enhanced.peak + _PEAK_STEP)
    if gain <= most:
        return Levelling(gain, wanted)
    reached = enhanced.loudness + 20 * math.log10(most)
    said = f"its loudness is {reached:.1f} LUFS, not {wanted:.1f}: its true peak is then at {PEAK_DB:g} dB"
    return Levelling(most, reached, said, wanted - reached)
