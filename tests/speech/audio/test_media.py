"""speech/audio/media.py and muxing.py: files that only FFmpeg reads, there and back; videos; what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from shared.errors import DataError
from speech.audio.coding import notes_on, written_name
from speech.audio.files import Audio, audio_info, open_audio, read_audio
from speech.audio.writing import create_audio, write_audio
from tests.speech.audio.test_fuzzed_audio import mutated
from tests.speech.media_files import audio_frame, packets, tones, write_media, write_video


def copy(source: Path, target: Path) -> tuple[str, ...]:
    """What enhancement does with a file, without the enhancement: the notes on it."""
    with open_audio(source) as reader, create_audio(target, reader.info, source) as writer:
        for block in reader.blocks(5000):
            writer.write(block)
    return notes_on(reader.info, writer.dropped, target)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of first channels, without delay."""
    length = min(one.shape[1], other.shape[1])
    return float(np.corrcoef(one[0, :length], other[0, :length])[0, 1])


@pytest.mark.parametrize(
    ("name", "codec", "rate", "subtype", "more"),
    [
        ("a.m4a", "aac", 44100, "AAC", 0),
        ("a.mp4", "aac", 48000, "AAC", 0),
        ("a.mov", "aac", 16000, "AAC", 0),
        ("a.3gp", "aac", 16000, "AAC", 0),
        ("a.m4a", "alac", 44100, "ALAC_24", 0),
        ("a.webm", "libopus", 48000, "OPUS", 0),
        ("a.mka", "flac", 44100, "FLAC", 0),
        ("a.mov", "pcm_s24le", 44100, "PCM_S24LE", 0),
        ("a.mka", "pcm_s16le", 44100, "PCM_S16LE", 0),
        ("a.wv", "wavpack", 22050, "WAVPACK", 0),
        ("a.mkv", "aac", 48000, "AAC", 1024),
        ("a.aac", "aac", 44100, "AAC", 2048),
    ],
)
def test_a_copy_keeps_rate_channels_length_coding_place_and_texts(tmp_path, name, codec, rate, subtype, more):
    wave = tones(2 * rate + 77, 2, rate)
    source = write_media(tmp_path / name, wave, codec, rate, {"title": "Gruß", "artist": "A. N. Other"})
    before = read_audio(source)
    assert (before.sample_rate, len(before.waveform), before.subtype) == (rate, 2, subtype)
    assert abs(before.waveform.shape[1] - wave.shape[1]) <= more
    if name != "a.aac":  # which has no room to say that its first frame is the encoder's delay
        assert likeness(before.waveform, wave) > 0.99
    target = tmp_path / f"copy-{name}"
    assert copy(source, target) == ()
    after = read_audio(target)
    assert (after.sample_rate, after.format, after.subtype) == (rate, before.format, subtype)
    assert 0 <= after.waveform.shape[1] - before.waveform.shape[1] <= more
    assert after.metadata == before.metadata
    if name not in ("a.aac", "a.3gp"):
        assert before.metadata["title"] == "Gruß"
    if codec not in ("aac", "libopus"):
        np.testing.assert_allclose(after.waveform, before.waveform, atol=2e-7 if "24" in subtype else 2**-15)
        assert copy(source, tmp_path / "copy.wav") == ()
        assert audio_info(tmp_path / "copy.wav").subtype == ("PCM_24" if "24" in subtype else "PCM_16")


@pytest.mark.parametrize(
    ("name", "codec", "rate", "subtype"),
    [
        ("a.wav", "g722", 16000, "ADPCM_G722"),
        ("a.wav", "g726", 8000, "ADPCM_G726"),
        ("a.wav", "mp2", 44100, "MP2"),
        ("a.wav", "libmp3lame", 16000, "MPEG_LAYER_III"),
        ("a.avi", "aac", 44100, "AAC"),
        ("a.wma", "adpcm_g722", 16000, "ADPCM_G722"),
    ],
)
def test_codings_with_numbers_in_place_of_names_are_read_and_become_pcm_in_wav(tmp_path, name, codec, rate, subtype):
    bits = {"bit_rate": 32_000} if codec == "g726" else {}
    wave = tones(2 * rate, 1, rate)
    found = read_audio(source := write_media(tmp_path / name, wave, codec, rate, **bits))
    assert (found.sample_rate, found.subtype) == (rate, subtype)
    assert 0 <= found.waveform.shape[1] - wave.shape[1] < 3 * 1152
    assert copy(source, tmp_path / "b.wav") == ()
    made = read_audio(tmp_path / "b.wav")
    assert (made.format, made.subtype) == ("WAV", "PCM_16")
    np.testing.assert_allclose(made.waveform, found.waveform, atol=2**-15)


