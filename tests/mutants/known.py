"""Mutants that are always planted, besides the sample: what once survived, and what became of it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant, difference

KNOWN = Path(__file__).with_name("known.toml")


@dataclass(frozen=True)
class Known:
    """An entry of `known.toml`.

    Attributes:
        file: its path from the root.
        before, after: the line that is changed, without the spaces around it, and what becomes of it.
        killed_by: the test that falls for it now.
        equivalent: why no test can, or need, fall for it, where none does.
    """

    file: str
    before: str
    after: str
    killed_by: str = ""
    equivalent: str = ""

    def planted(self, root: Path) -> Mutant | None:
        """The mutant; None where the line is no longer there."""
        path = root / self.file
        text = path.read_text() if path.is_file() else ""
        for n, line in enumerate(text.splitlines()):
            if line.strip() == self.before:
                lines = text.splitlines(keepends=True)
                lines[n] = lines[n].replace(self.before, self.after)
                return difference(self.file, text, "".join(lines))
        return None


def known() -> list[Known]:
    """All entries."""
    return [Known(**entry) for entry in tomllib.loads(KNOWN.read_text())["mutant"]]
