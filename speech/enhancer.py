"""`Enhancer`: a model and how to sample it, for waveforms, files, folders and streams."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from shared.errors import CheckpointError, ConfigError
from shared.memory import keep_large_blocks
from shared.progress import bar
from shared.random import derive_seed
from shared.settings import whole_number
from speech.arrays import AudioWarning, Form, Waveform, finite
from speech.audio import (
    BLOCK_SECONDS,
    RawFormat,
    Resampler,
    audio_info,
    create_audio,
    notes_on,
    open_audio,
    refuse_same,
    resample,
)
from speech.config import Sampler, SamplingConfig
from speech.longform import DryWet, Tail, Window, Windows
from speech.model import BUNDLED, SpeechModel
from speech.sampling import sampling_times
from speech.segments import Advance, Segment, SegmentRunner, Tally, bounded, frame_grid

if TYPE_CHECKING:
    from speech.folders import Existing, FolderReport
    from speech.streaming import Stream

Blocks = Callable[[], Iterator[np.ndarray]]
"""Reads a recording from its start, in blocks (channels, n); may be asked more than once."""


@dataclass(frozen=True)
class FileResult:
    """What enhancing one file came to.

    Attributes:
        name: of the file.
        seconds, channels, sample_rate: of the audio.
        nfe: network calls that every sample went through.
        replaced: samples that were not finite, and were taken for 0.
        notes: what else there is to say: what is missing at the file's end, which tags the copy does not have.
    """

    name: str
    seconds: float
    channels: int
    sample_rate: int
    nfe: int
    replaced: int = 0
    notes: tuple[str, ...] = ()


class Enhancer:
    """Enhances speech: waveforms, files, folders and streams, at any rate and of any length.

    Every channel is enhanced for itself. Results depend on the recording, the seed and the settings, and not on what
    else is in the batch. Channels of a recording share their noise, so that equal channels stay equal. Recordings
    longer than a window are enhanced in windows that share the noise where they overlap. On a CPU the process is told
    to keep its freed memory (`shared.memory.keep_large_blocks`), which large networks are much faster with.

    Args:
        model: what enhances; it is set to evaluation and moved to `device`.
        sampler, steps: in place of those of `sampling`.
        device: where to run; None leaves the model where it is.
        seed: of the noise.
        draws: results to average; each costs as much as the first.
        mix: share of the enhanced signal in the result, 0 to 1; the rest is the noisy one.
        window_seconds, overlap_seconds: of the windows of a long recording.
        batch_size: windows at a time; shorter pieces are batched up to the same number of seconds. None: 1 on a CPU,
            4 elsewhere.
        sampling: how to sample; None means the model's default.

    Raises:
        ConfigError: a setting that cannot be used, or a sampler that does not suit the model.
    """

    def __init__(
        self,
        model: SpeechModel,
        sampler: Sampler | None = None,
        steps: int | None = None,
        *,
        device: torch.device | str | None = None,
        seed: int = 0,
        draws: int = 1,
        mix: float = 1.0,
        window_seconds: float = 16.0,
        overlap_seconds: float = 2.0,
        batch_size: int | None = None,
        sampling: SamplingConfig | None = None,
    ):
        if isinstance(model, (str, os.PathLike)):
            raise ConfigError(f"{model!r} names a model: Enhancer.from_pretrained({os.fspath(model)!r}) loads it")
        draws = whole_number("draws", draws)
        batch_size = None if batch_size is None else whole_number("batch_size", batch_size)
        if draws < 1:
            raise ConfigError(f"draws={draws}: need a whole number, at least 1")
        if not 0 <= mix <= 1:
            raise ConfigError(f"mix={mix}: need a share between 0 (noisy) and 1 (enhanced)")
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: need a whole number, at least 1")
        changes = {name: value for name, value in (("sampler", sampler), ("steps", steps)) if value is not None}
        self.sampling: SamplingConfig = replace(sampling or model.config.sampling, **changes)  # type: ignore[arg-type]
        sampling_times(model.sde, self.sampling)
        frontend = model.config.frontend
        grid = frontend.hop_length * frame_grid(model)
        self.windows = Windows.of(window_seconds, overlap_seconds, frontend.sample_rate, grid)
        self.model = (model if device is None else model.to(device)).eval()
        self.seed, self.draws, self.mix = seed, draws, mix
        on_cpu = self.model.device.type == "cpu"
        self.batch_size = batch_size or (1 if on_cpu else 4)
        if on_cpu:
            keep_large_blocks()
        self.runner = SegmentRunner(self.model, self.sampling, draws, self.batch_size * self.windows.length)
        self._nfe = 0

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | os.PathLike[str] = "default", device: torch.device | str | None = None
    ) -> Enhancer:
        """An enhancer with the model in a folder, of a bundled name, of a hub id, or of a published `.ckpt`.

        Args:
            path_or_name: which model.
            device: where to run; None: on a GPU where there is one.

        Raises:
            CheckpointError: no such model, or it cannot be read.
        """
        return cls(load_model(path_or_name), device=device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def sample_rate(self) -> int:
        """The model's rate, in Hz."""
        return self.model.config.frontend.sample_rate

    @property
    def nfe(self) -> int:
        """Network calls that every sample of the latest recording went through, all draws together."""
        return self._nfe

    def seed_of(self, name: str) -> int:
        """The seed of the recording of this name in a folder, or of a file of this name."""
        return derive_seed(self.seed, name)

    def enhance(
        self,
        waveform: Waveform,
        sample_rate: int,
        *,
        seed: int | Sequence[int] | None = None,
        peak: float | None = None,
    ) -> Waveform:
        """Enhance a waveform.

        Args:
            waveform: (samples,), (channels, samples) or (batch, channels, samples); floating point with full scale ±1,
                or int16, int32, int8, uint8. Samples that are not finite are taken for 0, with an `AudioWarning`.
            sample_rate: Hz.
            seed: of the noise, one or one per item of the batch; None means the enhancer's. Items get the noise of the
                same seed by default, so that each is what it would be alone.
            peak: level that the network sees as 1; None means each channel's own peak. Of no effect for a model whose
                front end does not normalise.

        Returns:
            The enhanced waveform: same shape, kind, dtype and device; silence stays silence.

        Raises:
            DataError: not a waveform.
            ConfigError: an impossible rate or peak, or other than one seed per item.
        """
        form = Form.of(waveform)
        if sample_rate < 1 or (peak is not None and not peak > 0):
            raise ConfigError(f"sample_rate={sample_rate}, peak={peak}: need positive numbers")
        noisy, replaced = finite(form.to_float(waveform))
        warn_replaced(replaced, "the waveform")
        seeds = [self.seed if seed is None else seed] * len(noisy) if not isinstance(seed, Sequence) else list(seed)
        if len(seeds) != len(noisy):
            raise ConfigError(f"{len(seeds)} seeds for a batch of {len(noisy)}: give one per item, or just one")
        tally = Tally()
        if self.is_short(noisy.shape[-1], sample_rate):
            enhanced = self.enhance_short(list(noisy), [sample_rate] * len(noisy), seeds, tally, peak=peak)
        else:
            enhanced = [
                self._enhance_long(item, sample_rate, item_seed, tally, peak)
                for item, item_seed in zip(noisy, seeds, strict=True)
            ]
        self._nfe = tally.nfe
        return form.from_float(np.stack(enhanced) if enhanced else noisy)  # type: ignore[return-value]

    def enhance_file(
        self,
        src: str | os.PathLike[str],
        dst: str | os.PathLike[str],
        *,
        name: str | None = None,
        raw: RawFormat | None = None,
        progress: bool | Advance = False,
    ) -> FileResult:
        """Enhance a file of any length, from disk to disk; the target appears when all is done.

        Args:
            src: any file that libsndfile reads.
            dst: the target, or a folder for it. Its suffix decides the format; rate, channels and length are those of
                the source, and coding, bit rate and tags as far as `speech.audio.create_audio` keeps them. A link is
                followed; a FIFO or a device is written to when all is done.
            name: what the noise depends on beside the seed; None: the name of `src`, without its folder.
            raw: what a .raw file holds.
            progress: show a progress bar, or call this with every bit of progress, in seconds of a channel.

        Raises:
            DataError: the source cannot be read, the target cannot be written, or is the source.
        """
        source, target = Path(src), Path(dst)
        target = target / source.name if os.path.isdir(target) else target
        refuse_same(source, target)
        info = audio_info(source, raw)
        name = source.name if name is None else name
        tally = Tally()

        def read() -> Iterator[np.ndarray]:
            tally.replaced = 0
            with open_audio(source, raw) as reader:
                for block in reader.blocks():
                    good, replaced = finite(block)
                    tally.replaced += replaced
                    yield good

        total = info.seconds * info.channels
        with (
            create_audio(target, info, source) as writer,
            bar(total, source.name, "s", show=progress is True, leave=False) as shown,
        ):
            shape, seed = (info.channels, info.samples), self.seed_of(name)
            advance = progress if callable(progress) else bounded(shown)
            for block in self.enhance_blocks(read, info.sample_rate, shape, seed, tally, advance):
                writer.write(block)
        self._nfe = tally.nfe
        result = FileResult(name, info.seconds, info.channels, info.sample_rate, tally.nfe, tally.replaced)
        return replace(result, notes=notes_on(info, writer.dropped))

    def enhance_dir(
        self,
        src: str | os.PathLike[str],
        dst: str | os.PathLike[str],
        *,
        existing: Existing = "skip",
        workers: int | None = None,
        raw: RawFormat | None = None,
        progress: bool = True,
    ) -> FolderReport:
        """Enhance the audio files of a folder and of the folders in it; see `speech.folders.enhance_dir`."""
        from speech.folders import enhance_dir

        report = enhance_dir(self, src, dst, existing=existing, workers=workers, raw=raw, progress=progress)
        self._nfe = report.nfe
        return report

    def stream(self, sample_rate: int, *, channels: int = 1, peak: float = 1.0, seed: int | None = None) -> Stream:
        """Enhance a signal while it comes, with a causal model; see `speech.streaming.Stream`."""
        from speech.streaming import Stream

        return Stream(self, sample_rate, channels=channels, peak=peak, seed=seed)

    def is_short(self, samples: int, sample_rate: int) -> bool:
        """Whether a recording fits into one window."""
        return math.ceil(samples * self.sample_rate / sample_rate) <= self.windows.length

    def enhance_short(
        self,
        recordings: Sequence[np.ndarray],
        rates: Sequence[int],
        seeds: Sequence[int],
        tally: Tally,
        advance: Advance | None = None,
        peak: float | None = None,
    ) -> list[np.ndarray]:
        """Enhance finite recordings (channels, samples), float32, that fit into a window each, in common batches."""
        if self.mix == 0:
            return [recording.copy() for recording in recordings]
        segments: list[Segment] = []
        places = []
        for recording, rate, seed in zip(recordings, rates, seeds, strict=True):
            at_rate = resample(recording, rate, self.sample_rate)
            places.append(range(len(segments), len(segments) + len(at_rate)))
            scales = self._scales(_peaks(at_rate), peak)
            segments += [Segment(wave, 0, seed, scale) for wave, scale in zip(at_rate, scales, strict=True)]
        outputs = self.runner.run(segments, tally, advance)
        results = []
        for recording, rate, place in zip(recordings, rates, places, strict=True):
            if len(place) == 0:
                results.append(recording)
                continue
            wet = np.stack([outputs[i] for i in place])
            wet = resample(wet, self.sample_rate, rate, length=recording.shape[1])
            results.append(wet if self.mix == 1 else self.mix * wet + (1 - self.mix) * recording)
        return results

    def enhance_blocks(
        self,
        read: Blocks,
        sample_rate: int,
        shape: tuple[int, int],
        seed: int,
        tally: Tally,
        advance: Advance | None = None,
        peak: float | None = None,
    ) -> Iterator[np.ndarray]:
        """Enhance a finite recording of any length, in blocks (channels, n), in memory that does not grow with it.

        The recording is read twice: for its peak, then for the rest.

        Args:
            read: reads it.
            sample_rate: Hz.
            shape: (channels, samples) of the whole.
            seed: of its noise.
            tally: counts the network calls.
            advance: told of progress.
            peak: in place of each channel's.
        """
        if self.mix == 0:
            yield from read()
            return
        channels, samples = shape
        peaks = np.zeros(channels, np.float32)
        for block in Resampler(sample_rate, self.sample_rate, channels).stream(read()):
            peaks = np.maximum(peaks, _peaks(block))
        mixer = DryWet(self.mix)
        at_rate = Resampler(sample_rate, self.sample_rate, channels).stream(mixer.keep(read()))
        enhanced = self._enhance_windows(self.windows.cut(at_rate), self._scales(peaks, peak), seed, tally, advance)
        wet = Resampler(self.sample_rate, sample_rate, channels).stream(self.windows.join(enhanced))
        yield from mixer.of(Tail(channels, samples).of(wet))

    def _enhance_long(
        self, recording: np.ndarray, sample_rate: int, seed: int, tally: Tally, peak: float | None
    ) -> np.ndarray:
        shape: tuple[int, int] = recording.shape
        size = int(BLOCK_SECONDS * sample_rate)

        def read() -> Iterator[np.ndarray]:
            for start in range(0, shape[1], size):
                yield recording[:, start : start + size]

        return np.concatenate(list(self.enhance_blocks(read, sample_rate, shape, seed, tally, peak=peak)), axis=1)

    def _enhance_windows(
        self, windows: Iterable[Window], scales: list[float], seed: int, tally: Tally, advance: Advance | None
    ) -> Iterator[Window]:
        waiting: list[Window] = []
        together = max(1, self.batch_size // len(scales))
        for window in windows:
            waiting.append(window)
            if len(waiting) == together or window.last:
                segments = [
                    Segment(channel, item.start, seed, scale)
                    for item in waiting
                    for channel, scale in zip(item.waveform, scales, strict=True)
                ]
                outputs = iter(self.runner.run(segments, tally, advance))
                for item in waiting:
                    yield Window(item.start, np.stack([next(outputs) for _ in scales]), item.last)
                waiting = []

    def _scales(self, peaks: np.ndarray, peak: float | None) -> list[float]:
        """What channels with these peaks are divided by for the network; 0 where they are silent."""
        if self.model.config.frontend.normalize == "not":
            peak = 1.0
        return [float(own if peak is None or own == 0 else peak) for own in peaks]


def _peaks(waveform: np.ndarray) -> np.ndarray:
    """The largest magnitude of each channel (channels, samples): (channels,)."""
    peaks: np.ndarray = np.abs(waveform).max(axis=-1, initial=0.0)
    return peaks


def load_model(path_or_name: str | os.PathLike[str] = "default") -> SpeechModel:
    """The model in a folder, of a bundled name, of a hub id, or of a published `.ckpt`.

    Raises:
        CheckpointError: no such model, or it cannot be read.
    """
    if str(path_or_name).endswith(".ckpt"):
        from speech.importing import import_checkpoint

        return import_checkpoint(path_or_name)
    if str(path_or_name) == "default" and not Path("default").is_dir() and not (BUNDLED / "default").is_dir():
        raise CheckpointError(
            "no default model is bundled with this version: train one (recipes/train_speech.py), or name a model: its "
            "folder, or a published SGMSE+ .ckpt"
        )
    return SpeechModel.from_pretrained(path_or_name)


def warn_replaced(replaced: int, what: str) -> None:
    """Tell of samples that were not finite."""
    if replaced:
        warnings.warn(f"{replaced} samples of {what} are not finite and were taken for 0", AudioWarning, stacklevel=3)
