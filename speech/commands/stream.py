"""`speech stream`: sound that comes in, enhanced, goes out: through pipes, or from microphone to loudspeaker."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import typer

from shared.console.command import fail, note, prepare, show_lines
from shared.console.keys import Pressed, keys
from shared.console.levels import Meters
from shared.devices import compute_device
from shared.errors import ConfigError, DataError, counted
from shared.signals import HANGUP, ending
from speech.audio.arrays import told_left, told_replaced
from speech.audio.devices import Duplex, device_list, open_duplex
from speech.audio.pcm import PCM, Source, wav_of
from speech.commands.options import Stream as Options
from speech.commands.pipes import output_bytes, told_as_output, wait_for
from speech.enhancer import Enhancer
from speech.inference.live import DryWet, pump
from speech.inference.streaming import Stream
from speech.loading import load_model

_KEY = " "


def main(options: Options) -> None:
    """Enhance what comes, until it ends or somebody stops it."""
    if options.list_devices:
        show_lines(device_list())
        return
    live = options.live or options.input_device is not None or options.output_device is not None
    if not live:
        _refuse_terminal()
    prepare(options.threads or 1)
    with Stopping() as stopping:
        (_live if live else _pipe)(options, stopping)
    if stopping.by is not None:
        raise typer.Exit(128 + stopping.by)


class Stopping:
    """Ctrl-C, or a request to end, ends the reading: what was read until then is enhanced and written.

    Attributes:
        by: the signal that came; None before.
    """

    def __init__(self) -> None:
        self.by: int | None = None
        self._reading = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        for each in (signal.SIGINT, *ending()):
            self._before[each] = signal.signal(each, self._stop)
        return self

    def __exit__(self, *error: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.by is not None:
            if number == HANGUP:
                return
            raise KeyboardInterrupt  # once more: at once
        self.by = number
        if self._reading:
            raise _Stopped

    def reads(self, read: Callable[[], Any], nothing: Any) -> Any:
        """What `read` gives, or nothing once somebody wants to stop."""
        if self.by is not None:
            return nothing
        try:
            self._reading = True
            return read()
        except _Stopped:
            return nothing
        finally:
            self._reading = False


class _Stopped(Exception):
    """Raised out of a reading that waits."""


def _refuse_terminal() -> None:
    """Nobody types samples, nor reads them."""
    for name, place in (("input", sys.stdin), ("output", sys.stdout)):
        if place is None or place.isatty():
            raise ConfigError(
                f"standard {name} is no file or pipe; give both, speech stream < noisy.wav > clean.wav, or --live for "
                "microphone and loudspeaker"
            )


def _stream(options: Options, rate: int, channels: int) -> tuple[Stream, DryWet]:
    model = load_model(options.model or "causal")
    enhancer = Enhancer(
        model,
        options.sampler,
        options.steps,
        device=None if options.device == "auto" else compute_device(options.device),
        seed=options.seed,
        upper_band=options.upper_band or model.config.sampling.upper_band or "follow",
    )
    stream = enhancer.stream(rate, channels=channels, runtime=options.runtime)
    return stream, DryWet(stream, options.wet)


def _pipe(options: Options, stopping: Stopping) -> None:
    """From standard input to standard output."""

    def read(size: int) -> bytes:
        return stopping.reads(lambda: os.read(sys.stdin.fileno(), size), b"")

    wait_for(sys.stdin)
    try:
        given = PCM(options.rate, options.channels, options.coding) if options.rate is not None else wav_of(read)
    except DataError:
        if stopping.by is not None:  # while it waited for a header
            return
        raise
    if options.rate is None and (options.channels not in (1, given.channels) or options.coding != "s16le"):
        note("--channels and --coding are of raw PCM (--rate); this WAV tells its own, which are taken")
    source = Source(read, given)
    stream, dry_wet = _stream(options, given.rate, given.channels)
    sink = _Sink(given)
    _tell_start(stream, "Ctrl-C ends")
    with _metering(stream, dry_wet, lambda: "") as (blocks, told):
        try:
            with told_as_output():
                sink.begin()
            pump(stream, blocks(source.blocks()), sink.write, dry_wet, told)
            with told_as_output():
                sink.end()
        except BrokenPipeError:
            fail(f"standard output was closed after {sink.bytes / given.frame / given.rate:.2f} s; nobody reads on")
            raise
    _tell_end(source, given, stopping)
    if given.size is not None and stopping.by is None and _another_follows(given):
        note("another WAV follows on standard input and was left out; a stream is one: enhance them one by one")


def _another_follows(given: PCM) -> bool:
    """Whether what lies ready behind the samples that a header told is a WAV; nothing is waited for."""
    place = sys.stdin.fileno()
    with contextlib.suppress(OSError):  # such as of Windows, which selects among sockets alone
        if select.select([place], [], [], 0)[0]:
            return os.read(place, 16).removeprefix(given.padding(given.size or 0))[:4] in (b"RIFF", b"RF64")
    return False


class _Sink:
    """Standard output; a WAV header that goes first is corrected at the end where it can be."""

    def __init__(self, pcm: PCM):
        self._pcm, self.bytes = pcm, 0
        self._file = output_bytes()

    def begin(self) -> None:
        self._start = self._place()
        self._file.write(self._pcm.header(self._pcm.size))
        self._file.flush()

    def write(self, block: np.ndarray) -> None:
        data = self._pcm.encode(block)
        with told_as_output():
            self._file.write(data)
            self._file.flush()
        self.bytes += len(data)

    def end(self) -> None:
        if self.bytes == self._pcm.size or self._start is not None:
            self._file.write(self._pcm.padding(self.bytes))
            self._file.flush()
        if self._start is not None and self._pcm.wav and self.bytes != self._pcm.size:
            end = self._file.seek(0, os.SEEK_CUR)
            self._file.seek(self._start)
            self._file.write(self._pcm.header(self.bytes))
            self._file.seek(end)
            self._file.flush()

    def _place(self) -> int | None:
        """Where the file is; None where one cannot go back."""
        try:
            import fcntl

            if fcntl.fcntl(self._file.fileno(), fcntl.F_GETFL) & os.O_APPEND:
                return None
        except ImportError:
            pass
        try:
            return self._file.seek(0, os.SEEK_CUR) if self._file.seekable() else None
        except (OSError, io.UnsupportedOperation):
            return None


def _live(options: Options, stopping: Stopping) -> None:
    """From a microphone to a loudspeaker."""
    with open_duplex(options.input_device, options.output_device, options.rate, options.channels) as duplex:
        stream, dry_wet = _stream(options, duplex.rate, options.channels)
        _tell_start(
            stream, f"the devices add {1000 * duplex.latency:.0f} ms; space switches it off and on, Ctrl-C ends"
        )
        with keys() as pressed:
            play(duplex, stream, dry_wet, stopping, pressed)
        if duplex.dropped:
            note(f"the devices lost sound {duplex.dropped} times: this machine is too slow, or busy")
        if duplex.replaced:
            note(told_replaced(duplex.replaced))


def play(duplex: Duplex, stream: Stream, dry_wet: DryWet, stopping: Stopping, pressed: Pressed) -> None:
    """Hear, enhance and play until somebody stops it; space switches enhancement off and on."""

    def heard() -> Iterator[np.ndarray]:
        while (block := stopping.reads(duplex.read, None)) is not None:
            yield block

    duplex.lead(stream.channels, stream.latency)
    with _metering(stream, dry_wet, pressed) as (blocks, told):
        pump(stream, blocks(heard()), duplex.write, dry_wet, told)


Told = Callable[[np.ndarray, np.ndarray], None]
Timed = Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]]


@contextlib.contextmanager
def _metering(stream: Stream, dry_wet: DryWet, pressed: Pressed) -> Iterator[tuple[Timed, Told]]:
    """What hands blocks on and sees to the keys, and what shows levels."""
    meters = Meters()

    def blocks(source: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in source:
            if pressed().count(_KEY) % 2:
                dry_wet.on = not dry_wet.on
            yield block

    def told(noisy: np.ndarray, ready: np.ndarray) -> None:
        state = "enhanced" if dry_wet.on else "as it came"
        meters(float(np.abs(noisy).max(initial=0.0)), float(np.abs(ready).max(initial=0.0)), state)

    try:
        yield blocks, told
    finally:
        meters.close()


def _tell_start(stream: Stream, more: str) -> None:
    note(
        f"{counted(stream.channels, 'channel')} at {stream.sample_rate} Hz, latency "
        f"{1000 * stream.latency:.0f} ms, network by {stream.runtime}; {more}"
    )


def _tell_end(source: Source, given: PCM, stopping: Stopping) -> None:
    """What was not as it should be."""
    if source.like_wav:
        note("standard input began as a WAV does and was taken for raw PCM; without --rate its header is read")
    if source.left:
        note(told_left(source.left, given.frame))
    if source.missing and stopping.by is None:
        note(f"standard input ended {source.missing / given.frame / given.rate:.2f} s before its header's length")
    if source.replaced:
        note(told_replaced(source.replaced))
    if stopping.by is not None:
        note(f"stopped after {source.samples / given.rate:.2f} s; all of it was written")
    elif source.samples == 0:
        raise DataError("standard input held no samples")
