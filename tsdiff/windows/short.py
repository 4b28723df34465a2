"""Says which series hold less than a window or a lag asks for; what lies before their start counts as missing."""

from __future__ import annotations

from shared.console.notes import tell
from tsdiff.windows.config import WindowConfig

_NAMED = 5


class ShortSeries:
    """Counts short series and says so once, at the end.

    Args:
        config: of the model.
        needed: steps that a window needs; None takes the context.
    """

    def __init__(self, config: WindowConfig, needed: int | None = None):
        self.needed = config.context_length if needed is None else needed
        if config.universal:  # such a model is trained on histories of any length
            self.needed = 0
        self.lag = max((*config.lags, *config.known_lags), default=0)
        self.short, self.lagless = _Names(), _Names()

    def see(self, name: str, steps: int) -> None:
        """One series and its steps of history."""
        if steps < self.needed:
            self.short.add(name)
        if 0 < steps <= self.lag:
            self.lagless.add(name)

    def tell(self) -> None:
        """Warn, if there were any."""
        for found, of in ((self.short, f"a window's {self.needed}"), (self.lagless, f"the longest lag's {self.lag}")):
            if found.count:
                tell(f"{found} shorter than {of} steps: what lies before the start counts as missing")


class _Names:
    def __init__(self) -> None:
        self.count, self.first = 0, list[str]()

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(name)

    def __str__(self) -> str:
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        listed = ", ".join(map(repr, self.first)) + more
        return f"series {listed} is" if self.count == 1 else f"{self.count} series ({listed}) are"
