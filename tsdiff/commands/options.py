"""The options of each verb, a class a verb; `tsdiff.commands.groups` has what several share. Needs no torch, as no help
page may.

Defaults and choices that belong to settings elsewhere are repeated here as plain values; a test holds them equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge
from typer import Option

from shared.checks import Count, Duration, Finite, Level, Natural, NonNegative, Portion, Positive, checked
from shared.console.options import Changes, Hardware, Measures, Output, Retrain, settings_option
from shared.errors import ConfigError
from shared.scale.options import Together
from tsdiff.commands.groups import Covariates, Draws, Machine, Model, Scaled, Series, Untrained, Values


@dataclass(frozen=True, kw_only=True)
class Forecast(Machine, Draws, Values, Scaled, Untrained, Covariates):
    """Forecast with intervals, scored beside the seasonal naive.

    Trains TSDiff, or takes a model, and forecasts with self-guidance the held-out windows and what comes after.
    """

    output: Output = Path("runs/forecast")
    windows: Annotated[
        Natural | None,
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
        checked(Positive, **{"--fine-tune": self.minutes})
        return self.model or "default"


@dataclass(frozen=True, kw_only=True)
class Impute(Machine, Draws, Values, Scaled, Untrained, Covariates):
    """Fill gaps with intervals, scored on values hidden for it.

    Straight lines and earlier seasons are scored beside it.
    """

    forecasts = False
    output: Output = Path("runs/impute")
    windows: Annotated[
        Natural | None,
        Option(
            help="Test windows at the end of each series; 0 scores nothing, and only fills gaps [7 embedded, 1 with "
            "--data, 0 where no series is long enough]."
        ),
    ] = None
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
    prior_scale: Annotated[NonNegative, Option(help="How strongly.")] = 0.3
    log_snr: Annotated[Finite, Option(help="Noise level of the model's energy.")] = -0.25
    refine_steps: Annotated[Count, Option(help="Steps of the refinement.")] = 12
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
    sampling_steps: Annotated[Count, Option(help="Network calls of each window.")] = 20
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
    steps: Annotated[Count, Option(help="Training steps; fewer than sharp intervals need.")] = 3000
    windows: Annotated[
        Count | None,
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
        Count | None,
        Option(help="Steps that are forecast at a time [24], or from one window to the next [the prediction length]."),
    ] = None
    calendar_days: Annotated[
        bool | None,
        Option("--calendar/--no-calendar", help="Forecasts know feasts, paydays and weekdays [they do]."),
    ] = None
    quantile: Annotated[Level, Option(help="Of the scores before the held-out steps that is the threshold.")] = 0.995
    reference: Annotated[
        int | None, Ge(1), Option(help="Steps before the held-out ones that the threshold is taken from [4 windows].")
    ] = None
    magnitude: Annotated[Positive, Option(help="Size of the injected anomalies, in standard deviations.")] = 1.0


@dataclass(frozen=True, kw_only=True)
class Diagnose(Machine, Measures, Covariates):
    """Measure a model's score by itself.

    Whether it is the gradient of a density and moves with the noise as one, how many dimensions it sees in the data,
    and what few network calls cost.
    """

    forecasts = False
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
        list[str] | None,
        Option(help="Energy to sample with: mse, quantile or robust; once for each [as tuned or set]."),
    ] = None
