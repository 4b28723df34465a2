"""How real synthetic windows look: marginals, autocorrelation, spectrum, excursions, and a classifier's opinion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import pandas as pd
from scipy import stats

from shared.checks import Count, checked
from shared.console.tables import markdown
from shared.errors import ConfigError, DataError, counted
from tsdiff.evaluation.persistence import Excursions, excursion_distance, excursions
from tsdiff.tasks.synthesis.discriminator import Classifier, Discrimination, discriminate
from tsdiff.tasks.synthesis.statistics import autocorrelation, power_spectrum
from tsdiff.tasks.synthesis.windows import Windows, WindowSet, stack_windows

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class Profile:
    """The statistics of one set of windows.

    Attributes:
        scales: mean absolute value of each window, (n,), in the series' units.
        values: all values, each window divided by its scale.
        increments: all differences from one step to the next, scaled likewise.
        acf: mean autocorrelation, lags 0 … max_lag.
        frequencies, spectrum: cycles a step, and the mean share of power at each.
        excursions: runs of the scaled values above or below the median of the real ones.
    """

    scales: np.ndarray
    values: np.ndarray
    increments: np.ndarray
    acf: np.ndarray
    frequencies: np.ndarray
    spectrum: np.ndarray
    excursions: Excursions


@dataclass(frozen=True)
class Realism:
    """Synthetic beside real windows, each divided by its mean absolute value, which `scale_ks` compares.

    Attributes:
        scale_ks: Kolmogorov–Smirnov distance of the windows' scales, 0 … 1.
        value_ks: Of the scaled values.
        value_wasserstein: Their Wasserstein-1 distance, in units of a window's mean absolute value.
        increment_ks, increment_wasserstein: Of the differences from one step to the next.
        acf_rmse: Root mean square difference of the mean autocorrelations over lags 1 … max_lag.
        spectrum_db: Log-spectral distance: root mean square difference of the mean spectra in dB.
        excursion_ks, excursion_wasserstein: Of how long windows stay on one side of the real windows' median, the
            latter of the logarithm of the lengths; NaN where a set never crosses it.
        discrimination: What each classifier achieves.
        real, synthetic: The statistics behind these.
        samples: Real and synthetic scaled windows, (n, length), for pictures.
        notes: What was left out, and why.
    """

    scale_ks: float
    value_ks: float
    value_wasserstein: float
    increment_ks: float
    increment_wasserstein: float
    acf_rmse: float
    spectrum_db: float
    excursion_ks: float
    excursion_wasserstein: float
    discrimination: dict[Classifier, Discrimination]
    real: Profile = field(repr=False)
    synthetic: Profile = field(repr=False)
    samples: tuple[np.ndarray, np.ndarray] = field(repr=False)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, float]:
        """The scores by name, ready for JSON or a table."""
        scores = {name: value for name, value in vars(self).items() if isinstance(value, float) and value == value}
        for name, found in self.discrimination.items():
            scores |= {
                f"auroc_{name}": found.auroc,
                f"auroc_{name}_deviation": found.auroc_deviation,
                f"accuracy_{name}": found.accuracy,
                f"discriminative_score_{name}": found.score,
            }
        return scores

    def quantiles(self) -> pd.DataFrame:
        """Quantiles of the scaled values: columns "quantile", "real", "synthetic"."""
        both = [np.quantile(profile.values, QUANTILES) for profile in (self.real, self.synthetic)]
        return pd.DataFrame({"quantile": QUANTILES, "real": both[0], "synthetic": both[1]})


def realism(
    real: Windows,
    synthetic: Windows,
    *,
    max_lag: int | None = None,
    classifiers: Sequence[Classifier] = get_args(Classifier),
    folds: int = 5,
    seed: int = 0,
) -> Realism:
    """Compare synthetic windows with real ones.

    No number means much alone: set beside it what other real windows of the same series get, and a surrogate
    (`tsdiff.tasks.synthesis.phase_randomised`).

    Args:
        real, synthetic: windows of one length (`Windows`): arrays, or entries of `real_windows` and `synthesize`,
            whose sources keep overlapping windows together in the cross-validation.
        max_lag: of the autocorrelation; None takes half the length.
        classifiers: "logistic", "boosting"; none leaves the discriminative scores out.
        folds: of the classifiers' cross-validation.
        seed: of the classifiers.

    Raises:
        ConfigError: a lag that does not fit the length, an unknown classifier.
        DataError: windows that differ in length, shorter than 4 steps, missing or infinite values, nothing but
            constant windows, or too few windows to tell apart (`discriminate`).
    """
    pair = stack_windows(real, "the real windows"), stack_windows(synthetic, "the synthetic windows")
    length = pair[0].length
    if pair[1].length != length:
        raise DataError(f"real windows have {length} steps, synthetic ones {pair[1].length}; give equal lengths")
    if length < 4:
        raise DataError(f"windows of {length} steps have no spectrum to speak of; give at least 4")
    max_lag = length // 2 if max_lag is None else checked(Count, max_lag=max_lag)
    if not 1 <= max_lag < length:
        raise ConfigError(f"max_lag={max_lag}: need a lag from 1 to {length - 1}, the windows' length less 1")
    notes: list[str] = []
    scales = [_scales(windows) for windows in pair]
    scaled = [WindowSet(w.values / s[:, None], w.sources) for w, s in zip(pair, scales, strict=True)]
    level = float(np.median(scaled[0].values))
    one, other = (
        _profile(windows, own, level, max_lag, name, notes)
        for windows, own, name in zip(scaled, scales, ("real", "synthetic"), strict=True)
    )
    apart = excursion_distance(one.excursions, other.excursions)
    decibel = 10.0 * (_decades(one.spectrum) - _decades(other.spectrum))
    return Realism(
        scale_ks=_ks(one.scales, other.scales),
        value_ks=_ks(one.values, other.values),
        value_wasserstein=float(stats.wasserstein_distance(one.values, other.values)),
        increment_ks=_ks(one.increments, other.increments),
        increment_wasserstein=float(stats.wasserstein_distance(one.increments, other.increments)),
        acf_rmse=float(np.sqrt(np.mean((one.acf[1:] - other.acf[1:]) ** 2))),
        spectrum_db=float(np.sqrt(np.mean(decibel**2))),
        excursion_ks=apart.ks,
        excursion_wasserstein=apart.wasserstein,
        discrimination={name: discriminate(scaled[0], scaled[1], name, folds=folds, seed=seed) for name in classifiers},
        real=one,
        synthetic=other,
        samples=(scaled[0].values, scaled[1].values),
        notes=tuple(notes),
    )


def _scales(windows: WindowSet) -> np.ndarray:
    scales = np.abs(windows.values).mean(axis=1)
    return np.where(scales > 0, scales, 1.0)


def _profile(
    windows: WindowSet, scales: np.ndarray, level: float, max_lag: int, name: str, notes: list[str]
) -> Profile:
    scaled = windows.values
    acf = autocorrelation(scaled, max_lag)
    frequencies, power = power_spectrum(scaled)
    varies = np.isfinite(acf).all(axis=1)
    if not varies.any():
        raise DataError(f"all {len(windows)} {name} windows are constant; there is nothing to compare")
    if not varies.all():
        constant = counted(int((~varies).sum()), "window is", "windows are")
        notes.append(f"{constant} constant among the {name} ones and left out of autocorrelation and spectrum")
    return Profile(
        scales,
        scaled.ravel(),
        np.diff(scaled, axis=1).ravel(),
        acf[varies].mean(axis=0),
        frequencies,
        power[varies].mean(axis=0),
        excursions(scaled, level),
    )


def _ks(one: np.ndarray, other: np.ndarray) -> float:
    return float(stats.ks_2samp(one, other, method="asymp").statistic)


def _decades(power: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(power, 1e-12))


_TITLES = {
    "scale_ks": "scale KS",
    "value_ks": "values KS",
    "value_wasserstein": "values W₁",
    "increment_ks": "increments KS",
    "increment_wasserstein": "increments W₁",
    "acf_rmse": "ACF RMSE",
    "spectrum_db": "spectrum dB",
    "excursion_ks": "excursions KS",
    "excursion_wasserstein": "excursions W₁",
    "auroc_logistic": "AUROC logistic",
    "auroc_boosting": "AUROC boosting",
    "accuracy_boosting": "accuracy boosting",
}


def realism_frame(rows: Mapping[str, Realism]) -> pd.DataFrame:
    """Scores of several sets, one row each: "windows", and the fields of `Realism.as_dict`."""
    return pd.DataFrame([{"windows": name, **row.as_dict()} for name, row in rows.items()])


def realism_table(rows: Mapping[str, Realism]) -> str:
    """The main scores as a Markdown table, one row a set of windows."""
    shown = [name for name in _TITLES if all(name in row.as_dict() for row in rows.values())]
    lines = [[title, *(_cell(name, row.as_dict()) for name in shown)] for title, row in rows.items()]
    return markdown(["windows", *(_TITLES[name] for name in shown)], lines)


def _cell(name: str, scores: Mapping[str, float]) -> str:
    deviation = scores.get(f"{name}_deviation")
    written = f"{scores[name]:.2f}" if name == "spectrum_db" else f"{scores[name]:.3f}"
    return written if deviation is None else f"{written} ± {deviation:.3f}"
