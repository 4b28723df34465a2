"""All measures of one model, over levels of noise, within a time that the user sets."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

import torch
from annotated_types import MinLen
from torch import Tensor

from shared.checks import Checked, Count, Positive, Several
from shared.console.progress import bar
from shared.console.tables import json_ready, markdown, shown
from shared.diagnostics.dimension import (
    ScoreSpectrum,
    flipd,
    lidl,
    refuse_lidl,
    refuse_spectrum,
    score_spectrum,
)
from shared.diagnostics.field import ScoreField
from shared.diagnostics.measures import asymmetric_plane, asymmetry, fokker_planck, loop_integral
from shared.diagnostics.sampling import SamplingDistance, sampling_errors
from shared.divergence import dimensions
from shared.errors import ConfigError, counted
from shared.guidance import DenoiserFunction
from shared.random import make_generator, randn_like
from shared.samplers import MethodSetting
from shared.sde.base import SDE, residual
from shared.views import check_numbers

Measure = Literal["asymmetry", "loop", "fokker_planck", "flipd", "lidl", "spectrum", "sampling"]
"""What is measured, by name."""
QUICK: tuple[Measure, ...] = ("asymmetry", "flipd", "loop", "fokker_planck", "sampling")
"""Those that are measured unless others are asked for, in this order."""

_LOWEST, _LIDL_STEPS = -10.0, 16


@dataclass(frozen=True)
class DiagnosisSettings(Checked):
    """What is measured, and how thoroughly.

    Args:
        measures: some of "asymmetry", "loop", "fokker_planck", "flipd", "lidl", "spectrum" and "sampling".
        noise: levels of noise, κ = σ/α as multiples of the data's deviation around the anchor; those that the process
            does not reach are left out.
        probes: random directions of each item, for asymmetry, divergences and traces.
        steps: of the sampler, whose ends are compared with those of `fine` steps.
        method: the sampler.
        fine: steps of the reference.
        seconds: after which no further measurement begins; nor does one that would last longer, by what a call takes.
        seed: of noise and probes.
    """

    measures: Annotated[tuple[Measure, ...], MinLen(1)] = QUICK
    noise: Annotated[tuple[Positive, ...], MinLen(1)] = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
    probes: Several = 4
    steps: Annotated[tuple[Count, ...], MinLen(1)] = (1, 2, 4, 8, 16, 32)
    method: MethodSetting = "ode2"
    fine: Count = 200
    seconds: Positive = 60.0
    seed: int = 0


@dataclass(frozen=True)
class Level:
    """What was measured at one level of noise; NaN where nothing was.

    Attributes:
        noise: κ, as a multiple of the data's deviation.
        log_snr, t: of the process.
        asymmetry: of the score's Jacobian, over all items.
        data_asymmetry: of the data prediction's.
        loop: relative loop integral, mean over the items.
        fokker_planck: relative residual.
        flipd: intrinsic dimension, mean over the items.
        flipd_error: standard error of that mean, from the probes; 0 of exact traces.
    """

    noise: float
    log_snr: float
    t: float
    asymmetry: float = math.nan
    data_asymmetry: float = math.nan
    loop: float = math.nan
    fokker_planck: float = math.nan
    flipd: float = math.nan
    flipd_error: float = math.nan


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        levels: from noisy to clean.
        sampling: of each number of steps.
        dimensions: real dimensions of an item.
        items: how many were looked at.
        lidl, spectrum: intrinsic dimensions by these methods at the smallest noise, means over the items; NaN where
            they were not measured.
        gap: of the spectrum's singular values, median over the items.
        notes: what was left out, and why.
    """

    levels: tuple[Level, ...]
    sampling: tuple[SamplingDistance, ...]
    dimensions: int
    items: int
    lidl: float = math.nan
    spectrum: float = math.nan
    gap: float = math.nan
    notes: tuple[str, ...] = field(default=())

    def level_rows(self) -> list[list[str]]:
        """A table's cells, the head first: a row a level."""
        head = ["noise / data", "log-SNR", "asymmetry", "of the prediction", "loop", "Fokker–Planck", "FLIPD"]
        rows = []
        for level in self.levels:
            flipd = shown(level.flipd, ".1f")
            if level.flipd_error > 0:
                flipd += f" ± {level.flipd_error:.1f}"
            numbers = (level.asymmetry, level.data_asymmetry, level.loop, level.fokker_planck)
            rows.append([f"{level.noise:g}", f"{level.log_snr:.2f}", *(shown(one, ".2g") for one in numbers), flipd])
        return [head, *rows]

    def sampling_rows(self) -> list[list[str]]:
        """Likewise, a row a number of steps."""
        head = ["steps", "network calls", "distance", "largest"]
        return [head, *([str(s.steps), str(s.nfe), f"{s.distance:.2g}", f"{s.largest:.2g}"] for s in self.sampling)]

    def markdown(self, title: str) -> str:
        """All of it as a page."""
        parts = [f"# {title}\n\n{counted(self.items, 'item')} of {self.dimensions} dimensions.\n"]
        for rows in (self.level_rows(), self.sampling_rows()):
            if len(rows) > 1:
                parts.append(markdown(rows[0], rows[1:]))
        parts += [f"{line}\n" for line in (*self.whole(), *self.notes)]
        return "\n".join(parts)

    def whole(self) -> list[str]:
        """What is not by level, in words."""
        said = []
        if math.isfinite(self.lidl):
            said.append(f"LIDL: {self.lidl:.1f} of {self.dimensions} dimensions")
        if math.isfinite(self.spectrum):
            said.append(f"spectrum: {self.spectrum:.1f} of {self.dimensions} dimensions, gap {self.gap:.2f}")
        return said

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; None where nothing was measured."""
        return {
            "items": self.items,
            "dimensions": self.dimensions,
            "levels": [json_ready(asdict(level)) for level in self.levels],
            "sampling": [json_ready(asdict(one)) for one in self.sampling],
            **json_ready({"lidl": self.lidl, "spectrum": self.spectrum, "gap": self.gap}),
            "notes": list(self.notes),
        }


def diagnose(
    denoiser: DenoiserFunction,
    sde: SDE,
    x0: Tensor,
    y: Tensor | None = None,
    settings: DiagnosisSettings | None = None,
    *,
    progress: bool = False,
) -> Diagnosis:
    """Measure a model's score on some data.

    Args:
        denoiser: (x (batch, ...), t (batch,)) → x̂_0, differentiable in x; items must not depend on each other.
        sde: the process.
        x0: data (batch, ...); a few items are enough.
        y: anchor, shaped like `x0`.
        settings: what, and how thoroughly.
        progress: whether to show a bar.

    Raises:
        ConfigError: the process reaches none of the levels of noise, data that are all alike, or a measure that the
            process has none of.
    """
    return _Diagnoser(denoiser, sde, x0, y, settings or DiagnosisSettings()).run(progress)


class _Diagnoser:
    def __init__(self, denoiser: DenoiserFunction, sde: SDE, x0: Tensor, y: Tensor | None, settings: DiagnosisSettings):
        check_numbers("data x0", x0)
        self.denoiser, self.sde, self.x0, self.y, self.settings = denoiser, sde, x0, y, settings
        self.deviation = float(residual(x0, y).abs().square().mean().sqrt())
        if not 0 < self.deviation < math.inf:
            raise ConfigError(
                f"data of deviation {self.deviation:g} around the anchor have no scale to measure noise by; give data "
                "that are finite and differ from the anchor"
            )
        self.dimensions, self.notes = dimensions(x0), list[str]()
        self.levels = self._reached()
        if "lidl" in settings.measures:
            refuse_lidl(sde, [level.t for level in self.levels[-3:]])
        if "spectrum" in settings.measures:
            refuse_spectrum(self.dimensions)
        self.end = time.perf_counter() + settings.seconds

    def run(self, progress: bool) -> Diagnosis:
        """Measurements in order, until the time is up."""
        given = set(self.settings.measures)
        of_levels = [name for name in QUICK if name in given and name != "sampling"]
        whole: list[Measure] = [name for name in get_args(Measure) if name in given and name not in of_levels]
        left: dict[str, int] = {}
        cost = self._seconds_of_call() if whole else 0.0
        results: dict[str, Any] = {}
        with bar(len(of_levels) * len(self.levels) + len(whole), "diagnosing", "measurements", show=progress) as told:
            for name, place in self._plan(of_levels, whole):
                calls = self._calls(name) if place is None else 0
                if time.perf_counter() + calls * cost > self.end:
                    left[name] = left.get(name, 0) + 1
                elif place is None:
                    results[name] = getattr(self, f"_{name}")()
                else:
                    found = getattr(self, f"_{name}")(self.levels[place])
                    self.levels[place] = replace(self.levels[place], **found)
                told.update(1)
        if left:
            names = ", ".join(f"{name} ({count})" for name, count in left.items())
            self.notes.append(f"not measured within {self.settings.seconds:g} s: {names}; allow more seconds")
        spectrum = results.get("spectrum")
        return Diagnosis(
            tuple(self.levels),
            tuple(results.get("sampling", ())),
            self.dimensions,
            len(self.x0),
            results.get("lidl", math.nan),
            *(
                (math.nan, math.nan)
                if spectrum is None
                else (float(spectrum.dimension.double().mean()), float(spectrum.gap.median()))
            ),
            notes=tuple(self.notes),
        )

    def _plan(self, of_levels: Sequence[str], whole: Sequence[str]) -> Iterator[tuple[str, int | None]]:
        for name in of_levels:
            yield from ((name, place) for place in range(len(self.levels)))
        yield from ((name, None) for name in whole)

    def _seconds_of_call(self) -> float:
        level = self.levels[-1]
        field, u = self._at(level)
        started = time.perf_counter()
        with torch.no_grad():
            field.data(u)
        return time.perf_counter() - started

    def _calls(self, name: str) -> int:
        """Network calls of a measurement that is not of one level; a derivative counts as two more."""
        s = self.settings
        if name == "sampling":
            return s.fine + sum(s.steps)
        if name == "lidl":
            return len(self.levels[-3:]) * 4 * _LIDL_STEPS * (1 + 2 * s.probes)
        return 4 * self.dimensions

    def _reached(self) -> list[Level]:
        """The levels that lie inside the path, from noisy to clean."""
        low, high = max(float(self.sde.log_snr(self.sde.T)), _LOWEST), float(self.sde.log_snr(self.sde.t_min))
        levels, beyond = [], []
        for noise in sorted(set(self.settings.noise), reverse=True):
            log_snr = -math.log(noise * self.deviation)
            if low < log_snr < high:
                levels.append(Level(noise, log_snr, float(self.sde.time_of_log_snr(log_snr))))
            else:
                beyond.append(f"{noise:g}")
        if not levels:
            least, most = (math.exp(-end) / self.deviation for end in (high, low))
            raise ConfigError(
                f"noise={', '.join(beyond)} times the data's deviation of {self.deviation:.3g}: the path of "
                f"{type(self.sde).__name__} reaches from {least:.3g} to {most:.3g} times"
            )
        if beyond:
            self.notes.append(f"noise of {', '.join(beyond)} times the data's deviation lies outside the process' path")
        return levels

    def _generator(self, name: str) -> Any:
        """Noise and probes are the same at all levels, so that these compare."""
        return make_generator(self.settings.seed, "diagnosis", name)

    def _noise(self) -> Tensor:
        return randn_like(self.x0, self._generator("noise"))

    def _at(self, level: Level) -> tuple[ScoreField, Tensor]:
        found = ScoreField(self.denoiser, self.sde, level.t, self.x0, self.y)
        return found, found.noisy(self.x0, self._noise())

    def _asymmetry(self, level: Level) -> dict[str, float]:
        found = asymmetry(*self._at(level), self.settings.probes, self._generator("probes"))
        return {"asymmetry": float(found.score.mean()), "data_asymmetry": float(found.data.mean())}

    def _loop(self, level: Level) -> dict[str, float]:
        field, u = self._at(level)
        plane = asymmetric_plane(field, u, self._generator("loop"))
        return {"loop": float(loop_integral(field, u, *plane).relative.mean())}

    def _fokker_planck(self, level: Level) -> dict[str, float]:
        found = fokker_planck(
            self.denoiser,
            self.sde,
            self.x0,
            level.t,
            self.y,
            noise=self._noise(),
            probes=self.settings.probes,
            generator=self._generator("probes"),
        )
        return {"fokker_planck": found.relative}

    def _flipd(self, level: Level) -> dict[str, float]:
        options: dict[str, Any] = {"probes": self.settings.probes, "generator": self._generator("probes")}
        found = flipd(self.denoiser, self.sde, self.x0, level.t, self.y, **options)
        error = float(found.standard_error.square().sum().sqrt()) / len(self.x0)
        return {"flipd": float(found.value.mean()), "flipd_error": error}

    def _lidl(self) -> float:
        times = [level.t for level in self.levels[-3:]]
        options: dict[str, Any] = {
            "probes": self.settings.probes,
            "generator": self._generator("probes"),
            "steps": _LIDL_STEPS,
        }
        return float(lidl(self.denoiser, self.sde, self.x0, times, self.y, **options).value.mean())

    def _spectrum(self) -> ScoreSpectrum:
        options: dict[str, Any] = {"generator": self._generator("spectrum")}
        return score_spectrum(self.denoiser, self.sde, self.x0, self.levels[-1].t, self.y, **options)

    def _sampling(self) -> list[SamplingDistance]:
        generator = self._generator("start")
        if self.y is None:
            start = self.sde.prior_sample(self.x0.shape, generator, dtype=self.x0.dtype, device=self.x0.device)
        else:
            start = self.sde.prior_sample(self.y, generator)
        s = self.settings
        return sampling_errors(self.denoiser, self.sde, start, s.steps, self.y, s.method, fine=s.fine)
