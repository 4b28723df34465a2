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

_PACKET_SECONDS = 0.025
"""The same as the first where what follows is not known yet: more than one lost packet."""


class GoingOn:
    """Puts what sounded before in the place of digital silence in a signal that comes in blocks, of any size.

    From 25 ms of silence on the last fifth of a second goes on, backwards and forwards in turn, until there is sound
    again. Silence goes by the loudest that came so far.

    Args:
        sample_rate: Hz.
        channels: of the signal.

    Attributes:
        samples: that came so far.
    """

    def __init__(self, sample_rate: int, channels: int):
        least, reach = round(_PACKET_SECONDS * sample_rate), round(_REACH_SECONDS * sample_rate)
        self._channels = [_ChannelGoingOn(least, reach) for _ in range(channels)]
        self.samples = 0

    def push(self, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The next samples (channels, n): what is heard in their place, and where that is because they are silent."""
        self.samples += signal.shape[1]
        if signal.size == 0:
            return signal, np.zeros(signal.shape, bool)
        each = [channel.push(sound) for channel, sound in zip(self._channels, signal, strict=True)]
        return np.stack([made for made, _ in each]), np.stack([silent for _, silent in each])


class _ChannelGoingOn:
    """A channel of `GoingOn`, of which so many samples of silence change nothing, and so many samples go on."""

    def __init__(self, least: int, reach: int):
        self._least, self._reach = least, reach
        self._heard = self._goes_on = np.zeros(0, np.float32)
        self._silent, self._loudest = 0, np.float32(0)

    def push(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`GoingOn.push` of the next samples (n,), at least one."""
        before, size = len(self._heard), np.abs(sound)
        loudest = np.maximum(np.maximum.accumulate(size), self._loudest)
        sounded = np.where(size > _SILENT * loudest, np.arange(len(sound)), -1 - self._silent)
        run = np.arange(len(sound)) - np.maximum.accumulate(sounded)
        silent = run >= self._least
        heard = np.concatenate([self._heard, sound])
        for start, stop in runs(silent):
            if run[start] == self._least:
                last = before + start + 1 - self._least
                self._goes_on = heard[max(0, last - self._reach) : last]
            if count := len(self._goes_on):
                turn = (run[start:stop] - 1) % (2 * count)
                heard[before + start : before + stop] = self._goes_on[-1 - np.minimum(turn, 2 * count - 1 - turn)]
        self._heard, self._silent, self._loudest = heard[-self._reach - self._least :], int(run[-1]), loudest[-1]
        return heard[before:], silent


def silences(waveform: np.ndarray, level: float, sample_rate: int) -> list[slice]:
    """Where a waveform (samples,) of this level is digital silence, for a tenth of a second at least."""
    sounds = np.flatnonzero(np.abs(waveform) > _SILENT * level)
    edges = np.concatenate([[-1], sounds, [len(waveform)]])
    least = round(_LEAST_SECONDS * sample_rate)
    return [slice(edges[place] + 1, edges[place + 1]) for place in np.flatnonzero(np.diff(edges) > least)]


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
