"""A fixed set of whole-file mixtures to validate on."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from shared.checks import Count, Positive, checked
from shared.random import derive_seed
from speech.data.clips import Clip, Folders, Waveform, read_clips, tell_narrow
from speech.data.config import MixConfig
from speech.data.levels import power
from speech.data.mixing import Mixer
from speech.data.rooms import read_responses

_HEARD = 1e-5
"""Of the power of the speech in a file: 50 dB below it is what a recorder adds to silence."""


def validation_pairs(
    clean_dir: Folders,
    noise_dir: Folders | None,
    rir_dir: Folders | None = None,
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
        rir_dir: folders of impulse responses; without, there are no rooms.
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
    rooms = [] if rir_dir is None or not config.reverb else read_responses(rir_dir, config.sample_rate)
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
    """What is used of a clip: so many samples from its start, or the loudest such part where nothing is heard there."""
    beginning = clip.read(0, longest)
    if not longest or power(beginning) > _HEARD * clip.power:
        return beginning
    return max((clip.read(start, longest) for start in range(0, len(clip), longest)), key=power)
