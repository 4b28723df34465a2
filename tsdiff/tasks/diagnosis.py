"""A model's score by itself: `shared.diagnostics` on windows of series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice

import torch

from shared.checks import Count, checked
from shared.diagnostics import Diagnosis, DiagnosisSettings, diagnose
from shared.errors import ConfigError, DataError
from tsdiff.data.entries import Entry, Series
from tsdiff.data.named import by_names
from tsdiff.model.model import TSDiff
from tsdiff.windows.conditioning import Place, Windows
from tsdiff.windows.series import trainable_series

_MOST_SERIES = 256
"""Series that are read; windows are taken from these."""


@torch.inference_mode(False)  # derivatives are taken, whatever mode the caller is in
def diagnose_model(
    model: TSDiff,
    dataset: Iterable[Entry],
    settings: DiagnosisSettings | None = None,
    *,
    windows: int = 8,
    progress: bool = False,
) -> Diagnosis:
    """Measure a model's score on the last windows of series, missing values filled as in training.

    A conditional model is told of each window what it is told when it forecasts; one with an anchor nothing.

    Args:
        model: of one frequency (`TSDiff.adapted`).
        dataset: GluonTS entries; the first 256 are looked at.
        settings: what is measured.
        windows: how many, from as many series as there are, and then from farther back.
        progress: whether to show a bar.

    Raises:
        DataError: no series holds an observed value, or one cannot be used.
        ConfigError: see `shared.diagnostics.diagnose`; or what is no model.
    """
    if not isinstance(model, TSDiff):
        raise ConfigError(f"model={model!r}: need a TSDiff, such as a predictor's .model")
    config = model.config
    series = list(islice(trainable_series(by_names(dataset, [model]), config), _MOST_SERIES))
    if not series:
        raise DataError("no series holds an observed value; give some to take windows from")
    places = _places(series, config.length, checked(Count, windows=windows))
    hidden = config.length if config.conditional and config.draws_whole else 0
    batch = Windows.of(places, config, model.statistics, hidden)
    x0 = batch.bridged(config.gap_seasons)
    if not config.draws_whole:
        seen = batch.observed.clone()
        seen[:, config.context_length :] = 0
        batch = batch.observing(batch.values * seen, seen)
    inputs = {name: part.to(model.device) for name, part in batch.inputs.items()}
    read, anchor = model.eval().read(inputs), model.anchor(inputs)
    denoise = partial(model, y=anchor, **read)
    return diagnose(denoise, model.sde, x0.to(model.device), anchor, settings, progress=progress)


def _places(series: Sequence[Series], length: int, count: int) -> list[Place]:
    """The last window of each series in turn, then those before; of a short series what there is."""
    places = []
    for number in range(count):
        one, back = series[number % len(series)], number // len(series)
        places.append((one, max(len(one) - (1 + back) * length, min(0, len(one) - length))))
    return places
