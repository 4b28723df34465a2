"""What a copy keeps of its source beside the samples: bit rate, tags, chunks; and what is said of the rest."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.apev2 import APEv2
from mutagen.flac import FLAC, CueSheet, CueSheetTrack, Picture
from mutagen.id3 import APIC, CHAP, COMM, ID3, TIT2, TXXX
from mutagen.mp4 import MP4
from scipy.io import wavfile

from speech.audio.chunks import names_beside
from speech.audio.coding import RawFormat, notes_on
from speech.audio.files import Audio, audio_info, open_audio, read_audio
from speech.audio.writing import create_audio, write_audio
from tests.speech.models import noise, tiny_enhancer

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40


def copy(source: Path, target: Path) -> tuple[str, ...]:
    """What enhancement does with a file, without the enhancement: the notes on it."""
    with open_audio(source) as reader, create_audio(target, reader.info, source) as writer:
        for block in reader.blocks(5000):
            writer.write(block)
    return notes_on(reader.info, writer.dropped)


# --- chunks --------------------------------------------------------------------------------------------


def chunk(name: bytes, content: bytes, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(content)) + content + bytes(len(content) % 2)


BEXT = chunk(b"bext", b"A description".ljust(602, b"\0") + b"A=PCM,F=16000")


CUE = chunk(b"cue ", struct.pack("<I4sI4sIII", 1, b"\1\0\0\0", 500, b"data", 0, 0, 500)[: 4 + 24])


LABEL = chunk(b"LIST", b"adtl" + chunk(b"labl", b"\1\0\0\0here\0"))


TEXTS = chunk(
    b"LIST", b"INFO" + chunk(b"INAM", "Gruß\0".encode()) + chunk(b"ICMT", b"odd") + chunk(b"IKEY", b"words\0")
)


XML = chunk(b"iXML", b"<BWFXML>odd</BWFXML>.")


def with_chunks(path: Path, before: bytes, after: bytes) -> Path:
    """Put chunks before and after the samples of a WAV file."""
    content = path.read_bytes()
    head, rest = content[:12], content[12:]
    body = before + rest + bytes(len(rest) % 2) + after
    path.write_bytes(head[:4] + struct.pack("<I", len(body) + 4) + head[8:] + body)
    return path


def parts_of(path: Path) -> dict[bytes, bytes]:
    """The chunks of a RIFF file that fills its file exactly."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<I", content, 4)
    assert size == len(content) - 8
    found, place = {}, 12
    while place < len(content):
        name, (length,) = content[place : place + 4], struct.unpack_from("<I", content, place + 4)
        key = name if name != b"LIST" else content[place + 8 : place + 12]
        assert key not in found
        found[key] = content[place : place + 8 + length]
        place += 8 + length + length % 2
    assert place == len(content)
    return found


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "PCM_24", "FLOAT", "MS_ADPCM"])
@pytest.mark.parametrize("samples", [4001, 4000])
def test_chunks_of_a_wav_file_are_kept(tmp_path, subtype, samples):
    write_audio(tmp_path / "a.wav", Audio(noise(1, samples), 16000, "WAV", subtype))
    source = with_chunks(tmp_path / "a.wav", BEXT + TEXTS, CUE + LABEL + XML)
    assert copy(source, tmp_path / "b.wav") == ()
    before, after = parts_of(source), parts_of(tmp_path / "b.wav")
    assert set(before) >= {b"bext", b"cue ", b"adtl", b"INFO", b"iXML"}
    for name in set(before) - {b"fmt ", b"data", b"fact", b"PEAK"}:
        assert after[name] == before[name]
    assert read_audio(tmp_path / "b.wav").info == read_audio(source).info
    assert audio_info(tmp_path / "b.wav").metadata == {"title": "Gruß", "comment": "odd"}
    if subtype in ("PCM_16", "FLOAT"):
        with pytest.warns(wavfile.WavFileWarning):
            rate, wave = wavfile.read(tmp_path / "b.wav")
        assert (rate, len(wave)) == (16000, samples)
    assert copy(tmp_path / "b.wav", tmp_path / "c.wav") == ()
    again = parts_of(tmp_path / "c.wav")
    own = {b"data", b"PEAK"}  # the latter tells the second at which the file was written
    assert {name: again[name] for name in again if name not in own} == {n: after[n] for n in after if n not in own}


