"""How much each simple forecast counts at each step, and how far off their mean will be: a small network's judgement.

It is told how well each did on the series' past (`tsdiff.windows.anchors.Pool`), sees what they say now, and gives
their weights and the size of the error, as Montero-Manso et al. 2020 ("FFORMA") weigh forecasts by a series' features.
Its weights come with the package; `recipes/train_default_forecaster.py --recipe weighing` makes them. A fine-tuned
model has weights of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.precision import single
from tsdiff.windows.anchors import ABOUT, AGO, EVIDENCE, LATE, Pool
from tsdiff.windows.simple import CANDIDATES, HEARD

_LINEAR = 3.0
_LEAST, _FARTHEST = 1e-2, 1e6
_OLDER = 32
"""Candidates that weights knew which were saved before there were more."""
_STEPWISE, _PLACES, _TILTED = 2, 4, 4
MOST_SHARE = 0.5
"""Of a network that was trained on for some series, in what it says together with the one that it began from."""
_HALF_OF_IT = 200.0
"""Disjoint windows of which it gets half of that."""


class Weighing(nn.Module):
    """Weights of simple forecasts, and the size of their mean's error."""

    def __init__(self) -> None:
        super().__init__()
        width = 32
        self.candidate = nn.Linear(HEARD + EVIDENCE + 1 + _STEPWISE, width)
        self.about = nn.Linear(ABOUT + _PLACES, width)
        self.ago, self.tilted = nn.Linear(AGO, width, bias=False), nn.Linear(_TILTED, width, bias=False)
        self.late = nn.Linear(LATE, width, bias=False)
        self.newer = nn.Linear(_OLDER - HEARD + 1, width, bias=False)
        self.newest = nn.Linear(CANDIDATES - _OLDER, width, bias=False)
        self.mix, self.company = nn.Linear(width, width), nn.Linear(width, width)
        self.logit, self.error = nn.Linear(width, 1), nn.Linear(width, 2)
        # As models were that were saved without.
        for layer in (self.ago, self.tilted, self.late, self.newer, self.newest):
            nn.init.zeros_(layer.weight)
        for layer in (self.logit, self.error):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        forecasts: Tensor,
        evidence: Tensor,
        about: Tensor,
        shares: Tensor,
        usable: Tensor,
        profile: Tensor,
        step: Tensor,
        horizon: Tensor,
        tilt: Tensor,
        height: Tensor,
        ago: Tensor,
        swing: Tensor,
        late: Tensor,
        gain: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each step, by the pool's mean and in its scale.

        Args:
            forecasts: less the pool's mean, by its scale, 0 where not usable, (batch, steps, CANDIDATES).
            evidence: (batch, CANDIDATES, EVIDENCE).
            about: (batch, ABOUT).
            shares, usable: (batch, CANDIDATES).
            profile: of the steps, (batch, steps).
            step: which they are, from 1 on, (batch, steps).
            horizon, tilt, swing, gain: (batch, 1).
            height: of the steps, (batch, steps).
            ago, late: (batch, CANDIDATES, AGO) and (batch, CANDIDATES, LATE).

        Returns:
            (batch, steps) each.
        """
        batch, steps, _ = forecasts.shape
        who = torch.eye(CANDIDATES, dtype=forecasts.dtype, device=forecasts.device)
        first = who[:, :HEARD].expand(batch, -1, -1)
        still = torch.cat([first, evidence, torch.log(shares + 1e-3)[..., None] / 3], dim=-1)
        says = squashed(forecasts)[..., None]
        of_each = torch.cat([still[:, None].expand(-1, steps, -1, -1), says, says.abs()], dim=-1)
        apart = (forecasts.abs() * shares[:, None]).sum(-1)
        places = [torch.log2(step) / 4, step / horizon, torch.log(profile + _LEAST), torch.log(apart + _LEAST)]
        of_all = torch.cat([about[:, None].expand(-1, steps, -1), torch.stack(places, dim=-1)], dim=-1)
        tilted = [height, tilt * height, tilt.expand(-1, steps), swing.expand(-1, steps)]
        of_all = self.about(of_all) + self.tilted(torch.stack(tilted, dim=-1))
        newer = [who[:, HEARD:_OLDER].expand(batch, -1, -1), gain[:, None].expand(-1, CANDIDATES, -1)]
        tries = self.ago(ago) + self.late(late) + self.newer(torch.cat(newer, dim=-1)) + self.newest(who[:, _OLDER:])
        h = F.silu(self.candidate(of_each) + tries[:, None] + of_all[:, :, None])
        counted = usable.to(h)[:, None, :, None]
        company = (h * counted).sum(2) / counted.sum(2)
        h = F.silu(self.mix(h) + self.company(company)[:, :, None])
        logits = self.logit(h)[..., 0] + torch.log(shares + 1e-4)[:, None]
        weights = logits.masked_fill(~usable[:, None], -1e9).softmax(-1)
        size, shift = self.error((h * weights[..., None]).sum(2)).unbind(-1)
        deviation = profile.clamp_min(_LEAST).sqrt() * torch.exp(size.clamp(-5, 4))
        return (weights * forecasts).sum(-1) + shift.tanh() * deviation, deviation


class TunedWeighing(Weighing):
    """A network that was trained on for some series, and the one that it began from, as one.

    It gives the mean and the deviation of the mixture of both judgements (Winkler 1981, "Combining probability
    distributions from dependent information sources"): where the two disagree, errors are expected to be larger. So
    what the past of few series says does not rule where their future is unlike it.

    Attributes:
        before: where the training began.
        share: of the trained one in the mixture, a number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before = Weighing()
        self.share: Tensor
        self.register_buffer("share", torch.tensor(MOST_SHARE))

    @classmethod
    def of(cls, before: Weighing, trained: Weighing, share: float = MOST_SHARE) -> TunedWeighing:
        """Of copies of both networks, with a share of the trained one from 0 to 1."""
        made = cls()
        made.before.load_state_dict(before.state_dict())
        made.load_state_dict(trained.state_dict(), strict=False)
        made.share.fill_(share)
        return made.eval()

    def trained(self) -> Weighing:
        """The network that was trained on, alone: a copy."""
        made = Weighing()
        made.load_state_dict({name: part for name, part in self.state_dict().items() if name in made.state_dict()})
        return made.eval()

    def forward(self, *args: Tensor, **told: Tensor) -> tuple[Tensor, Tensor]:
        """As `Weighing.forward`."""
        (mean, deviation), (first, wide) = super().forward(*args, **told), self.before(*args, **told)
        share, rest = self.share, 1 - self.share
        variance = share * deviation**2 + rest * wide**2 + share * rest * (mean - first) ** 2
        return share * mean + rest * first, variance.sqrt()


def share_of(windows: float) -> float:
    """What share of the judgement a network gets that was trained on so many disjoint horizons: half of many, nearly
    none of a few dozen, from which it learns what does not hold (`benchmarks/weighing_share.py`)."""
    return MOST_SHARE * windows**2 / (windows**2 + _HALF_OF_IT**2)


def pool_inputs(pool: Pool, steps: np.ndarray) -> dict[str, np.ndarray]:
    """What `Weighing.forward` takes of some steps (n,) of a pool, counted from 0, float32 without the batch's axis."""
    apart = np.where(pool.usable[:, None], (pool.forecasts - pool.mean)[:, steps] / pool.scale, 0.0)
    apart = np.clip(apart, -_FARTHEST, _FARTHEST)
    told = {
        "forecasts": apart.T,
        "evidence": pool.evidence,
        "about": pool.about,
        "shares": pool.shares,
        "profile": pool.profile[steps],
        "step": steps + 1.0,
        "horizon": np.array([len(pool.mean)]),
        "tilt": np.array([pool.tilt]),
        "height": pool.height[steps],
        "ago": pool.ago,
        "swing": np.array([pool.swing]),
        "late": pool.late,
        "gain": np.array([pool.gain]),
    }
    return {name: part.astype(np.float32) for name, part in told.items()} | {"usable": pool.usable}


@lru_cache(maxsize=1)
def bundled_weighing() -> Weighing:
    """The weights that come with the package."""
    from safetensors.torch import load

    with single():
        network = Weighing()
    network.load_state_dict(load(files("tsdiff").joinpath("pretrained/weighing/model.safetensors").read_bytes()))
    return network.eval()


@torch.no_grad()
def weighed(pools: Sequence[Pool], network: Weighing | None = None) -> list[Pool]:
    """The pools with the mean, scale and profile that the network gives, asked once for all of one horizon; as they are
    where the past tells nothing.

    Args:
        pools: of forecasts.
        network: None takes the bundled one.
    """
    network = network or bundled_weighing()
    device = next(network.parameters()).device
    made, alike = list(pools), defaultdict(list)
    for place, pool in enumerate(pools):
        if pool.tries:
            alike[len(pool.mean)].append(place)
    for horizon, places in alike.items():
        told = [pool_inputs(pools[place], np.arange(horizon)) for place in places]
        together = {name: torch.from_numpy(np.stack([one[name] for one in told])).to(device) for name in told[0]}
        means, deviations = (part.double().cpu().numpy() for part in network(**together))
        for place, mean, size in zip(places, means, deviations, strict=True):
            pool, typical = pools[place], float(size.mean())
            centre = pool.mean + pool.scale * mean
            made[place] = replace(pool, mean=centre, scale=pool.scale * typical, profile=size / typical)
    return made


def squashed(values: Tensor) -> Tensor:
    """The values, logarithmic from 3 on, so that a spike does not rule a sum."""
    size = values.abs()
    return torch.sign(values) * torch.where(size <= _LINEAR, size, _LINEAR + torch.log1p((size - _LINEAR).clamp_min(0)))
