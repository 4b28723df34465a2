"""When the network is called."""

from __future__ import annotations

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.samplers import FlowMap, GaussianExponential, time_grid
from shared.sde import SDE


def call_times(sde: SDE, steps: int, log_snr_end: float, method: object = None) -> Tensor:
    """Times of `steps` network calls, uniform in log-SNR from T to `log_snr_end`, and 0: (steps + 1,).

    The last step is to clean data, which is the data prediction of the last call. Of a method with a teleport the calls
    lie behind it, and the first time is T all the same. The steps of a flow map, to which a last short one is of no
    use, are equally long.
    """
    if isinstance(method, FlowMap):
        return time_grid(sde, steps, "uniform", t_end=0.0)
    begin = method.first_step(sde, sde.T) if isinstance(method, GaussianExponential) else sde.T
    last = float(sde.time_of_log_snr(log_snr_end)) or 1e-5 * sde.T  # no time of some processes is as clean
    if begin < sde.T and last >= begin:
        raise ConfigError(f"a teleport to t={begin:.3g}, the last call at t={last:.3g}: raise log_snr_end")
    inner = time_grid(sde, steps - 1, "log_snr", begin, last) if steps > 1 else torch.tensor([begin])
    times = torch.cat([inner.double(), torch.zeros(1, dtype=torch.float64)])
    times[0] = sde.T
    return times
