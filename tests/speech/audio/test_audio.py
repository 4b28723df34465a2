"""speech/audio/files.py: round trips of every format, what a copy keeps, blocks, what damaged files get."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shared.errors import ConfigError, DataError
from speech.audio.chunks import Spliced, beyond_its_header
from speech.audio.coding import target_coding
from speech.audio.files import Audio, AudioInfo, RawFormat, audio_info, open_audio, read_audio
from speech.audio.writing import create_audio, write_audio

TAGS = {"title": "Gruß", "artist": "A. N. Other", "comment": "room 7", "date": "2020", "tracknumber": "3"}


def sound(channels: int = 2, samples: int = 4411, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal((channels, samples))).clip(-0.99, 0.99).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "format", "subtype", "error"),
    [
        ("a.wav", "WAV", "PCM_16", 2**-15),
        ("a.wav", "WAV", "PCM_24", 2**-23),
        ("a.wav", "WAV", "PCM_32", 2**-23),
        ("a.wav", "WAV", "PCM_U8", 2**-6),
        ("a.wav", "WAV", "FLOAT", 0),
        ("a.wav", "WAV", "DOUBLE", 0),
        ("a.wav", "WAVEX", "PCM_24", 2**-23),
        ("a.wav", "RF64", "FLOAT", 0),
        ("a.flac", "FLAC", "PCM_16", 2**-15),
        ("a.flac", "FLAC", "PCM_24", 2**-23),
        ("a.aiff", "AIFF", "PCM_16", 2**-15),
        ("a.caf", "CAF", "ALAC_16", 2**-15),
        ("a.au", "AU", "FLOAT", 0),
        ("a.w64", "W64", "PCM_24", 2**-23),
        ("a.ogg", "OGG", "VORBIS", None),
        ("a.mp3", "MP3", "MPEG_LAYER_III", None),
    ],
)
def test_a_format_keeps_length_rate_channels_coding_and_tags(tmp_path, name, format, subtype, error):
    written = Audio(sound(), 44100, format, subtype, TAGS)
    write_audio(tmp_path / name, written)
    read = read_audio(tmp_path / name)
    assert (read.format, read.subtype, read.sample_rate) == (format, subtype, 44100)
    assert read.waveform.shape == written.waveform.shape
    assert read.waveform.dtype == np.float32
    if error is not None:
        np.testing.assert_allclose(read.waveform, written.waveform, atol=error, rtol=0)
    else:
        assert np.corrcoef(read.waveform[0], written.waveform[0])[0, 1] > 0.5
    kept = {tag: value for tag, value in TAGS.items() if tag in read.metadata}
    if format in ("WAV", "FLAC", "OGG", "RF64"):
        assert read.metadata == TAGS
    assert kept.get("artist", TAGS["artist"]) == read.metadata.get("artist", TAGS["artist"])
    write_audio(tmp_path / f"again-{name}", read)
    assert audio_info(tmp_path / f"again-{name}") == read.info


@pytest.mark.parametrize(
    ("name", "format", "subtype", "below"),
    [
        ("a.wav", "WAV", "PCM_24", -100),
        ("a.wav", "WAV", "ULAW", -30),
        ("a.wav", "WAV", "ALAW", -30),
        ("a.wav", "WAV", "IMA_ADPCM", -25),
        ("a.wav", "WAV", "MS_ADPCM", -25),
        ("a.wav", "WAV", "GSM610", -14),
        ("a.wav", "WAV", "NMS_ADPCM_32", -25),
        ("a.au", "AU", "G721_32", -18),
        ("a.au", "AU", "G723_24", -18),
    ],
)
def test_peaks_beyond_full_scale_are_cut_off_and_never_wrap_around(tmp_path, name, format, subtype, below):
    loud = 1.5 * np.sin(0.05 * np.arange(48000, dtype=np.float32))[None]
    write_audio(tmp_path / name, Audio(loud, 8000, format, subtype))
    read = read_audio(tmp_path / name)
    assert read.subtype == subtype
    wanted = loud.clip(-1, 1)
    off = read.waveform[:, :48000] - wanted
    assert 10 * np.log10(np.square(off).mean() / np.square(wanted).mean()) < below


@pytest.mark.parametrize(("name", "format"), [("a.wav", "WAV"), ("a.w64", "W64"), ("a.raw", "RAW")])
def test_digital_silence_of_a_law_which_has_no_code_for_it_is_silence(tmp_path, name, format):
    raw = RawFormat(8000, 1, "ALAW") if format == "RAW" else None
    write_audio(tmp_path / name, Audio(np.repeat(np.float32([[0, 0.1]]), 50, axis=1), 8000, format, "ALAW"))
    read = read_audio(tmp_path / name, raw)
    assert not read.waveform[0, :50].any()
    assert (read.waveform[0, 50:] > 0).all()
    write_audio(tmp_path / f"again-{name}", read)
    assert (tmp_path / f"again-{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_a_raw_file_needs_its_rate(tmp_path):
    wave = sound(2, 100)
    write_audio(tmp_path / "a.raw", Audio(wave, 8000, "RAW", "FLOAT"))
    assert (tmp_path / "a.raw").stat().st_size == 800
    with pytest.raises(DataError, match="does not tell its rate"):
        read_audio(tmp_path / "a.raw")
    read = read_audio(tmp_path / "a.raw", RawFormat(8000, 2))
    np.testing.assert_array_equal(read.waveform, wave)


@pytest.mark.parametrize(
    ("subtype", "width", "left"),
    [("PCM_16", 4, 3), ("PCM_24", 6, 5), ("FLOAT", 8, 1), ("ULAW", 2, 1), ("PCM_16", 4, 0)],
)
def test_bytes_that_are_no_whole_sample_are_told(tmp_path, subtype, width, left):
    (tmp_path / "a.raw").write_bytes(bytes(100 * width + left))
    info = audio_info(tmp_path / "a.raw", RawFormat(8000, 2, subtype))
    told = (f"the end, {left} byte{'s' * (left > 1)}, is no whole sample ({width} bytes) and was left out",)
    assert (info.samples, info.notes) == (100, told if left else ())


def test_sound_behind_the_length_in_a_header_is_told(tmp_path):
    """As a recorder leaves it that was stopped after it had written its header: nothing told that most was left out."""
    soundfile.write(tmp_path / "a.wav", sound(2, 16_000).T, 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[40:44] = (4 * 4000).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    info = audio_info(tmp_path / "a.wav")
    assert info.samples == 4000
    assert info.notes[0].startswith("0.75 s more lie behind the 0.25 s that its header states, and were left out")
    (tmp_path / "a.wav").write_bytes(content[: 44 + 4 * 4000] + bytes(20_000))  # which only fills a block up
    assert audio_info(tmp_path / "a.wav").notes == ()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"sample_rate": 16}, "sample_rate=16: need a whole number from 1000 to 1000000; Hz of .raw files"),
        ({"sample_rate": 16000, "channels": 0}, "channels=0: need a whole number from 1 to 1024"),
        ({"sample_rate": 16000, "subtype": "float32"}, "subtype='float32' .*: .raw files hold .*PCM_16.*FLOAT"),
        ({"sample_rate": 16000, "subtype": "VORBIS"}, "subtype='VORBIS'"),
    ],
)
def test_what_bare_samples_cannot_be_is_said_of_the_setting(raw, message):
    """It was said of the file, whose header, which it has not, might be damaged."""
    with pytest.raises(ConfigError, match=message):
        RawFormat(**raw)


@pytest.mark.parametrize(
    ("name", "source", "wanted"),
    [
        ("x.wav", ("WAV", "FLOAT"), ("WAV", "FLOAT")),
        ("x.wav", ("WAVEX", "PCM_24"), ("WAVEX", "PCM_24")),
        ("x.WAV", ("FLAC", "PCM_24"), ("WAV", "PCM_24")),
        ("x.wav", ("MP3", "MPEG_LAYER_III"), ("WAV", "PCM_16")),
        ("x.flac", ("WAV", "FLOAT"), ("FLAC", "PCM_24")),
        ("x.flac", ("WAV", "PCM_U8"), ("FLAC", "PCM_16")),
        ("x.ogg", ("WAV", "PCM_16"), ("OGG", "VORBIS")),
        ("x.opus", ("WAV", "PCM_16"), ("OGG", "OPUS")),
        ("x.ogg", ("OGG", "OPUS"), ("OGG", "OPUS")),
        ("x.mp3", ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")),
        ("no_suffix", ("FLAC", "PCM_16"), ("FLAC", "PCM_16")),
    ],
)
def test_the_suffix_decides_the_format_and_the_source_the_coding(name, source, wanted):
    assert target_coding(name, AudioInfo(16000, 1, 100, *source)) == wanted


@pytest.mark.parametrize("name", ["a.amr", "a.AVI", "a.wmv", "a.ape", "a.txt", "a.wav.part", "a.2024"])
def test_a_name_that_promises_another_format_is_refused_with_those_that_work(tmp_path, name):
    with pytest.raises(
        DataError, match=rf"{name}: .* cannot be written; choose a name that ends in one of \.wav, .*\.mp3"
    ):
        write_audio(tmp_path / name, Audio(sound(), 16000))
    assert list(tmp_path.iterdir()) == []


def test_a_name_like_the_sources_needs_no_known_suffix(tmp_path):
    write_audio(tmp_path / "a", Audio(sound(), 16000, "FLAC"))
    (tmp_path / "a").rename(tmp_path / "a.dat")
    write_audio(tmp_path / "b.dat", read_audio(tmp_path / "a.dat"), tmp_path / "a.dat")
    assert audio_info(tmp_path / "b.dat") == audio_info(tmp_path / "a.dat")
    for name in ("b.xyz", "b.amr"):
        with pytest.raises(DataError, match="cannot be written"):
            write_audio(tmp_path / name, read_audio(tmp_path / "a.dat"), tmp_path / "a.dat")


@pytest.mark.parametrize("name", ["x" * 246 + ".wav", "ü" * 125 + ".wav", "録" * 83 + ".flac"])
def test_long_names(tmp_path, name):
    write_audio(tmp_path / name, Audio(sound(), 16000))
    assert read_audio(tmp_path / name).waveform.shape == (2, 4411)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(DataError, match=r"cannot be written .*too long"):
        write_audio(tmp_path / f"{name[:-4]}{'y' * 8}.wav", Audio(sound(), 16000))


@pytest.mark.parametrize("suffix", ["", ".wav", ".flac", ".mp3", ".ogg"])
def test_a_file_written_to_a_pipe_is_whole(tmp_path, suffix):
    pipe, audio = tmp_path / f"pipe{suffix}", Audio(sound(2, 30_000), 16000, "WAV", "PCM_16", TAGS)
    os.mkfifo(pipe)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    thread.start()
    write_audio(pipe, audio)
    thread.join(20)
    write_audio(tmp_path / f"file{suffix}", audio)
    (tmp_path / f"got{suffix}").write_bytes(got[0])
    through, direct = (read_audio(tmp_path / f"{name}{suffix}") for name in ("got", "file"))
    assert through.info == direct.info
    np.testing.assert_array_equal(through.waveform, direct.waveform)
    assert pipe.is_fifo()


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2**31 - 1])
def test_a_rate_that_cannot_be_is_refused(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", sound().T, 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=f"states a rate of {rate} Hz, which is not between 1000 and 1000000"):
        audio_info(tmp_path / "a.wav")


def test_a_header_that_states_a_year_of_audio_takes_no_memory(tmp_path):
    soundfile.write(tmp_path / "a.flac", sound().T, 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] |= 0x0F
    (tmp_path / "a.flac").write_bytes(content)
    assert audio_info(tmp_path / "a.flac").samples > 2**35
    with pytest.raises(DataError, match="damaged or cut short"):
        read_audio(tmp_path / "a.flac")


def test_more_than_four_gigabytes_of_wav_are_rf64():
    assert target_coding("x.wav", AudioInfo(48000, 2, 1_500_000_000))[0] == "RF64"


def test_blocks_joined_are_the_file(tmp_path):
    wave = sound(3, 10_001)
    with create_audio(tmp_path / "a.wav", AudioInfo(16000, 3, 10_001, subtype="FLOAT")) as writer:
        for start in range(0, 10_001, 999):
            writer.write(wave[:, start : start + 999])
    with open_audio(tmp_path / "a.wav") as reader:
        blocks = list(reader.blocks(1234))
    assert {block.shape[1] for block in blocks[:-1]} == {1234}
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), wave)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.wav", b"this is not audio", "not audio that libsndfile reads"),
        ("text.mp3", b"this is not audio", r"not audio that libsndfile reads, .*\(no sound was found in it\)"),
        ("empty.wav", b"", "empty"),
        ("none.wav", None, "no such file"),
        (".", None, "is a folder"),
    ],
)
def test_what_is_no_audio_is_named_with_a_remedy(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read_audio(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


@pytest.mark.skipif(os.name == "nt", reason="other limits")
def test_a_path_longer_than_libsndfile_takes_is_named_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deep = Path(*["x" * 200] * 6)
    deep.mkdir(parents=True)
    write_audio("a.wav", Audio(sound(1, 100), 16000))
    os.rename("a.wav", deep / "a.wav")
    message = rf"^{deep} makes paths of 12\d\d bytes, and libsndfile takes 1023 at most; name it from a folder"
    with pytest.raises(DataError, match=message):
        read_audio(deep / "a.wav")
    with pytest.raises(DataError, match=message):
        write_audio(deep / "b.wav", Audio(sound(1, 100), 16000))
    assert os.listdir(deep) == ["a.wav"]
    longest = deep.parent / ("y" * (1023 - len(str(deep.parent)) - 5) + ".wav")
    os.link(deep / "a.wav", longest)
    assert len(str(longest)) == 1023
    for path in ("a.wav", longest):
        monkeypatch.chdir(deep if path == "a.wav" else tmp_path)
        assert read_audio(path).waveform.shape == (1, 100)


def test_a_file_without_samples_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1)), 16000)
    with pytest.raises(DataError, match="no samples"):
        audio_info(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.flac", "a.mp3"])
def test_a_file_cut_short_is_refused_at_the_place_where_it_ends(tmp_path, name):
    write_audio(tmp_path / name, Audio(sound(2, 60_000), 16000))
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="damaged or cut short"):
        read_audio(tmp_path / name)
    with open_audio(tmp_path / name) as reader:
        assert reader.read(4000).shape == (2, 4000)


def test_of_a_flac_file_that_is_cut_what_can_be_read_is_told(tmp_path):
    """Within the first block of ten seconds, too, of which nothing comes out; it was "reading stops after 0"."""
    soundfile.write(tmp_path / "a.flac", sound(1, 60_000)[0], 16000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) * 7 // 10])
    with pytest.raises(DataError, match="cut short: it states 60000 samples") as caught:
        read_audio(tmp_path / "a.flac")
    found = re.search(r"stops after (\d+) \((\S+) of 3\.8 s\).*save what there is", str(caught.value))
    assert found
    assert abs(int(found[1]) - 42_000) < 5000
    assert abs(float(found[2]) * 16000 - int(found[1])) < 1000


@pytest.mark.parametrize(("mode", "level"), [("VARIABLE", 0.9), ("CONSTANT", 0.98)])
def test_an_mp3_in_blocks_is_what_it_is_as_a_whole(tmp_path, mode, level):
    """Seeking to where it was, after every block, left a click at each, only 17 dB below full scale."""
    random = np.random.default_rng(0)
    bursts = sound(1, 100_000)[0] * np.repeat(random.uniform(0.02, 1, 50), 2000)
    soundfile.write(tmp_path / "a.mp3", bursts, 44100, compression_level=level, bitrate_mode=mode)
    whole, _ = soundfile.read(tmp_path / "a.mp3", dtype="float32")
    with open_audio(tmp_path / "a.mp3") as reader:
        blocks = np.concatenate(list(reader.blocks(7001)), axis=1)
    np.testing.assert_allclose(blocks[0, : len(whole)], whole, atol=1e-5)  # a length that is reckoned may be more


def test_an_mp3_that_lacks_its_last_frame_ends_in_silence(tmp_path):
    write_audio(tmp_path / "a.mp3", Audio(sound(1, 60_000), 16000))
    whole = read_audio(tmp_path / "a.mp3").waveform
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(content[:-150])
    found = read_audio(tmp_path / "a.mp3").waveform
    assert found.shape == whole.shape
    np.testing.assert_array_equal(found[:, :50_000], whole[:, :50_000])


@pytest.mark.parametrize("name", ["a.mp3", "a.opus"])
def test_a_rate_that_a_format_cannot_hold_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"cannot hold 2 channels at 192000 Hz.*\.wav or \.flac"):
        write_audio(tmp_path / name, Audio(sound(), 192_000))
    assert list(tmp_path.iterdir()) == []


def test_a_wav_file_over_its_limit_is_rf64_which_is_read(tmp_path):
    wave = sound(2, 3000)
    info = AudioInfo(16000, 2, 3000, "WAV", "FLOAT", TAGS)
    with create_audio(tmp_path / "a.wav", info, wav_limit=20_000) as writer:
        writer.write(wave)
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RF64"
    read = read_audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(read.waveform, wave)
    assert (read.format, read.metadata) == ("RF64", TAGS)
    with create_audio(tmp_path / "b.wav", info, wav_limit=24_000) as writer:
        writer.write(wave)
    assert (tmp_path / "b.wav").read_bytes()[:4] == b"RIFF"
    with pytest.raises(DataError, match=r"AIFF ends at 4 GB; choose a name that ends in \.wav"):
        target_coding("a.aiff", AudioInfo(48000, 2, 1_500_000_000, "AIFF"))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0, 5_000_000_000 % (1 << 32)])
def test_more_than_four_gigabytes_from_a_pipe_are_read_to_the_end(tmp_path, size):
    """Sparse: 5 GB that take no room."""
    soundfile.write(tmp_path / "a.wav", np.zeros((10, 2)), 48000, "PCM_16")
    header = bytearray((tmp_path / "a.wav").read_bytes()[:44])
    header[4:8] = header[40:44] = size.to_bytes(4, "little")
    with open(tmp_path / "a.wav", "wb") as file:
        file.write(header)
        file.truncate(44 + 4 * 1_250_000_000 - 8)
        file.seek(0, os.SEEK_END)
        file.write(np.array([1, 2, 3, 4], "<i2").tobytes())
    assert audio_info(tmp_path / "a.wav").samples == 1_250_000_000
    head, start = beyond_its_header(tmp_path / "a.wav")
    with soundfile.SoundFile(Spliced(head, tmp_path / "a.wav", start)) as file:
        file.seek(-3, os.SEEK_END)
        np.testing.assert_array_equal(file.read(dtype="int16"), [[0, 0], [1, 2], [3, 4]])


def test_a_rate_in_place_of_what_bare_samples_are_is_told(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(800))
    with pytest.raises(ConfigError, match=r"raw=8000: give what .*a\.raw holds, such as RawFormat\("):
        audio_info(tmp_path / "a.raw", 8000)


def test_what_libsndfile_names_and_does_not_read_or_write(tmp_path):
    audio = Audio(sound(1), 16000, "AIFF", "DWVW_12")
    write_audio(tmp_path / "a.aiff", audio)
    assert audio_info(tmp_path / "a.aiff").subtype == "PCM_16"
    write_audio(tmp_path / "b.aiff", Audio(sound(1), 16000, "AIFF", "DWVW_16"))
    content = bytearray((tmp_path / "b.aiff").read_bytes())
    content[content.index(b"COMM") + 15] = 12
    (tmp_path / "b.aiff").write_bytes(content)
    with pytest.raises(DataError, match=r"DWVW at 12 bits.*convert it to WAV or FLAC"):
        audio_info(tmp_path / "b.aiff")
    with pytest.raises(DataError, match=r"a\.sd2: SD2 .* choose a name ending in \.wav"):
        write_audio(tmp_path / "a.sd2", Audio(sound(1), 16000, "SD2"), tmp_path / "source.sd2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.aiff", "b.aiff"]
