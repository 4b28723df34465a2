"""State dicts in the published layout with random values, and the published network where it is at hand."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

CODE = "TSDIFF_PUBLIC_CODE"
"""Environment variable: a checkout of the published repository; its imports einops and opt_einsum are needed too."""


def published_state(
    width: int = 8, blocks: int = 2, state: int = 8, channels: int = 1, features: int = 8, horizon: int = 24
) -> dict[str, Tensor]:
    """Random weights under the published names."""
    generator = torch.Generator().manual_seed(0)
    result: dict[str, Tensor] = {"embedder._embedders.0.weight": torch.zeros(1, 1)}

    def put(name: str, *shape: int, gain: float = 0.5) -> None:
        result[f"backbone.{name}"] = gain * torch.randn(*shape, generator=generator)

    def layer(name: str, inputs: int, outputs: int, *kernel: int) -> None:
        put(f"{name}.weight", outputs, inputs, *kernel)
        put(f"{name}.bias", outputs)

    layer("input_init.0", channels, width)
    layer("time_init.0", 16, width)
    layer("time_init.2", width, width)
    layer("out_linear.0", width, width)
    layer("out_linear.2", width, channels)
    for i in range(blocks):
        block = f"residual_blocks.{i}"
        core = f"{block}.s4block.layer.kernel.kernel"
        put(f"{block}.s4block.layer.D", 1, width)
        put(f"{core}.C", 2, width, state // 2, 2)
        put(f"{core}.B", 1, width, state // 2, 2)
        put(f"{core}.P", 1, width, state // 2, 2)
        put(f"{core}.log_dt", width)
        result[f"backbone.{core}.log_dt"] -= 3
        put(f"{core}.inv_w_real", width, state // 2)
        put(f"{core}.w_imag", width, state // 2, gain=5.0)
        result[f"backbone.{core}.L"] = torch.tensor(horizon)
        layer(f"{block}.s4block.layer.output_linear", width, width, 1)
        put(f"{block}.s4block.norm.weight", width)
        put(f"{block}.s4block.norm.bias", width)
        layer(f"{block}.time_linear", width, width)
        layer(f"{block}.out_linear1", width, width, 1)
        layer(f"{block}.out_linear2", width, width, 1)
        layer(f"{block}.feature_encoder", features, width, 1)
    return result


def _package(needed: tuple[str, ...]) -> None:
    """Makes the published package importable without its `__init__`, which wants mxnet and more; or skips the test."""
    root = os.environ.get(CODE)
    if not root:
        pytest.skip(f"set {CODE} to a checkout of the published TSDiff code to compare with it")
    for name in needed:
        pytest.importorskip(name)
    folder = Path(root) / "src" / "uncond_ts_diff"
    if not folder.is_dir():
        pytest.skip(f"{CODE}={root} holds no src/uncond_ts_diff")
    for part in ("", "arch", "model", "model/diffusion", "sampler"):
        name = ".".join(["uncond_ts_diff", *part.split("/")] if part else ["uncond_ts_diff"])
        package = types.ModuleType(name)
        package.__path__ = [str(folder / part)]
        sys.modules.setdefault(name, package)


def published_code() -> tuple[Any, Any]:
    """The published modules `arch.s4` and `arch.backbones`, in their pure-torch form; skips the test without them."""
    _package(("einops", "opt_einsum", "pytorch_lightning"))
    s4 = importlib.import_module("uncond_ts_diff.arch.s4")
    if s4.has_pykeops or s4.has_cauchy_extension:
        pytest.skip("the comparison patches the published code's pure-torch sums; KeOps is installed")
    return s4, importlib.import_module("uncond_ts_diff.arch.backbones")


def published_samplers() -> Any:
    """The published module `sampler.observation_guidance`; skips the test without it."""
    _package(("einops", "opt_einsum", "pytorch_lightning", "seaborn"))
    # GluonTS has moved it since.
    sys.modules.setdefault("gluonts.torch.modules.scaler", importlib.import_module("gluonts.torch.scaler"))
    arch: Any = sys.modules["uncond_ts_diff.arch"]
    arch.BackboneModel = importlib.import_module("uncond_ts_diff.arch.backbones").BackboneModel
    model: Any = sys.modules["uncond_ts_diff.model"]
    model.TSDiff = importlib.import_module("uncond_ts_diff.model.diffusion.tsdiff").TSDiff
    return importlib.import_module("uncond_ts_diff.sampler.observation_guidance")
