"""Published weights in our network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from shared.errors import CheckpointError, first_few
from shared.files.checkpoint import built, load_state, shapes_of
from shared.sde import DiscreteVPSDE
from tsdiff.importing.settings import EMBEDDER
from tsdiff.model.backbones import S4Backbone
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.model.network import PointInputs
from tsdiff.windows.inputs import known_width
from tsdiff.windows.scales import Statistics

_TOP = {"input_init.0": "input", "time_init.0": "level.0", "time_init.2": "level.2"}
_TOP |= {"out_linear.0": "head", "out_linear.2": "output"}
_LAYERS = {
    "s4block.norm": "norm",
    "s4block.layer.output_linear": "mix",
    "time_linear": "step",
    "feature_encoder": "feature_input",
    "out_linear1": "to_stream",
    "out_linear2": "to_skip",
}
_KERNEL = {
    "D": "direct",
    "kernel.kernel.C": "readout",
    "kernel.kernel.B": "gain",
    "kernel.kernel.P": "low_rank",
    "kernel.kernel.log_dt": "log_step",
    "kernel.kernel.inv_w_real": "log_decay",
    "kernel.kernel.w_imag": "frequency",
    "kernel.kernel.L": "horizon",
}


def loaded(config: TSDiffConfig, state: Mapping[str, Tensor], origin: str) -> TSDiff:
    """A model with the published weights."""
    with torch.random.fork_rng(devices=[]):  # weights that are drawn only to be replaced leave no trace
        statistics = Statistics(top_variance=float(config.context_length))
        model = built(lambda: TSDiff(config, statistics), shapes_of(state), origin)
    backbone = model.denoiser.network.backbone
    assert isinstance(backbone, S4Backbone)
    own, names = backbone.state_dict(), published_names(len(backbone.blocks))
    inputs = model.denoiser.network.inputs
    assert isinstance(inputs, PointInputs)
    embedded = {name: value for name, value in state.items() if name.startswith(EMBEDDER)}
    state = {name: value for name, value in state.items() if name not in embedded}
    if inputs.embedder is not None:
        _load_embedder(inputs.embedder, embedded, origin)
    problems = [f"missing key {name!r}" for name, target in names.items() if target in own and name not in state]
    problems += [f"unknown key {name!r}" for name in state if name not in names]
    converted: dict[str, Tensor] = {}
    for name, target in names.items():
        if target not in own or name not in state:
            continue  # the last block's way to the stream leads nowhere, and is not kept
        value, like = state[name], own[target]
        if _squeezed(value) != _squeezed(like):
            problems.append(f"key {name!r} has shape {tuple(value.shape)}, which is no form of {tuple(like.shape)}")
        elif like.is_floating_point() and not (value.is_floating_point() or value.is_complex()):
            problems.append(f"key {name!r} is {value.dtype}, and weights are real numbers")
        elif value.is_complex() or not bool(torch.isfinite(value).all()):
            problems.append(f"key {name!r} holds values that are not finite")
        else:
            converted[target] = value.to(like.dtype).reshape(like.shape)
    if problems:
        raise CheckpointError(f"{origin} does not fit the published layout: {first_few(problems, 5, '; ')}")
    load_state(backbone, converted, origin)
    backbone.truncate(config.length)  # the published code does this at its first call
    return model.eval()


def _load_embedder(embedder: nn.Module, embedded: Mapping[str, Tensor], origin: str) -> None:
    """Give the embedding of categories its published weights."""
    try:
        embedder.load_state_dict({name.removeprefix(EMBEDDER): value for name, value in embedded.items()})
    except RuntimeError as error:
        raise CheckpointError(
            f"{origin} was trained with features, but its embedding of categories is missing or of another shape; "
            f"save the whole module's state_dict() ({str(error).splitlines()[-1].strip()})"
        ) from error


def published_names(blocks: int) -> dict[str, str]:
    """Our names of the published ones."""
    names = {f"{old}.{part}": f"{new}.{part}" for old, new in _TOP.items() for part in ("weight", "bias")}
    for i in range(blocks):
        block, mine = f"residual_blocks.{i}", f"blocks.{i}"
        for old, new in _LAYERS.items():
            names |= {f"{block}.{old}.{part}": f"{mine}.{new}.{part}" for part in ("weight", "bias")}
        names |= {f"{block}.s4block.layer.{old}": f"{mine}.convolution.{new}" for old, new in _KERNEL.items()}
    return names


def _squeezed(value: Tensor) -> tuple[int, ...]:
    return tuple(size for size in value.shape if size != 1)


@torch.no_grad()
def noise_error(model: TSDiff) -> float:
    """Mean square error of the noise that the model sees in pure noise at the table's last step."""
    assert isinstance(model.sde, DiscreteVPSDE)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, model.config.length, model.config.network_channels, generator=generator)
    step = torch.full((len(x),), len(model.sde) - 1)
    # A conditional network is told that nothing is observed.
    known = {"known": torch.zeros(*x.shape[:2], known_width(model.config))} if model.config.conditional else {}
    return float((model.predict_noise(x, step, **known) - x).square().mean())
