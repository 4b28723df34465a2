"""What the published TSDiff code and ours are both asked, so that `tsdiff.npz` need hold the answers only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tests.golden.recipe import draw, weight

PATH = Path(__file__).with_name("tsdiff.npz")
WIDTH, BLOCKS, HORIZON, STEP_EMBEDDING = 16, 2, 360, 128
"""Narrower and shorter than the published configurations, for the tests' time; else theirs."""

NETWORKS = [(1, False, 0), (11, True, 0), (1, True, 8), (1, True, 12)]
"""Channels, whether the input is added to the output, and features, 12 of which a TSDiff-Cond has."""
ASKED = ((360, (0, 37, 99)), (200, (0, 37, 99)), (200, (5, 5, 5)), (500, (99, 37, 0)))
"""Lengths of windows, shorter and longer than the kernels were made for, and their steps."""

_KERNELS = {"log_dt": (-3.0, 0.9), "w_imag": (0.0, 9.0), "inv_w_real": (0.0, 0.9), "C": (0.0, 0.9)}
_KERNELS |= {"B": (0.0, 0.9), "P": (0.0, 0.9), "D": (0.0, 1.0)}


def fill(state: Mapping[str, Tensor], horizon: int = HORIZON) -> None:
    """Write weights by the recipe into a published state dict: single-precision numbers, whatever its precision.

    Args:
        state: of the module, or of its backbone alone; both get the same.
        horizon: length that the kernels were made for; 0 for a network that has never been called.
    """
    with torch.no_grad():
        for name, tensor in state.items():
            bare, last = name.removeprefix("backbone."), name.rsplit(".", 1)[-1]
            if last == "L":
                tensor.fill_(horizon)
            elif last in _KERNELS:
                mean, size = _KERNELS[last]
                tensor.copy_((mean + size * draw(bare, *tensor.shape)).float())
            elif not name.startswith("scaler."):
                tensor.copy_(weight(bare, tuple(tensor.shape)).float())


def noisy(length: int, channels: int, features: int) -> tuple[Tensor, Tensor | None]:
    """Windows (3, length, channels) and what is known of them, (3, length, features) or None, double precision."""
    x = math.sqrt(3) * draw("x", 3, length, channels)
    return x, draw("features", 3, length, features) if features else None


SCALES = {"batch": (None, 1e-10), "given": (2.5, 1e-10), "least": (None, 1.5)}
"""Default and minimum scale of a MeanScaler."""


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Contexts (6, 20) float32, and which values are observed: one with gaps, a tiny one, zeros, nothing, negatives."""
    values = draw("rows", 6, 20).numpy().astype(np.float32)
    observed = np.ones_like(values)
    observed[0, 3:9] = 0
    values[1] *= np.float32(1e-12)
    values[2] = 0
    observed[3] = 0
    values[4] -= 100
    values[5, 4:] = 0
    return values * observed, observed


CONTEXT, PREDICTION, SAMPLES = 18, 6, 3
TIMESTEPS, STRENGTH = 10, 1.0
"""A shorter table than the published one, in which an untrained network does not blow rounding up."""
MODELS: dict[str, dict[str, Any]] = {
    "lags": {"use_lags": True, "use_features": False, "normalization": "mean"},
    "features": {"use_lags": False, "use_features": True, "normalization": "mean"},
    "unscaled": {"use_lags": True, "use_features": True, "normalization": "none"},
    "conditional": {"use_lags": True, "use_features": False, "normalization": "mean"},
}
"""Settings of small models that forecast `series`, beside `COMMON`."""
COMMON: dict[str, Any] = {
    "freq": "H",
    "context_length": CONTEXT,
    "prediction_length": PREDICTION,
    "init_skip": True,
}
BACKBONE = {"input_dim": 1, "hidden_dim": 8, "output_dim": 1, "step_emb": 16, "num_residual_blocks": 2}


def series() -> list[np.ndarray]:
    """Hourly series: one with gaps, a context of zeros after other values, a short one, which a model pads."""
    long = 5 + draw("long", 700).numpy()
    long[[2, 300, 640, 690, 695]] = np.nan
    zeros = 3 * np.abs(draw("zeros", 720).numpy())
    zeros[-CONTEXT:] = 0
    return [values.astype(np.float32) for values in (long, zeros, 40 * draw("short", 60).numpy())]


def start() -> pd.Period:
    """Of every series."""
    return pd.Period("2024-03-01 05:00", freq="h")


def noise(number: int, rows: int, channels: int) -> Tensor:
    """The draw of that number, from 0, (rows, length, channels), single precision."""
    return (math.sqrt(3) * draw(f"noise {number}", rows, CONTEXT + PREDICTION, channels)).float()


ROWS, LENGTH = 7, 10
DDPM_SCALES, DDIM_SCALES = {"mse": 0.5, "quantile": 1.0}, {"mse": 0.1, "quantile": 0.3}
DDIM: list[tuple[int, str, float]] = [(5, "uniform", 0.0), (5, "quadratic", 0.0), (3, "quadratic", 0.4)]
"""Skip, how steps are left out, and the share of noise."""
ENERGIES = {"mse": "MSE", "quantile": "quantile"}
"""Our names and the published ones."""
MASK = (torch.arange(LENGTH) < 6).double().reshape(1, LENGTH, 1).expand(ROWS, -1, -1)
VALUES = torch.linspace(-1, 2, LENGTH, dtype=torch.float64).reshape(1, LENGTH, 1).expand(ROWS, -1, -1)


def noise_of(x: Tensor, step: int) -> Tensor:
    """A network that predicts noise in (ROWS, LENGTH, 1)."""
    return torch.tanh(draw("mixing", LENGTH, LENGTH) * math.sqrt(3 / LENGTH) @ x + 0.01 * step) + 0.5 * x


def guided_noise(number: int) -> Tensor:
    """The draw of that number, from 0, (ROWS, LENGTH, 1)."""
    return math.sqrt(3) * draw(f"guided noise {number}", ROWS, LENGTH, 1)
