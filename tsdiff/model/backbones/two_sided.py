"""A convolution of every channel with two kernels, one forward and one backward in time, and a direct term."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from tsdiff.model.backbones.cache import WeightCache
from tsdiff.model.backbones.convolution import convolve


class TwoSidedConvolution(nn.Module, ABC):
    """Subclasses say how the kernels follow from their weights, of which `direct` (channels,) is one."""

    direct: nn.Parameter

    def __init__(self) -> None:
        super().__init__()
        self._cache = WeightCache()

    @abstractmethod
    def kernels(self, length: int) -> Tensor:
        """Kernels (2, channels, length): of lags 0, 1, … and of lags −1, −2, …"""

    def forward(self, x: Tensor) -> Tensor:
        """x (channels, batch, length) → the same shape, in the precision of the weights even under autocast."""
        length = x.shape[2]
        points = _circle(length)
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.direct.dtype)
            if not self._learns():
                return convolve(x, None, self.spectrum(length, points), points)
            taps = self._taps(length, points)
            return convolve(x, taps, torch.fft.rfft(taps.detach()), points)

    def spectrum(self, length: int, points: int) -> Tensor:
        """Transfer function at `points` points, (channels, points // 2 + 1), complex; made once for given weights."""
        weights = tuple(self.state_dict(keep_vars=True).values())
        return self._cache.get(weights, lambda: torch.fft.rfft(self._taps(length, points)), length)

    def _learns(self) -> bool:
        return torch.is_grad_enabled() and any(weight.requires_grad for weight in self.parameters())

    def _taps(self, length: int, points: int) -> Tensor:
        """Both kernels on a circle, (channels, points): lag −1−j is at the place points−1−j."""
        ahead, behind = self.kernels(length)
        gap = ahead.new_zeros(len(ahead), points - 2 * length)
        return torch.cat([ahead[:, :1] + self.direct[:, None], ahead[:, 1:], gap, behind.flip(1)], dim=1)


def _circle(length: int) -> int:
    """Points of a circle on which kernels of both directions do not overlap, and for which the FFT is fast: the next
    number without prime factors above 5. In plain Python, which `torch.compile` follows without being asked to."""
    points = 2 * length
    while True:
        rest = points
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return points
        points += 1
