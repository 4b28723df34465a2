"""The scales around the network, worked out by hand: σ = 0.4 and σ_data = 0.3 make √(σ² + σ_data²) = 0.5."""

from __future__ import annotations

import pytest
import torch

from shared.errors import ConfigError
from shared.sde import OUVESDE, SBVESDE
from speech.model.config import Parameterisation

SDE = OUVESDE(theta=1.0, sigma_min=0.05, sigma_max=0.5)
T = torch.tensor([0.5], dtype=torch.float64)
SIGMA = SDE.sigma(T)


def scales(**settings: object) -> tuple[torch.Tensor | None, ...]:
    """c_in, c_out, c_skip where σ is `SIGMA`."""
    skip, out, c_in, _ = Parameterisation(**settings).scales(SDE, T)  # type: ignore[arg-type]
    return c_in, out, skip


def test_edm_scales() -> None:
    """Karras et al. 2022, table 1, with σ_data = ¾σ, which makes the total 5/4 σ."""
    found = scales(c_in="edm", c_out="edm", c_skip="edm", sigma_data=0.75 * float(SIGMA))
    wanted = (1 / (1.25 * SIGMA), SIGMA * 0.6, torch.full_like(SIGMA, 0.36))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_other_scales() -> None:
    assert scales() == (None, None, None)
    for name, wanted in {"sigma": SIGMA, "1/sigma": 1 / SIGMA, "1/sigma^2": SIGMA**-2}.items():
        torch.testing.assert_close(scales(c_out=name)[1], wanted)
    torch.testing.assert_close(scales(sign=-1)[1], torch.full_like(SIGMA, -1))
    torch.testing.assert_close(scales(c_out="sigma", network_scaling="1/sigma")[1], torch.ones_like(SIGMA))
    torch.testing.assert_close(scales(network_scaling="1/t")[1], 1 / T)
    torch.testing.assert_close(scales(c_skip="-1/sigma^2")[2], -(SIGMA**-2))


def test_where_sigma_vanishes_the_scales_are_finite() -> None:
    found = Parameterisation("data", "edm", "1/sigma", "edm").scales(SBVESDE(), torch.ones(1))
    torch.testing.assert_close(found.out, torch.tensor([1e4], dtype=torch.float64))
    assert found.skip is not None
    torch.testing.assert_close(found.skip, torch.ones(1, dtype=torch.float64), atol=1e-5, rtol=0)


def test_the_published_denoiser_is_a_score_whose_network_predicts_the_mean() -> None:
    with pytest.warns(UserWarning, match="is now output: score, c_out: 1/sigma"):
        old = Parameterisation("denoiser", "edm", "edm", "edm", "1/t")
    assert old == Parameterisation("score", "edm", "1/sigma^2", "-1/sigma^2", "1/t")
    with pytest.raises(ConfigError, match="output='noise': choose one of score, data"):
        Parameterisation("noise")  # type: ignore[arg-type]
