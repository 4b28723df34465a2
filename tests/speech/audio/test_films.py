"""speech/audio/media.py on what cameras, television and telephones record, of which the sound is taken."""

from __future__ import annotations

import av
import pytest

from speech.audio.coding import written_name
from speech.audio.files import read_audio
from speech.audio.search import find_audio
from tests.speech.audio.test_media import copy, likeness
from tests.speech.media_files import tones, write_media, write_video

AMR = "libopencore_amrnb"


@pytest.mark.parametrize(
    ("name", "sound", "pictures"),
    [
        ("a.mts", "aac", "mpeg2video"),
        ("a.m2ts", "ac3", "mpeg2video"),
        ("a.ts", "mp2", "mpeg2video"),
        ("a.mpg", "mp2", "mpeg1video"),
        ("a.vob", "ac3", "mpeg2video"),
    ],
)
def test_the_sound_of_what_cameras_and_television_record_is_found_and_read(tmp_path, name, sound, pictures):
    wave = tones(96_000)
    film = write_video(tmp_path / name, wave, sound, pictures)
    assert find_audio(tmp_path) == ([film], {})
    heard = read_audio(film).waveform
    early = max(range(1500), key=lambda late: float(heard[0, 4000 + late : 9000 + late] @ wave[0, 4000:9000]))
    assert likeness(heard[:, early : early + 90_000], wave[:, :90_000]) > 0.9  # encoders are up to a frame late
    assert copy(film, tmp_path / written_name(film.relative_to(tmp_path))) == ("not kept: video",)
    assert (tmp_path / f"{name}.wav").is_file()


@pytest.mark.skipif(AMR not in av.codecs_available, reason="the FFmpeg of this PyAV has no encoder of AMR")
def test_calls_of_telephones_are_read(tmp_path):
    call = write_media(tmp_path / "call.amr", tones(16_000, 1, 8000), AMR, 8000, bit_rate=12_200)
    assert likeness(read_audio(call).waveform[:, 40:], tones(16_000, 1, 8000)) > 0.9  # its encoder is 5 ms late
