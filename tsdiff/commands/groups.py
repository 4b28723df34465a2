"""Options that several verbs share: a class a group, whose docstring is its title on help pages.

Needs no torch, as no help page may; `tsdiff.commands.options` has the verbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from typer import Option

from shared.checks import Count, Finite
from shared.console.options import Device, Options, Retrain
from shared.errors import ConfigError
from shared.scale.options import ENGINE, ScaleOut


@dataclass(frozen=True, kw_only=True)
class Series:
    """The series"""

    forecasts: ClassVar[bool] = True
    """Whether steps are forecast whose number only the user knows."""

    data: Annotated[
        Path | None,
        Option(
            help="Table (CSV, Parquet, Feather; a row a value, or a column a series), folder in GluonTS's layout, or "
            "name of a GluonTS set; default: embedded data.",
        ),
    ] = None
    freq: Annotated[str | None, Option(help="Frequency of the series (h, D, W, M, 15min, …); found if left out.")] = (
        None
    )
    prediction_length: Annotated[
        Count | None,
        Option(
            "--prediction-length",
            "--horizon",
            help="Steps to forecast, and of a test window; with --data forecast, refine and synthesize need it, unless "
            "--model has one [for the others a season].",
        ),
    ] = None
    target: Annotated[str, Option(help="Column of values.")] = "target"
    item_id: Annotated[str | None, Option("--id", help="Column that names the series.")] = None
    timestamp: Annotated[str | None, Option("--time", help="Column of timestamps.")] = None
    windows: Annotated[
        Count | None, Option(help="Test windows at the end of each series [7 embedded, 1 with --data].")
    ] = None

    @property
    def covariates(self) -> dict[str, Any]:
        """Columns of covariates, by kind."""
        return {}

    @property
    def of_table(self) -> list[str]:
        """Options that were given and tell of a table's columns."""
        given = {
            "--target": self.target != type(self).target,
            "--id": self.item_id is not None,
            "--time": self.timestamp is not None,
            **{f"--{kind}": bool(names) for kind, names in self.covariates.items()},
        }
        return [name for name, is_given in given.items() if is_given]


@dataclass(frozen=True, kw_only=True)
class Covariates(Series):
    """Covariates"""

    dynamic: Annotated[
        list[str] | None, Option(help="Column of a covariate that is known in the future; give it once for each.")
    ] = None
    static: Annotated[
        list[str] | None, Option(help="Column of a static category or number; give it once for each.")
    ] = None

    @property
    def covariates(self) -> dict[str, Any]:
        return {"dynamic": self.dynamic or [], "static": self.static or []}


@dataclass(frozen=True, kw_only=True)
class Model:
    """The model"""

    model: Annotated[str | None, Option(help="Trained model (folder or name) to use instead of training.")] = None
    retrain: Retrain = False
    steps: Annotated[
        Count | None,
        Option(
            help="Training steps [by the amount of data, stopped where held-out windows are forecast best]",
            show_default=False,
        ),
    ] = None
    context_length: Annotated[
        Count | None, Option(help="Steps of history a window holds; by frequency if left out.")
    ] = None

    @property
    def chosen(self) -> str | None:
        """The model to use instead of training, if any."""
        return self.model

    @property
    def idle(self) -> list[str]:
        """Options of a training that were given where a model is used instead."""
        given = {
            "--retrain": self.retrain,
            "--steps": self.steps != type(self).steps,
            "--context-length": self.context_length is not None,
        }
        return [name for name, is_given in given.items() if is_given] if self.chosen is not None else []


@dataclass(frozen=True, kw_only=True)
class Untrained(Model):
    """Without training"""

    no_train: Annotated[
        bool,
        Option(
            "--no-train",
            help="Train nothing: use the bundled model of all frequencies (or --model) [so it is with less than 20,000 "
            "values, unless --retrain or an option of training is given].",
            show_default=False,
        ),
    ] = False

    @property
    def chosen(self) -> str | None:
        """The model to use, if any: the one that is named, or the bundled one where nothing is to be trained.

        Raises:
            ConfigError: --no-train with --retrain.
        """
        if self.no_train and self.retrain:
            raise ConfigError("--no-train and --retrain contradict each other; leave one of them out")
        return "default" if self.no_train and self.model is None else self.model


@dataclass(frozen=True, kw_only=True)
class Machine(Options):
    """The machine"""

    device: Device = "cpu"
    threads: Annotated[
        int, Option(help="CPU threads; more than one only pays on an otherwise idle machine.", min=1)
    ] = 1
    seed: Annotated[int | None, Option(help="Of training and samples [as --model was saved, or 0].")] = None

    @property
    def seed_or_zero(self) -> int:
        """The seed of what no model brings one for."""
        return self.seed or 0


@dataclass(frozen=True, kw_only=True)
class Draws(Options):
    """Draws"""

    samples: Annotated[Count, Option(help="Draws of each value.")] = 100


@dataclass(frozen=True, kw_only=True)
class Values(Options):
    """Values"""

    counts: Annotated[
        bool | None,
        Option(
            "--counts/--no-counts",
            help="Whole samples with as many zeros as the series has, of series that are whole numbers from 0 "
            "[decided from each series].",
        ),
    ] = None
    nonnegative: Annotated[
        bool | None,
        Option("--nonnegative/--no-nonnegative", help="No sample below 0 where no value is [by each series]."),
    ] = None
    calendar_days: Annotated[
        bool | None,
        Option(
            "--calendar/--no-calendar",
            help="Days of the month and the year that differ in series of days and hours, and what months of monthly "
            "ones are made of [with the bundled model, or as --model was saved].",
        ),
    ] = None
    minimum: Annotated[Finite | None, Option(help="No sample below it.")] = None
    maximum: Annotated[Finite | None, Option(help="No sample above it: 100 for percentages, a capacity.")] = None

    def _related(self) -> None:
        if self.minimum is not None and self.maximum is not None:
            self._require(self.minimum <= self.maximum, "minimum maximum", "the first is not to be above the second")

    @property
    def limits(self) -> dict[str, Any]:
        """The settings of the sampling that were given."""
        found = {name: getattr(self, name) for name in ("counts", "nonnegative", "calendar_days", "minimum", "maximum")}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Scaled(ScaleOut):
    """Many machines"""

    engine: Annotated[
        Literal["local", "ray"] | None,
        Option(help=f"{ENGINE} --data is then a folder of Parquet files, or its address."),
    ] = None
    workers: Annotated[int | None, Option(help="Processes of --engine ray [one a CPU, or a GPU with cuda].", min=1)] = (
        None
    )

    @property
    def is_scaled(self) -> bool:
        """Whether the series are worked item by item.

        Raises:
            ConfigError: options of that without --engine.
        """
        return (self.engine, self.workers, self.address) != (None, None, None) and bool(self.where(self.workers))
