"""`Enhancer`: a model and how to sample it, for waveforms, files, folders and streams."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from shared.checks import Chance, Count, checked
from shared.devices import compute_device
from shared.errors import ConfigError
from shared.files.settings import number
from shared.precision import check_weights
from shared.training.memory import keep_large_blocks
from speech.audio.arrays import LARGEST, Form, Waveform, finite, warn_doubts, warn_offset, warn_replaced, whole_rate
from speech.audio.bands import UpperBand
from speech.audio.files import RawFormat
from speech.audio.loudness import LoudnessGoal, checked_goal
from speech.audio.resampling import converted
from speech.inference import advice
from speech.inference.companion import Quality, companion_of
from speech.inference.engine import Engine
from speech.inference.files import FileResult, enhance_file
from speech.inference.folders import FolderReport, enhance_dir
from speech.inference.longform import Windows
from speech.inference.onnx_network import Runtime
from speech.inference.plan import Existing, refuse_unnamed, target_of
from speech.inference.plausible import doubts
from speech.inference.sampling import only_call, settled
from speech.inference.segments import Advance, Tally, frame_grid
from speech.inference.streaming import Stream
from speech.loading import load_model
from speech.model.config import SamplerSetting, SamplingConfig
from speech.model.export import export_onnx
from speech.model.model import SpeechModel

_SETTLED = ("model", "sampling", "draws", "mix", "batch_size", "upper_band", "rate", "keep_music", "quality")
"""Attributes that what enhances has taken over, so that others would change nothing."""


class Enhancer:
    """Enhances speech: waveforms, files, folders and streams, at any rate and of any length.

    Every channel is enhanced for itself. Results depend on the recording, the seed and the settings, and not on what
    else is in the batch, up to rounding: the same call gives the same bits on one machine with one number of threads,
    and in another batch or on more threads differs by some 130 dB less than the result. Channels of a recording share
    their noise, so that equal channels stay equal. Recordings longer than a window are enhanced in windows that share
    the noise where they overlap. On a CPU the process is told to keep its freed memory
    (`shared.training.memory.keep_large_blocks`), which large networks are much faster with.

    A result that cannot be right beside the noisy signal is refused with a SamplingError; where it is merely too loud,
    its peaks are limited, and it is said; see `speech.inference.plausible`. A `SettingWarning` tells of settings that
    have no effect, and of steps that are too few for the sampler.

    Args:
        model: what enhances; it is set to evaluation and moved to `device`.
        sampler, steps: in place of those of `sampling`; "pc" keeps the settings that "pc" has there.
        device: where to run; None leaves the model where it is.
        seed: of the noise.
        draws: results to average; each costs as much as the first. Where all would be the same, one is drawn.
        mix: share of the enhanced signal in the result, 0 to 1; the rest is the noisy one.
        window_seconds, overlap_seconds: of the windows of a long recording.
        batch_size: windows at a time; shorter pieces are batched up to the same number of seconds. None: 1 on a CPU,
            4 elsewhere.
        sampling: how to sample; None means the model's default.
        upper_band: what becomes of what a recording at a higher rate than the model's has above its band: "follow"
            keeps it with a gain that follows the model's (`speech.audio.bands`), "drop" leaves it out, "enhance" gives
            each band of it a gain of its own, by a small network (`speech.model.upper_band`; of models at 16 kHz),
            "extend" keeps it and adds what is likely to be missing, by another (likewise). None does as the model's
            `sampling` says, or else the first, and says so.
        rate: of results, in Hz, 1000 to 1,000,000: recordings are brought to it first. None: that of the recording.
        keep_music: leave recordings as they are where they are music (`speech.audio.music`), which the bundled models
            take for noise; it is judged over some ten seconds. For models at 16 kHz, and not for streams.
        quality: "best" averages the results with those of the model's companion, another network, at the cost of both;
            the bundled default has one, which is sampled by its own settings. Not for streams.

    Attributes:
        nfe: network calls that every sample of the latest recording went through, all draws together.

    Raises:
        ConfigError: a setting that cannot be used, or a sampler that does not suit the model.
        CheckpointError: the companion cannot be read.
    """

    def __init__(
        self,
        model: SpeechModel,
        sampler: SamplerSetting | None = None,
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
        upper_band: UpperBand | None = None,
        rate: int | None = None,
        keep_music: bool = False,
        quality: Quality = "standard",
    ):
        _check_model(model)
        draws, seed = checked(Count, draws=draws), checked(int, seed=seed)
        keep_music, self.quality = checked(bool, keep_music=keep_music), checked(Quality, quality=quality)
        batch_size = checked(Count | None, batch_size=batch_size)
        rate = None if rate is None else whole_rate(rate, "rate")
        mix = checked(Annotated[Chance, "0 is noisy, 1 enhanced"], mix=mix)
        self.sampling = settled(model, sampling, sampler, steps)
        frontend = model.config.frontend
        grid = frontend.hop_length * frame_grid(model)
        number("window_seconds", window_seconds, 16.0), number("overlap_seconds", overlap_seconds, 2.0)
        windows = Windows.of(window_seconds, overlap_seconds, frontend.sample_rate, grid)
        self.model = (model if device is None else model.to(compute_device(device))).eval()
        self.seed, self.draws, self.mix = seed, draws, mix
        on_cpu = self.model.device.type == "cpu"
        self.batch_size = batch_size or (1 if on_cpu else 4)
        if on_cpu:
            keep_large_blocks()
        companion = companion_of(self.model, self.sampling) if self.quality == "best" else None
        both = {"draws": draws, "mix": mix, "upper_band": upper_band, "rate": rate, "keep_music": keep_music}
        engine: dict[str, Any] = {"windows": windows, "batch_size": self.batch_size, "companion": companion, **both}
        self.engine = Engine(self.model, self.sampling, seed=seed, **engine)
        lengths = {"window_seconds": window_seconds, "overlap_seconds": overlap_seconds, "batch_size": batch_size}
        self._settings: dict[str, Any] = {"sampling": self.sampling, "quality": quality, **lengths, **both}
        self.rate, self.keep_music = rate, keep_music
        self.upper_band = self.engine.upper_band
        self.nfe = 0
        self.engine.warn_without_effect({"steps": steps is not None, "seed": seed != 0, "draws": draws > 1})
        advice.warn(advice.of_stability(model.sde, self.sampling))
        if companion is not None:
            advice.warn(advice.beside_companion(model.config.sampling, self.sampling, companion[1]))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SETTLED and name in self.__dict__:
            how = f"Enhancer(model, {name}=…)" if name != "model" else "Enhancer(model)"
            raise ConfigError(f"an Enhancer's {name} is settled when it is made; {how} makes another")
        if name == "seed" and "engine" in self.__dict__:
            self.engine.seed = value = checked(int, seed=value)  # that of files, folders and streams
        super().__setattr__(name, value)

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | os.PathLike[str] = "default",
        device: torch.device | str | None = None,
        custom: Sequence[type] = (),
        quality: Quality = "standard",
        **settings: Any,
    ) -> Enhancer:
        """An enhancer with the model in a folder, of a bundled name, of a hub id, or of a published `.ckpt`.

        Args:
            path_or_name: which model.
            device: where to run; None: on a GPU where there is one.
            custom: see `SpeechModel.from_pretrained`.
            quality: "best" averages it with its companion.
            settings: others that `Enhancer` takes, such as rate=48000.

        Raises:
            CheckpointError: no such model, or it cannot be read.
            ConfigError: "best" of a model without a companion; see also `Enhancer`.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(load_model(path_or_name, custom), device=device, quality=quality, **settings)

    def to(self, device: torch.device | str) -> Enhancer:
        """The enhancer on another device: "cpu", "cuda", "cuda:1" or "auto". Its model is moved there, not copied.

        Raises:
            ConfigError: there is no such device.
        """
        return type(self)(self.model, device=device, seed=self.seed, **self._settings)

    @property
    def sample_rate(self) -> int:
        """The model's rate, in Hz."""
        return self.model.config.frontend.sample_rate

    def seed_of(self, name: str) -> int:
        """The seed of the recording of this name in a folder, or of a file of this name."""
        return self.engine.seed_of(name)

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
                or int16, int32, int8, uint8. Samples that are not finite, or beyond
                1e15, are taken for 0, with an `AudioWarning`.
            sample_rate: Hz.
            seed: of the noise, one or one per item of the batch; None means the enhancer's. Items get the noise of the
                same seed by default, so that each is what it would be alone.
            peak: level that the network sees as 1; None means each channel's own peak, or twice what its other peaks
                reach where clicks or thumps exceed that (`speech.audio.peaks`). Of no effect for a model whose front
                end does not normalise.

        Returns:
            The enhanced waveform: same shape, kind, dtype and device, but for its samples where the enhancer has a
            `rate` of its own; silence stays silence.

        Raises:
            DataError: not a waveform.
            ConfigError: an impossible rate or peak, a seed that is no whole number, or other than one per item.
            SamplingError: a result that cannot be right: this sampler fails.
        """
        form = Form.of(waveform)
        sample_rate = whole_rate(sample_rate)
        if peak is not None and not 0 < number("peak", peak, 1.0) <= LARGEST:
            raise ConfigError(f"peak={peak}: need a positive number, 1 at full scale")
        noisy, replaced = finite(form.to_float(waveform))
        warn_replaced(replaced, "the waveform")
        seeds = self._seeds(seed, len(noisy))
        given = {"seed": seed is not None, "peak": peak is not None}
        if any(given.values()):
            self.engine.warn_without_effect(given)
        self.engine.warn_no_room(sample_rate)
        if self.engine.rate_of(sample_rate) != sample_rate:
            noisy = converted(noisy, sample_rate, self.engine.rate_of(sample_rate))
            form, sample_rate = form.of_samples(noisy.shape[-1]), self.engine.rate_of(sample_rate)
        self.engine.warn_upper_band(sample_rate)
        tally = Tally()
        if self.engine.is_short(noisy.shape[-1], sample_rate):
            rates, tallies = [sample_rate] * len(noisy), [tally] * len(noisy)
            enhanced = self.engine.short(list(noisy), rates, seeds, tallies, peak=peak)
        else:
            enhanced = [
                self.engine.whole(item, sample_rate, item_seed, tally, peak)
                for item, item_seed in zip(noisy, seeds, strict=True)
            ]
        self.nfe = tally.nfe
        warn_offset(tally.offset)
        warn_doubts(doubts(tally.limited, tally.louder))
        return form.from_float(np.stack(enhanced) if enhanced else noisy)  # type: ignore[return-value]

    def _seeds(self, seed: int | Sequence[int] | None, items: int) -> list[int]:
        """A seed for each item of a batch; see `enhance`."""
        one = self.seed if seed is None else seed
        each = [one] * items if np.ndim(one) == 0 else list(one)  # type: ignore[arg-type]
        if len(each) != items:
            raise ConfigError(f"{len(each)} seeds for a batch of {items}: give one per item, or just one")
        return [checked(int, seed=value) for value in each]

    def enhance_file(
        self,
        src: str | os.PathLike[str],
        dst: str | os.PathLike[str],
        *,
        name: str | None = None,
        raw: RawFormat | None = None,
        progress: bool | Advance = False,
        loudness: LoudnessGoal | None = None,
        track: int | None = None,
    ) -> FileResult:
        """Enhance a file of any length, from disk to disk; the target appears when all is done.

        Args:
            src: any file that libsndfile reads, or FFmpeg (`speech.audio.media`); of a video its sound.
            dst: the target, or a folder for it: one that is there, or a name that ends with a slash. Its suffix decides
                the format; channels and length are those of the source, so is the rate unless the enhancer has one,
                and coding, bit rate and tags as far as `speech.audio.writing.create_audio` keeps them. A link is
                followed; a FIFO or a device is written to when all is done.
            name: what the noise depends on beside the seed; None: the name of `src`, without its folder.
            raw: what a .raw file holds.
            progress: show a progress bar, or call this with every bit of progress, in seconds of a channel.
            loudness: LUFS that the result gets, as far as limiting peaks by 8 dB leads, few clicks and knocks by more,
                to a true peak of −1 dB of full scale; "keep": those of the source; None: what enhancing leaves
                (`speech.audio.levelled`).
            track: which sound track of a video to enhance, from 1; the others stay. None: the first, and it is said.

        Raises:
            ConfigError: an impossible loudness or track.
            DataError: the source cannot be read, the target cannot be written, or is the source.
            MissingPackageError: the source, the target or the loudness needs the extra "media".
            SamplingError: a result that cannot be right: this sampler fails. Nothing is written.
        """
        result = enhance_file(
            self.engine,
            Path(src),
            target_of(Path(src), dst),
            name,
            raw,
            progress,
            checked_goal(loudness),
            checked(Count | None, track=track),
        )
        self.nfe = result.nfe
        return result

    def enhance_dir(
        self,
        src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        dst: str | os.PathLike[str],
        *,
        existing: Existing = "skip",
        workers: int | None = None,
        raw: RawFormat | None = None,
        progress: bool = True,
        loudness: LoudnessGoal | None = None,
        track: int | None = None,
        report: FolderReport | None = None,
    ) -> FolderReport:
        """Enhance the audio files of a folder, and of the folders in it, into the same tree elsewhere; or several files
        into a folder.

        Targets keep the sources' names, suffixes included, so that `a.wav` and `a.flac` do not meet; those of formats
        that are read and not written get .wav behind it (`a.amr.wav`). A file whose target is that of one before it,
        case aside, is not enhanced. The noise of a file depends on its name in the folder and on the enhancer's seed:
        results are those of `enhance_file` with that name.

        Args:
            src: the folder; files whose suffix is in `speech.audio.coding.AUDIO_SUFFIXES` are taken, with the extra
                "media" those in `FOREIGN_SUFFIXES` there too, unless they are hidden. Or files, each of which counts
                as one of its name in a folder.
            dst: the folder for the results, made if need be; it may lie in `src`, and is then not searched.
            existing: what to do about targets that are there already.
            workers: batches at a time. None: one per CPU thread of torch on a CPU, where each then runs on its share of
                the threads; elsewhere 2, so that files are read and written while the device computes.
            raw: what .raw files hold.
            progress: show a progress bar.
            loudness, track: see `enhance_file`.
            report: an empty one that is filled and returned: of a run that is stopped (Ctrl-C) it tells what was done.

        Returns:
            What became of each file. A file that fails does not keep the others from being enhanced.

        Raises:
            DataError: `src` is no folder, holds no audio, or is `dst`, which may not be an empty text; or two of the
                files would have one result.
            ConfigError: no workers, an unknown `existing`, or an impossible loudness or track.
        """
        refuse_unnamed(dst)
        goal, track = checked_goal(loudness), checked(Count | None, track=track)
        place = Path(src) if isinstance(src, str | os.PathLike) else [Path(path) for path in src]
        report = enhance_dir(self.engine, place, Path(dst), existing, workers, raw, progress, goal, track, report)
        self.nfe = report.nfe
        return report

    def stream(
        self,
        sample_rate: int,
        *,
        channels: int = 1,
        peak: float = 1.0,
        seed: int | None = None,
        runtime: Runtime = "auto",
    ) -> Stream:
        """Enhance a signal while it comes, with a causal model; see `speech.inference.streaming.Stream`.

        Raises:
            ConfigError: an enhancer with a `rate`, `keep_music` or quality "best"; see also `Stream`.
        """
        if self.quality == "best":
            raise ConfigError("quality='best' averages two networks, of which a stream runs one; leave it out")
        if self.rate is not None:
            raise ConfigError(f"rate={self.rate}: a stream keeps its rate; leave it out")
        if self.keep_music:
            raise ConfigError("keep_music=True judges ten seconds at once, which a stream does not have; leave it out")
        return Stream(self.engine, sample_rate, channels=channels, peak=peak, seed=seed, runtime=runtime)

    def export_onnx(self, path: str | os.PathLike[str]) -> Path:
        """Write the model's network as an ONNX file, where this enhancer's sampler is one call that call of it; see
        `speech.model.export.export_onnx`.

        Raises:
            ConfigError: an enhancer of quality "best"; see also there.
        """
        if self.quality == "best":
            raise ConfigError(
                "quality='best' averages two networks, of which a file holds one; leave it out, and export the "
                "companion by itself"
            )
        return export_onnx(
            self.model, path, only_call(self.model.sde, self.sampling, self.model.config.frontend.frequencies)
        )


def _check_model(model: SpeechModel) -> None:
    if isinstance(model, (str, os.PathLike)):
        raise ConfigError(f"{model!r} names a model: Enhancer.from_pretrained({os.fspath(model)!r}) loads it")
    if not isinstance(model, SpeechModel):
        raise ConfigError(f"a model of type {type(model).__name__}: give a SpeechModel, or from_pretrained a name")
    check_weights(model, ", and for less work sampling with precision='bfloat16'")
