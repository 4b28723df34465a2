"""Checkpoints in the layout that the published training script writes, with weights by the recipe."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden import tsdiff_cases

SCHEDULES = "uncond_ts_diff.utils"


def published_state(
    width: int = 8,
    blocks: int = 2,
    state: int = 8,
    channels: int = 1,
    features: int = 8,
    horizon: int = 24,
    normalization: str = "mean",
    step_embedding: int = 16,
) -> dict[str, Tensor]:
    """The published module's state dict; a scaler that scales nothing has no buffers."""
    result: dict[str, Tensor] = {}
    if normalization == "mean":
        result |= {"scaler.minimum_scale": torch.tensor(1e-10), "scaler.default_scale": torch.tensor(0.0)}
    result["embedder._embedders.0.weight"] = torch.empty(1, 1)

    def put(name: str, *shape: int) -> None:
        result[f"backbone.{name}"] = torch.empty(*shape)

    def layer(name: str, inputs: int, outputs: int, *kernel: int) -> None:
        put(f"{name}.weight", outputs, inputs, *kernel)
        put(f"{name}.bias", outputs)

    layer("input_init.0", channels, width)
    layer("time_init.0", step_embedding, width)
    layer("time_init.2", width, width)
    layer("out_linear.0", width, width)
    layer("out_linear.2", width, channels)
    for i in range(blocks):
        block = f"residual_blocks.{i}"
        core = f"{block}.s4block.layer.kernel.kernel"
        put(f"{block}.s4block.layer.D", 1, width)
        put(f"{core}.C", 2, width, state // 2, 2)
        put(f"{core}.log_dt", width)
        put(f"{core}.B", 1, width, state // 2, 2)
        put(f"{core}.P", 1, width, state // 2, 2)
        put(f"{core}.inv_w_real", width, state // 2)
        put(f"{core}.w_imag", width, state // 2)
        result[f"backbone.{core}.L"] = torch.tensor(0)
        layer(f"{block}.s4block.layer.output_linear", width, width, 1)
        put(f"{block}.s4block.norm.weight", width)
        put(f"{block}.s4block.norm.bias", width)
        layer(f"{block}.time_linear", width, width)
        layer(f"{block}.out_linear1", width, width, 1)
        layer(f"{block}.out_linear2", width, width, 1)
        layer(f"{block}.feature_encoder", features, width, 1)
    tsdiff_cases.fill(result, horizon)
    return result


def save_lightning(path: Path, state: dict[str, Tensor], hyper: dict[str, Any]) -> Path:
    """What Lightning's ModelCheckpoint writes around a state dict: functions among the settings, whose place is given
    as "module.name", are pickled by reference."""

    def referred(value: Any) -> Any:
        place, _, name = str(value).rpartition(".")
        if place not in modules:
            return value
        function = types.FunctionType(_never.__code__, {}, name)
        function.__module__, function.__qualname__ = place, name
        setattr(modules[place], name, function)
        return function

    modules = {name: types.ModuleType(name) for name in ("uncond_ts_diff", SCHEDULES, "elsewhere")}
    content: dict[str, Any] = {
        "epoch": 1,
        "global_step": 4,
        "pytorch-lightning_version": "1.9.4",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 2, "completed": 2}}}},
        "hparams_name": "kwargs",
        "hyper_parameters": {name: referred(value) for name, value in hyper.items()},
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        torch.save(content, path)
    return path


def _never() -> None:
    raise AssertionError("called")
