"""Says which series hold less than a window or a lag asks for; what lies before their start counts as missing."""

from __future__ import annotations

from shared.console.notes import tell
from shared.errors import first_few
from tsdiff.windows.config import WindowConfig

_NAMED = 5


class ShortSeries:
    """Remembers short series and says so once, at the end.

    Args:
        config: of the model.
        needed: steps that a window needs; None takes the context.
    """

    def __init__(self, config: WindowConfig, needed: int | None = None):
        self.needed = config.context_length if needed is None else needed
        if config.universal:  # such a model is trained on histories of any length
            self.needed = 0
        self.lag = max((*config.lags, *config.known_lags), default=0)
        self.short, self.lagless = list[str](), list[str]()

    def see(self, name: str, steps: int) -> None:
        """One series and its steps of history."""
        if steps < self.needed:
            self.short.append(repr(name))
        if 0 < steps <= self.lag:
            self.lagless.append(repr(name))

    def tell(self) -> None:
        """Warn, if there were any."""
        for names, of in ((self.short, f"a window's {self.needed}"), (self.lagless, f"the longest lag's {self.lag}")):
            if names:
                listed = first_few(names, _NAMED)
                found = f"series {listed} is" if len(names) == 1 else f"{len(names)} series ({listed}) are"
                tell(f"{found} shorter than {of} steps: what lies before the start counts as missing")