@pytest.mark.parametrize("format", ["WAVEX", "RF64"])
@pytest.mark.parametrize("mask", [0, 0x3F, 0x60F])
def test_which_loudspeakers_channels_are_for_is_kept(tmp_path, format, mask):
    """None, as of recorders with many microphones, became the usual ones."""
    write_audio(tmp_path / "a.wav", Audio(noise(6, 400), 16000, format, "PCM_24"))
    content = bytearray((tmp_path / "a.wav").read_bytes())
    place = content.find(b"fmt ") + 8
    assert content[place : place + 2] == b"\xfe\xff"
    struct.pack_into("<I", content, place + 20, mask)
    (tmp_path / "a.wav").write_bytes(content)
    assert copy(tmp_path / "a.wav", tmp_path / "b.wav") == ()
    copied = (tmp_path / "b.wav").read_bytes()
    assert struct.unpack_from("<I", copied, copied.find(b"fmt ") + 28)[0] == mask
    np.testing.assert_array_equal(read_audio(tmp_path / "b.wav").waveform, read_audio(tmp_path / "a.wav").waveform)


@pytest.mark.parametrize("place", ["first", "before the samples", "behind them"])
def test_chunks_of_odd_lengths_that_nothing_fills_up_are_read(tmp_path, place):
    """As some recorders write them, and other readers read; libsndfile refuses those before the samples."""
    write_audio(tmp_path / "a.wav", Audio(noise(1, 4000), 16000))
    content, odd = (tmp_path / "a.wav").read_bytes(), XML.removesuffix(b"\0")
    assert len(odd) % 2
    at = {"first": 12, "before the samples": 36, "behind them": len(content)}[place]
    body = content[8:at] + odd + content[at:] + CUE
    (tmp_path / "b.wav").write_bytes(content[:4] + struct.pack("<I", len(body)) + body)
    np.testing.assert_array_equal(read_audio(tmp_path / "b.wav").waveform, read_audio(tmp_path / "a.wav").waveform)
    assert copy(tmp_path / "b.wav", tmp_path / "c.wav") == ()
    assert set(parts_of(tmp_path / "c.wav")) >= {b"iXML", b"cue "}


def test_what_another_format_cannot_hold_is_told(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 4000), 16000))
    source = with_chunks(tmp_path / "a.wav", BEXT + TEXTS, CUE + LABEL)
    assert copy(source, tmp_path / "b.flac") == ("not kept: IKEY, LIST-adtl, bext, cue",)
    assert audio_info(tmp_path / "b.flac").metadata == {"title": "Gruß", "comment": "odd"}


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_bare_samples_of_a_file_lose_its_texts_alone(tmp_path, name):
    with soundfile.SoundFile(tmp_path / name, "w", 16000, 1) as file:
        file.title = "Gruß"
        file.write(noise(4000))
    assert copy(tmp_path / name, tmp_path / "b.raw") == ("not kept: title",)
    raw = read_audio(tmp_path / "b.raw", RawFormat(16000, 1, "PCM_16")).waveform
    np.testing.assert_allclose(raw, read_audio(tmp_path / name).waveform, atol=1e-4)


def test_what_holds_for_the_old_samples_alone_is_not_copied(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 4000), 16000))
    source = with_chunks(tmp_path / "a.wav", b"", chunk(b"MD5 ", bytes(16)) + chunk(b"levl", bytes(120)) + BEXT)
    assert copy(source, tmp_path / "b.wav") == ("not kept: MD5, levl",)
    assert b"bext" in parts_of(tmp_path / "b.wav")