def test_a_damaged_wav_file_is_no_media(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(tones(1000, 1), 16000))
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[22:24] = b"\0\0"  # no channels
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match="libsndfile reads, or is damaged"):
        read_audio(tmp_path / "a.wav")


def test_files_that_are_read_and_not_written(tmp_path):
    wave = tones(60_000, 2, 44100)
    source = write_media(tmp_path / "a.wma", wave, "wmav2", 44100, {"title": "Gruß"}, bit_rate=128_000)
    assert (audio_info(source).subtype, audio_info(source).metadata["title"]) == ("WMAV2", "Gruß")
    assert copy(source, tmp_path / written_name(Path(source.name))) == ()
    assert audio_info(tmp_path / "a.wma.wav").samples == audio_info(source).samples
    film = write_video(tmp_path / "film.avi", tones(48_000), "mp2")
    assert copy(film, tmp_path / "film.avi.wav") == ("not kept: video",)
    with pytest.raises(DataError, match=r"b\.wma: \.wma files cannot be written; choose a name that ends in one of"):
        copy(source, tmp_path / "b.wma")


def test_lossless_files_are_exact(tmp_path):
    wave = np.round(tones(5000, 1) * 2**15) / np.float32(2**15)
    for name, codec, deep in (("a.m4a", "alac", "s16p"), ("a.wv", "wavpack", "s16p"), ("b.m4a", "alac", "s32p")):
        source = write_media(tmp_path / name, wave, codec, format=deep)
        np.testing.assert_array_equal(read_audio(source).waveform, wave)
        copy(source, tmp_path / "copy.flac")
        np.testing.assert_array_equal(read_audio(tmp_path / "copy.flac").waveform, wave)
        assert audio_info(tmp_path / "copy.flac").subtype == ("PCM_24" if deep == "s32p" else "PCM_16")


@pytest.mark.parametrize(
    ("name", "subtype"), [("b.m4a", "AAC"), ("b.webm", "OPUS"), ("b.mka", "OPUS"), ("b.wv", "WAVPACK")]
)
def test_other_recordings_become_these_where_the_name_says_so(tmp_path, name, subtype):
    wave = tones(40_000)
    write_audio(tmp_path / "a.flac", Audio(wave, 48000, "FLAC", "PCM_16", {"title": "Gruß", "tracknumber": "3"}))
    assert copy(tmp_path / "a.flac", tmp_path / name) == ()
    read = read_audio(tmp_path / name)
    assert (read.subtype, read.sample_rate, read.waveform.shape) == (subtype, 48000, wave.shape)
    assert likeness(read.waveform, wave) > 0.99
    assert read.metadata == {"title": "Gruß", "tracknumber": "3"}


def test_many_channels(tmp_path):
    wave = tones(20_000, 8)
    write_audio(tmp_path / "a.wav", Audio(wave, 48000))
    copy(tmp_path / "a.wav", tmp_path / "b.m4a")
    read = read_audio(tmp_path / "b.m4a").waveform
    assert len(read) == 8
    levels = np.sqrt((read**2).mean(axis=1))
    np.testing.assert_allclose(levels[:3] / levels[0], [1, 1 / 2, 1 / 3], rtol=0.05)  # the fourth is the LFE
    write_audio(tmp_path / "nine.wav", Audio(tones(2000, 9), 48000))
    with pytest.raises(DataError, match=r"cannot hold 9 channels at 48000 Hz.*\.wav or \.flac"):
        copy(tmp_path / "nine.wav", tmp_path / "nine.m4a")


def test_opus_gets_a_rate_that_it_has(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(tones(44100, 1, 44100), 44100))
    assert copy(tmp_path / "a.wav", tmp_path / "b.webm") == ("not kept: the rate of 44100 Hz (48000 Hz in Opus)",)
    assert (audio_info(tmp_path / "b.webm").sample_rate, audio_info(tmp_path / "b.webm").samples) == (48000, 48000)


