"""speech/audio/pcm.py: bytes and samples, there and back, and headers as they come."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from speech.audio.pcm import PCM, Source, wav_of
from tests.speech.models import noise

LAWS = {"alaw": "ALAW", "mulaw": "ULAW"}
ALAW_ZERO = 8 / 32768  # what libsndfile reads of the code of 0
CODINGS = {"u8": "PCM_U8", "s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT", **LAWS}


def trickle(data: bytes, size: int):
    """Reads at most `size` bytes at a time."""
    file = io.BytesIO(data)
    return lambda most: file.read(min(most, size))


def wav(signal: np.ndarray, rate: int, subtype: str) -> bytes:
    """A file as libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, signal.T, rate, subtype, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize("coding", CODINGS)
def test_samples_are_those_of_libsndfile_and_come_back_as_bytes(coding: str) -> None:
    signal = 0.3 * noise(2, 301)
    signal[:, 0] = (1.0, -1.0)
    data = wav(signal, 8000, CODINGS[coding])
    read = trickle(data, 7)
    pcm = wav_of(read)
    assert (pcm.rate, pcm.channels, pcm.coding, pcm.size) == (8000, 2, coding, 301 * pcm.frame)
    source = Source(read, pcm)
    found = np.concatenate(list(source.blocks()), axis=1)
    wanted, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    heard = np.where(wanted == ALAW_ZERO, 0, wanted) if coding == "alaw" else wanted
    np.testing.assert_array_equal(found, heard.T)
    assert (source.samples, source.left, source.missing, source.replaced) == (301, 0, 0, 0)
    again = pcm.header(pcm.size) + pcm.encode(found)
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(again), dtype="float32", always_2d=True)[0], wanted)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-32768, 32767), max_size=50), st.integers(1, 9))
def test_sixteen_bits_come_back_whatever_the_pieces(values: list[int], size: int) -> None:
    data = np.array(values, "<i2").tobytes()
    pcm = PCM(16000)
    assert b"".join(pcm.encode(block) for block in Source(trickle(data, size), pcm).blocks()) == data


def test_what_is_beyond_full_scale_is_clipped() -> None:
    block = np.array([[2.0, -2.0]], np.float32)
    assert PCM(16000).encode(block) == struct.pack("<hh", 32767, -32768)
    assert PCM(16000, coding="s24le").encode(block) == b"\xff\xff\x7f\x00\x00\x80"


@pytest.mark.parametrize("coding", LAWS)
def test_every_code_of_a_telephone_comes_back_and_others_are_the_nearest(coding: str) -> None:
    pcm = PCM(8000, coding=coding)
    codes = bytes(range(256))
    assert pcm.encode(pcm.decode(codes)).replace(b"\x7f", b"\xff") == codes.replace(b"\x7f", b"\xff")  # µ-law's zeros
    levels, signal = pcm.decode(codes), np.linspace(-1.5, 1.5, 4001, dtype=np.float32)[None]
    nearest = np.abs(levels.T - signal).min(axis=0)
    np.testing.assert_allclose(np.abs(pcm.decode(pcm.encode(signal)) - signal)[0], nearest, atol=1e-7)
    silence = {"alaw": b"\xd5", "mulaw": b"\xff"}[coding]
    assert pcm.encode(np.zeros((1, 3), np.float32)) == 3 * silence
    assert not pcm.decode(3 * silence).any()


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_header_that_does_not_know_the_length(size: int) -> None:
    data = bytearray(wav(noise(1, 100), 16000, "PCM_16"))
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", size)
    read = trickle(bytes(data), 1000)
    pcm = wav_of(read)
    assert pcm.size is None
    assert sum(block.shape[1] for block in Source(read, pcm).blocks()) == 100
    unknown = pcm.header()
    assert wav_of(trickle(unknown, 100)) == pcm
    assert len(unknown) == 44


def test_rf64_tells_its_length_before_and_what_follows_the_samples_is_left() -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(1, 100).T, 16000, "PCM_16", format="RF64")
    data = bytearray(file.getvalue()) + b"LIST" + struct.pack("<I", 40) + b"\x7f" * 40
    read = trickle(bytes(data), 1000)
    pcm = wav_of(read)
    assert pcm.size == 200
    assert sum(block.shape[1] for block in Source(read, pcm).blocks()) == 100
    data[28:36] = bytes(8)  # as a recorder that was stopped leaves it
    assert wav_of(trickle(bytes(data), 1000)).size is None
    assert PCM(16000, wav=True).header(5 << 30) == PCM(16000, wav=True).header()


