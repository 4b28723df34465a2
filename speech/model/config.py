"""What a speech model is: backbone, front end, process, parameterisation; and how it is sampled by default."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from shared.errors import ConfigError
from shared.files.settings import whole_number
from shared.kinds import chosen
from shared.samplers import MOST_STEPS, Schedule
from shared.sde import OUVESDE, Process
from speech.model.backbones import BackboneConfig, NCSNppConfig
from speech.model.frontend import FrontEndConfig

Output = Literal["score", "denoiser", "data"]
Sampler = Literal["pc", "ode", "sb_ode", "sb_sde", "ode1", "ode2", "ode3", "sde1", "sde2", "euler", "heun"]
NetworkTime = Literal["now", "next"]
FramePadding = Literal["zero", "reflect"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Parameterisation:
    """How a network's output F(c_in·x_t, c_in·y, t) becomes a score or data (Richter et al. 2025, "Investigating
    training objectives for generative speech enhancement", §II; the published code's options by their names there).

    Args:
        output: "score" is c_skip·x_t + c_out·F. "denoiser" takes F for the mean of the path at t, so that the score is
            (F − x_t)/σ². "data" is x̂_0 = c_skip·x_t + c_out·F.
        c_in: input scale, "1" or 1/√(σ² + sigma_data²).
        c_out: output scale, "1", "sigma", "1/sigma", or σ·sigma_data/√(σ² + sigma_data²).
        c_skip: share of the state, "0" or sigma_data²/(σ² + sigma_data²).
        network_scaling: the network's output is divided by σ or by t, before all else.
        sign: +1, or −1 where the network gives the negative of F, as that of the first published models does.
        sigma_data: of the "edm" scales.
    """

    output: Output = "score"
    c_in: Literal["1", "edm"] = "1"
    c_out: Literal["1", "sigma", "1/sigma", "edm"] = "1"
    c_skip: Literal["0", "edm"] = "0"
    network_scaling: Literal["1/sigma", "1/t"] | None = None
    sign: Literal[1, -1] = 1
    sigma_data: float = 0.1

    def __post_init__(self) -> None:
        _choose("output", self.output, get_args(Output))
        _choose("c_in", self.c_in, ("1", "edm"))
        _choose("c_out", self.c_out, ("1", "sigma", "1/sigma", "edm"))
        _choose("c_skip", self.c_skip, ("0", "edm"))
        _choose("network_scaling", self.network_scaling, (None, "1/sigma", "1/t"))
        _choose("sign", self.sign, (1, -1))
        if not self.sigma_data > 0:
            raise ConfigError(f"sigma_data={self.sigma_data}: need a positive standard deviation")


@dataclass(frozen=True)
class SamplingConfig:
    """How the reverse process is run.

    Args:
        sampler: "pc": predictor–corrector as published for SGMSE+. "ode": adaptive probability-flow ODE. "sb_ode",
            "sb_sde": the bridge samplers as published. Others: the core's (`shared.samplers.sample`).
        steps: number of steps, up to 10,000; "ode" chooses its own.
        corrector, corrector_steps, snr: of "pc"; at most 100 corrector steps a step.
        schedule: where the steps of the core's samplers lie; the published ones are uniform in time.
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
        probability_flow: of "pc": the predictor follows the probability-flow ODE, and only the corrector adds noise.
    """

    sampler: Sampler = "pc"
    steps: int = 30
    corrector: Literal["ald", "langevin", "none"] = "ald"
    corrector_steps: int = 1
    snr: float = 0.5
    schedule: Schedule = "uniform"
    t_end: float | None = None
    reverse_starting_point: float = 1.0
    network_time: NetworkTime | None = None
    frame_padding: FramePadding = "zero"
    precision: Precision = "float32"
    suppression: float = 1.0
    probability_flow: bool = False

    def __post_init__(self) -> None:
        _choose("sampler", self.sampler, get_args(Sampler))
        _choose("corrector", self.corrector, ("ald", "langevin", "none"))
        _choose("schedule", self.schedule, get_args(Schedule))
        _choose("network_time", self.network_time, (None, "now", "next"))
        _choose("frame_padding", self.frame_padding, get_args(FramePadding))
        _choose("precision", self.precision, get_args(Precision))
        for name, least, most in (("steps", 1, MOST_STEPS), ("corrector_steps", 0, 100)):
            value = whole_number(name, getattr(self, name))
            if not least <= value <= most:
                raise ConfigError(f"{name}={value}: need a whole number from {least} to {most}")
            object.__setattr__(self, name, value)
        if not 0 < self.reverse_starting_point <= 1:
            raise ConfigError(f"reverse_starting_point={self.reverse_starting_point}: need a time in (0, 1]")
        if self.t_end is not None and not 0 <= self.t_end < self.reverse_starting_point:
            raise ConfigError(f"t_end={self.t_end}: need 0 <= t_end < {self.reverse_starting_point}, where it starts")
        if not 0 <= self.suppression < math.inf:
            raise ConfigError(f"suppression={self.suppression}: need a power of at least 0; 1 leaves gains as they are")
        if self.probability_flow and self.sampler != "pc":
            raise ConfigError(
                f'probability_flow=True with sampler {self.sampler!r}: it is a setting of "pc"; set it to False, or '
                'sampler to "pc"'
            )
        if self.network_time == "next" and self.sampler not in ("sb_ode", "sb_sde", "ode1", "sde1"):
            raise ConfigError(
                f'network_time="next" with sampler {self.sampler!r}: only the first-order bridge samplers (sb_ode, '
                "sb_sde, ode1, sde1) ask the network once a step"
            )


@dataclass(frozen=True)
class SpeechConfig:
    """What a speech model is.

    Args:
        backbone: the network; `kind` tells which.
        frontend: spectrograms.
        sde: the process.
        parameterisation: what the network's output means.
        sampling: used unless told otherwise.
    """

    backbone: BackboneConfig = field(default_factory=NCSNppConfig)
    frontend: FrontEndConfig = field(default_factory=FrontEndConfig)
    sde: Process = field(default_factory=OUVESDE)
    parameterisation: Parameterisation = field(default_factory=lambda: Parameterisation(sign=-1))
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sde", chosen(Process, self.sde, "sde"))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def _choose(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}={value!r}: choose one of {', '.join(map(repr, allowed))}")