def test_the_bit_rate_is_about_what_it_was(tmp_path):
    noise = (0.2 * np.random.default_rng(0).standard_normal((2, 3 * 48000))).astype(np.float32)
    sizes = []
    for rate in (64_000, 192_000):
        source = write_media(tmp_path / f"{rate}.m4a", noise, "aac", bit_rate=rate)
        copy(source, tmp_path / "copy.m4a")
        sizes.append(((tmp_path / "copy.m4a").stat().st_size, source.stat().st_size))
    for copied, original in sizes:
        assert copied == pytest.approx(original, rel=0.2)
    assert sizes[1][0] > 2 * sizes[0][0]


# --- videos --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "pictures"),
    [
        ("a.mp4", "aac", "mpeg4"),
        ("a.mov", "aac", "mpeg4"),
        ("a.mkv", "aac", "libx264"),
        ("a.webm", "libopus", "libvpx"),
    ],
)
def test_the_pictures_of_a_video_stay_as_they_are(tmp_path, name, codec, pictures):
    wave = tones(96_000)
    source = write_video(tmp_path / name, wave, codec, pictures)
    target = tmp_path / f"copy-{name}"
    assert copy(source, target) == ()
    assert packets(target) == packets(source)
    with av.open(str(target)) as file:
        assert [stream.type for stream in file.streams] == ["audio", "video"]
    assert likeness(read_audio(target).waveform, wave) > 0.99
    assert copy(source, tmp_path / "sound.wav") == ("not kept: video",)
    assert likeness(read_audio(tmp_path / "sound.wav").waveform, wave) > 0.99
    assert copy(source, tmp_path / "sound.m4a") == ("not kept: video",)


def test_pictures_that_another_container_takes_go_along_and_others_are_refused(tmp_path):
    source = write_video(tmp_path / "a.mp4", tones(48_000))
    copy(source, tmp_path / "b.mkv")
    assert [content for content, _ in packets(tmp_path / "b.mkv")] == [content for content, _ in packets(source)]
    with pytest.raises(
        DataError, match=r"b\.webm: WEBM \(OPUS\) cannot hold .* beside video \(mpeg4\).*\.mkv or \.mov"
    ):
        copy(source, tmp_path / "b.webm")
    assert not (tmp_path / "b.webm").exists()


def test_sound_that_begins_late_stays_with_its_pictures(tmp_path):
    source = write_video(tmp_path / "a.mkv", tones(96_000))
    with av.open(str(source)) as old, av.open(str(tmp_path / "late.mkv"), "w") as new:
        streams = [new.add_stream_from_template(stream) for stream in old.streams]
        for packet in old.demux():
            if packet.size and not (packet.stream.type == "audio" and packet.pts * packet.time_base < 0.5):
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    copy(tmp_path / "late.mkv", tmp_path / "copy.mkv")
    starts = []
    for name in ("late.mkv", "copy.mkv"):
        with av.open(str(tmp_path / name)) as file:
            starts.append(next(file.decode(audio=0)).time)
    assert starts[0] > 0.4
    assert starts[1] == pytest.approx(starts[0], abs=0.03)  # an encoder's first frame may come before


def test_the_first_of_several_sounds_is_taken_and_said(tmp_path):
    source = write_video(tmp_path / "a.mkv", tones(48_000), streams=2)
    first = (
        "the file has 2 sound tracks (1: stereo, 48000 Hz, AAC; 2: stereo, 48000 Hz, AAC); the first was taken: "
        "--track 2 takes the second"
    )
    assert copy(source, tmp_path / "b.mkv") == (first,)
    assert copy(source, tmp_path / "b.wav") == (first, "not kept: other sound tracks, video")


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.m4a"])
def test_the_language_of_the_sound_stays(tmp_path, name):
    pictures = "libvpx" if name == "a.webm" else "mpeg4"
    with av.open(str(tmp_path / name), "w") as file:
        if name != "a.m4a":
            file.add_stream(pictures, rate=25, width=64, height=48, pix_fmt="yuv420p")
        sound = file.add_stream("libopus" if name == "a.webm" else "aac", rate=48000, layout="mono")
        sound.metadata["language"] = "ita"
        for stream in file.streams.video:
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            file.mux([*stream.encode(picture), *stream.encode(None)])
        file.mux([*sound.encode(audio_frame(tones(9600, 1), 48000, 0)), *sound.encode(None)])
    copy(tmp_path / name, tmp_path / f"copy-{name}")
    for each in (name, f"copy-{name}"):
        with av.open(str(tmp_path / each)) as file:
            assert file.streams.audio[0].metadata["language"] == "ita", each


