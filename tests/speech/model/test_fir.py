"""Resampling by two, against zero insertion and sums written out."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from speech.model.backbones.fir import downsample, fir, upsample

USUAL = (1, 3, 3, 1)
TAPS = [USUAL, (1, 1), (1, 2, 1), (1, 2, 3, 2, 1), (0.5, 2, 1.5, -1), (1, 3, 5, 5, 3, 1)]


def filtered(x: Tensor, taps: tuple[float, ...], before: int, after: int) -> Tensor:
    """Convolution with the normalised separable filter after padding with zeros, by definition."""
    k = torch.tensor(taps, dtype=x.dtype)
    k = torch.outer(k, k) / k.sum() ** 2
    n = len(taps)
    batch, channels, height, width = x.shape
    padded = x.new_zeros(batch, channels, height + before + after, width + before + after)
    padded[:, :, before : before + height, before : before + width] = x
    rows, columns = padded.shape[2] - n + 1, padded.shape[3] - n + 1
    y = x.new_zeros(batch, channels, rows, columns)
    for i, j in itertools.product(range(n), range(n)):
        y += k[n - 1 - i, n - 1 - j] * padded[:, :, i : i + rows, j : j + columns]
    return y


def direct_upsample(x: Tensor, taps: tuple[float, ...]) -> Tensor:
    """A zero behind every value, then the filter with gain 4."""
    spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    spread[..., ::2, ::2] = x
    excess = len(taps) - 2
    return 4 * filtered(spread, taps, (excess + 1) // 2 + 1, excess // 2)


def direct_downsample(x: Tensor, taps: tuple[float, ...]) -> Tensor:
    excess = len(taps) - 2
    return filtered(x, taps, (excess + 1) // 2, excess // 2)[..., ::2, ::2]


@pytest.mark.parametrize("taps", TAPS, ids=str)
@pytest.mark.parametrize("size", [(4, 6), (2, 2), (8, 2)], ids=str)
def test_both_directions_are_the_definition(taps: tuple[float, ...], size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(upsample(x, taps), direct_upsample(x, taps), rtol=0, atol=1e-14)
    torch.testing.assert_close(downsample(x, taps), direct_downsample(x, taps), rtol=0, atol=1e-14)


def test_odd_sizes_are_doubled_too() -> None:
    x = torch.randn(1, 2, 5, 1, dtype=torch.float64)
    torch.testing.assert_close(upsample(x, USUAL), direct_upsample(x, USUAL), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_precision_and_layout_are_kept(dtype: torch.dtype, layout: torch.memory_format) -> None:
    x = torch.randn(2, 8, 6, 10).to(dtype).contiguous(memory_format=layout)
    for result, wanted in (
        (upsample(x, USUAL), direct_upsample(x.double(), USUAL)),
        (downsample(x, USUAL), direct_downsample(x.double(), USUAL)),
    ):
        assert result.dtype == dtype
        assert result.is_contiguous(memory_format=layout)
        torch.testing.assert_close(result.double(), wanted, rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_a_constant_stays_one_away_from_the_border() -> None:
    x = torch.full((1, 1, 6, 6), 2.5, dtype=torch.float64)
    assert torch.allclose(upsample(x, USUAL)[..., 1:-1, 1:-1], torch.tensor(2.5, dtype=torch.float64), rtol=1e-14)
    assert torch.allclose(downsample(x, USUAL)[..., 1:-1, 1:-1], torch.tensor(2.5, dtype=torch.float64), rtol=1e-14)
    assert float(upsample(x, USUAL)[0, 0, 0, 0]) == pytest.approx(2.5 * 0.75**2)


def test_up_is_four_times_the_adjoint_of_down() -> None:
    x, y = torch.randn(1, 2, 8, 6, dtype=torch.float64), torch.randn(1, 2, 4, 3, dtype=torch.float64)
    assert float((downsample(x, USUAL) * y).sum()) == pytest.approx(float((x * upsample(y, USUAL)).sum()) / 4)


def test_gradients() -> None:
    x = torch.randn(1, 2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: upsample(v, USUAL), x)
    assert torch.autograd.gradcheck(lambda v: downsample(v, USUAL), x)


def test_uneven_padding_and_gain() -> None:
    x = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(fir(x, (1, 2, 3), (2, 1), gain=3.0), 3 * filtered(x, (1, 2, 3), 2, 1))
