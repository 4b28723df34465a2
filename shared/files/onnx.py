"""Networks as ONNX files, for runtimes without PyTorch."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared.errors import DataError
from shared.files.io import atomic_path
from shared.optional import needed

_OPSET = 18
_WORTH_SHARING = 4096
"""Bytes of a weight from which on an export refers to it."""


def write_onnx(
    network: nn.Module,
    examples: tuple[Any, ...],
    path: str | os.PathLike[str],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: tuple[Any, ...] | None,
    stated: Mapping[str, str],
    weights: Path | None = None,
) -> Path:
    """Write a network as an ONNX file; it appears when it is whole.

    Args:
        network: takes and gives tensors, or lists of them.
        examples: what it takes, to be followed once.
        path: the file; .onnx is added where it has no suffix.
        inputs, outputs: names, in their order.
        dynamic_shapes: as of `torch.onnx.export`; None: those of the examples.
        stated: texts that go into the file's metadata.
        weights: a safetensors file that holds them; an export in its folder refers to it instead of holding them again.

    Returns:
        The file's path.

    Raises:
        DataError: the path is that of a folder, or ends with a slash as one.
        MissingPackageError: onnx or onnxscript is not installed.
    """
    as_folder, path = os.fspath(path).endswith(("/", os.sep)), Path(path)
    if as_folder or os.path.isdir(path):
        raise DataError(f"{path} is a folder; name the file in it, {path / 'network.onnx'}")
    for module in ("onnx", "onnxscript"):
        needed(module, "onnx", "an export to ONNX")
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network.eval(),
                examples,
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=dynamic_shapes,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    for node in program.model.graph:  # where each was traced, with the paths of this machine
        node.metadata_props.clear()
    program.model.metadata_props.update(stated)
    path = path if path.suffix else path.with_suffix(".onnx")
    with atomic_path(path) as temporary:
        program.save(str(temporary))
        if weights is not None and path.parent.resolve() == weights.parent.resolve():
            _share(temporary, weights)
    return path


def _share(export: Path, weights: Path) -> None:
    """Let an export read from the weights beside it what it has in common with them."""
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
