"""How forecasts are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from annotated_types import Le
from torch import Tensor

from shared.checks import Chance, Checked, Count, Finite, NonNegative, Positive
from shared.kinds import OneOf
from shared.samplers import KINDS, METHODS, Sampler, method_from
from shared.samplers.schedules import Steps, times_of

Energy = Literal["mse", "quantile", "robust"]
Covariance = Literal["window", "tweedie", "trace", "scalar", "kernels"]
PUBLISHED = {"ddpm": "sde1", "ddim": "ode1"}
"""The published samplers (`tsdiff.sampling.published`), and the core's methods that they are."""
GuidanceSetting = Annotated[Any, OneOf(None, (), names=get_args(Energy))]
SamplingMethod = Annotated[Any, OneOf(None, KINDS, names=(*METHODS, *PUBLISHED))]
SkipType = Literal["uniform", "quadratic"]
_MOST_ROWS = 1 << 16
OF_GUIDANCE = ("guidance", "covariance", "scale", "observation_std", "kernel_share")
"""Fields of `Sampling` that guidance alone goes by."""


@dataclass(frozen=True)
class Observation:
    """What guidance leads a batch of windows to, in the network's units.

    Attributes:
        values: observed values, (batch, length, channels), 0 where there is none.
        observed: of 0 and 1, shaped like `values`.
        quantiles: level of each sample, (batch,), evenly spread over a forecast's.
    """

    values: Tensor
    observed: Tensor
    quantiles: Tensor


