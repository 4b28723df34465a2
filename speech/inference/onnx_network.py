"""A causal network through ONNX Runtime: one frame costs a fraction of what PyTorch's calls around it do."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any, Literal

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
        inputs = self._session.get_inputs()
        self._past = {each.name: each.shape[1:] for each in inputs if each.name.startswith("past.")}

    def initial_state(self, batch: int = 1) -> tuple[np.ndarray, ...]:
        """Silence before the first frame."""
        return tuple(np.zeros((batch, *shape), np.float32) for shape in self._past.values())

    def step(self, x_t: Tensor, y: Tensor, t: Tensor, state: Any, **span: Tensor) -> tuple[Tensor, Any]:
        """See `LightBackbone.step`."""
        given = {"noisy": _pairs(y)}
        if self.only_time is None:
            given |= {"state": _pairs(x_t), "time": t.float().cpu().numpy()}
        estimate, *future = self._session.run(None, {**given, **dict(zip(self._past, state, strict=True))})
        return torch.view_as_complex(torch.from_numpy(estimate))[:, None].to(y.device), tuple(future)


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