@pytest.mark.parametrize("format", ["WAV", "RF64"])
@pytest.mark.parametrize("version", [1, 2])
def test_the_old_sounds_loudness_in_bext_is_not_kept_which_is_said(tmp_path: Path, format: str, version: int) -> None:
    """EBU Tech 3285: five numbers from byte 412 on, of which 0x7FFF tells nothing, from version 2 on."""
    told = bytearray(BEXT)
    struct.pack_into("<H64s5h", told, 8 + 346, version, b"U" * 64, -2300, 700, -100, -1500, -1800)
    write_audio(tmp_path / "a.wav", Audio(noise(1, 4000), 16000, format, "PCM_16"))
    source = tmp_path / "a.wav"
    source.write_bytes(source.read_bytes() + bytes(told))
    assert copy(source, tmp_path / "b.wav") == (("not kept: loudness in bext",) if version == 2 else ())
    if version == 2:
        struct.pack_into("<5h", told, 8 + 412, *[0x7FFF] * 5)
    assert (tmp_path / "b.wav").read_bytes().endswith(told)
    assert copy(tmp_path / "b.wav", tmp_path / "c.wav") == ()


@pytest.mark.parametrize(
    ("name", "before", "old", "after"),
    [
        (b"iXML", b"<BWFXML><SCENE>7</SCENE><LOUDNESS>", b"<LOUDNESS_VALUE>-23.0</LOUDNESS_VALUE>", b"</LOUDNESS>"),
        (
            b"iXML",
            b"<BEXT><BWF_LOUDNESS_RANGE></BWF_LOUDNESS_RANGE>",
            b"<BWF_MAX_TRUE_PEAK_LEVEL>-1\n</BWF_MAX_TRUE_PEAK_LEVEL>",
            b"",
        ),
        (
            b"axml",
            b"<a><loudnessMetadata/>",
            b"<loudnessMetadata a='b'>\n<maxTruePeak>1</maxTruePeak></loudnessMetadata>",
            b"</a>",
        ),
        (
            b"axml",
            b"<a>",
            b"<e:loudnessMetadata><e:maxTruePeak>1</e:maxTruePeak></e:loudnessMetadata >",
            b"<dialogue/></a>",
        ),
    ],
)
def test_the_old_sounds_loudness_in_xml_is_not_kept_which_is_said(
    tmp_path: Path, name: bytes, before: bytes, old: bytes, after: bytes
) -> None:
    """iXML, by itself and as of bext; the Audio Definition Model, whose elements may have a name space."""
    write_audio(tmp_path / "a.wav", Audio(noise(1, 4000), 16000))
    source = with_chunks(tmp_path / "a.wav", b"", chunk(name, before + old + after + old) + CUE)
    assert copy(source, tmp_path / "b.wav") == (f"not kept: loudness in {name.decode()}",)
    kept = parts_of(tmp_path / "b.wav")
    assert kept[name] == chunk(name, before + after)[: 8 + len(before + after)]
    assert kept[b"cue "] == CUE
    assert copy(tmp_path / "b.wav", tmp_path / "c.wav") == ()


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_gains_in_id3_among_chunks_are_not_kept_which_is_said(tmp_path: Path, name: str) -> None:
    write_audio(tmp_path / name, Audio(noise(1, 4000), 16000))
    tagged = mutagen.File(tmp_path / name)
    tagged.add_tags()
    tagged.tags.add(TIT2(encoding=3, text="A title"))
    tagged.tags.add(TXXX(encoding=3, desc="REPLAYGAIN_TRACK_GAIN", text="-6.5 dB"))
    tagged.save()
    assert copy(tmp_path / name, tmp_path / f"b{name}") == ("not kept: TXXX:REPLAYGAIN_TRACK_GAIN",)
    kept = mutagen.File(tmp_path / f"b{name}")
    assert list(kept.tags.values()) == [TIT2(encoding=3, text="A title")]
    assert kept.info.length == tagged.info.length
    assert copy(tmp_path / f"b{name}", tmp_path / f"c{name}") == ()


def test_a_list_of_texts_is_read_up_to_what_is_damaged_in_it(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 4000), 16000))
    damaged = chunk(b"LIST", b"INFO" + chunk(b"IONE", b"one\0") + chunk(b"\xff\0\0\0", b"") + chunk(b"ITWO", b"two\0"))
    assert names_beside(with_chunks(tmp_path / "a.wav", b"", damaged + CUE)) == {"IONE", "cue"}


