"""A fixed set of whole-file mixtures to validate on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from shared.checks import Count, Positive, checked
from shared.random import derive_seed
from speech.data.clips import Clip, Folders, Waveform, read_clips, tell_narrow
from speech.data.config import MixConfig
from speech.data.levels import power
from speech.data.mixing import Mixer, as_responses
from speech.data.rooms import ImpulseResponse

Read = Callable[[int, int | None], Waveform]

_HEARD = 1e-5
"""Of the power of the speech in a file: 50 dB below it is what a recorder adds to silence."""


def validation_pairs(
    clean_dir: Folders,
    noise_dir: Folders | None,
    rir_dir: Folders | Sequence[ImpulseResponse] | None = None,
    count: int = 20,
    seconds: float | None = None,
    seed: int = 0,
    config: MixConfig | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> list[tuple[str, Waveform, Waveform]]:
    """Mixtures of whole files, the same at every call.

    The files are those of `clean_dir` in an order that `seed` shuffles; mixture n depends on (seed, n), its file and
    the noises and rooms alone. There are no inputs without noise and no targets that are silent: of a file that begins
    with more silence than is used, its loudest part is.

    Args:
        clean_dir: folders of clean speech.
        noise_dir: folders of noise; None where the config has no noise, or all of it by formula (`synthetic=1`).
        rir_dir: folders of impulse responses, or responses; without, there are no rooms.
        count: of mixtures; files are used again, otherwise mixed, if there are fewer.
        seconds: longest part of a file that is used, from its start; None takes whole files.
        seed: of everything drawn.
        config: how to mix; its `seconds`, `batch_size`, `clean` and `silence` do not matter.
        cache: folder in which decoded audio is kept for the next time.

    Returns:
        (id, clean, noisy) with float32 (samples,) at the config's sample rate.

    Raises:
        DataError: a folder or file cannot be read.
        ConfigError: the count is below 1, or `seconds` is not positive.
    """
    checked(Count, count=count)
    checked(Positive | None, seconds=seconds)
    config = replace(config or MixConfig(), clean=0.0, silence=0.0)
    if rir_dir is None:
        config = replace(config, reverb=0.0)
    if noise_dir is None and config.synthetic < 1:
        config = replace(config, noises=0)
    clips = read_clips(clean_dir, config.sample_rate, cache=cache)
    tell_narrow([(clip.id, clip.rate) for clip in clips], config.sample_rate)
    noises = [] if noise_dir is None or not config.noises else read_clips(noise_dir, config.sample_rate, cache=cache)
    rooms = as_responses(rir_dir, config.sample_rate) if config.reverb else []
    mixer = Mixer(config, noises, rooms, clips if config.needs_talkers else ())
    order = np.random.default_rng(derive_seed(seed, "order")).permutation(len(clips))
    longest = None if seconds is None else round(seconds * config.sample_rate)
    pairs = []
    for n in range(count):
        clip = clips[order[n % len(clips)]]
        rng = np.random.default_rng(derive_seed(seed, "validation", n))
        mixture = mixer.mix(_part(clip, longest), rng, clip.speaker)
        name = clip.id.replace("/", "-") if n < len(clips) else f"{clip.id.replace('/', '-')}-{n // len(clips)}"
        pairs.append((name, mixture.clean, mixture.noisy))
    return pairs


def _part(clip: Clip, longest: int | None) -> Waveform:
    """What is used of a clip, at most so many samples; see `heard_from`."""
    return clip.read(heard_from(clip.read, len(clip), longest, clip.power), longest)


def heard_from(read: Read, samples: int, longest: int | None, active: float) -> int:
    """Where what is used of a recording begins: at its start, or where the part with most energy does if nothing is
    heard there.

    Args:
        read: its samples from a place, so many or (None) all that are left.
        samples: of the recording.
        longest: part that is used; None: all of it.
        active: its power while it is active.
    """
    if not longest or power(read(0, longest)) > _HEARD * active:
        return 0
    parts = {start: read(start, longest) for start in range(0, samples, longest)}
    return max(parts, key=lambda start: power(parts[start]) * len(parts[start]))
