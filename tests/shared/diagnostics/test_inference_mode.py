"""Derivatives are taken, whatever mode the caller is in: without them densities and dimensions are other numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shared.diagnostics import ScoreField, asymmetric_plane, asymmetry, flipd, fokker_planck
from shared.likelihood import log_likelihood
from shared.random import make_generator, randn
from shared.sde import OUVESDE

F64 = torch.float64


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_what_differentiates_the_network_does_so_in_any_mode(mode: type) -> None:
    torch.manual_seed(0)
    network, sde = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double(), OUVESDE()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return network(torch.cat([x * t[:, None], t[:, None]], dim=1))

    def measured() -> list[Tensor]:
        x0, y, noise = (randn((3, 4), make_generator(name), dtype=F64) for name in ("x0", "y", "noise"))
        field = ScoreField(denoise, sde, 0.3, x0, y)
        return [
            log_likelihood(denoise, sde, x0, y, steps=9),
            log_likelihood(denoise, sde, x0, y, steps=9, trace="hutchinson", generator=make_generator("probe")),
            flipd(denoise, sde, x0, 0.05, y).value,
            fokker_planck(denoise, sde, x0, 0.3, y, noise=noise).squared,
            asymmetry(field, x0, generator=make_generator("asymmetry")).score,
            torch.stack(asymmetric_plane(field, x0, make_generator("plane"))),
        ]

    wanted = measured()
    with mode():
        found = measured()
    for value, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(other, value.detach())
        assert not other.requires_grad
