"""Small files of the kinds that only FFmpeg reads, made by it: sound, videos, several streams, protection."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 48000
KEY = "76a6c65c5ea762046bd749a2e632ccbb"


def tones(samples: int, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """A chirp, float32 (channels, samples), of another level in each channel: its place in time shows."""
    time = np.arange(samples) / rate
    chirp = np.sin(2 * np.pi * (300 * time + 400 * time**2))
    return np.stack([chirp * 0.3 / (1 + channel) for channel in range(channels)]).astype(np.float32)


def audio_frame(wave: np.ndarray, rate: int, start: int) -> av.AudioFrame:
    """Samples (channels, n) as FFmpeg takes them, at this place."""
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(wave)]
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.T).reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
    return frame


def write_media(
    path: Path,
    wave: np.ndarray,
    codec: str,
    rate: int = RATE,
    texts: dict[str, str] | None = None,
    gaps: Sequence[tuple[int, int]] = (),
    encrypted: bool = False,
    chapters: bool = False,
    **settings: object,
) -> Path:
    """A file of sound; from each (place, samples) of `gaps` on, all is stamped so many samples later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"movie_timescale": str(rate)} if path.suffix in (".m4a", ".mov", ".mp4", ".3gp") else {}
    if encrypted:
        options |= {"encryption_scheme": "cenc-aes-ctr", "encryption_key": KEY, "encryption_kid": KEY}
    with av.open(str(path), "w", options=options) as file:
        layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(wave)]
        stream = file.add_stream(codec, rate=rate, layout=layout)
        for name, value in settings.items():
            setattr(stream, name, value)
        file.metadata.update(texts or {})
        if chapters:
            third = wave.shape[1] // 3
            parts = [(0, third, "one"), (third, wave.shape[1], "two")]
            file.set_chapters(
                [
                    {"id": i, "start": a, "end": b, "time_base": Fraction(1, rate), "metadata": {"title": title}}
                    for i, (a, b, title) in enumerate(parts)
                ]
            )
        for start in range(0, wave.shape[1], 960):
            late = sum(samples for place, samples in gaps if place <= start)
            file.mux(stream.encode(audio_frame(wave[:, start : start + 960], rate, start + late)))
        file.mux(stream.encode(None))
    return path


def write_video(
    path: Path, wave: np.ndarray | None, codec: str = "aac", pictures: str = "mpeg4", streams: int = 1, rate: int = RATE
) -> Path:
    """A video of noise at 25 pictures a second, with `streams` equal audio streams; silent where `wave` is None."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as file:
        video = file.add_stream(pictures, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = [] if wave is None else [file.add_stream(codec, rate=rate, layout="stereo") for _ in range(streams)]
        each = rate // 25
        for i in range(25 if wave is None else wave.shape[1] // each):
            picture = av.VideoFrame.from_ndarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, 25)
            file.mux(video.encode(picture))
            for sound in sounds:
                assert wave is not None
                file.mux(sound.encode(audio_frame(wave[:, i * each : (i + 1) * each], rate, i * each)))
        for stream in (video, *sounds):
            file.mux(stream.encode(None))
    return path


def packets(path: Path) -> list[tuple[bytes, float]]:
    """What the video stream of a file holds, and when it is shown."""
    with av.open(str(path)) as file:
        return [
            (bytes(packet), round(float(packet.pts * packet.time_base), 3))
            for packet in file.demux(video=0)
            if packet.size
        ]
