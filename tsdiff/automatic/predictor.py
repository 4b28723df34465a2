"""What `tsdiff.auto` gives: models and simple forecasters that forecast as one, each a share of the paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gluonts.model.forecast import SampleForecast

from shared.checks import Count, Finite, checked
from shared.errors import CheckpointError, ConfigError, DiffusionError
from shared.files.checkpoint import unchanged
from shared.files.documents import read_json
from shared.files.io import write_json
from tsdiff.automatic.guards import Guard
from tsdiff.automatic.report import Report
from tsdiff.data import normalise_freq
from tsdiff.data.entries import Entry
from tsdiff.ensemble import SeveralModels, imputed_by, joined
from tsdiff.faces.doors import told_left_out
from tsdiff.faces.keywords import check_sampling
from tsdiff.faces.saved import replacing, write_kind
from tsdiff.model.beside import AUTO
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.bounds import told_bounds
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.imputation.filling import Imputation
from tsdiff.tasks.suited import suited
from tsdiff.windows.config import WindowConfig

_OWN = ("nonnegative", "counts", "minimum", "maximum", "covariates", "seed", "batch_rows")
"""Settings of the sampling that concern all members."""


@dataclass(frozen=True)
class Member:
    """A forecaster, and its share of the samples."""

    name: str
    share: float
    predictor: TSDiffPredictor | Guard


class AutoPredictor(SeveralModels):
    """Forecasts whose paths come from several forecasters by their shares.

    Each path is one of a single member, so that its steps belong together as that member has them.

    Args:
        members: of one frequency and horizon; those without a share are left out.
        report: how they were chosen.
        sampling: settings that concern all of them; None takes those of the first model.

    Raises:
        ConfigError: no member has a share, shares below 0, or members that differ in frequency or horizon.
    """

    sampling: Sampling

    def __init__(self, members: Sequence[Member], report: Report | None = None, sampling: Sampling | None = None):
        shares = checked(tuple[Finite, ...], shares=[member.share for member in members])
        if not sum(shares) > 0 or min(shares) < 0:
            raise ConfigError(f"shares={list(shares)}: need at least one above 0, and none below")
        self.members = tuple(member for member in members if member.share > 0)
        kinds = {(one.predictor.freq, one.predictor.prediction_length) for one in self.members}
        if len(kinds) > 1:
            raise ConfigError(f"the members differ in frequency or horizon: {sorted(kinds)}")
        super().__init__(prediction_length=self.members[0].predictor.prediction_length)
        self.report = report or Report()
        found = next((one.sampling for one in self.models), Sampling())
        self.sampling = sampling or common_sampling(found)

    @property
    def models(self) -> list[TSDiffPredictor]:
        """Those of the members that are models."""
        return [one.predictor for one in self.members if isinstance(one.predictor, TSDiffPredictor)]

    @property
    def freq(self) -> str:
        """Frequency of the series."""
        return self.members[0].predictor.freq

    @property
    def config(self) -> WindowConfig:
        """What the members need of a series, all of them together."""
        found = max((model.config for model in self.models), key=_needs, default=None)
        return found or WindowConfig(self.freq, self.prediction_length, self.prediction_length)

    def __repr__(self) -> str:
        parts = ", ".join(f"{one.share:.2f} {one.name}" for one in self.members)
        return f"AutoPredictor({self.prediction_length} steps of {self.freq!r}: {parts})"

    def _with(self, change: Any, sampling: Sampling | None = None) -> AutoPredictor:
        members = [replace(one, predictor=change(one.predictor)) for one in self.members]
        return AutoPredictor(members, self.report, sampling or self.sampling)

    def with_sampling(self, **changes: Any) -> AutoPredictor:
        """The same, sampled differently; takes the fields of `Sampling`, of which `seed`, `nonnegative`, `counts`,
        `minimum` and `maximum` concern simple forecasters too."""
        check_sampling(changes)
        own = replace(self.sampling, **{name: value for name, value in changes.items() if name in _OWN})

        def change(one: TSDiffPredictor | Guard) -> TSDiffPredictor | Guard:
            return replace(one, seed=own.seed) if isinstance(one, Guard) else one.with_sampling(**changes)

        return self._with(change, own)

    def with_horizon(self, prediction_length: int) -> AutoPredictor:
        """Each member, for another number of steps."""
        return self._with(lambda one: one.with_horizon(prediction_length))

    def adapted(self, freq: str, prediction_length: int) -> AutoPredictor:
        """Itself, or for another number of steps: it was chosen for one frequency.

        Raises:
            ConfigError: another frequency.
        """
        if normalise_freq(freq) != self.freq:
            raise ConfigError(f"freq={freq!r}: {self!r} was chosen for its own; choose anew")
        return self.with_horizon(prediction_length)

    def to(self, device: str | torch.device) -> AutoPredictor:
        """Its models on another device."""
        return self._with(lambda one: one if isinstance(one, Guard) else one.to(device))

    def predict(self, dataset: Iterable[Entry], num_samples: int = 100, **kwargs: Any) -> Iterator[SampleForecast]:
        """One forecast for each entry, in order; see `TSDiffPredictor.predict`.

        Args:
            dataset: GluonTS entries, read once.
            num_samples: samples of each forecast, from the members as nearly by their shares as whole numbers allow.

        Raises:
            ConfigError: num_samples < 1, or an unknown keyword.
            DataError: see `TSDiffPredictor.predict`.
        """
        if kwargs:
            raise ConfigError(
                f"predict does not take {', '.join(kwargs)}, only num_samples; sampling settings go to `with_sampling`"
            )
        counts = apportioned([one.share for one in self.members], checked(Count, num_samples=num_samples))
        drawing = [(one, count) for one, count in zip(self.members, counts, strict=True) if count]
        takers = [one.predictor for one, _ in drawing if isinstance(one.predictor, TSDiffPredictor)]
        copies = tee(told_left_out(dataset, takers), len(drawing))
        made = [self._drawn(one.predictor, copy, n) for (one, n), copy in zip(drawing, copies, strict=True)]
        return (joined(forecasts) for forecasts in zip(*made, strict=True))

    def impute(self, dataset: Iterable[Entry], num_samples: int = 100) -> Iterator[Imputation]:
        """Fill the missing values of each series, see `TSDiffPredictor.impute`; draws are of the models alone, by their
        shares, for simple forecasters fill no gaps.

        Raises:
            ConfigError: num_samples < 1, or no member is a model.
            DataError: see `TSDiffPredictor.impute`.
        """
        filling = [(one.predictor, one.share) for one in self.members if isinstance(one.predictor, TSDiffPredictor)]
        if not filling:
            names = " and ".join(one.name for one in self.members)
            raise ConfigError(
                f"{names} fill no gaps; take TSDiffPredictor.from_pretrained('default').impute_df(df), or, of entries, "
                "its adapted(freq, prediction_length).impute(dataset)"
            )
        counts = apportioned([share for _, share in filling], checked(Count, num_samples=num_samples))
        drawing = [(one, count) for (one, _), count in zip(filling, counts, strict=True) if count]
        return imputed_by([one for one, _ in drawing], [count for _, count in drawing], dataset)

    def _drawn(self, one: TSDiffPredictor | Guard, dataset: Iterable[Entry], count: int) -> Iterator[SampleForecast]:
        if isinstance(one, TSDiffPredictor):
            return one.predict(dataset, count)
        own = self.sampling
        if not (own.nonnegative or own.counts or own.bounds != (None, None)):
            return one.predict(dataset, count)
        entries = told_bounds(dataset, own)
        return suited(one.predict, entries, count, own, self.freq, self.prediction_length, regress=False)

    def serialize(self, path: str | os.PathLike[str]) -> None:
        """Write every model into a folder of its own in `path`, and how they are pooled."""
        members = []
        with replacing(Path(path), AUTO) as made:
            write_kind(made, self)
            for place, one in enumerate(self.members):
                about: dict[str, Any] = {"name": one.name, "share": one.share}
                if isinstance(one.predictor, Guard):
                    about["guard"] = asdict(one.predictor)
                else:
                    one.predictor.serialize(made / str(place))
                members.append(about)
            own = {name: getattr(self.sampling, name) for name in _OWN}
            write_json(made / AUTO, {"members": members, "sampling": own, "report": self.report.as_dict()})

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], device: str | torch.device | None = None) -> AutoPredictor:
        """The predictor that `serialize` wrote.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        folder = Path(path)
        if not (folder / AUTO).is_file():
            raise CheckpointError(f"{folder} holds no predictor of `tsdiff.auto` (no {AUTO}); serialize it again")
        try:
            with unchanged(folder / AUTO):
                about = read_json(folder / AUTO, CheckpointError, "choose and serialize again")
                members = [_member(folder / str(place), one, device) for place, one in enumerate(about["members"])]
            return cls(members, Report.from_dict(about["report"]), Sampling(**about["sampling"]))
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, DiffusionError) as error:
            raise CheckpointError(f"{folder / AUTO} is damaged ({error}); choose and serialize again") from error


def _member(folder: Path, about: Mapping[str, Any], device: str | torch.device | None) -> Member:
    if "guard" in about:
        return Member(about["name"], about["share"], Guard(**about["guard"]))
    return Member(about["name"], about["share"], TSDiffPredictor.from_pretrained(folder, device=device))


def common_sampling(sampling: Sampling) -> Sampling:
    """Those settings of a model's sampling that concern all members."""
    return Sampling(**{name: getattr(sampling, name) for name in _OWN})


def _needs(config: WindowConfig) -> int:
    """How much a model asks of a series beside its values."""
    return config.dynamic_features + config.static_features + len(config.categories)


def apportioned(shares: Sequence[float], whole: int) -> list[int]:
    """A whole number divided by shares, by the largest remainder."""
    wanted = np.asarray(shares, dtype=np.float64) * whole / np.sum(shares)
    counts = np.floor(wanted + 1e-9).astype(int)
    first = np.argsort(counts - wanted, kind="stable")[: whole - int(counts.sum())]
    counts[first] += 1
    return counts.tolist()
