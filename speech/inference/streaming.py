"""Enhancing a signal while it comes: a causal model, frame by frame, with the result of the whole at once."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from shared.checks import Count, Duration, checked
from shared.errors import ConfigError, DataError, counted
from shared.random import PlacedGenerator
from speech.audio.arrays import Form, Waveform, finite, warn_doubts, warn_replaced, whole_rate
from speech.audio.resampling import fit_length
from speech.audio.short_resampler import ShortResampler
from speech.audio.silences import GoingOn
from speech.inference import advice
from speech.inference.engine import Engine
from speech.inference.held_level import HeldLevel
from speech.inference.longform import Held
from speech.inference.onnx_network import OnnxNetwork, Runtime, streaming_network
from speech.inference.plausible import Plausible, doubts
from speech.inference.sampling import finished, looks_at_the_whole, only_call, sample_spectrogram, sounding
from speech.inference.stream_frames import Analysis, Synthesis
from speech.model.model import SpeechModel


@runtime_checkable
class CausalBackbone(Protocol):
    """A network that can be run piece by piece along time."""

    def initial_state(self, batch: int = 1) -> Any:
        """What it remembers before the first frame."""

    def step(self, x_t: Tensor, y: Tensor, t: Tensor, state: Any, **span: Tensor) -> tuple[Tensor, Any]:
        """The whole's result on the next frames, and the state after them; of a flow map with a `span`."""


