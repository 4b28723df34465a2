"""The settings of a refinement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen

from shared.checks import DISTINCT, RISING, Checked, Count, Finite, NonNegative, Positive

Refinement = Literal["most_likely", "langevin", "mala", "hmc", "underdamped", "critically_damped"]
"""How samples move: down the energy, or as a chain that draws from it."""
Prior = Literal["mse", "quantile"]
"""How samples are held to the base forecast: by squared distances, or by the quantile loss at each one's level."""
Energy = Literal["denoising", "score"]
"""The model's part of the energy: the denoising loss, or minus the score."""

ADJUSTED: tuple[Refinement, ...] = ("mala", "hmc")
"""Methods that accept or reject."""


@dataclass(frozen=True)
class RefineConfig(Checked):
    """How base forecasts are refined. `docs/refine.md` tells what the settings do.

    Args:
        method: "most_likely" descends the energy; the others draw from exp(−energy/temperature): overdamped Langevin,
            also with an accept step ("mala"), Hamiltonian Monte Carlo, underdamped and critically damped Langevin.
        prior: how a sample y is held to the base forecast ỹ: "mse", λ·Σ(y − ỹ)², or "quantile",
            λ·Σ max(q(ỹ − y), (q − 1)(ỹ − y)) with the sample's own level q.
        prior_scale: λ, in network units. Steps that are not accepted or rejected follow up to 0.3 of a "quantile" one
            past the base forecast; what it has beyond that ends there.
        energy: the model's part: "denoising", the denoising loss, as published; or "score", minus the score, a third of
            the cost and less, for methods that compare no energies, with noise that is drawn anew. None takes "score"
            where both hold.
        log_snrs: representative noise levels of the model's part, as log(α/σ), ascending; `representative_log_snr`
            finds the published one. Several are quadrature nodes of the bound of −log p; "score" takes the last.
        redraw: draw the noise of the model's part anew before each step (each trajectory); otherwise each sample keeps
            its own.
        steps: of the optimiser or the chain.
        step_size: relative to the stiffest direction of the energy: 1 is the time in which that decays (descent and
            overdamped chains) or one radian of its swing (Hamiltonian and underdamped chains); stable below 2.
        temperature: of the chains; 1 draws from the energy's own density.
        leapfrog_steps: of each Hamiltonian trajectory.
        friction: of "underdamped", in units of the stiffest direction's frequency; "critically_damped" takes the
            critical one of a direction of the data's own variance.
        num_samples: of the refined forecasts.
        seed: of the noise; a sample depends on it, the item's name and time and its place, and nothing else.
        batch_rows: samples that go through the network together; bounds memory, does not change results.
    """

    method: Refinement = "most_likely"
    prior: Prior = "quantile"
    prior_scale: NonNegative = 0.3
    energy: Energy | None = None
    log_snrs: Annotated[tuple[Finite, ...], MinLen(1), DISTINCT, RISING] = (-0.25,)
    redraw: bool = True
    steps: Count = 12
    step_size: Positive = 1.0
    temperature: Annotated[Positive, "method='most_likely' is the limit at 0"] = 0.03
    leapfrog_steps: Count = 3
    friction: Positive = 1.0
    num_samples: Count = 100
    seed: int = 0
    batch_rows: Count = 512

    @property
    def chosen_energy(self) -> Energy:
        """`energy`, or what it stands for."""
        return self.energy or ("denoising" if self.method in ADJUSTED or not self.redraw else "score")

    def _related(self) -> None:
        met = self.energy != "score" or self.method not in ADJUSTED
        self._require(met, "method energy", "the method compares energies, which this one has not; take 'denoising'")
        met = self.energy != "score" or self.redraw
        self._require(met, "energy redraw", "one noise pushes the same way at every step; take 'denoising', or redraw")
