"""Settings for known sets, most of them chosen on validation windows cut from the training parts (docs/presets.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from shared.checks import Checked, Natural, require
from shared.errors import ConfigError
from shared.objectives import DiffusionLoss
from shared.predictions import NetworkOutput
from shared.sde import Process
from shared.training.config import TrainingConfig
from tsdiff.data import normalise_freq
from tsdiff.data.benchmarks import PUBLISHED_LAGS
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import base_freq
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.estimator import DEFAULT_LOSS, DEFAULT_TRAINING, TSDiffEstimator
from tsdiff.faces.keywords import check_sampling, check_training
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.config import BackboneConfig
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Energy, Sampling
from tsdiff.windows.config import Calendar, Scaling
from tsdiff.windows.transforms import TransformSetting


@dataclass(frozen=True)
class ModelSettings:
    """The model; see `TSDiffEstimator`.

    Args:
        lags: numbers of steps, or "published": those of the published code for the frequency.
    """

    context_length: int | None = None
    scaling: Scaling = "mean"
    calendar: Calendar = "waves"
    output: NetworkOutput = "velocity"
    lags: tuple[int, ...] | Literal["published"] = ()
    scale_feature: bool = False
    conditional: bool = False
    transform: TransformSetting | None = None
    regression: float | None = None
    sde: Process | None = None
    backbone: BackboneConfig | None = None
    batch_size: int = 32
    scale_power: float = 0.0
    horizon_weight: float = 1.0

    @property
    def model(self) -> ModelSettings:
        """These settings alone, without what a subclass adds."""
        return ModelSettings(**{one.name: getattr(self, one.name) for one in fields(ModelSettings)})

    def settings(self, freq: str) -> dict[str, Any]:
        """Arguments of `TSDiffEstimator` for series of a normalised frequency.

        Raises:
            ConfigError: there are no published lags for the frequency.
        """
        given = {**vars(self.model), "from_data": ()}  # a preset says all, and stays what it was measured as
        if self.lags != "published":
            return given
        if freq not in PUBLISHED_LAGS:
            raise ConfigError(f"lags: published: there are none for frequency {freq!r}; give numbers of steps")
        return {**given, "lags": PUBLISHED_LAGS[freq]}


@dataclass(frozen=True)
class Preset(Checked, ModelSettings):
    """How to train on a set, and how to draw forecasts then.

    Attributes:
        categories, loss, training: see `TSDiffEstimator`.
        mse, quantile: sampling with each energy.
        guidance: the energy that did better on the validation windows.
        members: models that `train` trains with different seeds to forecast together (`tsdiff.ensemble`); 0 leaves
            it to the bundled one.
        tuned_steps: of fine-tuning the bundled model on the series, which then forecasts together with them, an equal
            share of the samples; 0 goes without it.
    """

    categories: tuple[int, ...] = ()
    loss: DiffusionLoss = DEFAULT_LOSS
    training: TrainingConfig = DEFAULT_TRAINING
    mse: Sampling = field(default_factory=lambda: Sampling("mse", steps=8))
    quantile: Sampling = field(default_factory=lambda: Sampling("quantile", steps=8))
    guidance: Energy = "quantile"
    members: Natural = 1
    tuned_steps: Natural = 0

    def _related(self) -> None:
        for energy in ("mse", "quantile"):
            guidance = getattr(self, energy).guidance
            require(guidance == energy, f"need that of {energy!r} in the preset's sampling", guidance=guidance)
        require(self.members or self.tuned_steps, "need a model to train, or tuned_steps", members=self.members)

    def sampling(self, guidance: Energy | None = None) -> Sampling:
        """How to draw with this energy, or with the one that did better."""
        return self.mse if (guidance or self.guidance) == "mse" else self.quantile

    def with_training(self, **changes: Any) -> Preset:
        """The same preset with some fields of its `TrainingConfig` changed; refuses names that are none of theirs."""
        check_training(changes)
        return replace(self, training=replace(self.training, **changes))

    def with_sampling(self, **changes: Any) -> Preset:
        """The same preset with some fields of its `Sampling` changed, of both energies; refuses other names."""
        check_sampling(changes)
        return replace(self, mse=replace(self.mse, **changes), quantile=replace(self.quantile, **changes))

    def member(self, place: int) -> Preset:
        """The preset of one member: the same, with a seed of its own; member 0 keeps the preset's."""
        return replace(self.with_training(seed=self.training.seed + 1000 * place), members=1)

    def estimator(
        self, freq: str, prediction_length: int, *, guidance: Energy | None = None, device: str = "cpu"
    ) -> TSDiffEstimator:
        """An estimator with these settings, of one model.

        Args:
            freq: of the series, in any pandas spelling.
            prediction_length: steps to forecast.
            guidance: of its forecaster; None takes the one that did better.
            device: where to compute.
        """
        return TSDiffEstimator(
            freq,
            prediction_length,
            **self.settings(normalise_freq(freq)),
            categories=self.categories,
            loss=self.loss,
            training=self.training,
            sampling=self.sampling(guidance),
            device=device,
        )

    def train(
        self,
        series: Iterable[Entry],
        freq: str,
        prediction_length: int,
        *,
        guidance: Energy | None = None,
        progress: bool = True,
    ) -> TSDiffPredictor | EnsemblePredictor:
        """All models of the preset, trained on some series: a forecaster.

        Args:
            series: GluonTS entries to learn from.
            freq, prediction_length, guidance: see `estimator`.
            progress: show bars.

        Raises:
            DataError: see `TSDiffEstimator.train` and `tsdiff.pretraining.finetuning.fine_tune`.
        """
        members, tuned = self.models(series, freq, prediction_length, progress=progress)
        return self.forecaster(members, tuned, guidance)

    def models(
        self, series: Iterable[Entry], freq: str, prediction_length: int, *, progress: bool = True
    ) -> tuple[list[TSDiffPredictor], TSDiffPredictor | None]:
        """What `train` makes its forecaster of: the models trained anew, and the bundled one, fine-tuned, or None
        without `tuned_steps`; arguments and errors as of `train`."""
        entries = list(series)
        members = [
            self.member(place).estimator(freq, prediction_length).train(entries, progress=progress)
            for place in range(self.members)
        ]
        if not self.tuned_steps:
            return members, None
        from tsdiff.pretraining.finetuning import FineTuning, fine_tune  # loads Lightning

        bundled = TSDiffPredictor.from_pretrained("default").adapted(freq, prediction_length)
        settings = FineTuning(steps=self.tuned_steps, seed=self.training.seed)
        return members, fine_tune(bundled, entries, settings, progress=progress).predictor

    def forecaster(
        self, members: Sequence[TSDiffPredictor], tuned: TSDiffPredictor | None, guidance: Energy | None = None
    ) -> TSDiffPredictor | EnsemblePredictor:
        """Trained models as one forecaster; a tuned one keeps its own sampling but for seed, minimum and width."""
        sampling = self.sampling(guidance)
        models = [TSDiffPredictor(member.model, sampling) for member in members]
        if tuned is not None:
            changes = {"seed": sampling.seed, "minimum": sampling.minimum, "width": sampling.width}
            models.append(tuned.with_sampling(**changes))
        return models[0] if len(models) == 1 else EnsemblePredictor(models)