def test_a_chunk_that_is_cut_off_is_told_and_not_copied(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 4000), 16000))
    source = with_chunks(tmp_path / "a.wav", CUE, BEXT)
    source.write_bytes(source.read_bytes()[:-100])
    assert copy(source, tmp_path / "b.wav") == ("not kept: bext",)
    assert set(parts_of(tmp_path / "b.wav")) == {b"fmt ", b"data", b"cue "}


@pytest.mark.parametrize("format", ["RF64", "W64", "AIFF"])
def test_chunks_of_other_containers_are_kept(tmp_path, format):
    path = tmp_path / f"a.{format.lower()}"
    write_audio(path, Audio(noise(2, 4001), 16000, format, "PCM_16"))
    content = bytearray(path.read_bytes())
    if format == "W64":
        extra = b"bext" + bytes(12) + struct.pack("<Q", 24 + 16) + b"sixteen letters."
        content += extra
        content[16:24] = struct.pack("<Q", len(content))
    elif format == "AIFF":
        extra = chunk(b"MARK", b"\0\1\0\1\0\0\0\7\4here\0", ">")
        content += extra
        content[4:8] = struct.pack(">I", len(content) - 8)
    else:
        extra = CUE
        content += extra
        content[20:28] = struct.pack("<Q", len(content) - 8)
    path.write_bytes(content)
    assert copy(path, tmp_path / f"b.{format.lower()}") == ()
    copied = (tmp_path / f"b.{format.lower()}").read_bytes()
    assert copied.endswith(extra)
    places = {"W64": (16, "<Q", 0), "AIFF": (4, ">I", 8), "RF64": (20, "<Q", 8)}
    place, kind, less = places[format]
    assert struct.unpack_from(kind, copied, place)[0] == len(copied) - less
    np.testing.assert_array_equal(read_audio(path).waveform, read_audio(tmp_path / f"b.{format.lower()}").waveform)
    assert read_audio(tmp_path / f"b.{format.lower()}").info == read_audio(path).info


# --- tags ----------------------------------------------------------------------------------------------


def test_all_tags_of_an_mp3_are_kept(tmp_path):
    source, target = tmp_path / "a.mp3", tmp_path / "b.mp3"
    soundfile.write(source, noise(20_000), 16000)
    tags = ID3()
    tags.add(TIT2(encoding=3, text="Gruß"))
    tags.add(COMM(encoding=3, lang="deu", desc="", text="Bemerkung"))
    tags.add(APIC(encoding=3, mime="image/jpeg", type=3, desc="front", data=JPEG))
    tags.add(TXXX(encoding=3, desc="mood", text="calm"))
    tags.add(CHAP(element_id="c1", start_time=0, end_time=500, sub_frames=[TIT2(encoding=3, text="one")]))
    tags.save(source)
    ape = APEv2()
    ape["Catalog"] = "7"
    ape.save(source)
    assert copy(source, target) == ()
    kept = ID3(target)
    assert kept.getall("APIC")[0].data == JPEG
    for frame in tags.values():
        assert kept[frame.HashKey] == frame
    assert APEv2(target)["Catalog"] == "7"
    assert read_audio(target).info == read_audio(source).info
    (note,) = copy(source, tmp_path / "b.flac")
    assert note == "not kept: CHAP:c1, TXXX:mood, catalog, cover art"
    assert FLAC(tmp_path / "b.flac")["title"] == ["Gruß"]


