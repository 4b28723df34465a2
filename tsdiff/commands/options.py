"""The options of each verb: a class a verb, and a class for what several share. Needs no torch, as no help page may.

Defaults and choices that belong to settings elsewhere are repeated here as plain values; a test holds them equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge
from typer import Option

from shared.checks import Count, Duration, Level, Portion
from shared.console.options import (
    Changes,
    Device,
    Hardware,
    Measures,
    Options,
    Output,
    Retrain,
    settings_option,
)
from shared.errors import ConfigError
from shared.scale.options import ScaleOut, Together


@dataclass(frozen=True, kw_only=True)
class Series:
    """The series"""

    forecasts: ClassVar[bool] = True
    """Whether steps are forecast whose number only the user knows."""

    data: Annotated[
        Path | None,
        Option(
            help="Table (CSV, Parquet, Feather; a row a value, or a column a series), folder in GluonTS's layout, or "
            "name of a GluonTS set; with --engine a folder of Parquet files, or its address; default: embedded data.",
        ),
    ] = None
    freq: Annotated[str | None, Option(help="Frequency of the series (h, D, W, M, 15min, …); found if left out.")] = (
        None
    )
    prediction_length: Annotated[
        int | None,
        Option(
            "--prediction-length",
            "--horizon",
            help="Steps to forecast, and of a test window; needed with --data by what forecasts [that of --model, or a "
            "season].",
        ),
    ] = None
    target: Annotated[str, Option(help="Column of values.")] = "target"
    item_id: Annotated[str | None, Option("--id", help="Column that names the series.")] = None
    timestamp: Annotated[str | None, Option("--time", help="Column of timestamps.")] = None
    windows: Annotated[
        int | None, Option(help="Test windows at the end of each series [7 embedded, 1 with --data].")
    ] = None

    @property
    def covariates(self) -> dict[str, Any]:
        """Columns of covariates, by kind."""
        return {}


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
        int | None,
        Option(
            help="Training steps [by the amount of data, stopped where held-out windows are forecast best]",
            show_default=False,
        ),
    ] = None
    context_length: Annotated[int | None, Option(help="Steps of history a window holds; by frequency if left out.")] = (
        None
    )

    @property
    def chosen(self) -> str | None:
        """The model to use instead of training, if any."""
        return self.model


@dataclass(frozen=True, kw_only=True)
class Untrained(Model):
    """Without training"""

    no_train: Annotated[
        bool, Option("--no-train", help="Train nothing: use the bundled model of all frequencies (or --model).")
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
class Values:
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
    minimum: Annotated[float | None, Option(help="No sample below it.")] = None
    maximum: Annotated[float | None, Option(help="No sample above it: 100 for percentages, a capacity.")] = None

    @property
    def limits(self) -> dict[str, Any]:
        """The settings of the sampling that were given."""
        found = {name: getattr(self, name) for name in ("counts", "nonnegative", "minimum", "maximum")}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Scaled(ScaleOut):
    """Many machines"""

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


@dataclass(frozen=True, kw_only=True)
class Forecast(Machine, Draws, Values, Scaled, Untrained, Covariates):
    """Forecast with intervals, scored beside the seasonal naive.

    Trains TSDiff, or takes a model, and forecasts with self-guidance the held-out windows and what comes after.
    """

    output: Output = Path("runs/forecast")
    windows: Annotated[
        int | None,
        Option(
            help="Test windows at the end of each series; 0 scores nothing, and only forecasts what comes next "
            "[7 embedded, 1 with --data, 0 where no series is long enough]."
        ),
    ] = None
    minutes: Annotated[
        float | None,
        Option(
            "--fine-tune",
            help="CPU minutes to train a copy of the bundled model (or --model) on the series, and to choose.",
        ),
    ] = None
    budget: Annotated[
        Duration | None,
        Option(
            help="CPU minutes in which backtests on the series choose or pool the bundled model (or --model), a "
            "fine-tuned and a newly trained one, a seasonal naive, and AutoETS if statsforecast is installed."
        ),
    ] = None
    guidance: Annotated[
        Literal["mse", "quantile", "robust"] | None,
        Option(help="Energy of the self-guidance; robust: outliers count little [as --model was saved, or mse]."),
    ] = None
    future: Annotated[
        Path | None,
        Option(
            "--future-data",
            help="With --engine: folder of Parquet files, or its address, of covariates that are known of the steps to "
            "come: ids, times and columns that --data has too.",
        ),
    ] = None
    past_covariates: Annotated[
        list[str] | None,
        Option(
            "--past-covariate",
            help="With --engine: column of a covariate that is not known in the future; give it once for each.",
        ),
    ] = None

    @property
    def is_scaled(self) -> bool:
        if self.engine is None and (self.future is not None or self.past_covariates):
            raise ConfigError(
                "--future-data and --past-covariate are of --engine; of a table, --dynamic names columns whose future "
                "is in its own rows after the last value"
            )
        return super().is_scaled

    @property
    def chosen(self) -> str | None:
        if self.budget is not None:
            if self.no_train or self.retrain or self.minutes is not None or self.steps is not None:
                raise ConfigError(
                    "--budget chooses by itself; leave out --no-train, --retrain, --fine-tune and --steps"
                )
            return self.model or "default"
        if self.minutes is None:
            return super().chosen
        if self.no_train or self.retrain:
            raise ConfigError("--fine-tune contradicts --no-train and --retrain; leave them out")
        return self.model or "default"


@dataclass(frozen=True, kw_only=True)
class Impute(Machine, Draws, Values, Scaled, Untrained, Covariates):
    """Fill gaps with intervals, scored on values hidden for it.

    Straight lines and earlier seasons are scored beside it.
    """

    forecasts = False
    output: Output = Path("runs/impute")
    hide: Annotated[
        Portion, Option(help="Share of the last windows that is hidden to score the imputation; 0: none.")
    ] = 0.2


@dataclass(frozen=True, kw_only=True)
class Refine(Machine, Draws, Untrained, Series):
    """Make the forecasts of simple forecasters likelier.

    They are refined by a model's energy, and scored before and after.
    """

    output: Output = Path("runs/refine")
    base: Annotated[
        list[str] | None,
        Option(
            help="Base forecaster, repeatable: seasonal_naive, linear, auto_ets, deepar, …; an unknown name lists all "
            "[seasonal_naive and linear].",
            show_default=False,
        ),
    ] = None
    method: Annotated[
        Literal["most_likely", "langevin", "mala", "hmc", "underdamped", "critically_damped"],
        Option(help="How the energy is lowered or drawn from."),
    ] = "most_likely"
    prior: Annotated[Literal["mse", "quantile"], Option(help="How samples are held to the base forecast.")] = "quantile"
    prior_scale: Annotated[float, Option(help="How strongly.")] = 0.3
    log_snr: Annotated[float, Option(help="Noise level of the model's energy.")] = -0.25
    refine_steps: Annotated[int, Option(help="Steps of the refinement.")] = 12
    choose: Annotated[
        bool, Option("--choose", help="Choose settings, or to leave a base as it is, on the last training horizon.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Synthesize(Machine, Model, Series):
    """Draw new series, and tell how real they are.

    The report tells how real the windows look and what a forecaster learns from them.
    """

    output: Output = Path("runs/synthesize")
    n: Annotated[int, Option("--n", help="Synthetic windows to draw.")] = 1000
    sampling_steps: Annotated[int, Option(help="Network calls of each window.")] = 20
    nonnegative: Annotated[bool, Option("--nonnegative", help="Values below 0 become 0.")] = False
    csv: Annotated[bool, Option("--csv", help="Write synthetic.csv beside synthetic.parquet.")] = False
    compare: Annotated[int, Option(help="Windows that the report compares, at most.")] = 1000
    models: Annotated[str, Option(help="Downstream models beside the linear one: deepar,transformer,patchtst.")] = ""
    cpu_minutes: Annotated[Duration, Option(help="Training of each downstream network.")] = 1.0


@dataclass(frozen=True, kw_only=True)
class Anomaly(Machine, Scaled, Untrained, Series):
    """Score every step, and mark what is unlikely.

    Trains TSDiff, or takes a model, scores the held-out steps, and measures what injected anomalies it finds.
    """

    forecasts = False
    steps: Annotated[int, Option(help="Training steps; fewer than sharp intervals need.")] = 3000
    windows: Annotated[
        int | None,
        Option(help="Horizons held out at the end of each series [56 embedded, a tenth of the series else]."),
    ] = None
    output: Output = Path("runs/anomaly")
    method: Annotated[
        Literal["forecast", "elbo", "ode"] | None,
        Option(
            help="forecast: each step by a forecast of it, of the bundled model and what is fine-tuned of it. elbo: a "
            "bound on the likelihood, step by step. ode: the exact one, window by window, slow. [forecast where it can "
            "be, else elbo]"
        ),
    ] = None
    stride: Annotated[
        int | None,
        Option(help="Steps that are forecast at a time [24], or from one window to the next [the prediction length]."),
    ] = None
    quantile: Annotated[Level, Option(help="Of the scores in training that is the threshold.")] = 0.995
    reference: Annotated[
        int | None, Ge(1), Option(help="Training steps of each series that the threshold is taken from [4 windows].")
    ] = None
    magnitude: Annotated[float, Option(help="Size of the injected anomalies, in standard deviations.")] = 1.0


@dataclass(frozen=True, kw_only=True)
class Diagnose(Machine, Measures, Covariates):
    """Measure a model's score by itself.

    Whether it is the gradient of a density and moves with the noise as one, how many dimensions it sees in the data,
    and what few network calls cost.
    """

    output: Output = Path("runs/diagnose")
    model: Annotated[str, Option(help="Trained model (folder or name).")] = "default"
    windows: Annotated[int | None, Option(help="Windows to look at, from the ends of the series [8].", min=1)] = None

    @property
    def chosen(self) -> str:
        """The model, which is never trained here."""
        return self.model


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """The experiment"""

    config: Annotated[str | None, settings_option("m4_hourly or published/m4_hourly", "the embedded data")] = None
    changes: Changes = None
    hardware: Hardware = None
    folder: Annotated[Path | None, Option(help="Where named data sets lie; left out, they are downloaded.")] = None
    seeds: Annotated[list[int] | None, Option("--seed", help="Give it once for each model to train.")] = None
    retrain: Retrain = False


@dataclass(frozen=True, kw_only=True)
class Train(Together, ExperimentOptions):
    """Train as a YAML file says, tune, and test."""

    output: Output = Path("runs/train")


@dataclass(frozen=True, kw_only=True)
class Evaluate(ExperimentOptions):
    """Score trained models on test windows, over seeds.

    The seasonal naive is scored beside them.
    """

    output: Output = Path("runs/evaluate")
    models: Annotated[
        list[str] | None,
        Option("--model", help="Trained model (folder or name); once for each. Left out: trained, or found."),
    ] = None
    guidance: Annotated[
        list[str] | None, Option(help="Energy to sample with, mse or quantile; once for each [as tuned or set].")
    ] = None
