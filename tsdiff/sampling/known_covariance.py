"""Observation self-guidance by covariances that are known: of the training windows, or of Gaussian processes.

Two of the answers of `tsdiff.sampling.guidance` to what C is, "window" and "kernels", which need no gradient of the
network.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction
from shared.noise import Noise
from tsdiff.model.model import TSDiff
from tsdiff.sampling.guidance import ObservationGuidance
from tsdiff.sampling.kernels import bank_covariance, kernel_bank
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.calendar import season_of
from tsdiff.windows.covariance import ObservedCovariance, WindowCovariance

_VARIANCE_STEP = 0.1
"""In the logarithm: what `KernelGuidance` rounds a row's variance to."""


class CovarianceGuidance(ObservationGuidance, ABC):
    """C from covariances that are known, without a gradient of the network.

    Attributes:
        groups: rows of the batch, and the covariance of these; all rows together.
    """

    groups: list[tuple[Tensor, ObservedCovariance]]

    def _guided(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, alpha: float, sigma: float) -> Tensor:
        x0 = self._predicted(denoiser(x, t), x, alpha, sigma)
        error, moved = self._error(x0, alpha, sigma), torch.empty_like(x0)
        for rows, seen in self.groups:
            moved[rows] = seen.update(error[rows], alpha, sigma, self.observation_std)
        return x0 + self.scale * moved

    def _predicted(self, x0: Tensor, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """The data prediction before it is moved, from the network's x0."""
        return x0


@dataclass(eq=False)
class WindowGuidance(CovarianceGuidance):
    """C from the covariance of the training windows; `of_any_level` of windows that lack a value which fixes the level.

    Args:
        covariance: of the training windows, in the network's units.
        noise: of the path, where it has a colour.
        fixed_by: first of the steps whose values fix the level of a window by its scaling, and the step after the last.
        channels: that have a level each.
        The others: see `ObservationGuidance`.

    Raises:
        ConfigError: see `ObservationGuidance`, `ObservedCovariance` and `WindowCovariance.seen_through`.
    """

    _: KW_ONLY
    covariance: WindowCovariance
    noise: Noise | None = None
    fixed_by: tuple[int, int] = (0, 0)
    channels: int = 1

    @staticmethod
    def _own(sampling: Sampling, model: TSDiff, generators: Sequence[torch.Generator]) -> dict[str, Any]:
        config = model.config
        if (covariance := model.statistics.covariance) is None:
            raise ConfigError(
                "the model does not know the covariance of its training windows, as imported ones do not; call "
                '`predictor.measure_covariance(dataset)` with the training series, or use covariance="scalar" or '
                '"tweedie"'
            )
        first = {"none": config.context_length, "last": config.context_length - 1}.get(config.scaling, 0)
        return {
            "observation_std": sampling.trust,
            "covariance": covariance,
            "noise": model.sde.noise,
            "fixed_by": (first, config.context_length),
            "channels": config.channels,
        }

    def __post_init__(self) -> None:
        super().__post_init__()
        first, stop = self.fixed_by
        whole = (self.observed[:, first:stop, : self.channels] > 0).all(dim=2).all(dim=1)
        self.groups = []
        for kind in whole.unique().tolist():
            rows = torch.nonzero(whole == kind)[:, 0]
            law = self.covariance if kind else self.covariance.of_any_level(self.channels)
            law = law.seen_through(self.noise, self.values.shape[1])
            self.groups.append((rows, ObservedCovariance(law, self.observed[rows])))


@dataclass(eq=False)
class KernelGuidance(CovarianceGuidance):
    """C from members of `tsdiff.sampling.kernels.kernel_bank` that suit each row's observed values.

    The process has a data prediction of its own, which can be taken in a share beside the network's: the network knows
    shapes that no kernel has, the process is exact where the network is rough, as on walks and trends.

    Args:
        season: steps of the primary season, 0 for none.
        kernel_share: of the process in the data prediction, from 0 to 1.
        chances: a number in 0 … 1 for each row, (batch,), by which it gets one of the kernels that its values leave
            possible; None gives all rows the best.
        The others: see `ObservationGuidance`.

    Raises:
        ConfigError: windows of several channels; see also `ObservationGuidance`.
    """

    _: KW_ONLY
    season: float
    kernel_share: float = 0.0
    chances: Tensor | None = None

    @staticmethod
    def _own(sampling: Sampling, model: TSDiff, generators: Sequence[torch.Generator]) -> dict[str, Any]:
        chances = torch.cat([torch.rand(1, generator=g, device=g.device).cpu() for g in generators])
        own = {"season": season_of(model.config.freq), "kernel_share": sampling.kernel_share, "chances": chances}
        return {"observation_std": sampling.trust, **own}

    def __post_init__(self) -> None:
        super().__post_init__()
        values, observed = self.values, self.observed
        if values.shape[2] != 1:
            raise ConfigError(
                f"windows of {values.shape[2]} channels; the kernels are of one: use covariance='window' or 'tweedie'"
            )
        length = values.shape[1]
        seen = torch.cat([values * observed, observed], dim=1)[..., 0].cpu()
        windows, place = torch.unique(seen, dim=0, return_inverse=True)
        choice = kernel_bank(length, self.season).choose(windows[:, :length], windows[:, length:])
        chances = torch.zeros(len(values)) if self.chances is None else self.chances
        kernel, variance = choice.picked(place, chances.cpu().double())
        # Variances that differ little are taken for one, so that rows share their factorisations.
        level = (variance.log() / _VARIANCE_STEP).round().long()
        choices, which_row = torch.unique(torch.stack([kernel, level], dim=1), dim=0, return_inverse=True)
        self.groups = []
        for number, (which, size) in enumerate(choices.tolist()):
            rows = torch.nonzero(which_row == number)[:, 0].to(values.device)
            covariance = bank_covariance(length, self.season, which, math.exp(size * _VARIANCE_STEP))
            self.groups.append((rows, ObservedCovariance(covariance, observed[rows])))

    def _predicted(self, x0: Tensor, x: Tensor, alpha: float, sigma: float) -> Tensor:
        if not self.kernel_share:
            return x0
        own = torch.empty_like(x0)
        for rows, covariance in self.groups:
            own[rows] = covariance.prediction(x[rows], alpha, sigma)
        return (1 - self.kernel_share) * x0 + self.kernel_share * own
