"""Digital silence in a recording, as gates and muted microphones leave it: what a network hears there instead.

Networks were trained on noise that does not stop; beside silence they let some of it pass, and the more of a recording
is silence the more of a voice they lose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.runs import runs

_SILENT = 1e-5
"""Of the level: below −100 dB is what rounding and resampling leave of digital silence. A bit of 16 is 10 dB above."""

_LEAST_SECONDS, _REACH_SECONDS = 0.1, 0.2
"""The first is more than a lost packet or two, which networks were trained on. Over the second a sound goes on."""

_HELD_SECONDS, _HELD = 0.25, 0.01
"""A value other than 0 that a recording stays at for so long, as converters and telephone codings do in place of 0, is
silence where it is at most this much of the level: plateaus of clipped sounds are shorter, and at it."""

_PACKET_SECONDS = 0.025
"""The same as the first where what follows is not known yet: more than one lost packet."""


class GoingOn:
    """Puts what sounded before in the place of digital silence in a signal that comes in blocks, of any size.

    From 25 ms of silence on, or a quarter of a second of another small value, the last fifth of a second goes on,
    backwards and forwards in turn, until there is sound again. Silence goes by the loudest that came so far.

    Args:
        sample_rate: Hz.
        channels: of the signal.

    Attributes:
        samples: that came so far.
    """

    def __init__(self, sample_rate: int, channels: int):
        least, held, reach = (
            round(seconds * sample_rate) for seconds in (_PACKET_SECONDS, _HELD_SECONDS, _REACH_SECONDS)
        )
        self._channels = [_ChannelGoingOn(least, held, reach) for _ in range(channels)]
        self.samples = 0

    def push(self, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The next samples (channels, n): what is heard in their place, and where that is because they are silent."""
        self.samples += signal.shape[1]
        if signal.size == 0:
            return signal, np.zeros(signal.shape, bool)
        each = [channel.push(sound) for channel, sound in zip(self._channels, signal, strict=True)]
        return np.stack([made for made, _ in each]), np.stack([silent for _, silent in each])


class _ChannelGoingOn:
    """A channel of `GoingOn`, of which so many samples of silence change nothing, or so many of another value, and so
    many samples go on."""

    def __init__(self, least: int, held: int, reach: int):
        self._least, self._reach, self._holding = least, reach, _Holding(held)
        self._kept = reach + max(least, held)
        self._heard = self._goes_on = np.zeros(0, np.float32)
        self._silent, self._loudest, self._was_silent = 0, np.float32(0), False

    def push(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`GoingOn.push` of the next samples (n,), at least one."""
        before, size = len(self._heard), np.abs(sound)
        loudest = np.maximum(np.maximum.accumulate(size), self._loudest)
        sounded = np.where(size > _SILENT * loudest, np.arange(len(sound)), -1 - self._silent)
        zeros = np.arange(len(sound)) - np.maximum.accumulate(sounded)
        held = self._holding.push(sound, loudest)
        run = np.where(zeros >= self._least, zeros, held)
        silent = run > 0
        heard = np.concatenate([self._heard, sound])
        for start, stop in runs(silent):
            if start > 0 or not self._was_silent:
                last = before + start + 1 - run[start]
                self._goes_on = heard[max(0, last - self._reach) : last]
            if count := len(self._goes_on):
                turn = (run[start:stop] - 1) % (2 * count)
                heard[before + start : before + stop] = self._goes_on[-1 - np.minimum(turn, 2 * count - 1 - turn)]
        self._heard, self._silent, self._loudest = heard[-self._kept :], int(zeros[-1]), loudest[-1]
        self._was_silent = bool(silent[-1])
        return heard[before:], silent


class _Holding:
    """Hears where a channel stays at a small value for so many samples at least."""

    def __init__(self, least: int):
        self._least, self._stood = least, 0
        self._latest = np.zeros(0, np.float32)

    def push(self, sound: np.ndarray, loudest: np.ndarray) -> np.ndarray:
        """For how many samples each of the next (n,) has stayed where it is; 0 where these are too few. `loudest` is
        the largest magnitude up to each."""
        before, place, near = len(self._latest), np.arange(len(sound)), _SILENT * loudest
        known = np.concatenate([self._latest, sound])
        steps = np.abs(np.diff(known, prepend=np.inf))[before:]
        stood = place - np.maximum.accumulate(np.where(steps > near, place, -self._stood)) + 1
        self._latest, self._stood = known[-self._least :], int(stood[-1])
        found = (stood >= self._least) & (np.abs(sound) <= _HELD * loudest)
        for back in (self._least - 1, self._least // 2):  # what only moves slowly has moved since
            found &= np.abs(sound - known[np.maximum(before + place - back, 0)]) <= near
        return np.where(found, stood, 0)


def silences(waveform: np.ndarray, level: float, sample_rate: int) -> list[slice]:
    """Where a waveform (samples,) of this level is digital silence, for a tenth of a second at least, or stays at
    another small value, for a quarter."""
    silent, near = np.zeros(len(waveform), bool), _SILENT * level
    for start, stop in _stretches(np.abs(waveform) <= near, round(_LEAST_SECONDS * sample_rate)):
        silent[start:stop] = True
    least = round(_HELD_SECONDS * sample_rate)
    for start, stop in _stretches(np.abs(np.diff(waveform)) <= near, least - 1):
        held = waveform[start : stop + 1]
        if held.max() - held.min() <= near and np.abs(held).max() <= _HELD * level:
            silent[start : stop + 1] = True
    return [slice(start, stop) for start, stop in runs(silent).tolist()]


def _stretches(flags: np.ndarray, least: int) -> np.ndarray:
    """The runs of true flags of so many samples at least: (runs, 2)."""
    found = runs(flags)
    return found[found[:, 1] - found[:, 0] >= least]


def bridged(waveform: np.ndarray, gaps: Sequence[slice], sample_rate: int) -> np.ndarray:
    """A waveform (samples,) in whose silences the sound before goes on backwards, and that after begins so, for a fifth
    of a second or the gap: it fades, and they cross.

    Longer, or without fading, what was cut off in the middle of a word would be heard as another voice.
    """
    if not gaps:
        return waveform
    made, begins = waveform.copy(), [0, *(gap.stop for gap in gaps)]
    ends = [*(gap.start for gap in gaps), len(waveform)]
    for place, gap in enumerate(gaps):
        length = min(gap.stop - gap.start, round(_REACH_SECONDS * sample_rate))
        fading = np.cos(np.linspace(0, np.pi / 2, length, dtype=np.float32))
        before, after = (waveform[begins[n] : ends[n]] for n in (place, place + 1))
        made[gap] = 0
        made[gap.start : gap.start + length] += fading * _going_on(before, length)
        made[gap.stop - length : gap.stop] += (fading * _going_on(after[::-1], length))[::-1]
    return made


def _going_on(sound: np.ndarray, length: int) -> np.ndarray:
    """The samples after a sound's end, if it went on backwards and forwards in turn; 0 where there is none."""
    return np.pad(sound[-length:], (0, length), "symmetric" if len(sound) else "constant")[-length:]