@pytest.mark.parametrize("name", ["a.avi", "a.mov"])
def test_digital_silence_of_a_law_is_silence(tmp_path, name):
    wave = np.concatenate([np.zeros((1, 4800), np.float32), tones(4800, 1)], axis=1)
    heard = read_audio(write_media(tmp_path / name, wave, "pcm_alaw")).waveform
    assert heard.shape == wave.shape
    assert not heard[:, :4800].any()
    assert likeness(heard[:, 4800:], wave[:, 4800:]) > 0.99


def test_a_gap_becomes_silence_so_that_what_follows_stays_in_its_place(tmp_path):
    wave = tones(96_000, 1)
    source = write_media(tmp_path / "a.mka", wave, "flac", gaps=[(48_000, 24_000)])
    read = read_audio(source)
    assert read.waveform.shape[1] == pytest.approx(120_000, abs=100)  # Matroska's stamps are milliseconds
    assert np.abs(read.waveform[0, 52_000:69_000]).max() < 1e-3
    np.testing.assert_allclose(read.waveform[0, -40_000:], wave[0, -40_000:], atol=0.2)
    assert audio_info(source).notes == ("0.5 s for which the file has no sound are silence",)


def write_art(path: Path) -> Path:
    """Two seconds with chapters and a picture."""
    source = write_media(path.with_name("without.m4a"), tones(96_000), "aac", chapters=True)
    with av.open(str(source)) as old, av.open(str(path), "w", format="mp4") as new:
        sound = new.add_stream_from_template(old.streams.audio[0])
        art = new.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = 32, 32, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        new.set_chapters(old.chapters())
        picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")
        picture.pts = 0
        new.mux(art.encode(picture))
        new.mux(art.encode(None))
        for packet in old.demux(audio=0):
            if packet.size:
                packet.stream = sound
                new.mux(packet)
    return path


def test_cover_art_and_chapters_stay(tmp_path):
    write_art(tmp_path / "art.m4a")
    assert copy(tmp_path / "art.m4a", tmp_path / "b.m4a") == ()
    with av.open(str(tmp_path / "b.m4a")) as file:
        assert [chapter["metadata"]["title"] for chapter in file.chapters()] == ["one", "two"]
        assert file.streams.video[0].disposition & av.stream.Disposition.attached_pic
    assert copy(tmp_path / "art.m4a", tmp_path / "b.wav") == ("not kept: chapters, cover art",)


def test_cover_art_that_is_damaged_is_left_out_and_that_is_said(tmp_path):
    whole = write_art(tmp_path / "art.m4a").read_bytes()
    start = whole.index(b"\xff\xd8\xff", whole.index(b"covr"))  # of the picture
    end = whole.index(b"\xff\xd9", start)
    (tmp_path / "hurt.m4a").write_bytes(whole[:start] + bytes(end - start) + whole[end:])
    assert copy(tmp_path / "hurt.m4a", tmp_path / "b.m4a") == ("not kept: cover art",)
    assert likeness(read_audio(tmp_path / "b.m4a").waveform, tones(96_000)) > 0.99
    with av.open(str(tmp_path / "b.m4a")) as file:
        assert len(file.chapters()) == 2


# --- what cannot be read -------------------------------------------------------------------------------


