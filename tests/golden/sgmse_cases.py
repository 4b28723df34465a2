"""What the published SGMSE+ code is compared on: settings and inputs, the same for both sides."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speech.model.config import Parameterisation
from speech.model.frontend import FRONT_ENDS, FrontEndConfig
from tests.golden.recipe import complex_draw, draw

FILE = Path(__file__).parent / "sgmse.npz"

# Networks. -------------------------------------------------------------------------------------------------------

NCSNPP: dict[str, Any] = {"nf": 16, "ch_mult": (1, 2, 2), "num_res_blocks": 1, "image_size": 32}
NCSNPP_OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "attention": {"attn_resolutions": (16, 8)},
    "two blocks": {"num_res_blocks": 2, "dropout": 0.3},
    "other taps": {"fir_kernel": (1, 2, 3, 2, 1)},
    "no filter": {"fir": False, "progressive": "none"},
    "residual input": {"progressive_input": "residual"},
    "plain": {"progressive": "none", "progressive_input": "none"},
    "concatenated": {"progressive_combine": "cat"},
    "ddpm": {"resblock_type": "ddpm", "resamp_with_conv": False},
    "other sums": {"skip_rescale": False, "nonlinearity": "lrelu", "centered": False},
}
NCSNPP_CASES = [
    (variant, option)
    for variant in ("ncsnpp", "ncsnpp_v2", "ncsnpp_48k")
    for option, values in NCSNPP_OPTIONS.items()
    if variant == "ncsnpp" or len(values) < 2  # combinations in one variant only
]

DCUNET_OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "complex": {"time_embedding_complex": True, "norm_type": "CbN"},
    "layers": {"time_embedding": "ds", "temb_layers_global": 2, "temb_layers_local": 2, "temb_activation": "relu"},
    "trimmed": {"fix_length": "trim", "activation": "silu", "time_embedding": None},
}
DCUNET_BINS = {"DCUNet-10": 33, "DCUNet-16": 257, "DCUNet-20": 257, "DilDCUNet-v2": 129}
"""A small number of frequencies that fits the strides, and the dilated kernels."""
DCUNET_CASES = [("DCUNet-10", option) for option in DCUNET_OPTIONS]
DCUNET_CASES += [(name, "usual") for name in DCUNET_BINS if name != "DCUNet-10"]


def spectrograms(bins: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """State, noisy recording (2, 1, bins, frames), and two times."""
    x, y = (complex_draw(name, 2, 1, bins, frames) for name in ("state", "noisy"))
    return x, y, torch.tensor([0.1, 0.9])


# Front end. ------------------------------------------------------------------------------------------------------

FRONT_END_CASES = {
    "16k": FrontEndConfig(),
    "48k": FRONT_ENDS["48k"],
    "sqrthann": FrontEndConfig(window="sqrthann", exponent=1.0),
    "log": FrontEndConfig(transform="log", factor=0.3),
    "none": FrontEndConfig(transform="none"),
}


def waveforms(name: str, batch: int, samples: int) -> Tensor:
    """Float32 (batch, samples) within 0.3 of silence."""
    return (0.3 * draw(f"waveform {name}", batch, samples)).float()


# Parameterisations, losses, samplers: around the linear network of tests/speech/conftest.py. -----------------------


def fill_linear(network: nn.Module) -> None:
    """Give a `LinearBackbone` the maps of the recipe."""
    maps = network.get_parameter("maps")
    with torch.no_grad():
        maps.copy_(draw("maps", *maps.shape) / math.sqrt(maps.shape[1]))


SCALES = {
    "score": Parameterisation("score", "edm", "1/sigma", "0", None),
    "score, skip": Parameterisation("score", "1", "sigma", "edm", "1/sigma"),
    "score, all": Parameterisation("score", "edm", "edm", "edm", "1/t", sigma_data=0.3),
    "denoiser": Parameterisation("score", "edm", "1/sigma^2", "-1/sigma^2", "1/sigma"),
    "data, all": Parameterisation("data", "edm", "edm", "edm", "1/t"),
    "data": Parameterisation("data"),
}
SCALE_CASES = [(process, scales) for process in ("ouve", "sbve") for scales in SCALES]

LOSS_CASES = [
    ("score_matching", "sigma^2", "score", "ouve"),
    ("denoiser", "1", "denoiser", "ouve"),
    ("denoiser", "sigma^2", "score", "ouve"),
    ("denoiser", "edm", "denoiser", "ouve"),
    ("data_prediction", "sigma^2", "data", "sbve"),
]
"""Loss, its weighting, what the network gives, process."""
LOSS_TIMES = torch.tensor([0.15, 0.5, 0.93], dtype=torch.float64)
LOSS_SAMPLES = 16 * 11
"""12 frames of the tiny front end."""

PC_CASES = [
    ("ald", 1, 1.0, False),
    ("ald", 2, 1.0, False),
    ("none", 0, 1.0, False),
    ("ald", 1, 0.5, False),
    ("langevin", 1, 1.0, False),
    ("ald", 1, 1.0, True),
    ("none", 0, 1.0, True),
]
"""Corrector, its steps, where sampling starts, whether the predictor follows the probability flow."""
PC_STEPS = 30
BRIDGE_CASES = [(kind, steps) for kind in ("ode", "sde") for steps in (1, 2, 10, 50)]

# Checkpoints. ----------------------------------------------------------------------------------------------------

CHECKPOINT_CASES = [
    (backbone, process) for backbone in ("ncsnpp", "ncsnpp_v2", "ncsnpp_48k", "dcunet") for process in ("ouve", "sbve")
]
CHECKPOINT_STEPS = {"ouve": 4, "sbve": 50}
"""In float32 the published bridge sampler loses digits in its first step, the more the longer that is."""


def key(*parts: object) -> str:
    """The name of a case's numbers in the archive."""
    return "/".join(str(part) for part in parts)
