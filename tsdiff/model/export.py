"""The network of a model with an anchor as an ONNX file, for runtimes without PyTorch."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.files.onnx import write_onnx
from tsdiff.model.backbones.context import ContextNetwork
from tsdiff.model.model import TSDiff
from tsdiff.model.network import Network
from tsdiff.windows.anchored import ABOUT_WIDTH
from tsdiff.windows.config import ANY_FREQ

_WINDOWS, _DRAWS = 2, 3  # of the examples that the exporter follows; any other number will do afterwards


class _Exported(nn.Module):
    """The network with tensors alone as arguments and results, for windows whose last steps are wanted."""

    def __init__(self, network: ContextNetwork, length: int, steps: int):
        super().__init__()
        self.network = network
        first = (length - steps) // network.patch
        self.seen = nn.Buffer(torch.arange((length - steps - 1) // network.patch + 1), persistent=False)
        self.drawn = nn.Buffer(torch.arange(first, network.tokens), persistent=False)

    def forward(
        self, state: Tensor, log_snr: Tensor, known: Tensor, about: Tensor, span: Tensor | None = None
    ) -> Tensor:
        memory = self.network.read_patches(known, about, self.seen, self.drawn)
        memory = memory._replace(draws=state.shape[1])
        return self.network.decode(state.flatten(0, 1), log_snr, memory, span).unflatten(0, state.shape[:2])


def export_onnx(model: TSDiff, path: str | os.PathLike[str]) -> Path:
    """Write the network of a model with scaling "anchor" as an ONNX file, for forecasts of its prediction length.

    Inputs: `state` (windows, draws, length, channels), noisy windows in the network's units; `log_snr` (1,), log(α/σ);
    `known` (windows, length, features) and `about` (windows, numbers), what is told of the windows:
    `model.denoiser.network.inputs(…)` and `Windows.inputs["about"]`; of a flow map, `span` (1,), how far the step
    leads, t − r. Output: `estimate`, shaped like the state, what the network gives, 0 before the wanted steps; which
    quantity that is, and the process, `config` in the file's metadata tells (JSON). Any number of windows and draws
    will do.

    Args:
        model: whose backbone is a `ContextConfig`; of all frequencies, `predictor.adapted(freq, steps).model`.
        path: the file; .onnx is added where it has no suffix.

    Returns:
        The file's path.

    Raises:
        ConfigError: another backbone, or a model of all frequencies that is not adapted to one.
        DataError: the path is that of a folder.
        MissingPackageError: onnx or onnxscript is not installed.
    """
    config, outer = model.config, model.denoiser.network
    network = outer.backbone if isinstance(outer, Network) else outer
    if not isinstance(outer, Network) or not isinstance(network, ContextNetwork):
        kind = getattr(config.backbone, "kind", type(network).__name__)
        raise ConfigError(f"the model's {kind!r} network cannot be exported; those of ContextConfig can")
    if config.freq == ANY_FREQ:
        raise ConfigError("freq='any': give a model of one frequency and horizon, predictor.adapted(freq, steps).model")
    shape = (_WINDOWS, _DRAWS, config.length, config.channels)
    told = torch.zeros(_WINDOWS, config.length, outer.inputs.width)
    free = torch.export.Dim.DYNAMIC
    span = (torch.zeros(1),) if network.takes_span else ()
    return write_onnx(
        _Exported(network, config.length, config.prediction_length),
        (torch.ones(shape), torch.zeros(1), told, torch.zeros(_WINDOWS, ABOUT_WIDTH), *span),
        path,
        inputs=["state", "log_snr", "known", "about", "span"][: 4 + len(span)],
        outputs=["estimate"],
        dynamic_shapes=({0: free, 1: free}, None, {0: free}, {0: free}, None)[: 4 + len(span)],
        stated={"config": json.dumps(asdict(config))},
    )
