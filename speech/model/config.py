"""What a speech model is: backbone, front end, process, parameterisation; and how it is sampled by default."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Le
from pydantic import model_validator

from shared.checks import Chance, Checked, Finite, Natural, NonNegative, Positive, Share, checked
from shared.kinds import OneOf
from shared.predictions import Inputs, Scaled
from shared.samplers import KINDS, Schedule
from shared.samplers.schedules import Steps, times_of
from shared.sde import OUVESDE, Process
from speech.audio.bands import UpperBand, choose_upper_band
from speech.model.backbones import BackboneConfig, NCSNppConfig
from speech.model.corrector import PublishedPC, is_pc, moved, taking_settings_of_pc
from speech.model.frontend import FrontEndConfig

Sampler = Literal[
    "pc", "ode", "sb_ode", "sb_sde", "ode1", "ode2", "ode3", "sde1", "sde2", "sde3", "evodiff", "euler", "heun", "map"
]
SamplerSetting = Annotated[Any, OneOf(None, (*KINDS, PublishedPC), names=get_args(Sampler))]
"""The type of a setting that is a sampler: a name, a settings object, or a mapping of its kind and fields."""
NetworkTime = Literal["now", "next"]
FramePadding = Literal["zero", "reflect"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Parameterisation(Scaled):
    """How a network's output F(c_in·x_t, c_in·y, t) becomes a score or data, c_skip·x_t + c_out·F (Richter et al. 2025,
    "Investigating training objectives for generative speech enhancement", §II); the fields are those of
    `shared.predictions.Scaled`, named as the published code's options are.

    Args:
        output: "score" or "data". The published "denoiser" is known too: a score with c_out = 1/σ² and c_skip = −1/σ²,
            so that F is the path's mean; it is told what it is called here.
    """

    output: Literal["score", "data", "denoiser"] = "score"  # type: ignore[assignment]
    sigma_data: float = 0.1
    inputs: ClassVar[Inputs] = "both"

    def __post_init__(self) -> None:
        if self.output == "denoiser":
            names = {"output": "score", "c_out": "1/sigma^2", "c_skip": "-1/sigma^2"}
            warnings.warn(f'output "denoiser" is now {", ".join(f"{k}: {v}" for k, v in names.items())}', stacklevel=3)
            for name, value in names.items():
                object.__setattr__(self, name, value)
        super().__post_init__()


def has_own_schedule(sampler: Any) -> bool:
    """Whether a sampler has a schedule of its own."""
    return is_pc(sampler) or sampler in ("sb_ode", "sb_sde", "ode")


@taking_settings_of_pc
@dataclass(frozen=True)
class SamplingConfig(Checked):
    """How the reverse process is run.

    Args:
        sampler: "pc": predictor–corrector as published for SGMSE+; `SamplingConfig("pc", snr=0.4)` is short for
            `SamplingConfig(PublishedPC(snr=0.4))`, and so for the names of `speech.model.corrector.BESIDE`. "ode":
            adaptive probability-flow ODE. "sb_ode", "sb_sde": the bridge samplers as published; "sb_ode" gives one
            sample whatever the seed. Others: the core's (`shared.samplers.sample`), by name, as a settings object such
            as `Exponential(2, eta=0.5)`, or of your own; "map" takes the jumps of a flow map, one call a step.
        steps: number of steps, up to 10,000; "ode" chooses its own.
        schedule: where the steps of the core's samplers lie; the published ones are uniform in time. Or the times
            themselves, `steps` + 1 of them from the start to the end, as `speech.inference.schedule` finds them for a
            model; `t_end` and `reverse_starting_point` then have no part.
        t_end: where the steps end; None means the process' own end. The core's samplers and "ode" then jump from there
            to the data prediction, "pc" takes its last step to 0; a value given here is where the core's samplers stop.
        reverse_starting_point: the time at which sampling starts, from y + σ(t)·noise (Lay et al. 2023).
        network_time: the time that the network is told in a step: that of the state ("now"), or the one after the step
            ("next"), as the published bridge samplers do; None means as published for "sb_ode" and "sb_sde", else
            "now".
        frame_padding: how the spectrogram of a recording is continued to the number of frames that the backbone needs.
        precision: of the network's convolutions and matrix products; the state stays in float32. "bfloat16" is about
            twice as fast where the processor has it, at a relative error of about a hundredth.
        suppression: power to which the gain |x̂|/|y| of every bin is raised where it is below 1: above 1 more is taken
            away, below 1 less. A data prediction of a compressed spectrogram estimates a mean of compressed values,
            and expands it to less than the mean of the values: its gains come out too low.
        fade_in: frames from where a recording begins to sound over which the estimate rises from nothing, in even
            steps of the compressed values. Before a network without look-ahead has heard a few frames it cannot tell
            noise from speech, and lets both pass. 0: no rise.
        least_level: in dB of full scale, of the mean square over a hop; what lies below is raised to it for the
            network, by at most 40 dB, and what comes of it lowered again (`speech.inference.held_level`). Of models
            that do not normalise: a recording's level, held from its loudest part on, as it comes; one beyond full
            scale is lowered. Of models that do, in files: the level around each moment of a recording divided by its
            peak, so that who is far quieter than another speaker is heard as on a recording of their own. None:
            recordings are seen as they are.
        keep_band: leave a recording as it is up to where its band ends (`speech.audio.edges`), and take of the estimate
            only what is above: for models that add a lost band.
        upper_band: what becomes of what a recording has above the model's band, where an enhancer is not told; None:
            "follow". See `speech.audio.bands.UpperBand`.
        attenuation_limit: in dB; the result has 10^(−limit / 20) of the recording in it, so that nothing falls further
            below it (DeepFilterNet's setting of that name). None: no limit.
        clean_share: of a recording that is clean already, the share that stays in the result: all of it where over the
            last seconds what is taken away is 26 dB below what is left, none where it is less than 19 dB below, what
            is below 120 Hz aside, and none in pauses; in the model's band, and not where what is above is dropped.
        makeup: in dB, by which the enhanced signal is raised: what a model's estimates of speech fall short of it by.
            Losses that scale a result to fit, as SI-SDR and PESQ, leave a model's level free. With `keep_band` it is of
            what is added alone.
    """

    sampler: SamplerSetting = "pc"
    steps: Steps = 30
    schedule: Schedule | tuple[float, ...] = "uniform"
    t_end: float | None = None
    reverse_starting_point: Share = 1.0
    network_time: NetworkTime | None = None
    frame_padding: FramePadding = "zero"
    precision: Precision = "float32"
    suppression: Annotated[NonNegative, "1 leaves gains as they are"] = 1.0
    fade_in: Natural = 0
    least_level: Annotated[Finite | None, "dB"] = None
    keep_band: bool = False
    upper_band: UpperBand | None = None
    attenuation_limit: Annotated[Positive | None, "dB"] = None
    clean_share: Chance = 0.0
    makeup: Annotated[Finite, Ge(-20.0), Le(20.0), "dB"] = 0.0

    @property
    def amplification(self) -> float:
        """What amplitudes of the enhanced signal are multiplied by, of `makeup`."""
        return float(10 ** (self.makeup / 20))

    @property
    def kept(self) -> float:
        """Share of the recording that stays in the result."""
        return 0.0 if self.attenuation_limit is None else float(10 ** (-self.attenuation_limit / 20))

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, given: Any) -> Any:
        return moved(given)

    def _related(self) -> None:
        start, end = self.reverse_starting_point, self.t_end
        self._require(end is None or 0 <= end < start, "t_end", f"need 0 <= t_end < {start}, where it starts")
        met = self.network_time != "next" or self.sampler in ("sb_ode", "sb_sde", "ode1", "sde1")
        need = "only the first-order bridge samplers (sb_ode, sb_sde, ode1, sde1) ask the network once a step"
        self._require(met, "network_time sampler", need)
        if isinstance(self.schedule, str):
            checked(Schedule, schedule=self.schedule)
        else:
            self._require(
                not has_own_schedule(self.sampler),
                "sampler schedule",
                "this sampler has a schedule of its own; take ode2",
            )
            object.__setattr__(self, "schedule", times_of(self.schedule, self.steps))


@dataclass(frozen=True)
class Companion(Checked):
    """A model whose results are averaged with those of another, where the best quality is asked for.

    Args:
        model: which, as `SpeechModel.from_pretrained` is told; a folder within the model's own goes first.
        share: of its results in the average, where they hold less than the model's own.
        beyond: the same where they hold more: what one of the two takes is more likely noise than speech.
    """

    model: str = "causal"
    share: Annotated[Chance, "0.5 is half"] = 0.4
    beyond: Annotated[Chance, "0.5 is half"] = 0.1


@dataclass(frozen=True)
class SpeechConfig(Checked):
    """What a speech model is.

    Args:
        backbone: the network, one of `speech.model.backbones` or settings of your own that build one.
        frontend: spectrograms.
        sde: the process.
        parameterisation: what the network's output means.
        sampling: used unless told otherwise.
        companion: what is averaged with it at quality "best"; None: nothing is.

    Raises:
        ConfigError: what is to become of the band above, `sampling.upper_band`, is not for models of this rate.
    """

    backbone: BackboneConfig = field(default_factory=NCSNppConfig)
    frontend: FrontEndConfig = field(default_factory=FrontEndConfig)
    sde: Process = field(default_factory=OUVESDE)
    parameterisation: Parameterisation = field(default_factory=lambda: Parameterisation(sign=-1))
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    companion: Companion | None = None

    def _related(self) -> None:
        choose_upper_band(self.sampling.upper_band, self.frontend.sample_rate)
