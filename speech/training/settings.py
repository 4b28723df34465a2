"""One training of a speech model as typed settings: data, model, objective, training, validation, hardware."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from shared.checks import Checked, Count, Duration, Natural, Positive, checked
from shared.console.notes import tell
from shared.errors import ConfigError
from shared.experiment import Hardware, HardwareSettings, read_settings
from shared.files.settings import change, merged, plain
from shared.objectives import TimeSampler
from shared.sde import SBVESDE
from shared.training.config import TrainingConfig
from speech.data import PRESETS, MixConfig
from speech.model.backbones import LightConfig
from speech.model.config import Parameterisation, SamplingConfig, SpeechConfig
from speech.model.corrector import BESIDE, with_settings_of_pc
from speech.model.frontend import FrontEndConfig
from speech.training.terms import ObjectiveConfig

Task = Literal["denoise", "dereverb", "bandwidth"]
DataLayout = Literal["mix", "auto", "voicebank", "split", "reverb", "ears"]
Score = Literal["si_sdr", "estoi", "pesq_wb"]

CONFIGS = Path(__file__).parents[1] / "configs"
"""Settings that come with the package, by name."""


_DECIDED_ELSEWHERE = {
    "sample_rate": "model.frontend.sample_rate",
    "seconds": "data.seconds",
    "batch_size": "data.batch_size",
}
"""Settings of `data.mix` that others take the place of."""
_OF_MIXING = ("mix", "simulated_rooms", "cache")
"""Settings of `data` that pairs have no use for."""


@dataclass(frozen=True)
class DataSettings(Checked):
    """What is trained on.

    Args:
        folder: with train/ and valid/; None means the one that the command falls back to.
        layout: "mix": clean, noise and rir folders in train/ and valid/, mixed on the fly; others: pairs of clean and
            noisy files, see `speech.data.find_pairs`.
        seconds: length of a crop; rounded so that its frames suit the backbone.
        batch_size: crops in a batch, on each device.
        mix: how noisy speech is made; its rate, length and batch size are those of the front end and here.
        simulated_rooms: how many rooms to simulate besides the measured ones; validation has some where valid/ has no
            folder rir.
        cache: folder in which decoded audio and simulated rooms are kept for the next time.
    """

    folder: str | None = None
    layout: DataLayout = "mix"
    seconds: Positive = 2.04
    batch_size: Count = 4
    mix: MixConfig = field(default_factory=MixConfig)
    simulated_rooms: Natural = 0
    cache: str | None = None


@dataclass(frozen=True)
class ValidationSettings(Checked):
    """What the averaged weights are measured on.

    Args:
        every: steps between.
        files: whole recordings, fixed by `seed`, of pairs at most those that there are; 0 measures nothing.
        seconds: longest part of a recording; None takes all of it.
        seed: of the recordings and of sampling.
        scores: which.
        monitor: the score by which the best network is kept.
        sampling: how to sample; None means the model's own way, of which files and changes may name parts to change.
    """

    every: Count = 200
    files: Natural = 12
    seconds: Positive | None = 6.0
    seed: int = 0
    scores: tuple[Score, ...] = ("si_sdr", "estoi", "pesq_wb")
    monitor: Score = "si_sdr"
    sampling: SamplingConfig | None = None

    def _related(self) -> None:
        self._require(self.monitor in self.scores, "monitor scores", "need the one among the others")


LIGHT_MODEL = SpeechConfig(
    backbone=LightConfig(width=32, edge_width=16, blocks=4, mixing_width=128),
    frontend=FrontEndConfig(),
    sde=SBVESDE(),
    parameterisation=Parameterisation(output="data"),
    sampling=SamplingConfig("ode1", steps=1, schedule="log_snr"),
)
"""Data prediction on a bridge from the noisy recording, in one call of a network small enough to learn on a CPU."""

LIGHT_OBJECTIVE = ObjectiveConfig(
    loss="data_prediction", si_sdr_weight=5e-3, times=TimeSampler(stratified=True), start_share=0.75
)
"""Mostly where sampling starts; the SI-SDR term is what moves in the first minutes."""

LIGHT_TRAINING = TrainingConfig(
    max_steps=20000, learning_rate=2e-3, warmup=0.005, decay="constant", ema_decay=0.99, save_every_seconds=60.0
)


@dataclass(frozen=True)
class Experiment(Checked):
    """Everything that a training depends on. The defaults learn on a CPU within minutes.

    Args:
        task: whose settings of mixing are the defaults of `data.mix`.
        model: what is trained.
        objective: what is minimised.
        start_from: folder or name of a model of the same settings, or a published .ckpt, whose weights to start from; a
            causal light network starts from one that looks ahead too, and a model from one with another `normalize`.
        max_minutes: end by the clock, if that comes before `training.max_steps`.
    """

    task: Task = "denoise"
    data: DataSettings = field(default_factory=DataSettings)
    model: SpeechConfig = LIGHT_MODEL
    objective: ObjectiveConfig = LIGHT_OBJECTIVE
    training: TrainingConfig = LIGHT_TRAINING
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    start_from: str | None = None
    max_minutes: Duration | None = None

    def _related(self) -> None:
        checked(Literal["cpu", "cuda", "auto"], **{"hardware.device": self.hardware.device})

    def crop_samples(self, frame_multiple: int) -> int:
        """Samples of a training crop whose frames are a multiple of this."""
        frontend = self.model.frontend
        frames = 1 + self.data.seconds * frontend.sample_rate / frontend.hop_length
        least = -(-(frontend.n_fft // 2 + 1) // frontend.hop_length) + 1
        whole = max(round(frames / frame_multiple), -(-least // frame_multiple))
        return frontend.samples(whole * frame_multiple)

    def mixing(self, frame_multiple: int) -> MixConfig:
        """How crops are mixed, at the model's rate and in the right length."""
        rate = self.model.frontend.sample_rate
        seconds = self.crop_samples(frame_multiple) / rate
        return replace(self.data.mix, sample_rate=rate, seconds=seconds, batch_size=self.data.batch_size)


