"""Sound tracks of videos: the one that is asked for is enhanced, and the others stay as they are."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import typer

from shared.errors import ConfigError, DataError
from speech.audio.files import audio_info, read_audio
from speech.commands.enhance import main
from speech.commands.options import Enhance
from tests.speech.audio.test_media import likeness
from tests.speech.media_files import RATE, audio_frame, tones
from tests.speech.models import gain_enhancer, noise

LANGUAGES = ("deu", "eng", "fra")


def several(path: Path, codecs: tuple[str, ...] = ("aac", "aac", "aac")) -> Path:
    """A video of a second with a sound track for each language: the chirp, its second half first, and the chirp
    backwards in one channel."""
    wave = tones(RATE)
    sounds = [wave, np.roll(wave, RATE // 2, axis=1), wave[:1, ::-1].copy()][: len(codecs)]
    with av.open(str(path), "w") as file:
        video = file.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tracks = [
            file.add_stream(codec, rate=RATE, layout="stereo" if len(sound) == 2 else "mono")
            for codec, sound in zip(codecs, sounds, strict=True)
        ]
        for track, language in zip(tracks, LANGUAGES, strict=False):
            track.metadata["language"] = language
        for place in range(25):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * place, np.uint8), format="rgb24")
            picture.pts = place
            file.mux(video.encode(picture))
            for track, sound in zip(tracks, sounds, strict=True):
                piece = sound[:, place * RATE // 25 : (place + 1) * RATE // 25]
                file.mux(track.encode(audio_frame(piece, RATE, place * RATE // 25)))
        for stream in (video, *tracks):
            file.mux(stream.encode(None))
    return path


def track_packets(path: Path, track: int) -> list[tuple[bytes, float]]:
    with av.open(str(path)) as file:
        found = [(bytes(each), float(each.pts * each.time_base)) for each in file.demux(audio=track - 1) if each.size]
    return [(content, round(time, 2)) for content, time in found]


def languages(path: Path) -> list[str | None]:
    with av.open(str(path)) as file:
        return [stream.metadata.get("language") for stream in file.streams.audio]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov"])
@pytest.mark.parametrize("track", [1, 2, 3])
def test_the_track_that_is_asked_for_is_enhanced_and_the_others_stay(name: str, track: int, tmp_path: Path) -> None:
    source, target = several(tmp_path / name), tmp_path / f"b_{name}"
    result = gain_enhancer(0.5, upper_band="follow").enhance_file(source, target, track=track)
    assert (result.notes, result.track) == ((), track)
    assert languages(target) == languages(source)
    for other in {1, 2, 3} - {track}:
        assert track_packets(target, other) == track_packets(source, other)
    before, after = read_audio(source, track=track).waveform, read_audio(target, track=track).waveform
    assert len(after) == len(before) == (1 if track == 3 else 2)
    count = min(before.shape[1], after.shape[1])
    assert likeness(after[:, :count], before[:, :count]) > 0.95
    assert after.std() == pytest.approx(0.5 * before.std(), rel=0.1)


def test_tracks_are_listed_where_there_is_none_of_the_number(tmp_path: Path) -> None:
    source = several(tmp_path / "a.mkv")
    listed = "1: deu, stereo, 48000 Hz, AAC; 2: eng, stereo, 48000 Hz, AAC; 3: fra, mono, 48000 Hz, AAC"
    with pytest.raises(DataError, match=f"a.mkv has no sound track 4, but {listed}; choose one of these"):
        audio_info(source, track=4)
    note = gain_enhancer().enhance_file(source, tmp_path / "b.mkv").notes[0]
    assert note == f"the file has 3 sound tracks ({listed}); the first was taken: --track 2 takes the second"
    for number in (0, -1, 1.5, "two"):
        with pytest.raises(ConfigError, match="track="):
            gain_enhancer().enhance_file(source, tmp_path / "c.mkv", track=number)  # type: ignore[arg-type]


def test_what_has_one_track_has_no_second(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(8000), 16000)
    assert audio_info(tmp_path / "a.wav", track=1).samples == 8000
    with pytest.raises(DataError, match=r"a\.wav has no sound track 2, but one alone; leave the track out"):
        gain_enhancer().enhance_file(tmp_path / "a.wav", tmp_path / "b.wav", track=2)
    assert not (tmp_path / "b.wav").exists()


def test_tracks_that_a_container_has_no_room_for_are_told(tmp_path: Path) -> None:
    source = several(tmp_path / "a.mkv", ("wavpack", "aac", "wavpack"))
    result = gain_enhancer(upper_band="follow").enhance_file(source, tmp_path / "b.mp4", track=3)
    assert result.notes == ("not kept: sound track 1",)
    assert (languages(tmp_path / "b.mp4"), result.track) == (["eng", "fra"], 2)
    sound = gain_enhancer(upper_band="follow").enhance_file(source, tmp_path / "b.m4a", track=2)
    assert sound.notes == ("not kept: other sound tracks, video",)
    assert languages(tmp_path / "b.m4a") == ["eng"]


def test_folders_take_the_track_of_each_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    several(tmp_path / "in/a.mkv"), several(tmp_path / "in/b.mkv", ("aac",))
    report = gain_enhancer(0.5).enhance_dir(tmp_path / "in", tmp_path / "out", track=2, progress=False)
    assert [(file.name, file.track) for file in report.files] == [("a.mkv", 2)]
    assert "b.mkv has no sound track 2, but 1: deu, stereo" in report.failed["b.mkv"]
    made = read_audio(tmp_path / "out/a.mkv", track=2).waveform
    before = read_audio(tmp_path / "in/a.mkv", track=2).waveform
    assert likeness(made[:, : before.shape[1]], before[:, : made.shape[1]]) > 0.9


def test_the_command_takes_a_track_and_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = several(tmp_path / "a.mkv")
    main(Enhance(source=source, target=str(tmp_path / "b.mkv"), track=3, picture=True, mix=0.0))
    said = capsys.readouterr()
    assert "sound tracks" not in said.err
    assert "removed 0.0 dB overall" in said.out
    assert track_packets(tmp_path / "b.mkv", 1) == track_packets(source, 1)
    assert (tmp_path / "b.mkv.png").is_file()
    with pytest.raises(typer.Exit):
        main(Enhance(source=source, target=str(tmp_path / "c.mkv"), track=5, dry_run=True))
    assert "a.mkv has no sound track 5" in capsys.readouterr().err
