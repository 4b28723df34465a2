"""The metrics by name, and several of them on one pair of signals with what can be shared computed once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shared.errors import ConfigError, MissingPackageError
from shared.optional import install, is_there
from speech.metrics.checks import Signal, UnscorableError, as_signal, strict, trim
from speech.metrics.energy import si_sar, si_sdr, si_sir
from speech.metrics.loizou import composite
from speech.metrics.opinion import dnsmos
from speech.metrics.perceptual import estoi, pesq_nb, pesq_wb, stoi
from speech.metrics.spectral import lsd


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Attributes:
        title: With its unit.
        decimals: Worth showing.
        better: Whether higher or lower is better.
        needs_noise: Whether the noisy recording is needed beside reference and estimate.
        needs_reference: Whether the clean recording is needed.
        package: that computes it, which the extra [metrics] installs; None: this one does.
    """

    title: str
    decimals: int = 2
    better: Literal["higher", "lower"] = "higher"
    needs_noise: bool = False
    needs_reference: bool = True
    package: str | None = None


METRICS: dict[str, Metric] = {
    "pesq_wb": Metric("PESQ-WB", package="pesq"),
    "pesq_nb": Metric("PESQ-NB", package="pesq"),
    "estoi": Metric("ESTOI", 3, package="pystoi"),
    "stoi": Metric("STOI", 3, package="pystoi"),
    "si_sdr": Metric("SI-SDR, dB"),
    "si_sir": Metric("SI-SIR, dB", needs_noise=True),
    "si_sar": Metric("SI-SAR, dB", needs_noise=True),
    "lsd": Metric("LSD, dB", better="lower"),
    "csig": Metric("CSIG", package="pesq"),
    "cbak": Metric("CBAK", package="pesq"),
    "covl": Metric("COVL", package="pesq"),
    "dnsmos_sig": Metric("DNSMOS SIG", needs_reference=False, package="speechmos"),
    "dnsmos_bak": Metric("DNSMOS BAK", needs_reference=False, package="speechmos"),
    "dnsmos_ovrl": Metric("DNSMOS OVRL", needs_reference=False, package="speechmos"),
    "dnsmos_p808": Metric("DNSMOS P.808", needs_reference=False, package="speechmos"),
}
"""Every metric, by the name of its column."""

DEFAULT_METRICS = ("pesq_wb", "estoi", "si_sdr", "si_sir", "si_sar", "lsd", "csig", "cbak", "covl")
"""All but those that take long or say again what another says."""

WITHOUT_REFERENCE = tuple(name for name, metric in METRICS.items() if not metric.needs_reference)
"""Those that score a recording by itself."""


@dataclass(frozen=True)
class Compared:
    """A reference, an estimate, and, where it is known, the recording before enhancement: waveforms at one rate."""

    reference: Any
    estimate: Any
    sample_rate: float
    noisy: Any = None

    @functools.cached_property
    def pesq_wb(self) -> float:
        """Wide-band PESQ, which the composite measures use too."""
        return float(strict(pesq_wb)(self.reference, self.estimate, self.sample_rate))

    @functools.cached_property
    def noise(self) -> Signal:
        """The noisy recording minus the reference."""
        clean = as_signal(self.reference, "reference", self.sample_rate)
        noisy = as_signal(self.noisy, "noisy recording", self.sample_rate)
        clean, noisy = trim(clean, noisy, self.sample_rate, "noisy recording")
        return noisy - clean


def _alone(name: str, metric: Callable[..., float]) -> Callable[[Compared], dict[str, float]]:
    return lambda pair: {name: strict(metric)(pair.reference, pair.estimate, pair.sample_rate)}


def _against_noise(name: str, metric: Callable[..., float]) -> Callable[[Compared], dict[str, float]]:
    return lambda pair: {name: strict(metric)(pair.reference, pair.estimate, pair.sample_rate, noise=pair.noise)}


def _composites(pair: Compared) -> dict[str, float]:
    return asdict(composite(pair.reference, pair.estimate, pair.sample_rate, pesq=pair.pesq_wb))


def _opinions(pair: Compared) -> dict[str, float]:
    return {f"dnsmos_{name}": value for name, value in asdict(dnsmos(pair.estimate, pair.sample_rate)).items()}