@pytest.mark.parametrize("coding", sorted(CODINGS.keys() - LAWS.keys()))
def test_loudspeakers_and_valid_bits_are_kept(coding: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(6, 11).T, 48000, CODINGS[coding], format="WAVEX")
    data = bytearray(file.getvalue())
    place = data.index(b"fmt ") + 8
    data[place + 20 : place + 24] = struct.pack("<I", 0x60F)  # at the sides, not behind
    pcm = wav_of(trickle(bytes(data), 100))
    assert pcm.extension == data[place + 16 : place + 40]
    made = pcm.header(pcm.size)
    assert made[20:60] == data[place : place + 40]
    again = made + pcm.encode(noise(6, 11))
    assert struct.unpack("<I", again[4:8])[0] == len(again) - 8
    info = soundfile.info(io.BytesIO(again))
    assert (info.format, info.subtype, info.frames) == ("WAVEX", CODINGS[coding], 11)


def test_an_odd_number_of_bytes_is_followed_by_one() -> None:
    pcm = PCM(16000, coding="s24le", wav=True)
    whole = pcm.header(9) + bytes(9) + pcm.padding(9)
    assert len(whole) % 2 == 0
    assert struct.unpack("<I", whole[4:8])[0] == len(whole) - 8
    assert struct.unpack("<I", whole[40:44])[0] == 9
    assert pcm.padding(6) == PCM(16000, coding="s24le").padding(9) == b""


@pytest.mark.parametrize("filling", [b"\0", b" ", b""])
def test_other_chunks_are_passed_and_what_follows_the_samples_is_left(filling: bytes) -> None:
    """The byte that fills a chunk up is forgotten by some writers."""
    data = wav(noise(1, 10), 16000, "PCM_16")
    more = data[:12] + b"LIST" + struct.pack("<I", 5) + b"abcde" + filling + data[12:] + b"trailing bytes"
    read = trickle(more, 3)
    assert sum(block.shape[1] for block in Source(read, wav_of(read)).blocks()) == 10


def test_what_is_missing_left_over_or_no_number() -> None:
    data = wav(noise(2, 100), 16000, "FLOAT")
    start = data.index(b"data") + 8
    values = np.frombuffer(data[start : start + 800], "<f4").copy()
    values[[3, 5]] = (np.nan, np.inf)
    read = trickle(data[:start] + values.tobytes()[:403], 64)
    source = Source(read, wav_of(read))
    found = np.concatenate(list(source.blocks()), axis=1)
    assert found.shape == (2, 50)
    assert np.isfinite(found).all()
    assert (source.samples, source.left, source.missing, source.replaced) == (50, 3, 397, 2)


def test_headers_that_are_cut_or_none() -> None:
    data = wav(noise(1, 10), 16000, "PCM_16")
    with pytest.raises(DataError, match="is empty"):
        wav_of(trickle(b"", 9))
    for cut in (1, 3, 12, 15, 20, 39, 43):
        with pytest.raises(DataError, match=f"ends after {cut} bytes, within its WAV header|is no WAV"):
            wav_of(trickle(data[:cut], 9))
    with pytest.raises(DataError, match=r"is no WAV.*--rate"):
        wav_of(trickle(np.arange(100, dtype="<i2").tobytes(), 9))
    with pytest.raises(DataError, match="format 3 of 64 bits"):
        wav_of(trickle(wav(noise(1, 10), 16000, "DOUBLE"), 9))
    place = data.index(b"fmt ")
    with pytest.raises(DataError, match="samples before their format"):
        wav_of(trickle(data[:place] + b"junk" + data[place + 4 :], 9))
    with pytest.raises(DataError, match="0 channels at 16000 Hz"):
        wav_of(trickle(data[: place + 10] + b"\0\0" + data[place + 12 :], 9))


def test_a_wav_that_is_given_as_raw_samples_is_noticed() -> None:
    data = wav(0.3 * noise(1, 100), 8000, "PCM_16")
    told = []
    for content in (data, data[44:]):
        source = Source(trickle(content, 64), PCM(8000, 1, "s16le"))
        list(source.blocks())
        told.append(source.like_wav)
    source = Source(read := trickle(data, 64), wav_of(read))
    list(source.blocks())
    assert [*told, source.like_wav] == [True, False, False]
