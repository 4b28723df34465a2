"""speech/audio/edit_lists.py: sound that begins late in MP4 and MOV is as long as it was, and where it was."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from speech.audio.edit_lists import played, skip_beginning
from speech.audio.files import read_audio
from speech.audio.media import survey
from tests.speech.audio.test_media import likeness
from tests.speech.media_files import RATE, audio_frame, tones
from tests.speech.models import gain_enhancer


def late(path: Path, samples: int, codec: str = "aac") -> Path:
    """A video of two seconds, with a second of sound that begins so many samples late."""
    with av.open(str(path), "w", options={"movie_timescale": str(RATE)}) as file:
        video = file.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound, wave = file.add_stream(codec, rate=RATE, layout="stereo"), tones(RATE)
        for place in range(50):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), place, np.uint8), format="rgb24")
            picture.pts, picture.time_base = place, Fraction(1, 25)
            file.mux(video.encode(picture))
        for start in range(0, RATE, 960):
            file.mux(sound.encode(audio_frame(wave[:, start : start + 960], RATE, start + samples)))
        for stream in (video, sound):
            file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.m4v"])
@pytest.mark.parametrize("samples", [24_000, 0])
def test_late_sound_is_as_long_as_it_was_and_where_it_was(name: str, samples: int, tmp_path: Path) -> None:
    paths = [late(tmp_path / name, samples), *(tmp_path / f"{times}_{name}" for times in (1, 2))]
    for source, target in pairwise(paths):
        assert gain_enhancer(upper_band="follow").enhance_file(source, target).notes == ()
    waves = [read_audio(path).waveform for path in paths]
    for path, wave in zip(paths, waves, strict=True):
        assert wave.shape == waves[0].shape
        assert survey(path).start == pytest.approx(survey(paths[0]).start, abs=1e-4)
        assert likeness(wave, waves[0]) > 0.99
    assert (played(paths[0], 1), played(paths[1], 1)) == (None, waves[0].shape[1] if samples else None)


def test_coding_without_a_delay_and_other_lists_stay_as_they_are(tmp_path: Path) -> None:
    source, target = late(tmp_path / "a.mov", 24_000, "pcm_s16le"), tmp_path / "b.mov"
    gain_enhancer(upper_band="follow").enhance_file(source, target)
    assert read_audio(target).waveform.shape == read_audio(source).waveform.shape == (2, RATE)
    assert survey(target).start == survey(source).start == 0.5
    before = target.read_bytes()
    skip_beginning(target, 2, 1024)  # there is one track alone
    skip_beginning(target, 1, 10 * RATE)  # more than it has
    assert target.read_bytes() == before
    for content in (b"", b"\0\0\0\x10moov\0\0\0\x04", before[: before.index(b"moov") + 400], b"RIFF" + bytes(40)):
        target.write_bytes(content)
        skip_beginning(target, 1, 1024)
        assert played(target, 1) is None
        assert target.read_bytes() == content