_COMPUTED: dict[tuple[str, ...], Callable[[Compared], dict[str, float]]] = {
    ("pesq_wb",): lambda pair: {"pesq_wb": pair.pesq_wb},
    ("pesq_nb",): _alone("pesq_nb", pesq_nb),
    ("estoi",): _alone("estoi", estoi),
    ("stoi",): _alone("stoi", stoi),
    ("si_sdr",): _alone("si_sdr", si_sdr),
    ("si_sir",): _against_noise("si_sir", si_sir),
    ("si_sar",): _against_noise("si_sar", si_sar),
    ("lsd",): _alone("lsd", lsd),
    ("csig", "cbak", "covl"): _composites,
    ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808"): _opinions,
}


@dataclass(frozen=True)
class Score:
    """A metric's value, and why it must not be averaged: `value` is then NaN or infinite."""

    value: float
    reason: str | None = None


def chosen_metrics(names: Iterable[str] | None, *, noise: bool, reference: bool = True) -> tuple[str, ...]:
    """The metrics to compute, in the order of `METRICS`: those named; or `DEFAULT_METRICS`, or without a reference
    `WITHOUT_REFERENCE`; "all" names all.

    Raises:
        ConfigError: A name is unknown, none is given, or one needs the noisy recordings or the clean ones where `noise`
            or `reference` is false.
        MissingPackageError: One needs a package that is not installed.
    """
    chosen = _chosen(names, noise, reference)
    for package in dict.fromkeys(METRICS[name].package for name in chosen):
        if package is not None and not is_there(package):
            lacking = [name for name in chosen if METRICS[name].package == package]
            others = [name for name in _available(noise, reference) if is_there(METRICS[name].package or "speech")]
            raise MissingPackageError(
                f"the package {package} is needed for {', '.join(lacking)}: {install('metrics')}"
                + (f", or choose other metrics ({', '.join(others)})" if others else "")
            )
    return chosen


def _available(noise: bool, reference: bool) -> list[str]:
    """The metrics of which all recordings that they need are there."""
    return [
        name
        for name, metric in METRICS.items()
        if (noise or not metric.needs_noise) and (reference or not metric.needs_reference)
    ]


def _chosen(names: Iterable[str] | None, noise: bool, reference: bool) -> tuple[str, ...]:
    available = _available(noise, reference)
    if names is None:
        return tuple(name for name in (DEFAULT_METRICS if reference else WITHOUT_REFERENCE) if name in available)
    wanted = {names} if isinstance(names, str) else set(names)
    for name in sorted(wanted - {"all"}, key=str):
        if name not in METRICS:
            raise ConfigError(f"unknown metric {name!r}; take some of {', '.join(METRICS)}, or all")
        if METRICS[name].needs_reference and not reference:
            raise ConfigError(f"metric {name!r} needs clean recordings; without: {', '.join(WITHOUT_REFERENCE)}")
        if name not in available:
            raise ConfigError(f"metric {name!r} needs the noisy recordings; give their folder, or leave it out")
    if not wanted:
        raise ConfigError(f"no metric is chosen; take some of {', '.join(METRICS)}, or all")
    if "all" in wanted:
        return tuple(available)
    return tuple(name for name in METRICS if name in wanted)


def score(
    metrics: Iterable[str], reference: Any, estimate: Any, sample_rate: float, *, noisy: Any = None
) -> dict[str, Score]:
    """Several metrics of one pair of waveforms.

    Args:
        metrics: Names in `METRICS`.
        reference: Clean waveform, (samples,); None for metrics that need none.
        estimate: Waveform to score, (samples,); up to 0.05 s longer or shorter.
        sample_rate: Of all, in Hz.
        noisy: The recording before enhancement, (samples,), for SI-SIR and SI-SAR.

    Returns:
        A score for each name; where a metric is not defined, NaN (or an infinity) with the reason.

    Raises:
        ConfigError: As `chosen_metrics`.
    """
    names = chosen_metrics(metrics, noise=noisy is not None, reference=reference is not None)
    pair = Compared(reference, estimate, sample_rate, noisy)
    found: dict[str, Score] = {}
    for together, compute in _COMPUTED.items():
        if not set(together).isdisjoint(names):
            try:
                found |= {name: Score(value, _why_not(value)) for name, value in compute(pair).items()}
            except UnscorableError as error:
                found |= dict.fromkeys(together, Score(math.nan, str(error)))
    return {name: found[name] for name in names}


def _why_not(value: float) -> str | None:
    if math.isfinite(value):
        return None
    why = "there is no error to divide by" if value > 0 else "the estimate holds nothing of the reference"
    return f"is {value:g}: {why}"
