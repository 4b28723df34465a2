"""How the bundled model `default` is made: its settings, what it is trained on, what it is validated on.

Sets for validation are not in its training at all, so that what is chosen by them is chosen zero-shot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch

from shared.flow_maps.start import as_map, start_map
from shared.objectives import DiffusionLoss, TimeSampler
from shared.random import derive_seed
from shared.sde import VPSDE
from shared.training.config import TrainingConfig
from tsdiff.model.backbones import ContextConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.pretraining.corpus import Corpus
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.config import ANY_FREQ

from .sets import FREQUENCIES, TrainingSet, further_sets, real_groups, synthetic_groups

LENGTH, LONGEST_HORIZON = 512, 128

CONFIG = TSDiffConfig(
    freq=ANY_FREQ,
    prediction_length=LONGEST_HORIZON,
    context_length=LENGTH - LONGEST_HORIZON,
    scaling="anchor",
    calendar="season",
    conditional=True,
    backbone=ContextConfig(patch=16),
    sde=VPSDE(),
)
TRAINING = TrainingConfig(
    max_steps=7000, learning_rate=2e-3, weight_decay=1e-2, ema_decay=0.998, warmup=0.03, save_every_seconds=120.0
)
MAP_TRAINING = replace(TRAINING, max_steps=3000, learning_rate=7e-4, seed=5)
"""Of a flow map that goes on from it, with the jumps of `tsdiff.pretraining.training`."""
GPU_TRAINING = replace(TRAINING, max_steps=20000, num_workers=14, save_every_seconds=60.0)
"""Of batches of `GPU_BATCH` windows. In float32 and not compiled: the network is small, and its shapes change with the
batch. Nothing has run so on a card yet."""
BATCH, GPU_BATCH = 48, 256
"""Windows in a batch."""
LOSS = DiffusionLoss(times=TimeSampler("log_normal", mean=0.0, std=1.6))
SAMPLING = Sampling(
    method="ode2",
    steps=3,
    temperature=1.4,
    anchor_share=0.65,
    past_share=1.0,
    log_snr_end=3.0,
    nonnegative=True,
    counts=True,
    batch_rows=6400,
)
MAP_SAMPLING = replace(SAMPLING, method="map", steps=2, temperature=1.0, anchor_share=0.0, past_share=0.0)

TRAINING_SETS: Mapping[str, TrainingSet] = MappingProxyType(
    {
        "pjm_hourly": TrainingSet(1.2, 96, 24, {"D": 0.4, "2h": 0.2}),
        "nyc_weather_hourly": TrainingSet(1.0, 96, 24, {"D": 0.4}),
        "nyc_departures_hourly": TrainingSet(0.8, 96, 24, {"D": 0.3}, total=True),
        "vic_elec_half_hourly": TrainingSet(0.6, 192, 48, {"h": 0.3}),
        "la_speed_15min": TrainingSet(0.8, 96, 24, {}),
        "gafa_stock_bday": TrainingSet(0.5, 60, 30, {}),
        "electricity_weekly": TrainingSet(1.0, 8, 8, {}),
        "ansett_weekly": TrainingSet(0.3, 8, 8, {}),
        "fred_md": TrainingSet(1.2, 12, 12, {"Q-DEC": 0.4}),
        "m1_monthly": TrainingSet(0.6, 18, 18, {}),
        "m3_monthly": TrainingSet(1.0, 18, 18, {}),
        "pbs_monthly": TrainingSet(0.6, 18, 18, {}),
        "m1_quarterly": TrainingSet(0.4, 8, 8, {}),
        "m3_quarterly": TrainingSet(0.7, 8, 8, {}),
        "m3_other": TrainingSet(0.3, 8, 8, {}),
        "m1_yearly": TrainingSet(0.4, 6, 6, {}),
        "m3_yearly": TrainingSet(0.5, 6, 6, {}),
    }
)
VALIDATION_SETS: Mapping[str, int] = MappingProxyType(
    {
        "chicago_l_daily": 14,
        "aus_retail_monthly": 18,
        "beijing_air_hourly": 24,
        "traffic_weekly": 8,
        "epf_hourly": 24,
        "aus_livestock_monthly": 18,
    }
)
"""Their horizons; settings are chosen by the ends of these sets' training parts, and of the training sets'."""


def new_model(config: TSDiffConfig = CONFIG, seed: int = 0) -> TSDiff:
    """An untrained model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        return TSDiff(config)


def flow_map_of(model: TSDiff) -> TSDiff:
    """A flow map with the weights of a model, which begins as no other."""
    made = TSDiff(replace(model.config, backbone=as_map(model.config.backbone)))
    start_map(made, model.state_dict())
    return made


def default_source(
    folder: Path, synthetic: int, seed: int, batch_size: int = BATCH, further: Path | None = None
) -> AnchoredSource:
    """What the model is trained on.

    Args:
        folder: of the sets.
        synthetic: number of synthetic series.
        seed: of these.
        batch_size: windows in a batch.
        further: folder of more sets.

    Raises:
        DataError: a set is missing or cannot be read.
    """
    more = {} if further is None else further_sets(further)
    groups = real_groups(folder, TRAINING_SETS, LENGTH)[0]
    if further is not None:
        groups += real_groups(further, more, LENGTH)[0]
    made = synthetic_groups(FREQUENCIES, synthetic, 2 * LENGTH, seed)
    horizons = {name: about.prediction_length for name, about in {**TRAINING_SETS, **more}.items()}
    return AnchoredSource(Corpus(groups, made), CONFIG, batch_size, horizons=horizons)


def further_source(folder: Path) -> AnchoredSource:
    """Windows of further sets alone.

    Args:
        folder: of the sets.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    more = further_sets(folder)
    horizons = {name: about.prediction_length for name, about in more.items()}
    return AnchoredSource(Corpus(real_groups(folder, more, LENGTH)[0]), CONFIG, BATCH, horizons=horizons)
