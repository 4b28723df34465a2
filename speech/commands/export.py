"""`speech export`: a model's network as an ONNX file."""

from __future__ import annotations

from pathlib import Path

from shared.console.command import show, status
from shared.errors import ConfigError
from speech.commands.options import Export
from speech.enhancer import Enhancer
from speech.inference.plan import refuse_unnamed
from speech.loading import load_model
from speech.model.export import EXPORTED


def main(options: Export) -> None:
    """Export a model."""
    model = load_model(options.model)
    target: str | Path | None = options.target
    if target is None:
        if model.folder is None:
            raise ConfigError(f"{options.model} is no folder that an export could lie in; name the file, OUT.onnx")
        target = model.folder / EXPORTED
    refuse_unnamed(target)
    with status("exporting"):
        path = Enhancer(model).export_onnx(target)
    show(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
