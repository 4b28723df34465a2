"""Networks as ONNX files, for runtimes without PyTorch; what a causal one remembers goes in and comes out.

The file holds a network, not a sampler or a front end. Where a sampler is one call about the noisy spectrogram itself,
as that of the bundled models, the export can be of that call: noisy spectrograms go in, and enhanced ones come out.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from shared.errors import CheckpointError, ConfigError
from shared.files.onnx import write_onnx
from speech.model.backbones.light import LightBackbone
from speech.model.backbones.light_frames import LightFrames
from speech.model.model import SpeechModel

EXPORTED = "network.onnx"
"""The name of an export beside a model's weights, which streams find there."""

_FRAMES = 3  # of the examples that the exporter follows; any other number will do afterwards


@runtime_checkable
class RealValued(Protocol):
    """A network that can be run on real and imaginary parts."""

    def estimate_pairs(
        self, x_t: Tensor, y: Tensor, t: Tensor, past: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `LightBackbone.estimate_pairs`."""


class _Exported(nn.Module):
    """The network with tensors alone as arguments and results."""

    def __init__(self, network: RealValued, causal: bool, time: float | None):
        super().__init__()
        self.network, self._causal = network, causal
        self.time = None if time is None else nn.Buffer(torch.tensor([time]), persistent=False)

    def forward(self, y: Tensor, past: list[Tensor], *state: Tensor) -> tuple[Tensor, ...]:
        x_t, t = (y, self.time) if self.time is not None else state
        estimate, future = self.network.estimate_pairs(x_t, y, t, tuple(past) if self._causal else None)
        return estimate, *future


def export_onnx(model: SpeechModel, path: str | os.PathLike[str], time: float | None = None) -> Path:
    """Write a model's network as an ONNX file.

    Inputs: `noisy` (batch, frequencies, frames, 2), real and imaginary parts of compressed spectrograms; of a causal
    network `past.0`, `past.1`, …, zeros before the first frame; and `state`, shaped like `noisy`, and its `time`
    (batch,), unless that is fixed. Outputs: `estimate`, shaped like `noisy`, what the network gives; and `future.0`, …
    to be given as the past of the next frames. Any batch and number of frames will do. Its metadata hold the model's
    configuration (`config`, JSON), the fixed `time`, and `weights`, a digest.

    A causal network at a fixed time is one of a single frame of a single sound, which costs the least: `noisy`
    (frequencies, 2) goes in, `estimate` comes out, and of each layer along time `frame.0`, `frame.1`, …, what it saw,
    (bands, channels). It sees that again as `near.0`, … after so many frames as the metadata's `reaches` (JSON) say,
    and as `far.0`, … after twice as many; before the first frame they are zeros.

    Args:
        model: of a light network.
        path: the file; .onnx is added where it has no suffix.
        time: fix it to this, and let the state be the noisy spectrogram: what a sampler of one call asks
            (`speech.inference.sampling.only_call`), at less cost.

    Returns:
        The file's path. In the model's own folder it refers to the weights there, and needs them beside it.

    Raises:
        ConfigError: a network that uses complex numbers inside, or a flow map's.
        DataError: the path is that of a folder.
        MissingPackageError: onnx or onnxscript is not installed.
    """
    network = model.backbone
    kind = getattr(model.config.backbone, "kind", type(network).__name__)
    if not isinstance(network, RealValued) or getattr(network, "takes_span", False):
        what = "is a flow map's" if isinstance(network, RealValued) else "uses complex numbers inside"
        raise ConfigError(f"the model's {kind!r} network {what} and cannot be exported; those of LightConfig can")
    causal = bool(getattr(model.config.backbone, "causal", False))
    stated = {"config": json.dumps(asdict(model.config)), "weights": digest(model)}
    if time is not None:
        stated["time"] = repr(time)
        if causal and isinstance(network, LightBackbone):
            return _export_frames(LightFrames(network, time), model, path, stated)
    past = list(network.initial_state(2)) if causal else []  # type: ignore[attr-defined]
    shape = (2, model.config.frontend.frequencies, _FRAMES, 2)
    state = () if time is not None else (torch.ones(shape), torch.ones(2))
    free = torch.export.Dim.DYNAMIC
    shapes: tuple[Any, ...] = ({0: free, 2: free}, [{0: free} for _ in past])
    if state:
        shapes = (*shapes, ({0: free, 2: free}, {0: free}))
    names = [f"past.{place}" for place in range(len(past))]
    return write_onnx(
        _Exported(network, causal, time),
        (torch.ones(shape), past, *state),
        path,
        inputs=["noisy", *names, *("state", "time")[: len(state)]],
        outputs=["estimate", *(name.replace("past", "future") for name in names)],
        dynamic_shapes=shapes,
        stated=stated,
        weights=_weights(model),
    )


def _export_frames(
    network: LightFrames, model: SpeechModel, path: str | os.PathLike[str], stated: dict[str, str]
) -> Path:
    numbers = range(len(network.reaches))
    return write_onnx(
        network,
        (torch.ones(model.config.frontend.frequencies, 2), network.silence(), network.silence()),
        path,
        inputs=["noisy", *(f"{which}.{place}" for which in ("far", "near") for place in numbers)],
        outputs=["estimate", *(f"frame.{place}" for place in numbers)],
        dynamic_shapes=None,
        stated={**stated, "reaches": json.dumps(network.reaches)},
        weights=_weights(model),
    )


def _weights(model: SpeechModel) -> Path | None:
    return None if model.folder is None else model.folder / "model.safetensors"


def digest(model: SpeechModel) -> str:
    """A digest of the network's weights and settings, by which a file and a model are known to belong together."""
    backbone = model.config.backbone
    # Settings that differ from their defaults: a field that a later release adds, or moves, makes no other network.
    told = {
        field.name: value for field in fields(backbone) if (value := getattr(backbone, field.name)) != field.default
    }
    found = hashlib.sha256(json.dumps([type(backbone).__name__, told], sort_keys=True).encode())
    for name, tensor in sorted(model.backbone.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def export_of(model: SpeechModel) -> Path | None:
    """The export beside the model's weights, if there is one."""
    path = None if model.folder is None else model.folder / EXPORTED
    return path if path is not None and path.is_file() else None


def refuse_other(stated: str | None, model: SpeechModel, path: Path) -> None:
    """Refuse an export of other weights.

    Raises:
        CheckpointError: the digest that it states is not the model's.
    """
    if stated != digest(model):
        raise CheckpointError(
            f"{path} was not exported from these weights; export them again (speech export), or remove it"
        )
