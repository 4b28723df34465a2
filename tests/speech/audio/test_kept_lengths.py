"""Lengths that a copy keeps of its source, or that are told: codings in blocks, files that are cut short."""

from __future__ import annotations

import re
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shared.errors import DataError
from speech.audio.files import Audio, audio_info, open_audio, read_audio
from speech.audio.writing import write_audio
from tests.speech.audio.test_kept import copy
from tests.speech.models import noise, tiny_enhancer


@pytest.mark.parametrize("samples", [1, 100, 4411])
@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        *(("WAV", subtype) for subtype in ("MS_ADPCM", "IMA_ADPCM", "GSM610", "G721_32", "NMS_ADPCM_32", "ULAW")),
        *(("W64", subtype) for subtype in ("MS_ADPCM", "IMA_ADPCM", "GSM610")),
        *(("AIFF", subtype) for subtype in ("PCM_S8", "ULAW")),
    ],
)
def test_a_coding_in_blocks_keeps_its_length(tmp_path, format, subtype, samples):
    name = f"a.{format.lower()}"
    write_audio(tmp_path / name, Audio(noise(1, samples), 8000, format, subtype))
    read = read_audio(tmp_path / name)
    assert (read.subtype, read.waveform.shape) == (subtype, (1, samples))
    copy(tmp_path / name, tmp_path / f"b.{format.lower()}")
    assert audio_info(tmp_path / f"b.{format.lower()}") == read.info


def test_an_adpcm_file_of_others_has_the_length_of_its_fact_chunk(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(4411), 8000, "IMA_ADPCM")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    place = content.index(b"fact") + 8
    assert struct.unpack_from("<I", content, place) == (4545,)  # libsndfile's own writer counts whole blocks
    for stated, samples in ((4411, 4411), (0, 4545), (2**31, 4545)):
        content[place : place + 4] = struct.pack("<I", stated)
        (tmp_path / "a.wav").write_bytes(content)
        assert audio_info(tmp_path / "a.wav").samples == samples


@pytest.mark.parametrize(("subtype", "bytes_per_sample"), [("PCM_16", 2), ("PCM_24", 3), ("FLOAT", 4)])
@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_a_wav_cut_short_is_enhanced_and_what_is_missing_is_told(tmp_path, suffix, subtype, bytes_per_sample):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(16_000, 2), 16000, subtype)
    path.write_bytes(path.read_bytes()[: -4000 * 2 * bytes_per_sample])
    info = audio_info(path)
    assert (info.samples, info.missing) == pytest.approx((12_000, 4000), abs=120)  # a PEAK chunk may end an AIFF
    assert info.samples + info.missing == 16_000
    result = tiny_enhancer(steps=1).enhance_file(path, tmp_path / f"b.{suffix}")
    assert result.notes == ("cut short: 0.25 s of the 1 s that its header states are missing",)
    assert audio_info(tmp_path / f"b.{suffix}").missing == 0
    report = tiny_enhancer(steps=1).enhance_dir(tmp_path, tmp_path / "out", progress=False)
    assert {file.name: bool(file.notes) for file in report.files} == {f"a.{suffix}": True, f"b.{suffix}": False}


def test_a_cut_adpcm_file_tells_what_is_missing(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 16_000), 8000, "WAV", "MS_ADPCM"))
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: len(content) // 2])
    info = audio_info(tmp_path / "a.wav")
    assert info.samples == pytest.approx(8000, abs=500)
    assert info.samples + info.missing == 16_000


@pytest.mark.parametrize("sizes", [(0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000), (0, 0)])
def test_a_wav_written_to_a_pipe_is_whole(tmp_path, sizes):
    wave = noise(8000, 2)
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8], content[40:44] = (struct.pack("<I", size) for size in sizes)
    (tmp_path / "a.wav").write_bytes(content)
    read = read_audio(tmp_path / "a.wav")
    assert (read.info.samples, read.info.missing) == (8000, 0)
    np.testing.assert_allclose(read.waveform, wave.T, atol=2**-15)
    assert copy(tmp_path / "a.wav", tmp_path / "b.wav") == ()