def test_all_tags_of_a_flac_are_kept(tmp_path):
    source, target = tmp_path / "a.flac", tmp_path / "b.flac"
    soundfile.write(source, noise(20_000), 16000)
    tagged, picture, cues = FLAC(source), Picture(), CueSheet(None)
    tagged["title"], tagged["mood"] = "Gruß", ["calm", "clear"]
    picture.data, picture.type, picture.mime = JPEG, 3, "image/jpeg"
    tagged.add_picture(picture)
    cues.tracks += [CueSheetTrack(1, 0), CueSheetTrack(170, 20_000)]
    tagged.metadata_blocks.append(cues)
    tagged.cuesheet = cues
    tagged.save()
    assert copy(source, target) == ()
    kept = FLAC(target)
    assert (kept["title"], kept["mood"]) == (["Gruß"], ["calm", "clear"])
    assert kept.pictures[0].data == JPEG
    assert kept.cuesheet.tracks == FLAC(source).cuesheet.tracks != []
    assert read_audio(target).info == read_audio(source).info
    assert copy(source, tmp_path / "b.mp3") == ("not kept: cover art, cue sheet, mood",)


@pytest.mark.parametrize(("name", "rate"), [("a.ogg", 44100), ("a.opus", 48000)])
def test_all_tags_of_an_ogg_are_kept(tmp_path, name, rate):
    write_audio(tmp_path / name, Audio(noise(2, 50_000), rate))
    tagged = mutagen.File(tmp_path / name)
    tagged["mood"] = "calm"
    tagged["metadata_block_picture"] = "A" * 70_000
    tagged.save()
    target = tmp_path / f"copy-{name}"
    assert copy(tmp_path / name, target) == ()
    kept = mutagen.File(target)
    assert kept["mood"] == ["calm"]
    assert kept["metadata_block_picture"] == ["A" * 70_000]
    assert read_audio(target).info == read_audio(tmp_path / name).info
    assert copy(tmp_path / name, tmp_path / "b.wav") == ("not kept: cover art, mood",)


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg", "a.m4a"])
def test_gains_measured_on_the_old_sound_are_not_kept_which_is_said(tmp_path: Path, name: str) -> None:
    """By them players would set the level of the new one."""
    source, gain = tmp_path / name, "-6.50 dB"
    write_audio(source, Audio(noise(1, 16000), 16000))
    if name == "a.mp3":
        tags = ID3()
        tags.add(TIT2(encoding=3, text="A title"))
        tags.add(TXXX(encoding=3, desc="replaygain_track_gain", text=gain))
        tags.add(COMM(encoding=3, lang="eng", desc="iTunNORM", text="0000 gain"))
        tags.save(source)
        ape = APEv2()
        ape["MP3GAIN_UNDO"] = "+003,+003,N"
        ape.save(source)
    elif name == "a.m4a":
        tagged = MP4(source)
        tagged["\xa9nam"], tagged["----:com.apple.iTunes:replaygain_track_gain"] = "A title", gain.encode()
        tagged.save()
    else:
        tagged = mutagen.File(source)
        tagged["title"], tagged["REPLAYGAIN_TRACK_GAIN"], tagged["R128_TRACK_GAIN"] = "A title", gain, "-256"
        tagged.save()
    (tmp_path / "out").mkdir()
    notes = copy(source, tmp_path / "out" / name)
    assert "replaygain_track_gain" in " ".join(notes).lower()
    made = str(dict(mutagen.File(tmp_path / "out" / name).tags))
    assert "A title" in made
    assert "gain" not in made.lower()


def test_tags_that_cannot_be_read_do_not_stop_a_file(tmp_path):
    source = tmp_path / "a.mp3"
    soundfile.write(source, noise(20_000), 16000)
    of_the_future = b"ID3\x09\0\0\0\0\0\x0a" + bytes(10)
    source.write_bytes(of_the_future + source.read_bytes())
    assert copy(source, tmp_path / "b.mp3") == ("not kept: its tags, which cannot be read",)
    assert audio_info(tmp_path / "b.mp3").samples == 20_000


