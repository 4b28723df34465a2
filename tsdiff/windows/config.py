"""What the windows of a model are."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Le

from shared.checks import DISTINCT, Checked, Count, Natural, NonNegative, Positive, checked
from shared.errors import ConfigError
from shared.noise import Conditioned
from tsdiff.data.frequency import base_freq, candidate_seasons, normalise_freq
from tsdiff.windows.transforms import TransformSetting

Scaling = Literal["mean", "standard", "last", "none", "anchor"]
Calendar = Literal["none", "waves", "gluonts", "season"]

# How many seasons of context serve well where nothing is said: two weeks of hours, twelve of days, …
_CONTEXT = {"s": 720, "min": 720, "h": 336, "D": 84, "B": 60, "W": 52, "M": 48, "Q": 20, "Y": 12}
# No shape of a saved model tells these, and memory goes with them: a damaged file must not ask for any amount.
_LONGEST, _LARGEST, _LONGEST_LAG = 1 << 17, 1 << 19, 1 << 20
Lags = Annotated[tuple[Annotated[Count, Le(_LONGEST_LAG)], ...], DISTINCT]
ANY_FREQ = "any"
"""The frequency of a model of all frequencies; `TSDiff.adapted` gives it one, and a horizon up to its longest."""


@dataclass(frozen=True)
class WindowConfig(Checked):
    """What the windows of a model are: how they are cut and scaled, and what the network is told beside their values.

    Args:
        freq: pandas frequency of the series, which is normalised; "any" of a model of all (`ANY_FREQ`).
        prediction_length: steps to forecast; the most of them for a model of all frequencies.
        context_length: steps before them that a window holds; a window has at most 131,072 steps and 524,288 values.
        scaling: windows are divided by the mean absolute value of their context ("mean", the paper's), or brought to
            zero mean and unit deviation of it ("standard"), or taken relative to its last value, in units of its mean
            absolute change from one value to the next ("last", for random walks), or left as they are ("none"); or
            taken around what simple forecasts say of the steps to be drawn, by the inverse hyperbolic sine of the
            residual in units of the error that these made before ("anchor", for conditional models of all frequencies;
            `tsdiff.windows.anchors`). Missing values are left out. What the forecast of a window of almost no spread is
            scaled by, `tsdiff.windows.scales.without_level` says.
        calendar: what the network sees of each step's place in time: "waves", sines and cosines of its place in the
            day, week or year; "gluonts", GluonTS's time features and the logarithm of the series' age, as published;
            "season", the same columns for all frequencies (`tsdiff.windows.calendar.calendar_features`), where the
            network is also told which steps lie before the series and sees nothing there.
        channels: dimensions of the series; targets are (length,) for one, (channels, length) for more.
        lags: the window's channels also hold the series this many steps before, diffused with it, as published.
        dynamic_features: rows of "feat_dynamic_real", known for the horizon too.
        static_features: length of "feat_static_real".
        categories: how many values each "feat_static_cat" takes; each is embedded.
        scale_feature: whether the network sees the logarithm of the window's scale.
        conditional: TSDiff-Cond: the network sees the observed values and which they are (Kollovieh et al. 2023, §5).
        known_lags: a conditional network is also told the series this many steps before, scaled like the window, 0
            where it is not known. Imported TSDiff-Cond models have them; other conditional models take `lags`.
        external_features: features that the network takes from its callers alone. Imported models that were trained
            without features have them; forecasts give none.
        default_scale: with "mean", the scale of a context that holds no value but zeros. None takes that of the whole
            series, 0 that of all windows which are drawn or trained on together, as published (GluonTS's MeanScaler).
        minimum_scale: no scale is smaller.
        transform: of the series' values before they are scaled: "log" or "inverse_softplus" for positive series, or
            settings of either (`tsdiff.windows.transforms`). With one, `scaling` is of the transformed values and not
            "mean", which would divide by a logarithm.
        reach: the most steps to forecast of the model of all frequencies that this one was adapted from: it can be
            given other horizons up to it (`TSDiff.adapted`). None of other models.
    """

    freq: str
    prediction_length: Count
    context_length: Count
    scaling: Scaling = "mean"
    calendar: Calendar = "waves"
    channels: Count = 1
    lags: Lags = ()
    dynamic_features: Natural = 0
    static_features: Natural = 0
    categories: tuple[Count, ...] = ()
    scale_feature: bool = False
    conditional: bool = False
    known_lags: Lags = ()
    external_features: Natural = 0
    default_scale: NonNegative | None = None
    minimum_scale: Positive = sys.float_info.min
    transform: TransformSetting | None = None
    reach: Count | None = None

    def _related(self) -> None:
        if self.transform is not None and self.scaling == "mean":
            raise ConfigError(
                "scaling='mean' with a transform divides by the mean of logarithms, which tells no scale: take "
                "scaling='standard', 'last' or 'none'"
            )
        if self.awaits_freq:
            met = self.calendar in ("season", "none")
            self._require(met, "calendar", "it needs one frequency; with freq='any' take 'season'")
        else:
            object.__setattr__(self, "freq", normalise_freq(self.freq))
        self._require(
            self.length <= _LONGEST and self.length * self.network_channels <= _LARGEST,
            "context_length prediction_length",
            f"need at most {_LONGEST} steps and {_LARGEST} values for windows of {self.length} steps and "
            f"{self.network_channels} channels (those of lags counted)",
        )
        met = self.default_scale is None or self.scaling == "mean"
        self._require(met, "default_scale scaling", "need scaling='mean' for a default")
        plain = self.network_channels == 1 and self.transform is None
        met = self.scaling != "anchor" or (self.conditional and self.universal and plain)
        need = "need conditional=True, calendar='season' and one channel without lags or transform"
        self._require(met, "scaling", need)
        met = self.conditional or not self.known_lags
        self._require(met, "known_lags", "only a conditional network is told them")

    def transformed(self, values: np.ndarray) -> np.ndarray:
        """Values of series as they are scaled."""
        return values if self.transform is None else self.transform.forward(values)

    def untransformed(self, values: np.ndarray) -> np.ndarray:
        """Values of series from those that were scaled."""
        return values if self.transform is None else self.transform.inverse(values)

    @property
    def start(self) -> Conditioned | None:
        """The noise of a model whose sampling starts from a regression on the context, around its mean."""
        return None

    @property
    def length(self) -> int:
        """Steps in a window: context and horizon."""
        return self.context_length + self.prediction_length

    @property
    def network_channels(self) -> int:
        """Channels of a window: the series', then those of each lag."""
        return self.channels * (1 + len(self.lags))

    @property
    def universal(self) -> bool:
        """Whether the model serves series of all frequencies."""
        return self.calendar == "season"

    @property
    def draws_whole(self) -> bool:
        """Whether the model also draws windows of which it is told nothing."""
        return not self.conditional or self.scaling == "anchor"

    @property
    def gap_seasons(self) -> tuple[int, ...]:
        """Seasons, in steps, from which gaps of training windows are filled (`tsdiff.windows.gaps.patch_gaps`); none
        where they are straight lines, as to models with an anchor or of all frequencies."""
        return () if self.awaits_freq or self.scaling == "anchor" else candidate_seasons(self.freq)[:-1]

    @property
    def awaits_freq(self) -> bool:
        """Whether it is a model of all frequencies that has yet to be given one, and a horizon (`TSDiff.adapted`)."""
        return self.freq == ANY_FREQ


def fitting_context(freq: str, prediction_length: int, patch: int, context_length: int | None = None) -> int:
    """The smallest context of at least `context_length` (default: by frequency) whose window is whole patches."""
    checked(Count | None, context_length=context_length)
    wanted = context_length or max(_CONTEXT.get(base_freq(freq), 64), 2 * prediction_length)
    return wanted + -(wanted + prediction_length) % patch
