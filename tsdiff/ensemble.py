"""Several trained models that forecast as one: their samples together."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from gluonts.model.forecast import SampleForecast

from shared.checks import Count, checked, require
from shared.errors import CheckpointError, ConfigError, first_few
from shared.files.checkpoint import resolve, unchanged
from shared.files.documents import read_json
from shared.files.io import write_json
from shared.random import derive_seed
from tsdiff.data.entries import Entry
from tsdiff.data.named import agreed, by_names
from tsdiff.faces.doors import told_left_out
from tsdiff.faces.gaps import GapCalls
from tsdiff.faces.saved import replacing, write_kind
from tsdiff.model.beside import ENSEMBLE, MOST_MEMBERS
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import BUNDLED
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.imputation import filling
from tsdiff.tasks.imputation.filling import Imputation
from tsdiff.tasks.suited import worth_of


class SeveralModels(GapCalls):
    """What forecasters that hold several models have in common."""

    if TYPE_CHECKING:

        def serialize(self, path: str | os.PathLike[str]) -> None: ...

        @classmethod
        def from_pretrained(cls, path: Path, device: str | torch.device | None = None) -> Self: ...

    @property
    @abstractmethod
    def models(self) -> Sequence[TSDiffPredictor]:
        """Those that it holds."""

    @property
    def nfe(self) -> int:
        """Network calls that each sample of the last `predict` took, in the member that took most."""
        return max((model.nfe for model in self.models), default=0)

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """See `TSDiffPredictor`; of those members that were trained with covariates.

        Raises:
            ConfigError: in another order than others.
        """
        return agreed(one.covariate_names for one in self.models)

    @property
    def static_names(self) -> tuple[str, ...]:
        """See `TSDiffPredictor`; of those members that were trained with static numbers.

        Raises:
            ConfigError: in another order than others.
        """
        return agreed(one.static_names for one in self.models)

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """See `TSDiffPredictor`; of the first member that was trained with categories."""
        return next((one.vocabulary for one in self.models if one.vocabulary), {})

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """`serialize`, for `from_pretrained` and the commands' --model."""
        self.serialize(path)

    @classmethod
    def deserialize(cls, path: str | os.PathLike[str], device: str | torch.device | None = None, **kwargs: Any) -> Self:
        """The predictor that `serialize` wrote.

        Raises:
            CheckpointError: there is none, or a member is damaged.
        """
        return cls.from_pretrained(Path(path), device)