@dataclass(frozen=True)
class Sampling(Checked):
    """How forecasts are drawn.

    Args:
        guidance: energy of observation self-guidance: "mse" (Gaussian likelihood of the observed values), "quantile"
            (each sample is drawn to its own quantile of them), or "robust" (as "mse", but values far from what their
            neighbours tell count little; not of the published methods). Or settings of your own, a frozen dataclass
            with a `kind` and `build(observation: Observation) -> Guidance` (docs/extending.md).
        covariance: how far an observed value moves the others: as far as in the training windows ("window", which
            costs no gradient of the network), as the network's Jacobian says ("tweedie"), or along it with one
            variance for all, of the training windows ("scalar") or from the Jacobian's traces ("trace"), or as far as
            in the Gaussian process that explains the observed values best among a fixed family ("kernels"); see
            `tsdiff.sampling.guidance`. None takes "window" where the model knows the covariance of its training
            windows, "tweedie" where its noise has a colour, "kernels" where its calendar is "season", as of models of
            all frequencies, and else "scalar".
        scale: strength of the guidance; 1 is the likelihood's own. With "scalar" about 3 is too strong.
        observation_std: standard deviation that an observed value is trusted to, in scaled units; None takes
            0.02 with "mse" and "robust", and 0.1 with "quantile", where it also widens the intervals.
        kernel_share: with "kernels", share of the Gaussian process in the data prediction; the rest is the network's.
        method: of `shared.samplers.sample`, a name or a settings object; or as published, "ddpm", "ddim"
            (`tsdiff.sampling.published`), where `scale` is the published one, and `covariance`, `observation_std`,
            `steps` and `log_snr_end` have no part.
        steps: network calls of a multistep method, up to 10,000.
        log_snr_end: log-SNR of the last call; the result is the data prediction there.
        eta: noise of an exponential integrator, see `Exponential`; None takes the method's own: 1 for "sde1",
            "sde2", "ddpm", else 0.
        temperature: deviation of the noise that draws start from, by the process' own. Few calls draw too narrowly;
            above 1 widens intervals again.
        width: how far draws are off their median at each step, by how far they were drawn: below 1 narrows the
            intervals of a model whose they are too wide on series that it has not seen, above 1 widens them. Fewer
            than 8 draws, and refinements, stay as they are.
        anchor_share: of a model with an anchor: share of the anchor's own law in the quantiles of each step's draws
            (`tsdiff.sampling.anchor_share`). The law of series unlike those of its training is met better so.
        past_share: of a model with an anchor: share of the correlation that its anchor's errors had on the series' past
            in that of the steps of each forecast's paths (`tsdiff.sampling.dependence`); the rest is the draws' own.
            Single steps stay as they are; sums over them have the width that errors of the past had. Gaps, and steps
            beyond the model's reach, are drawn without.
        skip: of "ddim": of the table's steps every skip-th is used.
        skip_type: of "ddim": "uniform" or "quadratic".
        minimum: samples below it are raised to it, in the series' own units: 0 for counts and amounts; None for none.
        maximum: samples above it are lowered to it: 100 for percentages, a capacity; None for none. A note tells of
            series that have been above it, or below `minimum`.
        nonnegative: windows of which no observed value is below 0 get no sample below 0, as for counts and amounts.
        counts: series of which no observed value is below 0 keep their share of zeros, and those of whole numbers get
            whole samples, none of both below 0 (`tsdiff.sampling.zeros`); no sample passes a value that its series
            often reaches and never passes, unless `minimum` or `maximum` is given (`tsdiff.sampling.limits`); and what
            stays where it is but for jumps, as prices do, goes on so (`tsdiff.sampling.jumps`), and running totals are
            drawn by what they grow by (`tsdiff.tasks.totals`).
        covariates: of a model that takes none: feat_dynamic_real enters by a regression of each series, where that
            helps (`tsdiff.tasks.covariates`). Otherwise it is left out.
        calendar_days: series of days, working days, hours and minutes are drawn with what they are off on days of the
            month and the year that clearly differ, such as month's ends and Christmas (`tsdiff.tasks.calendar_days`,
            `tsdiff.tasks.calendar_hours`).
        seed: of the samples; an item's samples depend on it, the item's name and time, and nothing else, but with an
            `anchor_share` or `past_share` on their number.
        schedule: times of the network calls and of the end, as `tsdiff.evaluation.schedule` finds them for a model:
            `steps` + 1 falling numbers, of which 0 is clean data; `log_snr_end` then has no part. None: uniform in
            log-SNR.
        batch_rows: samples that go through the network together, up to 65,536; bounds memory, does not change results,
            but for windows without a scale in a model whose `default_scale` is 0.
    """

    guidance: GuidanceSetting = "mse"
    covariance: Covariance | None = None
    scale: NonNegative = 1.0
    observation_std: NonNegative | None = None
    kernel_share: Chance = 0.0
    method: SamplingMethod = "sde2"
    steps: Steps = 16
    log_snr_end: Finite = 2.5
    eta: float | None = None
    skip: Steps = 1
    skip_type: SkipType = "uniform"
    minimum: Finite | None = None
    nonnegative: bool = False
    seed: int = 0
    batch_rows: Annotated[Count, Le(_MOST_ROWS)] = 512
    schedule: tuple[float, ...] | None = None
    counts: bool = False
    covariates: bool = False
    temperature: Positive = 1.0
    anchor_share: Chance = 0.0
    past_share: Chance = 0.0
    maximum: Finite | None = None
    calendar_days: bool = False
    width: Positive = 1.0

    def _related(self) -> None:
        self.sampler()  # which checks eta
        if self.minimum is not None and self.maximum is not None:
            self._require(self.minimum <= self.maximum, "minimum maximum", "the first is not to be above the second")
        robust = self.guidance == "robust"
        self._require(
            not (self.is_published and robust), "method guidance", "its energy is not the published one; take 'mse'"
        )
        if self.schedule is not None:
            self._require(not self.is_published, "method schedule", "it steps through a table; take sde1 or ode1")
            object.__setattr__(self, "schedule", times_of(self.schedule, self.steps))

    @property
    def is_published(self) -> bool:
        """Whether the method is one of the published samplers, which step through a table."""
        return isinstance(self.method, str) and self.method in PUBLISHED

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The least and the most that a sample may be."""
        return self.minimum, self.maximum

    def sampler(self) -> Sampler:
        """The core's method.

        Raises:
            ConfigError: `eta` is out of range, or the method has none.
        """
        name = PUBLISHED[self.method] if self.is_published else self.method
        return method_from(name, **({} if self.eta is None else {"eta": self.eta}))

    @property
    def trust(self) -> float:
        """The standard deviation that an observed value is trusted to."""
        return _TRUST.get(self.guidance, _TRUST["mse"]) if self.observation_std is None else self.observation_std


_TRUST: dict[Any, float] = {"mse": 0.02, "quantile": 0.1}
