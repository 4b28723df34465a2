"""speech/audio/positions.py: markers, loops and times of day of a copy at another rate are where they were."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import soundfile
from mutagen.flac import FLAC, CueSheet, CueSheetTrack, CueSheetTrackIndex

from tests.speech.audio.test_kept import BEXT, LABEL, chunk, parts_of, with_chunks
from tests.speech.models import gain_enhancer, noise

CUES = chunk(
    b"cue ",
    struct.pack("<I", 2) + b"".join(struct.pack("<II4sIII", k, 400 * k, b"data", 0, 0, 400 * k) for k in (1, 2)),
)
LOOPS = chunk(b"smpl", struct.pack("<9I", 0, 0, 125_000, 60, 0, 0, 0, 1, 0) + struct.pack("<6I", 1, 0, 800, 1600, 0, 0))
BEGUN = chunk(b"bext", BEXT[8:346] + struct.pack("<Q", 8000 * 3600 * 20) + BEXT[354:])
REGION = chunk(b"LIST", LABEL[8:] + chunk(b"ltxt", struct.pack("<II4s4H", 1, 240, b"rgn ", 0, 0, 0, 0)))


def enhanced(path: Path, rate: int) -> tuple[Path, tuple[str, ...]]:
    target = path.with_name(f"at_{rate}{path.suffix}")
    return target, gain_enhancer(1.0, rate=rate, upper_band="follow").enhance_file(path, target).notes


@pytest.mark.parametrize("rate", [8000, 48000, 4000])
def test_what_a_wav_file_counts_in_samples_stays_where_it_is(rate: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(4000), 8000)
    source = with_chunks(tmp_path / "a.wav", BEGUN, CUES + LOOPS + REGION + chunk(b"plst", bytes(4)))
    target, notes = enhanced(source, rate)
    assert notes == (() if rate == 8000 else ("not kept: plst",))
    before, after = parts_of(source), parts_of(target)
    if rate == 8000:
        assert all(after[name] == before[name] for name in (b"bext", b"cue ", b"smpl", b"adtl", b"plst"))
    each = rate / 8000
    assert struct.unpack_from("<Q", after[b"bext"], 346) == (rate * 3600 * 20,)
    assert after[b"bext"][354:] == before[b"bext"][354:]
    assert struct.unpack_from("<II4sIIIII4sIII", after[b"cue "], 12) == (
        *(1, 400 * each, b"data", 0, 0, 400 * each),
        *(2, 800 * each, b"data", 0, 0, 800 * each),
    )
    assert struct.unpack_from("<4I", after[b"smpl"], 8) == (0, 0, round(1e9 / rate), 60)
    assert struct.unpack_from("<6I", after[b"smpl"], 44) == (1, 0, 800 * each, 1600 * each, 0, 0)
    assert after[b"adtl"][:-20] == before[b"adtl"][:-20]
    assert struct.unpack_from("<II4s", after[b"adtl"], len(after[b"adtl"]) - 20) == (1, 240 * each, b"rgn ")


IXML = (
    b"<BWFXML><SPEED><FILE_SAMPLE_RATE>%d</FILE_SAMPLE_RATE><DIGITIZER_SAMPLE_RATE>%d</DIGITIZER_SAMPLE_RATE>"
    b"<TIMESTAMP_SAMPLE_RATE>8000</TIMESTAMP_SAMPLE_RATE></SPEED><BEXT><BWF_TIME_REFERENCE_LOW>%d"
    b"</BWF_TIME_REFERENCE_LOW><BWF_TIME_REFERENCE_HIGH>%d</BWF_TIME_REFERENCE_HIGH></BEXT></BWFXML>"
)


@pytest.mark.parametrize("rate", [8000, 48000, 4000])
@pytest.mark.parametrize("begun", [8000 * 3600 * 20, 3 << 32])
def test_the_time_of_day_and_the_rates_of_ixml_are_those_of_the_copy(begun: int, rate: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(4000), 8000)
    text = IXML % (8000, 8000, begun % (1 << 32), begun >> 32)
    target, _ = enhanced(with_chunks(tmp_path / "a.wav", chunk(b"iXML", text), b""), rate)
    moved = begun * rate // 8000
    assert parts_of(target)[b"iXML"][8:].rstrip(b"\0") == IXML % (rate, rate, moved % (1 << 32), moved >> 32)


POINTS = (
    b"<BWFXML><SYNC_POINT_LIST><SYNC_POINT_COUNT>2</SYNC_POINT_COUNT><SYNC_POINT><SYNC_POINT_TYPE>RELATIVE"
    b"</SYNC_POINT_TYPE><SYNC_POINT_LOW>%d</SYNC_POINT_LOW><SYNC_POINT_HIGH>0</SYNC_POINT_HIGH>"
    b"<SYNC_POINT_EVENT_DURATION>%d</SYNC_POINT_EVENT_DURATION></SYNC_POINT>\r\n<SYNC_POINT><SYNC_POINT_TYPE>ABSOLUTE"
    b"</SYNC_POINT_TYPE><SYNC_POINT_LOW>%d</SYNC_POINT_LOW><SYNC_POINT_HIGH>%d</SYNC_POINT_HIGH></SYNC_POINT>"
    b"</SYNC_POINT_LIST></BWFXML>"
)


@pytest.mark.parametrize("rate", [8000, 48000, 4000])
def test_the_sync_points_of_ixml_stay_where_they_are(rate: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(4000), 8000)
    day = 5 << 31
    text = POINTS % (800, 400, day % (1 << 32), day >> 32)
    target, _ = enhanced(with_chunks(tmp_path / "a.wav", chunk(b"iXML", text), b""), rate)
    moved = day * rate // 8000
    made = POINTS % (rate // 10, rate // 20, moved % (1 << 32), moved >> 32)
    assert parts_of(target)[b"iXML"][8:].rstrip(b"\0") == made


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_ixml_in_utf_16_is_moved_and_loses_the_old_loudness_too(encoding: str, mark: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(4000), 8000)
    begun, text = 8000 * 3600, IXML.decode().replace("<SPEED>", "<NOTE>Grüße \U0001f3a4</NOTE>%s<SPEED>")
    loud = "<LOUDNESS_VALUE>-2300</LOUDNESS_VALUE>"
    before, after = (mark + text % (loud, 8000, 8000, begun, 0), mark + text % ("", 48000, 48000, 6 * begun, 0))
    content = before.encode(encoding) + b"\n"  # which is half a letter
    target, notes = enhanced(with_chunks(tmp_path / "a.wav", chunk(b"iXML", content), b""), 48000)
    assert parts_of(target)[b"iXML"][8:] == after.encode(encoding) + b"\n"
    assert notes == ("not kept: loudness in iXML",)
    plain = with_chunks(tmp_path / "a.wav", b"", b"")
    kept = with_chunks(plain, b"", chunk(b"axml", (mark + "<a>\ud800</a>").encode(encoding, "surrogatepass")))
    target, notes = enhanced(kept, 8000)
    assert parts_of(target)[b"axml"] == parts_of(kept)[b"axml"]


def test_markers_of_aiff_and_tracks_of_flac_stay_where_they_are(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.aiff", noise(4000), 8000)
    content = (tmp_path / "a.aiff").read_bytes()
    marks = struct.pack(">HHI6sHI8s", 2, 1, 400, b"\5begin", 2, 4_000, b"\6finish\0")
    content += chunk(b"MARK", marks, ">")
    (tmp_path / "a.aiff").write_bytes(content[:4] + struct.pack(">I", len(content) - 8) + content[8:])
    made = enhanced(tmp_path / "a.aiff", 16000)[0].read_bytes()
    moved = struct.pack(">HHI6sHI8s", 2, 1, 800, b"\5begin", 2, 8_000, b"\6finish\0")
    assert made[made.index(b"MARK") + 8 :][: len(marks)] == moved

    soundfile.write(tmp_path / "a.flac", noise(4000), 8000)
    flac, cues = FLAC(tmp_path / "a.flac"), CueSheet(None)
    cues.tracks += [CueSheetTrack(1, 400), CueSheetTrack(170, 4000)]
    cues.tracks[0].indexes += [CueSheetTrackIndex(0, 0), CueSheetTrackIndex(1, 80)]
    flac.metadata_blocks.append(cues)
    flac.save()
    kept = FLAC(enhanced(tmp_path / "a.flac", 16000)[0]).cuesheet
    assert [track.start_offset for track in kept.tracks] == [800, 8000]
    assert [index.index_offset for index in kept.tracks[0].indexes] == [0, 160]
    assert not kept.compact_disc