class EnsemblePredictor(SeveralModels):
    """Forecasts whose samples come from several models in equal shares, so that what the models disagree about widens
    the intervals (as Lakshminarayanan et al. 2017 do with densities).

    Args:
        members: predictors of the same frequency and horizon, usually of one estimator with several seeds. Those that
            would draw from one seed get seeds of their own, so that the draws of all are independent.

    Raises:
        ConfigError: no members, or they differ in frequency, horizon or channels.
    """

    def __init__(self, members: Sequence[TSDiffPredictor]):
        if not members:
            raise ConfigError("an ensemble needs at least one member")
        kinds = {(m.freq, m.prediction_length, m.model.config.channels) for m in members}
        if len(kinds) > 1:
            raise ConfigError(f"the members of an ensemble differ in frequency, horizon or channels: {sorted(kinds)}")
        super().__init__(prediction_length=members[0].prediction_length)
        self.members = tuple(_drawing_apart(members))

    @property
    def models(self) -> Sequence[TSDiffPredictor]:
        """Its members."""
        return self.members

    @property
    def freq(self) -> str:
        """Frequency of the series."""
        return self.members[0].freq

    @property
    def sampling(self) -> Sampling:
        """Of the first member."""
        return self.members[0].sampling

    @property
    def config(self) -> TSDiffConfig:
        """What the first model is."""
        return self.members[0].config

    def __repr__(self) -> str:
        return f"EnsemblePredictor({len(self.members)} members, the first {self.members[0]!r})"

    def adapted(self, freq: str, prediction_length: int) -> EnsemblePredictor:
        """Each member, `TSDiffPredictor.adapted`."""
        return EnsemblePredictor([member.adapted(freq, prediction_length) for member in self.members])

    def with_horizon(self, prediction_length: int) -> EnsemblePredictor:
        """Each member, `TSDiffPredictor.with_horizon`."""
        return EnsemblePredictor([member.with_horizon(prediction_length) for member in self.members])

    def to(self, device: str | torch.device) -> EnsemblePredictor:
        """Each member, `TSDiffPredictor.to`."""
        return EnsemblePredictor([member.to(device) for member in self.members])

    def with_sampling(self, **changes: Any) -> EnsemblePredictor:
        """The same models, sampled differently; takes the fields of `Sampling`."""
        return EnsemblePredictor([member.with_sampling(**changes) for member in self.members])

    def predict(self, dataset: Iterable[Entry], num_samples: int = 100, **kwargs: Any) -> Iterator[SampleForecast]:
        """One forecast for each entry, in order; see `TSDiffPredictor.predict`.

        Args:
            dataset: GluonTS entries, read once.
            num_samples: samples of each forecast, as evenly from the members as their number allows.

        Raises:
            ConfigError: fewer samples than members, or an unknown keyword.
            DataError: see `TSDiffPredictor.predict`.
        """
        counts = self._counts(num_samples)
        copies = tee(told_left_out(dataset, self.members), len(self.members))
        drawing = zip(self.members, copies, counts, strict=True)
        made = [member.predict(copy, count, **kwargs) for member, copy, count in drawing]
        return (joined(forecasts) for forecasts in zip(*made, strict=True))

    def impute(self, dataset: Iterable[Entry], num_samples: int = 100) -> Iterator[Imputation]:
        """Fill the missing values of each series, see `TSDiffPredictor.impute`; draws as evenly from the members as
        their number allows.

        Raises:
            ConfigError: fewer draws than members.
            DataError: see `TSDiffPredictor.impute`.
        """
        return imputed_by(self.members, self._counts(num_samples), dataset)

    def _counts(self, num_samples: int) -> list[int]:
        """Samples of each member."""
        num_samples, members = checked(Count, num_samples=num_samples), len(self.members)
        require(num_samples >= members, f"need one for each of {members} members", num_samples=num_samples)
        return [len(part) for part in np.array_split(np.arange(num_samples), members)]

    def serialize(self, path: str | os.PathLike[str]) -> None:
        """Write every member into a folder of its own, in `path`."""
        with replacing(Path(path), ENSEMBLE) as made:
            write_kind(made, self)
            for place, member in enumerate(self.members):
                member.serialize(made / str(place))
            write_json(made / ENSEMBLE, {"members": len(self.members)})

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | os.PathLike[str],
        device: str | torch.device | None = None,
        custom: Sequence[type] = (),
    ) -> EnsemblePredictor:
        """An ensemble from its folder.

        Args:
            path_or_name: the folder.
            device: where to compute.
            custom: classes of your own that settings of members name by `kind`; see docs/extending.md.

        Raises:
            CheckpointError: there is none, or a member is damaged.
        """
        folder = resolve(path_or_name, BUNDLED)
        if not (folder / ENSEMBLE).is_file():
            raise CheckpointError(f"{folder} holds no ensemble (no {ENSEMBLE}); serialize it again")
        with unchanged(folder / ENSEMBLE):
            about = read_json(folder / ENSEMBLE, CheckpointError, "serialize the ensemble again")
            count = about.get("members") if isinstance(about, dict) else None
            if type(count) is not int or not 1 <= count <= MOST_MEMBERS:
                raise CheckpointError(
                    f"{folder / ENSEMBLE} states {count!r} members, and not 1 to {MOST_MEMBERS}; serialize it again"
                )
            places = [folder / str(place) for place in range(count)]
            if absent := [place.name for place in places if not place.is_dir()]:
                raise CheckpointError(
                    f"{folder} is an ensemble of {count} members and lacks the folder of {first_few(absent, 5)}; copy "
                    "it again, or serialize it again"
                )
            members = [TSDiffPredictor.from_pretrained(place, device=device, custom=custom) for place in places]
        return cls(members)


def _drawing_apart(members: Sequence[TSDiffPredictor]) -> Iterator[TSDiffPredictor]:
    """The members, those with the seed of an earlier one with another."""
    seen: set[int] = set()
    for place, member in enumerate(members):
        seed = member.sampling.seed
        yield member.with_sampling(seed=derive_seed(seed, f"member {place}")) if seed in seen else member
        seen.add(seed)


def imputed_by(
    predictors: Sequence[TSDiffPredictor], counts: Sequence[int], dataset: Iterable[Entry]
) -> Iterator[Imputation]:
    """Gaps filled by several predictors, so many draws by each."""
    copies = tee(by_names(dataset, predictors), len(predictors))
    drawing = zip(predictors, copies, counts, strict=True)
    made = [one.impute(copy, count) for one, copy, count in drawing]
    return (filling.joined(parts) for parts in zip(*made, strict=True))


def joined(forecasts: Sequence[SampleForecast]) -> SampleForecast:
    """One forecast of the samples of several, in their order; it tells what the covariates do in the member that they
    help most, for others, as a seasonal naive, may not take them, or else in one that took values of the history for
    others."""
    first = forecasts[0]
    samples = np.concatenate([forecast.samples for forecast in forecasts])
    info = max((forecast.info for forecast in forecasts), key=worth_of)
    return SampleForecast(samples, start_date=first.start_date, item_id=first.item_id, info=info)
