"""Resampling of images by two with a separable FIR filter (Karras et al. 2020; Zhang 2019), in plain PyTorch.

Upsampling puts a zero behind every value and filters, downsampling filters and keeps every second value. Here no zero
is multiplied and nothing is computed that is not kept: the filters run as depthwise convolutions with stride. The usual
taps 1, 3, 3, 1 upsample as bilinear interpolation does, save at the border, where zeros lie beyond.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_BILINEAR = (1.0, 3.0, 3.0, 1.0)


def upsample(x: Tensor, taps: Sequence[float]) -> Tensor:
    """Twice the height and width.

    Args:
        x: (batch, channels, height, width).
        taps: of the filter along each axis, two at least; scaled so that a constant keeps its value away from the
            borders.

    Returns:
        (batch, channels, 2·height, 2·width), in the memory format of x.
    """
    if tuple(float(tap) for tap in taps) == _BILINEAR:
        return _upsample_bilinear(x)
    first = len(taps) - 2 - (len(taps) - 1) // 2
    full = F.conv_transpose2d(x, 4 * _kernel(x, taps), stride=2, groups=x.shape[1])
    return full[..., first : first + 2 * x.shape[2], first : first + 2 * x.shape[3]]


def downsample(x: Tensor, taps: Sequence[float]) -> Tensor:
    """Half the height and width, which are even.

    Args:
        x: (batch, channels, height, width).
        taps: of the filter along each axis, two at least; scaled to sum 1.

    Returns:
        (batch, channels, height/2, width/2), in the memory format of x.
    """
    return fir(x, taps, ((len(taps) - 1) // 2, (len(taps) - 2) // 2), stride=2)


def fir(x: Tensor, taps: Sequence[float], padding: tuple[int, int], stride: int = 1, gain: float = 1.0) -> Tensor:
    """Filter both axes of an image.

    Args:
        x: (batch, channels, height, width).
        taps: of the filter along each axis; scaled to sum 1.
        padding: zeros before and after each axis.
        stride: keep every so many values.
        gain: factor of the result.

    Returns:
        (batch, channels, …, …): of each axis (size + padding − taps)//stride + 1.
    """
    before, after = padding
    if before != after:
        x = F.pad(x, (before, after, before, after))
        before = 0
    return F.conv2d(x, gain * _kernel(x, taps).flip(2, 3), stride=stride, padding=before, groups=x.shape[1])


def _kernel(x: Tensor, taps: Sequence[float]) -> Tensor:
    row = torch.tensor(taps, dtype=torch.float64)
    kernel = torch.outer(row, row) / row.sum().square()
    return kernel.to(x.device, x.dtype).expand(x.shape[1], 1, -1, -1)


def _upsample_bilinear(x: Tensor) -> Tensor:
    # Interpolation repeats the border's values, with weight ¼, where the filter sees zeros.
    y = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    for axis in (2, 3):
        for edge in (0, y.shape[axis] - 1):
            y.select(axis, edge).mul_(0.75)
    return y