def without_length(path: Path) -> Path:
    """A FLAC file as an encoder leaves it that wrote into a pipe."""
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:42] = bytes(20)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("samples", [1, 17, 200, 4095, 4096, 4097, 60_000])
@pytest.mark.parametrize(
    ("rate", "channels", "subtype"), [(16000, 1, "PCM_16"), (48000, 2, "PCM_24"), (12345, 3, "PCM_S8")]
)
def test_a_flac_of_unstated_length_is_read_whole(tmp_path, samples, rate, channels, subtype):
    soundfile.write(tmp_path / "a.flac", noise(samples, channels), rate, subtype)
    stated = read_audio(tmp_path / "a.flac")
    read = read_audio(without_length(tmp_path / "a.flac"))
    assert read.info == stated.info
    np.testing.assert_array_equal(read.waveform, stated.waveform)
    assert copy(tmp_path / "a.flac", tmp_path / "b.flac") == ()
    assert audio_info(tmp_path / "b.flac") == stated.info


def test_a_flac_of_unstated_length_that_is_cut_short_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(60_000), 16000)
    content = without_length(tmp_path / "a.flac").read_bytes()
    for keep in (len(content) // 2, len(content) - 1, 200, 43):
        (tmp_path / "a.flac").write_bytes(content[:keep])
        with pytest.raises(DataError, match=r"a.flac"):
            read_audio(tmp_path / "a.flac")
    damaged = bytearray(content)
    damaged[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    (tmp_path / "a.flac").write_bytes(damaged)
    with pytest.raises(DataError, match="damaged"):
        read_audio(tmp_path / "a.flac")


def test_blocks_of_a_patched_file_are_the_file(tmp_path):
    wave = noise(30_000, 2)
    soundfile.write(tmp_path / "a.flac", wave, 16000, "PCM_24")
    with open_audio(without_length(tmp_path / "a.flac")) as reader:
        blocks = list(reader.blocks(999))
    assert all(block.shape == (2, 999) for block, _ in pairwise(blocks))
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), wave.T, atol=2**-22)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("more", [0, 6000])
def test_an_ogg_file_whose_last_page_tells_more_than_there_is_is_read_and_that_is_said(tmp_path, subtype, more):
    """As an orchestra of a game's has it (its libsndfile stops .13 s early), which was refused as damaged."""
    soundfile.write(tmp_path / "a.ogg", noise(3 * 48_000), 48000, subtype, format="OGG")
    _tell_more(tmp_path / "a.ogg", more)
    info = audio_info(tmp_path / "a.ogg")
    assert info.samples == pytest.approx(144_000, abs=312)  # Opus has some more
    assert info.missing == pytest.approx(more, abs=312 if more else 0)
    result = tiny_enhancer(steps=1).enhance_file(tmp_path / "a.ogg", tmp_path / "b.ogg")
    assert [text.split(":")[0] for text in result.notes] == ["cut short"] * bool(more)
    assert audio_info(tmp_path / "b.ogg").samples == info.samples


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("damage", ["last", "next to last", "missing", "doubled", "overwritten", "lost"])
def test_an_ogg_file_that_is_damaged_near_its_end_is_refused(tmp_path, subtype, damage):
    """What libsndfile leaves out of it, a second and more, was told as a cut end, or not at all."""
    path = _ogg(tmp_path, subtype)
    content = bytearray(path.read_bytes())
    before, last = _pages(content)[-2:]
    if damage == "last":
        content[last + 300] ^= 1
    elif damage == "next to last":
        content[before + 300] ^= 1
    elif damage == "missing":
        del content[before:last]
    elif damage == "doubled":
        content[last:last] = content[before:last]
    elif damage == "lost":
        content[last : last + 512] = bytes(512)
    else:
        content[before + 200 : last + 200] = bytes(last - before)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.ogg is damaged near its end: a page .*copy or record it again"):
        audio_info(path)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_file_that_ends_within_a_page_or_has_more_behind_its_last_is_not_damaged(tmp_path, subtype):
    path = _ogg(tmp_path, subtype)
    whole, content = audio_info(path), path.read_bytes()
    for behind in (bytes(500), b"TAG" + bytes(125), b"OggS", content[:20]):
        path.write_bytes(content + behind)
        assert audio_info(path) == whole
    for cut in (1, 1000, len(content) - _pages(content)[-1]):
        path.write_bytes(content[:-cut])
        assert whole.samples - 48_000 <= audio_info(path).samples < whole.samples


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_of_an_ogg_file_with_one_recording_behind_another_the_first_is_read_and_that_is_said(tmp_path, subtype):
    path = _ogg(tmp_path, subtype)
    whole, content = audio_info(path), path.read_bytes()
    soundfile.write(tmp_path / "b.ogg", noise(48_000, 2), 24000, subtype, format="OGG")
    for behind in (content, (tmp_path / "b.ogg").read_bytes()):
        path.write_bytes(content + behind)
        read = read_audio(path)
        assert read.waveform.shape == (whole.channels, whole.samples)
        (note,) = audio_info(path).notes
        told = rf"another recording behind the first, which ends after {whole.samples / 48000:.1f} s; .* left out: .*"
        assert re.search(told, note)
    result = tiny_enhancer(steps=1).enhance_file(path, tmp_path / "c.ogg")
    assert any("another recording behind the first" in text for text in result.notes)


