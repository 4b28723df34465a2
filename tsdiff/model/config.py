"""What a TSDiff model is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from shared.checks import Positive
from shared.errors import ConfigError
from shared.kinds import OneOf
from shared.noise import Conditioned, GaussianProcess
from shared.predictions import NetworkOutput
from shared.sde import SDE, DiscreteVPSDE, Process, linear_betas
from tsdiff.data.frequency import base_freq, candidate_seasons
from tsdiff.model.backbones import ContextConfig, S4Config, S4DConfig, SpaceTimeConfig
from tsdiff.windows.config import WindowConfig

_LONGEST_PATCH = 48


BackboneConfig = Annotated[Any, OneOf(None, (S4DConfig, S4Config, SpaceTimeConfig, ContextConfig), default="s4d")]
"""Settings of a network, by `kind`; models that were saved before there were two have none."""


def paper_sde() -> DiscreteVPSDE:
    """TSDiff's table: 100 steps, betas linear from 1e-4 to 0.1 (Kollovieh et al. 2023, appendix B)."""
    return DiscreteVPSDE(linear_betas(100, 1e-4, 0.1))


@dataclass(frozen=True)
class TSDiffConfig(WindowConfig):
    """What a TSDiff model is: windows, network and process.

    Args:
        backbone: settings of the network: the patched S4D; SpaceTime's; the published S4, which needs a process that is
            a table; or a class of your own, with a `kind` and a `build` (docs/extending.md).
        sde: the diffusion process.
        output: what the network predicts.
        regression: of a conditional model whose process has noise that is a Gaussian process: sampling starts from that
            process given the context, whose values are trusted to this standard deviation, in the network's units
            (TSFlow; Kollovieh et al. 2025). None starts from the noise as it is.
    """

    backbone: BackboneConfig = field(default_factory=S4DConfig)
    sde: Process = field(default_factory=paper_sde)
    output: NetworkOutput = "velocity"
    regression: Positive | None = None

    def _related(self) -> None:
        super()._related()
        met = self.scaling == "anchor" or not isinstance(self.backbone, ContextConfig)
        self._require(met, "scaling", "the backbone 'context' is told of a window by its anchor: take scaling='anchor'")
        need = f"need a multiple of the patch, {self.patch}, for their sum; `fitting_context` gives a context that fits"
        self._require(self.length % self.patch == 0, "context_length prediction_length", need)
        met = self.regression is not None or self.sde.prior_std > 0
        self._require(met, "sde", "a bridge starts from an anchor, which series have none of; take vp, ouve or flow")
        if self.regression is not None:
            self._require(self.conditional, "regression conditional", "only a conditional model is told the context")
            _ = self.start

    @property
    def start(self) -> Conditioned | None:
        """See `WindowConfig`."""
        if self.regression is None:
            return None
        if not isinstance(self.sde.noise, GaussianProcess):
            raise ConfigError(
                f"regression={self.regression} on noise {self.sde.noise}: give the process (sde) noise that is a "
                "GaussianProcess"
            )
        return self.sde.noise.given(self.context_length, self.regression)

    @property
    def path(self) -> SDE:
        """The process with the noise that sampling starts from."""
        return self.sde if self.start is None else self.sde.with_noise(self.start)

    @property
    def patch(self) -> int:
        """Points in a token of the network; 1 where it has none."""
        return patch_of(self.backbone)


def patch_of(backbone: Any) -> int:
    """Points in a token of a network with these settings; 1 where they state none."""
    return int(getattr(backbone, "patch", 1))


def default_patch(freq: str) -> int:
    """Points in a token for a normalised frequency: its primary season, or 8 where that is too long."""
    season = candidate_seasons(freq)[0]
    if season > _LONGEST_PATCH:
        return 4 if base_freq(freq) == "W" else 8
    return season