def read_experiment(
    path: str | os.PathLike[str] | None = None, changes: Sequence[str] = (), hardware: Hardware | None = None
) -> Experiment:
    """An experiment from a YAML file; what the file leaves out keeps its default.

    Args:
        path: the file, or the name of one of `CONFIGS`; None takes the defaults.
        changes: "section.name=value" each, the value as YAML: what to change after reading.
        hardware: a preset of `HARDWARE`, taken after the file and before the changes.

    Raises:
        ConfigError: the file cannot be read; a name that there is not, or a value that does not fit; a change that
            would change nothing.
    """
    made = read_settings(Experiment, path, changes, hardware, bundled=CONFIGS, defaults=_defaults)
    for given in map(change, changes):  # what a file has without effect is left out; what is asked for is not
        _refuse_without_effect(given.get("data") or {}, made.data.layout)
        for section, sampling in (("model", made.model.sampling), ("validation", made.validation.sampling)):
            named = (given.get(section) or {}).get("sampling") or {}
            asked = {name: named[name] for name in BESIDE if name in named}
            with_settings_of_pc(sampling.sampler if sampling else None, asked)
    for name, instead in _DECIDED_ELSEWHERE.items():
        if (value := getattr(made.data.mix, name)) != getattr(MixConfig(), name):
            tell(f"data.mix.{name}={value} in {path} has no effect, for {instead} decides it")
    return made


def _refuse_without_effect(asked: Mapping[str, Any], layout: DataLayout) -> None:
    """Refuse changes of `data` that would change nothing.

    Raises:
        ConfigError: there is one.
    """
    for name, instead in _DECIDED_ELSEWHERE.items():
        if name in (asked.get("mix") or {}):
            raise ConfigError(f"data.mix.{name} has no effect, for {instead} decides it: set that")
    if layout != "mix" and (named := [name for name in _OF_MIXING if name in asked]):
        raise ConfigError(
            f"data.{named[0]} has no effect on data.layout={layout}, whose pairs are mixed already: leave it out"
        )


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting; the task brings its own of mixing, and sampling in validation is the model's but for what is
    given."""
    task = given.get("task", "denoise")
    if task not in PRESETS:
        raise ConfigError(f"task: {task!r} is not one of {', '.join(PRESETS)}")
    defaults = plain(Experiment())
    defaults["data"]["mix"] = plain(PRESETS[task])
    model, validation = ({} if given.get(name) is None else given[name] for name in ("model", "validation"))
    if isinstance(model, Mapping) and isinstance(validation, Mapping) and validation.get("sampling") is not None:
        defaults["validation"]["sampling"] = merged(defaults["model"], model)["sampling"]
    return defaults
