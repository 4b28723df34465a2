"""The forecasters that go by a name: GluonTS's own with settings that do well in minutes, and two of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.time_feature import get_lags_for_frequency, time_features_from_frequency_str
from gluonts.transform import ExpectedNumInstanceSampler

from shared.checks import Count, checked
from shared.errors import ConfigError, DataError
from shared.random import derive_seed
from tsdiff.baselines.base import STEPS_PER_EPOCH, TrainingJob
from tsdiff.baselines.ets import AutoETSPredictor, ets_model
from tsdiff.baselines.linear import LinearEstimator, ridge
from tsdiff.data import Entry, candidate_seasons

Forecaster: TypeAlias = Estimator | Predictor
"""What is trained, or forecasts as it is."""
Builder = Callable[..., Forecaster]


def seasonal_naive(job: TrainingJob, entries: list[Entry], lag: int | None = None) -> Predictor:
    """GluonTS's `SeasonalNaivePredictor`; a missing value counts as the last one observed before it.

    Args:
        job, entries: what to forecast.
        lag: the season in steps; None takes the primary season of the frequency (hourly 24, daily 7, …).
    """
    checked(Count | None, lag=lag)
    return SeasonalNaivePredictor(job.prediction_length, season_length=lag or candidate_seasons(job.freq)[0])


def linear(job: TrainingJob, entries: list[Entry], **settings: Any) -> Estimator:
    """`LinearEstimator`; the default context is four horizons, or half of what the longest series has before its last
    one, where no series holds so many."""
    longest, horizon = max((len(entry["target"]) for entry in entries), default=0), job.prediction_length
    usual = 4 * horizon if longest >= 5 * horizon else max(1, (longest - horizon) // 2)
    context = job.context_length or usual
    return LinearEstimator(job.prediction_length, context, seed=derive_seed(job.seed, "linear"), **settings)


def auto_ets(job: TrainingJob, entries: list[Entry], season: int | None = None, **settings: Any) -> Predictor:
    """`AutoETSPredictor`; None takes the primary season of the frequency."""
    season = candidate_seasons(job.freq)[0] if season is None else season
    return AutoETSPredictor(job.prediction_length, season, **settings)


def deepar(job: TrainingJob, entries: list[Entry], **settings: Any) -> Estimator:
    """GluonTS's `DeepAREstimator` (Salinas et al. 2020); the default context is one season or twice the horizon,
    whatever is longer, beside the lags."""
    from gluonts.torch.model.deepar import DeepAREstimator

    defaults = {
        "freq": job.freq,
        "num_layers": 2,
        "hidden_size": 40,
        "dropout_rate": 0.1,
        "lags_seq": get_lags_for_frequency(job.freq),
        "time_features": time_features_from_frequency_str(job.freq),
        "num_parallel_samples": job.num_samples,
        **_common(job, entries, seasons=1, horizons=2),
    }
    return DeepAREstimator(**{**defaults, **settings})


def patchtst(job: TrainingJob, entries: list[Entry], **settings: Any) -> Estimator:
    """GluonTS's `PatchTSTEstimator` (Nie et al. 2023, with a Student-t output); the default context is two long seasons
    or five horizons, whatever is longer, in patches of 16 by 8, or of a quarter and an eighth of a context below 64."""
    from gluonts.torch.model.patch_tst import PatchTSTEstimator

    common = _common(job, entries, seasons=2, horizons=5, longest=True)
    context = common["context_length"]
    patch = settings.get("patch_len") or (16 if context >= 64 else max(1, context // 4))
    if patch > context:
        raise ConfigError(f"patch_len is {patch}, longer than the context of {context} steps; give a shorter one")
    defaults = {"patch_len": patch, "stride": max(1, patch // 2), **_encoder(settings), **common}
    return PatchTSTEstimator(**{**defaults, **settings})


def transformer(job: TrainingJob, entries: list[Entry], **settings: Any) -> Estimator:
    """GluonTS's `LagTSTEstimator`, a Transformer over time steps whose inputs are lagged values: it stands where the
    TSDiff paper has the Transformer of GluonTS's former MXNet models. The default context is one season or one horizon,
    whatever is longer, beside the lags."""
    from gluonts.torch.model.lag_tst import LagTSTEstimator

    defaults = {"freq": job.freq, "lags_seq": get_lags_for_frequency(job.freq), **_encoder(settings)}
    return LagTSTEstimator(**{**defaults, **_common(job, entries, seasons=1, horizons=1), **settings})


BASELINES: dict[str, Builder] = {
    "seasonal_naive": seasonal_naive,
    "linear": linear,
    "auto_ets": auto_ets,
    "deepar": deepar,
    "patchtst": patchtst,
    "transformer": transformer,
}
"""What makes the estimator or predictor of each name, with the settings that it has unless told otherwise."""
BASELINE_NAMES = tuple(BASELINES)
"""The names that `train_baseline` takes."""
_NEEDED: dict[str, Callable[[], Any]] = {"linear": ridge, "auto_ets": ets_model}


def check_installed(name: str) -> None:
    """Refuse a forecaster of these whose package is not there, before any work is done.

    Raises:
        MissingPackageError: it is not installed.
    """
    if name in _NEEDED:
        _NEEDED[name]()


def lags_up_to(freq: str, longest: int) -> list[int]:
    """GluonTS's lags for the frequency, none longer than `longest` steps."""
    return [lag for lag in get_lags_for_frequency(freq) if lag <= longest] or [1]


def _common(
    job: TrainingJob, entries: list[Entry], *, seasons: int, horizons: int, longest: bool = False
) -> dict[str, Any]:
    """What all networks are given; the context is a number of seasons or of horizons, whatever is longer.

    The season is the primary one of the frequency, or with `longest` the longest one of at most 200 steps (hourly:
    the week).
    """
    found = [season for season in candidate_seasons(job.freq) if season <= 200]
    season = max(found) if longest else found[0]
    context = job.context_length or max(seasons * season, horizons * job.prediction_length)
    return {
        "prediction_length": job.prediction_length,
        "context_length": context,
        "num_batches_per_epoch": STEPS_PER_EPOCH,
        "train_sampler": _sampler(entries, context, job.prediction_length),
    }


def _encoder(settings: dict[str, Any]) -> dict[str, Any]:
    """Of a small Transformer; its feed-forward layers are four times as wide as the others."""
    width, heads = settings.get("d_model", 32), settings.get("nhead", 4)
    if width % heads:
        raise ConfigError(f"d_model {width} is not a multiple of nhead {heads}; give one that is")
    sizes = {"d_model": width, "nhead": heads, "dim_feedforward": 4 * width, "num_encoder_layers": 2}
    return {**sizes, "dropout": 0.1, "scaling": "mean"}


def _sampler(entries: list[Entry], context: int, horizon: int) -> ExpectedNumInstanceSampler:
    """One window a series and pass; its context is whole, or at least half of the shortest series, and padded."""
    lengths = [len(entry["target"]) for entry in entries]
    if max(lengths) <= horizon:
        raise DataError(f"no series is longer than the horizon of {horizon} steps (the longest has {max(lengths)})")
    min_past = min(context, max(1, (min(lengths) - horizon) // 2))
    return ExpectedNumInstanceSampler(num_instances=1.0, min_past=min_past, min_future=horizon)
