"""Windows drawn given what is observed of them: by self-guidance, or by a conditional network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gluonts.model.forecast import SampleForecast
from torch import Tensor

from shared.errors import ConfigError, DataError
from shared.guidance import Guidance
from shared.noise import Noise
from shared.precision import check_weights
from shared.predictions import NO_MAP
from shared.random import make_generator
from shared.samplers.gaussian import knowing
from shared.samplers.maps import FlowMap
from shared.sde import SDE
from tsdiff.data.entries import Series
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.model.times import call_times
from tsdiff.sampling.anchor_share import with_anchor_share
from tsdiff.sampling.dependence import with_past_share
from tsdiff.sampling.gaussian import guided_law
from tsdiff.sampling.guidance import (
    EnergyGuidance,
    ScalarGuidance,
    TraceGuidance,
    TweedieGuidance,
)
from tsdiff.sampling.known_covariance import KernelGuidance, WindowGuidance
from tsdiff.sampling.published import AncestralGuidance, DDIMGuidance, table_times
from tsdiff.sampling.settings import Observation, Sampling
from tsdiff.sampling.shuffle import FEWEST
from tsdiff.windows.conditioning import Place, Windows

GUIDANCES: dict[str, type[EnergyGuidance]] = {
    "ddpm": AncestralGuidance,
    "ddim": DDIMGuidance,
    "window": WindowGuidance,
    "kernels": KernelGuidance,
    "tweedie": TweedieGuidance,
    "trace": TraceGuidance,
    "scalar": ScalarGuidance,
}
"""What the published methods, and the covariances of the others, stand for."""


def quantile_levels(num_samples: int) -> np.ndarray:
    """The levels that quantile guidance draws samples to, (num_samples,): evenly spread inside (0, 1)."""
    return (np.arange(num_samples) + 1) / (num_samples + 1)


@dataclass(frozen=True)
class Rows:
    """What goes through the network together: draws of windows.

    Attributes:
        items: (rows,): which window each row is of.
        draws: (rows,): which draw of it.
        windows: one a row, on the model's device.
    """

    items: np.ndarray
    draws: np.ndarray
    windows: Windows

    def generators(self, seed: int, keys: Sequence[tuple[Any, ...]]) -> list[torch.Generator]:
        """A generator a row, a function of the seed, the key of its window and the number of the draw alone."""
        pairs = zip(self.items.tolist(), self.draws.tolist(), strict=True)
        return [make_generator(seed, *keys[item], draw) for item, draw in pairs]


@torch.inference_mode(False)  # guidance differentiates, whatever mode the caller is in
def for_each_draw(
    model: TSDiff,
    places: Sequence[Place],
    num_draws: int,
    batch_rows: int,
    work: Callable[[Rows], np.ndarray],
    hidden: int = 0,
    finish: Callable[[Windows, np.ndarray], np.ndarray] | None = None,
    ahead: bool = False,
) -> np.ndarray:
    """What `work` gives for every draw of every window, (windows, num_draws, …): the one loop over batches.

    Args:
        model: in evaluation mode.
        places: of the windows, at least one.
        num_draws: of each window.
        batch_rows: rows that go through the network together; bounds memory.
        work: gives one result a row, (rows, …).
        hidden: last steps of each window that a model with an anchor is not to know.
        finish: gives of some windows, and of what `work` gave for all their draws, (windows, num_draws, …), the results
            in their place.
        ahead: whether the windows' last steps alone are drawn, as forecasts are.
    """
    check_weights(model)
    together = max(1, batch_rows // num_draws)
    parts = []
    for first in range(0, len(places), together):
        windows = Windows.of(places[first : first + together], model.config, model.statistics, hidden, ahead)
        number = np.arange(len(windows) * num_draws)
        drawn = np.concatenate(
            [
                work(Rows(first + some // num_draws, some % num_draws, windows.rows(some // num_draws, model.device)))
                for some in np.array_split(number, range(batch_rows, len(number), batch_rows))
            ]
        )
        drawn = drawn.reshape(len(windows), num_draws, *drawn.shape[1:])
        parts.append(drawn if finish is None else finish(windows, drawn))
    return np.concatenate(parts)


def draw_windows(
    model: TSDiff,
    sampling: Sampling,
    windows: Windows,
    levels: np.ndarray,
    generators: Sequence[torch.Generator],
    first: int = 0,
) -> tuple[np.ndarray, int]:
    """A window for each row of `windows`, given what is observed of it.

    Args:
        model: in evaluation mode.
        sampling: how to draw.
        windows: on the model's device.
        levels: quantile level of each row, (batch,), for quantile guidance.
        generators: one a row.
        first: step of the window from which on it is given.

    Returns:
        Windows (batch, length − first, channels) in the network's units, and the network calls they took.
    """
    guidance = guidance_of(model, sampling, windows, levels, generators)
    shape = windows.values.shape[1:]
    method = knowing(sampling.sampler(), lambda: guided_law(guidance, model.law, sampling.method, shape))
    times = drawing_times(model, sampling)
    result = model.draw(
        windows.inputs, generators, times, first, sampling.temperature, method=method, guidance=guidance
    )
    return result.x[:, first:, : model.config.channels].cpu().numpy(), result.nfe


def finished(windows: Windows, drawn: np.ndarray, sampling: Sampling, ahead: bool = False) -> np.ndarray:
    """All draws (windows, draws, steps, channels) of some windows: from the network's units to the series'.

    Args:
        windows: some.
        drawn: of them.
        sampling: how they were drawn.
        ahead: whether they are forecasts from what all draws know, so that draws of one step may be rearranged.

    Raises:
        ConfigError: an `anchor_share` or `past_share` of a model without an anchor.
    """
    _check_shares(sampling, windows.around_anchor)
    draws = with_width(with_anchor_share(drawn.swapaxes(0, 1), sampling.anchor_share), sampling.width)
    if ahead and sampling.past_share:
        parts = zip(draws.swapaxes(0, 1)[..., 0], windows.missed, strict=True)  # an anchor is of one channel
        joined = np.stack([with_past_share(one, missed, sampling.past_share) for one, missed in parts], axis=1)
        draws = joined[..., None]
    return windows.drawn(draws, sampling.minimum, sampling.nonnegative, sampling.maximum).swapaxes(0, 1)


def check_drawing(sampling: Sampling, config: TSDiffConfig, is_map: bool) -> None:
    """Compare how is to be drawn with the model, before it is trained.

    Args:
        sampling: how.
        config: of the model.
        is_map: whether it is a flow map.

    Raises:
        ConfigError: no model of these settings can be drawn from so.
    """
    if isinstance(sampling.sampler(), FlowMap) and not is_map:
        raise ConfigError(NO_MAP)
    if sampling.is_published:
        _times_on(config.sde, sampling)
    _check_shares(sampling, config.scaling == "anchor")
    if config.sde.noise is not None and not config.conditional and isinstance(sampling.guidance, str):
        _check_coloured(sampling, config.sde.noise)


def _check_shares(sampling: Sampling, around_anchor: bool) -> None:
    for name in ("anchor_share", "past_share"):
        if getattr(sampling, name) and not around_anchor:
            raise ConfigError(
                f"{name}={getattr(sampling, name):g}: this model has no anchor whose law or errors could have a share; "
                "take 0, or a model with scaling='anchor'"
            )


def with_width(draws: np.ndarray, width: float) -> np.ndarray:
    """Draws (n, …) as far off their median, place by place, as they were times the width; fewer than 8 as they are."""
    if width == 1 or len(draws) < FEWEST:
        return draws
    middle = np.median(draws, axis=0)
    made: np.ndarray = middle + width * (draws - middle)
    return made.astype(draws.dtype)


GUIDED_AWAY = (
    "its values leave the range of single precision, or the guidance is too strong; rescale the series or lower `scale`"
)


def refuse_unfinite(drawn: Iterable[np.ndarray], whose: Sequence[str], why: str = GUIDED_AWAY) -> None:
    """Check draws, one array an item.

    Raises:
        DataError: those of an item are not all finite; the message says whose they are, and why that may be.
    """
    for values, name in zip(drawn, whose, strict=True):
        if not np.isfinite(values).all():
            raise DataError(f"the {name} is not finite: {why}")


def as_forecast(series: Series, samples: np.ndarray) -> SampleForecast:
    """GluonTS's forecast of what follows a series: samples (number, steps), or (number, steps, channels), of which one
    channel is left out."""
    single = samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples
    return SampleForecast(single, start_date=series.end, item_id=series.item_id, info=series.info)


def drawing_times(model: TSDiff, sampling: Sampling) -> Tensor:
    """Falling times of the steps, float64, (steps + 1,)."""
    return _times_on(model.sde, sampling)


def _times_on(sde: SDE, sampling: Sampling) -> Tensor:
    if sampling.schedule is not None:
        return torch.tensor(sampling.schedule, dtype=torch.float64)
    if sampling.method == "ddpm":
        return table_times(sde)
    if sampling.method == "ddim":
        return table_times(sde, sampling.skip, sampling.skip_type)
    return call_times(sde, sampling.steps, sampling.log_snr_end, sampling.sampler())


def guidance_of(
    model: TSDiff, sampling: Sampling, windows: Windows, levels: np.ndarray, generators: Sequence[torch.Generator]
) -> Guidance | None:
    """What draws windows towards their observed values; None of a conditional model. Arguments as of `draw_windows`."""
    if model.config.conditional:
        return None
    known = Observation(windows.values, windows.observed, torch.from_numpy(levels).to(windows.values))
    if not isinstance(sampling.guidance, str):
        return sampling.guidance.build(known)
    noise = model.sde.noise
    if noise is not None:
        _check_coloured(sampling, noise)
    kind = sampling.covariance or _usual_covariance(model)
    if sampling.is_published:
        kind = sampling.method
    return GUIDANCES[kind].of(known, sampling, model, generators)


def _usual_covariance(model: TSDiff) -> str:
    """What `Sampling.covariance` stands for where it is not given."""
    if model.statistics.covariance is not None:
        return "window"
    if model.sde.noise is not None:
        return "tweedie"
    return "kernels" if model.config.universal else "scalar"


def _check_coloured(sampling: Sampling, noise: Noise) -> None:
    if not noise.gaussian:
        raise ConfigError(
            f"self-guidance with {noise}: what observed values say is known for Gaussian noise alone; train with "
            "conditional=True, or take noise that is a GaussianProcess"
        )
    if sampling.is_published or sampling.covariance in ("scalar", "trace", "kernels"):
        raise ConfigError(
            f"method={sampling.method!r} with covariance={sampling.covariance!r}: with coloured noise take "
            "covariance='window' or 'tweedie', and a method of the core, such as 'ode2' or 'sde2'"
        )
