"""Which noise belongs to which data in a training batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from shared.views import real_parts, rows

Coupling = Literal["independent", "minibatch"]
"""How noise and data are paired: as they were drawn, or by the cheapest assignment within a batch."""


def coupled(noise: Tensor, data: Tensor) -> Tensor:
    """The items of `noise` in the order in which they are nearest to those of `data`, both (batch, ...).

    Minibatch optimal transport (Tong et al. 2024, "Improving and generalizing flow-based generative models with
    minibatch optimal transport"): the sum of squared distances is smallest. Paths cross less, so that few steps of an
    ODE suffice. Noise moves and data stays, so that what accompanies an item stays with it. For noise and data that are
    not independent the data prediction still gives the velocity of the flow, but no score.
    """
    from scipy.optimize import linear_sum_assignment

    left, right = (rows(real_parts(part.detach())).double() for part in (data, noise))
    _, order = linear_sum_assignment(torch.cdist(left, right).square().cpu().numpy())
    return noise[torch.from_numpy(order).to(noise.device)]
