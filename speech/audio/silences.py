"""Digital silence in a recording, as gates and muted microphones leave it: what a network hears there instead.

Networks were trained on noise that does not stop; beside silence they let some of it pass, and the more of a recording
is silence the more of a voice they lose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SILENT = 1e-5
"""Of the level: below −100 dB is what rounding and resampling leave of digital silence. A bit of 16 is 10 dB above."""

_LEAST_SECONDS, _REACH_SECONDS = 0.1, 0.2
"""The first is more than a lost packet or two, which networks were trained on. Over the second a sound goes on."""


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
