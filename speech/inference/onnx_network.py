"""A causal network through ONNX Runtime: one frame costs a fraction of what PyTorch's calls around it do."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from torch import Tensor

from shared.errors import CheckpointError, ConfigError
from shared.optional import is_there, needed
from speech.model.export import EXPORTED, export_of, export_onnx, refuse_other
from speech.model.model import SpeechModel

Runtime = Literal["auto", "torch", "onnx"]
"""What runs a stream's network: "onnx" is ONNX Runtime; "auto" takes it where it is installed and an export lies beside
the model's weights (as for the bundled model), else PyTorch."""


class OnnxNetwork:
    """A `CausalBackbone` from a file of `speech.model.export.export_onnx`, on one thread of the CPU.

    What it remembers is changed in place, so that a state is one signal's and goes on from its last frame alone.

    Args:
        path: the file.
        model: whose weights it must have.

    Attributes:
        only_time: of the only call that it makes, about the noisy spectrogram itself; None: it makes any.

    Raises:
        CheckpointError: it cannot be read, or is of another model.
        MissingPackageError: ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, model: SpeechModel):
        ort = needed("onnxruntime", "onnx", "a stream through ONNX Runtime")
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1  # a frame is too little to share
        settings.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # of many kinds, of onnxruntime's own
            raise CheckpointError(f"{path} cannot be read by ONNX Runtime ({error}); export the model again") from error
        stated = self._session.get_modelmeta().custom_metadata_map
        refuse_other(stated.get("weights"), model, path)
        self.only_time = float(stated["time"]) if "time" in stated else None
        shapes = {each.name: each.shape for each in self._session.get_inputs()}
        self._past = {name: shape[1:] for name, shape in shapes.items() if name.startswith("past.")}
        self._seen = [shape for name, shape in shapes.items() if name.startswith("near.")]
        self._reaches: list[int] | None = json.loads(stated["reaches"]) if "reaches" in stated else None

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        """This one: it keeps nothing of a signal, and its session cannot be copied."""
        return self

    def __reduce__(self) -> NoReturn:
        raise ConfigError("ONNX Runtime's sessions cannot be pickled; runtime='torch' makes a stream that can be")

    def initial_state(self, batch: int = 1) -> Any:
        """Silence before the first frame."""
        if self._reaches is not None:
            return [_Seen(self._seen, self._reaches) for _ in range(batch)]
        return tuple(np.zeros((batch, *shape), np.float32) for shape in self._past.values())

    def step(self, x_t: Tensor, y: Tensor, t: Tensor, state: Any, **span: Tensor) -> tuple[Tensor, Any]:
        """See `LightBackbone.step`."""
        if self._reaches is not None:
            estimates = np.stack([self._frames(*one) for one in zip(_pairs(y), state, strict=True)])
            return torch.view_as_complex(torch.from_numpy(estimates))[:, None].to(y.device), state
        given = {"noisy": _pairs(y)}
        if self.only_time is None:
            given |= {"state": _pairs(x_t), "time": t.float().cpu().numpy()}
        estimate, *future = self._session.run(None, {**given, **dict(zip(self._past, state, strict=True))})
        return torch.view_as_complex(torch.from_numpy(estimate))[:, None].to(y.device), tuple(future)

    def _frames(self, noisy: np.ndarray, seen: _Seen) -> np.ndarray:
        """Estimates of one signal's next frames (frequencies, frames, 2)."""
        found = []
        for place in range(noisy.shape[1]):
            estimate, *now = self._session.run(None, {"noisy": noisy[:, place], **seen.again()})
            seen.note(now)
            found.append(estimate)
        return np.stack(found, axis=1)


class _Seen:
    """What each layer of a network saw of one signal in the last frames, twice as many as it reaches back.

    Args:
        shapes: of what a layer sees of a frame.
        reaches: of the layers.
    """

    def __init__(self, shapes: Sequence[Sequence[int]], reaches: Sequence[int]):
        self._kept = [np.zeros((2 * reach, *shape), np.float32) for shape, reach in zip(shapes, reaches, strict=True)]
        self._names = [(f"far.{place}", f"near.{place}") for place in range(len(reaches))]
        self._count = 0

    def again(self) -> dict[str, np.ndarray]:
        """What the layers are to see again with the next frame."""
        given = {}
        for (far, near), kept in zip(self._names, self._kept, strict=True):
            given[far] = kept[self._count % len(kept)]
            given[near] = kept[(self._count + len(kept) // 2) % len(kept)]
        return given

    def note(self, now: Sequence[np.ndarray]) -> None:
        """What they saw of that frame, in place of the oldest."""
        for kept, seen in zip(self._kept, now, strict=True):
            kept[self._count % len(kept)] = seen
        self._count += 1


def _pairs(spectrogram: Tensor) -> np.ndarray:
    """(batch, 1, frequencies, frames) → (batch, frequencies, frames, 2), float32."""
    return torch.view_as_real(spectrogram[:, 0].contiguous()).float().cpu().numpy()


def streaming_network(model: SpeechModel, precision: str, only_time: float | None, runtime: Runtime) -> Any:
    """What runs a stream's network, a `CausalBackbone`: the model's own, or its export.

    Args:
        model: of a causal network.
        precision: of the sampling.
        only_time: see `speech.inference.sampling.only_call`.
        runtime: which one.

    Raises:
        ConfigError: an unknown runtime, or ONNX Runtime for another precision than float32.
        CheckpointError: the export beside the weights is of others, or damaged.
        MissingPackageError: "onnx" without ONNX Runtime; or without an export, and nothing to make one with.
    """
    if runtime not in ("auto", "torch", "onnx"):
        raise ConfigError(f"runtime={runtime!r}: choose auto, torch or onnx (ONNX Runtime)")
    if runtime == "onnx":
        if precision != "float32":
            raise ConfigError(f"runtime='onnx' with precision={precision!r}: an export computes in float32; take torch")
        needed("onnxruntime", "onnx", "a stream through ONNX Runtime")
        return _beside(model, only_time) or _exported_now(model, only_time)
    if runtime == "auto" and precision == "float32" and model.device.type == "cpu" and is_there("onnxruntime"):
        with contextlib.suppress(CheckpointError):  # trained on since, say: the weights are what counts
            return _beside(model, only_time) or model.backbone
    return model.backbone


def _beside(model: SpeechModel, only_time: float | None) -> OnnxNetwork | None:
    """The export beside the weights, if there is one that makes the calls that are asked for."""
    path = export_of(model)
    network = None if path is None else OnnxNetwork(path, model)
    return network if network is not None and network.only_time in (None, only_time) else None


def _exported_now(model: SpeechModel, only_time: float | None) -> OnnxNetwork:
    with tempfile.TemporaryDirectory() as folder:
        return OnnxNetwork(export_onnx(model, Path(folder) / EXPORTED, only_time), model)