class Stream:
    """Enhances a signal that comes in blocks of any size; made by `Enhancer.stream`.

    At the model's rate, the blocks' results joined are what `Enhancer.enhance` makes of the whole signal with the same
    `peak`, but for where windows of a long one meet (53 to 81 dB below the result); at other rates filters of a few
    milliseconds resample (`ShortResampler`). What is above the model's band is kept or left out as the enhancer says.
    Every sample comes out at most `latency` seconds after it, computation aside.
    The level is not known, since the loudest part may be yet to come: `peak` says it. A model that does not normalise
    may raise what is quiet as it comes (`SamplingConfig.least_level`), in files alike.

    Args:
        engine: its model must be causal; sampler, steps, seed, draws, mix and upper band are its.
        sample_rate: of the signal, in Hz.
        channels: of the signal.
        peak: level that the signal's peaks reach, which the network sees as 1; full scale is 1. Of no effect for a
            model whose front end does not normalise.
        seed: of the noise; None means the engine's.
        runtime: what runs the network, "auto", "torch" or "onnx"; see `speech.inference.onnx_network.Runtime`.

    Raises:
        ConfigError: the model looks ahead, the sampler's steps depend on the whole signal, or an impossible value.
        MissingPackageError: what `runtime` asks for is not installed.
    """

    def __init__(
        self,
        engine: Engine,
        sample_rate: int,
        *,
        channels: int = 1,
        peak: float = 1.0,
        seed: int | None = None,
        runtime: Runtime = "auto",
    ):
        sample_rate = whole_rate(sample_rate)
        channels, peak = checked(Count, channels=channels), checked(Duration, peak=peak)
        seed = checked(int | None, seed=seed)
        self._engine, self.sample_rate, self.channels = engine, sample_rate, channels
        seen = peak if engine.normalises else 1.0
        self._core = _Core(engine, channels, seen, engine.seed if seed is None else seed, runtime)
        self._blend = engine.blend(sample_rate, channels, streamed=True)
        self._in = ShortResampler(sample_rate, engine.sample_rate, channels)
        self._out = ShortResampler(engine.sample_rate, sample_rate, self._blend.signals)
        self._pushed = self._emitted = 0
        self._flushed = self._told = self._told_replaced = False
        self._form = Form((channels, 0), torch.float32, None)
        self.latency = self._latency()
        engine.warn_upper_band(sample_rate, stacklevel=5)
        if engine.sampling.keep_band:
            advice.warn(
                "keep_band: without effect on a stream, which does not know where the recording's band will end; all "
                "of the band is the model's",
                stacklevel=4,
            )
        given = {"seed": seed is not None, "peak": peak != 1}
        if any(given.values()):
            engine.warn_without_effect(given, stacklevel=5)

    @property
    def runtime(self) -> Literal["torch", "onnx"]:
        """What runs the network."""
        return self._core.runtime

    @property
    def nfe(self) -> int:
        """Network calls that every sample goes through, all draws together."""
        return self._core.nfe

    def push(self, block: Waveform) -> Waveform:
        """Take the next samples, and return those that are ready.

        Args:
            block: (samples,) or (channels, samples), as `Enhancer.enhance` takes them; of any number of samples. Those
                that are not finite are taken for 0, which the first such block of a stream says (`AudioWarning`).

        Returns:
            As many samples as are ready, none at first; same kind and dtype, and channels if the block has them.

        Raises:
            DataError: not a waveform, or of other channels.
            ConfigError: after `flush`.
            SamplingError: a result that cannot be right: this sampler fails.
        """
        form: Form = Form.of(block, self.channels)
        signal = form.to_float(block)
        if signal.shape[:2] != (1, self.channels):
            raise DataError(
                f"a block of shape {tuple(block.shape)} for a stream of {counted(self.channels, 'channel')}: need "
                "(channels, samples)"
            )
        self._form = form
        good, replaced = finite(signal[0])
        if replaced and not self._told_replaced:
            self._told_replaced = True
            warn_replaced(replaced, "a block")
        return self._returned(self._advance(good, last=False))  # type: ignore[return-value]

    def flush(self) -> np.ndarray | Tensor:
        """End the signal: the samples that are left; with them, as many came out as went in.

        Returns:
            An array of the shape, kind and dtype of what the latest `push` returned; float32 (channels, 0) if there was
            none.

        Raises:
            ConfigError: after `flush`.
            SamplingError: as `push`.
        """
        return self._returned(self._advance(np.zeros((self.channels, 0), np.float32), last=True))

    def _returned(self, ready: np.ndarray) -> np.ndarray | Tensor:
        """What is ready (channels, samples), as an array like those that are pushed."""
        return self._form.of_samples(ready.shape[1]).from_float(ready)

    def _advance(self, noisy: np.ndarray, last: bool) -> np.ndarray:
        if self._flushed:
            raise ConfigError("this stream was flushed; make another for another signal")
        self._flushed = last
        self._pushed += noisy.shape[1]
        at_rate = self._blend.hear_low(self._in.push(self._blend.hear(noisy), last))
        back = self._out.push(self._blend.stacked(self._core.push(at_rate, last)), last)
        wanted = self._pushed - self._emitted
        back = fit_length(back, wanted) if last else back[:, :wanted]
        self._emitted += back.shape[1]
        self._tell_doubts()
        return self._blend.result(back, last)

    def _tell_doubts(self) -> None:
        """Say once that results are too loud."""
        checks = self._core.checks
        limited, louder = sum(check.limited for check in checks), max(check.louder for check in checks)
        if not self._told and (said := doubts(limited, louder)) is not None:
            self._told = True
            warn_doubts(said)

    def _latency(self) -> float:
        """How long after it a sample comes out at the latest, in seconds: a window of the spectrogram, and where the
        rates differ the reach of both filters, a sample of either grid, and a frame of the upper band."""
        rate = self._engine.sample_rate
        window = self._engine.model.config.frontend.n_fft / rate
        if rate == self.sample_rate:
            return window
        upper = self._blend.delay / self.sample_rate
        return window + upper + self._in.delay + self._out.delay + 1 / rate + 1 / self.sample_rate


