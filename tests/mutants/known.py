"""What is known of mutants: those that once survived, which are always planted besides the sample, and why some, or all
of a kind, need no test."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutants.mutant import REMOVED, Mutant, difference

KNOWN = Path(__file__).with_name("known.toml")


@dataclass(frozen=True)
class Known:
    """An entry of `known.toml`.

    Attributes:
        file: its path from the root.
        before, after: the line that is changed, without the spaces around it, and what becomes of it, or `REMOVED`.
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
                lines[n] = "" if self.after == REMOVED else lines[n].replace(self.before, self.after)
                return difference(self.file, text, "".join(lines))
        return None


@dataclass(frozen=True)
class Kind:
    """An entry of `known.toml` on mutants of one kind, wherever they are: of those that survive, it says why.

    Attributes:
        before, after: the part of a line that is changed, and what becomes of it.
        equivalent: why no test needs to fall for one that survives.
    """

    before: str
    after: str
    equivalent: str

    def is_of(self, mutant: Mutant) -> bool:
        """Whether nothing but that part of the line differs, spaces aside, and comments that go with a decorator."""
        before = re.sub(r"^#.*(?=@)", "", mutant.before) if mutant.after == REMOVED else mutant.before
        line, changed = before.replace(" ", ""), mutant.after.replace(" ", "")
        part, made = self.before.replace(" ", ""), self.after.replace(" ", "")
        places = (n for n in range(len(line)) if line.startswith(part, n))
        return any(line[:n] + made + line[n + len(part) :] == changed for n in places)


def known() -> list[Known]:
    """All entries on single mutants."""
    return [Known(**entry) for entry in _read()["mutant"]]


def kinds() -> list[Kind]:
    """All entries on kinds of them."""
    return [Kind(**entry) for entry in _read()["kind"]]


def explanation(mutant: Mutant, entries: Sequence[Known], of_kinds: Sequence[Kind]) -> str:
    """Why no test falls for a mutant; nothing where that is not known."""
    own = (entry.equivalent for entry in entries if (entry.file, entry.before, entry.after) == mutant.key)
    return next(own, "") or next((kind.equivalent for kind in of_kinds if kind.is_of(mutant)), "")


def _read() -> dict[str, Any]:
    return tomllib.loads(KNOWN.read_text())