def test_an_ogg_file_that_was_filled_up_with_zeros_is_refused(tmp_path):
    """As of a copy that was broken off: of so many that no page is among the last 256 kB, they were told by nothing."""
    path = _ogg(tmp_path, "OPUS", seconds=50)
    content = path.read_bytes()
    path.write_bytes(content[:-300_000] + bytes(300_000))
    with pytest.raises(DataError, match=r"a\.ogg is damaged near its end"):
        audio_info(path)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_recording_of_a_radio_that_was_begun_meanwhile_is_not_damaged(tmp_path, subtype):
    """Its header is followed by pages of much greater numbers."""
    path = _ogg(tmp_path, subtype, seconds=8)
    content, pages = path.read_bytes(), _pages(path.read_bytes())
    begin = next(place for place in pages if any(content[place + 6 : place + 14]))  # behind the header
    path.write_bytes(content[:begin] + content[pages[-3] :])
    info = audio_info(path)
    assert 0 < info.samples < 4 * 48_000
    assert read_audio(path).waveform.shape == (1, info.samples)


def _ogg(folder: Path, subtype: str, seconds: int = 3) -> Path:
    with soundfile.SoundFile(folder / "a.ogg", "w", 48000, 1, subtype, format="OGG") as file:
        for _ in range(seconds):
            file.write(noise(48_000))
    return folder / "a.ogg"


def _pages(content: bytes) -> list[int]:
    """Where the pages of an Ogg file begin."""
    return [place for place in range(len(content)) if content[place : place + 4] == b"OggS"]


def _tell_more(path: Path, more: int) -> None:
    """Add to the place that the last page of an Ogg file ends at (RFC 3533)."""
    content = bytearray(path.read_bytes())
    page = content.rindex(b"OggS")
    (place,) = struct.unpack_from("<q", content, page + 6)
    struct.pack_into("<q", content, page + 6, place + more)
    struct.pack_into("<I", content, page + 22, 0)
    struct.pack_into("<I", content, page + 22, _checksum(bytes(content[page:])))
    path.write_bytes(content)


def _checksum(page: bytes) -> int:
    """Of a page: a CRC of 32 bits by the polynomial 0x04c11db7, from 0 on."""
    found = 0
    for byte in page:
        found ^= byte << 24
        for _ in range(8):
            found = (found << 1 ^ (0x04C11DB7 if found & 0x80000000 else 0)) & 0xFFFFFFFF
    return found
