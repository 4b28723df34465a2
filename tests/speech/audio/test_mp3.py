"""MP3 files whose header is not there, or tells less than there is: all of their frames are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.audio.files import audio_info, read_audio
from speech.audio.mp3 import frames_of
from speech.audio.tags import bit_rate
from tests.speech.models import tiny_enhancer

FRAME = {44100: 1152, 16000: 576, 8000: 576}


def written(path: Path, rate: int, channels: int = 1, seconds: int = 4) -> np.ndarray:
    """An MP3 file of a variable rate: noise for a fifth of the time, which costs many bits, then a soft tone."""
    time = np.arange(seconds * rate) / rate
    wave = np.where(
        time < seconds / 5, 0.3 * np.random.default_rng(0).standard_normal(len(time)), 0.1 * np.sin(2000 * time)
    )
    wave = np.repeat(wave[:, None], channels, axis=1).clip(-0.99, 0.99)
    soundfile.write(path, wave, rate, format="MP3", compression_level=0.3, bitrate_mode="VARIABLE")
    return wave


def without_header(path: Path) -> None:
    """Take the first frame away, which holds the header."""
    content = path.read_bytes()
    second = content.find(content[:2], max(content.find(b"Xing"), content.find(b"Info")))
    path.write_bytes(content[second:])


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (44100, 1), (16000, 2), (8000, 1)])
def test_a_variable_rate_without_a_header_is_read_to_its_end(tmp_path, rate, channels):
    """Reckoned from the first frame's rate, it was read for a third of its length, in silence."""
    wave = written(tmp_path / "a.mp3", rate, channels)
    headed, stated = read_audio(tmp_path / "a.mp3").waveform, bit_rate(tmp_path / "a.mp3", "MPEG_LAYER_III")
    without_header(tmp_path / "a.mp3")
    found = read_audio(tmp_path / "a.mp3").waveform
    assert 0 <= found.shape[1] - len(wave) < 3 * FRAME[rate]
    delay = 576  # of the encoder; the decoder takes out its own
    inner = slice(5000, len(wave) - 2 * FRAME[rate])
    np.testing.assert_allclose(found[:, delay:][:, inner], headed[:, inner], atol=1e-5)
    rate_of = bit_rate(tmp_path / "a.mp3", "MPEG_LAYER_III")
    assert stated is not None
    assert rate_of is not None
    assert not rate_of.constant
    assert rate_of.bits == pytest.approx(stated.bits, rel=0.02)


def test_a_first_frame_of_few_bits_does_not_make_a_file_too_long(tmp_path):
    """Reckoned from a silent beginning, the length was four times too long, and the file taken for cut short."""
    wave = np.concatenate([np.zeros(44100), 0.3 * np.random.default_rng(0).standard_normal(3 * 44100)]).clip(-0.9, 0.9)
    soundfile.write(tmp_path / "a.mp3", wave, 44100, compression_level=0.3, bitrate_mode="VARIABLE")
    without_header(tmp_path / "a.mp3")
    assert 0 <= read_audio(tmp_path / "a.mp3").waveform.shape[1] - len(wave) < 3 * 1152


@pytest.mark.parametrize("tagged", [False, True])
def test_files_put_one_behind_another_are_read_as_one(tmp_path, tagged):
    """The header of the first counts its own frames alone, and the others were left out in silence."""
    wave = written(tmp_path / "a.mp3", 44100)
    one, single = (tmp_path / "a.mp3").read_bytes(), read_audio(tmp_path / "a.mp3").waveform
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 40, 0]) + bytes(40 << 7)
    (tmp_path / "b.mp3").write_bytes((tag + one if tagged else one) * 3)
    found = read_audio(tmp_path / "b.mp3").waveform
    assert 3 * len(wave) <= found.shape[1] < 3 * (len(wave) + 4 * 1152)
    np.testing.assert_allclose(found[:, : len(wave) - 1152], single[:, : len(wave) - 1152], atol=1e-5)
    loud = np.abs(found[0]).reshape(-1)[: 3 * len(wave)].reshape(3, -1)[:, :20_000].max(1)
    assert (loud > 0.5).all()
    tiny_enhancer(steps=1).enhance_file(tmp_path / "b.mp3", tmp_path / "c.mp3")
    assert audio_info(tmp_path / "c.mp3").samples == found.shape[1]


@pytest.mark.parametrize("tag", [b"", b"TAG".ljust(128, b" ")])
def test_a_short_piece_behind_a_long_one_is_read(tmp_path, tag):
    """Of less than a fiftieth of the whole it was left out in silence."""
    written(tmp_path / "a.mp3", 44100, seconds=90)
    written(tmp_path / "b.mp3", 44100, seconds=1)
    long, short = ((tmp_path / name).read_bytes() for name in ("a.mp3", "b.mp3"))
    assert len(short) < 0.02 * len(long)
    (tmp_path / "c.mp3").write_bytes(long + tag + short)
    assert 91 <= audio_info(tmp_path / "c.mp3").seconds < 91.1
    (tmp_path / "c.mp3").write_bytes(long + tag)
    assert audio_info(tmp_path / "c.mp3").seconds == 90


def test_what_goes_on_at_another_rate_is_told(tmp_path):
    wave = written(tmp_path / "a.mp3", 44100)
    written(tmp_path / "b.mp3", 16000)
    content = [(tmp_path / name).read_bytes() for name in ("a.mp3", "b.mp3")]
    (tmp_path / "c.mp3").write_bytes(content[0] + content[1])
    info = audio_info(tmp_path / "c.mp3")
    assert info.samples == len(wave)
    assert "goes on at another rate after 4.0 s" in info.notes[0]


def test_a_header_that_tells_the_size_of_all_is_believed(tmp_path):
    written(tmp_path / "a.mp3", 44100)
    assert frames_of(tmp_path / "a.mp3") is None
    (tmp_path / "a.mp3").write_bytes(b"no frame at all")
    assert frames_of(tmp_path / "a.mp3") is None
