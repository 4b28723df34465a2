"""Networks as ONNX files, for runtimes without PyTorch; what a causal one remembers goes in and comes out.

The file holds a network, not a sampler or a front end. Where a sampler is one call about the noisy spectrogram itself,
as that of the bundled models, the export can be of that call: noisy spectrograms go in, and enhanced ones come out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from shared.errors import CheckpointError, ConfigError
from shared.files.io import atomic_path
from shared.optional import needed
from speech.model.model import SpeechModel

EXPORTED = "network.onnx"
"""The name of an export beside a model's weights, which streams find there."""

_OPSET = 18
_WORTH_SHARING = 4096
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

    Args:
        model: of a light network.
        path: the file; .onnx is added where it has no suffix.
        time: fix it to this, and let the state be the noisy spectrogram: what a sampler of one call asks
            (`speech.inference.sampling.only_call`), at less cost.

    Returns:
        The file's path. In the model's own folder it refers to the weights there, and needs them beside it.

    Raises:
        ConfigError: a network that uses complex numbers inside, or a flow map's.
        MissingPackageError: onnx or onnxscript is not installed.
    """
    for module in ("onnx", "onnxscript"):
        needed(module, "onnx", "an export to ONNX")
    network = model.backbone
    kind = getattr(model.config.backbone, "kind", type(network).__name__)
    if not isinstance(network, RealValued) or getattr(network, "takes_span", False):
        what = "is a flow map's" if isinstance(network, RealValued) else "uses complex numbers inside"
        raise ConfigError(f"the model's {kind!r} network {what} and cannot be exported; those of LightConfig can")
    causal = bool(getattr(model.config.backbone, "causal", False))
    past = list(network.initial_state(2)) if causal else []  # type: ignore[attr-defined]
    shape = (2, model.config.frontend.frequencies, _FRAMES, 2)
    state = () if time is not None else (torch.ones(shape), torch.ones(2))
    free = torch.export.Dim.DYNAMIC
    shapes: tuple[Any, ...] = ({0: free, 2: free}, [{0: free} for _ in past])
    if state:
        shapes = (*shapes, ({0: free, 2: free}, {0: free}))
    names = [f"past.{place}" for place in range(len(past))]
    wrapped = _Exported(network, causal, time).eval()
    with warnings.catch_warnings(), _silent("torch.onnx"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            wrapped,
            (torch.ones(shape), past, *state),
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            input_names=["noisy", *names, *("state", "time")[: len(state)]],
            output_names=["estimate", *(name.replace("past", "future") for name in names)],
            dynamic_shapes=shapes,
        )
    assert program is not None
    for node in program.model.graph:  # where each was traced, with the paths of this machine
        node.metadata_props.clear()
    program.model.metadata_props["config"] = json.dumps(asdict(model.config))
    program.model.metadata_props["weights"] = digest(model)
    if time is not None:
        program.model.metadata_props["time"] = repr(time)
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".onnx")
    with atomic_path(path) as temporary:
        program.save(str(temporary))
        if model.folder is not None and path.parent.resolve() == model.folder.resolve():
            _share(temporary, model.folder / "model.safetensors")
    return path


def _share(export: Path, weights: Path) -> None:
    """Let an export read from the weights beside it what it has in common with them, instead of holding it again."""
    import onnx

    stored = weights.read_bytes()
    begin = 8 + int.from_bytes(stored[:8], "little")
    named = json.loads(stored[8:begin])
    places = [[begin + place for place in about["data_offsets"]] for name, about in named.items() if name[0] != "_"]
    known = {stored[first:end]: first for first, end in places if end - first >= _WORTH_SHARING}
    graph = onnx.load(export)
    for tensor in graph.graph.initializer:
        if (first := known.get(tensor.raw_data)) is not None:
            onnx.external_data_helper.set_external_data(tensor, weights.name, first, len(tensor.raw_data))
            tensor.ClearField("raw_data")
    export.write_bytes(graph.SerializeToString())


def digest(model: SpeechModel) -> str:
    """A digest of the network's weights and settings, by which a file and a model are known to belong together."""
    found = hashlib.sha256(repr(model.config.backbone).encode())
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


class _silent:
    """What a library logs is left out."""

    def __init__(self, name: str):
        self._logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        self._logger.setLevel(self._level)
