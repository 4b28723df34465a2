"""What a network hears above the end of a recording's band: what lies below, mirrored, where it would hear nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

_SURE = 0.97
"""Of the edge: up to here a filter that ends a band leaves it as it was."""


def first_beyond(edge: float | None, sample_rate: int, frequencies: int) -> int | None:
    """The first of `frequencies` from 0 to half the rate that is lost in a recording whose band ends at `edge` Hz; None
    where the band is whole, or not known."""
    if edge is None or edge >= sample_rate / 2:
        return None
    return max(1, int(_SURE * edge / (sample_rate / 2) * (frequencies - 1)))


def mirrored_above(noisy: Tensor, firsts: Sequence[int | None]) -> Tensor:
    """Spectrograms with what lies below the edge mirrored above it.

    Networks know whole bands: beside an empty one they take more of what is there. They take the mirror image, which
    has the noise and rises and falls with the voice, for the rest of the recording. It is that of the upper half of the
    band, there and back again: the lower one is too loud for what voices have far above an edge of 4 kHz.

    Args:
        noisy: compressed spectrograms (batch, 1, frequencies, frames).
        firsts: of each, the first frequency to replace; None leaves it as it is.
    """
    if all(first is None for first in firsts):
        return noisy
    seen = noisy.clone()
    for spectrogram, source, first in zip(seen, noisy, firsts, strict=True):
        if first is not None:
            spectrogram[:, first:] = source[:, _mirrored(first, noisy.shape[2]).to(noisy.device)].conj()
    return seen


@cache
def _mirrored(first: int, frequencies: int) -> Tensor:
    """For each of `frequencies` from `first` on, one in the upper half below it: down, and up again, and so on."""
    span = first - 1 - first // 2
    turn = torch.arange(frequencies - first) % max(1, 2 * span)
    return first // 2 + (span - turn).abs()


def own_above(estimate: Tensor, seen: Tensor, noisy: Tensor, firsts: Sequence[int | None]) -> Tensor:
    """Estimates that were made of `seen`, with what the recordings themselves have above their edges in place of what
    was mirrored there, by the gains that this got, at most 1; shapes as in `mirrored_above`."""
    if seen is noisy:
        return estimate
    own = estimate.clone()
    for place, first in enumerate(firsts):
        if first is not None:
            part = (place, slice(None), slice(first, None))
            gain = (estimate[part].abs() / seen[part].abs().clamp_min(1e-12)).clamp(max=1.0)
            own[part] = noisy[part] * gain
    return own
