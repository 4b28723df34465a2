"""Networks and checkpoints in the layout of the published speech enhancement code."""

from __future__ import annotations

import sys
import types
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speech.importing.names import published_weights
from speech.model.backbones.dcunet import DCUNet
from speech.model.backbones.ncsnpp import NCSNpp
from tests.golden.recipe import weight
from tests.golden.store import Golden, shape_of, shape_text

SMALL = {"nf": 16, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [16], "image_size": 32}
"""Hyper-parameters of a small NCSN++ with attention at its second level."""

COMMON = {"n_fft": 62, "hop_length": 16, "num_frames": 32, "window": "hann", "spec_factor": 0.15, "normalize": "noisy"}
COMMON |= {"spec_abs_exponent": 0.5, "transform_type": "exponent", "t_eps": 0.03, "lr": 1e-4, "ema_decay": 0.999}
COMMON |= {"base_dir": "corpus", "format": "default", "batch_size": 8, "num_workers": 4, "dummy": False, "gpus": 0}
COMMON |= {"loss_type": "score_matching", "loss_weighting": "sigma^2", "network_scaling": None, "c_in": "1"}
COMMON |= {"c_out": "1", "c_skip": "0", "sigma_data": 0.1, "l1_weight": 0.001, "pesq_weight": 0.0, "sr": 16000}
OUVE = {"sde": "ouve", "theta": 1.5, "sigma_min": 0.05, "sigma_max": 0.5, "N": 30, "sampler_type": "pc"}
SBVE = {"sde": "sbve", "k": 2.6, "c": 0.4, "N": 50, "eps": 1e-8, "sampler_type": "ode"}
"""Further hyper-parameters as the training script saves them."""


def small_layout() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published network with the settings `SMALL`, in its order, written out by hand."""
    layout: dict[str, tuple[int, ...]] = {"output_layer.weight": (2, 4, 1, 1), "output_layer.bias": (2,)}
    index = 0

    def put(**shapes: tuple[int, ...]) -> None:
        nonlocal index
        layout.update({f"all_modules.{index}.{name.replace('__', '.')}": shape for name, shape in shapes.items()})
        index += 1

    def block(inputs: int, outputs: int, shortcut: bool) -> None:
        put(
            GroupNorm_0__weight=(inputs,),
            GroupNorm_0__bias=(inputs,),
            Conv_0__weight=(outputs, inputs, 3, 3),
            Conv_0__bias=(outputs,),
            Dense_0__weight=(outputs, 64),
            Dense_0__bias=(outputs,),
            GroupNorm_1__weight=(outputs,),
            GroupNorm_1__bias=(outputs,),
            Conv_1__weight=(outputs, outputs, 3, 3),
            Conv_1__bias=(outputs,),
            **({"Conv_2__weight": (outputs, inputs, 1, 1), "Conv_2__bias": (outputs,)} if shortcut else {}),
        )

    def attention(width: int) -> None:
        parts = {f"NIN_{k}__{part}": (width,) * (2 if part == "W" else 1) for k in range(4) for part in "Wb"}
        put(GroupNorm_0__weight=(width,), GroupNorm_0__bias=(width,), **parts)

    def pyramid(width: int) -> None:
        put(weight=(width,), bias=(width,))
        put(weight=(4, width, 3, 3), bias=(4,))

    put(W=(16,))
    put(weight=(64, 32), bias=(64,))
    put(weight=(64, 64), bias=(64,))
    put(weight=(16, 4, 3, 3), bias=(16,))
    block(16, 16, shortcut=False)
    block(16, 16, shortcut=True)  # to half the size
    put(Conv_0__weight=(16, 4, 1, 1), Conv_0__bias=(16,))
    block(16, 32, shortcut=True)
    attention(32)
    block(32, 32, shortcut=False)
    attention(32)
    block(32, 32, shortcut=False)
    block(32 + 32, 32, shortcut=True)
    block(32 + 16, 32, shortcut=True)
    attention(32)
    pyramid(32)
    block(32, 32, shortcut=True)  # to twice the size
    block(32 + 16, 16, shortcut=True)
    block(16 + 16, 16, shortcut=True)
    pyramid(16)
    return layout


def random_weights(layout: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Random tensors by name."""
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in layout.items()}


def layout(network: NCSNpp | DCUNet) -> list[str]:
    """Published names, shapes and kinds of a network's tensors, as they stand in the golden file."""
    own, lines = network.state_dict(), []
    for w in published_weights(network):
        kind = "frozen" if w.frozen else "trained" if w.trained else "buffer"
        lines.append(f"{w.published} {shape_text(w.shape(own[w.name]))} {kind}")
    return lines


def put_recipe(network: NCSNpp | DCUNet) -> None:
    """Fill a network with the recipe's weights by the published names."""
    own = network.state_dict()
    with torch.no_grad():
        for w in published_weights(network):
            w.put(own[w.name], weight(w.published, w.shape(own[w.name])))


def rebuilt(path: Path, golden: Golden, name: str) -> Path:
    """A checkpoint that the published code saved: its own pickle, with the recipe's numbers."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("last/data.pkl", golden.array(f"{name}/pickle").tobytes())
        archive.writestr("last/byteorder", "little")
        for i, line in enumerate(golden.lines(f"{name}/storages")):
            label, shape, dtype = line.rsplit(" ", 2)
            archive.writestr(f"last/data/{i}", weight(label, shape_of(shape)).numpy().astype(dtype).tobytes())
        archive.writestr("last/version", "3\n")
    return path


@contextmanager
def _module(name: str, **members: Any) -> Iterator[None]:
    """A module that can be imported meanwhile."""
    before = sys.modules.get(name)
    module = types.ModuleType(name)
    for key, value in members.items():
        setattr(module, key, value)
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


def save_published(
    path: Path, state: dict[str, Tensor], average: list[Tensor] | None, settings: dict[str, Any], prefix: str = "dnn."
) -> Path:
    """Write what the published code's Lightning checkpoint holds, its pickled class of the data module included."""
    data_module = type("SpecsDataModule", (), {"__module__": "sgmse.data_module", "__qualname__": "SpecsDataModule"})
    content: dict[str, Any] = {
        "epoch": 3,
        "global_step": 1000,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": {f"{prefix}{name}": value for name, value in state.items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'pesq'}": {"best_model_score": torch.tensor(2.9), "kth_value": None}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-4}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {**settings, "data_module_cls": data_module},
    }
    if average is not None:
        content["ema"] = {"decay": 0.999, "num_updates": 1000, "shadow_params": average, "collected_params": None}
    with _module("sgmse"), _module("sgmse.data_module", SpecsDataModule=data_module):
        torch.save(content, path)
    return path