def _steps(max_steps: int) -> TrainingConfig:
    return replace(DEFAULT_TRAINING, max_steps=max_steps)


_WALK = Preset(scaling="last", context_length=90, training=_steps(2500))

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "m4_hourly": Preset(
            scaling="standard", output="noise", scale_power=0.5, training=_steps(4000), members=0, tuned_steps=300
        ),
        "exchange_rate_nips": _WALK,
        "pjm_hourly": Preset(training=_steps(5000), members=6).with_sampling(width=0.75),
        "solar_al_tail_hourly": Preset(
            batch_size=64,
            training=_steps(2500),
            members=2,
            tuned_steps=300,
        ).with_sampling(minimum=0.0, width=1.25),
        "nyc_weather_hourly": Preset(scaling="last", training=_steps(4000), members=0, tuned_steps=300).with_sampling(
            width=1.25
        ),
        "nyc_departures_hourly": Preset(
            output="noise",
            batch_size=64,
            training=_steps(2500),
            members=0,
            tuned_steps=300,
        ).with_sampling(minimum=0.0),
        "electricity_weekly": Preset(
            scaling="standard",
            backbone=S4DConfig(patch=4, dropout=0.2),
            scale_power=0.5,
            training=_steps(1500),
            tuned_steps=300,
        ),
        "tourism_quarterly": Preset(scale_power=0.5, training=_steps(4000), tuned_steps=300),
        "ltsf_etth1": Preset(
            scaling="last",
            backbone=S4DConfig(patch=8, dropout=0.1),
            horizon_weight=3.0,
            training=_steps(5000),
            tuned_steps=300,
        ),
        "fred_md": _WALK,
        "ltsf_illness": Preset(),
    }
)
"""By the name of the set."""


def preset_for(name: str | None, freq: str) -> Preset:
    """The preset of a known set, or one by frequency: business days are mostly prices, which walk at random.

    Args:
        name: of the set; None or an unknown name goes by the frequency.
        freq: of the series, in any pandas spelling.
    """
    if name is not None and name in PRESETS:
        return PRESETS[name]
    return _WALK if base_freq(normalise_freq(freq)) == "B" else Preset()