# --- bit rates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "mode", "level"),
    [
        *((rate, mode, 0.4) for rate in (44100, 16000, 8000) for mode in ("CONSTANT", "AVERAGE", "VARIABLE")),
        *((44100, "CONSTANT", 0.0), (44100, "AVERAGE", 0.8), (16000, "CONSTANT", 0.8), (8000, "AVERAGE", 0.0)),
    ],
)
def test_an_mp3_keeps_its_bit_rate(tmp_path, rate, mode, level):
    soundfile.write(tmp_path / "a.mp3", noise(2 * rate), rate, compression_level=level, bitrate_mode=mode)
    copy(tmp_path / "a.mp3", tmp_path / "b.mp3")
    before, after = (mutagen.File(tmp_path / name).info for name in ("a.mp3", "b.mp3"))
    assert after.bitrate_mode == before.bitrate_mode
    assert after.bitrate == pytest.approx(before.bitrate, rel=0.15)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (44100, 2), (22050, 2), (16000, 1), (8000, 1)])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("level", [0.3, 0.7, 0.9])
def test_an_mp3_keeps_level_length_and_place(tmp_path, rate, channels, mode, level):
    """LAME lowers most rates to .95, and has no room for the delay in small frames: 1105 samples at 32 kbit/s."""
    tone = np.sin(np.arange(rate) * (2 * np.pi * 500 / rate)) * np.linspace(0.1, 0.5, rate)
    tones = np.repeat(tone[:, None], channels, axis=1)
    soundfile.write(tmp_path / "a.mp3", tones, rate, compression_level=level, bitrate_mode=mode)
    source = read_audio(tmp_path / "a.mp3")
    copy(tmp_path / "a.mp3", tmp_path / "b.mp3")
    copied = read_audio(tmp_path / "b.mp3").waveform
    assert copied.shape == source.waveform.shape
    middle = np.s_[:, rate // 4 : 3 * rate // 4]
    most = (3e-3 if mode == "VARIABLE" else 1e-3) * np.square(source.waveform[middle]).mean()
    assert np.square(copied[middle] - source.waveform[middle]).mean() < most


def test_an_mp3_of_variable_rate_keeps_its_band(tmp_path):
    """At an average rate LAME ends the band of stereo lower, here at 11 kHz."""
    mono = noise(2 * 44100)
    soundfile.write(
        tmp_path / "a.mp3", np.stack([mono, mono], 1), 44100, compression_level=0.6, bitrate_mode="VARIABLE"
    )
    copy(tmp_path / "a.mp3", tmp_path / "b.mp3")
    above = []
    for name in ("a.mp3", "b.mp3"):
        power = np.square(np.abs(np.fft.rfft(read_audio(tmp_path / name).waveform[0])))
        above.append(power[len(power) * 12 // 22 : len(power) * 16 // 22].sum() / power.sum())
    assert above[1] == pytest.approx(above[0], rel=0.1)
    assert above[0] > 0.1


def test_an_mp3_of_320_kilobits_stays_one(tmp_path):
    soundfile.write(tmp_path / "a.mp3", noise(88_200, 2), 44100, compression_level=0, bitrate_mode="CONSTANT")
    tiny_enhancer(steps=1).enhance_file(tmp_path / "a.mp3", tmp_path / "b.mp3")
    sizes = [os.path.getsize(tmp_path / name) for name in ("a.mp3", "b.mp3")]
    assert mutagen.File(tmp_path / "b.mp3").info.bitrate // 1000 in (319, 320)
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)


@pytest.mark.parametrize(
    ("suffix", "rate", "channels"), [("ogg", 44100, 2), ("ogg", 16000, 1), ("opus", 48000, 2), ("opus", 16000, 1)]
)
@pytest.mark.parametrize("level", [0.1, 0.9])
def test_vorbis_and_opus_keep_their_bit_rate(tmp_path, suffix, rate, channels, level):
    coding = "OPUS" if suffix == "opus" else "VORBIS"
    wave = noise(2 * rate, channels)
    soundfile.write(tmp_path / f"a.{suffix}", wave, rate, coding, format="OGG", compression_level=level)
    copy(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}")
    sizes = [os.path.getsize(tmp_path / f"{name}.{suffix}") for name in "ab"]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)
    if suffix == "ogg":
        rates = [mutagen.File(tmp_path / f"{name}.ogg").info.bitrate for name in "ab"]
        assert rates[1] == pytest.approx(rates[0], rel=0.02)
