"""Models that the published speech enhancement code (SGMSE+ and its successors) saved."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared.errors import CheckpointError
from shared.files.checkpoint import built, differences, shapes_of
from shared.files.pickles import load_pickle, refuse_odd_tensors, unwrapped
from speech.importing.names import Weight, published_weights
from speech.importing.settings import published_config
from speech.model.backbones.dcunet import DCUNet
from speech.model.backbones.ncsnpp import NCSNpp
from speech.model.model import SpeechModel

_PREFIX = "dnn."
# Lightning keeps hyper-parameters in a dict of its own.
_DICTS = [
    (OrderedDict, f"{package}.utilities.parsing.AttributeDict")
    for package in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric")
]


@dataclass(frozen=True)
class _Checkpoint:
    """What is read of a file.

    Attributes:
        origin: the file.
        state: tensors of the network, by published names.
        settings: the hyper-parameters.
        average: averaged parameters in the order of the network's own, or None.
    """

    origin: str
    state: dict[str, Tensor]
    settings: dict[str, Any]
    average: list[Tensor] | None


def import_checkpoint(path: str | os.PathLike[str]) -> SpeechModel:
    """A published speech enhancement model with its weights.

    Architecture, process, front end, parameterisation and default sampler follow from the file's hyper-parameters.
    Weights are the exponential moving average that the published code puts in place on `eval()`; what has none, such
    as the running statistics of batch norm, comes from the state dict. Names are also read as torch.compile and
    DataParallel change them. Frames are padded as the published enhancement script does, with zeros, or mirrored for
    ncsnpp_v2 and ncsnpp_48k.

    Only tensors and plain values are read: code in the file does not run.

    Args:
        path: a Lightning checkpoint of the published `ScoreModel`, with backbone ncsnpp, ncsnpp_v2, ncsnpp_48k or
            dcunet and process ouve or sbve.

    Returns:
        The model, in evaluation mode; `save_pretrained` writes it in this toolkit's format.

    Raises:
        CheckpointError: the file is missing or damaged, would run code, lacks hyper-parameters, or has weights that
            are missing, unknown, of the wrong shape or not finite; the message names them.
        ConfigError: a hyper-parameter that cannot be used.
    """
    checkpoint = _read(path)
    config = published_config(checkpoint.settings, checkpoint.origin)
    model = built(lambda: SpeechModel(config), shapes_of(checkpoint.state), checkpoint.origin)
    network = model.backbone
    assert isinstance(network, NCSNpp | DCUNet)
    with torch.no_grad():
        _load(network, checkpoint)
    return model.eval()


def _read(path: str | os.PathLike[str]) -> _Checkpoint:
    content = load_pickle(path, _DICTS, references=True, remedy="take the checkpoint from whoever trained it")
    origin = os.fspath(Path(path))
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{origin} holds no state_dict: give a Lightning checkpoint of the published code")
    named = {unwrapped(str(name)): value for name, value in state.items()}
    network = {name.removeprefix(_PREFIX): value for name, value in named.items() if name.startswith(_PREFIX)}
    if not network and any(name.startswith("denoiser.") for name in named):
        raise CheckpointError(
            f"{origin} is the state from which a training of this toolkit goes on, and no model; give the folder model "
            "that the training made"
        )
    if not network or not all(isinstance(value, Tensor) for value in network.values()):
        raise CheckpointError(f"{origin}: its state_dict has no tensors named {_PREFIX}…, the network's")
    settings = content.get("hyper_parameters")
    if not isinstance(settings, Mapping):
        raise CheckpointError(f"{origin} has no hyper_parameters, which tell the architecture")
    ema = content.get("ema")
    average = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    if average is not None and not (isinstance(average, list) and all(isinstance(v, Tensor) for v in average)):
        raise CheckpointError(f"{origin}: ema.shadow_params is no list of tensors; the file is damaged: copy it again")
    refuse_odd_tensors(network, origin)
    refuse_odd_tensors({f"ema.shadow_params.{i}": value for i, value in enumerate(average or ())}, origin)
    return _Checkpoint(origin, network, {str(k): value for k, value in settings.items() if _plain(value)}, average)


def _plain(value: object) -> bool:
    """Whether a hyper-parameter is of a kind that settings are; classes and tensors are among the others."""
    parts = value if isinstance(value, (list, tuple)) else (value,)
    return all(part is None or isinstance(part, (str, int, float)) for part in parts)


def _load(network: NCSNpp | DCUNet, checkpoint: _Checkpoint) -> None:
    weights = published_weights(network)
    own = network.state_dict()
    wanted = {weight.published: weight.shape(own[weight.name]) for weight in weights}
    if problems := differences(shapes_of(checkpoint.state), wanted):
        raise CheckpointError(
            f"{checkpoint.origin}: weights and hyper-parameters differ: {problems}; take a checkpoint as the published "
            "code saves it"
        )
    averages = _averages(weights, checkpoint)
    for weight in weights:
        value = averages.get(weight.published, checkpoint.state[weight.published])
        if value.shape != checkpoint.state[weight.published].shape:
            raise CheckpointError(
                f"{checkpoint.origin}: the average of {weight.published!r} has shape {tuple(value.shape)}, the weight "
                f"itself {tuple(checkpoint.state[weight.published].shape)}; the file is damaged: copy it again"
            )
        if own[weight.name].is_floating_point() and not (value.is_floating_point() or value.is_complex()):
            raise CheckpointError(
                f"{checkpoint.origin}: {weight.published!r} is {value.dtype}, and weights are real numbers; take "
                "another checkpoint"
            )
        if value.is_complex() or not torch.isfinite(value).all():
            raise CheckpointError(
                f"{checkpoint.origin}: {weight.published!r} is not finite and real; take another checkpoint"
            )
        weight.put(own[weight.name], value)


def _averages(weights: list[Weight], checkpoint: _Checkpoint) -> dict[str, Tensor]:
    """Averaged parameters by published names: all, or as torch_ema before 0.3 keeps them, all but the frozen ones."""
    if checkpoint.average is None:
        warnings.warn(
            f"{checkpoint.origin} holds no moving average: the weights of the last step are taken", stacklevel=4
        )
        return {}
    parameters = [weight for weight in weights if weight.trained]
    for candidates in (parameters, [weight for weight in parameters if not weight.frozen]):
        if len(candidates) == len(checkpoint.average):
            return {w.published: value for w, value in zip(candidates, checkpoint.average, strict=True)}
    raise CheckpointError(
        f"{checkpoint.origin}: its moving average has {len(checkpoint.average)} parameters, the network "
        f"{len(parameters)}; the file is damaged: copy it again"
    )