def test_what_cannot_be_read_is_told_in_a_line(tmp_path):
    wave = tones(96_000)
    whole = write_media(tmp_path / "whole.m4a", wave, "aac").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "junk.m4a").write_bytes(b"not a recording")
    (tmp_path / "empty.m4a").write_bytes(b"")
    data = whole.index(b"mdat")
    middle = data + (len(whole) - data) // 3
    (tmp_path / "hurt.m4a").write_bytes(whole[:middle] + b"\xff" * 2000 + whole[middle + 2000 :])
    write_video(tmp_path / "silent.mp4", None)
    write_media(tmp_path / "locked.m4a", wave, "aac", encrypted=True)
    for name, message in {
        "cut.m4a": r"not audio that libsndfile or FFmpeg reads, or is damaged",
        "junk.m4a": r"not audio that libsndfile or FFmpeg reads, or is damaged",
        "empty.m4a": r"is empty \(0 bytes\)",
        "hurt.m4a": r"is damaged: decoding stops after \d\.\d s",
        "silent.mp4": r"holds no sound \(streams: video\)",
        "locked.m4a": r"is encrypted; enhance a copy without protection",
    }.items():
        with pytest.raises(DataError, match=message) as raised:
            read_audio(tmp_path / name)
        assert str(tmp_path / name) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_recording_whose_end_is_missing_is_read_and_that_is_said(tmp_path):
    source = write_media(tmp_path / "a.m4a", tones(3 * 48_000), "aac")
    with av.open(str(source)) as old, av.open(str(tmp_path / "b.m4a"), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(audio=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    content = (tmp_path / "b.m4a").read_bytes()
    (tmp_path / "b.m4a").write_bytes(content[: len(content) * 2 // 3])
    info = audio_info(tmp_path / "b.m4a")
    assert 1.5 < info.seconds < 2.5
    assert [text.split(":")[0] for text in notes_on(info, ())] in (["cut short"], [info.notes[0], "cut short"])


@pytest.mark.parametrize(("name", "codec"), [("a.aac", "aac"), ("a.mka", "flac"), ("a.webm", "libopus")])
def test_a_stream_that_was_cut_off_is_read_to_there(tmp_path, name, codec):
    source = write_media(tmp_path / name, tones(3 * 48_000), codec)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 2 // 3])
    info = audio_info(source)
    assert 1.0 < info.seconds < 2.5
    assert all(text.endswith("not whole, and were left out") for text in info.notes)
    assert (info.missing > 40_000) == (name != "a.aac")  # whose header states no length
    assert read_audio(source).waveform.shape[1] == info.samples


@pytest.mark.parametrize(("name", "codec"), [("a.mka", "flac"), ("a.webm", "libopus")])
def test_sound_that_begins_late_lacks_nothing_at_its_end(tmp_path, name, codec):
    info = audio_info(write_media(tmp_path / name, tones(3 * 48_000), codec, gaps=[(0, 480_000)]))
    assert info.missing == 0
    assert info.samples == pytest.approx(144_000, abs=1000)


def refusal(source: Path, target: Path) -> str:
    """Why a file cannot be copied; nothing of one that can."""
    try:
        copy(source, target)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_damaged_files_by_the_dozen_are_read_or_refused_by_name(tmp_path):
    wave = tones(24_960)
    files = [write_media(tmp_path / name, wave, codec) for name, codec in (("a.m4a", "aac"), ("a.webm", "libopus"))]
    files.append(write_video(tmp_path / "a.mp4", wave))
    came = set()
    for file in files:
        content = file.read_bytes()
        for seed in range(25):
            hurt = tmp_path / f"hurt{file.suffix}"
            hurt.write_bytes(mutated(content, np.random.default_rng(seed)))
            why = refusal(hurt, tmp_path / f"copy{file.suffix}")
            assert why == "" or why.startswith(str(hurt))
            came.add(why == "")
    assert came == {True, False}


def test_content_decides_and_not_the_suffix(tmp_path):
    source = write_media(tmp_path / "a.m4a", tones(20_000), "aac")
    os.rename(source, tmp_path / "a.wav")
    assert audio_info(tmp_path / "a.wav").subtype == "AAC"
    write_audio(tmp_path / "b.wav", Audio(tones(2000), 48000))
    os.rename(tmp_path / "b.wav", tmp_path / "b.m4a")
    assert audio_info(tmp_path / "b.m4a").format == "WAV"


def test_names_that_are_no_text(tmp_path):
    source = write_media(tmp_path / "a.m4a", tones(20_000), "aac")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.m4a"))
    os.rename(source, odd)
    copy(odd, Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.m4a")))
    assert len(list(tmp_path.iterdir())) == 2


def test_the_name_of_a_copy_has_a_suffix_that_is_written():
    names = {
        "a.amr": "a.amr.wav",
        "a.wma": "a.wma.wav",
        "a.AVI": "a.AVI.wav",
        "a.mp2": "a.mp2.wav",
        "a.m4a": "a.m4a",
        "a.wav": "a.wav",
        "a.mkv": "a.mkv",
    }
    assert {name: str(written_name(Path(name))) for name in names} == names
