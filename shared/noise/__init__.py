"""Noise with a colour, or with heavy tails, as a setting of any process: `VPSDE(noise=…)`."""

from __future__ import annotations

from typing import Annotated

from shared.kinds import OneOf
from shared.noise.base import Noise
from shared.noise.kernels import Kernel, OrnsteinUhlenbeck, Periodic, SquaredExponential, SumOfKernels
from shared.noise.process import Conditioned, GaussianProcess
from shared.noise.student import StudentT

NoiseSetting = Annotated[Noise, OneOf(Noise, (GaussianProcess, StudentT))]
"""The type of a setting that is noise: an object, or a mapping of its kind and parameters."""
