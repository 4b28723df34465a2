"""What was tried, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.console.tables import json_ready, markdown, shown

_TITLES = ("candidate", "CRPS", "× naive", "90 % coverage", "share", "CPU s", "")


@dataclass(frozen=True)
class Tried:
    """A candidate.

    Attributes:
        name: of it.
        crps, coverage_90: of its backtests; None where it was left out.
        share: of the samples.
        seconds: of CPU time that it took, training and backtests.
        about: what was done, or why it was left out.
    """

    name: str
    crps: float | None = None
    coverage_90: float | None = None
    share: float = 0.0
    seconds: float = 0.0
    about: str = ""


@dataclass(frozen=True)
class Report:
    """What `tsdiff.auto` found.

    Attributes:
        tried: the candidates, and the pool last.
        windows: that were forecast to choose by.
        why: the choice, in a sentence.
        seconds: of CPU time for all.
        steps: of optimisers, by candidate, to repeat it with (`AutoSettings`).
    """

    tried: tuple[Tried, ...] = ()
    windows: int = 0
    why: str = ""
    seconds: float = 0.0
    steps: Mapping[str, int] = field(default_factory=dict)

    def to_markdown(self) -> str:
        """The table."""
        return markdown([*_TITLES], self._rows())

    def __str__(self) -> str:
        lines = [f"{self.windows} backtest windows, {self.seconds:.0f} CPU s", self.to_markdown(), f"taken: {self.why}"]
        return "\n".join(lines)

    def _rows(self) -> list[list[str]]:
        guard = next((one.crps for one in self.tried if one.name == "naive"), None)
        made = []
        for one in self.tried:
            ratio = one.crps / guard if one.crps is not None and guard else None
            coverage = "–" if one.coverage_90 is None else f"{100 * one.coverage_90:.0f} %"
            share = f"{one.share:.2f}" if one.share else "–"
            made.append([one.name, shown(one.crps), shown(ratio), coverage, share, f"{one.seconds:.1f}", one.about])
        return made

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; `from_dict` reads it."""
        numbers = ("crps", "coverage_90", "share", "seconds")
        rows = [
            {
                **asdict(one),
                **json_ready({name: getattr(one, name) for name in numbers if getattr(one, name) is not None}),
            }
            for one in self.tried
        ]
        return {**asdict(self), "tried": rows}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """The report that `as_dict` wrote.

        Raises:
            TypeError, ValueError, AttributeError, KeyError: it did not.
        """
        tried = tuple(Tried(**one) for one in values["tried"])
        return cls(**{**values, "tried": tried, "steps": dict(values["steps"])})