class _Core:
    """The model at its own rate: spectrogram, sampler and back, each going on where it was."""

    def __init__(self, engine: Engine, channels: int, peak: float, seed: int, runtime: Runtime):
        model, sampling = engine.model, engine.sampling
        if looks_at_the_whole(sampling):
            raise ConfigError(
                f"sampler {sampling.sampler!r} chooses its steps by the whole signal; "
                "for a stream take another, such as sde1 or ode2"
            )
        one_call = sampling.precision == "float32"
        self._only_time = only_call(model.sde, sampling, model.config.frontend.frequencies) if one_call else None
        self._model, self._network = _streaming_model(model, sampling.precision, self._only_time, runtime)
        self._sampling, self._draws, self._device = sampling, engine.runner.draws, model.device
        self.checks = [Plausible(sampling, engine.sample_rate) for _ in range(channels)]
        self.runtime: Literal["torch", "onnx"] = "onnx" if isinstance(self._network.network, OnnxNetwork) else "torch"
        self._channels, self._peak, self._seed = channels, peak, seed
        self._analysis = Analysis(model.frontend, channels)
        self._synthesis = Synthesis(model.frontend, channels)
        self._frames, self._heard = 0, [0] * channels
        least, self._frontend = sampling.least_level, model.frontend
        self._held = None if least is None else HeldLevel(model.config.frontend, least, channels)
        self._going_on, self._sounds = GoingOn(engine.sample_rate, channels), Held(channels)
        self.nfe = 0

    @torch.inference_mode()
    def push(self, block: np.ndarray, last: bool) -> np.ndarray:
        """The samples (channels, n) that are ready after these."""
        if self._held is not None:
            self._held.push(np.divide(block, np.float32(self._peak), dtype=np.float32))
        bridged, silent = self._going_on.push(block)
        self._sounds.add(np.float32(1) - silent)
        seen = np.divide(bridged, np.float32(self._peak), dtype=np.float32)
        spectrogram, enhanced = self._analysis.push(seen, last), None
        if spectrogram is not None:
            enhanced = self._raised(spectrogram.to(self._device))
        wave = self._synthesis.push(enhanced, self._analysis.samples if last else None)
        wave *= np.float32(self._peak * self._sampling.amplification)
        wave = np.where(self._sounds.take(wave.shape[1]) > 0, wave, np.float32(0))
        return np.stack([check.checked(*row) for check, *row in zip(self.checks, block, wave, strict=True)])

    def _raised(self, noisy: Tensor) -> Tensor:
        """`_sample` of frames that are raised to the level which the network knows, and lowered again."""
        if self._held is None:
            return self._sample(noisy)
        known = self._held.gains(self._frames, noisy.shape[-1])
        if (known == 1).all():
            return self._sample(noisy)
        gains = torch.from_numpy(known).to(noisy.device)
        estimate = self._sample(self._frontend.amplified(noisy, gains))
        return self._frontend.amplified(estimate, 1 / gains.repeat(self._draws, 1))

    def _sample(self, noisy: Tensor) -> Tensor:
        """Enhanced frames of noisy ones (channels, 1, frequencies, frames)."""
        self._network.rewind()
        y = noisy if self._draws == 1 else noisy.repeat(self._draws, 1, 1, 1)
        start, heard = self._frames, self._heard * self._draws
        self._frames += noisy.shape[-1]
        if min(self._heard) < self._sampling.fade_in:
            self._heard = [sum(pair) for pair in zip(self._heard, sounding(noisy).sum(-1).tolist(), strict=True)]
        if self._only_time is not None:
            self.nfe = self._draws
            estimate = self._model.denoise(y, y, torch.full((len(y),), self._only_time, device=y.device))
            return finished(estimate, y, self._sampling, heard)
        generators = [
            PlacedGenerator("speech", self._seed, draw, start=start)
            for draw in range(self._draws)
            for _ in range(self._channels)
        ]
        result = sample_spectrogram(self._model, y, self._sampling, generators, heard=heard)
        self.nfe = result.nfe * self._draws
        return result.x


class _PiecewiseNetwork(nn.Module):
    """A causal network that goes on where it was; each of a sampler's calls has a state of its own."""

    frame_multiple = 1

    def __init__(self, network: CausalBackbone):
        super().__init__()
        self.network = network
        self._states: list[Any] = []
        self._call = 0

    def rewind(self) -> None:
        """The next call is the sampler's first, on the next piece."""
        self._call = 0

    @property
    def takes_span(self) -> bool:
        """Whether it is a flow map's."""
        return bool(getattr(self.network, "takes_span", False))

    def forward(self, x_t: Tensor, y: Tensor, t: Tensor, **span: Tensor) -> Tensor:
        """The network's output on the next piece."""
        if self._call == len(self._states):
            self._states.append(self.network.initial_state(len(x_t)))
        output, self._states[self._call] = self.network.step(x_t, y, t, self._states[self._call], **span)
        self._call += 1
        return output


def _streaming_model(
    model: SpeechModel, precision: str, only_time: float | None, runtime: Runtime
) -> tuple[SpeechModel, _PiecewiseNetwork]:
    """The model with its network run piece by piece; they share the weights."""
    network = model.backbone
    if not isinstance(network, CausalBackbone) or not getattr(model.config.backbone, "causal", False):
        raise ConfigError(
            f"the model's {model.config.backbone.kind!r} network looks ahead and cannot enhance a stream; take the "
            "bundled model 'causal', or one that was trained with LightConfig(causal=True)"
        )
    if model.frame_multiple != 1:
        raise ConfigError(f"the network needs a multiple of {model.frame_multiple} frames; a stream needs any number")
    piecewise = _PiecewiseNetwork(streaming_network(model, precision, only_time, runtime))
    return SpeechModel(model.config, piecewise).to(model.device).eval(), piecewise
